//! Requests and answers between the two sides, whichever version of HTTP either speaks.

use std::ops::Range;

use h2::ext::Protocol;
use http::{HeaderMap, Method, StatusCode, Uri, Version};
use hyper::ext::ReasonPhrase;

use crate::fields::{Fields, Invalid};

/// What a request's head says.
#[derive(Debug)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// What an extended CONNECT is to begin (RFC 8441).
    pub(crate) protocol: Option<Protocol>,
    target: Target,
    pub(crate) fields: Fields,
}

/// Where in the text of the fields a request's target stands. It is ASCII.
#[derive(Clone, Debug, Default)]
pub(crate) struct Target {
    /// Of a target in absolute form, or `:authority`.
    pub(crate) authority: Option<Range<usize>>,
    pub(crate) path: Range<usize>,
    pub(crate) query: Option<Range<usize>>,
}

impl RequestHead {
    pub(crate) fn new(method: Method, version: Version, target: Target, fields: Fields) -> Self {
        Self { method, version, protocol: None, target, fields }
    }

    /// As HTTP/2's engine has it.
    pub(crate) fn of_http2(parts: http::request::Parts) -> Self {
        let mut fields = Fields::of_map(&parts.headers);
        let target = Target::of_uri(&parts.uri, &mut fields);
        let protocol = parts.extensions.get::<Protocol>().cloned();
        Self { method: parts.method, version: Version::HTTP_2, protocol, target, fields }
    }

    /// A stand-in with this target and no fields.
    pub(crate) fn of_target(method: Method, uri: &Uri) -> Self {
        let mut fields = Fields::new();
        let target = Target::of_uri(uri, &mut fields);
        Self::new(method, Version::HTTP_11, target, fields)
    }

    /// The host and port that the target names, if it names any.
    pub(crate) fn authority(&self) -> Option<&str> {
        self.target.authority.as_ref().map(|place| self.text(place))
    }

    /// The target's path, as it came: `*` too.
    pub(crate) fn path(&self) -> &str {
        match self.text(&self.target.path) {
            // RFC 9110 section 4.2.3.
            "" if self.target.authority.is_some() => "/",
            path => path,
        }
    }

    /// The target's query, without the question mark.
    pub(crate) fn query(&self) -> Option<&str> {
        self.target.query.as_ref().map(|place| self.text(place))
    }

    fn text(&self, place: &Range<usize>) -> &str {
        std::str::from_utf8(self.fields.text(place)).unwrap_or_default()
    }
}

impl Target {
    fn of_uri(uri: &Uri, fields: &mut Fields) -> Self {
        Self {
            authority: uri.authority().map(|authority| fields.add_text(authority.as_str().as_bytes())),
            path: fields.add_text(uri.path().as_bytes()),
            query: uri.query().map(|query| fields.add_text(query.as_bytes())),
        }
    }
}

/// An answer: its head, and its body or what stands for it.
#[derive(Debug)]
pub(crate) struct Answered<B> {
    pub(crate) status: StatusCode,
    /// What HTTP/1.1 says of the status in words of its own.
    pub(crate) reason: Option<ReasonPhrase>,
    pub(crate) fields: Fields,
    pub(crate) body: B,
}

impl<B> Answered<B> {
    /// Without fields.
    pub(crate) fn new(status: StatusCode, body: B) -> Self {
        Self { status, reason: None, fields: Fields::new(), body }
    }

    pub(crate) fn map<C>(self, with: impl FnOnce(B) -> C) -> Answered<C> {
        let Self { status, reason, fields, body } = self;
        Answered { status, reason, fields, body: with(body) }
    }

    /// As HTTP/2's engine has it.
    pub(crate) fn of_http2(response: http::Response<B>) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status, reason: None, fields: Fields::of_map(&parts.headers), body }
    }

    /// Its fields as HTTP/2's engine wants them, and its body.
    ///
    /// # Errors
    /// If a field can't stand in HTTP/2.
    pub(crate) fn into_http2(self) -> Result<(http::Response<()>, B), Invalid> {
        let mut response = http::Response::new(());
        *response.status_mut() = self.status;
        let fields: HeaderMap = self.fields.into_map()?;
        *response.headers_mut() = fields;
        Ok((response, self.body))
    }
}
