use http::Uri;

use super::*;

const BOUNDS: Bounds = Bounds { head: 1 << 10, target: 40, headers: 6 };

fn judge(head: &str) -> Result<Head, Code> {
    read(head.as_bytes(), Lines::of(head.as_bytes()), &BOUNDS)
        .map(|(_, _, head)| head)
        .map_err(|denial| denial.code)
}

#[test]
fn a_proper_head_tells_what_follows() {
    for (head, body, keeps) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Body::None, true),
        ("GET / HTTP/1.0\r\n\r\n", Body::None, false),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Body::None, true),
        ("get /a?b=/?c HTTP/1.1\r\nhost:a\r\n\r\n", Body::None, true),
        ("GET http://a.example:80/x?y HTTP/1.1\r\n\r\n", Body::None, true),
        ("GET HTTPS://[::1] HTTP/1.1\r\n\r\n", Body::None, true),
        ("POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n", Body::None, true),
        ("POST / HTTP/1.1\r\nContent-LENGTH:\t7 \r\n\r\n", Body::Length(7), true),
        ("POST / HTTP/1.0\r\ncontent-length: 007\r\n\r\n", Body::Length(7), false),
        ("POST / HTTP/1.1\r\ncontent-length: 9223372036854775807\r\n\r\n", Body::Length(LONGEST_BODY), true),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n", Body::Chunked, true),
        ("GET / HTTP/1.1\r\nx: a\tb \u{e9}\r\ny:\r\nz: \r\n\r\n", Body::None, true),
        ("GET / HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", Body::None, true),
        ("GET / HTTP/1.0\r\nConnection: te, Keep-Alive\r\n\r\n", Body::None, true),
        ("GET / HTTP/1.0\r\nconnection: keep-alive, close\r\n\r\n", Body::None, false),
        ("GET / HTTP/1.1\r\nconnection: te\r\nconnection: Close\r\n\r\n", Body::None, false),
        ("M-SEARCH! / HTTP/1.1\r\na: 1\r\nb: 1\r\nc: 1\r\nd: 1\r\ne: 1\r\nf: 1\r\n\r\n", Body::None, true),
    ] {
        assert_eq!(judge(head), Ok(Head { body, keeps }), "{head:?}");
    }
}

