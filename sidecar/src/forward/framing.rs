//! What a request's head must be before anything in it is believed, whichever version it came in (RFC 9110,
//! RFC 9112 section 6, RFC 9113 section 8).
//!
//! HTTP/1.1 is judged by its bytes ([`super::wire`]); HTTP/2 is judged here. What its engine refuses by itself it answers by resetting
//! the stream: a length that is no number or not the body's, a header of the connection, an upper-case name, a
//! pseudo-header that is missing, doubled or late, a control character in a value. A fragment in `:path` it cuts off:
//! neither the policy nor the application gets to see it. A head of more than twice the limit it answers with a bare
//! 431 or, far beyond, the end of the connection: it can't be let decode more, since a few bytes that name remembered
//! fields decode to as much as there is room for. All these are logged and counted from the frames that it writes
//! ([`super::wire`]).

use super::message::RequestHead;
use super::wire;
use crate::authorize::host::Host;
use crate::authorize::{Code, Denial};
use crate::fields::{Fields, Name, Repeated};
use crate::limits::Limits;

/// What each field counts beyond its bytes.
const FIELD_OVERHEAD: usize = 32;

/// Refuses what the engine of HTTP/2 lets through although it could be read in two ways.
pub(super) fn check_http2(head: &RequestHead, limits: &Limits) -> Result<(), Denial> {
    let framing = |what: &'static str| Err(Denial::new(Code::InvalidFraming, what));
    let fields = &head.fields;
    if fields.len() > limits.header_count {
        let reason = format!("{} headers where {} are allowed", fields.len(), limits.header_count);
        return Err(Denial::new(Code::TooManyHeaders, reason));
    }
    sizes(head, limits)?;
    // A server that takes `_` for `-`, as CGI's names make it, would take it for a length or a coding.
    if fields.has_underscores()
        && fields.iter().any(|field| field.known.is_none() && wire::is_framing(field.name))
    {
        return framing("a header is spelt like one of the framing's, with an underscore");
    }
    if fields.contains(Name::TransferEncoding) {
        return framing("Transfer-Encoding belongs to HTTP/1.1 alone");
    }
    match fields.only(Name::ContentLength) {
        Ok(None) => Ok(()),
        Ok(Some(length)) if length.iter().all(u8::is_ascii_digit) => Ok(()),
        Ok(Some(_)) | Err(Repeated) => framing("Content-Length is not given exactly once, as a number"),
    }
}

/// How long a body is said to be: nothing if `Content-Length` is not given, more than once, or is no number.
pub(super) fn length(fields: &Fields) -> Option<u64> {
    let length = fields.only(Name::ContentLength).ok()??;
    std::str::from_utf8(length).ok()?.parse().ok()
}

/// HTTP/1.1 was measured by the byte; this is what HTTP/2's fields count (RFC 9113 section 6.5.2).
fn sizes(head: &RequestHead, limits: &Limits) -> Result<(), Denial> {
    let target = head.path().len() + head.query().map_or(0, |query| query.len() + 1);
    if target > limits.target_bytes {
        return Err(wire::too_long(target, limits.target_bytes));
    }
    let fields = head.fields.iter().map(|field| field.name.len() + field.value.len() + FIELD_OVERHEAD);
    let size = fields.sum::<usize>() + target;
    let limit = usize::try_from(limits.header_bytes).unwrap_or(usize::MAX);
    if size > limit { Err(wire::too_large(limit)) } else { Ok(()) }
}

/// The one host that a request names.
pub(super) fn host(head: &RequestHead) -> Result<Host<'_>, Denial> {
    let invalid = |what: &'static str| Denial::new(Code::InvalidHost, what);
    let header = match head.fields.only(Name::Host) {
        Ok(None) => None,
        Ok(Some(value)) => {
            let text =
                std::str::from_utf8(value).map_err(|_| invalid("Host holds bytes that no host name has"))?;
            Some(Host::parse(text)?)
        }
        Err(Repeated) => return Err(invalid("Host is given more than once")),
    };
    let authority = head.authority().map(Host::parse).transpose()?;
    match (authority, header) {
        (Some(authority), Some(header)) if authority != header => {
            Err(invalid("Host differs from the authority of the request's target"))
        }
        (Some(host), _) | (None, Some(host)) => Ok(host),
        (None, None) => Err(invalid("no host is named")),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Request};

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn head(target: &str, headers: &HeaderMap) -> RequestHead {
        let mut request = Request::builder().uri(target).body(()).unwrap();
        *request.headers_mut() = headers.clone();
        RequestHead::of_http2(request.into_parts().0)
    }

    fn limits() -> Limits {
        Limits { header_count: 2, header_bytes: 300, target_bytes: 20, ..Limits::default() }
    }

    #[test]
    fn http2_heads_have_a_size() {
        let large = HeaderValue::from_bytes(&[b'x'; 250]).unwrap();
        let (name, path) = (HeaderName::from_static("x"), "/".repeat(21));
        for (target, value, expected) in [
            ("/", HeaderValue::from_static("1"), None),
            (path.as_str(), HeaderValue::from_static("1"), Some(Code::TargetTooLong)),
            ("/aaaaaaaaaaaaaaaaaaa", large, Some(Code::HeadTooLarge)),
        ] {
            let headers = HeaderMap::from_iter([(name.clone(), value)]);
            let result = check_http2(&head(target, &headers), &limits());
            assert_eq!(result.map_err(|denial| denial.code).err(), expected, "{target}");
        }
    }

    #[test]
    fn heads_that_contradict_themselves() {
        for (case, lines, expected) in [
            ("plain", headers(&[("host", "a")]), None),
            ("length", headers(&[("content-length", "3")]), None),
            ("chunked", headers(&[("transfer-encoding", "chunked")]), Some(Code::InvalidFraming)),
            (
                "two lengths",
                headers(&[("content-length", "3"), ("content-length", "3")]),
                Some(Code::InvalidFraming),
            ),
            ("signed length", headers(&[("content-length", "+3")]), Some(Code::InvalidFraming)),
            ("a length in disguise", headers(&[("content_length", "3")]), Some(Code::InvalidFraming)),
            ("a coding in disguise", headers(&[("transfer_encoding", "x")]), Some(Code::InvalidFraming)),
            ("too many", headers(&[("a", "1"), ("b", "1"), ("c", "1")]), Some(Code::TooManyHeaders)),
        ] {
            let result = check_http2(&head("/", &lines), &limits()).map_err(|denial| denial.code);
            assert_eq!(result.err(), expected, "{case}");
        }
    }

    #[test]
    fn one_host() {
        for (target, lines, expected) in [
            ("/", headers(&[("host", "A.example:1")]), Ok("a.example:1")),
            ("http://a.example/", headers(&[]), Ok("a.example")),
            ("http://a.example/", headers(&[("host", "A.example.")]), Ok("a.example")),
            ("http://a.example/", headers(&[("host", "b.example")]), Err(Code::InvalidHost)),
            ("http://a.example/", headers(&[("host", "a.example:1")]), Err(Code::InvalidHost)),
            ("/", headers(&[("host", "a"), ("host", "a")]), Err(Code::InvalidHost)),
            ("/", headers(&[]), Err(Code::InvalidHost)),
            ("/", headers(&[("host", "a b")]), Err(Code::InvalidHost)),
        ] {
            let head = head(target, &lines);
            let result = host(&head);
            let result = result.as_ref().map(Host::as_str).map_err(|denial| denial.code);
            assert_eq!(result, expected, "{target} {lines:?}");
        }
    }
}
