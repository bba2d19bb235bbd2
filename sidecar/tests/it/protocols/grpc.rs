//! gRPC with a real stack at both ends: all four kinds of call, trailers, deadlines, and resets both ways.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use bytes::Bytes;
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use postern_echo::grpc::{self, Channel, Notices, Text};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status};

use super::server::{Server, Speech};
use super::stage::Stage;
use crate::support::prelude::*;

/// What the service has noticed.
#[derive(Default)]
struct Noticed {
    /// A call that the caller gave up.
    cancelled: AtomicBool,
    /// The code of the reset that broke a stream of requests.
    broken: AtomicU32,
}

struct Told(Arc<Noticed>);

impl Notices for Told {
    fn cancelled(&self) {
        self.0.cancelled.store(true, SeqCst);
    }

    fn broken(&self, status: &Status) {
        self.0.broken.store(reset(status).map_or(0, Into::into), SeqCst);
    }
}

/// The code of the reset that a status comes from.
fn reset(status: &Status) -> Option<h2::Reason> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(status);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.reason();
        }
        source = error.source();
    }
    None
}

async fn service() -> (Server, Arc<Noticed>) {
    let noticed = Arc::new(Noticed::default());
    let shared = Arc::clone(&noticed);
    let server = Server::start(Speech::H2c, move |request: http::Request<Incoming>| {
        grpc::answer(request, Told(Arc::clone(&shared)))
    })
    .await;
    (server, noticed)
}

type Caller = tonic::client::Grpc<Channel>;

async fn caller(client: &Client) -> Caller {
    let stream = TokioIo::new(client.connect().await.unwrap());
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let origin = "https://greeter.example.com".parse().unwrap();
    let mut caller = tonic::client::Grpc::with_origin(Channel(sender), origin);
    caller.ready().await.unwrap();
    caller
}

fn method(name: &str) -> PathAndQuery {
    format!("/test.Greeter/{name}").parse().unwrap()
}

#[tokio::test]
async fn all_four_kinds_of_call() {
    let (server, _) = service().await;
    let stage = Stage::before("H2C", server.address).await;
    let mut caller = caller(&stage.http2()).await;

    let reply = caller.unary(Request::new("you".to_owned()), method("Greet"), Text).await.unwrap();
    assert_eq!(reply.metadata().get("x-greeting").unwrap(), "warm");
    // The status came in trailers.
    assert_eq!(reply.metadata().get("grpc-status").unwrap(), "0");
    assert_eq!(reply.get_ref(), "hello you ");
    let missing = caller.unary(Request::new("nobody".to_owned()), method("Greet"), Text).await.unwrap_err();
    assert_eq!((missing.code(), missing.message()), (Code::NotFound, "nobody is here"));
    assert_eq!(missing.metadata().get("x-why").unwrap(), "looked");

    let mut replies = caller
        .server_streaming(Request::new("3".to_owned()), method("Count"), Text)
        .await
        .unwrap()
        .into_inner();
    for expected in ["1", "2", "3"] {
        assert_eq!(replies.message().await.unwrap().as_deref(), Some(expected));
    }
    assert_eq!(replies.message().await.unwrap_err().code(), Code::OutOfRange);

    let words = tokio_stream::iter(["a", "b", "c"].map(str::to_owned));
    let joined = caller.client_streaming(Request::new(words), method("Join"), Text).await.unwrap();
    assert_eq!(joined.get_ref(), "a+b+c");

    let (words, receiver) = tokio::sync::mpsc::channel(1);
    let request = Request::new(ReceiverStream::new(receiver));
    let mut replies = caller.streaming(request, method("Echo"), Text).await.unwrap().into_inner();
    for word in ["one", "two", "three"] {
        words.send(word.to_owned()).await.unwrap();
        assert_eq!(replies.message().await.unwrap().as_deref(), Some(word));
    }
    drop(words);
    assert_eq!(replies.message().await.unwrap(), None);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_deadline_passes_and_its_end_cancels_the_call() {
    let (server, noticed) = service().await;
    let stage = Stage::before("H2C", server.address).await;
    let mut caller = caller(&stage.http2()).await;
    let mut request = Request::new("you".to_owned());
    request.set_timeout(Duration::from_secs(30));
    let reply = caller.unary(request, method("Greet"), Text).await.unwrap();
    assert_eq!(reply.get_ref(), "hello you 30000000u");

    // The caller keeps its own deadline; the service is told of its end by a reset.
    let sleep = caller.unary(Request::new(String::new()), method("Sleep"), Text);
    assert!(tokio::time::timeout(Duration::from_millis(300), sleep).await.is_err());
    eventually("the service's call is dropped", async || noticed.cancelled.load(SeqCst)).await;
}

/// One bidirectional call without a stack in between, to see and send every frame: what was received of its answer so
/// far, and both directions.
async fn call(client: &Client) -> (h2::SendStream<Bytes>, http::Response<h2::RecvStream>) {
    let (sender, connection) = h2::client::handshake(client.connect().await.unwrap()).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("https://greeter.example.com/test.Greeter/Echo")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let mut sender = sender.ready().await.unwrap();
    let (response, stream) = sender.send_request(request.body(()).unwrap(), false).unwrap();
    (stream, response.await.unwrap())
}

#[tokio::test]
async fn a_reset_by_the_caller_reaches_the_service_in_the_middle() {
    let (server, noticed) = service().await;
    let stage = Stage::before("H2C", server.address).await;
    let (mut stream, mut response) = call(&stage.http2()).await;
    stream.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), false).unwrap();
    let back = response.body_mut().data().await.unwrap().unwrap();
    assert!(back.ends_with(b"hi") || back.len() == 5, "{back:?}");
    stream.send_reset(h2::Reason::CANCEL);
    let broken = async || noticed.broken.load(SeqCst) == u32::from(h2::Reason::CANCEL);
    eventually("the service sees the call cancelled", broken).await;
    // Of one caller's connections all calls share one to the application, which is as good as before.
    let mut caller = caller(&stage.http2()).await;
    let reply = caller.unary(Request::new("you".to_owned()), method("Greet"), Text).await.unwrap();
    assert_eq!(reply.get_ref(), "hello you ");
    assert_eq!(server.connections(), 1);
}

/// Sends one message, then resets the stream with `reason`.
async fn resetting(reason: h2::Reason) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let head = http::Response::builder().header("content-type", "application/grpc");
                    let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
                    stream.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), false).unwrap();
                    tokio::spawn(async move {
                        // Once the message has gone.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        stream.send_reset(reason);
                    });
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_reset_by_the_service_reaches_the_caller_with_its_code() {
    for reason in [h2::Reason::CANCEL, h2::Reason::ENHANCE_YOUR_CALM, h2::Reason::REFUSED_STREAM] {
        let stage = Stage::before("H2C", resetting(reason).await).await;
        let (_stream, mut response) = call(&stage.http2()).await;
        let mut error = None;
        while error.is_none() {
            error = response.body_mut().data().await.expect("an error before the end").err();
        }
        assert_eq!(error.unwrap().reason(), Some(reason));
    }
}
