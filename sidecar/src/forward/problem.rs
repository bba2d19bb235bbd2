//! Refusals as the caller sees them: problem documents (RFC 9457), for gRPC a status.

use std::fmt::Write as _;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde::Serialize;

use super::headers::REQUEST_ID;
use crate::authorize::{Code, Denial};

/// What stands in the document. No secret, and nothing of the inside but the reason.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    /// A tag URI (RFC 4151): a name, not an address.
    r#type: String,
    title: String,
    status: u16,
    detail: &'a str,
    code: &'static str,
    remedy: &'static str,
    request_id: &'a str,
}

/// What kind of answer the caller understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The document.
    Document,
    /// Its head alone, to HEAD.
    Head,
    /// `grpc-status`, with the same content type.
    Grpc,
}

impl Wanted {
    pub(super) fn by<B>(request: &Request<B>) -> Self {
        let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        // `application/grpc`, or that with a `+` and the message's coding, or with parameters; not `grpc-web`.
        let after = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
        if after.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';'))) {
            Self::Grpc
        } else if *request.method() == Method::HEAD {
            Self::Head
        } else {
            Self::Document
        }
    }
}

/// Status, headers and document for a refusal.
pub(super) fn response(denial: &Denial, request_id: &HeaderValue, wanted: Wanted) -> Response<Vec<u8>> {
    if wanted == Wanted::Grpc {
        return grpc(denial, request_id);
    }
    let code = denial.code;
    let problem = Problem {
        r#type: format!("tag:postern.dev,2026:{}", code.as_str()),
        title: code.title(),
        status: code.status().as_u16(),
        detail: &denial.reason,
        code: code.as_str(),
        remedy: code.remedy(),
        request_id: request_id.to_str().unwrap_or_default(),
    };
    // Strings and a number always become JSON.
    let mut document = serde_json::to_vec(&problem).unwrap_or_default();
    let length = document.len();
    if wanted == Wanted::Head {
        document.clear();
    }
    let mut response = common(code.status(), "application/problem+json", request_id, document);
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(challenge) = &denial.challenge {
        headers.insert(WWW_AUTHENTICATE, challenge.clone());
    }
    if code == Code::ConnectRefused {
        // RFC 9110 section 15.5.6 asks for it; which methods there are is the application's affair.
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    response
}

/// Trailers only, in the words of gRPC: the head is the end.
fn grpc(denial: &Denial, request_id: &HeaderValue) -> Response<Vec<u8>> {
    let mut response = common(StatusCode::OK, "application/grpc", request_id, Vec::new());
    let headers = response.headers_mut();
    let message = percent_encoded(&denial.to_string());
    headers.insert(
        HeaderName::from_static("grpc-status"),
        HeaderValue::from(u16::from(denial.code.grpc_status())),
    );
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert(HeaderName::from_static("grpc-message"), message);
    }
    headers.insert(HeaderName::from_static("postern-code"), HeaderValue::from_static(denial.code.as_str()));
    response
}

fn common(
    status: StatusCode,
    kind: &'static str,
    request_id: &HeaderValue,
    body: Vec<u8>,
) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REQUEST_ID, request_id.clone());
    response
}

/// As gRPC wants `grpc-message`: printable ASCII but for the percent sign stays, every other byte is written in hex.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: HeaderValue = HeaderValue::from_static("r1");

    #[test]
    fn a_refusal_is_a_problem_document() {
        let denial = Denial::new(Code::NoRoute, "no \"route\"");
        let answer = response(&denial, &ID, Wanted::Document);
        assert_eq!(answer.status(), 403);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(answer.headers()["x-request-id"], "r1");
        let document: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(
            document,
            serde_json::json!({
                "type": "tag:postern.dev,2026:NoRoute",
                "title": "No route",
                "status": 403,
                "detail": "no \"route\"",
                "code": "NoRoute",
                "remedy": Code::NoRoute.remedy(),
                "requestId": "r1",
            })
        );

        let head = response(&denial, &ID, Wanted::Head);
        assert!(head.body().is_empty());
        assert_eq!((head.status(), head.headers()), (answer.status(), answer.headers()));
    }

    #[test]
    fn a_grpc_client_gets_a_status() {
        let answer = response(&Denial::new(Code::NoRoute, "50% of\nnö"), &ID, Wanted::Grpc);
        assert_eq!(answer.status(), 200);
        assert!(answer.body().is_empty() && !answer.headers().contains_key(CONTENT_LENGTH));
        for (name, value) in [
            ("content-type", "application/grpc"),
            ("grpc-status", "7"),
            ("grpc-message", "NoRoute: 50%25 of%0An%C3%B6"),
            ("postern-code", "NoRoute"),
            ("x-request-id", "r1"),
        ] {
            assert_eq!(answer.headers()[name], value, "{name}");
        }
    }

    #[test]
    fn what_a_caller_understands() {
        for (method, kind, expected) in [
            ("POST", Some("application/grpc"), Wanted::Grpc),
            ("POST", Some("application/grpc+proto"), Wanted::Grpc),
            ("POST", Some("application/grpc;x=y"), Wanted::Grpc),
            ("POST", Some("application/grpc-web"), Wanted::Document),
            ("POST", Some("application/json"), Wanted::Document),
            ("HEAD", None, Wanted::Head),
            ("GET", None, Wanted::Document),
        ] {
            let mut request = Request::builder().method(method);
            if let Some(kind) = kind {
                request = request.header(CONTENT_TYPE, kind);
            }
            assert_eq!(Wanted::by(&request.body(()).unwrap()), expected, "{method} {kind:?}");
        }
    }
}
