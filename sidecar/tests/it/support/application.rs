//! The application behind the sidecar: a real HTTP server that says what it saw.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

/// A running application.
pub struct Application {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    hits: AtomicUsize,
    connections: AtomicUsize,
    /// Streams that were broken off by the other side.
    broken: AtomicUsize,
    /// Lets `/slow` answer.
    gate: Gate,
    /// Closes connections after an answer without saying so.
    closes: AtomicBool,
}

struct Gate(Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

type Answer = BoxBody<Bytes, Infallible>;

impl Application {
    /// Serves HTTP/1.1 on a port that the system chooses.
    pub async fn http() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, SeqCst);
                let seen = Arc::clone(&shared);
                tokio::spawn(async move {
                    let closes = seen.closes.load(SeqCst);
                    let service = service_fn(|request| {
                        let seen = Arc::clone(&seen);
                        async move { Ok::<_, Infallible>(answer(&seen, request).await) }
                    });
                    let mut connection =
                        std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
                    if closes {
                        // Ends the connection unasked, a moment after its first answer.
                        let hits = seen.hits.load(SeqCst);
                        tokio::select! {
                            _ = connection.as_mut() => {}
                            () = async {
                                while seen.hits.load(SeqCst) == hits { tokio::time::sleep(Duration::from_millis(5)).await; }
                                tokio::time::sleep(Duration::from_millis(100)).await;
                            } => {}
                        }
                    } else {
                        let _ = connection.await;
                    }
                });
            }
        });
        Self { address, seen }
    }

    /// Sends a greeting first, then what it gets, until the caller has ended; then says goodbye.
    pub async fn bytes() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let seen = Arc::clone(&shared);
                seen.hits.fetch_add(1, SeqCst);
                tokio::spawn(async move {
                    stream.write_all(b"hello\n").await.unwrap();
                    let (mut read, mut write) = stream.into_split();
                    if tokio::io::copy(&mut read, &mut write).await.is_err() {
                        seen.broken.fetch_add(1, SeqCst);
                        return;
                    }
                    let _ = write.write_all(b"bye\n").await;
                });
            }
        });
        Self { address, seen }
    }

    /// Requests (or connections, without HTTP) that reached it.
    pub fn hits(&self) -> usize {
        self.seen.hits.load(SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(SeqCst)
    }

    /// Streams whose reader went away.
    pub fn broken(&self) -> usize {
        self.seen.broken.load(SeqCst)
    }

    /// Lets so many `/slow` requests end.
    pub fn release(&self, count: usize) {
        self.seen.gate.0.add_permits(count);
    }

    /// From now on new connections are closed a moment after their first answer.
    pub fn close_connections(&self) {
        self.seen.closes.store(true, SeqCst);
    }
}

async fn answer(seen: &Arc<Seen>, request: Request<Incoming>) -> Response<Answer> {
    seen.hits.fetch_add(1, SeqCst);
    match request.uri().path() {
        "/slow" => {
            seen.gate.0.acquire().await.unwrap().forget();
            Response::new(full("slow\n"))
        }
        "/endless" => {
            let (sender, body) = channel();
            let seen = Arc::clone(seen);
            tokio::spawn(async move {
                while sender.send(Frame::data(Bytes::from_static(b"tick\n"))).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                seen.broken.fetch_add(1, SeqCst);
            });
            Response::new(body)
        }
        "/echo" => echo(request),
        "/switch" => {
            let mut response = Response::new(full(""));
            *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
            response.headers_mut().insert("upgrade", HeaderValue::from_static("other"));
            response
        }
        _ => describe(request).await,
    }
}

/// The body as it comes, then its trailers and one more.
fn echo(request: Request<Incoming>) -> Response<Answer> {
    let (sender, body) = channel();
    tokio::spawn(async move {
        let mut incoming = request.into_body();
        let mut trailers = HeaderMap::new();
        while let Some(Ok(frame)) = incoming.frame().await {
            match frame.into_data() {
                Ok(data) => {
                    if sender.send(Frame::data(data)).await.is_err() {
                        return;
                    }
                }
                Err(frame) => trailers.extend(frame.into_trailers().unwrap()),
            }
        }
        trailers.insert("x-end", HeaderValue::from_static("done"));
        let _ = sender.send(Frame::trailers(trailers)).await;
    });
    let mut response = Response::new(body);
    response.headers_mut().insert("trailer", HeaderValue::from_static("x-end, x-sum, client-cert"));
    response.headers_mut().insert("keep-alive", HeaderValue::from_static("timeout=5"));
    response
}

/// What was seen, as JSON.
async fn describe(request: Request<Incoming>) -> Response<Answer> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let headers: Vec<(String, String)> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let seen = serde_json::json!({
        "method": parts.method.as_str(),
        "target": parts.uri.to_string(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    });
    Response::new(full(&seen.to_string()))
}

fn full(text: &str) -> Answer {
    Full::new(Bytes::copy_from_slice(text.as_bytes())).boxed()
}

/// A body that is fed through a channel.
pub fn channel() -> (mpsc::Sender<Frame<Bytes>>, BoxBody<Bytes, Infallible>) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Fed(receiver).boxed())
}

struct Fed(mpsc::Receiver<Frame<Bytes>>);

impl Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}
