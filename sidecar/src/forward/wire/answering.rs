//! An answer's head as a caller over HTTP/1.1 gets it, and how its body's end is told (RFC 9112 section 6).

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use hyper::body::Body;

use super::request::Head;
use super::sending::{Framing, HEAD, Sending, line, names, write_length};
use crate::fields::{Fields, Name, Names};
use crate::forward::message::Answered;
use crate::forward::{date, framing, headers};

/// What the request was like that is answered.
#[derive(Clone, Copy, Debug)]
pub(in crate::forward) struct Asked {
    /// By HEAD.
    pub(in crate::forward) is_head: bool,
    /// The other version being HTTP/1.0.
    pub(in crate::forward) is_http11: bool,
    pub(in crate::forward) takes_trailers: bool,
    /// Whether the connection may be used again.
    pub(in crate::forward) keeps: bool,
}

impl Asked {
    pub(in crate::forward) fn by(head: &Head) -> Self {
        Self {
            is_head: head.request.method == Method::HEAD,
            is_http11: head.request.version == Version::HTTP_11,
            takes_trailers: headers::accepts_trailers(&head.request.fields),
            keeps: head.keeps,
        }
    }

    /// A head that is refused, as far as it can be told what it was.
    pub(in crate::forward) fn of_refused(method: &Method) -> Self {
        Self { is_head: *method == Method::HEAD, is_http11: true, takes_trailers: false, keeps: false }
    }
}

impl<B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin> Sending<B> {
    /// Of an answer, at a time of day in seconds since the epoch; and whether the connection may be used again after it.
    pub(in crate::forward) fn answer(answered: Answered<B>, asked: Asked, now: i64) -> (Self, bool) {
        let Answered { status, reason, fields, body } = answered;
        let framing = framing_of(status, &fields, &body, asked);
        let keeps = asked.keeps && !matches!(framing, Framing::UntilClose);
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(if asked.is_http11 { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
        head.extend_from_slice(status.as_str().as_bytes());
        head.push(b' ');
        head.extend_from_slice(match &reason {
            Some(reason) => reason.as_bytes(),
            None => status.canonical_reason().unwrap_or_default().as_bytes(),
        });
        head.extend_from_slice(b"\r\n");
        // The length of the body stands below; without one it tells what GET would have had. Trailers follow chunks alone.
        let dropped = Names::of(&[Name::TransferEncoding])
            .with_if(Name::ContentLength, !asked.is_head || is_bodiless(status))
            .with_if(Name::Trailer, !matches!(framing, Framing::Chunked(_)));
        for field in fields.iter().filter(|field| !field.is_one_of(dropped)) {
            line(&mut head, field.name, field.value);
        }
        match &framing {
            Framing::Length(length) => write_length(&mut head, *length),
            Framing::Chunked(_) => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Framing::Over if !asked.is_head && !is_bodiless(status) => write_length(&mut head, 0),
            Framing::Over | Framing::UntilClose => {}
        }
        if status != StatusCode::SWITCHING_PROTOCOLS && !fields.contains(Name::Date) {
            line(&mut head, b"date", date::at(now).as_bytes());
        }
        match (keeps, asked.is_http11) {
            // It has said so itself.
            _ if fields.contains(Name::Connection) => {}
            (false, _) => head.extend_from_slice(b"connection: close\r\n"),
            (true, false) => head.extend_from_slice(b"connection: keep-alive\r\n"),
            (true, true) => {}
        }
        head.extend_from_slice(b"\r\n");
        (Self::new(head, body, framing), keeps)
    }
}

/// Whether there is no body, whatever the headers say (RFC 9112 section 6.3). No reader can then take what follows for
/// one if there is no length either, as there need not be (RFC 9110 section 8.6).
fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn framing_of<B: Body>(status: StatusCode, fields: &Fields, body: &B, asked: Asked) -> Framing {
    if asked.is_head || is_bodiless(status) || body.is_end_stream() {
        return Framing::Over;
    }
    // The head's own word where the body doesn't tell: HTTP/2's engine compares the two.
    match body.size_hint().exact().or_else(|| framing::length(fields)) {
        Some(length) => Framing::Length(length),
        None if !asked.is_http11 => Framing::UntilClose,
        None if asked.takes_trailers => {
            Framing::Chunked(fields.values(Name::Trailer).flat_map(names).collect())
        }
        None => Framing::Chunked(Vec::new()),
    }
}

#[cfg(test)]
#[path = "answering_tests.rs"]
mod tests;
