//! What is measured, and the goals.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::load::Asked;
use crate::pki::{Group, Offer};
use crate::proxies::{BASIC, HEADER, HTTP, Kind, PASSWORD, RULES, TCP};

/// One line of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// What the number is, for people.
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) work: Work,
    /// Whom Postern is compared with, and the most that the ratio should be.
    pub(crate) peers: Vec<(Peer, Option<f64>)>,
    /// The most that Postern's own figure should be.
    pub(crate) most: Option<f64>,
}

/// What Postern is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Another proxy.
    Proxy(Kind),
    /// Postern itself, behind mutual TLS alone.
    MutualTls,
}

impl Peer {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Proxy(kind) => kind.name(),
            Self::MutualTls => "mutual-tls",
        }
    }
}

/// How a row's number comes about.
#[derive(Clone)]
pub(crate) enum Work {
    /// Microseconds of the proxy's processor time for each request.
    Requests { door: u16, offer: Offer, connections: usize, streams: usize, asked: Asked },
    /// The same by HTTP/1.1 of a sidecar in a pod, to which connections are redirected.
    Redirected { connections: usize, asked: Asked },
    /// The same as [`Work::Requests`] at 1,000 requests/s.
    Rate { tail: bool },
    /// Microseconds of the proxy's processor time for each handshake.
    Handshakes(Group),
    /// Bytes that the proxy's memory grows by with each idle connection.
    Idle { door: u16, offer: Offer },
    /// MiB of a proxy that has had one caller.
    Memory,
    /// Milliseconds from its start to the end of the first handshake.
    Start,
    /// Milliseconds from a new configuration until the last connection that it denies is closed.
    Policy,
}

use Kind::{Envoy, Haproxy, Nginx};

