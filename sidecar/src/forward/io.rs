//! A stream that notes when bytes move, for time-outs and counts.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::Connection;
use crate::worker::Worker;

/// The caller's side of a connection.
pub(super) struct Watched<S> {
    stream: S,
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    /// Whether a byte that comes while nothing is in flight begins a request's head.
    heads: bool,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, worker: &Rc<Worker>, connection: &Rc<Connection>, heads: bool) -> Self {
        Self { stream, worker: Rc::clone(worker), connection: Rc::clone(connection), heads }
    }

    fn received(&self, count: usize) {
        let connection = &self.connection;
        connection.last_byte.set(self.worker.now());
        connection.received.set(connection.received.get() + count as u64);
        if self.heads && connection.in_flight.get() == 0 && connection.head_since.get().is_none() {
            connection.head_since.set(Some(self.worker.now()));
        }
    }

    fn sent(&self, count: usize) {
        self.connection.last_byte.set(self.worker.now());
        self.connection.sent.set(self.connection.sent.get() + count as u64);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let count = buffer.filled().len() - before;
        if count > 0 {
            self.received(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.sent(count);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, slices))?;
        self.sent(count);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
