//! The door of a port: which locks the trust wants there, and whether they can stand there.

use postern_config::policy::{Enforcement, Mode, Protocol, Require, Transport, Upstream};
use postern_crds::backend_trust::Port;
use postern_crds::locks::{self, LockType};
use postern_crds::rollout;
use postern_crds::{BackendTrust, ConditionType, Reason};

use crate::plan::{BasicPlan, BasicSource, CallerPlan, Door, DoorLock, HeaderPlan, Refusal};
use crate::settings::Floor;

#[cfg(test)]
mod tests;

/// The header that carries credentials where nothing else is said.
pub const AUTHORIZATION: &str = "Authorization";
/// The secret header where nothing else is said.
pub const DEFAULT_HEADER: &str = "X-Postern-Key";

/// The door of a port, or of every port that `spec.ports` doesn't list.
pub fn door(trust: &BackendTrust, port: Option<&Port>) -> Door {
    let spec = &trust.spec;
    let locks = port.and_then(|port| port.locks.as_ref()).or(spec.locks.as_ref());
    let transport = port.and_then(|port| port.transport).or(spec.transport).unwrap_or_default();
    let (require, list) = match locks {
        Some(locks) if !locks.all.is_empty() => (Require::All, locks.all.as_slice()),
        Some(locks) if !locks.any.is_empty() => (Require::Any, locks.any.as_slice()),
        _ => (Require::All, [].as_slice()),
    };
    let mut list: Vec<_> = list.iter().map(lock).collect();
    if list.is_empty() {
        list.push(DoorLock::MutualTLS);
    }
    Door {
        require,
        locks: list,
        transport: match transport {
            locks::Transport::TLS => Transport::TLS,
            locks::Transport::Plaintext => Transport::Plaintext,
        },
        enforcement: match port.and_then(|port| port.enforcement).or(spec.enforcement).unwrap_or_default() {
            rollout::Enforcement::Enforce => Enforcement::Enforce,
            rollout::Enforcement::Audit => Enforcement::Audit,
        },
    }
}

fn lock(lock: &locks::Lock) -> DoorLock {
    match lock.type_ {
        LockType::MutualTLS => DoorLock::MutualTLS,
        LockType::Basic => {
            let basic = lock.basic.clone().unwrap_or_default();
            DoorLock::Basic(BasicPlan {
                header_name: basic.header_name.unwrap_or_else(|| AUTHORIZATION.to_owned()),
                upstream: upstream(basic.upstream),
                source: match (basic.credentials_ref, basic.users_ref) {
                    (_, Some(users)) => BasicSource::Users { secret: users.name },
                    (Some(own), None) => BasicSource::Own { secret: own.name },
                    (None, None) => BasicSource::Generated,
                },
            })
        }
        LockType::Header => {
            let header = lock.header.clone().unwrap_or_default();
            DoorLock::Header(HeaderPlan {
                name: header.name.unwrap_or_else(|| DEFAULT_HEADER.to_owned()),
                own: header.value_ref.map(|value| (value.name, value.key)),
            })
        }
        LockType::Caller => {
            let caller = lock.caller.clone().unwrap_or_default();
            DoorLock::Caller(CallerPlan {
                mode: match caller.mode.unwrap_or_default() {
                    locks::Mode::Default => Mode::Default,
                    locks::Mode::Force => Mode::Force,
                    locks::Mode::Exclusive => Mode::Exclusive,
                },
                header_name: caller.header_name.unwrap_or_else(|| AUTHORIZATION.to_owned()),
                upstream: upstream(caller.upstream),
            })
        }
    }
}

fn upstream(upstream: Option<locks::Upstream>) -> Upstream {
    match upstream.unwrap_or_default() {
        locks::Upstream::Strip => Upstream::Strip,
        locks::Upstream::Keep => Upstream::Keep,
    }
}

/// Why a door can't stand before a port that speaks `protocol`, if it can't. `place` begins the message: `port http`.
pub fn objection(door: &Door, place: &str, protocol: Protocol, floor: &Floor) -> Option<Refusal> {
    let accepted = |reason, message| Some(Refusal::new(ConditionType::Accepted, reason, message));
    if let Some(header) = claimed_twice(door) {
        return accepted(
            Reason::HeaderConflict,
            format!("{place}: two of its locks claim the header {header}: give one of them another name"),
        );
    }
    if !protocol.is_http() && door.locks != [DoorLock::MutualTLS] {
        return accepted(
            Reason::LockNotPossible,
            format!(
                "{place} speaks {protocol:?}, which carries no headers, so mutual TLS is the one lock for it, and it has \
                 {door}: list the port with locks: {{all: [{{type: MutualTLS}}]}}"
            ),
        );
    }
    if door.transport == Transport::Plaintext && door.knows_certificates() {
        return accepted(
            Reason::LockNotPossible,
            format!(
                "{place} has the lock {door} and transport: Plaintext, by which nobody can show a certificate: write \
                 transport: TLS, or locks of type Basic and Header alone"
            ),
        );
    }
    floor.objection(door).and_then(|what| accepted(Reason::BelowFloor, format!("{place} {what}")))
}

fn claimed_twice(door: &Door) -> Option<&str> {
    let names = door.locks.iter().filter_map(|lock| match lock {
        DoorLock::MutualTLS => None,
        DoorLock::Basic(basic) => Some(basic.header_name.as_str()),
        DoorLock::Header(header) => Some(header.name.as_str()),
        DoorLock::Caller(caller) => Some(caller.header_name.as_str()),
    });
    let names: Vec<&str> = names.collect();
    let twice =
        |at: usize, name: &str| names.iter().skip(at + 1).any(|other| other.eq_ignore_ascii_case(name));
    names.iter().enumerate().find(|(at, name)| twice(*at, name)).map(|(_, name)| *name)
}
