//! Answers of an application as the sidecar reads them, with hyper's client as the oracle: what hyper refuses is refused,
//! and what is accepted is read as hyper reads it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use postern_sidecar::forward::wire::read_answer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The first byte chooses the request's method, the others come from the application, which then closes.
pub fn check(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let method = if choice % 4 == 1 { Method::HEAD } else { Method::GET };
    let ours = read_answer(&method, [bytes]);
    for size in [1, 7] {
        let cut = read_answer(&method, bytes.chunks(size));
        match (&ours, &cut) {
            (Ok(ours), Ok(cut)) => assert_eq!((&ours.body, &ours.trailers), (&cut.body, &cut.trailers)),
            // How much was left over is told by what came together with the end.
            (Err(ours), Err(cut)) => assert_eq!(ours.code, cut.code, "in pieces of {size}"),
            _ => panic!("in pieces of {size}: {cut:?} and not {ours:?}"),
        }
    }
    let Ok(ours) = ours else { return };
    let (head, body, trailers) =
        oracle(&method, bytes).unwrap_or_else(|error| panic!("hyper refuses it: {error}"));
    assert_eq!((ours.head.status(), ours.head.headers()), (head.status(), head.headers()));
    assert_eq!(ours.body, body);
    assert_eq!(ours.trailers.unwrap_or_default(), trailers);
}

/// As hyper's client reads it.
fn oracle(method: &Method, bytes: &[u8]) -> Result<(Response<()>, Bytes, HeaderMap), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (near, mut far) = tokio::io::duplex(64 << 10);
        let (mut sender, connection) =
            http1::Builder::new().max_headers(300).handshake(TokioIo::new(near)).await.unwrap();
        let serving = tokio::spawn(async move {
            // Its errors come out of the request.
            let _ = connection.with_upgrades().await;
        });
        let bytes = bytes.to_vec();
        let application = tokio::spawn(async move {
            let _ = far.read(&mut [0; 1024]).await;
            let _ = far.write_all(&bytes).await;
        });
        let request =
            Request::builder().method(method).uri("/").header("host", "a").body(Empty::<Bytes>::new());
        let exchange = async {
            let response =
                sender.send_request(request.unwrap()).await.map_err(|error| format!("{error:?}"))?;
            let (parts, body) = response.into_parts();
            let collected = if parts.status == http::StatusCode::SWITCHING_PROTOCOLS {
                None
            } else {
                Some(body.collect().await.map_err(|error| format!("{error:?}"))?)
            };
            let trailers = collected.as_ref().and_then(|all| all.trailers().cloned()).unwrap_or_default();
            let body = collected.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            Ok((Response::from_parts(parts, ()), body, trailers))
        };
        let outcome = tokio::time::timeout(Duration::from_secs(10), exchange).await;
        serving.abort();
        application.abort();
        outcome.unwrap_or_else(|_| Err("it takes too long".to_owned()))
    })
}
