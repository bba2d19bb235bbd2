//! Refusals as the caller sees them: problem documents (RFC 9457).

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use serde::Serialize;

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

/// Status, headers and document for a refusal.
pub(super) fn response(denial: &Denial, request_id: &str) -> Response<Vec<u8>> {
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
    let mut response = Response::new(serde_json::to_vec(&problem).unwrap_or_default());
    *response.status_mut() = code.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", id);
    }
    if code == Code::ConnectRefused {
        // RFC 9110 section 15.5.6 asks for it; which methods there are is the application's affair.
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_problem_document() {
        let response = response(&Denial::new(Code::NoRoute, "no \"route\""), "r1");
        assert_eq!(response.status(), 403);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()["x-request-id"], "r1");
        let document: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
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
    }
}