/// All rows in the order in which they are measured.
pub(crate) fn all() -> Vec<Row> {
    let kib = Asked::get(1024);
    let h1 = [(Haproxy, Some(0.65)), (Nginx, None), (Envoy, Some(0.3))];
    let h2 = [(Haproxy, Some(1.0)), (Nginx, None), (Envoy, None)];
    let plain = [(Haproxy, None), (Nginx, None), (Envoy, None)];
    let on = |door, offer, connections, streams, asked: &Asked| Work::Requests {
        door,
        offer,
        connections,
        streams,
        asked: asked.clone(),
    };
    let http1 = |connections, asked: &Asked| on(HTTP, Offer::Http1, connections, 1, asked);
    let http2 = |connections, streams, asked: &Asked| on(HTTP, Offer::Http2, connections, streams, asked);
    let (basic, header) = (shown(BASIC, kib.clone()), shown(HEADER, kib.clone()));
    let redirected = Work::Redirected { connections: 32, asked: kib.clone() };
    let cpu = "µs";
    let tcp = [(Haproxy, Some(0.8)), (Nginx, None), (Envoy, None)];
    let handshake = [(Haproxy, Some(0.45)), (Nginx, None), (Envoy, Some(0.75))];
    let tail = [(Haproxy, Some(1.0)), (Nginx, None), (Envoy, None)];
    let lock = |door, asked: &Asked| on(door, Offer::Http1, 32, 1, asked);
    vec![
        row("h1-1", "HTTP/1.1, one connection, 1 KiB", cpu, http1(1, &kib), &h1),
        row("h1-32", "HTTP/1.1, 32 connections, 1 KiB", cpu, http1(32, &kib), &h1),
        row("h2-1", "HTTP/2, one connection, 1 KiB", cpu, http2(1, 1, &kib), &h2),
        row("h2-32", "HTTP/2, 32 connections, 1 KiB", cpu, http2(32, 1, &kib), &h2),
        row("h2-1x32", "HTTP/2, 32 streams of one connection, 1 KiB", cpu, http2(1, 32, &kib), &h2),
        row("tcp", "bytes, 32 connections, 1 KiB", cpu, on(TCP, Offer::Nothing, 32, 1, &kib), &tcp),
        row("handshake", "a handshake, X25519", cpu, Work::Handshakes(Group::X25519), &handshake),
        row(
            "handshake-pq",
            "a handshake, X25519MLKEM768",
            cpu,
            Work::Handshakes(Group::Hybrid),
            &[(Envoy, Some(0.75))],
        ),
        row("rate", "1,000 requests/s: processor time", cpu, Work::Rate { tail: false }, &plain),
        row(
            "rate-p99",
            "1,000 requests/s: 99th percentile of latency",
            cpu,
            Work::Rate { tail: true },
            &tail,
        ),
        row("h1-get-64k", "HTTP/1.1, 64 KiB down", cpu, http1(8, &Asked::get(64 << 10)), &plain),
        row("h1-post-64k", "HTTP/1.1, 64 KiB up", cpu, http1(8, &Asked::post(64 << 10)), &plain),
        row("h1-get-1m", "HTTP/1.1, 1 MiB down", cpu, http1(8, &Asked::get(1 << 20)), &plain),
        row("h1-post-1m", "HTTP/1.1, 1 MiB up", cpu, http1(8, &Asked::post(1 << 20)), &plain),
        row("h2-get-64k", "HTTP/2, 64 KiB down", cpu, http2(8, 1, &Asked::get(64 << 10)), &plain),
        row("h2-post-64k", "HTTP/2, 64 KiB up", cpu, http2(8, 1, &Asked::post(64 << 10)), &plain),
        row("h2-get-1m", "HTTP/2, 1 MiB down", cpu, http2(8, 1, &Asked::get(1 << 20)), &plain),
        row("h2-post-1m", "HTTP/2, 1 MiB up", cpu, http2(8, 1, &Asked::post(1 << 20)), &plain),
        own("lock-basic", "with HTTP Basic too", lock(BASIC, &basic)),
        own("lock-header", "with a secret header too", lock(HEADER, &header)),
        own("rules", "with rules for paths too", lock(RULES, &kib)),
        own("redirect", "in a pod, with the redirect in place", redirected),
        row("memory", "an idle proxy (PSS)", "MiB", Work::Memory, &plain).most(5.0),
        row("start", "from start to the first handshake", "ms", Work::Start, &plain).most(50.0),
        row("idle-h1", "an idle connection, HTTP/1.1", "bytes", idle(HTTP, Offer::Http1), &plain)
            .most(8192.0),
        row("idle-h2", "an idle connection, HTTP/2", "bytes", idle(HTTP, Offer::Http2), &plain).most(32768.0),
        row("idle-tcp", "an idle connection, bytes", "bytes", idle(TCP, Offer::Nothing), &plain).most(8192.0),
        row("policy", "a new policy carried out on all open connections", "ms", Work::Policy, &[])
            .most(100.0),
    ]
}

/// With what a door of Postern's demands beside a certificate.
pub(crate) fn shown(door: u16, asked: Asked) -> Asked {
    match door {
        BASIC => {
            asked.with("authorization", format!("Basic {}", STANDARD.encode(format!("gateway:{PASSWORD}"))))
        }
        HEADER => asked.with("x-api-key", PASSWORD.to_owned()),
        _ => asked,
    }
}

fn idle(door: u16, offer: Offer) -> Work {
    Work::Idle { door, offer }
}

fn row(
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    work: Work,
    peers: &[(Kind, Option<f64>)],
) -> Row {
    let peers = peers.iter().map(|(kind, goal)| (Peer::Proxy(*kind), *goal)).collect();
    Row { name, what, unit, work, peers, most: None }
}

/// What something costs Postern beyond mutual TLS.
fn own(name: &'static str, what: &'static str, work: Work) -> Row {
    Row { name, what, unit: "µs", work, peers: vec![(Peer::MutualTls, None)], most: None }
}

impl Row {
    fn most(mut self, most: f64) -> Self {
        self.most = Some(most);
        self
    }

    /// Whether one measurement is enough, since it doesn't wobble and takes long.
    pub(crate) fn once(&self) -> bool {
        matches!(self.work, Work::Idle { .. })
    }

    /// Whether Postern stands in a pod.
    pub(crate) fn redirected(&self) -> bool {
        matches!(self.work, Work::Redirected { .. })
    }

    /// Whether it needs a process of its own.
    pub(crate) fn afresh(&self) -> bool {
        matches!(self.work, Work::Idle { .. } | Work::Memory | Work::Start | Work::Policy)
    }
}
