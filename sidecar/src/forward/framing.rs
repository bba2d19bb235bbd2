//! What a request's head must be before anything in it is believed (RFC 9112 sections 3.2, 6.1, 6.3).
//!
//! The engine reads the bytes first, so this is the second of two looks, and some heads never come to it:
//!
//! - Refused by the engine, with 400 (or 431, if too large), an empty body and the end of the connection, but
//!   without a problem document, a line in the log or a count: a folded line, a space before a colon, NUL or a
//!   bare CR in a value, lengths that differ or are no number, Transfer-Encoding in HTTP/1.0, or one whose last
//!   coding is not `chunked`. In HTTP/2 a length that is no number, or a header of the connection,
//!   resets the stream.
//! - Settled by the engine and then let in: beside `Transfer-Encoding: chunked` every Content-Length is dropped;
//!   equal lengths become one; a bare LF ends a line; a fragment is cut off the target. What is passed on is
//!   written anew, in one framing and with the path that was judged, so the application can't read it otherwise.
//!   A proxy before the sidecar that reads the same bytes otherwise is not protected by this.
//!
//! Nothing below may therefore be relied on to tell of these.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, Uri, Version};

use crate::authorize::host::Host;
use crate::authorize::{Code, Denial};

/// Refuses what the engine lets through although it could be read in two ways.
pub(super) fn check(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
    max_headers: usize,
) -> Result<(), Denial> {
    let framing = |what: &'static str| Err(Denial::new(Code::InvalidFraming, what));
    if headers.len() > max_headers {
        let reason = format!("{} headers where {max_headers} are allowed", headers.len());
        return Err(Denial::new(Code::TooManyHeaders, reason));
    }
    if *method == Method::CONNECT {
        return Err(Denial::new(Code::ConnectRefused, "CONNECT asks for a tunnel"));
    }
    if headers.contains_key(UPGRADE) || names_upgrade(headers) {
        return Err(Denial::new(Code::UpgradeRefused, "the request asks for another protocol"));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if version != Version::HTTP_11 {
            return framing("Transfer-Encoding belongs to HTTP/1.1 alone");
        }
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return framing("Transfer-Encoding is not exactly \"chunked\"");
        }
        if headers.contains_key(CONTENT_LENGTH) {
            return framing("Content-Length and Transfer-Encoding are both given");
        }
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next()
        && (lengths.next().is_some() || !length.as_bytes().iter().all(u8::is_ascii_digit))
    {
        return framing("Content-Length is not given exactly once, as a number");
    }
    Ok(())
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
}

/// The one host that a request names.
pub(super) fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<Host<'a>, Denial> {
    let invalid = |what: &'static str| Denial::new(Code::InvalidHost, what);
    let mut given = headers.get_all(HOST).iter();
    let header = match (given.next(), given.next()) {
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| invalid("Host holds bytes that no host name has"))?;
            Some(Host::parse(text)?)
        }
        (None, _) => None,
        (Some(_), Some(_)) => return Err(invalid("Host is given more than once")),
    };
    let authority = uri.authority().map(|authority| Host::parse(authority.as_str())).transpose()?;
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
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn heads_that_contradict_themselves() {
        let (get, h11) = (Method::GET, Version::HTTP_11);
        for (case, method, version, lines, expected) in [
            ("plain", &get, h11, headers(&[("host", "a")]), None),
            ("chunked", &get, h11, headers(&[("transfer-encoding", "Chunked")]), None),
            ("length", &get, h11, headers(&[("content-length", "3")]), None),
            (
                "gzip",
                &get,
                h11,
                headers(&[("transfer-encoding", "gzip, chunked")]),
                Some(Code::InvalidFraming),
            ),
            (
                "coded twice",
                &get,
                h11,
                headers(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]),
                Some(Code::InvalidFraming),
            ),
            (
                "two lengths",
                &get,
                Version::HTTP_2,
                headers(&[("content-length", "3"), ("content-length", "3")]),
                Some(Code::InvalidFraming),
            ),
            ("a tunnel", &Method::CONNECT, h11, headers(&[]), Some(Code::ConnectRefused)),
            ("an upgrade", &get, h11, headers(&[("upgrade", "websocket")]), Some(Code::UpgradeRefused)),
            (
                "half an upgrade",
                &get,
                h11,
                headers(&[("connection", "keep-alive, Upgrade")]),
                Some(Code::UpgradeRefused),
            ),
            (
                "too many",
                &get,
                h11,
                headers(&[("a", "1"), ("b", "1"), ("c", "1")]),
                Some(Code::TooManyHeaders),
            ),
        ] {
            let result = check(method, version, &lines, 2).map_err(|denial| denial.code);
            assert_eq!(result.err(), expected, "{case}");
        }
    }

    /// Another engine might let these through.
    #[test]
    fn heads_that_this_engine_never_hands_over() {
        for (case, version, lines) in [
            ("both", Version::HTTP_11, headers(&[("content-length", "3"), ("transfer-encoding", "chunked")])),
            ("chunked in HTTP/1.0", Version::HTTP_10, headers(&[("transfer-encoding", "chunked")])),
            ("signed length", Version::HTTP_11, headers(&[("content-length", "+3")])),
            ("two lengths", Version::HTTP_11, headers(&[("content-length", "3"), ("content-length", "3")])),
        ] {
            let result = check(&Method::POST, version, &lines, 2).map_err(|denial| denial.code);
            assert_eq!(result.err(), Some(Code::InvalidFraming), "{case}");
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
            let uri: Uri = target.parse().unwrap();
            let result = host(&uri, &lines);
            let result = result.as_ref().map(Host::as_str).map_err(|denial| denial.code);
            assert_eq!(result, expected, "{target} {lines:?}");
        }
    }
}
