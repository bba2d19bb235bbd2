//! From the policy as written to the policy as judged by: parsed once, so that what exists is valid.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map};
use std::sync::Arc;

use http::HeaderName;
use postern_config::policy::{self as config, Access, CertificateMatch, PortRef, Protocol, Transport};

use super::denial::Denial;
use super::door::{Holder, Lock, Locked};
use super::keys::{HeaderError, Keyring};
use super::path::Path;
use super::policy::{Fingerprint, Paths, Policy, PortDoor};
use super::route::Route;
use crate::identify::matcher::{Matcher, MatcherError};
use crate::identify::sha256_from_hex;

/// A policy that contradicts itself, so none of it is used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Two authorities of one name.
    #[error("authority {0:?} is listed twice; give each a name of its own")]
    DuplicateAuthority(String),
    /// A certificate bound to an authority that isn't there.
    #[error("{whose}: the certificate's authority {authority:?} is not among those that vouch for callers")]
    UnknownAuthority {
        /// Whose certificate.
        whose: String,
        /// What it names.
        authority: String,
    },
    /// A certificate that can't be told.
    #[error("{whose}: {reason}")]
    Matcher {
        /// Whose certificate.
        whose: String,
        /// Cause and remedy.
        reason: MatcherError,
    },
    /// A revoked certificate that can't be one.
    #[error("the revoked certificate {0:?} is not a SHA-256 in 64 hex digits")]
    MalformedFingerprint(String),
    /// A path that no canonical path can equal.
    #[error("{what}: the path {path:?} can never match ({reason}); write it in its canonical form")]
    ImpossiblePath {
        /// Whose.
        what: String,
        /// As it stands.
        path: String,
        /// Why.
        reason: Denial,
    },
    /// Port 0.
    #[error("port 0 is listed; name a port from 1 to 65535")]
    PortZero,
    /// A door that everybody would open.
    #[error("port {0}: it is locked by no lock at all; list one, or open it by name")]
    NoLocks(u16),
    /// A lock that needs requests, where there are none.
    #[error("port {0}: only mutual TLS can stand before bytes; a header needs HTTP")]
    NoHeaders(u16),
    /// A lock that needs TLS, where there is none.
    #[error("port {0}: without TLS no certificate can be shown; take TLS, or Basic and Header locks alone")]
    NoCertificates(u16),
    /// Paths of what has none.
    #[error("port {0}: paths are open, but it isn't HTTP; open it whole, or say that it speaks HTTP")]
    NoPaths(u16),
    /// A lock's header or secret.
    #[error("port {port}: {reason}")]
    Header {
        /// The port.
        port: u16,
        /// Cause and remedy.
        reason: HeaderError,
    },
    /// More than can be counted.
    #[error("port {0}: it has too many callers")]
    TooMany(u16),
}

/// A policy and what in it has no effect.
#[derive(Debug)]
pub struct Compiled {
    /// What is enforced.
    pub policy: Policy,
    /// Ports whose name the pod doesn't have; they stay closed.
    pub unresolved: BTreeSet<String>,
    /// Ports that are listed twice, by name and by number, with doors that differ; they stay closed.
    pub ambiguous: BTreeSet<u16>,
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
        Compiler::new(written, port_names)?.run()
    }
}

struct Compiler<'a> {
    written: &'a config::Policy,
    port_names: &'a BTreeMap<String, u16>,
    /// Names of those that vouch for callers.
    authorities: BTreeSet<&'a str>,
    keyring: Keyring,
    unresolved: BTreeSet<String>,
    policy: Policy,
}

impl<'a> Compiler<'a> {
    fn new(written: &'a config::Policy, port_names: &'a BTreeMap<String, u16>) -> Result<Self, PolicyError> {
        let mut names = BTreeSet::new();
        for authority in &written.authorities {
            if !names.insert(authority.name.as_str()) {
                return Err(PolicyError::DuplicateAuthority(authority.name.clone()));
            }
        }
        let vouching = written.authorities.iter().filter(|authority| !authority.admin_only);
        Ok(Self {
            written,
            port_names,
            authorities: vouching.map(|authority| authority.name.as_str()).collect(),
            keyring: Keyring::default(),
            unresolved: BTreeSet::new(),
            policy: Policy::default(),
        })
    }

