//! What stands before a port: nothing, or locks.

use std::fmt;

use postern_config::policy::{Access, Enforcement, Lock, Locks, Mode, Require, Transport, Upstream};

/// What a port is guarded by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortAccess {
    /// Nothing.
    Open(OpenPlan),
    /// Locks.
    Locked(Door),
}

/// A port without a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenPlan {
    /// Why, in the words of the lock's author.
    pub reason: String,
    /// Exactly these paths; empty: whatever is sent.
    pub paths: Vec<String>,
}

/// Locks, and how callers come to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// How many of them must open.
    pub require: Require,
    /// At least one, each type at most once.
    pub locks: Vec<DoorLock>,
    /// How callers come to it.
    pub transport: Transport,
    /// Whether a denial is carried out: in [`super::LockPlan::ports`] now, elsewhere as the lock's author wants it.
    pub enforcement: Enforcement,
}

/// One lock of a door. Header names are as their author writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DoorLock {
    /// A client certificate of Postern's.
    MutualTLS,
    /// HTTP Basic.
    Basic(BasicPlan),
    /// A secret header.
    Header(HeaderPlan),
    /// Callers with a name.
    Caller(CallerPlan),
}

/// HTTP Basic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicPlan {
    /// The header that carries the credentials.
    pub header_name: String,
    /// Whether the application sees it.
    pub upstream: Upstream,
    /// Whose credentials open.
    pub source: BasicSource,
}

/// Whose credentials open a Basic lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BasicSource {
    /// The gateway's, generated for each route.
    Generated,
    /// The gateway's, from this Secret.
    Own {
        /// Its name.
        secret: String,
    },
    /// Those of users, which gateways pass on, from this Secret.
    Users {
        /// Its name.
        secret: String,
    },
}

/// A secret header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPlan {
    /// Its name.
    pub name: String,
    /// The Secret and the key in it that hold the value; absent: it is generated for each route and gateway.
    pub own: Option<(String, String)>,
}

/// Callers with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerPlan {
    /// What must be presented together.
    pub mode: Mode,
    /// The header that carries credentials.
    pub header_name: String,
    /// Whether the application sees it.
    pub upstream: Upstream,
}

impl PortAccess {
    /// The door, if there is one.
    pub const fn door(&self) -> Option<&Door> {
        match self {
            Self::Open(_) => None,
            Self::Locked(door) => Some(door),
        }
    }

    /// Whether there is no lock.
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// As the policy has it, with nobody's credentials in it.
    pub fn policy(&self) -> Access {
        match self {
            Self::Open(open) => Access::Open { reason: open.reason.clone(), paths: open.paths.clone() },
            Self::Locked(door) => Access::Locked { locks: door.policy() },
        }
    }
}

impl Door {
    /// Mutual TLS.
    pub fn mutual_tls() -> Self {
        Self {
            require: Require::All,
            locks: vec![DoorLock::MutualTLS],
            transport: Transport::TLS,
            enforcement: Enforcement::Enforce,
        }
    }

    /// The Basic lock, if there is one.
    pub fn basic(&self) -> Option<&BasicPlan> {
        self.locks.iter().find_map(|lock| match lock {
            DoorLock::Basic(basic) => Some(basic),
            _ => None,
        })
    }

    /// The secret header, if there is one.
    pub fn header(&self) -> Option<&HeaderPlan> {
        self.locks.iter().find_map(|lock| match lock {
            DoorLock::Header(header) => Some(header),
            _ => None,
        })
    }

    /// The lock of callers with a name, if there is one.
    pub fn caller(&self) -> Option<&CallerPlan> {
        self.locks.iter().find_map(|lock| match lock {
            DoorLock::Caller(caller) => Some(caller),
            _ => None,
        })
    }

    /// Whether a client certificate can be of use.
    pub fn knows_certificates(&self) -> bool {
        self.locks.iter().any(|lock| matches!(lock, DoorLock::MutualTLS | DoorLock::Caller(_)))
    }

    fn policy(&self) -> Locks {
        let list = self.locks.iter().map(|lock| match lock {
            DoorLock::MutualTLS => Lock::MutualTLS,
            DoorLock::Basic(basic) => Lock::Basic {
                header_name: basic.header_name.to_ascii_lowercase(),
                upstream: basic.upstream,
                users: matches!(basic.source, BasicSource::Users { .. }).then(Vec::new),
            },
            DoorLock::Header(header) => Lock::Header { name: header.name.to_ascii_lowercase() },
            DoorLock::Caller(caller) => Lock::Caller {
                mode: caller.mode,
                header_name: caller.header_name.to_ascii_lowercase(),
                upstream: caller.upstream,
            },
        });
        Locks { require: self.require, list: list.collect() }
    }
}

/// As the columns have it: `mTLS`, `mTLS+Header` for all of them, `Basic|Header` for one of them.
impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = match self.require {
            Require::All => "+",
            Require::Any => "|",
        };
        for (at, lock) in self.locks.iter().enumerate() {
            if at > 0 {
                f.write_str(separator)?;
            }
            f.write_str(match lock {
                DoorLock::MutualTLS => "mTLS",
                DoorLock::Basic(_) => "Basic",
                DoorLock::Header(_) => "Header",
                DoorLock::Caller(_) => "Caller",
            })?;
        }
        Ok(())
    }
}
