//! A stream that notes when bytes move, for time-outs and counts.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::wire::{Frames, Refusal};
use crate::authorize::Denial;
use crate::connection::Connection;
use crate::worker::Worker;

/// The caller's side of a connection.
pub(super) struct Watched<S> {
    stream: S,
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    /// Follows HTTP/2 as the engine writes it.
    frames: Option<Frames>,
    /// Whether the log has been told that the engine reset a stream: once per connection is enough.
    has_told: bool,
    /// How the end is come to, for HTTP.
    end: End,
}

enum End {
    /// For bytes: each direction ends by itself.
    Plain,
    /// What the caller still sends is taken in for a moment: a socket that is closed while bytes wait in it is
    /// reset, and the reset overtakes the last answer.
    Lingering { since_shutdown: Option<Pin<Box<Sleep>>>, discarded: usize },
}

impl End {
    const LINGERING: Self = Self::Lingering { since_shutdown: None, discarded: 0 };
}

/// How long, and for how many bytes, a caller is listened to that has had its last answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 8 << 20;

impl<S> Watched<S> {
    /// For HTTP/1.1.
    pub(super) fn http1(stream: S, worker: &Rc<Worker>, connection: &Rc<Connection>) -> Self {
        Self::new(stream, worker, connection, None)
    }

    /// For HTTP/2.
    pub(super) fn http2(stream: S, worker: &Rc<Worker>, connection: &Rc<Connection>) -> Self {
        Self::new(stream, worker, connection, Some(Frames::default()))
    }

    fn new(stream: S, worker: &Rc<Worker>, connection: &Rc<Connection>, frames: Option<Frames>) -> Self {
        let (worker, connection) = (Rc::clone(worker), Rc::clone(connection));
        Self { stream, worker, connection, frames, has_told: false, end: End::LINGERING }
    }

    /// For what a connection has become after its last request.
    pub(super) fn into_bytes(mut self) -> Self {
        self.end = End::Plain;
        self
    }

    fn received(&self, count: usize) {
        let connection = &self.connection;
        connection.last_byte.set(self.worker.now());
        connection.received.set(connection.received.get() + count as u64);
        self.worker.metrics.bytes(connection.kind, count as u64, 0);
    }

    /// What the engine of HTTP/2 refused by itself. Each is counted; of resets the first is logged.
    fn written(&mut self, bytes: &[u8]) {
        let Some(mut frames) = self.frames.take() else { return };
        frames.follow(bytes, |refusal| {
            if matches!(refusal, Refusal::Connection(_)) || !std::mem::replace(&mut self.has_told, true) {
                let denial = Denial::new(refusal.code(), refusal.to_string());
                self.worker.refuse_on(&self.connection, &denial);
            } else {
                self.worker.metrics.denial(refusal.code());
            }
        });
        self.frames = Some(frames);
    }

    fn sent(&self, count: usize) {
        self.connection.last_byte.set(self.worker.now());
        self.connection.sent.set(self.connection.sent.get() + count as u64);
        self.worker.metrics.bytes(self.connection.kind, 0, count as u64);
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
        match buffer.filled().len() - before {
            0 => {}
            count => self.received(count),
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.sent(count);
        if self.frames.is_some() {
            self.written(bytes.get(..count).unwrap_or_default());
        }
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, slices))?;
        self.sent(count);
        if self.frames.is_some() {
            let mut left = count;
            for slice in slices {
                let taken = left.min(slice.len());
                self.written(slice.get(..taken).unwrap_or_default());
                left -= taken;
            }
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, end, .. } = &mut *self;
        let End::Lingering { since_shutdown, discarded } = end else {
            return Pin::new(stream).poll_shutdown(context);
        };
        let deadline = if let Some(deadline) = since_shutdown {
            deadline
        } else {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
            since_shutdown.insert(Box::pin(sleep(LINGER)))
        };
        let mut scrap = [0; 4096];
        while *discarded < LINGER_BYTES && deadline.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut scrap);
            // An error is an end too.
            if ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer)).is_err()
                || buffer.filled().is_empty()
            {
                break;
            }
            *discarded += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}
