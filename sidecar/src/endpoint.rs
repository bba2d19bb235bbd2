//! Small HTTP servers of the control thread: one request per connection, no body, few at a time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::budget::Budget;
use crate::drain;
use crate::limits::Limits;

/// Connections at one time, of one endpoint.
const CONNECTIONS: usize = 256;
/// Of these, from one source: enough for whoever has business here.
const CONNECTIONS_PER_SOURCE: usize = 16;
/// Of these, from one IPv6 /64, which a node may share with all its pods.
const CONNECTIONS_PER_NETWORK: usize = 64;
/// For a handshake, and for a request's head.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// For a connection, whole.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Size of a request's head.
const HEAD: usize = 16 << 10;
/// After accept failed for want of a resource.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `stop` turns true, and serves each connection by `serve`, for [`TIMEOUT`] at most. Each
/// endpoint has a budget of its own.
pub(crate) async fn accept<F>(
    listener: std::net::TcpListener,
    mut stop: watch::Receiver<bool>,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "an endpoint cannot be served"),
    };
    let budget = Budget::new(Limits {
        connections: CONNECTIONS,
        unproven: CONNECTIONS,
        unproven_per_source: CONNECTIONS_PER_SOURCE,
        unproven_per_network: CONNECTIONS_PER_NETWORK,
        ..Limits::default()
    });
    loop {
        let accepted = tokio::select! {
            () = drain::begun(&mut stop) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match budget.admit(peer.ip()) {
                Ok(ticket) => {
                    let serving = serve(stream, peer);
                    tokio::spawn(async move {
                        // Whoever is too slow, or has to make room, asks again.
                        tokio::select! {
                            _ = timeout(TIMEOUT, serving) => {}
                            () = ticket.evicted() => {}
                        }
                    });
                }
                Err(denial) => tracing::debug!(%peer, reason = %denial.reason, "endpoint: refused"),
            },
            Err(error) => {
                tracing::warn!(%error, "an endpoint cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Answers one `GET`.
pub(crate) async fn answer<S>(stream: S, respond: impl Fn(&str) -> Response<Full<Bytes>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request: Request<Incoming>| {
        let response = if *request.method() == Method::GET {
            respond(request.uri().path())
        } else {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET is served\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            response
        };
        async move { Ok::<_, Infallible>(response) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false).max_buf_size(HEAD);
    // A caller that breaks off has nothing to be told.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// An answer in one piece.
pub(crate) fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// An answer for paths that there aren't.
pub(crate) fn not_found() -> Response<Full<Bytes>> {
    text(StatusCode::NOT_FOUND, "text/plain", "not found\n")
}
