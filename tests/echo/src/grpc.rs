//! A gRPC service with a method of each kind, `test.Greeter`, whose messages are text as it is, and what calls it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Response, Status, Streaming};
use tower::{Service, service_fn};

/// Writes and reads messages that are text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        String::from_utf8(bytes.to_vec()).map(Some).map_err(|_| Status::internal("no text"))
    }
}

/// One connection as a channel of tonic.
#[derive(Clone, Debug)]
pub struct Channel(pub http2::SendRequest<tonic::body::Body>);

impl Service<hyper::Request<tonic::body::Body>> for Channel {
    type Response = hyper::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: hyper::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// What a service is told of its calls.
pub trait Notices: Send + 'static {
    /// The caller gave up a call before its answer.
    fn cancelled(&self);
    /// A stream of requests broke.
    fn broken(&self, status: &Status);
}

type Replies = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

/// `Greet`: one message, one answer with metadata; `nobody` is not found.
async fn greet(request: Request<String>) -> Result<Response<String>, Status> {
    let name = request.get_ref().clone();
    if name == "nobody" {
        let mut status = Status::not_found("nobody is here");
        status.metadata_mut().insert("x-why", tonic::metadata::MetadataValue::from_static("looked"));
        return Err(status);
    }
    let timeout = request.metadata().get("grpc-timeout").and_then(|value| value.to_str().ok());
    let mut response = Response::new(format!("hello {name} {}", timeout.unwrap_or_default()));
    response.metadata_mut().insert("x-greeting", tonic::metadata::MetadataValue::from_static("warm"));
    Ok(response)
}

/// `Count`: one message, a number; the numbers up to it, then a status.
async fn count(request: Request<String>) -> Result<Response<Replies>, Status> {
    let limit: u32 = request.into_inner().parse().map_err(|_| Status::invalid_argument("no number"))?;
    let numbers = (1..=limit).map(|number| Ok(number.to_string()));
    let end = std::iter::once(Err(Status::out_of_range("no more")));
    Ok(Response::new(Box::pin(tokio_stream::iter(numbers.chain(end)))))
}

/// `Join`: many messages, one answer.
async fn join(request: Request<Streaming<String>>) -> Result<Response<String>, Status> {
    let mut stream = request.into_inner();
    let mut all = Vec::new();
    while let Some(message) = stream.message().await? {
        all.push(message);
    }
    Ok(Response::new(all.join("+")))
}

/// `Echo`: each message back as it comes.
fn echo(notices: impl Notices, request: Request<Streaming<String>>) -> Response<Replies> {
    let mut stream = request.into_inner();
    let (sender, replies) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            match stream.message().await {
                Ok(Some(message)) => {
                    if sender.send(Ok(message)).await.is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(status) => return notices.broken(&status),
            }
        }
    });
    Response::new(Box::pin(ReceiverStream::new(replies)))
}

struct OnDrop<N: Notices>(N);

impl<N: Notices> Drop for OnDrop<N> {
    fn drop(&mut self) {
        self.0.cancelled();
    }
}

/// Answers a call: `Greet`, `Count`, `Join`, `Sleep` (never ends) and else `Echo`.
pub async fn answer(
    request: hyper::Request<Incoming>,
    notices: impl Notices,
) -> hyper::Response<tonic::body::Body> {
    let mut grpc = tonic::server::Grpc::new(Text);
    match request.uri().path().rsplit('/').next().unwrap_or_default() {
        "Greet" => grpc.unary(service_fn(greet), request).await,
        "Count" => grpc.server_streaming(service_fn(count), request).await,
        "Join" => grpc.client_streaming(service_fn(join), request).await,
        "Sleep" => {
            let on_drop = OnDrop(notices);
            let sleep = service_fn(move |_: Request<String>| {
                let _kept = &on_drop;
                std::future::pending::<Result<Response<String>, Status>>()
            });
            grpc.unary(sleep, request).await
        }
        _ => {
            let mut notices = Some(notices);
            let echo = service_fn(move |request| {
                let reply = notices.take().map(|notices| echo(notices, request));
                std::future::ready(reply.ok_or_else(|| Status::internal("a call is answered once")))
            });
            grpc.streaming(echo, request).await
        }
    }
}
