//! WebSocket with a real library at both ends: over HTTP/1.1 and HTTP/2, on either side.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::server::{Server, Speech};
use super::stage::Stage;
use crate::support::client::Body;
use crate::support::prelude::*;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Echoes messages, in either version of HTTP; `/closed` and `/fine` give ordinary answers.
async fn echo() -> (Server, Arc<AtomicUsize>) {
    echo_over(Speech::Http1).await
}

async fn echo_over(speech: Speech) -> (Server, Arc<AtomicUsize>) {
    let open = Arc::new(AtomicUsize::new(0));
    let shared = Arc::clone(&open);
    let server = Server::start(speech, move |mut request: Request<Incoming>| {
        let open = Arc::clone(&shared);
        async move {
            match request.uri().path() {
                "/closed" => return answer(StatusCode::FORBIDDEN, "closed here"),
                "/fine" => return answer(StatusCode::OK, "no WebSocket"),
                _ => {}
            }
            let mut response = answer(StatusCode::OK, "");
            let headers = response.headers_mut();
            headers.insert("sec-websocket-protocol", "chat".parse().unwrap());
            headers.insert("x-identity", request.headers()["x-forwarded-client-cert"].clone());
            if request.method() == Method::GET {
                assert_eq!(request.headers()["upgrade"], "websocket");
                let key = request.headers()["sec-websocket-key"].as_bytes();
                headers.insert("sec-websocket-accept", derive_accept_key(key).parse().unwrap());
                headers.insert("connection", "Upgrade".parse().unwrap());
                headers.insert("upgrade", "websocket".parse().unwrap());
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            } else {
                assert_eq!(request.method(), Method::CONNECT);
                assert_eq!(request.extensions().get::<Protocol>().unwrap().as_str(), "websocket");
                assert!(!request.headers().contains_key("sec-websocket-key"));
            }
            tokio::spawn(async move {
                let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
                open.fetch_add(1, SeqCst);
                let io = TokioIo::new(upgraded);
                let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
                // The server speaks first.
                if socket.send(Message::text("welcome")).await.is_ok() {
                    while let Some(Ok(message)) = socket.next().await {
                        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                            break;
                        }
                    }
                }
                open.fetch_sub(1, SeqCst);
            });
            response
        }
    })
    .await;
    (server, open)
}

fn answer(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

/// Asks over HTTP/1.1.
async fn over_http1(
    client: &Client,
    path: &str,
) -> Result<(WebSocketStream<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>, HeaderMap), Error> {
    let stream = client.connect().await.unwrap();
    let mut request = format!("wss://chat.example.com{path}").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "chat".parse().unwrap());
    let (socket, response) = tokio_tungstenite::client_async(request, stream).await?;
    Ok((socket, response.headers().clone()))
}

/// Asks over HTTP/2 (RFC 8441), on a connection of its own.
async fn over_http2(client: &Client, path: &str) -> Result<(Socket, HeaderMap), Response<Incoming>> {
    let stream = TokioIo::new(client.connect().await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let plain: Request<Body> = get2("/fine");
    // The server's settings come before its first answer.
    sender.send_request(plain).await.unwrap();
    connect(&mut sender, path, "websocket").await
}

async fn connect(
    sender: &mut http2::SendRequest<Body>,
    path: &str,
    protocol: &'static str,
) -> Result<(Socket, HeaderMap), Response<Incoming>> {
    let mut request: Request<Body> = get2(path);
    *request.method_mut() = Method::CONNECT;
    request.headers_mut().remove("host");
    request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    request.headers_mut().insert("origin", "https://chat.example.com".parse().unwrap());
    request.extensions_mut().insert(Protocol::from_static(protocol));
    let mut response = sender.send_request(request).await.unwrap();
    if !response.status().is_success() {
        return Err(response);
    }
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    let upgraded = hyper::upgrade::on(&mut response).await.unwrap();
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
    Ok((socket, headers))
}

async fn talk<S>(socket: &mut WebSocketStream<S>, headers: &HeaderMap)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    assert_eq!(headers["sec-websocket-protocol"], "chat");
    assert!(headers["x-identity"].to_str().unwrap().contains(ORDERS));
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("welcome"));
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    let large = Message::binary(vec![7; 1 << 20]);
    socket.send(large.clone()).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), large);
    socket.close(None).await.unwrap();
    let last = socket.next().await;
    assert!(matches!(last, Some(Ok(Message::Close(_)))), "{last:?}");
    // How the bytes end after that is no matter of the protocol's.
    assert!(!matches!(socket.next().await, Some(Ok(_))));
}

