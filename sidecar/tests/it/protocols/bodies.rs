//! Large bodies, both ways, over both versions: all of it arrives, and the sidecar holds next to nothing of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use postern_echo::large::{Made, swallow};

use super::server::{Server, Speech};
use super::stage::Stage;
use crate::support::prelude::*;

/// 1 GiB, or a part of it where nothing is optimised.
const SIZE: u64 = if cfg!(debug_assertions) { 128 << 20 } else { 1 << 30 };
/// What the sidecar may grow by.
const GROWTH: u64 = 16 << 20;

type Either = http_body_util::Either<Made, Full<Bytes>>;

/// Answers a GET with a large body, and everything else with what it has read.
async fn large(speech: Speech) -> Server {
    Server::start(speech, |request: Request<Incoming>| async move {
        if request.method() == http::Method::GET {
            return Response::new(Either::Left(Made::new(SIZE)));
        }
        let (count, is_right) = swallow(request.into_body()).await;
        Response::new(Either::Right(Full::new(Bytes::from(format!("{count} {is_right}")))))
    })
    .await
}

enum Caller {
    One(http1::SendRequest<Made>),
    Two(http2::SendRequest<Made>),
}

impl Caller {
    async fn new(version: &str, stage: &Stage) -> Self {
        if version == "h1" {
            let stream = TokioIo::new(stage.http1().connect().await.unwrap());
            let (sender, connection) = http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            return Self::One(sender);
        }
        let stream = TokioIo::new(stage.http2().connect().await.unwrap());
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(1 << 20)
            .handshake(stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        Self::Two(sender)
    }

    async fn send(&mut self, method: &str, body: Made) -> Response<Incoming> {
        let request = Request::builder().method(method);
        match self {
            Self::One(sender) => {
                let request = request.uri("/").header("host", "a").body(body).unwrap();
                sender.send_request(request).await.unwrap()
            }
            Self::Two(sender) => {
                sender.send_request(request.uri("https://a/").body(body).unwrap()).await.unwrap()
            }
        }
    }
}

#[tokio::test]
async fn large_bodies_pass_both_ways_and_leave_nothing_behind() {
    for (protocol, speech) in [("HTTP", Speech::Http1), ("H2C", Speech::H2c)] {
        let server = large(speech).await;
        let stage = Stage::before(protocol, server.address).await;
        for version in ["h1", "h2"] {
            let mut caller = Caller::new(version, &stage).await;
            // What the first bytes take: code, buffers, the connection to the application.
            let _ = caller.send("POST", Made::new(4 << 20)).await.into_body().collect().await.unwrap();
            let before = stage.resident();
            let begun = Instant::now();
            let (_, answer) = read(caller.send("POST", Made::new(SIZE)).await).await;
            assert_eq!(answer, format!("{SIZE} true"), "{version} up to {protocol}");
            let up = begun.elapsed();
            let grown = stage.resident().saturating_sub(before);
            assert!(grown < GROWTH, "{version} up to {protocol}: {grown} bytes more");

            let begun = Instant::now();
            let body = caller.send("GET", Made::new(0)).await.into_body();
            assert_eq!(swallow(body).await, (SIZE, true), "{version} down from {protocol}");
            let grown = stage.resident().saturating_sub(before);
            assert!(grown < GROWTH, "{version} down from {protocol}: {grown} bytes more");
            println!(
                "{version} {protocol}: up {up:?}, down {:?}, grown {} KiB",
                begun.elapsed(),
                grown >> 10
            );
        }
    }
}

/// A caller that does not read holds up the application, and an application that does not read the caller.
#[tokio::test]
async fn who_does_not_read_is_not_sent_to() {
    for (protocol, speech) in [("HTTP", Speech::Http1), ("H2C", Speech::H2c)] {
        let made = Arc::new(AtomicU64::new(0));
        let shared = Arc::clone(&made);
        let server = Server::start(speech, move |request: Request<Incoming>| {
            let made = Arc::clone(&shared);
            async move {
                if request.method() == http::Method::GET {
                    return Response::new(Made::counted(SIZE, made));
                }
                // It neither answers nor reads.
                let _kept = request;
                std::future::pending().await
            }
        })
        .await;
        let stage = Stage::before(protocol, server.address).await;
        for version in ["h1", "h2"] {
            let mut down = Caller::new(version, &stage).await;
            let mut up = Caller::new(version, &stage).await;
            let before = stage.resident();
            made.store(0, SeqCst);
            let answer = down.send("GET", Made::new(0)).await;
            let came = settled(&made).await;
            assert!(came < MOST, "{version} down from {protocol}: {came} bytes");
            let sent = Arc::new(AtomicU64::new(0));
            let body = Made::counted(SIZE, Arc::clone(&sent));
            let sending = tokio::spawn(async move { up.send("POST", body).await });
            let went = settled(&sent).await;
            assert!(went < MOST, "{version} up to {protocol}: {went} bytes");
            let grown = stage.resident().saturating_sub(before);
            assert!(grown < GROWTH, "{version} {protocol}: {grown} bytes more");
            // The rest comes as soon as it is asked for.
            assert_eq!(swallow(answer.into_body()).await, (SIZE, true), "{version} {protocol}");
            sending.abort();
        }
    }
}

/// What may be under way between two ends: mostly the system's buffers.
const MOST: u64 = 64 << 20;

/// Until a count stays as it is.
async fn settled(count: &AtomicU64) -> u64 {
    let (start, mut before) = (Instant::now(), 0);
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = count.load(SeqCst);
        if now == before && now > 0 {
            return now;
        }
        assert!(start.elapsed() < LIMIT, "it does not stop: {now} bytes");
        before = now;
    }
}
