//! Bytes, both ways, unchanged.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;

use super::io::Watched;
use crate::connection::Connection;
use crate::signal::Order;
use crate::worker::Worker;

/// Bytes that are read before they are written, per direction.
const BUFFER: usize = 16 << 10;

/// Until both sides have ended, one has failed, or the connection is to stop.
pub(crate) async fn pass<S>(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    stream: S,
    mut upstream: TcpStream,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut caller = Watched::bytes(stream, worker, connection);
    let mut copy = pin!(copy_bidirectional_with_sizes(&mut caller, &mut upstream, BUFFER, BUFFER));
    poll_fn(|context| {
        // Finishing has no meaning for bytes: they go on until they end, or until the drain's deadline.
        if connection.signal.watch(context) == Order::Stop {
            return Poll::Ready(());
        }
        // How it ended concerns the two ends only.
        copy.as_mut().poll(context).map(|_| ())
    })
    .await;
}
