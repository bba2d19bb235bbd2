//! The head of an application's answer, as its bytes are (RFC 9112 sections 4 to 6): refused unless every reader reads
//! it alike.

use bytes::{Buf as _, BytesMut};
use http::{Method, StatusCode};
use hyper::ext::ReasonPhrase;

use super::head::{self, Framing, Persistence, field_line, is_value};
use super::lines::{LineEnds, Lines};
use crate::authorize::{Code, Denial};
use crate::fields::{Fields, Name};
use crate::forward::message::Answered;

/// Room for an answer's head.
const HEAD_BYTES: usize = 256 << 10;
/// Headers of an answer.
const HEADERS: usize = 256;
/// Interim answers before the one that counts.
const INTERIM: usize = 16;

/// What an answer's head says.
#[derive(Debug)]
pub(in crate::forward) struct Head {
    pub(in crate::forward) response: Answered<()>,
    pub(in crate::forward) body: Body,
    /// Whether the connection may be used again.
    pub(in crate::forward) keeps: bool,
}

/// Where an answer's body ends (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::forward) enum Body {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    Chunked,
    /// Where the connection ends.
    UntilClose,
}

/// Looks for the head's end in `bytes`, which begin where the head does: its length, once it is whole.
///
/// # Errors
/// [`Code::ApplicationFailed`] for what isn't HTTP, [`Code::ApplicationMalformed`] for a line that ends without a
/// CR and for a head without end.
fn find(lines: &mut LineEnds, bytes: &[u8]) -> Result<Option<usize>, Denial> {
    let begins_right = bytes.iter().zip(b"HTTP/1.").all(|(byte, expected)| byte == expected);
    if !begins_right {
        return Err(no_http());
    }
    while let Some(line) = lines.next(bytes).map_err(|denial| of_answer(&denial))? {
        if line.is_empty {
            return if line.end < HEAD_BYTES { Ok(Some(line.end + 1)) } else { Err(too_large()) };
        }
    }
    if bytes.len() > HEAD_BYTES { Err(too_large()) } else { Ok(None) }
}

/// Reads up to the head that counts.
#[derive(Debug)]
pub(in crate::forward) struct Heads {
    method: Method,
    lines: LineEnds,
    /// Interim answers that came before.
    interim: usize,
}

impl Heads {
    /// Of the answer to a request with this method.
    pub(in crate::forward) fn new(method: Method) -> Self {
        Self { method, lines: LineEnds::default(), interim: 0 }
    }

    /// Takes the head off `bytes`, once it is whole. Interim answers are passed over: the sidecar has asked for none,
    /// and they are of use on one hop only.
    ///
    /// # Errors
    /// [`Code::ApplicationFailed`] or [`Code::ApplicationMalformed`].
    pub(in crate::forward) fn take(&mut self, bytes: &mut BytesMut) -> Result<Option<Head>, Denial> {
        while !bytes.is_empty() {
            let Some(length) = find(&mut self.lines, bytes)? else { return Ok(None) };
            let head = bytes.get(..length).unwrap_or_default();
            let head = parse(head, self.lines.lines(head), &self.method);
            bytes.advance(length);
            let head = head?;
            let status = head.response.status;
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some(head));
            }
            (self.lines, self.interim) = (LineEnds::default(), self.interim + 1);
            if self.interim > INTERIM {
                let reason = "the application sends interim answers without end";
                return Err(Denial::new(Code::ApplicationFailed, reason));
            }
        }
        Ok(None)
    }
}

/// Reads a whole head, its empty line included, of an answer to a request with this method.
///
/// # Errors
/// [`Code::ApplicationFailed`] if its first line is not HTTP/1's, [`Code::ApplicationMalformed`] for what follows.
fn parse(head: &[u8], mut lines: Lines<'_>, method: &Method) -> Result<Head, Denial> {
    let (is_http11, status, reason) = status_line(lines.next().map(|(_, line)| line).unwrap_or_default())?;
    let reason = reason.and_then(|reason| ReasonPhrase::try_from(reason).ok());
    let (mut framing, mut persistence) = (Framing::default(), Persistence::default());
    let mut fields = Fields::of_text(head);
    for (at, line) in lines.take_while(|(_, line)| !line.is_empty()) {
        if fields.len() == HEADERS {
            return Err(malformed("it holds too many headers"));
        }
        let place = field_line(line).map_err(|denial| of_answer(&denial))?;
        let kind = place.noted(at, &mut fields);
        match kind.known {
            Some(Name::Connection) => persistence.note(line.get(place.value).unwrap_or_default()),
            _ => framing.note(kind, &place, line).map_err(|denial| of_answer(&denial))?,
        }
    }
    let given = framing.body(is_http11).map_err(|denial| of_answer(&denial))?;
    let has_none = *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = match given {
        _ if has_none => Body::None,
        None => Body::UntilClose,
        Some(head::Body::None) => Body::None,
        Some(head::Body::Length(length)) => Body::Length(length),
        Some(head::Body::Chunked) => Body::Chunked,
    };
    let keeps = persistence.lasts(is_http11) && body != Body::UntilClose;
    Ok(Head { response: Answered { status, reason, fields, body: () }, body, keeps })
}

/// Whether it is HTTP/1.1, the status, and what is said of it in words of the application's own.
fn status_line(line: &[u8]) -> Result<(bool, StatusCode, Option<&[u8]>), Denial> {
    let (version, rest) = line.split_at_checked(b"HTTP/1.1 ".len()).ok_or_else(no_http)?;
    let is_http11 = match version {
        b"HTTP/1.1 " => true,
        b"HTTP/1.0 " => false,
        _ => return Err(no_http()),
    };
    let (code, reason) = rest.split_at_checked(3).ok_or_else(no_http)?;
    let status = StatusCode::from_bytes(code).map_err(|_| no_http())?;
    let reason = match reason {
        [] => &[][..],
        [b' ', reason @ ..] => reason,
        _ => return Err(no_http()),
    };
    if !reason.iter().copied().all(is_value) {
        return Err(no_http());
    }
    let usual = status.canonical_reason().unwrap_or_default().as_bytes();
    Ok((is_http11, status, (reason != usual && !reason.is_empty()).then_some(reason)))
}

fn no_http() -> Denial {
    Denial::new(
        Code::ApplicationFailed,
        "the application answered something that is neither HTTP/1.1 nor HTTP/1.0",
    )
}

fn too_large() -> Denial {
    malformed("it is too large")
}

fn malformed(what: &str) -> Denial {
    Denial::new(
        Code::ApplicationMalformed,
        format!("the head of the application's answer is refused: {what}"),
    )
}

fn of_answer(denial: &Denial) -> Denial {
    malformed(&denial.reason)
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