#[tokio::test]
async fn messages_pass_over_each_version_on_each_side() {
    for (protocol, speech) in
        [("HTTP", Speech::Http1), ("H2C", Speech::H2c), ("HTTPS", Speech::Https(&[b"h2", b"http/1.1"]))]
    {
        let (server, open) = echo_over(speech).await;
        let stage = Stage::before(protocol, server.address).await;
        let (mut one, headers) = over_http1(&stage.http1(), "/chat").await.unwrap();
        talk(&mut one, &headers).await;
        let (mut two, headers) = over_http2(&stage.http2(), "/chat").await.unwrap();
        assert!(!headers.contains_key("sec-websocket-accept") && !headers.contains_key("upgrade"));
        talk(&mut two, &headers).await;
        drop((one, two));
        eventually("both tunnels end", async || open.load(SeqCst) == 0).await;
    }
}

#[tokio::test]
async fn an_application_that_says_no_is_heard() {
    for (protocol, speech) in [("HTTP", Speech::Http1), ("H2C", Speech::H2c)] {
        let (server, _) = echo_over(speech).await;
        let stage = Stage::before(protocol, server.address).await;
        let Err(Error::Http(refused)) = over_http1(&stage.http1(), "/closed").await else { panic!("no") };
        assert_eq!(refused.status(), 403, "{protocol}");
        let (status, body) = read(over_http2(&stage.http2(), "/closed").await.unwrap_err()).await;
        assert_eq!((status, body.as_str()), (403, "closed here"), "{protocol}");
    }
    // A success that is no tunnel must not become one.
    let (server, _) = echo().await;
    let stage = Stage::before("HTTP", server.address).await;
    let (status, body) = read(over_http2(&stage.http2(), "/fine").await.unwrap_err()).await;
    assert_eq!(status, 502, "{body}");
    assert!(body.contains("ApplicationFailed"), "{body}");
}

#[tokio::test]
async fn rules_hold_for_a_websocket_as_for_the_get_that_it_is() {
    let (server, open) = echo().await;
    let rules = "[{matches: [{path: {type: PathPrefix, value: /chat}, method: GET}]}, \
                 {matches: [{path: {type: Exact, value: /fine}}]}]";
    let stage = Stage::with_rules("HTTP", server.address, rules).await;
    let (one, _) = over_http1(&stage.http1(), "/chat/1").await.unwrap();
    let (two, _) = over_http2(&stage.http2(), "/chat/2").await.unwrap();
    eventually("both are open", async || open.load(SeqCst) == 2).await;
    let Err(Error::Http(refused)) = over_http1(&stage.http1(), "/admin").await else { panic!("no") };
    assert_eq!(refused.status(), 403);
    let (status, body) = read(over_http2(&stage.http2(), "/admin").await.unwrap_err()).await;
    assert_eq!(status, 403);
    assert!(body.contains("NoRuleMatches"), "{body}");
    drop((one, two));
}

#[tokio::test]
async fn no_other_tunnel_over_http2() {
    let (server, open) = echo().await;
    let stage = Stage::before("HTTP", server.address).await;
    let stream = TokioIo::new(stage.http2().connect().await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(get2("/fine")).await.unwrap();
    let (status, body) = read(connect(&mut sender, "/chat", "connect-udp").await.unwrap_err()).await;
    assert_eq!(status, 501, "{body}");
    assert!(body.contains("UpgradeRefused"), "{body}");
    assert_eq!(open.load(SeqCst), 0);
}

#[tokio::test]
async fn bytes_that_come_early_are_not_lost() {
    let (server, _) = echo().await;
    let stage = Stage::before("HTTP", server.address).await;
    let mut stream = stage.http1().connect().await.unwrap();
    // A ping with an empty mask, in the same segment as the request.
    let mut bytes = b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    bytes.extend([0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
    stream.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    let expected = b"\x81\x07welcome\x81\x02hi";
    while !answer.ends_with(expected) {
        let count =
            tokio::time::timeout(LIMIT, stream.read_buf(&mut answer)).await.expect("in time").unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    // Half an end: what is on its way back still comes.
    stream.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'y', b'o']).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.starts_with(b"\x81\x02yo"), "{rest:?}");
}

#[tokio::test]
async fn a_switch_to_something_else_is_a_fault() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    let stage = Stage::before("HTTP", address).await;
    let Err(Error::Http(refused)) = over_http1(&stage.http1(), "/chat").await else { panic!("no") };
    assert_eq!(refused.status(), 502);
    let (status, _) = read(over_http2(&stage.http2(), "/chat").await.unwrap_err()).await;
    assert_eq!(status, 502);
}

