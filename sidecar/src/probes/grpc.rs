//! `grpc`: one call of `grpc.health.v1.Health/Check` over HTTP/2 without TLS, as the kubelet does it.
//!
//! Its two messages are so small that they are encoded here: `HealthCheckRequest {string service = 1}` and
//! `HealthCheckResponse {ServingStatus status = 1}`.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_util::task::AbortOnDropHandle;

use super::ProbeFailure;
use super::target::connect;

/// An answer has a few bytes.
const ANSWER_LIMIT: usize = 10 << 10;
/// Length of the flag and the length before each message.
const PREFIX: usize = 5;

/// Asks the first of `targets` that accepts for the health of `service` (empty: of the server as a whole).
pub(super) async fn check(
    targets: &[SocketAddr],
    service: &str,
    user_agent: &HeaderValue,
    limit: Duration,
) -> Result<(), ProbeFailure> {
    let (stream, address) = connect(targets).await?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(async {
        // A fault of the connection shows in the exchange as well.
        let _ = connection.await;
    }));
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header("grpc-timeout", format!("{}S", limit.as_secs()))
        .header(USER_AGENT, user_agent)
        .body(Full::new(request_message(service)))?;
    let response = sender.send_request(request).await?;
    let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    if response.status() != StatusCode::OK || !response.headers().get(CONTENT_TYPE).is_some_and(is_grpc) {
        return Err(ProbeFailure::NotGrpc);
    }
    // A call that fails at once carries its status in the headers.
    if let Some(status) = response.headers().get("grpc-status") {
        succeeded(Some(status), response.headers())?;
    }
    let body =
        Limited::new(response.into_body(), ANSWER_LIMIT).collect().await.map_err(|error| match error
            .downcast::<hyper::Error>(
        ) {
            Ok(error) => ProbeFailure::Exchange(*error),
            Err(_) => ProbeFailure::NotGrpc,
        })?;
    let none = HeaderMap::new();
    let trailers = body.trailers().unwrap_or(&none);
    succeeded(trailers.get("grpc-status"), trailers)?;
    match serving_status(&body.to_bytes()) {
        Some(1) => Ok(()),
        Some(0) => Err(ProbeFailure::NotServing("UNKNOWN")),
        Some(2) => Err(ProbeFailure::NotServing("NOT_SERVING")),
        Some(3) => Err(ProbeFailure::NotServing("SERVICE_UNKNOWN")),
        Some(_) => Err(ProbeFailure::NotServing("an unknown status")),
        None => Err(ProbeFailure::NotGrpc),
    }
}

fn succeeded(status: Option<&HeaderValue>, with: &HeaderMap) -> Result<(), ProbeFailure> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    match status.map(text) {
        Some(status) if status == "0" => Ok(()),
        Some(status) => {
            let message = with.get("grpc-message").map(text).unwrap_or_default();
            Err(ProbeFailure::GrpcStatus(format!("{status} {message}").trim_end().to_owned()))
        }
        None => Err(ProbeFailure::NotGrpc),
    }
}

/// The request with its prefix: not compressed, length.
fn request_message(service: &str) -> Bytes {
    /// Field 1, length-delimited.
    const SERVICE: u8 = 1 << 3 | 2;

    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(SERVICE);
        put_varint(&mut message, service.len());
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put(message);
    framed.freeze()
}

/// Protocol Buffers' variable-length number: seven bits to a byte, the lowest first.
fn put_varint(into: &mut BytesMut, mut number: usize) {
    while number > 0x7f {
        into.put_u8(lowest_byte(number) | 0x80);
        number >>= 7;
    }
    into.put_u8(lowest_byte(number));
}

fn lowest_byte(number: usize) -> u8 {
    let [lowest, ..] = number.to_le_bytes();
    lowest
}

/// The status in the one message of `framed`; `None` if that is no `HealthCheckResponse`.
fn serving_status(framed: &[u8]) -> Option<u64> {
    let (prefix, mut message) = framed.split_at_checked(PREFIX)?;
    let [compressed, length @ ..] = prefix else { return None };
    let length = u32::from_be_bytes(length.try_into().ok()?);
    if *compressed != 0 || usize::try_from(length) != Ok(message.len()) {
        return None;
    }
    // An absent field has its default value, UNKNOWN.
    let mut status = 0;
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = take_varint(&mut message)?,
            (_, 0) => drop(take_varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_encoded_as_protocol_buffers_say() {
        assert_eq!(request_message("").as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(request_message("db").as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'd', b'b']);
        let long = request_message(&"x".repeat(300));
        assert_eq!(long.get(..8), Some(&[0, 0, 0, 1, 0x2f, 0x0a, 0xac, 0x02][..]));
        assert_eq!(long.len(), 5 + 303);
    }

    #[test]
    fn answers_are_read_to_the_letter() {
        for (case, bytes, expected) in [
            ("serving", &[0, 0, 0, 0, 2, 8, 1][..], Some(1)),
            ("not serving", &[0, 0, 0, 0, 2, 8, 2], Some(2)),
            ("default", &[0, 0, 0, 0, 0], Some(0)),
            ("unknown fields first", &[0, 0, 0, 0, 7, 0x12, 1, 9, 0x18, 5, 8, 1], Some(1)),
            ("compressed", &[1, 0, 0, 0, 2, 8, 1], None),
            ("too short", &[0, 0, 0, 0, 3, 8, 1], None),
            ("two messages", &[0, 0, 0, 0, 2, 8, 1, 0, 0, 0, 0, 2, 8, 1], None),
            ("endless number", &[0, 0, 0, 0, 2, 8, 0x81], None),
            ("length beyond the end", &[0, 0, 0, 0, 2, 0x12, 9], None),
            ("nothing", &[], None),
        ] {
            assert_eq!(serving_status(bytes), expected, "{case}");
        }
    }
}
