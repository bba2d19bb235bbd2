//! Bytes both ways, after an application has agreed to a WebSocket.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::body::InFlight;
use super::copy::{Copy, Moved};
use crate::connection::Connection;
use crate::signal::Order;
use crate::worker::Worker;

/// Any stream of bytes.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A tunnel whose application's end is open. It counts as a request in flight.
pub(super) struct Tunnel {
    worker: Rc<Worker>,
    application: Box<dyn Stream>,
    in_flight: InFlight,
}

impl Tunnel {
    pub(super) fn new(worker: &Rc<Worker>, application: Box<dyn Stream>, in_flight: InFlight) -> Self {
        Self { worker: Rc::clone(worker), application, in_flight }
    }

    /// Serves a caller whose HTTP/2 stream the tunnel is. It ends with the connection.
    pub(super) async fn serve_stream(self, caller: impl Stream) {
        self.run(caller, |_| Poll::Pending).await;
    }

    /// Serves a caller whose connection the tunnel has become.
    pub(super) async fn serve(self, caller: impl Stream) {
        let connection = Rc::clone(self.in_flight.connection());
        // Finishing has no meaning for bytes: they go on until they end, or until the drain's deadline.
        let stopped = move |context: &mut Context<'_>| match connection.signal.watch(context) {
            Order::Stop => Poll::Ready(()),
            Order::Run | Order::Finish => Poll::Pending,
        };
        self.run(caller, stopped).await;
    }

    /// Until both ends have ended, one has failed, nothing moved for too long, the caller's certificate has expired,
    /// or `stopped`.
    async fn run(self, caller: impl Stream, mut stopped: impl FnMut(&mut Context<'_>) -> Poll<()>) {
        let Self { worker, application, in_flight } = self;
        // In which something moved.
        let turns = Cell::new(0);
        let (mut caller, mut application) = (caller, application);
        // What it sent before must not be lost, and its own protocol says whether it is whole.
        let mut copy = Copy::with_any_end();
        let mut idle = pin!(until_idle(&turns, worker.limits().idle));
        let mut expiry = pin!(expiry(in_flight.connection()));
        poll_fn(|context| {
            if stopped(context).is_ready()
                || idle.as_mut().poll(context).is_ready()
                || expiry.as_mut().poll(context).is_ready()
            {
                return Poll::Ready(());
            }
            let polled = copy.poll(context, &mut caller, &mut application);
            let moved = copy.moved();
            if moved != Moved::default() {
                turns.set(turns.get().wrapping_add(1));
                in_flight.sends(moved.to_one);
                in_flight.receives(moved.to_other);
            }
            // How it ended concerns the two ends only.
            polled.map(|_| ())
        })
        .await;
    }
}

/// Until nothing has moved between two looks; so it is between one and two times the limit.
async fn until_idle(turns: &Cell<u64>, limit: Duration) {
    loop {
        let before = turns.get();
        sleep(limit).await;
        if turns.get() == before {
            return;
        }
    }
}

/// Until the caller's certificate has expired.
async fn expiry(connection: &Connection) {
    let Some(caller) = &connection.caller else { return std::future::pending().await };
    let until = Duration::from_secs(caller.not_after.as_secs());
    loop {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        match until.checked_sub(now) {
            // Looked at again now and then, since clocks are set.
            Some(left) if !left.is_zero() => sleep(left.min(Duration::from_secs(3600))).await,
            _ => return,
        }
    }
}
