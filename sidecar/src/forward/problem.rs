//! Refusals as the caller sees them: problem documents (RFC 9457), for gRPC a status.

use http::{Method, StatusCode};
use serde::Serialize;

use super::message::{Answered, RequestHead};
use crate::authorize::{Code, Denial};
use crate::fields::Name;
use crate::text::percent_encoded;

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
    pub(super) fn by(request: &RequestHead) -> Self {
        let kind = request.fields.first(Name::ContentType);
        // `application/grpc`, or that with a `+` and the message's coding, or with parameters; not `grpc-web`.
        let after = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
        if after.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';'))) {
            Self::Grpc
        } else if request.method == Method::HEAD {
            Self::Head
        } else {
            Self::Document
        }
    }
}

/// Status, headers and document for a refusal.
pub(super) fn response(denial: &Denial, request_id: &str, wanted: Wanted) -> Answered<Vec<u8>> {
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
        request_id,
    };
    // Strings and a number always become JSON.
    let mut document = serde_json::to_vec(&problem).unwrap_or_default();
    let length = document.len();
    if wanted == Wanted::Head {
        document.clear();
    }
    let mut response = common(code.status(), "application/problem+json", request_id, document);
    response.fields.add(Name::ContentLength, length.to_string().as_bytes());
    if let Some(challenge) = &denial.challenge {
        response.fields.add(Name::WwwAuthenticate, challenge.as_bytes());
    }
    if code == Code::ConnectRefused {
        // RFC 9110 section 15.5.6 asks for it; which methods there are is the application's affair.
        response.fields.add(Name::Allow, b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    }
    response
}

/// Trailers only, in the words of gRPC: the head is the end.
fn grpc(denial: &Denial, request_id: &str) -> Answered<Vec<u8>> {
    let mut response = common(StatusCode::OK, "application/grpc", request_id, Vec::new());
    // Printable ASCII but for the percent sign stays as it is.
    let message = percent_encoded(&denial.to_string(), |byte| matches!(byte, b' '..=b'~') && byte != b'%');
    response.fields.push("grpc-status", denial.code.grpc_status().to_string().as_bytes());
    response.fields.push("grpc-message", message.as_bytes());
    response.fields.push("postern-code", denial.code.as_str().as_bytes());
    response
}

fn common(status: StatusCode, kind: &str, request_id: &str, body: Vec<u8>) -> Answered<Vec<u8>> {
    let mut response = Answered::new(status, body);
    response.fields.add(Name::ContentType, kind.as_bytes());
    response.fields.add(Name::CacheControl, b"no-store");
    response.fields.add(Name::XRequestId, request_id.as_bytes());
    response
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Request};

    use super::*;

    const ID: &str = "r1";

    fn shown(answer: Answered<Vec<u8>>) -> (StatusCode, HeaderMap, Vec<u8>) {
        let (head, body) = answer.into_http2().unwrap();
        (head.status(), head.headers().clone(), body)
    }

    #[test]
    fn a_refusal_is_a_problem_document() {
        let denial = Denial::new(Code::NoRoute, "no \"route\"");
        let (status, headers, body) = shown(response(&denial, ID, Wanted::Document));
        assert_eq!(status, 403);
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(headers["x-request-id"], "r1");
        let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
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
        assert_eq!(shown(response(&denial, ID, Wanted::Head)), (status, headers, Vec::new()));
    }

    #[test]
    fn a_grpc_client_gets_a_status() {
        let denial = Denial::new(Code::NoRoute, "50% of\nnö");
        let (status, headers, body) = shown(response(&denial, ID, Wanted::Grpc));
        assert_eq!(status, 200);
        assert!(body.is_empty() && !headers.contains_key("content-length"));
        for (name, value) in [
            ("content-type", "application/grpc"),
            ("grpc-status", "7"),
            ("grpc-message", "NoRoute: 50%25 of%0An%C3%B6"),
            ("postern-code", "NoRoute"),
            ("x-request-id", "r1"),
        ] {
            assert_eq!(headers[name], value, "{name}");
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
                request = request.header("content-type", kind);
            }
            let head = RequestHead::of_http2(request.body(()).unwrap().into_parts().0);
            assert_eq!(Wanted::by(&head), expected, "{method} {kind:?}");
        }
    }
}
