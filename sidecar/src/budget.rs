//! Who may hold how many connections: strangers have a budget of their own, so that they can't use up the
//! callers', and no source can use up a budget that it shares with others.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::authorize::{Code, Denial};
use crate::limits::Limits;

/// Counts of all connections, shared by listeners and workers.
#[derive(Debug)]
pub struct Budget {
    limits: ArcSwap<Limits>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    unproven: Share,
    open: Share,
    /// Strangers that have shown nothing yet, by age.
    silent: BTreeMap<u64, Silent>,
    /// Number of the next ticket.
    next: u64,
}

/// A connection that may have to make room.
#[derive(Debug)]
struct Silent {
    source: Source,
    eviction: Arc<Notify>,
}

/// One connection's place in the budget; given back when dropped.
#[derive(Debug)]
pub struct Ticket {
    budget: Arc<Budget>,
    number: u64,
    source: Source,
    kind: Kind,
    eviction: Arc<Notify>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unproven,
    Proven,
    Open,
}

/// Where a connection comes from.
///
/// A node's pods commonly share an IPv6 /64, and so do all link-local addresses; but whoever has a /64 of its
/// own has any number of addresses. So both are counted.
#[derive(Clone, Copy, Debug)]
struct Source {
    address: IpAddr,
    network: Option<Ipv6Addr>,
}

impl Budget {
    /// Nothing used.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits: ArcSwap::from_pointee(limits), counts: Mutex::default() })
    }

    /// Other limits, for whoever comes from now on.
    pub fn limit(&self, limits: Limits) {
        self.limits.store(Arc::new(limits));
    }

    /// A place for a new connection. Where strangers have used up what they share, the one that has shown
    /// nothing for longest is asked to make room: see [`Ticket::evicted`].
    ///
    /// # Errors
    /// [`Code::TooManyConnections`], with the budget that is used up.
    pub fn admit(self: &Arc<Self>, source: IpAddr) -> Result<Ticket, Denial> {
        let (source, limits) = (Source::of(source), self.limits.load());
        let mut counts = self.lock();
        let crowded = match counts.unproven.crowded(source, &limits.caps_of_unproven()) {
            Some(Crowded::Address(limit)) => {
                return Err(full("one source that has yet to prove who it is", limit));
            }
            Some(Crowded::Network(limit)) => {
                Some((source.network, "one IPv6 /64 whose callers have yet to prove who they are", limit))
            }
            Some(Crowded::All(limit)) => Some((None, "callers that have yet to prove who they are", limit)),
            None if counts.all >= limits.connections => Some((None, "all connections", limits.connections)),
            None => None,
        };
        if let Some((network, whose, limit)) = crowded
            && !counts.evict_oldest(network)
        {
            return Err(full(whose, limit));
        }
        let (number, eviction) = (counts.next, Arc::new(Notify::new()));
        counts.next = number.wrapping_add(1);
        counts.all += 1;
        counts.unproven.add(source);
        counts.silent.insert(number, Silent { source, eviction: Arc::clone(&eviction) });
        drop(counts);
        Ok(Ticket { budget: Arc::clone(self), number, source, kind: Kind::Unproven, eviction })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Until a newer connection needs the place; for ever once something was [`seen`](Self::seen). Whoever
    /// holds the ticket then closes the connection.
    pub async fn evicted(&self) {
        self.eviction.notified().await;
    }

    /// The caller has shown that it takes part: it need not make room any more.
    pub fn seen(&self) {
        self.budget.lock().silent.remove(&self.number);
    }

    /// The caller is known and has a route: it no longer counts as a stranger.
    pub fn proven(&mut self) {
        if self.kind == Kind::Unproven {
            self.budget.lock().forget_stranger(self.number, self.source);
            self.kind = Kind::Proven;
        }
    }

    /// The connection goes to a port without a lock.
    ///
    /// # Errors
    /// [`Code::TooManyConnections`].
    pub fn open(&mut self) -> Result<(), Denial> {
        let caps = self.budget.limits.load().caps_of_open();
        let mut counts = self.budget.lock();
        match counts.open.crowded(self.source, &caps) {
            Some(Crowded::Address(limit)) => {
                return Err(full("one source's connections to open ports", limit));
            }
            Some(Crowded::Network(limit)) => {
                return Err(full("one IPv6 /64's connections to open ports", limit));
            }
            Some(Crowded::All(limit)) => return Err(full("connections to open ports", limit)),
            None => {}
        }
        counts.open.add(self.source);
        counts.forget_stranger(self.number, self.source);
        self.kind = Kind::Open;
        Ok(())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.budget.lock();
        counts.all = counts.all.saturating_sub(1);
        match self.kind {
            Kind::Unproven => counts.forget_stranger(self.number, self.source),
            Kind::Open => counts.open.remove(self.source),
            Kind::Proven => {}
        }
    }
}

