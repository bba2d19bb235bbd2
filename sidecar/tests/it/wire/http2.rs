//! HTTP/2 by its frames: what is malformed, and what comes as a flood.

use crate::support::h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, H2, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, fields, frame, get_with,
};
use crate::support::prelude::*;
use crate::support::process::peak_kib;
use crate::support::recorder::OK;

const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

async fn house() -> House<Recorder> {
    House::recording(Recorder::answering(OK).await).await
}

async fn open<A>(house: &House<A>) -> H2 {
    H2::open(&house.http2(&house.pki.gateway())).await
}

fn post(more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/p")];
    fields(&[&pseudo, more].concat())
}

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
        in_pieces(&mut caller, &block).await;
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
    in_pieces(&mut caller, &bomb).await;
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
        let pieces: Vec<&[u8]> = block.chunks(16 << 10).collect();
        for (index, piece) in pieces.iter().enumerate() {
            let end = if index + 1 == pieces.len() { END_HEADERS } else { 0 };
            let kind = if index == 0 { HEADERS } else { CONTINUATION };
            caller.send(kind, if index == 0 { ends | end } else { end }, stream, piece).await;
        }
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

/// Stream 1's head in frames of the usual largest size.
async fn in_pieces(caller: &mut H2, block: &[u8]) {
    let pieces: Vec<&[u8]> = block.chunks(16 << 10).collect();
    for (index, piece) in pieces.iter().enumerate() {
        let end = if index + 1 == pieces.len() { END_HEADERS } else { 0 };
        match index {
            0 => caller.send(HEADERS, END_STREAM | end, 1, piece).await,
            _ => caller.send(CONTINUATION, end, 1, piece).await,
        }
    }
}

/// CVE-2023-44487.
#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let house = house().await;
    let mut caller = open(&house).await;
    caller
        .flood(100_000, |n| {
            let head = frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &get_with(&[]));
            [head, frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8])].concat()
        })
        .await;
    assert_eq!(caller.goodbye().await, ENHANCE_YOUR_CALM);
    let reached = house.application.got().concat().matches("GET /p").count();
    assert!(reached < 500, "{reached} requests reached the application");
    let line = house.sidecar.refused("Http2Refused").await;
    assert!(line["reason"].as_str().unwrap().contains("ENHANCE_YOUR_CALM"), "{line}");
}

/// CVE-2024-27316.
#[tokio::test]
async fn continuations_without_an_end_end_the_connection() {
    let house = house().await;
    for size in [16 << 10, 100, 0] {
        let mut caller = open(&house).await;
        caller.send(HEADERS, END_STREAM, 1, &get_with(&[])).await;
        let piece = fields(&vec![("x", "yyyyyyyyyyyyyyyyyyyyyyyyyyyyy"); size / 33]);
        caller.flood(300_000, |_| frame(CONTINUATION, 0, 1, &piece)).await;
        assert_ne!(caller.goodbye().await, 0, "{size}");
    }
    assert!(house.application.got().concat().is_empty());
    let peak = peak_kib(house.sidecar.id());
    assert!(peak < 64 << 10, "{peak} KiB");
    house.sidecar.refused("Http2Refused").await;
}

/// CVE-2025-8671: the caller has the sidecar reset the streams.
#[tokio::test]
async fn streams_that_the_sidecar_is_made_to_reset_end_the_connection() {
    let house = house().await;
    for (case, wrong) in [
        ("a window of nothing more", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("a window that overflows", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        ("data after the end", frame(DATA, END_STREAM, 0, b"x")),
    ] {
        let mut caller = open(&house).await;
        caller
            .flood(100_000, |n| {
                let stream = 2 * n + 1;
                let mut wrong = wrong.clone();
                wrong[5..9].copy_from_slice(&stream.to_be_bytes());
                [frame(HEADERS, END_STREAM | END_HEADERS, stream, &get_with(&[])), wrong].concat()
            })
            .await;
        assert_ne!(caller.goodbye().await, 0, "{case}");
        let reached = house.application.got().concat().matches("GET /p").count();
        assert!(reached < 1000, "{case}: {reached} requests reached the application");
        house.application.forget();
    }
}

/// Frames that ask for an answer, or for work, and never for a request. They may be taken, as slowly as they are
/// answered; they may cost neither memory nor others.
#[tokio::test]
async fn floods_of_small_frames_harm_nobody_else() {
    let house = house().await;
    let good = open(&house).await;
    let mut good = good;
    let mut stream = 1;
    for (case, piece) in [
        ("settings", frame(SETTINGS, 0, 0, &[])),
        ("settings with values", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])),
        ("pings", frame(PING, 0, 0, &[7; 8])),
        ("priorities", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        ("windows", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("unknown frames", frame(0xbe, 0, 0, &[0; 100])),
    ] {
        let batch = piece.repeat(500);
        let mut caller = open(&house).await;
        caller.flood(200, |_| batch.clone()).await;
        let start = Instant::now();
        good.request(stream, &get_with(&[])).await;
        assert_eq!(good.outcome(stream).await, Ok("ok".to_owned()), "{case}");
        assert!(start.elapsed() < Duration::from_secs(2), "{case}: {:?}", start.elapsed());
        stream += 2;
    }
    let mut caller = open(&house).await;
    caller.send(HEADERS, END_HEADERS, 1, &post(&[])).await;
    let empty = frame(DATA, 0, 1, &[]).repeat(500);
    caller.flood(200, |_| empty.clone()).await;
    good.request(stream, &get_with(&[])).await;
    assert_eq!(good.outcome(stream).await, Ok("ok".to_owned()));
    let peak = peak_kib(house.sidecar.id());
    assert!(peak < 64 << 10, "{peak} KiB");
}

/// A caller that takes no answers keeps the application's to itself, not in the sidecar's memory.
#[tokio::test]
async fn answers_that_nobody_takes_are_not_collected() {
    let body = vec![b'x'; 8 << 20];
    let answer =
        [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes(), body].concat();
    let house = House::recording(Recorder::with(move |_| answer.clone()).await).await;
    let mut caller = open(&house).await;
    for n in 0..100 {
        caller.request(2 * n + 1, &get_with(&[])).await;
    }
    eventually("all have reached the application", async || {
        house.application.got().concat().matches("GET /p").count() == 100
    })
    .await;
    let mut other = open(&house).await;
    other.request(1, &get_with(&[])).await;
    other.next_of(HEADERS, 1).await;
    let peak = peak_kib(house.sidecar.id());
    assert!(peak < 64 << 10, "{peak} KiB for 100 answers of 8 MiB");
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    let house = House::build(&[]).await;
    let mut caller = open(&house).await;
    let slow = fields(&[GET[0], GET[1], GET[2], (":path", "/slow")]);
    for n in 0..110 {
        caller.request(2 * n + 1, &slow).await;
    }
    let refused = caller.next_of(RST_STREAM, 201).await;
    assert_eq!(refused.error(), 7, "REFUSED_STREAM");
    eventually("the others are on their way", async || house.application.hits() == 100).await;
    house.sidecar.refused("Http2Refused").await;
}
