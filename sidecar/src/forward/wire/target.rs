//! The target of a request (RFC 9112 section 3.2).

use std::ops::Range;

use memchr::memchr;

use super::head::{every, malformed};
use crate::authorize::host::Host;
use crate::authorize::{Code, Denial};
use crate::forward::message::Target;

pub(in crate::forward) fn too_long(length: usize, limit: usize) -> Denial {
    let reason = format!("the request's target holds {length} bytes where {limit} are allowed");
    Denial::new(Code::TargetTooLong, reason)
}

/// In origin form, absolute form, or `*` (RFC 9112 section 3.2). What the path means is judged later, in its
/// canonical form; here it only must not be cut off or rejected by the type that holds it for HTTP/2. It begins `at` so many bytes.
pub(super) fn read(target: &[u8], at: usize) -> Result<Target, Denial> {
    let ambiguous = |what: &'static str| Denial::new(Code::AmbiguousPath, what);
    if target == b"*" {
        return Ok(Target { authority: None, path: at..at + 1, query: None });
    }
    let authority = match target.first() {
        Some(b'/') => None,
        _ => Some(read_authority(target)?),
    };
    let begin = authority.as_ref().map_or(0, |place| place.end);
    let middle = memchr(b'?', target.get(begin..).unwrap_or_default()).map(|middle| begin + middle);
    let path = begin..middle.unwrap_or(target.len());
    let query = middle.map(|middle| middle + 1..target.len());
    let part = |place: &Range<usize>| target.get(place.clone()).unwrap_or_default();
    let is_right = every(part(&path), is_path);
    let is_query_right = query.as_ref().is_none_or(|query| every(part(query), is_query));
    if !is_right || !is_query_right {
        return Err(ambiguous(if memchr(b'#', target).is_some() {
            "the request's target holds a fragment"
        } else if is_right {
            "the request's query holds a character that must be percent-encoded"
        } else {
            "the request's path holds a character that must be percent-encoded"
        }));
    }
    let moved = |place: Range<usize>| at + place.start..at + place.end;
    Ok(Target { authority: authority.map(moved), path: moved(path), query: query.map(moved) })
}

/// Where in `http://host` the host stands.
fn read_authority(target: &[u8]) -> Result<Range<usize>, Denial> {
    let after = |scheme: &[u8]| {
        let (given, _) = target.split_at_checked(scheme.len())?;
        given.eq_ignore_ascii_case(scheme).then_some(scheme.len())
    };
    let begin = after(b"http://")
        .or_else(|| after(b"https://"))
        .ok_or_else(|| malformed("the request's target is neither a path nor an http or https URI"))?;
    let rest = target.get(begin..).unwrap_or_default();
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let text = std::str::from_utf8(rest.get(..end).unwrap_or_default())
        .map_err(|_| Denial::new(Code::InvalidHost, "the authority of the request's target is no text"))?;
    Host::parse(text).map(|_| begin..begin + end)
}

/// What the type for a target takes, in ASCII.
const fn is_path(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'#' | b'<' | b'>' | b'?' | b'`')
}

const fn is_query(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'#' | b'<' | b'>')
}
