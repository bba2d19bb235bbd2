//! What passes in trailers, by its bytes.

use super::{house, open, post, raw};
use crate::support::h2::{DATA, END_HEADERS, END_STREAM, HEADERS, fields};

/// What would frame, route or name a caller, if a server took trailers for headers.
const BAD: &[&str] = &[
    "Content-Length: 5",
    "Transfer-Encoding: chunked",
    "Host: evil",
    "Authorization: Basic eA==",
    "Cookie: a=1",
    "Content-Type: text/html",
    "Content-Encoding: gzip",
    "Content-Range: bytes 0-1/2",
    "Expect: 100-continue",
    "Trailer: x",
    "TE: gzip",
    "Connection: x-sum",
    "Upgrade: h2c",
    "Keep-Alive: 1",
    "X-Forwarded-For: 1.2.3.4",
    "X-Forwarded-Proto: http",
    "X-Request-Id: mine",
    "x-forwarded-client-cert: forged",
    "Client-Cert: forged",
    "client_cert: forged",
    "Client_Cert_Chain: forged",
    "x_request_id: forged",
    "content_length: 5",
    "transfer_encoding: chunked",
    "Proxy-Authorization: x",
];

#[tokio::test]
async fn trailers_carry_neither_framing_nor_routing_nor_identity() {
    let house = house().await;
    let mut caller = raw(&house).await;
    caller
        .send(format!(
            "POST /p HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntrailer: x-sum, host, content-length\r\n\
             transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n{}\r\nx-end: 8\r\n\r\n",
            BAD.join("\r\n")
        ))
        .await;
    assert_eq!(caller.answer().await.status, 200);
    let got = house.application.got().concat();
    let (_, body) = got.split_once("\r\n\r\n").unwrap();
    // What the caller announced is announced, so trailers could pass: those that may.
    assert!(body == "1\r\nx\r\n0\r\nx-end: 8\r\n\r\n" || body == "1\r\nx\r\n0\r\n\r\n", "{body}");
}

/// Over HTTP/2 a trailer that may not come resets the stream, or is left out.
#[tokio::test]
async fn trailers_over_http2_carry_no_more() {
    let bad = BAD.iter().map(|line| line.split_once(": ").unwrap());
    let malformed =
        [(":path", "/q"), ("X-Upper", "1"), ("x y", "1"), ("x-nul", "a\0b"), ("x-line", "a\r\nhost: evil")];
    for (name, value) in bad.chain(malformed) {
        // In capitals no name is proper over HTTP/2, and only the others are about that.
        let written = if malformed.contains(&(name, value)) { name.to_owned() } else { name.to_lowercase() };
        // A house of its own: what a stream that was reset had sent may arrive late.
        let house = house().await;
        let mut caller = open(&house).await;
        caller
            .send(HEADERS, END_HEADERS, 1, &post(&[("trailer", &name.to_lowercase()), ("te", "trailers")]))
            .await;
        caller.send(DATA, 0, 1, b"x").await;
        caller
            .send(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&[(&written, value), ("x-end", "8")]))
            .await;
        let _ = caller.outcome(1).await;
        let got = house.application.got().concat();
        let body = got.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_lowercase();
        assert!(
            !body.contains(&format!("{}:", name.to_lowercase())) && !body.contains("evil"),
            "{name}: {got}"
        );
    }
}

#[tokio::test]
async fn trailers_over_http2_have_limits() {
    let house = house().await;
    let large = "x".repeat(1000);
    for (case, count, value) in [("many", 101, "1"), ("large", 70, &large), ("larger", 140, &large)] {
        let trailers = vec![("x", value); count];
        house.application.forget();
        let mut caller = open(&house).await;
        caller.send(HEADERS, END_HEADERS, 1, &post(&[("trailer", "x")])).await;
        caller.send(DATA, 0, 1, b"x").await;
        caller.head(END_STREAM, 1, &fields(&trailers)).await;
        let outcome = caller.outcome(1).await;
        let got = house.application.got().concat();
        let body = got.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert!(!body.contains("x: "), "{case}: {outcome:?} {body}");
        assert!(
            !matches!(&outcome, Ok(body) if body == "ok") || body.ends_with("0\r\n\r\n"),
            "{case}: {outcome:?} {body}"
        );
    }
}
