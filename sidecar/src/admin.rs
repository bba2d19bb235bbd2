//! The operator's question "which configuration have you loaded?", over mutual TLS, and the metrics.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use tokio::sync::watch;

use crate::authorize::{Code, Denial};
use crate::endpoint::{self, not_found, text};
use crate::identify::Refusal;
use crate::log::{self, Asked, Party};
use crate::metrics::Metrics;
use crate::status::Status;
use crate::tls::{self, HandshakeError, Peer};

/// `GET` of it tells what is loaded.
const LOADED: &str = "/v1/loaded";
/// `GET` of it gives the metrics.
const METRICS: &str = "/metrics";
/// What Prometheus calls the format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves the admin endpoint until `stop` turns true.
pub async fn serve(
    listener: std::net::TcpListener,
    status: Arc<Status>,
    metrics: Metrics,
    stop: watch::Receiver<bool>,
) {
    let port = listener.local_addr().map_or(0, |address| address.port());
    endpoint::accept(listener, stop, |stream, peer| {
        let (status, metrics) = (Arc::clone(&status), metrics.clone());
        async move {
            let refuse = |refusal: &Refusal| {
                metrics.control.elsewhere.denial(refusal.denial.code);
                let party = refusal.presented.as_ref().map_or(Party::Unknown, Party::Presented);
                log::refusal(&refusal.denial, peer, port, party, Asked::default());
            };
            let Some(config) = status.admin() else {
                let denial = Denial::new(Code::NoPolicy, "no valid policy is loaded");
                return refuse(&Refusal { denial, presented: None });
            };
            match tls::accept(config, stream, endpoint::PATIENCE).await {
                Ok((stream, Peer::Known(_))) => {
                    endpoint::answer(stream, |path| respond(path, &status)).await;
                }
                Ok((_, Peer::Nobody)) => {
                    refuse(&Refusal::bare(Code::NoCertificate, "no client certificate was presented"));
                }
                Ok((_, Peer::Refused(refusal))) => refuse(&refusal),
                Err(HandshakeError::Refused(refusal, stream)) => {
                    refuse(&refusal);
                    if let Some(stream) = stream {
                        tls::linger(stream).await;
                    }
                }
                Err(HandshakeError::Closed) => {}
            }
        }
    })
    .await;
}

fn respond(path: &str, status: &Status) -> Response<Full<Bytes>> {
    if path != LOADED {
        return not_found();
    }
    match serde_json::to_vec(&status.loaded()) {
        Ok(json) => text(StatusCode::OK, "application/json", json),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "the answer cannot be written\n"),
    }
}

/// Serves the metrics, in plaintext, until `stop` turns true.
pub async fn serve_metrics(listener: std::net::TcpListener, metrics: Metrics, stop: watch::Receiver<bool>) {
    endpoint::accept(listener, stop, |stream, _| {
        let metrics = metrics.clone();
        async move {
            endpoint::answer(stream, |path| {
                if path != METRICS {
                    return not_found();
                }
                match metrics.render() {
                    Ok(rendered) => text(StatusCode::OK, OPEN_METRICS, rendered),
                    Err(_) => text(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "text/plain",
                        "the metrics cannot be written\n",
                    ),
                }
            })
            .await;
        }
    })
    .await;
}
