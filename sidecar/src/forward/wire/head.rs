//! One request's head, as its bytes are (RFC 9112 sections 2 to 6): refused unless every reader reads it alike.
//!
//! Stricter than hyper: no head that passes here is refused or settled by it.

use std::ops::Range;

use memchr::{memchr, memrchr};

use super::Bounds;
use super::lines::Lines;
use super::target;
use crate::authorize::{Code, Denial};
use crate::fields::{Fields, Name};
use crate::forward::message::Target;

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Nothing.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks (RFC 9112 section 7.1).
    Chunked,
}

/// What a proper head says of what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) body: Body,
    /// Whether the connection may be used again.
    pub(super) keeps: bool,
}

/// Lengths beyond are no lengths: nobody sends so much, and additions must not overflow.
const LONGEST_BODY: u64 = i64::MAX as u64;
const LONGEST_METHOD: usize = 32;
/// What the type that holds it for HTTP/2 takes.
const LONGEST_NAME: usize = 32 << 10;

/// A request's first line.
#[derive(Clone, Debug)]
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a [u8],
    /// Where in the head's text it stands.
    pub(super) target: Target,
    /// The other version being HTTP/1.0.
    pub(super) is_http11: bool,
}

/// Reads a whole head, its empty line included. It holds no LF without a CR before it: see [`super::request`].
///
/// # Errors
/// The denial; the connection is of no use then.
pub(super) fn read<'a>(
    head: &'a [u8],
    mut lines: Lines<'a>,
    bounds: &Bounds,
) -> Result<(RequestLine<'a>, Fields, Head), Denial> {
    let line = request_line(lines.next().map(|(_, line)| line).unwrap_or_default(), bounds)?;
    let mut fields = Fields::of_text(head);
    let mut noted = Noted::default();
    for (at, line) in lines {
        if line.is_empty() {
            break;
        }
        if fields.len() == bounds.headers {
            return Err(too_many(bounds.headers));
        }
        let place = field_line(line)?;
        noted.note(place.noted(at, &mut fields), &place, line)?;
    }
    let head = noted.head(line.is_http11)?;
    Ok((line, fields, head))
}

pub(super) fn too_many(limit: usize) -> Denial {
    Denial::new(Code::TooManyHeaders, format!("more than the {limit} headers that are allowed"))
}

pub(super) fn malformed(what: &'static str) -> Denial {
    Denial::new(Code::MalformedHead, what)
}

fn request_line<'a>(line: &'a [u8], bounds: &Bounds) -> Result<RequestLine<'a>, Denial> {
    let Some((method, rest)) = split_once(line, b' ') else {
        return Err(malformed("the request line is not method, target and version with one space between"));
    };
    if method.is_empty() || method.len() > LONGEST_METHOD || !every(method, is_token) {
        return Err(malformed("the method is no token of at most 32 characters"));
    }
    let Some((target, [_, version @ ..])) = memrchr(b' ', rest).map(|at| rest.split_at(at)) else {
        return Err(malformed("the request line names no version"));
    };
    let is_http11 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Denial::new(
                Code::VersionNotSupported,
                "the version is neither HTTP/1.1 nor HTTP/1.0",
            ));
        }
        _ => return Err(malformed("the request line ends in no version")),
    };
    if target.len() > bounds.target {
        return Err(target::too_long(target.len(), bounds.target));
    }
    if method == b"CONNECT" {
        return Err(Denial::new(Code::ConnectRefused, "CONNECT asks for a tunnel"));
    }
    let target = target::read(target, method.len() + 1)?;
    Ok(RequestLine { method, target, is_http11 })
}

/// Where in a line a field's name and value stand.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) name: Range<usize>,
    /// Without white space around it.
    pub(super) value: Range<usize>,
}

/// What a field is.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) known: Option<Name>,
    has_underscore: bool,
}

impl Place {
    /// Adds the field to those of the head in which the line begins `at` so many bytes.
    pub(super) fn noted(&self, at: usize, fields: &mut Fields) -> Kind {
        let moved = |place: &Range<usize>| at + place.start..at + place.end;
        let (known, has_underscore) = fields.note(moved(&self.name), moved(&self.value));
        Kind { known, has_underscore }
    }
}

/// A line that holds a field.
pub(super) fn field_line(line: &[u8]) -> Result<Place, Denial> {
    let end = line.iter().position(|byte| !is_token(*byte)).unwrap_or(line.len());
    let value = match line.get(end..) {
        Some([b':', value @ ..]) if (1..=LONGEST_NAME).contains(&end) => value,
        _ => return Err(no_field(line)),
    };
    if !every(value, is_value) {
        let wrong = value.iter().copied().find(|byte| !is_value(*byte));
        return Err(wrong_in_value(wrong.unwrap_or_default()));
    }
    let rest = value.trim_ascii_start();
    let begin = line.len() - rest.len();
    Ok(Place { name: 0..end, value: begin..begin + rest.trim_ascii_end().len() })
}

/// What is wrong with a line that has no name before a colon.
fn no_field(line: &[u8]) -> Denial {
    if let Some(b' ' | b'\t') = line.first() {
        return malformed("a header is folded over several lines");
    }
    let Some((name, _)) = split_once(line, b':') else {
        return malformed("a header line holds no colon");
    };
    malformed(match name.last() {
        Some(b' ' | b'\t') => "a space stands before a header's colon",
        _ => "a header's name is no token",
    })
}

