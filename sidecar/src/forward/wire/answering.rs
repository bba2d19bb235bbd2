//! An answer's head as a caller over HTTP/1.1 gets it, and how its body's end is told (RFC 9112 section 6).

use std::io::Write as _;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Response, StatusCode, Version};
use hyper::body::Body;
use hyper::ext::ReasonPhrase;

use super::request::Head;
use super::sending::{Framing, HEAD, Sending, announced, line};
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
            is_head: *head.request.method() == Method::HEAD,
            is_http11: head.request.version() == Version::HTTP_11,
            takes_trailers: headers::accepts_trailers(head.request.headers()),
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
    pub(in crate::forward) fn answer(response: Response<B>, asked: Asked, now: i64) -> (Self, bool) {
        let (parts, body) = response.into_parts();
        let (status, headers) = (parts.status, &parts.headers);
        let framing = framing_of(status, headers, &body, asked);
        let keeps = asked.keeps && !matches!(framing, Framing::UntilClose);
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(if asked.is_http11 { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
        head.extend_from_slice(status.as_str().as_bytes());
        head.push(b' ');
        head.extend_from_slice(match parts.extensions.get::<ReasonPhrase>() {
            Some(reason) => reason.as_bytes(),
            None => status.canonical_reason().unwrap_or_default().as_bytes(),
        });
        head.extend_from_slice(b"\r\n");
        let mut has_date = false;
        for (name, value) in headers {
            match *name {
                TRANSFER_ENCODING => {}
                // That of the body stands below; without one it tells what GET would have had.
                CONTENT_LENGTH if !asked.is_head || is_bodiless(status) => {}
                // Trailers follow chunks alone.
                TRAILER if !matches!(framing, Framing::Chunked(_)) => {}
                _ => {
                    has_date |= *name == DATE;
                    line(&mut head, name, value);
                }
            }
        }
        match &framing {
            // Writing to memory cannot fail.
            Framing::Length(length) => drop(write!(head, "content-length: {length}\r\n")),
            Framing::Chunked(_) => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Framing::Over if !asked.is_head && !is_bodiless(status) => {
                head.extend_from_slice(b"content-length: 0\r\n");
            }
            Framing::Over | Framing::UntilClose => {}
        }
        if !has_date && status != StatusCode::SWITCHING_PROTOCOLS {
            line(&mut head, &DATE, &date::at(now));
        }
        match (keeps, asked.is_http11) {
            // It has said so itself.
            _ if headers.contains_key(CONNECTION) => {}
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

fn framing_of<B: Body>(status: StatusCode, headers: &HeaderMap, body: &B, asked: Asked) -> Framing {
    if asked.is_head || is_bodiless(status) || body.is_end_stream() {
        return Framing::Over;
    }
    // The head's own word where the body doesn't tell: HTTP/2's engine compares the two.
    match body.size_hint().exact().or_else(|| framing::length(headers)) {
        Some(length) => Framing::Length(length),
        None if !asked.is_http11 => Framing::UntilClose,
        None if asked.takes_trailers => Framing::Chunked(announced(headers)),
        None => Framing::Chunked(Vec::new()),
    }
}

#[cfg(test)]
#[path = "answering_tests.rs"]
mod tests;
