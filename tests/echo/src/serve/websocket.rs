//! WebSocket, over HTTP/1.1 (RFC 6455) and HTTP/2 (RFC 8441): each message back as it comes.

use futures::{SinkExt as _, StreamExt as _};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::http::{Body, text};

/// What the server says first.
pub(super) const WELCOME: &str = "welcome";
/// The header that tells whom the sidecar let in.
pub(super) const CALLER: &str = "x-caller";

/// Begins the conversation.
pub(super) fn answer(mut request: Request<Incoming>) -> Response<Body> {
    let Some(mut response) = begin(&request) else {
        return text(StatusCode::UPGRADE_REQUIRED, "WebSocket is spoken here\n");
    };
    if let Some(caller) = request.headers().get("x-forwarded-client-cert") {
        response.headers_mut().insert(CALLER, caller.clone());
    }
    tokio::task::spawn_local(async move {
        let Ok(upgraded) = hyper::upgrade::on(&mut request).await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        if socket.send(Message::text(WELCOME)).await.is_err() {
            return;
        }
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                return;
            }
        }
    });
    response
}

/// The head that agrees, if the request asks for a WebSocket.
fn begin(request: &Request<Incoming>) -> Option<Response<Body>> {
    if *request.method() == Method::CONNECT {
        let protocol = request.extensions().get::<Protocol>()?;
        return (protocol.as_str() == "websocket").then(|| text(StatusCode::OK, ""));
    }
    let is = |headers: &HeaderMap, name, expected: &str| {
        headers.get(name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(expected.as_bytes()))
    };
    let asked = is(request.headers(), UPGRADE, "websocket") && is(request.headers(), CONNECTION, "upgrade");
    let key = request.headers().get("sec-websocket-key").filter(|_| asked)?;
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.insert("sec-websocket-accept", derive_accept_key(key.as_bytes()).parse().ok()?);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    Some(response)
}
