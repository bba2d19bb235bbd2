//! A stream on which what is written in one turn is sent at once: encrypted together, with few system calls.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Both the engine's end and the one by which the turn's writings are sent.
pub(super) struct Gathered<S>(Rc<RefCell<Inner<S>>>);

struct Inner<S> {
    stream: S,
    /// What was written; none of a connection that has nothing to send.
    written: Vec<u8>,
    /// How much of it has gone.
    gone: usize,
    /// The stream may hold back something of what has gone.
    is_held: bool,
}

/// With so much the stream takes no more, and sends.
const MOST: usize = 64 << 10;

thread_local! {
    /// The room for what is written: mostly one turn is over before the next begins.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl<S> Gathered<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(Rc::new(RefCell::new(Inner { stream, written: Vec::new(), gone: 0, is_held: false })))
    }
}

impl<S> Clone for Gathered<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Sends what was written; ready once all of it has gone.
    pub(super) fn poll_send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_send(context)
    }
}

impl<S: AsyncWrite + Unpin> Inner<S> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left @ [_, ..]) = self.written.get(self.gone..) {
            match ready!(Pin::new(&mut self.stream).poll_write(context, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.gone += count,
            }
            self.is_held = true;
        }
        if self.gone > 0 {
            self.gone = 0;
            self.written.clear();
            ROOM.set(std::mem::take(&mut self.written));
        }
        if self.is_held {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.is_held = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Makes room for some more.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.written.len() >= MOST {
            ready!(self.poll_send(context))?;
        }
        if self.written.capacity() == 0 {
            self.written = ROOM.take();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.poll_room(context))?;
        inner.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.poll_room(context))?;
        let before = inner.written.len();
        for slice in slices {
            inner.written.extend_from_slice(slice);
        }
        Poll::Ready(Ok(inner.written.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The end of the turn sends.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.poll_send(context))?;
        Pin::new(&mut inner.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    use super::*;

    /// A stream that holds so much until it is read.
    fn stream(holds: usize) -> (Gathered<DuplexStream>, DuplexStream) {
        let (near, far) = duplex(holds);
        (Gathered::new(near), far)
    }

    fn write(gathered: &Gathered<DuplexStream>, bytes: &[u8]) -> Poll<usize> {
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut gathered.clone()).poll_write(&mut context, bytes).map(Result::unwrap)
    }

    fn send(gathered: &Gathered<DuplexStream>) -> Poll<()> {
        gathered.poll_send(&mut Context::from_waker(Waker::noop())).map(Result::unwrap)
    }

    fn came(far: &mut DuplexStream) -> Vec<u8> {
        let mut chunk = [0; 4096];
        let mut buffer = ReadBuf::new(&mut chunk);
        let _ = Pin::new(far).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
        buffer.filled().to_vec()
    }

    #[test]
    fn nothing_goes_before_the_turn_ends_and_nothing_stays_after_it() {
        let (mut gathered, mut far) = stream(100);
        let slices = [io::IoSlice::new(b"bc"), io::IoSlice::new(b""), io::IoSlice::new(b"def")];
        let mut context = Context::from_waker(Waker::noop());
        for turn in 0..2 {
            assert_eq!(write(&gathered, b"a"), Poll::Ready(1));
            let written = Pin::new(&mut gathered).poll_write_vectored(&mut context, &slices);
            assert!(matches!(written, Poll::Ready(Ok(5))), "{turn}: {written:?}");
            assert!(matches!(Pin::new(&mut gathered).poll_flush(&mut context), Poll::Ready(Ok(()))));
            assert_eq!(came(&mut far), b"", "{turn}");
            assert_eq!(send(&gathered), Poll::Ready(()));
            assert_eq!(came(&mut far), b"abcdef", "{turn}");
            assert_eq!(gathered.0.borrow().written.capacity(), 0, "{turn}");
        }
    }

    #[test]
    fn what_the_stream_does_not_take_goes_later() {
        let (gathered, mut far) = stream(4);
        assert_eq!(write(&gathered, b"0123456"), Poll::Ready(7));
        assert_eq!(send(&gathered), Poll::Pending);
        assert_eq!(write(&gathered, b"789"), Poll::Ready(3));
        let mut all = came(&mut far);
        assert_eq!(send(&gathered), Poll::Pending);
        all.extend(came(&mut far));
        assert_eq!(send(&gathered), Poll::Ready(()));
        all.extend(came(&mut far));
        assert_eq!(all, b"0123456789");
    }

    #[test]
    fn what_nobody_takes_is_not_collected() {
        let (gathered, mut far) = stream(4);
        assert_eq!(write(&gathered, &vec![0; MOST]), Poll::Ready(MOST));
        assert_eq!(write(&gathered, b"x"), Poll::Pending);
        while send(&gathered).is_pending() {
            assert_eq!(came(&mut far).len(), 4);
        }
        assert_eq!(write(&gathered, b"x"), Poll::Ready(1));
    }

    #[tokio::test]
    async fn the_rest_goes_before_the_end() {
        let (gathered, mut far) = stream(4);
        assert_eq!(write(&gathered, b"0123456789"), Poll::Ready(10));
        let mut ending = gathered.clone();
        let end = std::future::poll_fn(|context| Pin::new(&mut ending).poll_shutdown(context));
        let mut all = String::new();
        let (ended, read) = tokio::join!(end, far.read_to_string(&mut all));
        assert!(ended.is_ok() && read.is_ok());
        assert_eq!(all, "0123456789");
    }
}