#[test]
fn what_can_be_read_twice_is_refused() {
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(40));
    for (head, code) in [
        // The request line.
        ("\r\n", Code::MalformedHead),
        ("GET\r\n\r\n", Code::MalformedHead),
        ("GET /\r\n\r\n", Code::MalformedHead),
        (" GET / HTTP/1.1\r\n\r\n", Code::MalformedHead),
        ("GET  / HTTP/1.1\r\n\r\n", Code::MalformedHead),
        ("GET / HTTP/1.1 \r\n\r\n", Code::MalformedHead),
        ("GET /  HTTP/1.1\r\n\r\n", Code::AmbiguousPath),
        ("GET\t/ HTTP/1.1\r\n\r\n", Code::MalformedHead),
        ("GET /a b HTTP/1.1\r\n\r\n", Code::AmbiguousPath),
        ("G(T / HTTP/1.1\r\n\r\n", Code::MalformedHead),
        ("G\rT / HTTP/1.1\r\n\r\n", Code::MalformedHead),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n\r\n", Code::MalformedHead),
        ("GET / http/1.1\r\n\r\n", Code::MalformedHead),
        ("GET / HTTP/1.1x\r\n\r\n", Code::MalformedHead),
        ("GET / HTTP/11\r\n\r\n", Code::MalformedHead),
        ("GET / HTTP/0.9\r\n\r\n", Code::VersionNotSupported),
        ("GET / HTTP/1.2\r\n\r\n", Code::VersionNotSupported),
        ("PRI * HTTP/2.0\r\n\r\n", Code::VersionNotSupported),
        (&long, Code::TargetTooLong),
        ("CONNECT a:443 HTTP/1.1\r\n\r\n", Code::ConnectRefused),
        // The target.
        ("GET /a#b HTTP/1.1\r\n\r\n", Code::AmbiguousPath),
        ("GET /a?b#c HTTP/1.1\r\n\r\n", Code::AmbiguousPath),
        ("GET http://a#b HTTP/1.1\r\n\r\n", Code::AmbiguousPath),
        ("GET /a\u{1}b HTTP/1.1\r\n\r\n", Code::AmbiguousPath),
        ("GET /\0 HTTP/1.1\r\n\r\n", Code::AmbiguousPath),
        ("GET /\u{7f} HTTP/1.1\r\n\r\n", Code::AmbiguousPath),
        ("GET /\u{e9} HTTP/1.1\r\n\r\n", Code::AmbiguousPath),
        ("GET /?\u{e9} HTTP/1.1\r\n\r\n", Code::AmbiguousPath),
        ("GET /\r HTTP/1.1\r\n\r\n", Code::AmbiguousPath),
        ("GET a HTTP/1.1\r\n\r\n", Code::MalformedHead),
        ("GET ?a HTTP/1.1\r\n\r\n", Code::MalformedHead),
        ("GET a:443 HTTP/1.1\r\n\r\n", Code::MalformedHead),
        ("GET ftp://a/ HTTP/1.1\r\n\r\n", Code::MalformedHead),
        ("GET http:/a HTTP/1.1\r\n\r\n", Code::MalformedHead),
        ("GET http:///a HTTP/1.1\r\n\r\n", Code::InvalidHost),
        ("GET http://u@a/ HTTP/1.1\r\n\r\n", Code::InvalidHost),
        ("GET http://a\\b/ HTTP/1.1\r\n\r\n", Code::InvalidHost),
        // Lines.
        ("GET / HTTP/1.1\r\nx: 1\r\n 2\r\n\r\n", Code::MalformedHead),
        ("GET / HTTP/1.1\r\n\tx: 1\r\n\r\n", Code::MalformedHead),
        ("GET / HTTP/1.1\r\nx : 1\r\n\r\n", Code::MalformedHead),
        ("GET / HTTP/1.1\r\nx\t: 1\r\n\r\n", Code::MalformedHead),
        ("GET / HTTP/1.1\r\nx\r\n\r\n", Code::MalformedHead),
        ("GET / HTTP/1.1\r\n: 1\r\n\r\n", Code::MalformedHead),
        ("GET / HTTP/1.1\r\nx\0: 1\r\n\r\n", Code::MalformedHead),
        ("GET / HTTP/1.1\r\n\u{e9}: 1\r\n\r\n", Code::MalformedHead),
        ("GET / HTTP/1.1\r\nx: \0\r\n\r\n", Code::MalformedHead),
        ("GET / HTTP/1.1\r\nx: a\rb\r\n\r\n", Code::MalformedHead),
        ("GET / HTTP/1.1\r\nx: a\r\r\n\r\n", Code::MalformedHead),
        ("GET / HTTP/1.1\r\nx: \u{1b}\r\n\r\n", Code::MalformedHead),
        ("GET / HTTP/1.1\r\nx: \u{7f}\r\n\r\n", Code::MalformedHead),
        ("GET / HTTP/1.1\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\n\r\n", Code::TooManyHeaders),
        // The framing.
        ("GET / HTTP/1.1\r\nhost: a\r\nHOST: a\r\n\r\n", Code::InvalidHost),
        ("GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n", Code::InvalidFraming),
        ("GET / HTTP/1.1\r\nContent_Length: 1\r\n\r\n", Code::InvalidFraming),
        ("GET / HTTP/1.1\r\ntransfer_Encoding: chunked\r\n\r\n", Code::InvalidFraming),
        ("GET / HTTP/1.1\r\ncontent-length: 1, 1\r\n\r\n", Code::InvalidFraming),
        ("GET / HTTP/1.1\r\ncontent-length:\r\n\r\n", Code::InvalidFraming),
        ("GET / HTTP/1.1\r\ncontent-length: +1\r\n\r\n", Code::InvalidFraming),
        ("GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", Code::InvalidFraming),
        ("GET / HTTP/1.1\r\ncontent-length: 0x1\r\n\r\n", Code::InvalidFraming),
        ("GET / HTTP/1.1\r\ncontent-length: 9223372036854775808\r\n\r\n", Code::InvalidFraming),
        ("GET / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n", Code::InvalidFraming),
        ("GET / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", Code::InvalidFraming),
        ("GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n", Code::InvalidFraming),
        (
            "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            Code::InvalidFraming,
        ),
        ("GET / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n", Code::InvalidFraming),
        ("GET / HTTP/1.1\r\ntransfer-encoding: chunked, identity\r\n\r\n", Code::InvalidFraming),
        ("GET / HTTP/1.1\r\ntransfer-encoding: identity\r\n\r\n", Code::InvalidFraming),
        ("GET / HTTP/1.1\r\ntransfer-encoding: \"chunked\"\r\n\r\n", Code::InvalidFraming),
        ("GET / HTTP/1.1\r\ntransfer-encoding: chunked;q=1\r\n\r\n", Code::InvalidFraming),
        ("GET / HTTP/1.1\r\ntransfer-encoding:\r\n\r\n", Code::InvalidFraming),
        ("GET / HTTP/1.1\r\ntransfer-encoding: xchunked\r\n\r\n", Code::InvalidFraming),
        ("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", Code::InvalidFraming),
    ] {
        assert_eq!(judge(head), Err(code), "{head:?}");
    }
}

/// Else the type that holds a target would refuse it, or cut it off.
#[test]
fn the_engine_takes_every_target_that_passes() {
    for byte in 0..=u8::MAX {
        for (before, after) in [("/a", "b"), ("/?a", "b"), ("http://a/", ""), ("http://a?", "x")] {
            let target = [before.as_bytes(), &[byte], after.as_bytes()].concat();
            if let Ok(place) = target::read(&target, 0) {
                let uri = Uri::try_from(&target[..]).unwrap_or_else(|error| panic!("{target:?}: {error}"));
                let kept = uri.path_and_query().unwrap().as_str();
                assert!(target.ends_with(kept.trim_start_matches('/').as_bytes()), "{target:?}: {kept}");
                let part = |place: Range<usize>| std::str::from_utf8(&target[place]).unwrap();
                assert_eq!(uri.path().trim_start_matches('/'), part(place.path).trim_start_matches('/'));
                assert_eq!(uri.query(), place.query.map(part));
                assert_eq!(uri.authority().map(http::uri::Authority::as_str), place.authority.map(part));
            }
        }
    }
}
