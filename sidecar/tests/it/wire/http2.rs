//! HTTP/2 by its frames: requests that are malformed, or too large.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use super::{house, open, post};
use crate::support::h2::{DATA, END_HEADERS, END_STREAM, GET, HEADERS, RST_STREAM, fields, get_with};
use crate::support::prelude::*;
use crate::support::process::peak_kib;

const PROTOCOL_ERROR: u32 = 1;

#[tokio::test]
async fn malformed_requests_reset_their_stream_and_are_told_of() {
    let house = house().await;
    let without =
        |name: &str| fields(&GET.iter().filter(|field| field.0 != name).copied().collect::<Vec<_>>());
    let with = |name: &str, value: &str| {
        fields(
            &GET.iter()
                .map(|field| if field.0 == name { (field.0, value) } else { *field })
                .collect::<Vec<_>>(),
        )
    };
    let cases = [
        ("an upper-case name", get_with(&[("X-A", "1")])),
        ("a header of the connection", get_with(&[("connection", "close")])),
        ("a coding", get_with(&[("transfer-encoding", "chunked")])),
        ("keep-alive", get_with(&[("keep-alive", "1")])),
        ("an upgrade", get_with(&[("upgrade", "websocket")])),
        ("te beyond trailers", get_with(&[("te", "gzip")])),
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("two paths", get_with(&[(":path", "/q")])),
        ("two methods", get_with(&[(":method", "GET")])),
        ("an unknown pseudo-header", get_with(&[(":x", "1")])),
        ("a pseudo-header after the others", fields(&[&GET[..3], &[("x", "1"), GET[3]]].concat())),
        ("a pseudo-header of answers", get_with(&[(":status", "200")])),
        ("LF in a value", get_with(&[("x", "a\nb")])),
        ("CR LF and a request in a value", get_with(&[("x", "a\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")])),
        ("NUL in a value", get_with(&[("x", "a\0b")])),
        ("LF in a name", get_with(&[("x\ny", "1")])),
        ("a space in a name", get_with(&[("x y", "1")])),
        ("a colon in a name", get_with(&[("x:y", "1")])),
        ("a space in the path", with(":path", "/p HTTP/1.1")),
        ("CR LF in the path", with(":path", "/p HTTP/1.1\r\nx: 1")),
        ("LF in the method", with(":method", "GET\n")),
        ("a length that is no number", get_with(&[("content-length", "x")])),
        ("a length without a body", get_with(&[("content-length", "3")])),
    ];
    let before = house.denials("Http2Refused").await;
    let count = cases.len() as u64;
    for (case, block) in cases {
        let mut caller = open(&house).await;
        caller.request(1, &block).await;
        assert_eq!(caller.outcome(1).await, Err(PROTOCOL_ERROR), "{case}");
    }
    house.counts("Http2Refused", before + count).await;
    let line = house.sidecar.refused("Http2Refused").await;
    assert_eq!(line["identity"], ORDERS, "{line}");
    assert!(line["reason"].as_str().unwrap().contains("PROTOCOL_ERROR"), "{line}");
    assert!(house.application.got().concat().is_empty(), "{:?}", house.application.got());
}

#[tokio::test]
async fn a_malformed_request_costs_its_own_stream_only() {
    let house = house().await;
    let mut caller = open(&house).await;
    caller.request(1, &get_with(&[("connection", "close")])).await;
    caller.request(3, &get_with(&[])).await;
    assert_eq!(caller.outcome(3).await, Ok("ok".to_owned()));
}

