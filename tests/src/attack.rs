//! Tries that get in without the lock and must not with it.

use postern_echo::attempt::{Attempt, Identity, Made, Outcome, Payload, Tls};

use crate::attacker::{self, Vantage};
use crate::cluster::Cluster;
use crate::workload::Target;
use crate::{logs, wait};

/// How long a try that nobody answers may take.
const PATIENCE: u64 = 1500;

/// One try.
#[derive(Clone, Debug)]
pub struct Attack {
    /// What it is, for messages.
    pub name: String,
    /// From where.
    pub vantage: Vantage,
    /// The try.
    pub attempt: Attempt,
    /// The code in the sidecar's log, where the sidecar sees the try.
    pub code: Option<&'static str>,
}

/// An attack and how it ended.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The attack.
    pub attack: Attack,
    /// How it ended.
    pub made: Made,
}

impl Attack {
    /// A request in plain HTTP.
    pub fn http(name: impl Into<String>, address: &str, port: u16) -> Self {
        Self::new(name, attempt(address, port, None, get("/", false)))
    }

    /// Bytes over TCP.
    pub fn tcp(name: impl Into<String>, address: &str, port: u16) -> Self {
        Self::new(name, attempt(address, port, None, Payload::Bytes { text: "hello\n".to_owned() }))
    }

    /// A datagram.
    pub fn udp(name: impl Into<String>, address: &str, port: u16) -> Self {
        Self::new(name, attempt(address, port, None, Payload::Datagram { text: "hello".to_owned() }))
    }

    /// A request over TLS, with or without a certificate.
    pub fn https(name: impl Into<String>, address: &str, port: u16, identity: Option<Identity>) -> Self {
        let tls = Tls { identity, alpn: vec!["http/1.1".to_owned()], ..Tls::default() };
        Self::new(name, attempt(address, port, Some(tls), get("/", false)))
    }

    /// From the attacker's pod, with nothing expected in the log.
    pub fn new(name: impl Into<String>, attempt: Attempt) -> Self {
        Self { name: name.into(), vantage: Vantage::Pod, attempt, code: None }
    }

    /// The code that the sidecar must log.
    pub fn logged(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// From the node instead.
    pub fn from_node(mut self) -> Self {
        self.name += " from the node";
        self.vantage = Vantage::Node;
        self
    }
}

/// An attempt with an attacker's patience.
pub fn attempt(address: &str, port: u16, tls: Option<Tls>, payload: Payload) -> Attempt {
    Attempt { address: address.to_owned(), port, tls, payload, timeout_ms: PATIENCE }
}

/// A GET.
pub fn get(path: &str, h2: bool) -> Payload {
    Payload::Http {
        h2,
        method: "GET".to_owned(),
        path: path.to_owned(),
        host: "orders.example.com".to_owned(),
        headers: Vec::new(),
        body: String::new(),
    }
}

/// A WebSocket, over which these messages are sent.
pub fn websocket(path: &str, h2: bool, messages: &[String]) -> Payload {
    let (path, host) = (path.to_owned(), "orders.example.com".to_owned());
    Payload::WebSocket { h2, path, host, messages: messages.to_vec() }
}

/// Makes all of them, each from its vantage point.
pub async fn try_all(cluster: &Cluster, attacks: &[Attack]) -> Vec<Tried> {
    let mut tried = Vec::new();
    for vantage in [Vantage::Pod, Vantage::Node] {
        let these: Vec<&Attack> = attacks.iter().filter(|attack| attack.vantage == vantage).collect();
        if these.is_empty() {
            continue;
        }
        let attempts: Vec<Attempt> = these.iter().map(|attack| attack.attempt.clone()).collect();
        let made = attacker::call(cluster, vantage, &attempts).await;
        tried.extend(these.into_iter().cloned().zip(made).map(|(attack, made)| Tried { attack, made }));
    }
    tried
}

/// Whether the try failed in a way that only a closed door explains. A network that is simply broken is not
/// one of them.
pub fn is_refusal(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Refused
        | Outcome::Timeout { .. }
        | Outcome::ClosedWithoutData
        | Outcome::Reset
        | Outcome::TlsAlert { .. } => true,
        Outcome::Http { status, .. } => (400..500).contains(status),
        // A TLS alert, read by somebody who speaks no TLS.
        Outcome::Bytes { text } => text.starts_with('\u{15}'),
        Outcome::HttpError { error } => error.contains("parse") || error.contains("HTTP version"),
        Outcome::Unreachable { .. } | Outcome::TlsError { .. } | Outcome::WebSocket { .. } => false,
    }
}

/// Makes all of them against a pod without a lock: each must reach the application.
pub async fn all_get_in(cluster: &Cluster, target: &Target, attacks: &[Attack]) {
    // The network of a new Service takes a moment.
    all_get_in_within(cluster, target, attacks, 10).await;
}

/// The same, within so many seconds.
pub async fn all_get_in_within(cluster: &Cluster, target: &Target, attacks: &[Attack], seconds: u64) {
    let before = target.hits(cluster).await;
    let mut left = attacks.to_vec();
    wait::until("every try to get in, or a refusal would prove nothing", seconds, async || {
        let tried = try_all(cluster, &left).await;
        left = tried.iter().filter(|one| !one.made.outcome.got_in()).map(|one| one.attack.clone()).collect();
        let kept_out = tried.iter().filter(|one| !one.made.outcome.got_in());
        let kept_out: Vec<_> =
            kept_out.map(|one| format!("{}: {:?}", one.attack.name, one.made.outcome)).collect();
        if kept_out.is_empty() { Ok(()) } else { Err(kept_out.join("; ")) }
    })
    .await;
    let after = target.hits(cluster).await;
    let (hits, calls) = (after.total() - before.total(), attacks.len());
    assert!(hits >= calls as u64, "{calls} calls got in, and the application counted {hits} hits");
}

/// Makes all of them against a guarded pod: none may reach the application, and the sidecar's log must tell
/// why, where it saw the try.
pub async fn all_refused(cluster: &Cluster, target: &Target, attacks: &[Attack]) -> Vec<Tried> {
    let before = target.hits(cluster).await;
    let mut tried = try_all(cluster, attacks).await;
    for one in &mut tried {
        // What the sidecar must see must arrive there, and the network of a Service lags behind its new pods.
        if one.attack.code.is_some() && one.made.local.is_none() {
            *one = arrived(cluster, &one.attack).await;
        }
    }
    let after = target.hits(cluster).await;
    for one in &tried {
        let Tried { attack, made } = one;
        assert!(is_refusal(&made.outcome), "{} is not refused: {:?}", attack.name, made.outcome);
        if let Some(code) = attack.code {
            let caller = made.local.unwrap_or_else(|| {
                panic!("{} must reach the sidecar, but had no connection: {:?}", attack.name, made.outcome)
            });
            logs::refusal(cluster, target, caller, code).await;
        }
    }
    assert_eq!(before, after, "none of these may reach the application: {tried:#?}");
    tried
}

/// Makes a try until it has a connection.
async fn arrived(cluster: &Cluster, attack: &Attack) -> Tried {
    wait::until(&format!("{} to arrive", attack.name), 10, async || {
        let tried = try_all(cluster, std::slice::from_ref(attack)).await.remove(0);
        if tried.made.local.is_some() { Ok(tried) } else { Err(format!("{:?}", tried.made.outcome)) }
    })
    .await
}
