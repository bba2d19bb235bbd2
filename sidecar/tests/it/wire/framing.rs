//! HTTP/1.1 by its bytes: where a message begins and ends, and what is refused because two readers could differ.

use super::{house, raw};
use crate::support::prelude::*;

/// Status and code of what is refused by the head alone.
const REFUSED: &[(&str, u16, &str)] = &[
    // Two lengths, or a length beside a coding.
    (
        "POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
        400,
        "InvalidFraming",
    ),
    (
        "POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n",
        400,
        "InvalidFraming",
    ),
    ("POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\n", 400, "InvalidFraming"),
    ("POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n", 400, "InvalidFraming"),
    ("POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 3, 3\r\n\r\n", 400, "InvalidFraming"),
    ("POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: +3\r\n\r\n", 400, "InvalidFraming"),
    ("POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 0x3\r\n\r\n", 400, "InvalidFraming"),
    ("POST /p HTTP/1.1\r\nhost: a\r\ncontent-length:\r\n\r\n", 400, "InvalidFraming"),
    ("POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\n", 400, "InvalidFraming"),
    ("POST /p HTTP/1.1\r\nhost: a\r\ncontent_length: 3\r\n\r\n", 400, "InvalidFraming"),
    ("POST /p HTTP/1.1\r\nhost: a\r\nTransfer_Encoding: chunked\r\n\r\n", 400, "InvalidFraming"),
    // Codings.
    ("POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", 400, "InvalidFraming"),
    ("POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n", 400, "InvalidFraming"),
    ("POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\n", 400, "InvalidFraming"),
    ("POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n", 400, "InvalidFraming"),
    ("POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\r\n\r\n", 400, "InvalidFraming"),
    (
        "POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n",
        400,
        "InvalidFraming",
    ),
    ("POST /p HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", 400, "InvalidFraming"),
    // Lines.
    ("GET /p HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\n\r\n", 400, "MalformedHead"),
    ("GET /p HTTP/1.1\r\nhost: a\r\nx: 1\r\n\t2\r\n\r\n", 400, "MalformedHead"),
    ("GET /p HTTP/1.1\r\n host: a\r\n\r\n", 400, "MalformedHead"),
    ("GET /p HTTP/1.1\r\nhost : a\r\n\r\n", 400, "MalformedHead"),
    ("GET /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding\t: chunked\r\n\r\n", 400, "MalformedHead"),
    ("GET /p HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n", 400, "MalformedHead"),
    ("GET /p HTTP/1.1\r\nhost: a\r\nx\0: b\r\n\r\n", 400, "MalformedHead"),
    ("GET /p HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n", 400, "MalformedHead"),
    ("GET /p HTTP/1.1\r\nhost: a\r\nx: a\r\r\n\r\n", 400, "MalformedHead"),
    ("GET /p HTTP/1.1\r\nhost: a\nx: b\r\n\r\n", 400, "MalformedHead"),
    ("GET /p HTTP/1.1\nhost: a\n\n", 400, "MalformedHead"),
    ("GET /p HTTP/1.1\r\nhost: a\r\n\n", 400, "MalformedHead"),
    ("GET /p HTTP/1.1\r\nhost: a\r\nx\r\n\r\n", 400, "MalformedHead"),
    ("GET /p HTTP/1.1\r\nhost: a\r\n: x\r\n\r\n", 400, "MalformedHead"),
    ("GET /p HTTP/1.1\r\nhost: a\r\nx(: y\r\n\r\n", 400, "MalformedHead"),
    ("GET /p HTTP/1.1\r\nhost: a\r\nx: \x1b[2J\r\n\r\n", 400, "MalformedHead"),
    ("\r\n\r\nGET /p HTTP/1.1\r\nhost: a\r\n\r\n", 400, "MalformedHead"),
    // The request line.
    ("GET  /p HTTP/1.1\r\nhost: a\r\n\r\n", 400, "MalformedHead"),
    ("GET /p HTTP/1.1 \r\nhost: a\r\n\r\n", 400, "MalformedHead"),
    ("GET /p q HTTP/1.1\r\nhost: a\r\n\r\n", 400, "AmbiguousPath"),
    ("G\x01T /p HTTP/1.1\r\nhost: a\r\n\r\n", 400, "MalformedHead"),
    ("GET /p\r\n\r\n", 400, "MalformedHead"),
    ("GET /p http/1.1\r\nhost: a\r\n\r\n", 400, "MalformedHead"),
    ("GET /p HTTP/0.9\r\n\r\n", 505, "VersionNotSupported"),
    ("GET /p HTTP/1.2\r\nhost: a\r\n\r\n", 505, "VersionNotSupported"),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "VersionNotSupported"),
    ("GET /p#f HTTP/1.1\r\nhost: a\r\n\r\n", 400, "AmbiguousPath"),
    ("GET /p?q#f HTTP/1.1\r\nhost: a\r\n\r\n", 400, "AmbiguousPath"),
    ("GET /p\u{e9} HTTP/1.1\r\nhost: a\r\n\r\n", 400, "AmbiguousPath"),
    ("GET p HTTP/1.1\r\nhost: a\r\n\r\n", 400, "MalformedHead"),
    ("GET ftp://a/p HTTP/1.1\r\nhost: a\r\n\r\n", 400, "MalformedHead"),
    // Hosts.
    ("GET /p HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400, "InvalidHost"),
    ("GET /p HTTP/1.1\r\nhost: a\r\nHOST: b\r\n\r\n", 400, "InvalidHost"),
    ("GET http://u@a/p HTTP/1.1\r\nhost: a\r\n\r\n", 400, "InvalidHost"),
    // A tunnel.
    ("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n", 405, "ConnectRefused"),
    ("CONNECT /p HTTP/1.1\r\nhost: a\r\n\r\n", 405, "ConnectRefused"),
];

