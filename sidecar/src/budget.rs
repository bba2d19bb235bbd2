//! Who may hold how many connections: strangers have a budget of their own, so that they can't use up the
//! callers'.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::authorize::{Code, Denial};
use crate::limits::Limits;

/// Counts of all connections, shared by listeners and workers.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    unproven: usize,
    open: usize,
    sources: HashMap<IpAddr, usize>,
}

/// One connection's place in the budget; given back when dropped.
#[derive(Debug)]
pub struct Ticket {
    budget: Arc<Budget>,
    source: IpAddr,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unproven,
    Proven,
    Open,
}

impl Budget {
    /// Nothing used.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default() })
    }

    /// A place for a new connection.
    ///
    /// # Errors
    /// [`Code::TooManyConnections`], with the budget that is used up.
    pub fn admit(self: &Arc<Self>, source: IpAddr) -> Result<Ticket, Denial> {
        let source = network(source);
        let mut counts = self.lock();
        if counts.all >= self.limits.connections {
            return Err(full("all connections", self.limits.connections));
        }
        if counts.unproven >= self.limits.unproven {
            return Err(full("callers that have yet to prove who they are", self.limits.unproven));
        }
        let from_here = counts.sources.entry(source).or_insert(0);
        if *from_here >= self.limits.unproven_per_source {
            return Err(full("one source that has yet to prove who it is", self.limits.unproven_per_source));
        }
        *from_here += 1;
        counts.all += 1;
        counts.unproven += 1;
        drop(counts);
        Ok(Ticket { budget: Arc::clone(self), source, kind: Kind::Unproven })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// The caller is known and has a route: it no longer counts as a stranger.
    pub fn proven(&mut self) {
        if self.kind == Kind::Unproven {
            self.budget.lock().forget_stranger(self.source);
            self.kind = Kind::Proven;
        }
    }

    /// The connection goes to a port without a lock.
    ///
    /// # Errors
    /// [`Code::TooManyConnections`].
    pub fn open(&mut self) -> Result<(), Denial> {
        let limit = self.budget.limits.open;
        let mut counts = self.budget.lock();
        if counts.open >= limit {
            return Err(full("connections to open ports", limit));
        }
        counts.open += 1;
        counts.forget_stranger(self.source);
        self.kind = Kind::Open;
        Ok(())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.budget.lock();
        counts.all = counts.all.saturating_sub(1);
        match self.kind {
            Kind::Unproven => counts.forget_stranger(self.source),
            Kind::Open => counts.open = counts.open.saturating_sub(1),
            Kind::Proven => {}
        }
    }
}

impl Counts {
    fn forget_stranger(&mut self, source: IpAddr) {
        self.unproven = self.unproven.saturating_sub(1);
        if let Some(count) = self.sources.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
    }
}

fn full(whose: &str, limit: usize) -> Denial {
    Denial::new(Code::TooManyConnections, format!("the budget of {limit} for {whose} is used up"))
}

/// What one party can be expected to hold: an IPv4 address, or an IPv6 /64.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_use_up_the_callers_budget() {
        let limits =
            Limits { connections: 5, unproven: 3, unproven_per_source: 2, open: 1, ..Limits::default() };
        let budget = Budget::new(limits);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let refused = |source: &str| budget.admit(ip(source)).unwrap_err().code == Code::TooManyConnections;

        let mut first = budget.admit(ip("10.0.0.1")).unwrap();
        let second = budget.admit(ip("::ffff:10.0.0.1")).unwrap();
        assert!(refused("10.0.0.1"), "two of one source");
        let mut third = budget.admit(ip("fd00::1")).unwrap();
        assert!(refused("10.0.0.2"), "three strangers");

        first.proven();
        first.proven();
        let fourth = budget.admit(ip("fd00::2")).unwrap();
        assert!(refused("10.0.0.1"), "three strangers again");
        third.open().unwrap();
        let mut fifth = budget.admit(ip("10.0.0.1")).unwrap();
        assert!(fifth.open().is_err(), "one open connection");
        drop(second);
        assert!(budget.admit(ip("10.0.0.9")).is_ok(), "a place is free again");
        drop((first, third, fourth, fifth));
        let counts = budget.lock();
        assert_eq!((counts.all, counts.unproven, counts.open, counts.sources.len()), (0, 0, 0, 0));
    }
}
