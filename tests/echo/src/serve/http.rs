//! The HTTP side: says what it saw.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::tee::{Tape, Tee};
use super::websocket;
use crate::control::State;
use crate::large::{self, Made};
use crate::{grpc, hits};

pub(super) type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Of a body that cannot fail.
fn body(body: impl hyper::body::Body<Data = Bytes, Error = Infallible> + Send + 'static) -> Body {
    body.map_err(|never| match never {}).boxed_unsync()
}

/// What the server saw of one request: the answer's JSON body.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub protocol: String,
    /// The method.
    pub method: String,
    /// The request target as it came.
    pub target: String,
    /// All headers in order, and over HTTP/1.1 in their original spelling.
    pub headers: Vec<(String, String)>,
    /// Who called.
    pub peer: SocketAddr,
    /// Bytes of the body.
    pub body_length: usize,
    /// Trailers, in order.
    pub trailers: Vec<(String, String)>,
}

#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F: Future + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// One connection's part of the state.
#[derive(Clone)]
pub(super) struct Connection {
    peer: SocketAddr,
    undeclared: bool,
    state: State,
    tape: Tape,
    counted: Rc<Cell<bool>>,
    probed: Rc<Cell<bool>>,
}

impl Connection {
    pub(super) fn new(peer: SocketAddr, undeclared: bool, state: State) -> Self {
        Self { peer, undeclared, state, tape: Tape::default(), counted: Rc::default(), probed: Rc::default() }
    }

    pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let service = service_fn(|request| {
            let connection = self.clone();
            async move { Ok::<_, Infallible>(connection.answer(request).await) }
        });
        let mut builder = auto::Builder::new(LocalExecutor);
        builder.http1().timer(TokioTimer::new());
        builder.http2().enable_connect_protocol();
        let io = TokioIo::new(Tee::new(stream, self.tape.clone()));
        // Whatever ended the connection, the counters say what came over it.
        let _ = builder.serve_connection_with_upgrades(io, service).await;
        if self.counted.get() || self.probed.get() {
            return;
        }
        // Nothing of it was a request.
        if self.tape.is_empty() {
            self.state.counters.count(|hits| hits.silent += 1);
        } else {
            self.count_connection();
        }
    }

    fn count_connection(&self) {
        if !self.counted.replace(true) {
            self.state.counters.count(|hits| {
                hits.http_connections += 1;
                hits.undeclared += u64::from(self.undeclared);
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        match request.uri().path() {
            "/healthz" => return self.health(),
            "/grpc.health.v1.Health/Check" => return self.grpc_health(),
            _ => {}
        }
        self.count_connection();
        self.state.counters.count(|hits| hits.http_requests += 1);
        let spelled = self.tape.headers().filter(|_| request.version() < hyper::Version::HTTP_2);
        self.tape.rewind();
        let query = request.uri().query().unwrap_or_default().to_owned();
        match request.uri().path() {
            "/events" => return self.events(),
            "/made" => {
                let made = Made::counted(parameter(&query, "bytes").unwrap_or(0), self.state.made.clone());
                return Response::new(body(made));
            }
            "/swallow" => return self.swallow(request, query.contains("wait")).await,
            path if path.ends_with("/chat") => return websocket::answer(request),
            path if path.starts_with("/test.Greeter/") => {
                let notices = hits::Calls(self.state.cancelled.clone());
                return grpc::answer(request, notices)
                    .await
                    .map(|body| body.map_err(Into::into).boxed_unsync());
            }
            _ => {}
        }
        let (head, sent) = request.into_parts();
        let Ok(sent) = sent.collect().await else {
            return text(StatusCode::BAD_REQUEST, "the body broke off\n");
        };
        self.tape.rewind();
        let trailers = sent.trailers().map(list).unwrap_or_default();
        let seen = Seen {
            protocol: format!("{:?}", head.version),
            method: head.method.to_string(),
            target: head.uri.to_string(),
            headers: spelled.unwrap_or_else(|| list(&head.headers)),
            peer: self.peer,
            body_length: sent.to_bytes().len(),
            trailers,
        };
        let path = head.uri.path();
        if let Some(code) = path.strip_prefix("/status/") {
            let status = code.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
            return text(status.unwrap_or(StatusCode::NOT_FOUND), "as asked\n");
        }
        if path == "/stream" {
            return stream(parameter(&query, "count").unwrap_or(3), parameter(&query, "ms").unwrap_or(10));
        }
        if path == "/slow" {
            tokio::time::sleep(Duration::from_millis(parameter(&query, "ms").unwrap_or(100))).await;
        }
        if path == "/publish" {
            self.state.feed.publish(&query);
        }
        let json = serde_json::to_vec(&seen).unwrap_or_default();
        let mut response = Response::new(body(Full::new(json.into())));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    /// Server-sent events: one now, and one for each call of `/publish`.
    fn events(&self) -> Response<Body> {
        let published = self.state.feed.subscribe();
        let welcome = futures::stream::iter([Bytes::from_static(b": welcome\n\n")]);
        let events = futures::stream::unfold(published, |mut published| async {
            let event = published.recv().await.ok()?;
            Some((Bytes::from(format!("data: {event}\n\n")), published))
        });
        let frames = futures::StreamExt::chain(welcome, events);
        let frames = futures::StreamExt::map(frames, |event| Ok(Frame::data(event)));
        let mut response = Response::new(body(StreamBody::new(frames)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    /// Reads a large body, and says what came of it; with `wait` only once `/publish` was called.
    async fn swallow(&self, request: Request<Incoming>, wait: bool) -> Response<Body> {
        if wait {
            // The state, whose sender it is, outlives this.
            let _ = self.state.feed.subscribe().recv().await;
        }
        let (count, is_right) = large::swallow(request.into_body()).await;
        self.tape.rewind();
        Response::new(body(Full::new(Bytes::from(format!("{count} {is_right}")))))
    }

    fn probe(&self) {
        self.probed.set(true);
        self.tape.rewind();
        self.state.counters.count(|hits| hits.probes += 1);
    }

    fn health(&self) -> Response<Body> {
        self.probe();
        if self.state.down.get() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "down, as told\n");
        }
        text(StatusCode::OK, "ok\n")
    }

    /// `grpc.health.v1.HealthCheckResponse` with its one field, `status`: 1 SERVING, 2 `NOT_SERVING`.
    fn grpc_health(&self) -> Response<Body> {
        self.probe();
        let message: [u8; 7] = [0, 0, 0, 0, 2, 8, if self.state.down.get() { 2 } else { 1 }];
        let mut trailers = HeaderMap::new();
        trailers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
        let answer = Full::new(Bytes::copy_from_slice(&message)).with_trailers(async { Some(Ok(trailers)) });
        let mut response = Response::new(body(answer));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }
}

/// `count` lines with a pause before each, then a trailer.
fn stream(count: u64, pause: u64) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::task::spawn_local(async move {
        for number in 0..count {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let line = Bytes::from(format!("line {number}\n"));
            if sender.send(Frame::data(line)).await.is_err() {
                return;
            }
        }
        let mut trailers = HeaderMap::new();
        trailers.insert(HeaderName::from_static("x-lines"), HeaderValue::from(count));
        let _ = sender.send(Frame::trailers(trailers)).await;
    });
    let frames = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|frame| (Ok(frame), receiver))
    });
    let mut response = Response::new(body(StreamBody::new(frames)));
    response.headers_mut().insert("trailer", HeaderValue::from_static("x-lines"));
    response
}

fn list(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn parameter(query: &str, name: &str) -> Option<u64> {
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?.1.parse().ok()
}

pub(super) fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(body(Full::new(Bytes::from_static(text.as_bytes()))));
    *response.status_mut() = status;
    response
}
