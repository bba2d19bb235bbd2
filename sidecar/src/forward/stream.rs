//! Bytes, both ways, unchanged.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::copy::Copy;
use crate::connection::Connection;
use crate::signal::Order;
use crate::worker::Worker;

/// Until both sides have ended, one has failed, or the connection is to stop.
pub(crate) async fn pass<S>(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    mut caller: S,
    mut upstream: TcpStream,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut copy = Copy::default();
    poll_fn(|context| {
        // Finishing has no meaning for bytes: they go on until they end, or until the drain's deadline.
        if connection.signal.watch(context) == Order::Stop {
            return Poll::Ready(());
        }
        let polled = copy.poll(context, &mut caller, &mut upstream);
        let moved = copy.moved();
        let (received, sent) = (moved.from_one as u64, moved.to_one as u64);
        if received > 0 || sent > 0 {
            connection.last_byte.set(worker.now());
            connection.received.set(connection.received.get() + received);
            connection.sent.set(connection.sent.get() + sent);
            worker.metrics.bytes(connection.kind, received, sent);
        }
        // How it ended concerns the two ends only.
        polled.map(|_| ())
    })
    .await;
}
