//! What the server has counted.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use crate::grpc::Notices;

/// Counters since the server's start. Kubelet probes (`/healthz`, gRPC health checks) and connections that
/// never sent a byte are kept apart, so that the rest is zero unless somebody called the application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hits {
    /// Connections to the HTTP ports (TLS or not, declared or not) that sent at least one byte and were not
    /// only health checks.
    pub http_connections: u64,
    /// Requests on them.
    pub http_requests: u64,
    /// Connections to the TCP port.
    pub tcp_connections: u64,
    /// UDP datagrams.
    pub datagrams: u64,
    /// Those of the above that came to the undeclared port.
    pub undeclared: u64,
    /// Health checks.
    pub probes: u64,
    /// Connections to the HTTP ports that closed without a byte.
    pub silent: u64,
}

impl Hits {
    /// Everything that reached the application except health checks and silent connections.
    pub fn total(&self) -> u64 {
        self.http_connections + self.http_requests + self.tcp_connections + self.datagrams
    }
}

/// Counters shared by the tasks of one thread.
#[derive(Clone, Default)]
pub struct Counters(Rc<RefCell<Hits>>);

impl Counters {
    /// Changes them.
    pub fn count(&self, change: impl FnOnce(&mut Hits)) {
        change(&mut self.0.borrow_mut());
    }

    /// As they stand.
    pub fn read(&self) -> Hits {
        self.0.borrow().clone()
    }
}

/// What `postern-echo hits` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The counters.
    pub hits: Hits,
    /// The pod's link-local IPv6 addresses.
    pub link_local: Vec<LinkLocal>,
    /// Bytes of large bodies that were asked for.
    pub made: u64,
    /// gRPC calls that their callers gave up.
    pub cancelled: u64,
}

/// Counts the gRPC calls that their callers gave up.
#[derive(Clone, Debug, Default)]
pub struct Calls(pub Arc<AtomicU64>);

impl Notices for Calls {
    fn cancelled(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn broken(&self, _: &tonic::Status) {
        self.cancelled();
    }
}

/// An `fe80::` address and the interface that has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkLocal {
    /// The address.
    pub address: std::net::Ipv6Addr,
    /// The interface's name.
    pub interface: String,
}

/// The link-local addresses of this network namespace, from `/proc/net/if_inet6`.
pub fn link_local() -> Vec<LinkLocal> {
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let address = u128::from_str_radix(fields.next()?, 16).ok()?.into();
            let interface = fields.next_back()?.to_owned();
            Some(LinkLocal { address, interface })
        })
        .filter(|entry| entry.address.is_unicast_link_local())
        .collect()
}
