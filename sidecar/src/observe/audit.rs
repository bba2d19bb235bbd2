//! What audited ports let through although a lock says no.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

use postern_config::loaded::Audited;

use crate::authorize::Code;

/// Callers that are named, of those who would have been denied.
const NAMED: usize = 10;
/// Longest name, in bytes.
const NAME: usize = 200;

/// Counts by container port; shared by all workers.
#[derive(Debug, Default)]
pub struct Audits {
    ports: Mutex<BTreeMap<u16, Audited>>,
}

impl Audits {
    /// These ports are audited from now on (seconds since the epoch), and no others. A port that was audited before
    /// keeps its counts.
    pub fn watch(&self, ports: impl IntoIterator<Item = u16>, now: i64) {
        let mut counts = self.lock();
        let before = std::mem::take(&mut *counts);
        for port in ports {
            let fresh = || Audited { since: now, ..Audited::default() };
            counts.insert(port, before.get(&port).cloned().unwrap_or_else(fresh));
        }
    }

    /// A call to an audited port went through that would have been denied. `who`: an identity, or an address.
    pub fn would_deny(&self, port: u16, who: &dyn Display, code: Code, now: i64) {
        let mut counts = self.lock();
        let Some(audited) = counts.get_mut(&port) else { return };
        audited.would_deny = audited.would_deny.saturating_add(1);
        audited.last = Some(now);
        let caller = format!("{}: {}", crate::text::clip(&who.to_string(), NAME), code.as_str());
        if audited.callers.last() == Some(&caller) {
            return;
        }
        audited.callers.retain(|known| *known != caller);
        if audited.callers.len() >= NAMED {
            audited.callers.remove(0);
        }
        audited.callers.push(caller);
    }

    /// For the operator.
    pub fn counts(&self) -> BTreeMap<u16, Audited> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u16, Audited>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_would_be_denied_is_counted_and_named() {
        let audits = Audits::default();
        audits.would_deny(80, &"early", Code::NoRoute, 1);
        audits.watch([80, 81], 5);
        for number in 0..12 {
            audits.would_deny(80, &format!("caller-{number}"), Code::NoRoute, 10 + number);
        }
        audits.would_deny(80, &"caller-5", Code::NoRoute, 30);
        let counts = audits.counts();
        let audited = &counts[&80];
        assert_eq!((audited.would_deny, audited.last, audited.since), (13, Some(30), 5));
        assert_eq!(audited.callers.len(), NAMED);
        assert_eq!(audited.callers.last().unwrap(), "caller-5: NoRoute");
        assert_eq!(audited.callers.first().unwrap(), "caller-2: NoRoute");
        assert_eq!(counts[&81], Audited { since: 5, ..Audited::default() });

        audits.watch([80], 50);
        assert_eq!(audits.counts().keys().collect::<Vec<_>>(), [&80]);
        assert_eq!((audits.counts()[&80].since, audits.counts()[&80].would_deny), (5, 13));
        audits.watch([], 60);
        audits.watch([80], 70);
        assert_eq!(audits.counts()[&80], Audited { since: 70, ..Audited::default() });
    }
}
