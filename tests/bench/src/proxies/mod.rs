//! The proxies, each as its makers advise for this work, with the same TLS and one worker.

mod envoy;
mod haproxy;
mod nginx;
mod postern;
mod redirected;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::load::{Asked, Way};
use crate::pki::{Group, Offer, Pki};
use crate::pod::{self, Pod};
use crate::process::Process;

#[cfg(test)]
pub(crate) use postern::configuration;
pub(crate) use postern::{BASIC, HEADER, PASSWORD, RULES, without_visitor};

/// The doors that every proxy has.
pub(crate) const HTTP: u16 = 0;
/// Bytes as they are.
pub(crate) const TCP: u16 = 1;

/// The application.
pub(crate) const BACKEND: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9000);

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Postern,
    Haproxy,
    Nginx,
    Envoy,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Postern, Self::Haproxy, Self::Nginx, Self::Envoy];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Postern => "postern",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
        }
    }

    const fn first_port(self) -> u16 {
        match self {
            Self::Postern => 10000,
            Self::Haproxy => 10100,
            Self::Nginx => 10200,
            Self::Envoy => 10300,
        }
    }
}

/// Where the programs lie.
pub(crate) struct Programs {
    pub(crate) sidecar: PathBuf,
    /// A folder with `root`, of Debian's packages, and `envoy`.
    pub(crate) peers: PathBuf,
}

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) kind: Kind,
    pub(crate) process: Process,
    /// From its start to the end of the first handshake.
    pub(crate) first_handshake: Duration,
    /// Where it runs, if not here.
    pod: Option<Pod>,
}

impl Proxy {
    /// Starts one and waits until it answers.
    pub(crate) async fn start(kind: Kind, programs: &Programs, pki: &Pki) -> Result<Self> {
        let proxy = Self::begin(kind, programs, pki).await?;
        let way = proxy.kind.way(pki, HTTP, false, Group::X25519, Offer::Http1)?;
        way.answers(&Asked::get(2))
            .await
            .with_context(|| format!("{} doesn't work:\n{}", kind.name(), log_of(kind.name(), pki)))?;
        Ok(proxy)
    }

    /// Starts one and waits for the first handshake.
    pub(crate) async fn begin(kind: Kind, programs: &Programs, pki: &Pki) -> Result<Self> {
        let (program, arguments) = match kind {
            Kind::Postern => postern::command(programs, pki)?,
            Kind::Haproxy => haproxy::command(programs, pki)?,
            Kind::Nginx => nginx::command(programs, pki)?,
            Kind::Envoy => envoy::command(programs, pki)?,
        };
        let way = kind.way(pki, HTTP, false, Group::X25519, Offer::Http1)?;
        let log = pki.directory.join(format!("{}.log", kind.name()));
        let begin = Instant::now();
        let process = Process::start(&program, &arguments, &log)?;
        let first_handshake = first_handshake(&way, begin, kind.name(), pki).await?;
        Ok(Self { kind, process, first_handshake, pod: None })
    }

    /// How the gateway comes to one of the doors.
    pub(crate) fn way(&self, pki: &Pki, door: u16, offer: Offer) -> Result<Way> {
        let mut way = self.kind.way(pki, door, false, Group::X25519, offer)?;
        if self.pod.is_some() {
            way.address.set_ip(pod::ADDRESS.into());
        }
        Ok(way)
    }
}

impl Kind {
    pub(crate) fn way(self, pki: &Pki, door: u16, visitor: bool, group: Group, offer: Offer) -> Result<Way> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.first_port() + door));
        Ok(Way { address, tls: pki.caller(visitor, group, offer)? })
    }
}

/// How long it takes since a program began until a handshake with it succeeds.
async fn first_handshake(way: &Way, begin: Instant, name: &str, pki: &Pki) -> Result<Duration> {
    while way.connect().await.is_err() {
        if begin.elapsed() > Duration::from_secs(20) {
            bail!("{name} doesn't start:\n{}", log_of(name, pki));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(begin.elapsed())
}

/// What a proxy has said.
fn log_of(name: &str, pki: &Pki) -> String {
    std::fs::read_to_string(pki.path(name) + ".log").unwrap_or_default()
}

/// A program of Debian's packages with the C library that it was built for.
fn packaged(programs: &Programs, program: &str) -> (String, Vec<String>) {
    let root = programs.peers.join("root");
    let machine = format!("{}-linux-gnu", std::env::consts::ARCH);
    let loader = match std::env::consts::ARCH {
        "aarch64" => "lib/ld-linux-aarch64.so.1",
        _ => "lib64/ld-linux-x86-64.so.2",
    };
    let path = |name: String| root.join(name).display().to_string();
    let libraries = path(format!("usr/lib/{machine}"));
    (path(loader.to_owned()), vec!["--library-path".to_owned(), libraries, path(program.to_owned())])
}

fn write(pki: &Pki, name: &str, text: &str) -> Result<String> {
    let path = pki.path(name);
    std::fs::write(&path, text).with_context(|| format!("writing {path}"))?;
    Ok(path)
}
