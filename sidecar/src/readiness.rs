//! Whether this sidecar may be sent traffic, and if not, what it waits for.
//!
//! Each part that must be in order first holds a [`Pending`] guard; dropping it says that the part is done, but
//! for a panic, after which it never is.
//! Notices are shown beside the answer without changing it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared by everything that starts, reloads or drains; clones are the same object.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    pending: BTreeMap<&'static str, String>,
    notices: BTreeMap<&'static str, String>,
}

/// What `/readyz` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Nothing is pending.
    pub ready: bool,
    /// One line per part that is pending or noteworthy; `ready` alone if there is none.
    pub detail: String,
}

/// Holds readiness back until it is dropped; for good if that is by a panic.
#[derive(Debug)]
#[must_use = "readiness is held back only while this lives"]
pub struct Pending {
    readiness: Readiness,
    part: &'static str,
}

impl Readiness {
    /// Nothing pending: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Holds readiness back for `part`, with the reason in words.
    pub fn pending(&self, part: &'static str, reason: impl Into<String>) -> Pending {
        self.lock().pending.insert(part, reason.into());
        Pending { readiness: self.clone(), part }
    }

    /// Shows `text` beside the answer, or nothing more about `part`.
    pub fn notice(&self, part: &'static str, text: Option<String>) {
        let mut state = self.lock();
        match text {
            Some(text) => state.notices.insert(part, text),
            None => state.notices.remove(part),
        };
    }

    /// The answer as of now.
    pub fn report(&self) -> Report {
        let state = self.lock();
        let ready = state.pending.is_empty();
        let mut detail = String::from(if ready { "ready\n" } else { "not ready\n" });
        for (part, reason) in state.pending.iter().chain(&state.notices) {
            // Writing to a String cannot fail.
            let _ = writeln!(detail, "{part}: {reason}");
        }
        Report { ready, detail }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// Replaces the reason, as long as the part is pending.
    pub fn because(&self, reason: impl Into<String>) {
        self.readiness.lock().pending.insert(self.part, reason.into());
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut state = self.readiness.lock();
        // Whoever was to bring the part in order has come to grief: it never will be.
        if std::thread::panicking() {
            state.pending.insert(self.part, "ended by a fault of the sidecar's own; see its log".to_owned());
        } else {
            state.pending.remove(self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_once_every_guard_is_dropped() {
        let readiness = Readiness::new();
        assert!(readiness.report().ready);
        let first = readiness.pending("configuration", "no bundle yet");
        let second = readiness.pending("listener", "not bound");
        drop(second);
        first.because("unsigned");
        let report = readiness.report();
        assert!(!report.ready);
        assert_eq!(report.detail, "not ready\nconfiguration: unsigned\n");
        drop(first);
        readiness.notice("reload", Some("older bundle refused".to_owned()));
        assert_eq!(
            readiness.report(),
            Report { ready: true, detail: "ready\nreload: older bundle refused\n".to_owned() }
        );
        readiness.notice("reload", None);
        assert_eq!(readiness.report().detail, "ready\n");
    }

    #[test]
    fn a_panic_is_no_reason_to_be_ready() {
        let readiness = Readiness::new();
        let pending = readiness.pending("configuration", "no bundle yet");
        let outcome = std::thread::spawn(move || {
            let _pending = pending;
            panic!("as the test wants it");
        })
        .join();
        assert!(outcome.is_err());
        let report = readiness.report();
        assert!(!report.ready && report.detail.contains("fault"), "{report:?}");
    }
}