    fn run(mut self) -> Result<Compiled, PolicyError> {
        for revoked in &self.written.revoked {
            let fingerprint: Fingerprint =
                sha256_from_hex(revoked).ok_or_else(|| PolicyError::MalformedFingerprint(revoked.clone()))?;
            self.policy.revoked.insert(fingerprint);
        }
        let tenant = self.matchers("the tenant", &self.written.tenant)?.into();
        // By port, with the route that each has.
        let mut routes: HashMap<u16, Vec<(Arc<Route>, &'a config::Route)>> = HashMap::new();
        for route in &self.written.routes {
            let compiled = Arc::new(Route::compile(route)?);
            for caller in &route.callers {
                // Whatever port they are for: what is wrong is told, and pins count everywhere.
                self.pins(route, caller)?;
            }
            if let Some(port) = self.resolve(&route.port)? {
                routes.entry(port).or_default().push((compiled, route));
            }
        }
        let mut ambiguous = BTreeSet::new();
        for port in &self.written.ports {
            let Some(number) = self.resolve(&port.port)? else { continue };
            // Datagrams pass by the sidecar; for TCP such a port is closed.
            if port.protocol == Protocol::UDP {
                continue;
            }
            let door = self.door(number, port, routes.get(&number).map_or(&[], Vec::as_slice), &tenant)?;
            match self.policy.doors.entry(number) {
                btree_map::Entry::Vacant(entry) => {
                    entry.insert(door);
                }
                btree_map::Entry::Occupied(mut entry) => {
                    if !entry.get_mut().tighten(door) {
                        ambiguous.insert(number);
                    }
                }
            }
        }
        for number in &ambiguous {
            self.policy.doors.remove(number);
        }
        self.policy.ids = self.keyring.ids;
        Ok(Compiled { policy: self.policy, unresolved: self.unresolved, ambiguous })
    }

    fn resolve(&mut self, port: &PortRef) -> Result<Option<u16>, PolicyError> {
        match port {
            PortRef::Number(0) => Err(PolicyError::PortZero),
            PortRef::Number(number) => Ok(Some(*number)),
            PortRef::Name(name) => {
                let number = self.port_names.get(name).copied();
                if number.is_none() {
                    self.unresolved.insert(name.clone());
                }
                Ok(number)
            }
        }
    }

    fn door(
        &mut self,
        number: u16,
        port: &config::Port,
        routes: &[(Arc<Route>, &'a config::Route)],
        tenant: &Arc<[Matcher]>,
    ) -> Result<PortDoor, PolicyError> {
        let locks = match &port.access {
            Access::Open { paths, .. } if paths.is_empty() => return Ok(PortDoor::Open),
            Access::Open { .. } if !port.protocol.is_http() => return Err(PolicyError::NoPaths(number)),
            Access::Open { paths, .. } => {
                let canonical = paths.iter().map(|path| {
                    let impossible = |reason| PolicyError::ImpossiblePath {
                        what: format!("port {number}"),
                        path: path.clone(),
                        reason,
                    };
                    Ok(Path::parse(path).map_err(impossible)?.as_str().into())
                });
                let paths = canonical.collect::<Result<_, PolicyError>>()?;
                return Ok(PortDoor::Paths(Paths { protocol: port.protocol, paths }));
            }
            Access::Locked { locks } => locks,
        };
        let callers: Vec<&config::Caller> = routes.iter().flat_map(|(_, route)| &route.callers).collect();
        let needs_certificate =
            |lock: &config::Lock| matches!(lock, config::Lock::MutualTLS | config::Lock::Caller { .. });
        if locks.list.is_empty() {
            return Err(PolicyError::NoLocks(number));
        }
        if !port.protocol.is_http() && locks.list.iter().any(|lock| *lock != config::Lock::MutualTLS) {
            return Err(PolicyError::NoHeaders(number));
        }
        if port.transport == Transport::Plaintext && locks.list.iter().any(needs_certificate) {
            return Err(PolicyError::NoCertificates(number));
        }
        if u32::try_from(callers.len()).is_err() {
            return Err(PolicyError::TooMany(number));
        }
        let mut holders = Vec::with_capacity(callers.len());
        for (route, written) in routes {
            for caller in &written.callers {
                holders.push(self.holder(route, caller)?);
            }
        }
        let mut compiled = Vec::with_capacity(locks.list.len());
        let mut names: HashSet<HeaderName> = HashSet::new();
        for lock in &locks.list {
            let wrong = |reason| PolicyError::Header { port: number, reason };
            let lock = self.keyring.lock(lock, &callers).map_err(wrong)?;
            if let Lock::Header(header) = &lock
                && !names.insert(header.name.clone())
            {
                return Err(wrong(HeaderError::Twice(header.name.to_string())));
            }
            compiled.push(lock);
        }
        Ok(PortDoor::Locked(Box::new(Locked {
            protocol: port.protocol,
            transport: port.transport,
            enforcement: port.enforcement,
            require: locks.require,
            locks: compiled,
            holders,
            tenant: Arc::clone(tenant),
        })))
    }

    fn holder(&mut self, route: &Arc<Route>, caller: &config::Caller) -> Result<Holder, PolicyError> {
        let certificates = self.matchers(&whose(&route.name, caller), &caller.certificates)?;
        let keys = caller.pins().filter_map(|pin| {
            let key = sha256_from_hex(pin)?;
            Some((key, self.keyring.number(&format!("key:{pin}"))))
        });
        Ok(Holder {
            name: caller.name.as_str().into(),
            route: Arc::clone(route),
            keys: keys.collect(),
            certificates,
        })
    }

    fn matchers(&self, whose: &str, written: &[CertificateMatch]) -> Result<Vec<Matcher>, PolicyError> {
        let mut matchers = Vec::with_capacity(written.len());
        for certificate in written {
            let matcher = Matcher::compile(certificate)
                .map_err(|reason| PolicyError::Matcher { whose: whose.to_owned(), reason })?;
            if let Some(authority) = matcher.authority()
                && !self.authorities.contains(authority)
            {
                let (whose, authority) = (whose.to_owned(), authority.to_owned());
                return Err(PolicyError::UnknownAuthority { whose, authority });
            }
            matchers.push(matcher);
        }
        Ok(matchers)
    }

    /// Notes which keys may stand for an identity.
    fn pins(&mut self, route: &config::Route, caller: &config::Caller) -> Result<(), PolicyError> {
        self.matchers(&whose(&route.name, caller), &caller.certificates)?;
        for certificate in &caller.certificates {
            let CertificateMatch::Identity { authority, identity, keys: Some(keys) } = certificate else {
                continue;
            };
            let pinned = self.policy.pins.entry(identity.as_str().into()).or_default();
            let hashes = keys.iter().filter_map(|key| sha256_from_hex(key));
            pinned.push((authority.as_str().into(), hashes.collect()));
        }
        Ok(())
    }
}

fn whose(route: &str, caller: &config::Caller) -> String {
    format!("route {route}: {}", caller.name)
}