#[tokio::test]
async fn every_refused_head_has_its_answer_its_line_and_its_count_and_ends_the_connection() {
    let house = house().await;
    for (head, status, code) in REFUSED {
        // What follows in the same record must never be served.
        let bytes = format!("{head}GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n");
        let (before, lines) = (house.denials(code).await, house.sidecar.lines().len());
        let mut whole = raw(&house).await;
        whole.send(&bytes).await;
        let answer = whole.answer().await;
        assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{head:?}");
        whole.ended().await;
        let mut pieces = raw(&house).await;
        let (first, second) = head.as_bytes().split_at(head.len() / 2);
        pieces.send(first).await;
        pieces.send(second).await;
        let answer = pieces.answer().await;
        assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "in pieces: {head:?}");
        pieces.ended().await;
        house.counts(code, before + 2).await;
        eventually("both are in the log", async || house.sidecar.lines().len() >= lines + 2).await;
        for line in &house.sidecar.lines()[lines..] {
            assert_eq!((&line["code"], &line["identity"]), (&(*code).into(), &ORDERS.into()), "{head:?}");
        }
    }
    assert!(house.application.got().is_empty(), "{:?}", house.application.got());
}

#[tokio::test]
async fn the_log_says_what_was_asked_for() {
    let house = house().await;
    let mut raw = raw(&house).await;
    raw.send("DELETE /orders/7?secret HTTP/1.1\r\nhost : a\r\n\r\n").await;
    let answer = raw.answer().await;
    let line = house.sidecar.refused("MalformedHead").await;
    assert_eq!((&line["method"], &line["path"]), (&"DELETE".into(), &"/orders/7".into()), "{line}");
    assert!(answer.body.contains(line["request_id"].as_str().unwrap()), "{line} {answer:?}");
}

#[tokio::test]
async fn a_refusal_comes_after_the_answers_to_what_came_before() {
    let house = house().await;
    let good =
        "GET /1 HTTP/1.1\r\nhost: a\r\n\r\nPOST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nEND";
    let bad = "GET /3 HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\nGET /4 HTTP/1.1\r\nhost: a\r\n\r\n";
    let bytes = format!("{good}{bad}");
    for size in [bytes.len(), 50, 7] {
        let mut raw = raw(&house).await;
        for piece in bytes.as_bytes().chunks(size) {
            raw.send(piece).await;
        }
        let statuses = [raw.answer().await.status, raw.answer().await.status, raw.answer().await.status];
        assert_eq!(statuses, [200, 200, 400], "{size}");
        raw.ended().await;
    }
    let got = house.application.got().concat();
    assert_eq!((got.matches("GET /1").count(), got.matches("POST /2").count()), (3, 3));
    assert!(!got.contains("GET /3") && !got.contains("GET /4"), "{got}");
}

#[tokio::test]
async fn what_is_proper_reaches_the_application_in_one_form() {
    let house = house().await;
    let (get, end) = ("GET /p HTTP/1.1\r\n", "\r\n");
    for (sent, expected) in [
        ("GET /p HTTP/1.1\r\nHost: A.example\r\n\r\n", format!("{get}host: a.example\r\n{end}")),
        ("\r\nGET /p HTTP/1.1\r\nhost:a\r\n\r\n", format!("{get}host: a\r\n{end}")),
        ("GET /p HTTP/1.0\r\nhost: a\r\n\r\n", format!("{get}host: a\r\n{end}")),
        ("GET http://a/p HTTP/1.1\r\nhost: a\r\n\r\n", format!("{get}host: a\r\n{end}")),
        ("GET HTTP://A/p HTTP/1.1\r\n\r\n", format!("{get}host: a\r\n{end}")),
        ("GET /x/../%70 HTTP/1.1\r\nhost: a\r\n\r\n", format!("{get}host: a\r\n{end}")),
        (
            "POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nEND",
            "POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nEND".to_owned(),
        ),
        (
            "POST /p HTTP/1.1\r\nhost: a\r\nconnection: content-length\r\ncontent-length: 3\r\n\r\nEND",
            "POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nEND".to_owned(),
        ),
        // Decoded and chunked anew: other sizes, no extensions, no quirks.
        (
            "POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: CHUNKED\r\n\r\n\
             0003;a=\"b;c\"\r\nabc\r\n00;last\r\n\r\n",
            "POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
                .to_owned(),
        ),
        (
            "DELETE /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1 ;x\r\n\n\r\n0\r\n\r\n",
            "DELETE /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\n\r\n"
                .to_owned(),
        ),
    ] {
        for size in [sent.len(), 11, 1] {
            let mut raw = raw(&house).await;
            for piece in sent.as_bytes().chunks(size) {
                raw.send(piece).await;
            }
            assert_eq!(raw.answer().await.status, 200, "{sent:?} in pieces of {size}");
            let got = house.application.one().await;
            assert_eq!(sorted(&got), sorted(&expected), "{sent:?} in pieces of {size}");
        }
    }
}

