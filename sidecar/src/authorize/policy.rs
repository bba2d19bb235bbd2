//! The policy as the sidecar judges by it: parsed once, so that what exists is valid.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use postern_config::policy::{self as config, PathMatchKind, PortRef, Protocol};

use super::denial::Denial;
use super::path::Path;

/// SHA-256 of a `SubjectPublicKeyInfo`.
pub type KeyHash = [u8; 32];

/// What is in front of one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Bytes pass as they are.
    Open,
    /// Mutual TLS, then what the application speaks.
    Locked(Protocol),
}

/// All that may be called, by whom, for what.
#[derive(Debug, Default)]
pub struct Policy {
    doors: BTreeMap<u16, Door>,
    /// By identity.
    grants: HashMap<Box<str>, Vec<Grant>>,
}

/// One caller's access to one port by one route.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) authority: Box<str>,
    pub(super) port: u16,
    pub(super) route: Arc<Route>,
    keys: Option<Vec<KeyHash>>,
}

/// What a route allows.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) name: Box<str>,
    /// Lower-case; empty: any.
    pub(super) hostnames: Vec<Box<str>>,
    /// Any of these; `None`: everything.
    pub(super) matches: Option<Vec<Match>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) method: Option<Box<str>>,
    pub(super) path: Option<PathRule>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum PathRule {
    Exact(Box<str>),
    /// Canonical, without a slash at its end.
    Prefix(Box<str>),
}

/// A policy that contradicts itself, so none of it is used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Two authorities of one name.
    #[error("authority {0:?} is listed twice; give each a name of its own")]
    DuplicateAuthority(String),
    /// A caller bound to an authority that isn't there.
    #[error("route {route}: the caller's authority {authority:?} is not among the policy's authorities")]
    UnknownAuthority {
        /// The route.
        route: String,
        /// What the caller names.
        authority: String,
    },
    /// A pin that can't be a hash.
    #[error("route {route}: the key pin {pin:?} is not a SHA-256 in 64 hex digits")]
    MalformedPin {
        /// The route.
        route: String,
        /// As it stands.
        pin: String,
    },
    /// A path that no canonical path can equal.
    #[error("route {route}: the path {path:?} can never match ({reason}); write it in its canonical form")]
    ImpossiblePath {
        /// The route.
        route: String,
        /// As it stands.
        path: String,
        /// Why.
        reason: Denial,
    },
    /// Port 0.
    #[error("port 0 is listed; name a port from 1 to 65535")]
    PortZero,
}

/// A policy and what in it has no effect.
#[derive(Debug)]
pub struct Compiled {
    /// What is enforced.
    pub policy: Policy,
    /// Ports whose name the pod doesn't have; they stay closed.
    pub unresolved: BTreeSet<String>,
}

impl Policy {
    /// From its written form, with the pod's port names.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn compile(
        written: &config::Policy,
        port_names: &BTreeMap<String, u16>,
    ) -> Result<Compiled, PolicyError> {
        let mut unresolved = BTreeSet::new();
        let mut resolve = |port: &PortRef| match port {
            PortRef::Number(0) => Err(PolicyError::PortZero),
            PortRef::Number(number) => Ok(Some(*number)),
            PortRef::Name(name) => {
                let number = port_names.get(name).copied();
                if number.is_none() {
                    unresolved.insert(name.clone());
                }
                Ok(number)
            }
        };

        let mut authorities = BTreeSet::new();
        for authority in &written.authorities {
            if !authorities.insert(authority.name.as_str()) {
                return Err(PolicyError::DuplicateAuthority(authority.name.clone()));
            }
        }

        let mut policy = Self::default();
        for port in &written.ports {
            let Some(number) = resolve(&port.port)? else { continue };
            // Datagrams pass by the sidecar; for TCP such a port is closed.
            if port.protocol == Protocol::UDP {
                continue;
            }
            let door = match port.access {
                config::Access::Open { .. } => Door::Open,
                config::Access::Locked { .. } => Door::Locked(port.protocol),
            };
            policy.doors.entry(number).and_modify(|other| *other = stricter(*other, door)).or_insert(door);
        }
        for route in &written.routes {
            let Some(port) = resolve(&route.port)? else { continue };
            let compiled = Arc::new(Route::compile(route)?);
            for caller in &route.callers {
                for certificate in &caller.certificates {
                    let config::CertificateMatch::Identity { authority, identity, keys } = certificate else {
                        continue;
                    };
                    if !authorities.contains(authority.as_str()) {
                        let (route, authority) = (route.name.clone(), authority.clone());
                        return Err(PolicyError::UnknownAuthority { route, authority });
                    }
                    let keys = keys.as_ref().map(|keys| pins(&route.name, keys)).transpose()?;
                    policy.grants.entry(identity.as_str().into()).or_default().push(Grant {
                        authority: authority.as_str().into(),
                        port,
                        route: Arc::clone(&compiled),
                        keys,
                    });
                }
            }
        }
        Ok(Compiled { policy, unresolved })
    }

    /// What is in front of a port; nothing: it is closed.
    pub fn door(&self, port: u16) -> Option<Door> {
        self.doors.get(&port).copied()
    }

    /// Whether a key may stand for an identity at all. Keys that are pinned anywhere for an identity are the
    /// only ones it may use; an identity that nothing pins, or that no route names, may use any.
    pub fn allows_key(&self, authority: &str, identity: &str, key: &KeyHash) -> bool {
        let mut pinned =
            self.grants_of(authority, identity).filter_map(|grant| grant.keys.as_ref()).peekable();
        pinned.peek().is_none() || pinned.any(|keys| keys.contains(key))
    }

    pub(super) fn grants_of(&self, authority: &str, identity: &str) -> impl Iterator<Item = &Grant> {
        self.grants.get(identity).into_iter().flatten().filter(move |grant| &*grant.authority == authority)
    }
}

