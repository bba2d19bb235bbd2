//! What passes in headers, both ways, by its bytes: SECURITY rules for names, and no continue before a
//! permit.

use super::{house, open, raw};
use crate::support::prelude::*;
use crate::support::recorder::OK;

/// Names by which somebody could tell the application who calls, in every spelling that some server reads alike.
const FORGED: [&str; 12] = [
    "X-Forwarded-Client-Cert",
    "x_forwarded_client_cert",
    "X-Forwarded_Client-Cert",
    "Client-Cert",
    "client_cert",
    "CLIENT-CERT-CHAIN",
    "Client_Cert-Chain",
    "x_forwarded_for",
    "X-Forwarded_Proto",
    "X_Forwarded-Proto",
    "x_request_id",
    "x-request_id",
];

#[tokio::test]
async fn nobody_else_writes_who_calls() {
    let house = house().await;
    for name in FORGED {
        for head in [
            format!("GET /p HTTP/1.1\r\nhost: a\r\n{name}: forged\r\n\r\n"),
            format!("GET /p HTTP/1.1\r\nhost: a\r\n{name}: forged\r\n{name}: forged\r\n\r\n"),
            // Named as a header of the hop, which would take the sidecar's own away if it came last.
            format!("GET /p HTTP/1.1\r\nhost: a\r\nconnection: {name}\r\n{name}: forged\r\n\r\n"),
        ] {
            let mut caller = raw(&house).await;
            caller.send(&head).await;
            assert_eq!(caller.answer().await.status, 200, "{head:?}");
            let all = house.application.got().concat();
            for ours in ["x-forwarded-client-cert: By=", "client-cert: :", "x-forwarded-for: 127.0.0.1\r\n"] {
                assert_eq!(all.matches(&format!("\r\n{ours}")).count(), 1, "{ours} after {head:?}: {all}");
            }
            assert_eq!(all.matches("\r\nx-forwarded-proto: https\r\n").count(), 1, "{head:?}: {all}");
            assert_eq!(all.matches("\r\nx-request-id: ").count(), 1, "{head:?}: {all}");
            assert!(!all.contains("forged"), "{head:?}: {all}");
            house.application.forget();
        }
    }
    // Over HTTP/2 it is the same.
    for name in FORGED {
        let mut caller = open(&house).await;
        caller.request(1, &crate::support::h2::get_with(&[(&name.to_lowercase(), "forged")])).await;
        assert_eq!(caller.outcome(1).await, Ok("ok".to_owned()), "{name}");
        let all = house.application.got().concat();
        assert!(!all.contains("forged"), "{name}: {all}");
        house.application.forget();
    }
}

#[tokio::test]
async fn headers_of_the_hop_go_first() {
    let house = house().await;
    let mut caller = raw(&house).await;
    caller
        .send(
            "GET /p HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine , te,host\r\nconnection: y-mine\r\n\
             X-Mine: 1\r\nY-Mine: 2\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
             Proxy-Authorization: Basic eA==\r\nTE: trailers\r\nKept: 3\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n",
        )
        .await;
    assert_eq!(caller.answer().await.status, 200);
    let mut lines: Vec<_> = house.application.one().await.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["", "GET /p HTTP/1.1", "cookie: a=1; b=2", "host: a", "kept: 3", "te: trailers"]);
}

#[tokio::test]
async fn nothing_is_continued_before_a_permit() {
    let policy = format!(
        "{{authorities: [{{name: postern, type: Postern, roots: ROOTS}}], \
         ports: [{{port: 8080, protocol: HTTP, access: {{type: Locked, locks: {{require: All, \
         list: [{{type: MutualTLS}}]}}}}}}], \
         routes: [{{name: r, port: 8080, rules: [{{matches: [{{path: {{type: Exact, value: /allowed}}}}]}}], callers: [\
         {{name: c, certificates: [{{type: Identity, authority: postern, identity: '{ORDERS}'}}]}}]}}]}}"
    );
    let application = Recorder::answering(OK).await;
    let address = application.address;
    let house = House::of(application, address, &policy, &[]).await;
    let expecting = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
    };
    let mut denied = raw(&house).await;
    denied.send(expecting("/denied")).await;
    let answer = denied.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "NoRuleMatches"), "and nothing before it");
    assert!(house.application.got().is_empty(), "nobody dialled the application");
    // The body is never asked for, so the connection is of no use.
    denied.ended().await;

    let mut allowed = raw(&house).await;
    allowed.send(expecting("/allowed")).await;
    assert_eq!(allowed.answer().await.status, 100);
    allowed.send("END").await;
    assert_eq!(allowed.answer().await.status, 200);
    let got = house.application.one().await;
    assert!(!got.contains("expect"), "the sidecar has answered it: {got}");
    // Refused before it was read: no continue either.
    for head in [
        "POST /allowed HTTP/1.1\r\nhost: a\r\nhost: b\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n",
        "POST /allowed HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST /al%2flowed HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n",
    ] {
        let mut caller = raw(&house).await;
        caller.send(head).await;
        assert_eq!(caller.answer().await.status, 400, "{head:?}");
        caller.ended().await;
    }
}

