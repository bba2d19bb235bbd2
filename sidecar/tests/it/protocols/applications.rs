//! Applications that speak HTTP/2 or HTTPS themselves, before callers of either version.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use hyper::body::Frame;

use super::server::{Server, Speech};
use super::stage::Stage;
use crate::support::application::channel;
use crate::support::client::Body;
use crate::support::prelude::*;

/// Says what it saw.
async fn describe(request: Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let header = |name| parts.headers.get(name).map(|value| value.to_str().unwrap_or("?").to_owned());
    let seen = serde_json::json!({
        "version": format!("{:?}", parts.version),
        "scheme": parts.uri.scheme_str(),
        "authority": parts.uri.authority().map(ToString::to_string),
        "host": header("host"),
        "path": parts.uri.path_and_query().map(ToString::to_string),
        "method": parts.method.as_str(),
        "te": header("te"),
        "connection": header("connection"),
        "cookie": header("cookie"),
        "identity": header("x-forwarded-client-cert"),
        "body": String::from_utf8_lossy(&body),
    });
    Response::new(Full::new(Bytes::from(seen.to_string())))
}

fn post(target: &str) -> Request<Body> {
    Request::post(target)
        .header("host", "api.example.com")
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(b"some")).boxed())
        .unwrap()
}

#[tokio::test]
async fn each_application_is_spoken_to_in_its_own_protocol() {
    for (protocol, speech, version, scheme) in [
        ("HTTP", Speech::Http1, "HTTP/1.1", None),
        ("H2C", Speech::H2c, "HTTP/2.0", Some("http")),
        ("HTTPS", Speech::Https(&[b"h2", b"http/1.1"]), "HTTP/2.0", Some("https")),
        ("HTTPS", Speech::Https(&[b"http/1.1"]), "HTTP/1.1", None),
        ("HTTPS", Speech::Https(&[]), "HTTP/1.1", None),
    ] {
        let server = Server::start(speech, describe).await;
        let stage = Stage::before(protocol, server.address).await;
        let mut one = stage.http1().open_http1().await;
        let mut two = stage.http2().open_http2().await;
        for answer in [
            one.send_request(post("/a%20b?q=1")).await.unwrap(),
            two.send_request(post("https://api.example.com/a%20b?q=1")).await.unwrap(),
        ] {
            let (status, text) = read(answer).await;
            assert_eq!(status, 200, "{protocol}: {text}");
            let seen: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(seen["version"], version, "{protocol}: {seen}");
            assert_eq!(seen["scheme"].as_str(), scheme, "{protocol}: {seen}");
            let host = if version == "HTTP/2.0" { &seen["authority"] } else { &seen["host"] };
            assert_eq!(host, "api.example.com", "{protocol}: {seen}");
            assert_eq!(
                (&seen["path"], &seen["method"], &seen["te"], &seen["body"]),
                (&"/a%20b?q=1".into(), &"POST".into(), &"trailers".into(), &"some".into()),
                "{protocol}: {seen}"
            );
            assert!(seen["connection"].is_null(), "{protocol}: {seen}");
            assert!(seen["identity"].as_str().unwrap().contains(ORDERS), "{protocol}: {seen}");
        }
        // Of one caller's requests each finds the connection of the one before.
        assert_eq!(server.connections(), 1, "{protocol} {version}");
        let mut other = stage.neighbour().open_http2().await;
        assert_eq!(read(other.send_request(get2("/")).await.unwrap()).await.0, 200);
        assert_eq!(server.connections(), 2, "{protocol} {version}: callers never share");
    }
}

#[tokio::test]
async fn requests_at_the_same_time_share_a_connection_up_to_what_the_application_takes() {
    let waiting = Arc::new(AtomicUsize::new(0));
    let (count, gate) = (Arc::clone(&waiting), Arc::new(tokio::sync::Semaphore::new(0)));
    let shared = Arc::clone(&gate);
    // It takes 50 streams per connection.
    let server = Server::start(Speech::H2c, move |_| {
        let (count, gate) = (Arc::clone(&count), Arc::clone(&shared));
        async move {
            count.fetch_add(1, SeqCst);
            gate.acquire().await.unwrap().forget();
            Response::new(Full::new(Bytes::from_static(b"late")))
        }
    })
    .await;
    let stage = Stage::before("H2C", server.address).await;
    let two = stage.http2().open_http2().await;
    let requests: Vec<_> = (0..80)
        .map(|_| {
            let mut sender = two.clone();
            tokio::spawn(async move { read(sender.send_request(get2("/")).await.unwrap()).await })
        })
        .collect();
    eventually("all are with the application", async || waiting.load(SeqCst) == 80).await;
    assert_eq!(server.connections(), 2);
    gate.add_permits(80);
    for request in requests {
        assert_eq!(request.await.unwrap(), (200, "late".to_owned()));
    }
}

