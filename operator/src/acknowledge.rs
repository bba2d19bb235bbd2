//! Asks each guarded pod, by mutual TLS, which configuration it has loaded.
//!
//! The answer counts only because of who gives it: the server must hold a certificate of the backends' CA for
//! the lock's own admin name, and the sidecar answers nobody but the operator's identity.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use postern_config::layout;
use postern_config::loaded::Loaded;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::inputs::{Injection, LockKey, Phase, PodFacts, Transport};
use crate::pki::keys::CurrentKey;
use crate::watch::lean::LeanPod;

#[cfg(test)]
mod tests;

/// For one question, from connecting to the last byte.
const TIMEOUT: Duration = Duration::from_secs(1);
/// For a connection to one of the application's ports. The kernel sends a lost first packet again after 1 s.
const DIALLING: Duration = Duration::from_millis(2500);
/// Pods of one lock that are asked at the same time.
const AT_ONCE: usize = 32;
/// More than any answer needs.
const MAX_ANSWER: usize = 64 * 1024;
/// An answer is believed for so long where nothing but the configuration is asked for, then the pod is asked again.
pub const FRESH: Duration = Duration::from_secs(300);

/// Why a sidecar's word could not be had.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no valid name or root to verify the sidecar by.
    #[error("the sidecar cannot be verified: {0}")]
    Verifier(String),
    /// No connection.
    #[error("its admin port can't be reached: {0}")]
    Connect(std::io::Error),
    /// The handshake failed; a sidecar that has no configuration yet refuses all.
    #[error("the TLS handshake with its admin port failed: {0}")]
    Handshake(std::io::Error),
    /// The connection broke.
    #[error("its admin port broke off: {0}")]
    Http(hyper::Error),
    /// Another status than 200.
    #[error("its admin port answered {0}")]
    Status(http::StatusCode),
    /// The answer is too long or no JSON of the expected form.
    #[error("its answer can't be read: {0}")]
    Answer(String),
    /// Nothing within the time.
    #[error("its admin port {} did not answer within {} s", layout::ADMIN_PORT, TIMEOUT.as_secs())]
    Timeout,
}

/// Who asks: the operator's identity, and the CA by which sidecars are verified.
#[derive(Clone)]
pub struct Asker {
    tls: Arc<ClientConfig>,
    port: u16,
}

impl Asker {
    /// `roots`: the backends' CA, PEM. `identity` presents the operator's client certificate.
    pub fn new(roots: &str, identity: Arc<CurrentKey>) -> Result<Self, AskError> {
        let mut store = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(roots.as_bytes()) {
            let root = root.map_err(|error| AskError::Verifier(error.to_string()))?;
            store.add(root).map_err(|error| AskError::Verifier(error.to_string()))?;
        }
        let mut tls = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .with_root_certificates(store)
            .with_client_cert_resolver(identity);
        tls.resumption = rustls::client::Resumption::disabled();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: Arc::new(tls), port: layout::ADMIN_PORT })
    }

    /// What the sidecar at `address`, of the lock `key`, says that it has loaded.
    pub async fn ask(&self, key: &LockKey, address: IpAddr) -> Result<Loaded, AskError> {
        tokio::time::timeout(TIMEOUT, self.exchange(key, SocketAddr::new(address, self.port)))
            .await
            .unwrap_or(Err(AskError::Timeout))
    }

    async fn exchange(&self, key: &LockKey, address: SocketAddr) -> Result<Loaded, AskError> {
        let name = layout::admin_server_name(&key.namespace, &key.name);
        let server: ServerName<'static> = name
            .clone()
            .try_into()
            .map_err(|error: InvalidDnsNameError| AskError::Verifier(error.to_string()))?;
        let tcp = TcpStream::connect(address).await.map_err(AskError::Connect)?;
        let tls =
            TlsConnector::from(self.tls.clone()).connect(server, tcp).await.map_err(AskError::Handshake)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await.map_err(AskError::Http)?;
        let request = http::Request::get("/v1/loaded")
            .header(http::header::HOST, name)
            .body(Empty::<Bytes>::new())
            .map_err(|error| AskError::Verifier(error.to_string()))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(AskError::Http)?;
            if response.status() != http::StatusCode::OK {
                return Err(AskError::Status(response.status()));
            }
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| AskError::Answer(error.to_string()))?.to_bytes();
            serde_json::from_slice(&body).map_err(|error| AskError::Answer(error.to_string()))
        };
        // The answer may be whole before the connection ends, or the connection may end without one.
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            ended = connection => {
                ended.map_err(AskError::Http)?;
                exchange.await
            }
        }
    }
}

/// What one pod said last.
#[derive(Clone, Debug)]
struct Heard {
    key: LockKey,
    answer: Result<Loaded, String>,
    /// As [`PodFacts::exposed`].
    exposed: Option<Vec<u16>>,
    restarts: i32,
    /// It was about to end when it was asked.
    leaving: bool,
    at: Instant,
}

/// What the pods said, by uid. Cloning shares it.
#[derive(Clone, Default)]
pub struct Answers {
    heard: Arc<Mutex<HashMap<String, Heard>>>,
}

