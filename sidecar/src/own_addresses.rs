//! Which addresses belong to this network namespace, and where the sidecar may forward to.
//!
//! A guarded pod's sidecar is no relay: it dials nothing but an address of its own pod, and there none of its
//! own ports.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use nix::net::if_::if_nametoindex;
use postern_config::layout::OWN_PORTS;

/// How long a list of addresses is believed before a miss may read it again.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Why an original destination is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationRefusal {
    /// Loopback is for the pod's own processes, never for a caller.
    #[error("{0} is a loopback address; call the pod by the address that it has in the cluster")]
    Loopback(SocketAddr),
    /// One of [`OWN_PORTS`]: a loop, or a direct connection to the sidecar.
    #[error("{0} names a port of the sidecar itself; call the application's port")]
    OwnPort(SocketAddr),
    /// Somebody else's address.
    #[error("{0} is not an address of this pod, and the sidecar is no relay; call the pod that owns it")]
    Foreign(SocketAddr),
}

/// One interface's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address, IPv4-mapped ones as IPv4.
    pub ip: IpAddr,
    /// Index of the interface that holds it (the scope of link-local addresses); 0 if it has none.
    pub interface: u32,
}

/// A list of the addresses of one network namespace, in the kernel's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    addresses: Vec<InterfaceAddress>,
    interfaces: BTreeMap<IpAddr, u32>,
}

impl Snapshot {
    /// From addresses in order of preference.
    pub fn new(addresses: Vec<InterfaceAddress>) -> Self {
        // The first interface wins where two hold the same link-local address.
        let interfaces = addresses.iter().rev().map(|address| (address.ip, address.interface)).collect();
        Self { addresses, interfaces }
    }

    /// Of the calling thread's network namespace.
    ///
    /// # Errors
    /// If the kernel doesn't list them.
    pub fn read() -> io::Result<Self> {
        let mut addresses = Vec::new();
        for entry in nix::ifaddrs::getifaddrs()? {
            let Some(address) = entry.address else { continue };
            let ip = if let Some(v4) = address.as_sockaddr_in() {
                IpAddr::V4(v4.ip())
            } else if let Some(v6) = address.as_sockaddr_in6() {
                IpAddr::V6(v6.ip()).to_canonical()
            } else {
                continue;
            };
            // An interface that vanished since has no index; its address is then of no use either.
            let interface = if_nametoindex(entry.interface_name.as_str()).unwrap_or(0);
            addresses.push(InterfaceAddress { ip, interface });
        }
        Ok(Self::new(addresses))
    }

    /// Whether `ip` is one of them; loopback included, where the namespace has it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.interfaces.contains_key(&ip.to_canonical())
    }

    /// The addresses under which the cluster knows the pod: the first IPv4 and the first IPv6 address that is
    /// neither loopback nor link-local, in the kernel's order.
    pub fn cluster_addresses(&self) -> Vec<IpAddr> {
        let usable = |ip: &IpAddr| match ip {
            IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
        };
        let mut found: Vec<IpAddr> = Vec::new();
        for ip in self.addresses.iter().map(|address| address.ip).filter(usable) {
            if !found.iter().any(|other| other.is_ipv4() == ip.is_ipv4()) {
                found.push(ip);
            }
        }
        found
    }
}

type Source = Box<dyn Fn() -> io::Result<Snapshot> + Send + Sync>;

/// The namespace's own addresses, read again when an unknown one is asked for, at most once a second.
pub struct OwnAddresses {
    current: ArcSwap<Snapshot>,
    read_at: Mutex<Instant>,
    interval: Duration,
    source: Source,
}

impl OwnAddresses {
    /// Reads the addresses of the calling thread's network namespace.
    ///
    /// # Errors
    /// If the kernel doesn't list them.
    pub fn new() -> io::Result<Self> {
        Self::with_source(Box::new(Snapshot::read), REFRESH_INTERVAL)
    }

    /// Addresses that never change.
    #[cfg(test)]
    pub(crate) fn fixed(ips: &[&str]) -> Self {
        let address = |ip: &&str| InterfaceAddress { ip: ip.parse().unwrap(), interface: 1 };
        let snapshot = Snapshot::new(ips.iter().map(address).collect());
        Self::with_source(Box::new(move || Ok(snapshot.clone())), REFRESH_INTERVAL).unwrap()
    }

    fn with_source(source: Source, interval: Duration) -> io::Result<Self> {
        let current = ArcSwap::from_pointee(source()?);
        Ok(Self { current, read_at: Mutex::new(Instant::now()), interval, source })
    }

    /// Whether `ip` is an address of this namespace. An address that a refresh fails to confirm is not.
    pub fn is_own(&self, ip: IpAddr) -> bool {
        if self.current.load().contains(ip) {
            return true;
        }
        self.refresh();
        self.current.load().contains(ip)
    }

    /// See [`Snapshot::cluster_addresses`].
    pub fn cluster_addresses(&self) -> Vec<IpAddr> {
        let found = self.current.load().cluster_addresses();
        if !found.is_empty() {
            return found;
        }
        self.refresh();
        self.current.load().cluster_addresses()
    }

    /// Reads the list again if the last reading is old enough.
    fn refresh(&self) {
        let mut read_at = self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
        if read_at.elapsed() < self.interval {
            return;
        }
        *read_at = Instant::now();
        match (self.source)() {
            Ok(snapshot) => self.current.store(snapshot.into()),
            Err(error) => {
                tracing::warn!(%error, "cannot list this pod's addresses; the last list stays in use");
            }
        }
    }

    fn interface_of(&self, ip: IpAddr) -> u32 {
        self.current.load().interfaces.get(&ip).copied().unwrap_or(0)
    }
}

/// Where a redirected connection may be forwarded to: `destination` itself, IPv4-mapped addresses as IPv4,
/// and a link-local one with the scope of the interface that holds it.
///
/// # Errors
/// [`DestinationRefusal`] if it is loopback, a port of the sidecar, or not this pod's.
pub fn permitted_destination(
    destination: SocketAddr,
    own: &OwnAddresses,
) -> Result<SocketAddr, DestinationRefusal> {
    let ip = destination.ip().to_canonical();
    if ip.is_loopback() {
        return Err(DestinationRefusal::Loopback(destination));
    }
    if OWN_PORTS.contains(&destination.port()) {
        return Err(DestinationRefusal::OwnPort(destination));
    }
    if !own.is_own(ip) {
        return Err(DestinationRefusal::Foreign(destination));
    }
    Ok(match (ip, destination) {
        (IpAddr::V6(v6), SocketAddr::V6(given)) if v6.is_unicast_link_local() => {
            scoped(v6, given, own.interface_of(ip))
        }
        _ => SocketAddr::new(ip, destination.port()),
    })
}

/// A link-local address can only be dialled with a scope; the kernel's own word on it comes first.
fn scoped(ip: Ipv6Addr, given: SocketAddrV6, interface: u32) -> SocketAddr {
    let scope = if given.scope_id() == 0 { interface } else { given.scope_id() };
    SocketAddrV6::new(ip, given.port(), 0, scope).into()
}

#[cfg(test)]
mod tests;
