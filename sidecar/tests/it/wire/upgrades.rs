//! Changes of protocol by their bytes: WebSocket alone, and a tunnel only after the application's 101.

use super::{house, raw};

const KEY: &str = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n";

#[tokio::test]
async fn only_a_websocket_is_asked_for() {
    let house = house().await;
    for asked in [
        "connection: upgrade\r\nupgrade: h2c\r\n",
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
        "connection: upgrade\r\nupgrade: TLS/1.3\r\n",
        "connection: upgrade\r\nupgrade: h2c, websocket\r\n",
        "connection: upgrade\r\nupgrade: websocket\r\nupgrade: h2c\r\n",
    ] {
        let mut caller = raw(&house).await;
        let head = format!("GET /p HTTP/1.1\r\nhost: a\r\n{asked}{KEY}\r\n");
        caller.send(format!("{head}GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let answer = caller.answer().await;
        assert_eq!((answer.status, answer.code().as_str()), (501, "UpgradeRefused"), "{asked}");
        caller.ended().await;
    }
    assert!(house.application.got().concat().is_empty(), "{:?}", house.application.got());
}

/// What follows a request for a WebSocket waits: after any other answer than 101 it is HTTP, and judged so.
#[tokio::test]
async fn a_refused_websocket_opens_no_tunnel() {
    let house = house().await;
    let ask = format!("GET /p HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n{KEY}\r\n");
    for (next, status, code) in [
        ("GET /q HTTP/1.1\r\nhost: a\r\n\r\n", 200, None),
        ("GET /%2f HTTP/1.1\r\nhost: a\r\n\r\n", 400, Some("AmbiguousPath")),
        ("GET /q HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400, Some("InvalidHost")),
        ("\u{1}\u{2}\r\n\r\n", 400, Some("MalformedHead")),
    ] {
        house.application.forget();
        let mut caller = raw(&house).await;
        caller.send(format!("{ask}{next}")).await;
        assert_eq!(caller.answer().await.status, 200, "the application took it for a GET");
        let answer = caller.answer().await;
        assert_eq!(answer.status, status, "{next:?}: {answer:?}");
        if let Some(code) = code {
            assert_eq!(answer.code(), code, "{next:?}");
            let got = house.application.got().concat();
            assert!(!got.contains(next), "{next:?}: {got}");
        }
    }
}