impl Answers {
    /// What the pod has loaded by its own word, as far as that still counts: a sidecar that was started again
    /// has to load anew.
    pub fn loaded(&self, pod: &LeanPod) -> Option<Loaded> {
        self.current(pod).and_then(|heard| heard.answer.ok())
    }

    /// The application's ports that answered past the sidecar, if they were dialled.
    pub fn exposed(&self, pod: &LeanPod) -> Option<Vec<u16>> {
        self.current(pod).and_then(|heard| heard.exposed)
    }

    /// Why the pod could not be asked, if that was so.
    pub fn failure(&self, uid: &str) -> Option<String> {
        self.lock().get(uid).and_then(|heard| heard.answer.clone().err())
    }

    /// Whether the pod must be asked whether it has loaded `wanted`; an answer is believed for `fresh`.
    pub fn must_ask(&self, pod: &LeanPod, key: &LockKey, wanted: &str, fresh: Duration) -> bool {
        if pod.common().deleting {
            // Once more, since it takes along whom it let through, and only where that counts.
            let heard = |heard: Heard| heard.leaving && heard.at.elapsed() < fresh;
            return fresh < FRESH && can_answer(pod, key) && !self.current(pod).is_some_and(heard);
        }
        can_answer(pod, key)
            && !self.current(pod).is_some_and(|heard| {
                let tried = !listens(pod.common()) || heard.exposed.is_some_and(|ports| ports.is_empty());
                heard.at.elapsed() < fresh
                    && tried
                    && heard.answer.is_ok_and(|loaded| loaded.config_hash.as_deref() == Some(wanted))
            })
    }

    /// Forgets the pods of a lock that are gone.
    pub fn retain(&self, key: &LockKey, pods: &[&LeanPod]) {
        self.lock().retain(|uid, heard| &heard.key != key || pods.iter().any(|pod| &pod.common().uid == uid));
    }

    /// Asks each of `pods` and remembers what they say.
    pub async fn ask(&self, asker: &Asker, key: &LockKey, pods: Vec<&LeanPod>) {
        let asking = pods.into_iter().filter_map(|pod| {
            let address = *pod.common().ips.first()?;
            Some(async move {
                let answer = asker.ask(key, address).await;
                if let Err(error) = &answer {
                    tracing::debug!(lock = %key, pod = pod.name(), %error, "pod does not say what it has loaded");
                }
                let answer = answer.map_err(|error| error.to_string());
                // Whoever can't be asked may not be reached at all, and silence of its other ports says nothing.
                let exposed = if answer.is_ok() { exposed(pod.common()).await } else { None };
                let (at, restarts, leaving) = (Instant::now(), pod.sidecar_restarts, pod.common().deleting);
                let heard = Heard { key: key.clone(), answer, exposed, restarts, leaving, at };
                self.lock().insert(pod.common().uid.clone(), heard);
            })
        });
        futures::stream::iter(asking).buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    fn current(&self, pod: &LeanPod) -> Option<Heard> {
        let heard = self.lock().get(&pod.common().uid).cloned();
        heard.filter(|heard| heard.restarts == pod.sidecar_restarts)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listens(pod: &PodFacts) -> bool {
    matches!(&pod.injection, Injection::For { shape, .. } if shape.listens())
}

/// Of a pod without a redirect: the application's ports that accept a connection at one of the pod's addresses. One
/// that refuses is closed, and so is one that lets nothing through, as the `NetworkPolicy` of such a pod has it: its
/// sidecar has answered just before, so it isn't the network's silence, and a lost packet is sent again within
/// [`DIALLING`]. An application that is not ready yet may not
/// listen yet, so it is not asked.
async fn exposed(pod: &PodFacts) -> Option<Vec<u16>> {
    if !listens(pod) || !pod.ready {
        return None;
    }
    let ports: BTreeSet<u16> =
        pod.ports.iter().filter(|port| port.transport == Transport::Tcp).map(|port| port.number).collect();
    let ways = ports.iter().flat_map(|port| pod.ips.iter().map(|ip| SocketAddr::new(*ip, *port)));
    let dialling = ways.map(|way| async move {
        let connected = tokio::time::timeout(DIALLING, TcpStream::connect(way)).await;
        matches!(connected, Ok(Ok(_))).then_some(way.port())
    });
    let open: Vec<_> = futures::stream::iter(dialling).buffer_unordered(AT_ONCE).collect().await;
    Some(open.into_iter().flatten().collect::<BTreeSet<_>>().into_iter().collect())
}

/// Whether a pod runs a sidecar of this lock that can be asked by now.
fn can_answer(pod: &LeanPod, key: &LockKey) -> bool {
    let facts: &PodFacts = pod.common();
    let ours = matches!(&facts.injection, Injection::For { trust, .. } if trust == &key.name);
    ours && pod.namespace == key.namespace
        && !facts.finished()
        && facts.phase != Phase::Unknown
        && facts.sidecar_started
        && !facts.ips.is_empty()
}
