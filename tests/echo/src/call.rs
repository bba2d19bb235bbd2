//! Makes an attempt and tells how it ended.

mod greet;
mod hold;
mod listen;
mod persevering;
mod transfer;
mod websocket;

pub use greet::{Greeted, greet};
pub use hold::hold;
pub use listen::listen;
pub use transfer::{Transfer, Transferred, transfer};

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;

use crate::attempt::{Attempt, Made, Outcome, Payload};
use crate::tls;
use persevering::Persevering;

/// Makes a list of [`Attempt`]s (JSON; absent: a line of standard input), prints the list of [`Made`]s.
///
/// # Errors
/// If there is no such list.
pub async fn run(attempts: Option<String>) -> std::io::Result<()> {
    let mut json = attempts.unwrap_or_default();
    if json.is_empty() {
        BufReader::new(tokio::io::stdin()).read_line(&mut json).await?;
    }
    let attempts: Vec<Attempt> = serde_json::from_str(&json)?;
    let outcomes = LocalSet::new().run_until(join_all(attempts.iter().map(make))).await;
    println!("{}", serde_json::to_string(&outcomes)?);
    Ok(())
}

/// Where an attempt stands, so that a time-out can say what it waited for.
struct Progress {
    stage: &'static str,
    local: Option<SocketAddr>,
}

type Shared = Rc<RefCell<Progress>>;

/// Makes one attempt. Runs inside a [`LocalSet`].
pub async fn make(attempt: &Attempt) -> Made {
    let progress = Rc::new(RefCell::new(Progress { stage: "name lookup", local: None }));
    let limit = Duration::from_millis(attempt.timeout_ms);
    let result = tokio::time::timeout(limit, Box::pin(attempt_once(attempt, &progress))).await;
    let Progress { stage, local } = *progress.borrow();
    let outcome = match result {
        Ok(Ok(outcome) | Err(outcome)) => outcome,
        Err(_) => Outcome::Timeout { during: stage.to_owned() },
    };
    Made { outcome, local }
}

async fn attempt_once(attempt: &Attempt, progress: &Shared) -> Result<Outcome, Outcome> {
    if let Payload::Datagram { text } = &attempt.payload {
        let address = resolve(&attempt.address, attempt.port).await.map_err(|error| unreachable(&error))?;
        return datagram(address, text, progress).await;
    }
    let stream = connect(attempt, progress).await?;
    progress.borrow_mut().stage = "an answer";
    let (stream, alert) = Persevering::new(stream);
    let result = match &attempt.payload {
        Payload::Bytes { text } => bytes(stream, text).await,
        Payload::WebSocket { .. } => websocket::talk(stream, attempt).await,
        payload => match open(stream, payload).await {
            Ok(mut channel) => channel.ask(request(attempt, whole(&attempt.payload))?).await,
            Err(outcome) => Err(outcome),
        },
    };
    // The libraries in between lose the alert; the stream has it.
    let alert = alert.borrow_mut().take();
    alert.map_or(result, |error| Err(broken(&error)))
}

/// TCP, and TLS over it where the attempt says so.
async fn connect(attempt: &Attempt, progress: &Shared) -> Result<Box<dyn Stream>, Outcome> {
    let address = resolve(&attempt.address, attempt.port).await.map_err(|error| unreachable(&error))?;
    progress.borrow_mut().stage = "TCP connection";
    let stream = TcpStream::connect(address).await.map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => Outcome::Refused,
        ErrorKind::ConnectionReset => Outcome::Reset,
        _ => unreachable(&error),
    })?;
    progress.borrow_mut().local = stream.local_addr().ok();
    let _ = stream.set_nodelay(true);
    let Some(tls) = &attempt.tls else { return Ok(Box::new(stream)) };
    progress.borrow_mut().stage = "TLS handshake";
    let config = tls::client(tls).map_err(|error| Outcome::TlsError { error: error.to_string() })?;
    let name = match &tls.server_name {
        Some(name) => ServerName::try_from(name.clone())
            .map_err(|error| Outcome::TlsError { error: format!("server name '{name}': {error}") })?,
        None => ServerName::from(address.ip()),
    };
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| broken(&e))?;
    Ok(Box::new(stream))
}

/// What both ends of TLS read and write.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

fn unreachable(error: &std::io::Error) -> Outcome {
    Outcome::Unreachable { error: error.to_string() }
}

/// Understands `fe80::1%eth0`.
async fn resolve(host: &str, port: u16) -> std::io::Result<SocketAddr> {
    if let Some((address, interface)) = host.split_once('%') {
        let address: Ipv6Addr = address.parse().map_err(std::io::Error::other)?;
        let index = std::fs::read_to_string(format!("/sys/class/net/{interface}/ifindex"))?;
        let index = index.trim().parse().map_err(std::io::Error::other)?;
        return Ok(SocketAddrV6::new(address, port, 0, index).into());
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok((address, port).into());
    }
    tokio::net::lookup_host((host, port))
        .await?
        .next()
        .ok_or_else(|| std::io::Error::other("the name has no address"))
}

