//! The webhook's HTTPS server. Its certificate is swapped while it runs ([`CurrentKey`]).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionReview};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::review::{NoAnswer, Reviewer, Verdict};
use super::select::Locks;
use crate::pki::keys::CurrentKey;

/// Where the API server sends its requests.
pub const PATH: &str = "/inject";

/// A pod may be 1.5 MiB, and the review holds it once.
const BODY_LIMIT: usize = 8 << 20;
/// The API server's own limit for a webhook is 5 s; a peer that takes longer is none.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// An idle connection is kept for longer than the API server keeps it (90 s), so that it never sends a request
/// into one that is just being closed.
const IDLE_LIMIT: Duration = Duration::from_secs(120);
/// Two API servers keep a few connections each; others are not served without bound.
const CONNECTION_LIMIT: usize = 512;

/// Told of each answer, for metrics.
pub type Observer = Arc<dyn Fn(Verdict) + Send + Sync>;

/// Why the server can't serve.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The port is taken, or may not be used.
    #[error("the webhook cannot listen on {address}: {source}; choose another webhook port")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// No usable crypto provider.
    #[error("the webhook's TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Bound, not yet serving.
pub struct Server {
    listener: TcpListener,
    tls: TlsAcceptor,
    router: Router,
}

impl Server {
    /// Binds `address`; port 0 lets the system choose.
    ///
    /// # Errors
    /// If the address can't be bound or TLS can't be set up.
    pub async fn bind<L: Locks>(
        address: SocketAddr,
        key: Arc<CurrentKey>,
        reviewer: Reviewer<L>,
        observer: Observer,
    ) -> Result<Self, ServerError> {
        let bind = |source| ServerError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let mut config = rustls::ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .with_no_client_auth()
            .with_cert_resolver(key);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let state = Arc::new(Shared { reviewer, observer });
        let router = Router::new()
            .route(PATH, post(inject::<L>))
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .with_state(state);
        Ok(Self { listener, tls: TlsAcceptor::from(Arc::new(config)), router })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, then finishes the requests that have begun.
    pub async fn run(self, stop: CancellationToken) {
        let connections = TaskTracker::new();
        let slots = Arc::new(tokio::sync::Semaphore::new(CONNECTION_LIMIT));
        loop {
            let slot = tokio::select! {
                () = stop.cancelled() => break,
                Ok(slot) = Arc::clone(&slots).acquire_owned() => slot,
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (tls, router, stop) = (self.tls.clone(), self.router.clone(), stop.clone());
                    connections.spawn(async move {
                        serve(stream, tls, router, stop).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, perhaps: let some connections end first.
                    tracing::warn!(%error, "the webhook cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        connections.close();
        connections.wait().await;
    }
}

struct Shared<L> {
    reviewer: Reviewer<L>,
    observer: Observer,
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, router: Router, stop: CancellationToken) {
    let stream = match tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a webhook caller's TLS handshake failed"),
        Err(_) => return tracing::debug!("a webhook caller's TLS handshake took too long"),
    };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_LIMIT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30));
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a webhook connection broke");
    }
}

async fn inject<L: Locks>(
    State(shared): State<Arc<Shared<L>>>,
    Json(review): Json<AdmissionReview<DynamicObject>>,
) -> Response {
    let request: AdmissionRequest<DynamicObject> = match review.try_into() {
        Ok(request) => request,
        Err(error) => {
            let error: kube::core::admission::ConvertAdmissionReviewError = error;
            return (StatusCode::BAD_REQUEST, error.to_string()).into_response();
        }
    };
    match shared.reviewer.answer(&request) {
        Ok((answer, verdict)) => {
            (shared.observer)(verdict);
            Json(answer.into_review()).into_response()
        }
        Err(error) => {
            (shared.observer)(Verdict::NotReady);
            tracing::warn!(%error, "an admission request stays unanswered");
            let status = match error {
                NoAnswer::NotReady => StatusCode::SERVICE_UNAVAILABLE,
                NoAnswer::Patch(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (status, error.to_string()).into_response()
        }
    }
}

#[cfg(test)]
mod tests;
