//! A WebSocket's client, over either version of HTTP.

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::persevering::Persevering;
use super::{LocalExecutor, Stream, broken, http_broken, list, lossy, read};
use crate::attempt::{Attempt, Outcome, Payload};

/// Asks for a WebSocket, sends each message once the one before has come back, and closes.
pub(super) async fn talk(
    stream: Persevering<Box<dyn Stream>>,
    attempt: &Attempt,
) -> Result<Outcome, Outcome> {
    let Payload::WebSocket { h2, path, host, messages } = &attempt.payload else {
        return Err(failed("the attempt asks for no WebSocket"));
    };
    if *h2 {
        return over_http2(stream, &format!("https://{host}{path}"), messages).await;
    }
    let asked = tokio_tungstenite::client_async(format!("ws://{host}{path}"), stream).await;
    let (socket, response) = asked.map_err(|error| refused(&error))?;
    exchange(socket, list(response.headers()), messages).await
}

async fn over_http2(
    stream: Persevering<Box<dyn Stream>>,
    url: &str,
    messages: &[String],
) -> Result<Outcome, Outcome> {
    let request =
        |method, url: &str| Request::builder().method(method).uri(url).body(Full::<Bytes>::default());
    let bad = |error: hyper::http::Error| failed(&error.to_string());
    let io = TokioIo::new(stream);
    let (mut sender, connection) = http2::handshake(LocalExecutor, io).await.map_err(|e| http_broken(&e))?;
    tokio::task::spawn_local(connection);
    // That the server takes RFC 8441 stands in its settings, which come before its first answer.
    let first = request(Method::GET, url).map_err(bad)?;
    sender.send_request(first).await.map_err(|e| http_broken(&e))?;
    let mut ask = request(Method::CONNECT, url).map_err(bad)?;
    ask.extensions_mut().insert(Protocol::from_static("websocket"));
    ask.headers_mut().insert("sec-websocket-version", hyper::header::HeaderValue::from_static("13"));
    let mut response = sender.send_request(ask).await.map_err(|e| http_broken(&e))?;
    if !response.status().is_success() {
        return read(response).await;
    }
    let headers = list(response.headers());
    let upgraded = hyper::upgrade::on(&mut response).await.map_err(|e| http_broken(&e))?;
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
    exchange(socket, headers, messages).await
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocketStream<S>,
    headers: Vec<(String, String)>,
    messages: &[String],
) -> Result<Outcome, Outcome> {
    let mut came = vec![next(&mut socket).await?];
    for message in messages {
        socket.send(Message::text(message)).await.map_err(|error| refused(&error))?;
        came.push(next(&mut socket).await?);
    }
    socket.close(None).await.map_err(|error| refused(&error))?;
    match socket.next().await {
        Some(Ok(Message::Close(_))) => Ok(Outcome::WebSocket { headers, messages: came }),
        other => Err(failed(&format!("instead of the closing handshake: {other:?}"))),
    }
}

async fn next<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Result<String, Outcome> {
    match socket.next().await {
        Some(Ok(Message::Text(text))) => Ok(text.as_str().to_owned()),
        Some(Ok(other)) => Err(failed(&format!("instead of a text: {other:?}"))),
        Some(Err(error)) => Err(refused(&error)),
        None => Err(Outcome::ClosedWithoutData),
    }
}

fn refused(error: &Error) -> Outcome {
    match error {
        Error::Http(response) => Outcome::Http {
            status: response.status().as_u16(),
            version: format!("{:?}", response.version()),
            headers: list(response.headers()),
            body: response.body().as_deref().map(lossy).unwrap_or_default(),
            trailers: Vec::new(),
        },
        Error::Io(error) => broken(error),
        other => failed(&other.to_string()),
    }
}

fn failed(error: &str) -> Outcome {
    Outcome::HttpError { error: error.to_owned() }
}
