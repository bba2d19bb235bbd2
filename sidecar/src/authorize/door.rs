//! What is in front of one port, compiled.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use postern_config::policy::{Enforcement, Mode, Protocol, Require, Transport, Upstream};

use super::denial::{Code, Denial};
use super::locks::Shown;
use super::policy::KeyHash;
use super::route::Route;
use crate::credentials::{Secrets, Users};
use crate::identify::matcher::Matcher;

/// What is in front of one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Bytes pass as they are.
    Open,
    /// GET and HEAD of some paths pass, over plain HTTP/1.1, to an application that speaks this.
    Paths(Protocol),
    /// Locks, then what the application speaks.
    Locked(Protocol),
}

/// A door with locks, and everybody who has a route to its port.
#[derive(Debug)]
pub struct Locked {
    /// What the application speaks.
    pub protocol: Protocol,
    /// How callers come.
    pub transport: Transport,
    /// Whether a denial is carried out.
    pub enforcement: Enforcement,
    pub(super) require: Require,
    pub(super) locks: Vec<Lock>,
    /// Callers of routes. A caller's number is its place here.
    pub(super) holders: Vec<Holder>,
    /// Certificates that all callers share.
    pub(super) tenant: Arc<[Matcher]>,
}

/// One caller of one route.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) name: Box<str>,
    pub(super) route: Arc<Route>,
    pub(super) certificates: Vec<Matcher>,
    /// Its pinned keys, each with its number in the table of last uses.
    pub(super) keys: Vec<(KeyHash, u32)>,
}

/// One of a door's locks.
#[derive(Debug)]
pub enum Lock {
    /// It looks at the connection's certificate.
    MutualTls,
    /// It looks at a header, and beside it perhaps at the certificate.
    Header(HeaderLock),
}

/// A lock that a header opens.
#[derive(Debug)]
pub struct HeaderLock {
    /// The header.
    pub name: HeaderName,
    /// What it holds.
    pub kind: HeaderKind,
    /// Whether the application sees it.
    pub upstream: Upstream,
    /// What a 401 says, for credentials.
    pub(super) challenge: Option<HeaderValue>,
    /// By what it is checked; its places are those of `secrets`.
    pub(super) checks: Checks,
    /// By the place of a secret in this lock's list.
    pub(super) secrets: Vec<Secret>,
}

/// By what a header's value is checked.
#[derive(Debug)]
pub enum Checks {
    /// As credentials.
    Users(Arc<Users>),
    /// As it is.
    Secrets(Secrets),
}

/// What a lock's header holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderKind {
    /// Basic credentials.
    Basic,
    /// A value that only the caller knows.
    Secret,
    /// Basic credentials of a caller with a name.
    Caller(Mode),
}

/// One secret, without the secret.
#[derive(Clone, Debug)]
pub(super) struct Secret {
    pub(super) whose: Whose,
    /// Equal for two secrets that the same header value fits, whatever they are called.
    pub(super) print: [u8; 32],
    /// Its number in the table of last uses.
    pub(super) seen: u32,
}

/// For whom a secret stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// For whichever caller the other locks leave.
    Anybody,
    /// For the caller of this number.
    Holder(u32),
}

/// What becomes of client certificates in a port's handshakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientCertificate {
    /// Nobody is asked for one.
    Unwanted,
    /// Whoever has one may show it; what is shown must be accepted.
    Requested,
    /// Nobody gets in without one.
    Demanded,
    /// Whoever has one may show it; what is shown is judged, and the judgement kept.
    Recorded,
}

impl Locked {
    /// The locks, in the order of the policy.
    pub fn locks(&self) -> &[Lock] {
        &self.locks
    }

    /// Whether any lock looks at a header.
    pub fn looks_at_headers(&self) -> bool {
        self.header_locks().next().is_some()
    }

    /// The locks that look at a header.
    pub fn header_locks(&self) -> impl Iterator<Item = &HeaderLock> {
        self.locks.iter().filter_map(|lock| match lock {
            Lock::MutualTls => None,
            Lock::Header(header) => Some(header),
        })
    }

