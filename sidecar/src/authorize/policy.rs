//! The policy as the sidecar judges by it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use http::HeaderName;
use postern_config::policy::{Enforcement, Protocol};

use super::door::{Door, HeaderKind, Locked};
use super::locks::Standing;
use crate::identify::Caller;

/// SHA-256 of a `SubjectPublicKeyInfo`.
pub type KeyHash = [u8; 32];
/// SHA-256 of a certificate.
pub type Fingerprint = [u8; 32];

/// All that may be called, by whom, for what.
#[derive(Debug, Default)]
pub struct Policy {
    pub(super) doors: BTreeMap<u16, PortDoor>,
    /// By identity.
    pub(super) pins: HashMap<Box<str>, Vec<Pins>>,
    pub(super) revoked: HashSet<Fingerprint>,
    /// Of the table of last uses.
    pub(super) ids: Vec<Box<str>>,
}

/// An authority, and the keys that are pinned for an identity of its.
pub(super) type Pins = (Box<str>, Vec<KeyHash>);

#[derive(Debug)]
pub(super) enum PortDoor {
    Open,
    Paths(Paths),
    Locked(Box<Locked>),
}

/// What is open on a port.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Paths {
    pub(super) protocol: Protocol,
    pub(super) paths: BTreeSet<Box<str>>,
}

impl PortDoor {
    /// Takes the stricter of two doors: a lock is stricter than none, and HTTP, where rules apply, is stricter than
    /// bytes. Whether it can be told.
    pub(super) fn tighten(&mut self, other: Self) -> bool {
        match (&mut *self, other) {
            (Self::Locked(_), Self::Open | Self::Paths(_)) | (Self::Paths(_) | Self::Open, Self::Open) => {
                true
            }
            (Self::Paths(one), Self::Paths(other)) => *one == other,
            (Self::Open | Self::Paths(_), other) => {
                *self = other;
                true
            }
            (Self::Locked(one), Self::Locked(other)) => {
                let is_alike = one.is_alike(&other);
                if other.protocol.is_http() && !one.protocol.is_http() {
                    *one = other;
                }
                is_alike
            }
        }
    }
}

impl Policy {
    /// What is in front of a port; nothing: it is closed.
    pub fn door(&self, port: u16) -> Option<Door> {
        Some(match self.doors.get(&port)? {
            PortDoor::Open => Door::Open,
            PortDoor::Paths(paths) => Door::Paths(paths.protocol),
            PortDoor::Locked(locked) => Door::Locked(locked.protocol),
        })
    }

    /// The locks of a port that has some.
    pub fn locked(&self, port: u16) -> Option<&Locked> {
        match self.doors.get(&port)? {
            PortDoor::Locked(locked) => Some(locked),
            PortDoor::Open | PortDoor::Paths(_) => None,
        }
    }

    /// Every port with locks.
    pub fn locked_ports(&self) -> impl Iterator<Item = (u16, &Locked)> {
        self.doors.iter().filter_map(|(port, door)| match door {
            PortDoor::Locked(locked) => Some((*port, &**locked)),
            PortDoor::Open | PortDoor::Paths(_) => None,
        })
    }

    /// Ports whose denials are not carried out.
    pub fn audited_ports(&self) -> impl Iterator<Item = u16> {
        let audited = self.locked_ports().filter(|(_, locked)| locked.enforcement == Enforcement::Audit);
        audited.map(|(port, _)| port)
    }

    /// Whether a path is open on a port; `path` is canonical.
    pub(super) fn is_open(&self, port: u16, path: &str) -> bool {
        matches!(self.doors.get(&port), Some(PortDoor::Paths(paths)) if paths.paths.contains(path))
    }

    /// Whether all paths that `before` has open on a port are open still.
    pub fn keeps_open(&self, before: &Self, port: u16) -> bool {
        match (self.doors.get(&port), before.doors.get(&port)) {
            (Some(PortDoor::Paths(now)), Some(PortDoor::Paths(before))) => before.paths.is_subset(&now.paths),
            _ => false,
        }
    }

    /// What the table of last uses has an entry for, in its order.
    pub fn ids(&self) -> &[Box<str>] {
        &self.ids
    }

    /// Headers that hold secrets on any port, and so go to no application.
    pub fn secret_headers(&self) -> HashSet<HeaderName> {
        let locks = self.locked_ports().flat_map(|(_, locked)| locked.header_locks());
        locks.filter(|lock| lock.kind == HeaderKind::Secret).map(|lock| lock.name.clone()).collect()
    }

    /// Whether a certificate is refused although an authority vouches for it.
    pub fn has_revoked(&self, certificate: &Fingerprint) -> bool {
        self.revoked.contains(certificate)
    }

    /// Whether any is.
    pub fn has_revoked_any(&self) -> bool {
        !self.revoked.is_empty()
    }

    /// Whether a caller's key may stand for its identity at all. Keys that are pinned anywhere for an identity are the
    /// only ones it may use; an identity that nothing pins, or that no route names, may use any.
    pub fn allows_key(&self, caller: &Caller) -> bool {
        let Some(identity) = caller.facts.only_uri() else { return true };
        let pins = self.pins.get(identity).into_iter().flatten();
        let is_vouched = |name: &str| caller.authorities.iter().any(|authority| **authority == *name);
        let mut pinned = pins.filter(|(authority, _)| is_vouched(authority)).peekable();
        pinned.peek().is_none() || pinned.any(|(_, keys)| keys.contains(&caller.key))
    }

    /// Whose a certificate is on a port.
    pub fn standing(&self, port: u16, caller: &Caller) -> Standing {
        let Some(locked) = self.locked(port) else { return Standing::default() };
        let is_it = |matchers: &[crate::identify::matcher::Matcher]| {
            matchers.iter().any(|matcher| {
                caller.authorities.iter().any(|authority| matcher.matches(authority, &caller.facts))
            })
        };
        let holders = (0..).zip(&locked.holders);
        Standing {
            own: holders
                .filter(|(_, holder)| is_it(&holder.certificates))
                .map(|(number, _)| number)
                .collect(),
            is_tenant: is_it(&locked.tenant),
        }
    }

    /// Numbers of a key in the table of last uses, as far as it stands for callers of a port.
    pub fn uses_of_key<'a>(
        &'a self,
        port: u16,
        standing: &'a Standing,
        key: &'a KeyHash,
    ) -> impl Iterator<Item = u32> {
        let locked = self.locked(port).into_iter();
        let holders = locked.flat_map(|locked| standing.own.iter().filter_map(|own| locked.holder(*own)));
        let keys = holders.flat_map(|holder| &holder.keys);
        keys.filter(move |(known, _)| known == key).map(|(_, number)| *number)
    }
}