async fn datagram(address: SocketAddr, text: &str, progress: &Shared) -> Result<Outcome, Outcome> {
    let local: IpAddr = if address.is_ipv4() { [0, 0, 0, 0].into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((local, 0)).await.map_err(|e| broken(&e))?;
    socket.connect(address).await.map_err(|error| Outcome::Unreachable { error: error.to_string() })?;
    socket.send(text.as_bytes()).await.map_err(|e| broken(&e))?;
    progress.borrow_mut().stage = "a datagram back";
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer).await.map_err(|e| broken(&e))?;
    Ok(Outcome::Bytes { text: lossy(buffer.get(..length).unwrap_or_default()) })
}

/// The body that an attempt holds.
fn whole(payload: &Payload) -> Full<Bytes> {
    match payload {
        Payload::Http { body, .. } => Full::new(Bytes::from(body.clone())),
        _ => Full::default(),
    }
}

/// The request of an attempt over HTTP, with this body.
fn request<B>(attempt: &Attempt, body: B) -> Result<Request<B>, Outcome> {
    let Payload::Http { h2, method, path, host, headers, .. } = &attempt.payload else {
        return Err(Outcome::HttpError { error: "the attempt holds no request".to_owned() });
    };
    let mut request = Request::builder().method(method.as_str());
    request = if *h2 {
        let scheme = if attempt.tls.is_some() { "https" } else { "http" };
        request.uri(format!("{scheme}://{host}{path}"))
    } else {
        request.uri(path).header("Host", host)
    };
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(body).map_err(|error| Outcome::HttpError { error: format!("cannot be asked for: {error}") })
}

/// An HTTP connection.
enum Channel<B> {
    H1(http1::SendRequest<B>),
    H2(http2::SendRequest<B>),
}

/// Starts HTTP on a stream; the connection is driven until the channel is dropped.
async fn open<B>(stream: Persevering<Box<dyn Stream>>, payload: &Payload) -> Result<Channel<B>, Outcome>
where
    B: Body<Data = Bytes, Error = Infallible> + Unpin + 'static,
{
    let io = TokioIo::new(stream);
    if matches!(payload, Payload::Http { h2: true, .. }) {
        let (sender, connection) = http2::handshake(LocalExecutor, io).await.map_err(|e| http_broken(&e))?;
        tokio::task::spawn_local(connection);
        return Ok(Channel::H2(sender));
    }
    let mut builder = http1::Builder::new();
    let (sender, connection) =
        builder.preserve_header_case(true).handshake(io).await.map_err(|e| http_broken(&e))?;
    tokio::task::spawn_local(connection);
    Ok(Channel::H1(sender))
}

impl<B: Body<Data = Bytes, Error = Infallible> + Unpin + 'static> Channel<B> {
    async fn ask(&mut self, request: Request<B>) -> Result<Outcome, Outcome> {
        read(self.send(request).await?).await
    }

    /// Until the answer's head is there.
    async fn send(&mut self, request: Request<B>) -> Result<Response<Incoming>, Outcome> {
        let response = match self {
            Self::H1(sender) => {
                sender.ready().await.map_err(|e| http_broken(&e))?;
                sender.send_request(request).await
            }
            Self::H2(sender) => {
                sender.ready().await.map_err(|e| http_broken(&e))?;
                sender.send_request(request).await
            }
        };
        response.map_err(|e| http_broken(&e))
    }
}

#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

fn list(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), lossy(value.as_bytes()))).collect()
}

async fn read(response: Response<Incoming>) -> Result<Outcome, Outcome> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|e| http_broken(&e))?;
    let trailers = body.trailers().map(list).unwrap_or_default();
    Ok(Outcome::Http {
        status: head.status.as_u16(),
        version: format!("{:?}", head.version),
        headers: list(&head.headers),
        body: lossy(&body.to_bytes()),
        trailers,
    })
}

async fn bytes<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, text: &str) -> Result<Outcome, Outcome> {
    stream.write_all(text.as_bytes()).await.map_err(|e| broken(&e))?;
    stream.flush().await.map_err(|e| broken(&e))?;
    let mut buffer = vec![0; 16 * 1024];
    let length = stream.read(&mut buffer).await.map_err(|e| broken(&e))?;
    if length == 0 {
        return Ok(Outcome::ClosedWithoutData);
    }
    Ok(Outcome::Bytes { text: lossy(buffer.get(..length).unwrap_or_default()) })
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The kind of a broken connection.
fn broken(error: &std::io::Error) -> Outcome {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return match tls {
            rustls::Error::AlertReceived(alert) => Outcome::TlsAlert { name: format!("{alert:?}") },
            other => Outcome::TlsError { error: other.to_string() },
        };
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => Outcome::Refused,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Outcome::Reset,
        ErrorKind::UnexpectedEof => Outcome::ClosedWithoutData,
        _ => Outcome::Unreachable { error: error.to_string() },
    }
}

fn http_broken(error: &hyper::Error) -> Outcome {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return broken(io);
        }
        source = inner.source();
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return Outcome::ClosedWithoutData;
    }
    Outcome::HttpError { error: error.to_string() }
}