    /// What becomes of client certificates: demanded if no request could be let in without one, else asked for if
    /// some lock can make use of one.
    pub fn client_certificate(&self) -> ClientCertificate {
        if self.enforcement == Enforcement::Audit {
            return ClientCertificate::Recorded;
        }
        self.client_certificate_enforced()
    }

    /// The same, were denials carried out.
    pub(super) fn client_certificate_enforced(&self) -> ClientCertificate {
        let is_demanded = match self.require {
            Require::All => self.locks.iter().any(Lock::demands_certificate),
            Require::Any => self.locks.iter().all(Lock::demands_certificate),
        };
        if is_demanded {
            ClientCertificate::Demanded
        } else if self.locks.iter().any(Lock::uses_certificate) {
            ClientCertificate::Requested
        } else {
            ClientCertificate::Unwanted
        }
    }

    /// Whether nobody is let in but callers whose own the certificate is.
    pub(super) fn demands_own(&self) -> bool {
        self.require == Require::All && self.locks.iter().any(|lock| matches!(lock, Lock::MutualTls))
    }

    /// Whether TLS is spoken on this port.
    pub fn takes_tls(&self) -> bool {
        self.transport == Transport::TLS || self.tells_apart()
    }

    /// Whether HTTP without TLS is let in as far as a request.
    pub fn takes_plaintext(&self) -> bool {
        self.transport == Transport::Plaintext || self.tells_apart()
    }

    /// Whether TLS and plaintext are told apart by a connection's first bytes.
    pub fn tells_apart(&self) -> bool {
        self.enforcement == Enforcement::Audit && self.protocol.is_http()
    }

    /// Whether a request goes through although it is denied with this code.
    pub fn spares(&self, code: Code) -> bool {
        self.enforcement == Enforcement::Audit && code.is_let_through_in_audit()
    }

    /// Why an audited connection would not have come as far as a request.
    pub(super) fn would_not_connect(&self, shown: &Shown<'_>) -> Option<Denial> {
        if self.enforcement == Enforcement::Enforce {
            // It didn't.
            return None;
        }
        match (self.transport, shown.transport) {
            (Transport::TLS, Transport::Plaintext) if !self.demands_certificate() => Some(Denial::new(
                Code::PlaintextRefused,
                "the caller came without TLS, and this port has a lock",
            )),
            (Transport::Plaintext, Transport::TLS) => Some(Denial::new(
                Code::HandshakeFailed,
                "the caller came by TLS, and this port takes plaintext",
            )),
            _ if self.client_certificate_enforced() == ClientCertificate::Unwanted => None,
            _ => shown.refused.cloned(),
        }
    }

    fn demands_certificate(&self) -> bool {
        self.client_certificate_enforced() == ClientCertificate::Demanded
    }

    /// Whether two doors have the same locks, transport and enforcement.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        let alike = |(one, other): (&Lock, &Lock)| match (one, other) {
            (Lock::MutualTls, Lock::MutualTls) => true,
            (Lock::Header(one), Lock::Header(other)) => {
                let prints = |lock: &HeaderLock| -> Vec<[u8; 32]> {
                    lock.secrets.iter().map(|secret| secret.print).collect()
                };
                one.name == other.name
                    && one.kind == other.kind
                    && one.upstream == other.upstream
                    && prints(one) == prints(other)
            }
            _ => false,
        };
        self.transport == other.transport
            && self.enforcement == other.enforcement
            && self.require == other.require
            && self.locks.len() == other.locks.len()
            && self.locks.iter().zip(&other.locks).all(alike)
    }
}

impl HeaderLock {
    /// By what it is checked.
    pub fn checks(&self) -> &Checks {
        &self.checks
    }
}

impl Lock {
    const fn demands_certificate(&self) -> bool {
        match self {
            Self::MutualTls => true,
            Self::Header(header) => matches!(header.kind, HeaderKind::Caller(Mode::Exclusive)),
        }
    }

    const fn uses_certificate(&self) -> bool {
        match self {
            Self::MutualTls => true,
            Self::Header(header) => matches!(header.kind, HeaderKind::Caller(_)),
        }
    }
}
