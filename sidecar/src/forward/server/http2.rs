//! HTTP/2 from callers: hyper reads the requests and writes the answers.

use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::drive;
use crate::forward::body::CallerBody;
use crate::forward::exchange::{self, Session};
use crate::forward::io::Watched;
use crate::limits::Limits;

/// Serves requests until the caller or the sidecar ends the connection.
pub(super) async fn serve<S>(session: Rc<Session>, stream: Watched<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (worker, connection) = (Rc::clone(&session.worker), Rc::clone(&session.connection));
    let service = service_fn(move |request: hyper::Request<_>| {
        let session = Rc::clone(&session);
        async move { Ok::<_, Infallible>(exchange::answer(session, request.map(CallerBody::Hyper)).await) }
    });
    let serving = pin!(builder(&worker.limits()).serve_connection(TokioIo::new(stream), service));
    // A connection that breaks is the caller's affair; what was refused has been logged.
    drive(serving, &connection.signal, http2::Connection::graceful_shutdown).await;
}

fn builder(limits: &Limits) -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        // WebSocket over HTTP/2 (RFC 8441).
        .enable_connect_protocol()
        .max_concurrent_streams(limits.streams)
        .initial_connection_window_size(limits.connection_window)
        .initial_stream_window_size(limits.stream_window)
        // Twice the limit, so that what is too large is told so by us, up to a point.
        .max_header_list_size(limits.header_bytes.saturating_mul(2))
        .max_pending_accept_reset_streams(limits.pending_resets)
        .max_local_error_reset_streams(limits.own_resets);
    builder
}

/// Streams of an HTTP/2 connection stay on their worker's thread.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
