//! Small HTTP servers of the control thread: one request per connection, no body, few at a time.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::drain;

/// Connections at one time; more wait in the kernel.
const CONNECTIONS: usize = 32;
/// For a connection, whole.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// Size of a request's head.
const HEAD: usize = 16 << 10;
/// After accept failed for want of a resource.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `stop` turns true, and serves each connection by `serve`, for [`TIMEOUT`] at most.
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
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let next = async {
            // Never closed.
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            let (stream, peer) = listener.accept().await?;
            Ok::<_, io::Error>((place, stream, peer))
        };
        let accepted = tokio::select! {
            () = drain::begun(&mut stop) => return,
            accepted = next => accepted,
        };
        match accepted {
            Ok((place, stream, peer)) => {
                let serving = serve(stream, peer);
                tokio::spawn(async move {
                    // Whoever is too slow asks again.
                    let _ = timeout(TIMEOUT, serving).await;
                    drop(place);
                });
            }
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
    builder.keep_alive(false).max_buf_size(HEAD).header_read_timeout(None);
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
