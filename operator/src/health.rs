//! `/healthz` and `/readyz`: what the kubelet asks, in plain HTTP.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What still keeps this replica from being ready. Cloning shares it.
#[derive(Clone, Default)]
pub struct Readiness {
    pending: Arc<Mutex<BTreeSet<&'static str>>>,
}

/// One thing to wait for; done when dropped.
pub struct Pending {
    readiness: Readiness,
    what: &'static str,
}

impl Readiness {
    /// Not ready until the returned guard is dropped. `what` is shown to whoever asks meanwhile.
    pub fn wait_for(&self, what: &'static str) -> Pending {
        self.lock().insert(what);
        Pending { readiness: self.clone(), what }
    }

    /// What is being waited for; empty when ready.
    pub fn pending(&self) -> Vec<&'static str> {
        self.lock().iter().copied().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<&'static str>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.readiness.lock().remove(self.what);
    }
}

/// A bound endpoint that answers with plain HTTP once it runs.
pub struct Endpoint {
    listener: TcpListener,
    router: Router,
}

impl Endpoint {
    /// The health endpoint.
    pub async fn health(address: SocketAddr, readiness: Readiness) -> std::io::Result<Self> {
        let router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .with_state(readiness);
        Self::bind(address, router).await
    }

    /// Any other router, bound in the same way.
    pub async fn bind(address: SocketAddr, router: Router) -> std::io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, router })
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop`.
    pub async fn run(self, stop: CancellationToken) -> std::io::Result<()> {
        axum::serve(self.listener, self.router).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, String) {
    let pending = readiness.pending();
    if pending.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}\n", pending.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_once_nothing_is_pending() {
        let readiness = Readiness::default();
        let stores = readiness.wait_for("stores");
        let webhook = readiness.wait_for("webhook");
        drop(webhook);
        let (status, body) = ready(State(readiness.clone())).await;
        assert_eq!((status, body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "waiting for: stores\n"));
        drop(stores);
        assert_eq!(ready(State(readiness)).await.0, StatusCode::OK);
    }
}
