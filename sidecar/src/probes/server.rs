//! The HTTP server of the probe port.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use postern_config::record::Probe;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::route::{Route, find};
use super::{ProbeFailure, Prober};
use crate::budget::{Budget, Ticket};
use crate::limits::Limits;
use crate::readiness::Readiness;

/// From accept to the end of a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(3);
/// For everything of a connection but the probe itself: head, answer, close.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Size of a request's head.
const HEAD_LIMIT: usize = 8 << 10;
/// Connections at one time.
const CONNECTIONS: usize = 256;
/// Connections at one time from one source: enough for a kubelet with dozens of probes.
const CONNECTIONS_PER_SOURCE: usize = 64;
/// Connections at one time from one IPv6 /64, which a node may share with all its pods.
const CONNECTIONS_PER_NETWORK: usize = 128;
/// After accept failed for want of a resource.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The sidecar's own state.
#[derive(Clone, Debug)]
pub struct Health {
    /// `/startz`: the listeners are bound.
    pub started: Readiness,
    /// `/readyz`: traffic may be sent.
    pub ready: Readiness,
}

/// What stands behind `/probe/…`.
pub enum Probes {
    /// Nothing, without Kubernetes: 404.
    Absent,
    /// There should be a pod record but there is none that can be used: 503. The log has the reason.
    Unavailable,
    /// The recorded probes.
    Recorded(Prober),
}

/// The probe port.
pub struct ProbeServer {
    listener: TcpListener,
    state: Arc<State>,
    budget: Arc<Budget>,
}

struct State {
    health: Health,
    probes: Probes,
    /// What each probe last failed with; a probe that succeeded is absent.
    failing: Mutex<HashMap<(String, &'static str), String>>,
}

impl ProbeServer {
    /// A server on `listener`, which nobody serves before [`Self::serve`].
    pub fn new(listener: TcpListener, health: Health, probes: Probes) -> Self {
        let limits = Limits {
            connections: CONNECTIONS,
            unproven: CONNECTIONS,
            unproven_per_source: CONNECTIONS_PER_SOURCE,
            unproven_per_network: CONNECTIONS_PER_NETWORK,
            ..Limits::default()
        };
        let state = State { health, probes, failing: Mutex::default() };
        Self { listener, state: Arc::new(state), budget: Budget::new(limits) }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system doesn't say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`; probes in progress then break off.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => return,
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => match self.budget.admit(peer.ip()) {
                    Ok(ticket) => {
                        let state = Arc::clone(&self.state);
                        connections.spawn(state.connection(stream, ticket));
                    }
                    Err(denial) => tracing::debug!(%peer, reason = %denial.reason, "probe port: refused"),
                },
                Err(error) => {
                    tracing::warn!(%error, "the probe port cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl State {
    async fn connection(self: Arc<Self>, stream: TcpStream, ticket: Ticket) {
        let limit = CONNECTION_TIMEOUT + self.longest_probe();
        let service = service_fn(|request| {
            ticket.seen();
            let state = Arc::clone(&self);
            async move { state.answer(&request).await }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .keep_alive(false)
            .max_buf_size(HEAD_LIMIT)
            .serve_connection(TokioIo::new(stream), service);
        // Whoever sends rubbish or nothing is not worth a line.
        tokio::select! {
            _ = tokio::time::timeout(limit, connection) => {}
            () = ticket.evicted() => {}
        }
    }

    fn longest_probe(&self) -> Duration {
        let Probes::Recorded(prober) = &self.probes else { return Duration::ZERO };
        let seconds = prober.record().probes.iter().map(|probe| probe.timeout_seconds).max();
        Duration::from_secs(seconds.unwrap_or_default().into())
    }

    /// An error ends the connection without an answer. That is how a hook fails: the kubelet takes any answer to one
    /// for success.
    async fn answer<B>(&self, request: &Request<B>) -> Result<Response<Full<Bytes>>, ProbeFailure> {
        let Some(route) = Route::parse(request.method(), request.uri().path()) else {
            return Ok(not_found());
        };
        let (token, container, kind) = match route {
            Route::Started => return Ok(report(&self.health.started)),
            Route::Ready => return Ok(report(&self.health.ready)),
            Route::Probe { token, container, kind } => (token, container, kind),
        };
        let prober = match &self.probes {
            Probes::Absent => return Ok(not_found()),
            Probes::Unavailable if kind.is_hook() => return Err(ProbeFailure::NoRecord),
            Probes::Unavailable => {
                return Ok(text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", ProbeFailure::NoRecord)));
            }
            Probes::Recorded(prober) => prober,
        };
        let Some(probe) = find(prober.record(), token, container, kind) else { return Ok(not_found()) };
        let kubelet = HeaderValue::from_static("kube-probe");
        let user_agent = request.headers().get(USER_AGENT).unwrap_or(&kubelet);
        let outcome = prober.run(probe, user_agent).await;
        self.note(probe, &outcome);
        match outcome {
            Ok(()) => Ok(text(StatusCode::OK, "ok\n")),
            Err(failure) if kind.is_hook() => Err(failure),
            Err(failure) => Ok(text(StatusCode::SERVICE_UNAVAILABLE, format!("{failure}\n"))),
        }
    }

    /// One line when a probe begins to fail, fails otherwise than before, or recovers.
    fn note(&self, probe: &Probe, outcome: &Result<(), ProbeFailure>) {
        let (container, kind) = (&probe.container, probe.kind.as_str());
        let key = (container.clone(), kind);
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => {
                if failing.remove(&key).is_some() {
                    tracing::info!(container, kind, "the application's probe succeeds again");
                }
            }
            Err(failure) => {
                let reason = failure.to_string();
                if failing.get(&key) != Some(&reason) {
                    tracing::warn!(container, kind, reason, "the application's probe fails");
                    failing.insert(key, reason);
                }
            }
        }
    }
}

fn report(readiness: &Readiness) -> Response<Full<Bytes>> {
    let report = readiness.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    text(status, report.detail)
}

fn not_found() -> Response<Full<Bytes>> {
    text(StatusCode::NOT_FOUND, "not found\n")
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
