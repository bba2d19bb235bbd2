//! gRPC's client: a call of each kind.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http2;
use hyper::http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::LocalSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::persevering::Persevering;
use super::{LocalExecutor, Progress, connect};
use crate::attempt::Attempt;
use crate::grpc::{Channel, Text};

/// What came of a call of each kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Greeted {
    /// One message, one answer: the answer, its metadata `x-greeting`, and the status from its trailers.
    pub unary: [String; 3],
    /// The same for what is not there: the status' code, its message, its metadata `x-why`.
    pub missing: [String; 3],
    /// One message, many answers, and the code of the status at their end.
    pub counted: Vec<String>,
    /// Many messages, one answer.
    pub joined: String,
    /// Many messages, each sent once the one before has been answered.
    pub echoed: Vec<String>,
    /// What the service was told of a deadline of 30 s.
    pub deadline: String,
}

/// Reads an [`Attempt`] from standard input, whose payload is of no concern, makes a call of each kind over one
/// connection, gives one up, and prints [`Greeted`].
///
/// # Errors
/// If standard input holds no attempt, or a call is not answered as it should be.
pub async fn greet() -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(tokio::io::stdin()).read_line(&mut line).await?;
    let attempt: Attempt = serde_json::from_str(&line)?;
    let calls = tokio::time::timeout(Duration::from_millis(attempt.timeout_ms), call(&attempt));
    let greeted = LocalSet::new().run_until(Box::pin(calls)).await;
    let greeted = greeted.map_err(|_| std::io::Error::other("the calls take too long"))?;
    println!("{}", serde_json::to_string(&greeted.map_err(std::io::Error::other)?)?);
    Ok(())
}

fn method(name: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(name)
}

async fn call(attempt: &Attempt) -> Result<Greeted, Status> {
    let broken = |what: &str, why: &str| Status::unavailable(format!("{what}: {why}"));
    let progress = Rc::new(RefCell::new(Progress { stage: "", local: None }));
    let connected = connect(attempt, &progress).await;
    let (stream, _) = Persevering::new(connected.map_err(|outcome| broken("connecting", &outcome.brief()))?);
    let handshake = http2::handshake(LocalExecutor, TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| broken("HTTP/2", &error.to_string()))?;
    tokio::task::spawn_local(connection);
    let origin = hyper::Uri::from_static("https://orders.example.com");
    let mut caller = tonic::client::Grpc::with_origin(Channel(sender), origin);
    caller.ready().await.map_err(|error| broken("HTTP/2", &error.to_string()))?;

    let text = |metadata: &tonic::metadata::MetadataMap, name: &str| {
        metadata.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let greet = || method("/test.Greeter/Greet");
    let reply = caller.unary(Request::new("you".to_owned()), greet(), Text).await?;
    let metadata = reply.metadata();
    let unary = [reply.get_ref().clone(), text(metadata, "x-greeting"), text(metadata, "grpc-status")];
    let missing = match caller.unary(Request::new("nobody".to_owned()), greet(), Text).await {
        Ok(reply) => return Err(broken("a call for nobody", reply.get_ref())),
        Err(status) => {
            [format!("{:?}", status.code()), status.message().to_owned(), text(status.metadata(), "x-why")]
        }
    };

    let count = Request::new("3".to_owned());
    let mut numbers = caller.server_streaming(count, method("/test.Greeter/Count"), Text).await?.into_inner();
    let mut counted = Vec::new();
    loop {
        match numbers.message().await {
            Ok(Some(number)) => counted.push(number),
            Ok(None) => break,
            Err(status) => {
                counted.push(format!("{:?}", status.code()));
                break;
            }
        }
    }

    let words = tokio_stream::iter(["a", "b", "c"].map(str::to_owned));
    let joined = caller.client_streaming(Request::new(words), method("/test.Greeter/Join"), Text).await?;

    let (words, receiver) = tokio::sync::mpsc::channel(1);
    let request = Request::new(ReceiverStream::new(receiver));
    let mut replies = caller.streaming(request, method("/test.Greeter/Echo"), Text).await?.into_inner();
    let mut echoed = Vec::new();
    for word in ["one", "two", "three"] {
        words.send(word.to_owned()).await.map_err(|_| broken("a stream", "it has ended early"))?;
        echoed.extend(replies.message().await?);
    }
    drop(words);
    echoed.extend(replies.message().await?);

    let mut request = Request::new("you".to_owned());
    request.set_timeout(Duration::from_secs(30));
    let deadline = caller.unary(request, greet(), Text).await?.into_inner();
    let sleep = caller.unary(Request::new(String::new()), method("/test.Greeter/Sleep"), Text);
    // Given up, which is told by a reset.
    if tokio::time::timeout(Duration::from_millis(300), sleep).await.is_ok() {
        return Err(broken("a call without end", "it has ended"));
    }
    // The reset is sent before the next request.
    caller.unary(Request::new("you".to_owned()), greet(), Text).await?;
    Ok(Greeted { unary, missing, counted, joined: joined.into_inner(), echoed, deadline })
}
