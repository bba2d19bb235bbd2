//! A caller's socket, which can be shut by whoever judges the connection anew.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A caller's socket, as its connection's task holds it.
#[derive(Debug)]
pub(crate) struct Socket(Rc<RefCell<TcpStream>>);

/// Shuts a [`Socket`], if it is open still.
#[derive(Debug, Default)]
pub(crate) struct Shutter(Weak<RefCell<TcpStream>>);

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(Rc::new(RefCell::new(stream)))
    }

    /// To shut it from elsewhere.
    pub(crate) fn shutter(&self) -> Shutter {
        Shutter(Rc::downgrade(&self.0))
    }
}

impl Shutter {
    /// Nothing comes and nothing goes from now on, whatever the connection's task is about to do.
    pub(crate) fn shut(&self) {
        if let Some(stream) = self.0.upgrade() {
            // What is shut already need not be.
            let _ = SockRef::from(&*stream.borrow()).shutdown(Shutdown::Both);
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_is_shut_ends_for_both_before_its_task_runs_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut socket = Socket::new(listener.accept().await.unwrap().0);
        let shutter = socket.shutter();
        caller.write_all(b"ping").await.unwrap();
        let mut ping = [0; 4];
        socket.read_exact(&mut ping).await.unwrap();
        shutter.shut();
        let end = tokio::time::timeout(std::time::Duration::from_secs(10), caller.read(&mut ping));
        assert_eq!(end.await.expect("at once").unwrap(), 0);
        assert!(socket.write_all(b"pong").await.is_err());
        assert_eq!(socket.read(&mut ping).await.unwrap(), 0);
        drop(socket);
        // There is nothing to shut any more.
        shutter.shut();
    }
}