/// What an application says is framed anew: nothing of how it was framed comes through.
#[tokio::test]
async fn answers_are_framed_anew() {
    for (answer, status, body) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, Some("ok")),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;x=y\r\no\r\n001\r\nk\r\n0\r\n\r\n",
            200,
            Some("ok"),
        ),
        (
            "HTTP/1.1 200 OK\r\nconnection: x-mine, close\r\nx-mine: 1\r\nkeep-alive: 5\r\ncontent-length: 2\r\n\r\nok",
            200,
            Some("ok"),
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, Some("")),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, Some("ok")),
        ("HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 502, None),
        ("HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\nok", 502, None),
        ("what?\r\n\r\n", 502, None),
    ] {
        let bytes = answer.as_bytes().to_vec();
        let house = House::recording(Recorder::with(move |_| bytes.clone()).await).await;
        let mut caller = raw(&house).await;
        caller.send("GET /p HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let seen = caller.answer().await;
        assert_eq!(seen.status, status, "{answer:?}: {seen:?}");
        for name in ["keep-alive", "x-mine", "connection"] {
            assert!(!seen.head.contains(&format!("{name}:")), "{answer:?}: {seen:?}");
        }
        match body {
            Some(body) => assert_eq!(seen.body, body, "{answer:?}"),
            None => assert_eq!(seen.code(), "ApplicationFailed", "{answer:?}"),
        }
        let framings =
            seen.head.matches("content-length:").count() + seen.head.matches("transfer-encoding:").count();
        assert!(framings <= 1, "{answer:?}: {seen:?}");
    }
}

/// An answer that two readers could read in two ways is read by none, and its connection carries nothing more.
#[tokio::test]
async fn malformed_answers_have_a_code_of_their_own() {
    let chunks = "3\r\nabc\r\n0\r\n\r\n";
    for (lines, body) in [
        ("content-length: 3\r\ntransfer-encoding: chunked", chunks),
        ("transfer-encoding: chunked\r\ncontent-length: 3", chunks),
        ("content-length: 2\r\ncontent-length: 3", "ok"),
        ("content-length: 2\r\ncontent-length: 2", "ok"),
        ("content-length: x", "ok"),
        ("content_length: 2", "ok"),
        ("transfer-encoding: gzip, chunked", chunks),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", chunks),
        ("x : 1\r\ncontent-length: 2", "ok"),
        ("x: 1\r\n 2\r\ncontent-length: 2", "ok"),
        ("x: a\0b\r\ncontent-length: 2", "ok"),
        ("x: a\rb\r\ncontent-length: 2", "ok"),
        ("x: 1\ncontent-length: 2", "ok"),
        ("x\r\ncontent-length: 2", "ok"),
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n{body}").into_bytes();
        let house = House::recording(Recorder::with(move |_| bytes.clone()).await).await;
        let mut caller = raw(&house).await;
        for count in 1..=2 {
            caller.send("GET /p HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let seen = caller.answer().await;
            assert_eq!(
                (seen.status, seen.code().as_str()),
                (502, "ApplicationMalformed"),
                "{lines:?}: {seen:?}"
            );
            house.counts("ApplicationMalformed", count).await;
        }
        assert_eq!(house.application.got().len(), 2, "{lines:?}: each on a connection of its own");
    }
}

/// A second answer in the first one's wake must not be taken for the answer to the next request.
#[tokio::test]
async fn what_an_application_sends_too_much_reaches_nobody() {
    let smuggled = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nsmuggled";
    for first in [
        format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{smuggled}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{smuggled}"),
        format!("HTTP/1.1 204 No Content\r\n\r\n{smuggled}"),
        format!("HTTP/1.1 304 Not Modified\r\ncontent-length: 40\r\n\r\n{smuggled}"),
    ] {
        let bytes = first.clone().into_bytes();
        let application = Recorder::with(move |_| bytes.clone()).await;
        let house = House::recording(application).await;
        for leaf in [house.pki.gateway(), house.neighbour()] {
            let mut caller = Raw::open(&house.http1(&leaf)).await;
            for _ in 0..5 {
                caller.send("GET /p HTTP/1.1\r\nhost: a\r\n\r\n").await;
                let answer = caller.answer().await;
                assert!(!answer.body.contains("smuggled"), "{first:?}: {answer:?}");
            }
        }
    }
}

/// To HEAD there is no body, whatever length is told.
#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n";
    let house = House::recording(Recorder::answering(answer).await).await;
    let mut caller = raw(&house).await;
    for _ in 0..2 {
        caller.send("HEAD /p HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut head = [0; 4];
        caller.stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP");
        let mut rest = Vec::new();
        while !rest.ends_with(b"\r\n\r\n") {
            rest.push(caller.stream.read_u8().await.unwrap());
        }
        assert!(caller.is_quiet().await);
    }
    let mut caller = raw(&house).await;
    caller.send("HEAD /%2f HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut rest = Vec::new();
    while !rest.ends_with(b"\r\n\r\n") {
        rest.push(caller.stream.read_u8().await.unwrap());
    }
    assert!(rest.starts_with(b"HTTP/1.1 400"));
    assert!(caller.is_quiet().await, "no document follows");
}

/// One caller's unused connection is never another's.
#[tokio::test]
async fn upstream_connections_are_one_callers_own() {
    let house = house().await;
    for (leaf, connections) in [(house.pki.gateway(), 1), (house.neighbour(), 2), (house.pki.gateway(), 2)] {
        for path in ["/p", "/q"] {
            let mut caller = Raw::open(&house.http1(&leaf)).await;
            caller.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
            assert_eq!(caller.answer().await.status, 200);
        }
        assert_eq!(house.application.got().len(), connections);
    }
    for connection in house.application.got() {
        let who: std::collections::BTreeSet<_> = connection
            .lines()
            .filter(|line| line.starts_with("x-forwarded-client-cert"))
            .map(|line| line.rsplit("URI=").next())
            .collect();
        assert_eq!(who.len(), 1, "{connection}");
    }
}
