//! The caller's side of HTTP: hyper reads the requests and writes the answers.
//!
//! Another engine takes this file's place; what a request means is decided in [`super::exchange`].

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::exchange::{self, Session};
use super::headers::Identity;
use super::io::Watched;
use super::wire::{Intake, Turns};
use crate::authorize::{Code, Denial};
use crate::connection::{Connection, Entry};
use crate::generation::Generation;
use crate::limits::Limits;
use crate::log::Asked;
use crate::rewound::Rewound;
use crate::signal::{Order, Signal};
use crate::worker::Worker;

/// Serves requests until the caller or the sidecar ends the connection.
pub(crate) async fn serve<S>(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    generation: &Arc<Generation>,
    stream: S,
    is_http2: bool,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Some(session) = session(worker, connection, generation) else {
        let denial = Denial::new(Code::NoIdentity, "the identity cannot be told to the application");
        let (peer, port) = (connection.peer, connection.target.port);
        return worker.refuse(&denial, peer, port, connection.party(), Asked::default());
    };
    let intake = (!is_http2).then(|| Intake::new(&worker.limits(), Rc::clone(&session.turns)));
    let session = Rc::new(session);
    let io = TokioIo::new(Watched::http(stream, worker, connection, intake));
    let shared = Rc::clone(&session);
    let service = service_fn(move |request| {
        let session = Rc::clone(&shared);
        async move { Ok::<_, Infallible>(exchange::answer(session, request).await) }
    });
    // A connection that breaks is the caller's affair; what was refused has been logged.
    if is_http2 {
        let serving = pin!(http2_builder(&worker.limits()).serve_connection(io, service));
        drive(serving, &connection.signal, http2::Connection::graceful_shutdown).await;
    } else {
        let mut serving = http1_builder(&worker.limits()).serve_connection(io, service);
        let finish = http1::Connection::graceful_shutdown;
        let outcome = drive(Pin::new(&mut serving), &connection.signal, finish).await;
        if let (Some(Ok(())), Some(tunnel)) = (outcome, session.tunnel.take()) {
            // The engine has written the answer and leaves the rest to us.
            let parts = serving.into_parts();
            let caller = Rewound::new(parts.read_buf, parts.io.into_inner().into_bytes());
            tunnel.serve(caller).await;
        }
    }
}

fn session(worker: &Rc<Worker>, connection: &Rc<Connection>, generation: &Generation) -> Option<Session> {
    let caller = connection.caller.as_deref();
    let is_secure = connection.entry == Entry::Tls;
    let by = generation.server.uri.as_deref();
    let identity = Identity::new(caller, by, connection.peer.ip(), is_secure)?;
    // Who shows no certificate is told apart by where they call from.
    let whose = caller.map_or_else(
        || format!("\0{}", connection.peer.ip()),
        |caller| format!("{}\0{}", caller.authority, caller.identity),
    );
    Some(Session {
        worker: Rc::clone(worker),
        connection: Rc::clone(connection),
        identity,
        whose: whose.into(),
        place: RefCell::default(),
        turns: Rc::new(Turns::default()),
        tunnel: Cell::default(),
    })
}

/// Headers for which the engine has room without asking for memory; a lower limit is checked by
/// [`super::wire`].
const HEADERS_ON_STACK: usize = 100;
/// Beyond the largest head that the engine gets to see, so that it never is the one to refuse it.
const SLACK: usize = 16 << 10;

fn http1_builder(limits: &Limits) -> http1::Builder {
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

fn http2_builder(limits: &Limits) -> http2::Builder<LocalExecutor> {
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

/// What came of it; `None` if it was stopped.
async fn drive<C: Future>(
    mut serving: Pin<&mut C>,
    signal: &Signal,
    finish: fn(Pin<&mut C>),
) -> Option<C::Output> {
    let mut is_finishing = false;
    poll_fn(|context| {
        match signal.watch(context) {
            Order::Stop => return Poll::Ready(None),
            Order::Finish if !is_finishing => {
                is_finishing = true;
                finish(serving.as_mut());
            }
            Order::Finish | Order::Run => {}
        }
        serving.as_mut().poll(context).map(Some)
    })
    .await
}

/// Streams of an HTTP/2 connection stay on their worker's thread.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
