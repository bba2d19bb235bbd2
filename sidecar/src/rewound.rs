//! A stream of which something was read already; that is read again first.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// `stream` after `before`.
#[derive(Debug)]
pub(crate) struct Rewound<B, S> {
    before: B,
    stream: S,
}

impl<B: Buf, S> Rewound<B, S> {
    pub(crate) fn new(before: B, stream: S) -> Self {
        Self { before, stream }
    }
}

impl<B: Buf + Unpin, S: AsyncRead + Unpin> AsyncRead for Rewound<B, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.before.has_remaining() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let count = this.before.remaining().min(buffer.remaining());
        this.before.copy_to_slice(buffer.initialize_unfilled_to(count));
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<B: Buf + Unpin, S: AsyncWrite + Unpin> AsyncWrite for Rewound<B, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
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
