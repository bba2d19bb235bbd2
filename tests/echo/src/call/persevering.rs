//! A peer that closes early may do so while we still write. Its reason is on the reading side, so failed
//! writes are passed over, and the reason is kept.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The first failure of TLS that reading met.
pub(super) type Failure = Rc<RefCell<Option<std::io::Error>>>;

/// Never fails to write.
pub(super) struct Persevering<S> {
    stream: S,
    failure: Failure,
}

impl<S> Persevering<S> {
    pub(super) fn new(stream: S) -> (Self, Failure) {
        let failure = Failure::default();
        (Self { stream, failure: failure.clone() }, failure)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Persevering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Err(error)) = &result
            && let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            self.failure.borrow_mut().get_or_insert_with(|| std::io::Error::new(error.kind(), tls.clone()));
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Persevering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf).map(|result| Ok(result.unwrap_or(buf.len())))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx).map(|_| Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx).map(|_| Ok(()))
    }
}
