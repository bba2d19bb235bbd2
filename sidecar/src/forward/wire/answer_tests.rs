use super::*;

fn read(head: &str, method: &Method) -> Result<Head, Denial> {
    let whole = |piece: usize| {
        let (mut heads, mut bytes, mut found) = (Heads::new(method.clone()), BytesMut::new(), None);
        for part in head.as_bytes().chunks(piece) {
            bytes.extend_from_slice(part);
            if found.is_none() {
                found = heads.take(&mut bytes)?;
            }
        }
        found.ok_or_else(|| Denial::new(Code::ApplicationFailed, "short"))
    };
    let at_once = whole(head.len().max(1));
    for piece in 1..head.len().min(30) {
        let again = whole(piece).map(|head| (head.body, head.keeps)).map_err(|denial| denial.code);
        let expected = at_once.as_ref().map(|head| (head.body, head.keeps)).map_err(|denial| denial.code);
        assert_eq!(again, expected, "in pieces of {piece}: {head:?}");
    }
    at_once
}

#[test]
fn a_body_ends_where_the_head_says() {
    for (method, head, body, keeps) in [
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", Body::Length(2), true),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Body::None, true),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", Body::Chunked, true),
        ("GET", "HTTP/1.1 200 OK\r\n\r\n", Body::UntilClose, false),
        ("GET", "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\n", Body::Length(2), true),
        ("GET", "HTTP/1.1 299 \r\ncontent-length: 2\r\n\r\n", Body::Length(2), true),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", Body::None, true),
        ("HEAD", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Body::None, true),
        ("HEAD", "HTTP/1.1 200 OK\r\n\r\n", Body::None, true),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", Body::None, true),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", Body::None, true),
        ("GET", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", Body::None, true),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 2\r\n\r\n",
            Body::Length(2),
            false,
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nconnection: close\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n",
            Body::Length(2),
            false,
        ),
        ("GET", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n", Body::Length(2), false),
        (
            "GET",
            "HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 2\r\n\r\n",
            Body::Length(2),
            true,
        ),
        ("GET", "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\n", Body::UntilClose, false),
        (
            "GET",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            Body::UntilClose,
            false,
        ),
    ] {
        let read = read(head, &method.parse().unwrap()).unwrap_or_else(|denial| panic!("{head:?}: {denial}"));
        assert_eq!((read.body, read.keeps), (body, keeps), "{method} {head:?}");
    }
}

#[test]
fn headers_come_as_they_were() {
    let head = "HTTP/1.1 404 Nothing here\r\nX-A:  1 \r\nset-cookie: a\r\nSet-Cookie: b\r\nx: \u{e9}\r\n\r\n";
    let Head { response, .. } = read(head, &Method::GET).unwrap();
    let lines: Vec<(&[u8], &[u8])> = response.fields.iter().map(|field| (field.name, field.value)).collect();
    let expected: &[(&[u8], &[u8])] =
        &[(b"x-a", b"1"), (b"set-cookie", b"a"), (b"set-cookie", b"b"), (b"x", "\u{e9}".as_bytes())];
    assert_eq!(lines, expected);
    let reason = response.reason.unwrap();
    assert_eq!((response.status.as_u16(), reason.as_bytes()), (404, &b"Nothing here"[..]));
}

#[test]
fn what_two_readers_could_read_in_two_ways_is_refused() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: 1\r\n".repeat(HEADERS + 1));
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(HEAD_BYTES));
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(INTERIM + 1);
    for (head, code) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
            Code::ApplicationMalformed,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n",
            Code::ApplicationMalformed,
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n", Code::ApplicationMalformed),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\n", Code::ApplicationMalformed),
        ("HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n", Code::ApplicationMalformed),
        ("HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n", Code::ApplicationMalformed),
        ("HTTP/1.1 200 OK\r\ncontent_length: 2\r\n\r\n", Code::ApplicationMalformed),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", Code::ApplicationMalformed),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", Code::ApplicationMalformed),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: x\r\n\r\n",
            Code::ApplicationMalformed,
        ),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Code::ApplicationMalformed),
        ("HTTP/1.1 200 OK\r\nx: 1\r\n 2\r\n\r\n", Code::ApplicationMalformed),
        ("HTTP/1.1 200 OK\r\nx : 1\r\n\r\n", Code::ApplicationMalformed),
        ("HTTP/1.1 200 OK\r\nx\r\n\r\n", Code::ApplicationMalformed),
        ("HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n", Code::ApplicationMalformed),
        ("HTTP/1.1 200 OK\r\nx: a\rb\r\n\r\n", Code::ApplicationMalformed),
        ("HTTP/1.1 200 OK\r\nx: a\ny: b\r\n\r\n", Code::ApplicationMalformed),
        ("HTTP/1.1 200 OK\nx: a\n\n", Code::ApplicationMalformed),
        (
            "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
            Code::ApplicationMalformed,
        ),
        (&many, Code::ApplicationMalformed),
        (&large, Code::ApplicationMalformed),
        ("HTTP/2.0 200 OK\r\n\r\n", Code::ApplicationFailed),
        ("HTTP/1.2 200 OK\r\n\r\n", Code::ApplicationFailed),
        ("HTTP/1.1  200 OK\r\n\r\n", Code::ApplicationFailed),
        ("HTTP/1.1 20 OK\r\n\r\n", Code::ApplicationFailed),
        ("HTTP/1.1 2000 OK\r\n\r\n", Code::ApplicationFailed),
        ("HTTP/1.1 099 OK\r\n\r\n", Code::ApplicationFailed),
        ("HTTP/1.1 200 O\0K\r\n\r\n", Code::ApplicationFailed),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", Code::ApplicationFailed),
        ("what?\r\n\r\n", Code::ApplicationFailed),
        (&endless, Code::ApplicationFailed),
    ] {
        let outcome = read(head, &Method::GET).map(|head| head.body).map_err(|denial| denial.code);
        assert_eq!(outcome, Err(code), "{head:?}");
    }
}