#[tokio::test]
async fn what_the_engine_lets_through_is_judged_like_any_request() {
    let house = house().await;
    let path = |path: &'static str| fields(&[GET[0], GET[1], GET[2], (":path", path)]);
    let mut caller = open(&house).await;
    let mut stream = 1;
    for (block, status, code) in [
        (get_with(&[("host", "b")]), 400, "InvalidHost"),
        (get_with(&[("host", "a"), ("host", "a")]), 400, "InvalidHost"),
        (get_with(&[("host", "a:1")]), 400, "InvalidHost"),
        (fields(&[GET[0], GET[1], GET[3]]), 400, "InvalidHost"),
        (fields(&[GET[0], GET[1], (":authority", "u@a"), GET[3]]), 400, "InvalidHost"),
        (path("/a%2fb"), 400, "AmbiguousPath"),
        (path("/a%252fb"), 400, "AmbiguousPath"),
        (path("/a\\b"), 400, "AmbiguousPath"),
        (path("/%00"), 400, "AmbiguousPath"),
        (path("/../p"), 400, "AmbiguousPath"),
        (path("*"), 400, "AmbiguousPath"),
        (get_with(&[("content_length", "3")]), 400, "InvalidFraming"),
        (get_with(&[("transfer_encoding", "chunked")]), 400, "InvalidFraming"),
    ] {
        caller.request(stream, &block).await;
        assert_eq!(caller.refused(stream).await, (status, code.to_owned()));
        stream += 2;
        if code == "InvalidFraming" {
            caller = open(&house).await;
            stream = 1;
        }
    }
    assert!(house.application.got().concat().is_empty(), "{:?}", house.application.got());
    // A fragment never comes further than the engine, and what was judged is what is forwarded.
    caller.request(1, &path("/p#/../q")).await;
    let _ = caller.outcome(1).await;
    let got = house.application.got().concat();
    assert!(got.is_empty() || got.starts_with("GET /p HTTP/1.1\r\n"), "{got}");
}

#[tokio::test]
async fn a_tunnel_is_not_given() {
    let house = house().await;
    let mut caller = open(&house).await;
    caller.send(HEADERS, END_HEADERS, 1, &fields(&[(":method", "CONNECT"), (":authority", "a:443")])).await;
    assert_eq!(caller.refused(1).await, (405, "ConnectRefused".to_owned()));
    assert!(house.application.got().is_empty());
}

#[tokio::test]
async fn a_body_is_as_long_as_it_says() {
    let house = house().await;
    for (length, data) in [("2", "abc"), ("4", "abc")] {
        let mut caller = open(&house).await;
        caller.send(HEADERS, END_HEADERS, 1, &post(&[("content-length", length)])).await;
        caller.send(DATA, END_STREAM, 1, data.as_bytes()).await;
        assert_eq!(caller.outcome(1).await, Err(PROTOCOL_ERROR), "{length}");
    }
    // Whatever had been sent on was not taken for a whole request.
    assert!(!house.application.got().concat().contains("abc"));
    let mut caller = open(&house).await;
    caller.send(HEADERS, END_HEADERS, 1, &post(&[("content-length", "3"), ("content-length", "3")])).await;
    caller.send(DATA, END_STREAM, 1, b"abc").await;
    assert!(!matches!(caller.outcome(1).await, Ok(body) if body == "ok"));
}

/// However the caller names its reason.
#[tokio::test]
async fn a_body_that_is_given_up_is_not_taken_for_a_whole_one() {
    for reason in [0, 8] {
        let house = house().await;
        let mut caller = open(&house).await;
        caller.send(HEADERS, END_HEADERS, 1, &post(&[])).await;
        caller.send(DATA, 0, 1, b"half").await;
        eventually("half has come", async || house.application.got().concat().contains("half")).await;
        caller.send(RST_STREAM, 0, 1, &[0, 0, 0, reason]).await;
        caller.request(3, &get_with(&[])).await;
        assert_eq!(caller.outcome(3).await, Ok("ok".to_owned()));
        let got = house.application.got();
        assert!(got.len() > 1, "{reason}: the connection is not used again: {got:?}");
        assert!(!got.iter().any(|got| got.ends_with("0\r\n\r\n")), "{reason}: {got:?}");
    }
}

