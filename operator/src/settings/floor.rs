//! The administrator's floor: what every lock must do at least, whoever writes it (SECURITY 11).

use postern_config::policy::{Enforcement, Mode, Require, Transport};
use serde::Deserialize;

use crate::plan::{Door, DoorLock};

/// What is demanded of every lock. Absent: nothing beyond what the schema demands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Floor {
    /// Whether callers may come without TLS.
    #[serde(default)]
    pub plaintext: Permission,
    /// Whether a lock may look on (`enforcement: Audit`).
    #[serde(default)]
    pub audit: Permission,
    /// Whether a lock may believe authorities beside Postern's own.
    #[serde(default)]
    pub foreign_authorities: Permission,
    /// Modes that a lock of type Caller may have. Empty: each.
    #[serde(default)]
    pub modes: Vec<Mode>,
    /// Types of locks, one of which nobody may get around. Empty: any will do.
    #[serde(default)]
    pub lock_types: Vec<LockKind>,
}

/// Whether something may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Permission {
    /// It may.
    #[default]
    Allow,
    /// It may not.
    Deny,
}

/// The type of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum LockKind {
    /// A client certificate of Postern's.
    MutualTLS,
    /// HTTP Basic.
    Basic,
    /// A secret header.
    Header,
    /// Callers with a name.
    Caller,
}

impl Floor {
    /// What a door lacks, as the end of a sentence that begins with its place.
    pub fn objection(&self, door: &Door) -> Option<String> {
        if self.plaintext == Permission::Deny && door.transport == Transport::Plaintext {
            return Some(
                "has transport: Plaintext, which the platform's administrator forbids (floor.plaintext in the chart's \
                 values): write transport: TLS"
                    .to_owned(),
            );
        }
        if self.audit == Permission::Deny && door.enforcement == Enforcement::Audit {
            return Some(
                "has enforcement: Audit, by which nobody is kept out, and which the platform's administrator forbids \
                 (floor.audit in the chart's values): write enforcement: Enforce"
                    .to_owned(),
            );
        }
        if let Some(mode) = door.caller().map(|caller| caller.mode)
            && !self.modes.is_empty()
            && !self.modes.contains(&mode)
        {
            let names: Vec<_> = self.modes.iter().map(|mode| format!("{mode:?}")).collect();
            return Some(format!(
                "has a lock of type Caller in mode {mode:?}, and the platform's administrator allows {} alone (floor.modes \
                 in the chart's values): write such a mode",
                names.join(", ")
            ));
        }
        let counts = |lock: &DoorLock| self.lock_types.contains(&LockKind::of(lock));
        let enough = match door.require {
            Require::All => door.locks.iter().any(counts),
            Require::Any => door.locks.iter().all(counts),
        };
        if self.lock_types.is_empty() || enough {
            return None;
        }
        let names: Vec<_> = self.lock_types.iter().map(|kind| format!("{kind:?}")).collect();
        Some(format!(
            "can be opened by {door}, and the platform's administrator demands one of {} (floor.lockTypes in the chart's \
             values): add such a lock to all",
            names.join(", ")
        ))
    }
}

impl LockKind {
    const fn of(lock: &DoorLock) -> Self {
        match lock {
            DoorLock::MutualTLS => Self::MutualTLS,
            DoorLock::Basic(_) => Self::Basic,
            DoorLock::Header(_) => Self::Header,
            DoorLock::Caller(_) => Self::Caller,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_config::policy::Upstream;

    use crate::plan::{CallerPlan, HeaderPlan};

    #[test]
    fn a_lock_below_the_floor_is_named() {
        let header = || DoorLock::Header(HeaderPlan { name: "X-Key".to_owned(), own: None });
        let door = |require, locks, transport| Door { require, locks, transport, ..Door::mutual_tls() };
        let floor = |plaintext, lock_types: &[LockKind]| Floor {
            plaintext,
            lock_types: lock_types.to_vec(),
            ..Floor::default()
        };
        let both = || vec![DoorLock::MutualTLS, header()];
        for (floor, door, fine) in [
            (Floor::default(), door(Require::All, vec![header()], Transport::Plaintext), true),
            (floor(Permission::Deny, &[]), door(Require::All, vec![header()], Transport::Plaintext), false),
            (floor(Permission::Deny, &[]), door(Require::All, vec![header()], Transport::TLS), true),
            (
                floor(Permission::Allow, &[LockKind::MutualTLS]),
                door(Require::All, both(), Transport::TLS),
                true,
            ),
            (
                floor(Permission::Allow, &[LockKind::MutualTLS]),
                door(Require::Any, both(), Transport::TLS),
                false,
            ),
            (
                floor(Permission::Allow, &[LockKind::MutualTLS, LockKind::Header]),
                door(Require::Any, both(), Transport::TLS),
                true,
            ),
            (
                floor(Permission::Allow, &[LockKind::Basic]),
                door(Require::All, vec![header()], Transport::TLS),
                false,
            ),
        ] {
            assert_eq!(floor.objection(&door).is_none(), fine, "{floor:?} {door:?}");
        }
        let audit = Door { enforcement: Enforcement::Audit, ..Door::mutual_tls() };
        let caller = |mode| Door {
            locks: vec![DoorLock::Caller(CallerPlan {
                mode,
                header_name: "Authorization".to_owned(),
                upstream: Upstream::Strip,
            })],
            ..Door::mutual_tls()
        };
        let strict =
            Floor { audit: Permission::Deny, modes: vec![Mode::Force, Mode::Exclusive], ..Floor::default() };
        for (door, fine) in [
            (&audit, false),
            (&caller(Mode::Default), false),
            (&caller(Mode::Force), true),
            (&caller(Mode::Exclusive), true),
        ] {
            assert_eq!(strict.objection(door).is_none(), fine, "{door:?}");
            assert_eq!(Floor::default().objection(door), None, "{door:?}");
        }
    }
}
