//! The application's side: dialling, sending, and the one retry.
//!
//! * [`transport`] is a connection's bytes, with TLS where the application speaks it.
//! * [`http1`] carries one request at a time, [`http2`] many requests of one caller.

mod answer;
mod body;
pub(super) mod http1;
pub(super) mod http2;
mod patience;
mod pump;
mod transport;

use std::fmt::Display;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use http::Method;
use hyper::body::Body as _;
use postern_config::policy::Protocol;
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(super) use self::answer::{BodyError, Received};
pub(super) use self::patience::Patience;
pub(crate) use self::patience::Timers;
use self::transport::Transport;
use super::body::Outbound;
use super::exchange::Session;
use super::message::Answered;
use super::pool::Place;
use crate::authorize::{Code, Denial, Permit};
use crate::fields::Passed;
use crate::limits::Limits;
use crate::worker::Worker;

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

/// The head of a request as the application gets it.
pub(super) struct Outgoing<'a, F> {
    pub(super) method: &'a Method,
    /// In its canonical form.
    pub(super) path: &'a str,
    /// As it came.
    pub(super) query: Option<&'a str>,
    pub(super) fields: &'a F,
}

impl<F> Outgoing<'_, F> {
    /// In origin form, in pieces.
    fn target(&self) -> [&str; 3] {
        [self.path, self.query.map_or("", |_| "?"), self.query.unwrap_or_default()]
    }
}

/// A way to the application on which a request can be sent.
enum Way {
    One(http1::Upstream),
    Many(http2::Stream),
}

/// Why a request got no answer.
struct Failure {
    denial: Denial,
    /// The body that came back; nothing was sent at all.
    unsent: Option<Outbound>,
    /// Whether the application may have begun to act on it.
    repeatable: Repeatable,
}

impl Failure {
    fn broken_off(error: &dyn Display, unsent: Option<Outbound>, repeatable: Repeatable) -> Self {
        let reason = format!("the application broke off before its answer ({error})");
        Self { denial: Denial::new(Code::ApplicationFailed, reason), unsent, repeatable }
    }
}

/// What a failed request may be sent again for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeatable {
    /// Something of an answer was seen.
    Never,
    /// Nothing was seen: once more, if it does no harm (RFC 9110 section 9.2.2).
    IfIdempotent,
    /// The application says that it has not begun (RFC 9113 sections 6.8 and 8.7).
    Always,
}

/// Sends one request. A connection that the application closed while it lay unused is replaced once, if the
/// request may be sent again.
///
/// # Errors
/// [`Code::ApplicationUnreachable`], [`Code::ApplicationTimeout`] or [`Code::ApplicationFailed`].
pub(super) async fn send(
    session: &Session,
    permit: &Permit<'_>,
    place: &Rc<Place>,
    patience: &Patience,
    outgoing: &Outgoing<'_, impl Passed>,
    mut body: Outbound,
    now: Instant,
) -> Result<Answered<Received>, Denial> {
    let is_empty = body.is_end_stream();
    let is_idempotent = outgoing.method.is_idempotent();
    let (mut way, mut is_reused) = acquire(&session.worker, permit, place, now).await?;
    let mut is_first = true;
    loop {
        // Pinned one by one: together in one future, the body would lie in it once more.
        let (outcome, may_come_again) = match way {
            Way::One(upstream) => {
                let sending = pin!(http1::send(upstream, Rc::clone(place), outgoing, body));
                (patience.wait(sending).await, is_first && is_empty && is_reused && is_idempotent)
            }
            Way::Many(stream) => {
                // Boxed, since few applications speak HTTP/2 and all requests would be as large.
                let mut sending = Box::pin(http2::send(stream, outgoing, body));
                (patience.wait(sending.as_mut()).await, is_first && is_empty)
            }
        };
        let Some(outcome) = outcome else {
            return Err(Denial::new(Code::ApplicationTimeout, "the application did not answer in time"));
        };
        let mut failure = match outcome {
            Ok(answered) => return Ok(answered),
            Err(failure) => failure,
        };
        let may_repeat = match failure.repeatable {
            Repeatable::Never => false,
            Repeatable::IfIdempotent => is_reused && is_idempotent,
            Repeatable::Always => true,
        };
        body = match failure.unsent.take() {
            Some(unsent) if is_reused => unsent,
            None if may_repeat && may_come_again => Outbound::Empty,
            _ => return Err(failure.denial),
        };
        is_first = false;
        is_reused = false;
        way = Box::pin(connect(&session.worker, permit, place)).await?;
    }
}

/// A way that is open already, or a new one.
async fn acquire(
    worker: &Rc<Worker>,
    permit: &Permit<'_>,
    place: &Place,
    now: Instant,
) -> Result<(Way, bool), Denial> {
    if let Some(way) = find(place, now) {
        return Ok((way, true));
    }
    if place.key.protocol == Protocol::HTTP || place.speaks_http1_only() {
        return Ok((Box::pin(connect(worker, permit, place)).await?, false));
    }
    // One connection carries many requests: those that come at the same time wait for it.
    let _turn = place.opening().await;
    match find(place, Instant::now()) {
        Some(way) => Ok((way, true)),
        None => Ok((Box::pin(connect(worker, permit, place)).await?, false)),
    }
}

fn find(place: &Place, now: Instant) -> Option<Way> {
    place.stream().map(Way::Many).or_else(|| place.take(now).map(Way::One))
}

/// Callers box it: it is large, and mostly there is a way already.
async fn connect(worker: &Rc<Worker>, permit: &Permit<'_>, place: &Place) -> Result<Way, Denial> {
    let (key, limits) = (&place.key, &worker.limits());
    let stream = dial(permit, key.address, limits).await?;
    let transport = match key.protocol {
        Protocol::HTTPS => Transport::tls(stream, key.address, &[b"h2", b"http/1.1"], limits).await?,
        _ => Transport::Plain(stream),
    };
    if key.protocol == Protocol::H2C || transport.is_http2() {
        let shared = http2::connect(transport, limits).await?;
        let stream = http2::Stream::open(&shared);
        place.share(shared);
        Ok(Way::Many(stream))
    } else {
        place.note_http1();
        Ok(Way::One(http1::Upstream::new(transport)))
    }
}

/// A connection of its own, for a protocol that will take it over.
///
/// # Errors
/// As [`send`].
pub(super) async fn dedicated(
    worker: &Rc<Worker>,
    permit: &Permit<'_>,
    place: &Place,
) -> Result<http1::Upstream, Denial> {
    let key = &place.key;
    let stream = dial(permit, key.address, &worker.limits()).await?;
    let transport = match key.protocol {
        // Over HTTP/1.1 every server that knows WebSocket knows it.
        Protocol::HTTPS => Transport::tls(stream, key.address, &[b"http/1.1"], &worker.limits()).await?,
        _ => Transport::Plain(stream),
    };
    Ok(http1::Upstream::new(transport))
}

/// A stream for a protocol that will take it over.
///
/// # Errors
/// As [`send`].
pub(super) async fn stream(
    worker: &Rc<Worker>,
    permit: &Permit<'_>,
    place: &Place,
) -> Result<http2::Stream, Denial> {
    match acquire(worker, permit, place, Instant::now()).await?.0 {
        Way::Many(stream) => Ok(stream),
        Way::One(_) => Err(Denial::new(Code::ApplicationFailed, "the application does not speak HTTP/2")),
    }
}
