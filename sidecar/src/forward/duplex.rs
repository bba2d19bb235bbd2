//! An HTTP/2 stream as a stream of bytes, after an extended CONNECT.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Both directions of a stream. Dropped before its end, it is reset.
pub(super) struct Duplex<G> {
    sending: SendStream<Bytes>,
    receiving: RecvStream,
    /// What was received and not yet read.
    left: Bytes,
    _guard: G,
}

impl<G> Duplex<G> {
    /// `guard` is kept as long as the stream.
    pub(super) fn new(sending: SendStream<Bytes>, receiving: RecvStream, guard: G) -> Self {
        Self { sending, receiving, left: Bytes::new(), _guard: guard }
    }
}

impl<G: Unpin> AsyncRead for Duplex<G> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left.is_empty() {
            match ready!(self.receiving.poll_data(context)) {
                Some(Ok(data)) => self.left = data,
                Some(Err(error)) => return Poll::Ready(Err(into_io(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.left.len().min(buffer.remaining());
        self.left.copy_to_slice(buffer.initialize_unfilled_to(count));
        buffer.advance(count);
        Poll::Ready(self.receiving.flow_control().release_capacity(count).map_err(into_io))
    }
}

impl<G: Unpin> AsyncWrite for Duplex<G> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.sending.reserve_capacity(bytes.len());
        let room = match ready!(self.sending.poll_capacity(context)) {
            Some(Ok(room)) => room.min(bytes.len()),
            Some(Err(error)) => return Poll::Ready(Err(into_io(error))),
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        };
        let part = Bytes::copy_from_slice(bytes.get(..room).unwrap_or_default());
        Poll::Ready(self.sending.send_data(part, false).map(|()| room).map_err(into_io))
    }

    // The connection writes by itself.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.sending.send_data(Bytes::new(), true).map_err(into_io))
    }
}

fn into_io(error: h2::Error) -> io::Error {
    if error.reason() == Some(Reason::CANCEL) {
        return io::ErrorKind::ConnectionReset.into();
    }
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
    }
    io::Error::other(error)
}
