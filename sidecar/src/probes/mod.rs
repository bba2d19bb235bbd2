//! The probe port: the sidecar's own health, and the application's probes in the kubelet's stead.
//!
//! The kubelet has no key, so injection points its probes and HTTP lifecycle hooks at this port. Each path stands
//! for one recorded probe or hook and does exactly that one; it holds a token that nobody else knows. Plain
//! HTTP/1.1, one request per connection.

mod grpc;
mod http_get;
pub mod record;
mod route;
mod server;
mod target;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderValue;
use postern_config::policy::PortRef;
use postern_config::record::{PodRecord, Probe, ProbeAction};

pub use server::{Health, ProbeServer, Probes};

use crate::own_addresses::OwnAddresses;

/// Why a probe did not succeed. Told to whoever knows the probe's path, and to the log.
#[derive(Debug, thiserror::Error)]
pub enum ProbeFailure {
    /// There should be a pod record but there is none that can be used.
    #[error("no usable pod record; see the sidecar's log")]
    NoRecord,
    /// The record gives the name no number.
    #[error("no container of this pod names a port {0}; correct the probe's port")]
    UnknownPort(String),
    /// It would call the sidecar itself.
    #[error("port {0} belongs to the sidecar; correct the probe's port")]
    OwnPort(u16),
    /// It names somebody else.
    #[error(
        "the probe's host {0} is not this pod; only probes of the pod itself can be guarded: drop the host"
    )]
    ForeignHost(String),
    /// The pod has only loopback and link-local addresses.
    #[error("this pod has no address to probe yet")]
    NoAddress,
    /// Nothing accepts there.
    #[error("cannot connect to {address}: {cause}")]
    Connect {
        /// The last address that was tried.
        address: SocketAddr,
        /// Why not.
        cause: io::Error,
    },
    /// TLS failed.
    #[error("TLS handshake with {address}: {cause}")]
    Tls {
        /// Where.
        address: SocketAddr,
        /// Why.
        cause: io::Error,
    },
    /// No answer in time.
    #[error("no answer within {}s (the probe's timeoutSeconds; for a hook, the pod's grace period)", .0.as_secs())]
    Timeout(Duration),
    /// The probe as recorded is no valid request.
    #[error("the probe is no valid HTTP request: {0}")]
    Request(#[from] ::http::Error),
    /// Its path cannot be sent.
    #[error("the probe's path {0} is no valid HTTP path")]
    Path(String),
    /// The exchange broke off.
    #[error("the application broke off: {0}")]
    Exchange(#[from] hyper::Error),
    /// An HTTP status outside 200–399.
    #[error("HTTP status {0}")]
    Status(u16),
    /// A redirect that cannot be followed.
    #[error("redirected to {0}, which cannot be followed")]
    Redirect(String),
    /// Ten redirects in a row.
    #[error("stopped after 10 redirects")]
    TooManyRedirects,
    /// gRPC says that the call failed.
    #[error("gRPC status {0}")]
    GrpcStatus(String),
    /// The health service says otherwise than SERVING.
    #[error("gRPC health is {0} instead of SERVING")]
    NotServing(&'static str),
    /// Not gRPC, or not its health service.
    #[error("the answer is not one of grpc.health.v1.Health")]
    NotGrpc,
}

/// Does recorded probes.
pub struct Prober {
    record: PodRecord,
    own: Arc<OwnAddresses>,
    tls: tokio_rustls::TlsConnector,
}

impl Prober {
    /// For the probes of `record`, at the addresses `own`.
    ///
    /// # Errors
    /// If the crypto provider offers no version of TLS.
    pub fn new(record: PodRecord, own: Arc<OwnAddresses>) -> Result<Self, rustls::Error> {
        Ok(Self { record, own, tls: crate::unverified::connector()? })
    }

    /// The record it was made with.
    pub fn record(&self) -> &PodRecord {
        &self.record
    }

    /// Does one probe as the kubelet would. `user_agent` is the kubelet's own.
    ///
    /// # Errors
    /// [`ProbeFailure`] if the probe fails, or takes longer than it may.
    pub async fn run(&self, probe: &Probe, user_agent: &HeaderValue) -> Result<(), ProbeFailure> {
        let limit = Duration::from_secs(u64::from(probe.timeout_seconds.max(1)));
        tokio::time::timeout(limit, self.attempt(probe, user_agent, limit))
            .await
            .map_err(|_| ProbeFailure::Timeout(limit))?
    }

    async fn attempt(
        &self,
        probe: &Probe,
        user_agent: &HeaderValue,
        limit: Duration,
    ) -> Result<(), ProbeFailure> {
        let numbered;
        let (port, host) = match &probe.action {
            ProbeAction::HTTPGet { port, host, .. } | ProbeAction::TCPSocket { port, host } => {
                (port, host.as_deref())
            }
            ProbeAction::GRPC { port, .. } => {
                numbered = PortRef::Number(*port);
                (&numbered, None)
            }
        };
        let targets = target::targets(port, host, &self.record, &self.own)?;
        self.act(probe, &targets, user_agent, limit).await
    }

    async fn act(
        &self,
        probe: &Probe,
        targets: &[SocketAddr],
        user_agent: &HeaderValue,
        limit: Duration,
    ) -> Result<(), ProbeFailure> {
        match &probe.action {
            ProbeAction::HTTPGet { path, https, headers, .. } => {
                let any_status = probe.kind.is_hook();
                let get =
                    http_get::Get { path, https: *https, headers, user_agent, any_status, tls: &self.tls };
                get.run(targets).await
            }
            ProbeAction::TCPSocket { .. } => target::connect(targets).await.map(|_| ()),
            ProbeAction::GRPC { service, .. } => {
                grpc::check(targets, service.as_deref().unwrap_or_default(), user_agent, limit).await
            }
        }
    }
}

#[cfg(test)]
mod tests;
