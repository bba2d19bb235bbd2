//! HTTP/2 to the application: many requests of one caller over one connection.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client;
use h2::{Reason, RecvStream, SendStream};
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{Request, Uri, Version};
use hyper::body::{Body as _, Frame};
use tokio::time::timeout;

use super::pump::{self, Pump};
use super::transport::Transport;
use super::{Failure, Outgoing, Received, Repeatable};
use crate::authorize::{Code, Denial};
use crate::fields::{Fields, Name, Names, Passed};
use crate::forward::body::Outbound;
use crate::forward::message::Answered;
use crate::forward::receiving::Receiving;
use crate::limits::Limits;

/// Room for an answer's head.
const HEAD_BYTES: u32 = 256 << 10;
/// What an application may send of one answer before the caller has taken it.
const STREAM_WINDOW: u32 = 256 << 10;

/// A connection that requests share.
pub(in crate::forward) struct Shared {
    sender: client::SendRequest<Bytes>,
    scheme: Scheme,
    /// Requests in progress.
    streams: Cell<usize>,
    cap: usize,
    /// When the last of them ended.
    unused_since: Cell<Instant>,
    /// Whether the connection has ended.
    ended: Rc<Cell<bool>>,
}

impl Shared {
    /// Whether one more request can be sent over it now.
    pub(in crate::forward) fn has_room(&self) -> bool {
        !self.ended.get() && self.streams.get() < self.cap.min(self.sender.current_max_send_streams())
    }

    /// Whether it has been without a request for so long, or is of no use any more.
    pub(in crate::forward) fn is_stale(&self, keep: Duration) -> bool {
        self.streams.get() == 0 && (self.ended.get() || self.unused_since.get().elapsed() >= keep)
    }

    /// No further request.
    fn retire(&self) {
        self.ended.set(true);
    }
}

/// A place for one request on a connection.
pub(in crate::forward) struct Stream(Rc<Shared>);

impl Stream {
    pub(in crate::forward) fn open(shared: &Rc<Shared>) -> Self {
        shared.streams.set(shared.streams.get() + 1);
        Self(Rc::clone(shared))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let left = self.0.streams.get().saturating_sub(1);
        self.0.streams.set(left);
        if left == 0 {
            self.0.unused_since.set(Instant::now());
        }
    }
}

/// Speaks HTTP/2 with prior knowledge, or after ALPN.
pub(super) async fn connect(transport: Transport, limits: &Limits) -> Result<Rc<Shared>, Denial> {
    let failed = |error: h2::Error| {
        let reason = format!("the application does not speak HTTP/2 ({error})");
        Denial::new(Code::ApplicationFailed, reason)
    };
    // The connection's window holds what all streams may have in it, so that a caller who is slow with one answer
    // does not hold up the others.
    let window = STREAM_WINDOW.saturating_mul(limits.streams).min(i32::MAX.cast_unsigned());
    let scheme = if transport.is_tls() { Scheme::HTTPS } else { Scheme::HTTP };
    let (sender, mut connection) = client::Builder::new()
        .enable_push(false)
        .max_header_list_size(HEAD_BYTES)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(window)
        .handshake(transport)
        .await
        .map_err(failed)?;
    let mut pings = connection.ping_pong();
    let ended = Rc::new(Cell::new(false));
    let ending = Rc::clone(&ended);
    let (broken, mut breaks) = tokio::sync::oneshot::channel();
    tokio::task::spawn_local(async move {
        // Its errors come out of the requests that they hit, too.
        let outcome = connection.await;
        ending.set(true);
        let _ = broken.send(outcome);
    });
    // Its settings come before its first answer: how many streams there may be, and whether CONNECT may be extended.
    // What is no HTTP/2 server fails here, with a reason, and not at the first request.
    if let Some(pings) = &mut pings {
        let settled = async {
            tokio::select! {
                biased;
                outcome = &mut breaks => Err(outcome.ok().and_then(Result::err)),
                pong = pings.ping(h2::Ping::opaque()) => pong.map(|_| ()).map_err(Some),
            }
        };
        match timeout(limits.connect, settled).await {
            Ok(Ok(())) => {}
            Ok(Err(Some(error))) => return Err(failed(error)),
            Ok(Err(None)) => {
                let reason = "the application closed the connection before it had answered in HTTP/2";
                return Err(Denial::new(Code::ApplicationFailed, reason));
            }
            Err(_) => {
                let reason =
                    "the application did not answer in HTTP/2 in time; does it speak it without being asked?";
                return Err(Denial::new(Code::ApplicationTimeout, reason));
            }
        }
    }
    let cap = usize::try_from(limits.streams).unwrap_or(usize::MAX);
    let unused_since = Cell::new(Instant::now());
    Ok(Rc::new(Shared { sender, scheme, streams: Cell::new(0), cap, unused_since, ended }))
}

