//! Where a probe goes: the pod itself, never anybody else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use postern_config::layout::OWN_PORTS;
use postern_config::policy::PortRef;
use postern_config::record::PodRecord;
use tokio::net::TcpStream;

use super::ProbeFailure;
use super::record::port_number;
use crate::own_addresses::OwnAddresses;

/// The addresses to try, in order. Which of its families the kubelet would take is not known here, so the
/// second is tried where the first refuses.
pub(super) fn targets(
    port: &PortRef,
    host: Option<&str>,
    record: &PodRecord,
    own: &OwnAddresses,
) -> Result<Vec<SocketAddr>, ProbeFailure> {
    let port = port_number(port, Some(record)).ok_or_else(|| match port {
        PortRef::Name(name) => ProbeFailure::UnknownPort(name.clone()),
        PortRef::Number(number) => ProbeFailure::UnknownPort(number.to_string()),
    })?;
    if OWN_PORTS.contains(&port) {
        return Err(ProbeFailure::OwnPort(port));
    }
    let ips = match host.filter(|host| !host.is_empty()) {
        // The application is told to listen on loopback alone.
        None if record.listeners.is_some() => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        None => own.cluster_addresses(),
        Some(host) => match host.parse::<IpAddr>() {
            Ok(ip) if own.is_own(ip) => vec![ip],
            _ => return Err(ProbeFailure::ForeignHost(host.to_owned())),
        },
    };
    if ips.is_empty() {
        return Err(ProbeFailure::NoAddress);
    }
    Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

/// The first of `targets` that accepts.
pub(super) async fn connect(targets: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), ProbeFailure> {
    let mut last = ProbeFailure::NoAddress;
    for target in targets {
        match TcpStream::connect(target).await {
            Ok(stream) => return Ok((stream, *target)),
            Err(cause) => last = ProbeFailure::Connect { address: *target, cause },
        }
    }
    Err(last)
}
