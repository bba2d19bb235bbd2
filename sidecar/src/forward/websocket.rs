//! Asks the application for a WebSocket, in the version of HTTP that it speaks, whichever the caller's is.

use std::pin::pin;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode};
use postern_config::policy::Protocol;

use super::body::Outbound;
use super::duplex::Duplex;
use super::exchange::Session;
use super::headers;
use super::pool::Place;
use super::tunnel::Stream;
use super::upgrade::{self, Wish};
use super::upstream::{self, Patience, Received, http1, http2};
use crate::authorize::{Code, Denial, Permit};
use crate::rewound::Rewound;

/// What the application says to a request for a WebSocket.
pub(super) enum Said {
    /// Yes: the head for the caller, and the application's end.
    Yes(Response<()>, Box<dyn Stream>),
    /// An ordinary answer.
    No(Response<Received>),
}

/// Asks. `request` is a GET without a body, its headers cleaned.
///
/// # Errors
/// As [`upstream::send`], and [`Code::UpgradeRefused`] or [`Code::InvalidFraming`] where the two versions of HTTP
/// don't come together.
pub(super) async fn ask(
    session: &Session,
    permit: &Permit<'_>,
    place: &Place,
    patience: &Patience,
    wish: Wish,
    request: Request<Outbound>,
) -> Result<Said, Denial> {
    match place.key.protocol {
        Protocol::H2C => over_http2(session, permit, place, patience, wish, request).await,
        _ => over_http1(session, permit, place, patience, wish, request).await,
    }
}

/// RFC 6455. The connection is the request's own, and becomes the tunnel.
async fn over_http1(
    session: &Session,
    permit: &Permit<'_>,
    place: &Place,
    patience: &Patience,
    wish: Wish,
    mut request: Request<Outbound>,
) -> Result<Said, Denial> {
    let asked = match wish {
        Wish::Upgrade => None,
        // Its HTTP/2 has no key; the application's HTTP/1.1 wants one (RFC 8441 section 5).
        Wish::Connect => Some(upgrade::Key::ask(request.headers_mut())?),
    };
    upgrade::name_websocket(request.headers_mut());
    let connection = upstream::dedicated(&session.worker, permit, place).await?;
    let answer = patience.wait(pin!(http1::ask(connection, request))).await.ok_or_else(too_late)?;
    let (connection, head) = answer?;
    let framing = head.body;
    let (mut parts, ()) = head.response.into_parts();
    if !upgrade::is_switched(parts.status, &parts.headers)? {
        if wish == Wish::Connect && parts.status.is_success() {
            // Passed on, it would open the tunnel.
            return Err(unexpected(parts.status));
        }
        headers::to_caller(&mut parts.headers);
        let response = Response::from_parts(parts, http1::rest(connection, framing));
        return Ok(Said::No(response));
    }
    let (before, stream) = connection.free()?;
    headers::to_caller(&mut parts.headers);
    if let Some(key) = asked {
        key.is_granted(&mut parts.headers)?;
    }
    Ok(yes(wish, parts, Box::new(Rewound::new(before, stream))))
}

/// RFC 8441. The tunnel is one stream of a connection that the caller's other requests share.
async fn over_http2(
    session: &Session,
    permit: &Permit<'_>,
    place: &Place,
    patience: &Patience,
    wish: Wish,
    mut request: Request<Outbound>,
) -> Result<Said, Denial> {
    let asked = match wish {
        Wish::Upgrade => Some(upgrade::Key::take(request.headers_mut())?),
        Wish::Connect => None,
    };
    *request.method_mut() = Method::CONNECT;
    request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let stream = upstream::stream(&session.worker, permit, place).await?;
    let answer = patience.wait(pin!(http2::tunnel(&stream, request))).await.ok_or_else(too_late)?;
    let (response, sending) = answer?;
    let (mut parts, receiving) = response.into_parts();
    headers::to_caller(&mut parts.headers);
    if !parts.status.is_success() {
        let body = Received::Http2(http2::Body::new(receiving, None, stream));
        return Ok(Said::No(Response::from_parts(parts, body)));
    }
    if let Some(key) = asked {
        key.grant(&mut parts.headers);
    }
    Ok(yes(wish, parts, Box::new(Duplex::new(sending, receiving, stream))))
}

/// In the caller's version of HTTP.
fn yes(wish: Wish, mut parts: http::response::Parts, application: Box<dyn Stream>) -> Said {
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    parts.extensions.clear();
    match wish {
        Wish::Upgrade => {
            parts.status = StatusCode::SWITCHING_PROTOCOLS;
            upgrade::name_websocket(&mut parts.headers);
        }
        Wish::Connect => parts.status = StatusCode::OK,
    }
    Said::Yes(Response::from_parts(parts, ()), application)
}

fn unexpected(status: StatusCode) -> Denial {
    let reason = format!("the application answered {status} to a request for a WebSocket");
    Denial::new(Code::ApplicationFailed, reason)
}

fn too_late() -> Denial {
    Denial::new(Code::ApplicationTimeout, "the application did not answer in time")
}