/// RFC 9110 section 6.6.1.
#[tokio::test]
async fn an_answer_without_a_date_gets_one() {
    const DATED: &[u8] =
        b"HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 2\r\n\r\nok";
    let undated = house().await;
    let dated = House::recording(Recorder::answering(DATED).await).await;
    for (house, expected) in [(undated, None), (dated, Some("Sun, 06 Nov 1994 08:49:37 GMT"))] {
        let mut sender = house.http2(&house.pki.gateway()).open_http2().await;
        let response = sender.send_request(get2("/p")).await.unwrap();
        let told: Vec<_> = response.headers().get_all("date").iter().collect();
        assert_eq!(told.len(), 1, "{told:?}");
        if let Some(expected) = expected {
            assert_eq!(told[0], expected);
        } else {
            let date = DateTimeParser::new().parse_timestamp(told[0].as_bytes()).unwrap();
            assert!(date.duration_until(Timestamp::now()).unsigned_abs() < LIMIT, "{told:?}");
        }
    }
}

#[tokio::test]
async fn heads_have_limits() {
    let house = house().await;
    let long = format!("/{}", "x".repeat(16 << 10));
    let large = "x".repeat(1000);
    let many = vec![("x", "1"); 101];
    let heavy = vec![("x", large.as_str()); 70];
    for (block, status, code) in [
        (get_with(&many), 431, "TooManyHeaders"),
        (get_with(&heavy), 431, "HeadTooLarge"),
        (fields(&[GET[0], GET[1], GET[2], (":path", &long)]), 414, "TargetTooLong"),
    ] {
        let mut caller = open(&house).await;
        caller.head(END_STREAM, 1, &block).await;
        assert_eq!(caller.refused(1).await, (status, code.to_owned()));
        house.sidecar.refused(code).await;
    }
    // One field that is remembered, and named again and again: small on the wire, large in memory.
    let mut bomb = get_with(&[]);
    bomb.extend([0x40, 1, b'x', 127]);
    bomb.extend(length_after_127(4000));
    bomb.extend([b'y'; 4000]);
    // 0x80 and 62, the first entry of the table of remembered fields.
    bomb.extend(vec![0xbe; 10_000]);
    let mut caller = open(&house).await;
    caller.head(END_STREAM, 1, &bomb).await;
    // The engine answers 431 by itself, or ends the connection: both before the application hears of it.
    while let Some(frame) = caller.next().await {
        assert_ne!(frame.kind, DATA);
        if frame.kind == HEADERS {
            break;
        }
    }
    assert!(house.application.got().concat().is_empty());
    assert!(peak_kib(house.sidecar.id()) < 64 << 10);
}

/// The engine answers these by itself, without a document: they are logged and counted as any head that is too large.
#[tokio::test]
async fn heads_far_beyond_the_limit_are_told_of() {
    let house = house().await;
    let large = "x".repeat(1000);
    let block = post(&vec![("x", large.as_str()); 140]);
    let mut caller = open(&house).await;
    for (stream, ends) in [(1, END_STREAM), (3, 0), (5, END_STREAM)] {
        caller.head(ends, stream, &block).await;
        let head = caller.next_of(HEADERS, stream).await;
        assert_eq!(head.flags & END_STREAM, END_STREAM, "{head:?}");
        assert!(head.payload.len() <= 8, "{head:?}");
        house.counts("HeadTooLarge", u64::from(stream.div_ceil(2))).await;
    }
    let line = house.sidecar.refused("HeadTooLarge").await;
    assert_eq!((&line["identity"], &line["status"]), (&ORDERS.into(), &Value::Null), "{line}");
    assert_eq!(house.denials("Http2Refused").await, 0, "one refusal is one");
    assert!(house.application.got().concat().is_empty());
    // It costs the stream alone.
    caller.request(7, &get_with(&[])).await;
    assert_eq!(caller.outcome(7).await, Ok("ok".to_owned()));
}

fn length_after_127(length: usize) -> Vec<u8> {
    let mut left = length - 127;
    let mut bytes = Vec::new();
    while left >= 128 {
        bytes.push(u8::try_from(left % 128).unwrap() | 128);
        left /= 128;
    }
    bytes.push(u8::try_from(left).unwrap());
    bytes
}
