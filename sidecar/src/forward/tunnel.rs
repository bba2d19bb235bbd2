//! Bytes both ways, after an application has agreed to a WebSocket.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::time::sleep;

use super::body::InFlight;
use crate::connection::Connection;
use crate::signal::Order;
use crate::worker::Worker;

/// Bytes that are read before they are written, per direction.
const BUFFER: usize = 16 << 10;

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
        let moved = Cell::new(0);
        let (to_caller, to_application) = (|count| in_flight.sends(count), |count| in_flight.receives(count));
        let mut caller = Counted { stream: caller, moved: &moved, sent: &to_caller };
        let mut application = Counted { stream: application, moved: &moved, sent: &to_application };
        let mut copy = pin!(copy_bidirectional_with_sizes(&mut caller, &mut application, BUFFER, BUFFER));
        let mut idle = pin!(until_idle(&moved, worker.limits().idle));
        let mut expiry = pin!(expiry(in_flight.connection()));
        poll_fn(|context| {
            if stopped(context).is_ready()
                || idle.as_mut().poll(context).is_ready()
                || expiry.as_mut().poll(context).is_ready()
            {
                return Poll::Ready(());
            }
            // How it ended concerns the two ends only.
            copy.as_mut().poll(context).map(|_| ())
        })
        .await;
    }
}

/// Until nothing has moved between two looks; so it is between one and two times the limit.
async fn until_idle(moved: &Cell<u64>, limit: Duration) {
    loop {
        let before = moved.get();
        sleep(limit).await;
        if moved.get() == before {
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

struct Counted<'a, S> {
    stream: S,
    moved: &'a Cell<u64>,
    sent: &'a dyn Fn(usize),
}

impl<S> Counted<'_, S> {
    fn count(&self, count: usize) {
        self.moved.set(self.moved.get().wrapping_add(count as u64));
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.count(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.count(count);
        (self.sent)(count);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
