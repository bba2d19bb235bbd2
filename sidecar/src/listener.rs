//! Accepts connections, holds them against the budget, and hands each to the least loaded worker.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::budget::Budget;
use crate::connection::Inbound;
use crate::destination::Destination;
use crate::drain;
use crate::log::{self, Asked, Party};
use crate::metrics::WorkerMetrics;
use crate::worker::Handle;

/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 1024;
/// After accept failed for want of a resource.
const PAUSE: Duration = Duration::from_millis(50);

/// A bound listener and where its connections lead to.
pub struct Entrance {
    /// Bound; nobody accepts yet.
    pub listener: std::net::TcpListener,
    /// How the target of a connection is told.
    pub destination: Arc<dyn Destination>,
}

/// What the listeners of a sidecar share.
#[derive(Clone)]
pub struct Reception {
    /// Where connections go.
    pub workers: Vec<Handle>,
    /// What they are held against.
    pub budget: Arc<Budget>,
    /// Refusals before a worker is involved.
    pub metrics: Arc<crate::metrics::ControlMetrics>,
}

/// Listens on an address.
///
/// # Errors
/// If the address is in use, or not this machine's.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Listens on a port of every address, IPv6 and IPv4, or IPv4 alone where there is no IPv6.
///
/// # Errors
/// If the port is in use.
pub fn bind_everywhere(port: u16) -> io::Result<std::net::TcpListener> {
    bind((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error| match error.raw_os_error() {
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL) => bind((Ipv4Addr::UNSPECIFIED, port).into()),
        _ => Err(error),
    })
}

/// Accepts on all entrances until `stop` turns true, or one of them fails; the listeners are closed then.
pub async fn accept(entrances: Vec<Entrance>, reception: Reception, mut stop: watch::Receiver<bool>) {
    if entrances.is_empty() {
        // A pod without a named port, or without a usable record: nobody can call it, and it goes on saying why.
        return drain::begun(&mut stop).await;
    }
    let mut loops = JoinSet::new();
    for entrance in entrances {
        loops.spawn(accept_on(entrance, reception.clone(), stop.clone()));
    }
    // All are told to stop together, so one that ends before is broken, and the rest would hide that.
    loops.join_next().await;
}

async fn accept_on(entrance: Entrance, reception: Reception, mut stop: watch::Receiver<bool>) {
    let listener = match TcpListener::from_std(entrance.listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listener cannot be served"),
    };
    loop {
        let accepted = tokio::select! {
            () = drain::begun(&mut stop) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            Ok((stream, peer)) => reception.take(stream, peer, &entrance.destination),
            Err(error) if is_the_callers(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted; are there too many open files?");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The connection was gone before it was accepted.
fn is_the_callers(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

impl Reception {
    fn take(&self, stream: std::net::TcpStream, peer: SocketAddr, destination: &Arc<dyn Destination>) {
        // A listener of both families sees IPv4 callers under mapped addresses (RFC 4291 section 2.5.5.2).
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let ticket = match self.budget.admit(peer.ip()) {
            Ok(ticket) => ticket,
            Err(denial) => {
                let elsewhere: &WorkerMetrics = &self.metrics.elsewhere;
                elsewhere.denial(denial.code);
                return log::refusal(&denial, peer, 0, Party::Unknown, Asked::default());
            }
        };
        if let Some(worker) = self.workers.iter().min_by_key(|worker| worker.load()) {
            worker.take(Inbound { stream, peer, destination: Arc::clone(destination), ticket });
        }
    }
}
