//! HTTP/1.1 to the application: one request at a time.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::transport::Transport;
use super::{Failure, Received, Repeatable};
use crate::authorize::{Code, Denial};
use crate::forward::body::Outbound;
use crate::forward::pool::{Key, Lease};
use crate::worker::Worker;

/// Room for an answer's head.
const HEAD_BYTES: usize = 256 << 10;
/// Headers of an answer.
const HEADERS: usize = 256;

/// A connection to the application over which one request at a time is sent.
pub(in crate::forward) struct Upstream {
    pub(in crate::forward) sender: http1::SendRequest<Outbound>,
    /// Bytes that came from the application.
    received: Rc<Cell<u64>>,
}

/// A connection for one request that may turn it into something else.
pub(in crate::forward) struct Dedicated {
    sender: http1::SendRequest<Outbound>,
    /// The connection itself, once the engine has done with it.
    freed: oneshot::Receiver<Freed>,
}

/// What is left of a connection after its last HTTP message: what was read too far, and the connection.
pub(in crate::forward) type Freed = (Bytes, Counted);

/// Over a connection that is there.
pub(super) async fn connect(transport: Transport) -> Result<Upstream, Denial> {
    let (sender, connection, received) = handshake(transport).await?;
    // Its errors come out of the request that they hit.
    tokio::task::spawn_local(connection);
    Ok(Upstream { sender, received })
}

pub(super) async fn dedicated(transport: Transport) -> Result<Dedicated, Denial> {
    let (sender, connection, _) = handshake(transport).await?;
    let (free, freed) = oneshot::channel();
    tokio::task::spawn_local(async move {
        // An error comes out of the request.
        if let Ok(parts) = connection.without_shutdown().await {
            // Nobody waits if the answer was an ordinary one.
            let _ = free.send((parts.read_buf, parts.io.into_inner()));
        }
    });
    Ok(Dedicated { sender, freed })
}

type Connection = http1::Connection<TokioIo<Counted>, Outbound>;

async fn handshake(
    transport: Transport,
) -> Result<(http1::SendRequest<Outbound>, Connection, Rc<Cell<u64>>), Denial> {
    let received = Rc::new(Cell::new(0));
    let stream = TokioIo::new(Counted { transport, received: Rc::clone(&received) });
    let handshake = http1::Builder::new().max_buf_size(HEAD_BYTES).max_headers(HEADERS).handshake(stream);
    match handshake.await {
        Ok((sender, connection)) => Ok((sender, connection, received)),
        Err(error) => Err(Denial::new(
            Code::ApplicationFailed,
            format!("the application's connection failed ({error})"),
        )),
    }
}

/// Sends a request, and waits for the head of its answer.
pub(super) async fn send(
    mut upstream: Upstream,
    worker: &Rc<Worker>,
    key: &Key,
    request: Request<Outbound>,
) -> Result<(Response<Received>, Lease), Failure> {
    let before = upstream.received.get();
    match upstream.sender.try_send_request(request).await {
        Ok(response) if response.status() == http::StatusCode::SWITCHING_PROTOCOLS => Err(Failure {
            reason: "the application switched protocols unasked".to_owned(),
            unsent: None,
            repeatable: Repeatable::Never,
        }),
        Ok(response) => Ok((response.map(Received::Http1), Lease::new(worker, key.clone(), upstream))),
        // A request that comes back was not sent at all.
        Err(mut error) => Err(Failure {
            unsent: error.take_message(),
            reason: broken_off(error.error()),
            repeatable: if upstream.received.get() == before {
                Repeatable::IfIdempotent
            } else {
                Repeatable::Never
            },
        }),
    }
}

fn broken_off(error: &hyper::Error) -> String {
    format!("the application broke off before its answer ({error})")
}

impl Dedicated {
    /// Sends a request, and waits for the head of its answer.
    pub(in crate::forward) async fn send(
        &mut self,
        request: Request<Outbound>,
    ) -> Result<Response<Incoming>, Denial> {
        let outcome = self.sender.send_request(request).await;
        outcome.map_err(|error| Denial::new(Code::ApplicationFailed, broken_off(&error)))
    }

    /// The connection, after an answer that ended HTTP on it.
    pub(in crate::forward) async fn free(self) -> Result<Freed, Denial> {
        self.freed.await.map_err(|_| {
            Denial::new(Code::ApplicationFailed, "the application broke off after it had switched protocols")
        })
    }
}

/// Counts what is read, to know whether a byte of an answer was seen.
pub(in crate::forward) struct Counted {
    transport: Transport,
    received: Rc<Cell<u64>>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.transport).poll_read(context, buffer))?;
        let count = buffer.filled().len() - before;
        self.received.set(self.received.get() + count as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(context)
    }
}
