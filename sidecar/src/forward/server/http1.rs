//! HTTP/1.1 from callers: hyper reads the requests and writes the answers.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::drive;
use crate::forward::body::CallerBody;
use crate::forward::exchange::{self, Session};
use crate::forward::io::Watched;
use crate::limits::Limits;
use crate::rewound::Rewound;

/// Serves requests until the caller or the sidecar ends the connection.
pub(super) async fn serve<S>(session: Rc<Session>, stream: Watched<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let shared = Rc::clone(&session);
    let service = service_fn(move |request: hyper::Request<_>| {
        let session = Rc::clone(&shared);
        async move { Ok::<_, Infallible>(exchange::answer(session, request.map(CallerBody::Hyper)).await) }
    });
    let mut serving = builder(&session.worker.limits()).serve_connection(TokioIo::new(stream), service);
    let finish = http1::Connection::graceful_shutdown;
    let outcome = drive(Pin::new(&mut serving), &session.connection.signal, finish).await;
    if let (Some(Ok(())), Some(tunnel)) = (outcome, session.tunnel.take()) {
        // The engine has written the answer and leaves the rest to us.
        let parts = serving.into_parts();
        let caller = Rewound::new(parts.read_buf, parts.io.into_inner().into_bytes());
        tunnel.serve(caller).await;
    }
}

/// Headers for which the engine has room without asking for memory; a lower limit is checked by
/// [`super::wire`].
const HEADERS_ON_STACK: usize = 100;
/// Beyond the largest head that the engine gets to see, so that it never is the one to refuse it.
const SLACK: usize = 16 << 10;

fn builder(limits: &Limits) -> http1::Builder {
    let size = usize::try_from(limits.header_bytes).unwrap_or(usize::MAX);
    let mut builder = http1::Builder::new();
    // The worker's ticks bound the time for a head: the engine's own time-out would also close connections
    // that a gateway keeps for its next request.
    builder.header_read_timeout(None).max_buf_size(size.saturating_add(SLACK));
    if limits.header_count > HEADERS_ON_STACK {
        builder.max_headers(limits.header_count);
    }
    builder
}