impl Counts {
    fn forget_stranger(&mut self, number: u64, source: Source) {
        self.silent.remove(&number);
        self.unproven.remove(source);
    }

    /// Asks the oldest silent stranger, of `network` if given, to make room; whether there is one. It is counted
    /// until it has done so, which is a matter of one poll.
    fn evict_oldest(&mut self, network: Option<Ipv6Addr>) -> bool {
        let mut silent = self.silent.iter();
        let oldest = silent.find(|(_, silent)| network.is_none() || silent.source.network == network);
        let Some(number) = oldest.map(|(number, _)| *number) else { return false };
        if let Some(silent) = self.silent.remove(&number) {
            silent.eviction.notify_one();
        }
        true
    }
}

/// Connections of one kind, with who holds them.
#[derive(Debug, Default)]
struct Share {
    all: usize,
    addresses: HashMap<IpAddr, usize>,
    networks: HashMap<Ipv6Addr, usize>,
}

/// Limits of a [`Share`].
struct Caps {
    all: usize,
    per_source: usize,
    per_network: usize,
}

/// The limit that a [`Share`] has reached.
enum Crowded {
    Address(usize),
    Network(usize),
    All(usize),
}

impl Share {
    fn crowded(&self, source: Source, caps: &Caps) -> Option<Crowded> {
        let from_network = source.network.and_then(|network| self.networks.get(&network));
        if self.addresses.get(&source.address).is_some_and(|count| *count >= caps.per_source) {
            Some(Crowded::Address(caps.per_source))
        } else if from_network.is_some_and(|count| *count >= caps.per_network) {
            Some(Crowded::Network(caps.per_network))
        } else {
            (self.all >= caps.all).then_some(Crowded::All(caps.all))
        }
    }

    fn add(&mut self, source: Source) {
        self.all += 1;
        *self.addresses.entry(source.address).or_insert(0) += 1;
        if let Some(network) = source.network {
            *self.networks.entry(network).or_insert(0) += 1;
        }
    }

    fn remove(&mut self, source: Source) {
        self.all = self.all.saturating_sub(1);
        take_one(&mut self.addresses, &source.address);
        if let Some(network) = source.network {
            take_one(&mut self.networks, &network);
        }
    }
}

fn take_one<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Limits {
    const fn caps_of_unproven(&self) -> Caps {
        Caps {
            all: self.unproven,
            per_source: self.unproven_per_source,
            per_network: self.unproven_per_network,
        }
    }

    const fn caps_of_open(&self) -> Caps {
        Caps { all: self.open, per_source: self.open_per_source, per_network: self.open_per_network }
    }
}

impl Source {
    fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let network = match address {
            IpAddr::V6(v6) => Some(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            IpAddr::V4(_) => None,
        };
        Self { address, network }
    }
}

fn full(whose: &str, limit: usize) -> Denial {
    Denial::new(Code::TooManyConnections, format!("the budget of {limit} for {whose} is used up"))
}

#[cfg(test)]
mod tests;
