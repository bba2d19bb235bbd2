use crate::forward::wire::{Asked, Asking, read_requests};
use crate::limits::Limits;

use http::HeaderValue;

use super::*;

fn limits() -> Limits {
    Limits { header_bytes: 200, target_bytes: 40, header_count: 6, ..Limits::default() }
}

/// How many requests were read, how many of them whole, and why no more.
fn outcome(text: &str, size: usize) -> (usize, usize, Option<Code>) {
    let (requests, denial) = read_requests(&limits(), text.as_bytes().chunks(size));
    let whole = requests.iter().filter(|request| request.is_whole).count();
    (requests.len(), whole, denial.map(|denial| denial.code))
}

/// In pieces of every size the outcome is the same.
fn read_all(text: &str) -> (usize, usize, Option<Code>) {
    let whole = outcome(text, text.len());
    for size in 1..text.len().min(60) {
        assert_eq!(outcome(text, size), whole, "in pieces of {size}: {text:?}");
    }
    whole
}

#[test]
fn messages_follow_one_another() {
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n\r\n\r\n.";
    let chunked =
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\n\r\n\r\n0\r\na: b\r\n\r\n";
    for (text, count) in [
        (get.to_owned(), 1),
        ([get, get, get].concat(), 3),
        ([post, get, post].concat(), 3),
        ([chunked, get, chunked, post].concat(), 4),
        (["\r\n", get, "\r\n", post, "\r\n", chunked].concat(), 3),
    ] {
        assert_eq!(read_all(&text), (count, count, None), "{text:?}");
        let part = format!("{text}GET / HTTP/1.1\r\nhost: a\r\n");
        assert_eq!(read_all(&part), (count, count, None), "a part of a head is none: {part:?}");
    }
    let (requests, _) = read_requests(&limits(), [[chunked, post].concat().as_bytes()]);
    let bodies: Vec<&[u8]> = requests.iter().map(|request| &request.body[..]).collect();
    assert_eq!(bodies, [&b"\r\n"[..], b"\r\n\r\n."]);
    assert_eq!(requests[0].trailers.as_ref().unwrap()["a"], "b");
}

#[test]
fn nothing_is_read_after_a_fault() {
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let chunked = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    let large = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(200));
    for (good, bad, read, whole, code) in [
        ("", "GET / HTTP/1.1\n\r\n", 0, 0, Code::MalformedHead),
        ("", "GET / HTTP/1.1\r\n\n", 0, 0, Code::MalformedHead),
        ("", "\nGET / HTTP/1.1\r\n\r\n", 0, 0, Code::MalformedHead),
        ("\r\n", "\r\nGET / HTTP/1.1\r\n\r\n", 0, 0, Code::MalformedHead),
        ("", "GET / HTTP/1.1\r\nhost: a\nx: b\r\n\r\n", 0, 0, Code::MalformedHead),
        (get, "GET /# HTTP/1.1\r\n\r\n", 1, 1, Code::AmbiguousPath),
        ("", &large, 0, 0, Code::HeadTooLarge),
        (&format!("{chunked}1\r\na"), "b", 1, 0, Code::InvalidFraming),
        (&format!("{get}{chunked}"), "x", 2, 1, Code::InvalidFraming),
        (&format!("{chunked}0\r\n\r\n"), "0\r\n\r\n", 1, 1, Code::MalformedHead),
    ] {
        assert_eq!(read_all(&format!("{good}{bad}{get}")), (read, whole, Some(code)), "{good:?} {bad:?}");
    }
}

#[test]
fn a_head_without_an_end_is_refused_at_its_limit() {
    for text in ["x".repeat(300), format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(40))] {
        assert_eq!(read_all(&text), (0, 0, Some(Code::HeadTooLarge)), "{text}");
    }
    // One byte less is a head.
    let head = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(200 - 23));
    assert_eq!((head.len(), read_all(&head)), (200, (1, 1, None)));
    let head = head.replace("y\r", "yy\r");
    assert_eq!((head.len(), read_all(&head)), (201, (0, 0, Some(Code::HeadTooLarge))));
}

#[test]
fn a_request_is_what_its_bytes_say() {
    let text = "get http://A:1/p?q HTTP/1.0\r\nConnection: Keep-Alive\r\nX-A: \tb c \r\nx-a: d\r\n\r\n";
    let (requests, denial) = read_requests(&limits(), [text.as_bytes()]);
    let [Asking { head, keeps: true, is_whole: true, .. }] = &requests[..] else {
        panic!("{requests:?} {denial:?}")
    };
    assert_eq!((head.method().as_str(), head.uri().to_string()), ("get", "http://A:1/p?q".to_owned()));
    assert_eq!(head.version(), Version::HTTP_10);
    let values: Vec<&HeaderValue> = head.headers().get_all("x-a").iter().collect();
    assert_eq!(values, ["b c", "d"]);
}

#[test]
fn what_a_caller_waits_for_and_takes() {
    for (head, expects, takes_trailers) in [
        ("POST / HTTP/1.1\r\nexpect: 100-Continue\r\ncontent-length: 1\r\n\r\n", true, false),
        ("POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 0\r\n\r\n", false, false),
        ("POST / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n", false, false),
        ("POST / HTTP/1.1\r\nexpect: more\r\ncontent-length: 1\r\n\r\n", false, false),
        ("GET / HTTP/1.1\r\nte: gzip;q=0.5, Trailers\r\n\r\n", false, true),
        ("GET / HTTP/1.1\r\nte: trailers;q=1\r\n\r\n", false, false),
    ] {
        let head = Heads::new(&Limits::default()).take(&mut BytesMut::from(head)).unwrap().unwrap();
        assert_eq!((head.expects(), Asked::by(&head).takes_trailers), (expects, takes_trailers), "{head:?}");
    }
}

#[test]
fn what_is_refused_is_told_as_far_as_it_is_text() {
    for (bytes, method, target) in [
        ("DELETE /secret?x HTTP/1.1\r\nhost : a\r\n\r\n", "DELETE", "/secret?x"),
        ("GET /a\u{1}b HTTP/1.1\r\n", "-", "*"),
        ("GET\r\n", "-", "*"),
        ("G(T /p HTTP/1.1\r\n", "-", "/p"),
        ("HEAD http://[ HTTP/1.1\r\n", "HEAD", "*"),
        ("", "-", "*"),
    ] {
        let request = stand_in(bytes.as_bytes());
        let query = request.query().map(|query| format!("?{query}")).unwrap_or_default();
        let told = (request.method.as_str(), format!("{}{query}", request.path()));
        assert_eq!(told, (method, target.to_owned()), "{bytes:?}");
    }
}