#[tokio::test]
async fn an_event_arrives_before_the_next_is_sent() {
    for (protocol, speech) in
        [("HTTP", Speech::Http1), ("H2C", Speech::H2c), ("HTTPS", Speech::Https(&[b"h2"]))]
    {
        let (events, receiver) = tokio::sync::mpsc::channel::<tokio::sync::mpsc::Sender<Frame<Bytes>>>(4);
        let server = Server::start(speech, move |_| {
            let events = events.clone();
            async move {
                let (sender, body) = channel();
                events.send(sender).await.unwrap();
                let mut response = Response::new(body);
                let kind = HeaderValue::from_static("text/event-stream");
                response.headers_mut().insert("content-type", kind);
                response
            }
        })
        .await;
        let mut receiver = receiver;
        let stage = Stage::before(protocol, server.address).await;
        let mut one = stage.http1().open_http1().await;
        let mut two = stage.http2().open_http2().await;
        for mut answer in
            [one.send_request(get("/")).await.unwrap(), two.send_request(get2("/")).await.unwrap()]
        {
            assert_eq!(answer.headers()["content-type"], "text/event-stream");
            let events = receiver.recv().await.unwrap();
            for event in ["data: one\n\n", "data: two\n\n", ": \n\n"] {
                events.send(Frame::data(Bytes::from(event))).await.unwrap();
                let frame = tokio::time::timeout(LIMIT, answer.body_mut().frame()).await;
                let frame = frame.expect("at once").unwrap().unwrap();
                assert_eq!(frame.into_data().unwrap(), event, "{protocol}");
            }
        }
    }
}

#[tokio::test]
async fn what_an_application_does_not_speak_is_told() {
    let plain = Server::start(Speech::Http1, describe).await;
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (protocol, address, status, code, word) in [
        ("H2C", plain.address, 502, "ApplicationFailed", "HTTP/2"),
        ("HTTPS", plain.address, 502, "ApplicationFailed", "TLS handshake"),
        ("H2C", mute.local_addr().unwrap(), 504, "ApplicationTimeout", "HTTP/2"),
        ("HTTPS", mute.local_addr().unwrap(), 504, "ApplicationTimeout", "TLS handshake"),
    ] {
        let stage = Stage::before(protocol, address).await;
        let mut two = stage.http2().open_http2().await;
        let (seen, body) = read(two.send_request(get2("/")).await.unwrap()).await;
        assert_eq!(seen, status, "{protocol}: {body}");
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["code"], code, "{protocol}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{protocol}: {problem}");
    }
}

/// Answers the first request of each connection, and refuses the second in a way that says it was not begun.
async fn moody(how: &'static str) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let mut first = true;
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    if first {
                        respond.send_response(Response::new(()), true).unwrap();
                    } else if how == "refused" {
                        respond.send_reset(h2::Reason::REFUSED_STREAM);
                    } else {
                        respond.send_reset(h2::Reason::INTERNAL_ERROR);
                    }
                    first = false;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn only_what_was_not_begun_is_sent_again() {
    for (how, method, body, status) in
        [("refused", "POST", "", 200), ("refused", "POST", "gone", 502), ("failed", "GET", "", 502)]
    {
        let stage = Stage::before("H2C", moody(how).await).await;
        let mut two = stage.http2().open_http2().await;
        assert_eq!(read(two.send_request(get2("/")).await.unwrap()).await.0, 200);
        let request = Request::builder()
            .method(method)
            .uri("https://a/")
            .body(Full::new(Bytes::from_static(body.as_bytes())).boxed())
            .unwrap();
        let (seen, text) = read(two.send_request(request).await.unwrap()).await;
        assert_eq!(seen, status, "{how} {method} {body}: {text}");
    }
}

/// Answers one request and says goodbye before the next.
#[tokio::test]
async fn a_connection_that_the_application_leaves_costs_no_request() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, SeqCst);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let Some(Ok((_, mut respond))) = connection.accept().await else { return };
                respond.send_response(Response::new(()), true).unwrap();
                connection.graceful_shutdown();
                // What came in the meantime is answered still.
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    respond.send_response(Response::new(()), true).unwrap();
                }
            });
        }
    });
    let stage = Stage::before("H2C", address).await;
    let mut two = stage.http2().open_http2().await;
    for _ in 0..30 {
        let request = Request::post("https://a/").body(http_body_util::Empty::new().boxed()).unwrap();
        assert_eq!(two.send_request(request).await.unwrap().status(), 200);
    }
    assert!(connections.load(SeqCst) > 5);
}