#[tokio::test]
async fn a_caller_that_is_no_longer_let_in_loses_its_tunnels_at_once() {
    let (server, open) = echo().await;
    let stage = Stage::before("HTTP", server.address).await;
    let (mut one, _) = over_http1(&stage.http1(), "/chat").await.unwrap();
    let (mut two, _) = over_http2(&stage.http2(), "/chat").await.unwrap();
    assert_eq!(one.next().await.unwrap().unwrap(), Message::text("welcome"));
    assert_eq!(two.next().await.unwrap().unwrap(), Message::text("welcome"));
    let before = Instant::now();
    stage.revoke(server.address);
    let ends = async {
        while one.next().await.is_some_and(|message| message.is_ok()) {}
        while two.next().await.is_some_and(|message| message.is_ok()) {}
    };
    tokio::time::timeout(LIMIT, ends).await.expect("both end");
    eventually("the application sees the end too", async || open.load(SeqCst) == 0).await;
    // The file is looked at when it changes; the rest is at once.
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
}

#[tokio::test]
async fn a_revoked_certificate_loses_its_tunnels_within_a_second_and_another_keeps_them() {
    let (server, open) = echo().await;
    let stage = Stage::before("HTTP", server.address).await;
    let (revoked, kept) = (stage.pki.gateway(), stage.pki.gateway());
    let http1 = |leaf: &Leaf| Client::http1(stage.sidecar.address(0), &stage.pki.servers, leaf);
    let http2 = |leaf: &Leaf| Client::http2(stage.sidecar.address(0), &stage.pki.servers, leaf);
    let (mut one, _) = over_http1(&http1(&revoked), "/chat").await.unwrap();
    let (mut two, _) = over_http2(&http2(&revoked), "/chat").await.unwrap();
    let (mut stays, _) = over_http1(&http1(&kept), "/chat").await.unwrap();
    let (mut stays2, _) = over_http2(&http2(&kept), "/chat").await.unwrap();
    let welcome = Message::text("welcome");
    assert_eq!(one.next().await.unwrap().unwrap(), welcome);
    assert_eq!(two.next().await.unwrap().unwrap(), welcome);
    assert_eq!(stays.next().await.unwrap().unwrap(), welcome);
    assert_eq!(stays2.next().await.unwrap().unwrap(), welcome);

    let changed = Instant::now();
    stage.revoke_certificate(server.address, &revoked);
    let ends = async {
        while one.next().await.is_some_and(|message| message.is_ok()) {}
        while two.next().await.is_some_and(|message| message.is_ok()) {}
    };
    tokio::time::timeout(LIMIT, ends).await.expect("both end");
    assert!(changed.elapsed() < Duration::from_secs(1), "{:?}", changed.elapsed());
    eventually("the application sees two ends", async || open.load(SeqCst) == 2).await;

    let hello = Message::text("hello");
    stays.send(hello.clone()).await.unwrap();
    assert_eq!(stays.next().await.unwrap().unwrap(), hello);
    stays2.send(hello.clone()).await.unwrap();
    assert_eq!(stays2.next().await.unwrap().unwrap(), hello);
    assert_eq!(open.load(SeqCst), 2);
    let again = http1(&revoked).get("/fine").await;
    assert_eq!(again, Attempt::Alert(rustls::AlertDescription::CertificateRevoked));
}
