//! HTTP/2 from callers. The h2 crate reads and writes frames; requests are answered within the connection's own task.
//!
//! * [`bell`] tells that task which of its parts has something to do.
//! * [`gathered`] sends at once what one turn of it has written.
//! * [`request`] is one request, from its head to the end of its answer, and [`body`] what the caller sends with it.

mod bell;
pub(in crate::forward) mod body;
mod gathered;
mod request;

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt as _};
use h2::RecvStream;
use h2::server::{self, Handshake, SendResponse};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use self::bell::Bell;
use self::gathered::Gathered;
use crate::connection::Registered;
use crate::forward::exchange::Session;
use crate::forward::io::Watched;
use crate::limits::Limits;
use crate::signal::Order;

/// How often the parts of a connection are looked after in one turn, before others have theirs.
const ROUNDS: usize = 16;

/// Serves requests until the caller or the sidecar ends the connection, which is `registered` as long.
pub(super) async fn serve<S>(session: Rc<Session>, stream: Watched<S>, registered: Registered)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let connection = &*registered;
    let gathered = Gathered::new(stream);
    let mut engine = Engine::new(&session.worker.limits(), gathered.clone());
    let mut requests = FuturesUnordered::new();
    let (mut to_engine, mut to_requests) = (Bell::default(), Bell::default());
    poll_fn(|context| {
        to_engine.attend(context.waker());
        to_requests.attend(context.waker());
        match connection.signal.watch(context) {
            Order::Stop => return Poll::Ready(()),
            Order::Finish if engine.finish() => to_engine.ring(),
            Order::Finish | Order::Run => {}
        }
        for _ in 0..ROUNDS {
            let has_engine_rung = to_engine.take();
            if has_engine_rung {
                let mut context = Context::from_waker(to_engine.waker());
                while let Poll::Ready(accepted) = engine.poll(&mut context) {
                    // A connection that breaks is the caller's affair; what was refused has been logged.
                    let Some((request, reply)) = accepted else { return Poll::Ready(()) };
                    requests.push(Box::pin(request::serve(Rc::clone(&session), request, reply)));
                    to_requests.ring();
                }
            }
            if to_requests.take() {
                let mut context = Context::from_waker(to_requests.waker());
                while let Poll::Ready(Some(())) = requests.poll_next_unpin(&mut context) {}
            } else if !has_engine_rung {
                break;
            }
        }
        let sent = gathered.poll_send(&mut Context::from_waker(to_engine.waker()));
        to_engine.leave();
        to_requests.leave();
        match sent {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    })
    .await;
}

/// The h2 crate's side of a connection.
struct Engine<S> {
    state: State<S>,
    is_finishing: bool,
}

enum State<S> {
    /// The preface is waited for.
    Begun(Handshake<Gathered<S>, Bytes>),
    Open(server::Connection<Gathered<S>, Bytes>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Engine<S> {
    fn new(limits: &Limits, stream: Gathered<S>) -> Self {
        Self { state: State::Begun(builder(limits).handshake(stream)), is_finishing: false }
    }

    /// Takes no further request. Whether that is news.
    fn finish(&mut self) -> bool {
        let is_news = !std::mem::replace(&mut self.is_finishing, true);
        if let (true, State::Open(connection)) = (is_news, &mut self.state) {
            connection.graceful_shutdown();
        }
        is_news
    }

    /// Reads and writes what there is. Ready with a request, or without one at the connection's end.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<(Request<RecvStream>, SendResponse<Bytes>)>> {
        if let State::Begun(handshake) = &mut self.state {
            let Ok(mut connection) = ready!(Pin::new(handshake).poll(context)) else {
                return Poll::Ready(None);
            };
            if self.is_finishing {
                connection.graceful_shutdown();
            }
            self.state = State::Open(connection);
        }
        let State::Open(connection) = &mut self.state else { return Poll::Ready(None) };
        Poll::Ready(ready!(connection.poll_accept(context)).and_then(Result::ok))
    }
}

fn builder(limits: &Limits) -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        // WebSocket over HTTP/2 (RFC 8441).
        .enable_connect_protocol()
        .max_concurrent_streams(limits.streams)
        .initial_connection_window_size(limits.connection_window)
        .initial_window_size(limits.stream_window)
        .max_frame_size(FRAME)
        // Twice the limit, so that what is too large is told so by us, up to a point.
        .max_header_list_size(limits.header_bytes.saturating_mul(2))
        .max_pending_accept_reset_streams(limits.pending_resets)
        .max_local_error_reset_streams(Some(limits.own_resets))
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

/// Largest frame that is taken, in bytes: the least that RFC 9113 section 6.5.2 allows.
const FRAME: u32 = 16 << 10;
/// What of one answer may wait for a caller that is slow to take it.
const SEND_BUFFER: usize = 64 << 10;
