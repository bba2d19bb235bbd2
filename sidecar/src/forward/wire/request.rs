//! Requests as they come over HTTP/1.1, one after the other: the head of each is judged by its bytes before anything in
//! it is believed.

use bytes::{Buf as _, BytesMut};
use http::{Method, Uri, Version};

use super::head::{self, Body};
use super::lines::{LineEnds, Lines};
use super::{Bounds, Rest};
use crate::authorize::{Code, Denial};
use crate::fields::Name;
use crate::forward::message::RequestHead;
use crate::limits::Limits;

/// Of a request line that is refused, for the log.
const LOGGED_LINE: usize = 1 << 10;

/// What a request's head says.
#[derive(Debug)]
pub(in crate::forward) struct Head {
    pub(in crate::forward) request: RequestHead,
    /// What follows it.
    pub(in crate::forward) body: Rest,
    /// Whether the connection may be used again.
    pub(in crate::forward) keeps: bool,
}

impl Head {
    /// Whether the body is sent only once the caller has been told to go on (RFC 9110 section 10.1.1).
    pub(in crate::forward) fn expects(&self) -> bool {
        let expected = self.request.fields.first(Name::Expect);
        !self.body.is_over()
            && self.request.version == Version::HTTP_11
            && expected.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
    }
}

/// Reads heads of requests.
#[derive(Debug)]
pub(in crate::forward) struct Heads {
    bounds: Bounds,
    search: Search,
}

impl Heads {
    pub(in crate::forward) fn new(limits: &Limits) -> Self {
        Self { bounds: Bounds::of(limits), search: Search::default() }
    }

    /// Takes the next head off `bytes`, once it is whole. What is refused is left there.
    ///
    /// # Errors
    /// The denial; nothing that follows can be believed.
    pub(in crate::forward) fn take(&mut self, bytes: &mut BytesMut) -> Result<Option<Head>, Denial> {
        loop {
            match self.search.step(bytes, &self.bounds)? {
                Found::Nothing => return Ok(None),
                Found::EmptyLine(length) => bytes.advance(length),
                Found::Head(length) => {
                    let head = bytes.get(..length).unwrap_or_default();
                    let head = read(head, self.search.lines.lines(head), &self.bounds)?;
                    bytes.advance(length);
                    self.search = Search::default();
                    return Ok(Some(head));
                }
            }
        }
    }
}

fn read(head: &[u8], lines: Lines<'_>, bounds: &Bounds) -> Result<Head, Denial> {
    let (line, fields, said) = head::read(head, lines, bounds)?;
    let method = Method::from_bytes(line.method)
        .map_err(|_| Denial::new(Code::MalformedHead, "the method is no token"))?;
    let version = if line.is_http11 { Version::HTTP_11 } else { Version::HTTP_10 };
    let request = RequestHead::new(method, version, line.target, fields);
    let body = match said.body {
        Body::None => Rest::of_request(Body::None, 0),
        body => Rest::of_request(body, bounds.headers),
    };
    Ok(Head { request, body, keeps: said.keeps })
}

/// A stand-in for a request whose head was refused, for the log and for the kind of its answer: its method and target as
/// far as they are plain text, else `-` and `*`. It is never forwarded.
pub(in crate::forward) fn stand_in(bytes: &[u8]) -> RequestHead {
    let line = request_line(bytes);
    let method = line.and_then(|(method, _)| Method::from_bytes(method.as_bytes()).ok());
    let target = line.and_then(|(_, target)| Uri::try_from(target).ok());
    let method = method.or_else(|| Method::from_bytes(b"-").ok()).unwrap_or_default();
    RequestHead::of_target(method, &target.unwrap_or_else(|| Uri::from_static("*")))
}

fn request_line(head: &[u8]) -> Option<(&str, &str)> {
    let line = head.get(..LOGGED_LINE.min(head.len()))?.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let text = std::str::from_utf8(line)
        .ok()
        .filter(|text| text.bytes().all(|byte| (b' '..=b'~').contains(&byte)))?;
    let (method, rest) = text.split_once(' ')?;
    Some((method, rest.split(' ').next()?))
}

/// For the end of a head of which a part is there.
#[derive(Debug, Default)]
struct Search {
    lines: LineEnds,
    /// Whether the one empty line that may stand before a head has passed (RFC 9112 section 2.2).
    skipped: bool,
}

enum Found {
    Nothing,
    EmptyLine(usize),
    Head(usize),
}

impl Search {
    /// Looks for the head's end in `bytes`, which begin where the head does.
    fn step(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Found, Denial> {
        while let Some(line) = self.lines.next(bytes)? {
            if line.end >= bounds.head {
                return Err(too_large(bounds.head));
            }
            match (line.is_empty, line.is_first) {
                (false, _) => {}
                (true, false) => return Ok(Found::Head(line.end + 1)),
                (true, true) if self.skipped => {
                    let what = "empty lines stand before the request line";
                    return Err(Denial::new(Code::MalformedHead, what));
                }
                (true, true) => {
                    *self = Self { skipped: true, ..Self::default() };
                    return Ok(Found::EmptyLine(line.end + 1));
                }
            }
        }
        if bytes.len() >= bounds.head { Err(too_large(bounds.head)) } else { Ok(Found::Nothing) }
    }
}

pub(in crate::forward) fn too_large(limit: usize) -> Denial {
    let reason = format!("the request's head holds more than the {limit} bytes that are allowed");
    Denial::new(Code::HeadTooLarge, reason)
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
