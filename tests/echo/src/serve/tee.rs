//! Keeps the bytes that were read, so that a request's head can be told as it came.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Heads beyond this are told without their spelling.
const LIMIT: usize = 128 * 1024;

/// What was read since the last [`Tape::rewind`].
#[derive(Clone, Default)]
pub(super) struct Tape(Arc<Mutex<Vec<u8>>>);

impl Tape {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets.
    pub(super) fn rewind(&self) {
        self.bytes().clear();
    }

    /// Whether a byte has come since the last rewind.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// The header lines of the HTTP/1.1 head at the start, if there is a whole one.
    pub(super) fn headers(&self) -> Option<Vec<(String, String)>> {
        let tape = self.bytes();
        let mut headers = vec![httparse::EMPTY_HEADER; 256];
        let mut request = httparse::Request::new(&mut headers);
        if !request.parse(&tape).ok()?.is_complete() {
            return None;
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(request.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect())
    }
}

/// A stream that records what is read from it.
pub(super) struct Tee<S> {
    stream: S,
    tape: Tape,
}

impl<S> Tee<S> {
    pub(super) const fn new(stream: S, tape: Tape) -> Self {
        Self { stream, tape }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tee<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        let tape = self.tape.clone();
        let mut tape = tape.bytes();
        if tape.len() < LIMIT {
            tape.extend_from_slice(buf.filled().get(before..).unwrap_or_default());
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tee<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