pub(super) fn wrong_in_value(byte: u8) -> Denial {
    malformed(match byte {
        0 => "a header's value holds NUL",
        b'\r' => "a CR stands without an LF after it",
        _ => "a header's value holds a control character",
    })
}

/// The fields on which everything that follows hangs.
#[derive(Default)]
struct Noted {
    has_host: bool,
    framing: Framing,
    persistence: Persistence,
}

impl Noted {
    fn note(&mut self, kind: Kind, place: &Place, line: &[u8]) -> Result<(), Denial> {
        match kind.known {
            Some(Name::Host) if self.has_host => {
                Err(Denial::new(Code::InvalidHost, "Host is given more than once"))
            }
            Some(Name::Host) => {
                self.has_host = true;
                Ok(())
            }
            Some(Name::Connection) => {
                self.persistence.note(line.get(place.value.clone()).unwrap_or_default());
                Ok(())
            }
            _ => self.framing.note(kind, place, line),
        }
    }

    fn head(self, is_http11: bool) -> Result<Head, Denial> {
        let body = self.framing.body(is_http11)?.unwrap_or(Body::None);
        Ok(Head { body, keeps: self.persistence.lasts(is_http11) })
    }
}

/// What `Connection` says of the connection's end (RFC 9112 section 9.3), in a request or an answer.
#[derive(Default)]
pub(super) struct Persistence {
    closes: bool,
    keeps: bool,
}

impl Persistence {
    pub(super) fn note(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.closes |= option.eq_ignore_ascii_case(b"close");
            self.keeps |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// Whether there may be another message after this one.
    pub(super) const fn lasts(&self, is_http11: bool) -> bool {
        !self.closes && (is_http11 || self.keeps)
    }
}

/// The fields that say how long a body is (RFC 9112 section 6.3), in a request or an answer.
#[derive(Default)]
pub(super) struct Framing {
    length: Option<u64>,
    is_chunked: bool,
}

impl Framing {
    pub(super) fn note(&mut self, kind: Kind, place: &Place, line: &[u8]) -> Result<(), Denial> {
        let part = |place: &Range<usize>| line.get(place.clone()).unwrap_or_default();
        match kind.known {
            Some(Name::ContentLength) => {
                if self.length.is_some() {
                    return Err(contradiction("Content-Length is given more than once"));
                }
                self.length = Some(length(part(&place.value))?);
            }
            Some(Name::TransferEncoding) => {
                if self.is_chunked || !part(&place.value).eq_ignore_ascii_case(b"chunked") {
                    return Err(contradiction("Transfer-Encoding is not exactly \"chunked\", once"));
                }
                self.is_chunked = true;
            }
            // A server that takes `_` for `-`, as CGI's names make it, would believe it.
            None if kind.has_underscore && is_framing(part(&place.name)) => {
                return Err(contradiction("a header of the framing is spelt with an underscore"));
            }
            _ => {}
        }
        Ok(())
    }

    /// `None` if neither was given.
    pub(super) fn body(self, is_http11: bool) -> Result<Option<Body>, Denial> {
        match (self.is_chunked, self.length) {
            (true, _) if !is_http11 => Err(contradiction("Transfer-Encoding belongs to HTTP/1.1 alone")),
            (true, Some(_)) => Err(contradiction("Content-Length and Transfer-Encoding are both given")),
            (true, None) => Ok(Some(Body::Chunked)),
            (false, Some(0)) => Ok(Some(Body::None)),
            (false, Some(length)) => Ok(Some(Body::Length(length))),
            (false, None) => Ok(None),
        }
    }
}

fn contradiction(what: &'static str) -> Denial {
    Denial::new(Code::InvalidFraming, what)
}

/// Whether it is one of the framing's names, however it is spelt.
pub(in crate::forward) fn is_framing(name: &[u8]) -> bool {
    matches!(Name::of_spelling(name), Some(Name::ContentLength | Name::TransferEncoding))
}

fn length(value: &[u8]) -> Result<u64, Denial> {
    let wrong = || Denial::new(Code::InvalidFraming, "Content-Length is no number of bytes");
    let mut length: u64 = 0;
    for digit in value {
        let digit = char::from(*digit).to_digit(10).ok_or_else(wrong)?;
        length = length.checked_mul(10).and_then(|n| n.checked_add(digit.into())).ok_or_else(wrong)?;
    }
    if value.is_empty() || length > LONGEST_BODY { Err(wrong()) } else { Ok(length) }
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr(separator, bytes)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// Without an early end, so that many bytes are looked at in one step.
pub(super) fn every(bytes: &[u8], is_right: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, byte| all & is_right(*byte))
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    TOKENS.get(usize::from(byte)).is_some_and(|is| *is)
}

/// By byte: names are looked at for every header of every request.
static TOKENS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_usize;
    while byte < table.len() {
        #[allow(
            clippy::indexing_slicing,
            clippy::cast_possible_truncation,
            reason = "bounded by the table's length"
        )]
        {
            table[byte] = is_token_byte(byte as u8);
        }
        byte += 1;
    }
    table
};

const fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'!' | b'#' | b'$' | b'%' | b'&'
        | b'\'' | b'*' | b'+' | b'.' | b'^' | b'`' | b'|' | b'~')
}

/// RFC 9110 section 5.5: no control character but the tab.
pub(super) const fn is_value(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
