use http::{HeaderValue, Response};
use http_body_util::{Either, Empty, Full};

use super::*;
use crate::forward::wire::written_answer;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const NOW: i64 = 784_111_777;

fn written(request: &str, status: u16, lines: &[(&'static str, &'static str)], body: &'static str) -> String {
    let body = if body.is_empty() { Either::Left(Empty::new()) } else { Either::Right(Full::from(body)) };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in lines {
        response.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    String::from_utf8(written_answer(request.as_bytes(), response, NOW).unwrap()).unwrap()
}

#[test]
fn heads_are_written_anew() {
    let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let old = "GET / HTTP/1.0\r\nhost: a\r\n\r\n";
    let kept = "GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n";
    let last = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let head = "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n";
    for (request, status, lines, body, expected) in [
        (
            GET,
            200,
            &[("x", "y")][..],
            "ab",
            format!("HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 2\r\n{date}\r\nab"),
        ),
        (GET, 404, &[], "", format!("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n{date}\r\n")),
        // The body's own length, and the application's own date.
        (
            GET,
            200,
            &[("content-length", "7"), ("date", "today")],
            "ab",
            "HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 2\r\n\r\nab".to_owned(),
        ),
        (GET, 204, &[("content-length", "0")], "", format!("HTTP/1.1 204 No Content\r\n{date}\r\n")),
        (GET, 304, &[("content-length", "9")], "", format!("HTTP/1.1 304 Not Modified\r\n{date}\r\n")),
        (GET, 299, &[], "", format!("HTTP/1.1 299 \r\ncontent-length: 0\r\n{date}\r\n")),
        (
            head,
            200,
            &[("content-length", "9")],
            "",
            format!("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n{date}\r\n"),
        ),
        (head, 200, &[], "", format!("HTTP/1.1 200 OK\r\n{date}\r\n")),
        (
            old,
            200,
            &[],
            "ab",
            format!("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n{date}connection: close\r\n\r\nab"),
        ),
        (
            kept,
            200,
            &[],
            "",
            format!("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n{date}connection: keep-alive\r\n\r\n"),
        ),
        (
            last,
            200,
            &[],
            "",
            format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{date}connection: close\r\n\r\n"),
        ),
        (
            GET,
            101,
            &[("connection", "Upgrade"), ("upgrade", "websocket")],
            "",
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
                .to_owned(),
        ),
    ] {
        assert_eq!(written(request, status, lines, body), expected, "{request:?} {status} {lines:?}");
    }
}