/// Sends a request, and waits for the head of its answer.
pub(super) async fn send(
    stream: Stream,
    outgoing: &Outgoing<'_, impl Passed>,
    body: Outbound,
) -> Result<Answered<Received>, Failure> {
    let request = match request(outgoing, stream.0.scheme.clone()) {
        Ok(request) => request,
        Err(denial) => return Err(Failure { denial, unsent: None, repeatable: Repeatable::Never }),
    };
    let mut sender = match stream.0.sender.clone().ready().await {
        Ok(sender) => sender,
        Err(error) => return Err(failure(&stream, &error, Some(body))),
    };
    let ends = body.is_end_stream();
    let (response, pump) = match sender.send_request(request, ends) {
        Ok((response, _)) if ends => (response, None),
        Ok((response, sending)) => (response, Some(Pump::start(pump::fill(body, sending)))),
        Err(error) => return Err(failure(&stream, &error, None)),
    };
    match response.await {
        Ok(response) => {
            let answered = Answered::of_http2(response);
            Ok(answered.map(|receiving| Received::Http2(Body::new(receiving, pump, stream))))
        }
        Err(error) => Err(failure(&stream, &error, None)),
    }
}

/// Sends an extended CONNECT (RFC 8441), and waits for the head of its answer.
pub(in crate::forward) async fn tunnel(
    stream: &Stream,
    outgoing: &Outgoing<'_, impl Passed>,
    protocol: h2::ext::Protocol,
) -> Result<(Answered<RecvStream>, SendStream<Bytes>), Denial> {
    let failed = |error: h2::Error| failure(stream, &error, None).denial;
    if !stream.0.sender.is_extended_connect_protocol_enabled() {
        return Err(Denial::new(
            Code::UpgradeRefused,
            "the application speaks HTTP/2 and does not take WebSocket over it (RFC 8441)",
        ));
    }
    let mut request = request(outgoing, stream.0.scheme.clone())?;
    request.extensions_mut().insert(protocol);
    let mut sender = stream.0.sender.clone().ready().await.map_err(failed)?;
    let (response, sending) = sender.send_request(request, false).map_err(failed)?;
    Ok((Answered::of_http2(response.await.map_err(failed)?), sending))
}

fn failure(stream: &Stream, error: &h2::Error, unsent: Option<Outbound>) -> Failure {
    let is_refused = error.is_remote() && error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    if !error.is_reset() {
        stream.0.retire();
    }
    // The engine ends a stream with the peer's GOAWAY only if its number is above the last that the peer will look at.
    let repeatable = if is_refused || (error.is_remote() && error.is_go_away()) {
        Repeatable::Always
    } else if error.is_reset() {
        Repeatable::Never
    } else {
        Repeatable::IfIdempotent
    };
    Failure::broken_off(error, unsent, repeatable)
}

/// A request as HTTP/2 has it (RFC 9113 section 8.3.1).
fn request(outgoing: &Outgoing<'_, impl Passed>, scheme: Scheme) -> Result<Request<()>, Denial> {
    let broken = |what: &str, error: &dyn std::fmt::Display| {
        Denial::new(
            Code::ApplicationFailed,
            format!("the request's {what} cannot be written in HTTP/2 ({error})"),
        )
    };
    // They frame and name things in HTTP/1.1 only.
    let dropped = Names::of(&[Name::Host, Name::TransferEncoding, Name::Connection, Name::Upgrade]);
    let (mut fields, mut parts) = (Fields::new(), Parts::default());
    outgoing.fields.each(|field| {
        if field.known == Some(Name::Host) {
            parts.authority = Authority::try_from(field.value).ok();
        }
        if !field.is_one_of(dropped) {
            fields.push(field.name, field.value);
        }
    });
    parts.scheme = Some(scheme);
    let target =
        PathAndQuery::try_from(outgoing.target().concat()).map_err(|error| broken("target", &error))?;
    parts.path_and_query = Some(target);
    let mut request = Request::new(());
    *request.method_mut() = outgoing.method.clone();
    *request.uri_mut() = Uri::from_parts(parts).map_err(|error| broken("target", &error))?;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = fields.into_map().map_err(|error| broken("head", &error))?;
    Ok(request)
}

/// An answer's body. Its place on the connection is given back as soon as its end was read.
pub(in crate::forward) struct Body {
    receiving: Receiving,
    /// What is still being sent of the request; it is given up with the answer, but for one that is complete.
    pump: Option<Pump>,
    stream: Option<Stream>,
}

impl Body {
    /// What is received on its place of a connection.
    pub(in crate::forward) const fn new(receiving: RecvStream, pump: Option<Pump>, stream: Stream) -> Self {
        Self { receiving: Receiving::new(receiving), pump, stream: Some(stream) }
    }

    pub(super) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let frame = ready!(self.receiving.poll_frame(context));
        if self.is_end_stream() || !matches!(frame, Some(Ok(_))) {
            self.stream = None;
        }
        Poll::Ready(frame)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.receiving.is_end_stream()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // An application may have said all and still listen.
        if let Some(pump) = self.pump.take()
            && self.receiving.is_end_stream()
        {
            pump.go_on();
        }
    }
}
