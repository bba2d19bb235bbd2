//! The application's side: dialling, sending, and the one retry.

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::body::Outbound;
use super::pool::{Key, Lease};
use crate::authorize::{Code, Denial, Permit};
use crate::limits::Limits;
use crate::worker::Worker;

/// Room for an answer's head.
const HEAD_BYTES: usize = 256 << 10;
/// Headers of an answer.
const HEADERS: usize = 256;

/// A connection to the application over which one request at a time is sent.
pub(super) struct Upstream {
    pub(super) sender: http1::SendRequest<Outbound>,
    /// Bytes that came from the application.
    received: Rc<Cell<u64>>,
}

/// A TCP connection to the application, for what the permit is for.
///
/// # Errors
/// [`Code::ApplicationUnreachable`] or [`Code::ApplicationTimeout`].
pub(crate) async fn dial(
    permit: &Permit<'_>,
    address: SocketAddr,
    limits: &Limits,
) -> Result<TcpStream, Denial> {
    let port = permit.request().port;
    match timeout(limits.connect, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            // Failure costs latency only.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => {
            let reason = if error.kind() == ErrorKind::ConnectionRefused {
                format!("nothing listens on the application's port {port}")
            } else {
                format!("the application's port {port} cannot be reached ({error})")
            };
            Err(Denial::new(Code::ApplicationUnreachable, reason))
        }
        Err(_) => {
            let waited = limits.connect.as_secs_f32();
            let reason = format!("the application's port {port} accepted no connection within {waited} s");
            Err(Denial::new(Code::ApplicationTimeout, reason))
        }
    }
}

/// Sends one request. A connection that the application closed while it lay unused is replaced once, if the
/// request may be sent again.
pub(super) async fn send(
    worker: &Rc<Worker>,
    permit: &Permit<'_>,
    key: &Key,
    mut request: Request<Outbound>,
) -> Result<(Response<Incoming>, Lease), Denial> {
    let may_repeat = request.method().is_idempotent() && request.body().is_end_stream();
    let mut pooled = worker.pool.take(key);
    loop {
        let is_reused = pooled.is_some();
        let mut upstream = match pooled.take() {
            Some(upstream) => upstream,
            None => connect(permit, key.address, &worker.limits()).await?,
        };
        let again = (is_reused && may_repeat).then(|| repeat(&request));
        let before = upstream.received.get();
        let outcome = timeout(worker.limits().idle, upstream.sender.try_send_request(request)).await;
        let Ok(outcome) = outcome else {
            return Err(Denial::new(Code::ApplicationTimeout, "the application did not answer in time"));
        };
        let mut error = match outcome {
            Ok(response) if response.status() == http::StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Denial::new(
                    Code::ApplicationFailed,
                    "the application switched protocols unasked",
                ));
            }
            Ok(response) => return Ok((response, Lease::new(worker, key.clone(), upstream))),
            Err(error) => error,
        };
        // A request that comes back was not sent at all.
        request = match (error.take_message(), again) {
            (Some(unsent), _) if is_reused => unsent,
            (None, Some(again)) if upstream.received.get() == before => again,
            _ => {
                let reason = format!("the application broke off before its answer ({})", error.error());
                return Err(Denial::new(Code::ApplicationFailed, reason));
            }
        };
    }
}

async fn connect(permit: &Permit<'_>, address: SocketAddr, limits: &Limits) -> Result<Upstream, Denial> {
    let stream = dial(permit, address, limits).await?;
    let received = Rc::new(Cell::new(0));
    let stream = TokioIo::new(Counted { stream, received: Rc::clone(&received) });
    let (sender, connection) =
        http1::Builder::new().max_buf_size(HEAD_BYTES).max_headers(HEADERS).handshake(stream).await.map_err(
            |error| {
                Denial::new(Code::ApplicationFailed, format!("the application's connection failed ({error})"))
            },
        )?;
    // Its errors come out of the request that they hit.
    tokio::task::spawn_local(connection);
    Ok(Upstream { sender, received })
}

fn repeat(request: &Request<Outbound>) -> Request<Outbound> {
    let mut again = Request::new(Outbound::Empty);
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    again
}

/// Counts what is read, to know whether a byte of an answer was seen.
struct Counted {
    stream: TcpStream,
    received: Rc<Cell<u64>>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
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
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