impl Grant {
    pub(super) fn allows_key(&self, key: &KeyHash) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.contains(key))
    }
}

/// A lock is stricter than none, and HTTP, where rules apply, is stricter than bytes.
fn stricter(one: Door, other: Door) -> Door {
    match (one, other) {
        (Door::Locked(protocol), _) | (_, Door::Locked(protocol)) if protocol.is_http() => {
            Door::Locked(protocol)
        }
        (Door::Locked(protocol), _) | (_, Door::Locked(protocol)) => Door::Locked(protocol),
        (Door::Open, Door::Open) => Door::Open,
    }
}

fn pins(route: &str, written: &[String]) -> Result<Vec<KeyHash>, PolicyError> {
    let parse = |pin: &String| {
        let mut hash = KeyHash::default();
        hex::decode_to_slice(pin, &mut hash)
            .map(|()| hash)
            .map_err(|_| PolicyError::MalformedPin { route: route.to_owned(), pin: pin.clone() })
    };
    written.iter().map(parse).collect()
}

impl Route {
    fn compile(written: &config::Route) -> Result<Self, PolicyError> {
        let mut matches = Vec::new();
        for rule in &written.rules {
            if rule.matches.is_empty() {
                matches.push(Match { method: None, path: None });
            }
            for entry in &rule.matches {
                let path =
                    entry.path.as_ref().map(|path| PathRule::compile(&written.name, path)).transpose()?;
                matches.push(Match { method: entry.method.as_deref().map(Into::into), path });
            }
        }
        Ok(Self {
            name: written.name.as_str().into(),
            hostnames: written.hostnames.iter().map(|name| name.to_ascii_lowercase().into()).collect(),
            matches: (!written.rules.is_empty()).then_some(matches),
        })
    }

    /// Whether it surely allows all that `other` does. Names and matches are compared one by one, so what only
    /// several of them cover together counts as not covered.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let hosts = self.hostnames.is_empty()
            || (!other.hostnames.is_empty()
                && other.hostnames.iter().all(|name| self.hostnames.contains(name)));
        hosts
            && match (&self.matches, &other.matches) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(ours), Some(theirs)) => {
                    theirs.iter().all(|their| ours.iter().any(|our| our.covers(their)))
                }
            }
    }
}

impl Match {
    fn covers(&self, other: &Self) -> bool {
        (self.method.is_none() || self.method == other.method)
            && (self.path.is_none() || self.path == other.path)
    }
}

impl PathRule {
    fn compile(route: &str, written: &config::PathMatch) -> Result<Self, PolicyError> {
        let impossible = |reason| PolicyError::ImpossiblePath {
            route: route.to_owned(),
            path: written.value.clone(),
            reason,
        };
        let path = Path::parse(&written.value).map_err(impossible)?;
        Ok(match written.kind {
            PathMatchKind::Exact => Self::Exact(path.as_str().into()),
            PathMatchKind::PathPrefix => Self::Prefix(path.as_str().trim_end_matches('/').into()),
        })
    }

    pub(super) fn matches(&self, path: &Path<'_>) -> bool {
        match self {
            Self::Exact(value) => path.as_str() == &**value,
            Self::Prefix(value) => path.has_prefix(value),
        }
    }
}