/// The lines of the head in the order of the alphabet: it means nothing.
fn sorted(request: &str) -> (Vec<&str>, &str) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
    let mut lines: Vec<_> = head.split("\r\n").collect();
    lines.sort_unstable();
    (lines, body)
}

#[tokio::test]
async fn a_body_that_breaks_its_framing_is_refused_and_ends_the_connection() {
    let house = house().await;
    let head = "POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for (bytes, code) in [
        ("x\r\n", "InvalidFraming"),
        ("-1\r\n", "InvalidFraming"),
        ("0x1\r\na\r\n0\r\n\r\n", "InvalidFraming"),
        ("1\na\r\n0\r\n\r\n", "InvalidFraming"),
        ("1;a\nb\r\na\r\n0\r\n\r\n", "InvalidFraming"),
        ("1 \r\na\r\n0\r\n\r\n", "InvalidFraming"),
        ("1\r\nab\r\n0\r\n\r\n", "InvalidFraming"),
        ("1\r\na\n0\r\n\r\n", "InvalidFraming"),
        ("ffffffffffffffff\r\n", "InvalidFraming"),
        ("1\r\na\r\n0\n\n", "InvalidFraming"),
        ("1\r\na\r\n0\r\nx : 1\r\n\r\n", "MalformedHead"),
        ("1\r\na\r\n0\r\nx: 1\r\n 2\r\n\r\n", "MalformedHead"),
        ("1\r\na\r\n0\r\nx: 1\n\r\n", "MalformedHead"),
        ("1\r\na\r\n0\r\nx: a\0b\r\n\r\n", "MalformedHead"),
        ("1\r\na\r\n0\r\nx: a\rb\r\n\r\n", "MalformedHead"),
        ("1\r\na\r\n0\r\nx\r\n\r\n", "MalformedHead"),
    ] {
        let before = house.denials(code).await;
        for (first, second) in [(format!("{head}{bytes}"), ""), (format!("{head}5\r\nfirst\r\n"), bytes)] {
            let mut raw = raw(&house).await;
            raw.send(&first).await;
            if !second.is_empty() {
                eventually("the beginning is on its way", async || {
                    house.application.got().concat().contains("first")
                })
                .await;
                raw.send(second).await;
            }
            raw.send("GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let answer = raw.answer().await;
            assert_eq!((answer.status, answer.code().as_str()), (400, code));
            raw.ended().await;
            house.application.forget();
        }
        house.counts(code, before + 2).await;
    }
    assert!(!house.application.got().concat().contains("smuggled"));
}

#[tokio::test]
async fn a_body_that_breaks_after_its_answer_is_told_of_in_the_log() {
    let house = house().await;
    let mut raw = raw(&house).await;
    // The application answers early.
    raw.send("POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nEND\r\n").await;
    assert_eq!(raw.answer().await.status, 200);
    let before = house.denials("InvalidFraming").await;
    raw.send("x\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n").await;
    raw.ended().await;
    house.sidecar.refused("InvalidFraming").await;
    house.counts("InvalidFraming", before + 1).await;
    assert!(!house.application.got().concat().contains("smuggled"));
}

#[tokio::test]
async fn heads_have_limits() {
    let house = house().await;
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: 1\r\n".repeat(100));
    let large = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(65 << 10));
    let endless = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "x".repeat(65 << 10));
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(16 << 10));
    let lines = format!("GET / HTTP/1.1\r\nhost: a\r\n{}", "x: yyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(4 << 10));
    let trailers = "y: 1\r\n".repeat(65);
    let trailers =
        format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n{trailers}\r\n");
    for (bytes, status, code) in [
        (&many, 431, "TooManyHeaders"),
        (&large, 431, "HeadTooLarge"),
        (&endless, 431, "HeadTooLarge"),
        (&lines, 431, "HeadTooLarge"),
        (&long, 414, "TargetTooLong"),
        (&trailers, 431, "TooManyHeaders"),
    ] {
        let mut raw = raw(&house).await;
        raw.send(bytes).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", &bytes[..40]);
        raw.ended().await;
        house.sidecar.refused(code).await;
    }
    assert!(house.application.got().concat().is_empty());
    // What is just within them passes, and the engine has room for it.
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: 1\r\n".repeat(99));
    let large = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat((64 << 10) - 40));
    for bytes in [many, large] {
        let mut raw = raw(&house).await;
        raw.send(&bytes).await;
        assert_eq!(raw.answer().await.status, 200);
    }
}
