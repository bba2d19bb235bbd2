//! Asks the application for a WebSocket, in the version of HTTP that it speaks, whichever the caller's is.

use std::pin::pin;

use http::{Method, StatusCode};
use postern_config::policy::Protocol;

use super::duplex::Duplex;
use super::exchange::Session;
use super::headers;
use super::message::Answered;
use super::pool::Place;
use super::tunnel::Stream;
use super::upgrade::{self, Wish};
use super::upstream::{self, Outgoing, Patience, Received, http1, http2};
use crate::authorize::{Code, Denial, Permit};
use crate::fields::{Fields, Name, Passed};
use crate::rewound::Rewound;

/// What the application says to a request for a WebSocket.
pub(super) enum Said {
    /// Yes: the head for the caller, and the application's end.
    Yes(Answered<()>, Box<dyn Stream>),
    /// An ordinary answer.
    No(Answered<Received>),
}

/// Asks. `outgoing` is a GET without a body.
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
    outgoing: &Outgoing<'_, impl Passed>,
) -> Result<Said, Denial> {
    let fields = Fields::of(outgoing.fields);
    match place.key.protocol {
        Protocol::H2C => over_http2(session, permit, place, patience, wish, outgoing, fields).await,
        _ => over_http1(session, permit, place, patience, wish, outgoing, fields).await,
    }
}

/// RFC 6455. The connection is the request's own, and becomes the tunnel.
async fn over_http1(
    session: &Session,
    permit: &Permit<'_>,
    place: &Place,
    patience: &Patience,
    wish: Wish,
    outgoing: &Outgoing<'_, impl Passed>,
    mut fields: Fields,
) -> Result<Said, Denial> {
    let asked = match wish {
        Wish::Upgrade => None,
        // Its HTTP/2 has no key; the application's HTTP/1.1 wants one (RFC 8441 section 5).
        Wish::Connect => Some(upgrade::Key::ask(&mut fields)?),
    };
    upgrade::name_websocket(&mut fields);
    let outgoing =
        Outgoing { method: outgoing.method, path: outgoing.path, query: outgoing.query, fields: &fields };
    let connection = upstream::dedicated(&session.worker, permit, place).await?;
    let answer = patience.wait(pin!(http1::ask(connection, &outgoing))).await.ok_or_else(too_late)?;
    let (connection, head) = answer?;
    let (framing, mut answered) = (head.body, head.response);
    if !upgrade::is_switched(answered.status, &answered.fields)? {
        if wish == Wish::Connect && answered.status.is_success() {
            // Passed on, it would open the tunnel.
            return Err(unexpected(answered.status));
        }
        headers::to_caller(&mut answered.fields);
        return Ok(Said::No(answered.map(|()| http1::rest(connection, framing))));
    }
    let (before, stream) = connection.free()?;
    headers::to_caller(&mut answered.fields);
    if let Some(key) = asked {
        key.is_granted(&mut answered.fields)?;
    }
    Ok(yes(wish, answered, Box::new(Rewound::new(before, stream))))
}

/// RFC 8441. The tunnel is one stream of a connection that the caller's other requests share.
async fn over_http2(
    session: &Session,
    permit: &Permit<'_>,
    place: &Place,
    patience: &Patience,
    wish: Wish,
    outgoing: &Outgoing<'_, impl Passed>,
    mut fields: Fields,
) -> Result<Said, Denial> {
    let asked = match wish {
        Wish::Upgrade => Some(upgrade::Key::take(&mut fields)?),
        Wish::Connect => None,
    };
    let outgoing =
        Outgoing { method: &Method::CONNECT, path: outgoing.path, query: outgoing.query, fields: &fields };
    let protocol = h2::ext::Protocol::from_static("websocket");
    let stream = upstream::stream(&session.worker, permit, place).await?;
    let answer = patience.wait(pin!(http2::tunnel(&stream, &outgoing, protocol))).await;
    let (mut answered, sending) = answer.ok_or_else(too_late)??;
    headers::to_caller(&mut answered.fields);
    if !answered.status.is_success() {
        return Ok(Said::No(
            answered.map(|receiving| Received::Http2(http2::Body::new(receiving, None, stream))),
        ));
    }
    if let Some(key) = asked {
        key.grant(&mut answered.fields);
    }
    let Answered { status, reason, fields, body: receiving } = answered;
    let answered = Answered { status, reason, fields, body: () };
    Ok(yes(wish, answered, Box::new(Duplex::new(sending, receiving, stream))))
}

/// In the caller's version of HTTP.
fn yes(wish: Wish, mut answered: Answered<()>, application: Box<dyn Stream>) -> Said {
    for name in [Name::ContentLength, Name::TransferEncoding] {
        answered.fields.remove(name);
    }
    answered.reason = None;
    match wish {
        Wish::Upgrade => {
            answered.status = StatusCode::SWITCHING_PROTOCOLS;
            upgrade::name_websocket(&mut answered.fields);
        }
        Wish::Connect => answered.status = StatusCode::OK,
    }
    Said::Yes(answered, application)
}

fn unexpected(status: StatusCode) -> Denial {
    let reason = format!("the application answered {status} to a request for a WebSocket");
    Denial::new(Code::ApplicationFailed, reason)
}

fn too_late() -> Denial {
    Denial::new(Code::ApplicationTimeout, "the application did not answer in time")
}
