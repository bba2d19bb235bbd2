//! How long to wait for what takes its time: kubelets, sidecars, the API server's policies.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::inputs::LockKey;

/// The first pauses follow the lock closely, later ones leave it alone.
const FIRST: Duration = Duration::from_millis(300);
const LONGEST: Duration = Duration::from_secs(30);
/// After so many looks the kubelets are told once more, in case one looked before the Secret had come to it.
const NUDGE_EVERY: u32 = 5;

#[derive(Clone, Copy, Debug, Default)]
struct Wait {
    /// Looks in a row that found something missing.
    looks: u32,
    /// Since when pods are waited for.
    since: Option<Instant>,
}

/// What is being waited for, by lock.
#[derive(Debug, Default)]
pub struct Patience {
    waits: Mutex<HashMap<LockKey, Wait>>,
    /// Since when nothing could be said about a lock.
    failing: Mutex<HashMap<LockKey, Instant>>,
}

impl Patience {
    /// A configuration was written just now: the pods are to take it up.
    pub fn begin(&self, key: &LockKey) {
        let wait = Wait { looks: 0, since: Some(Instant::now()) };
        self.lock().insert(key.clone(), wait);
    }

    /// All pods have taken it up; returns how long that took, once.
    pub fn end(&self, key: &LockKey) -> Option<Duration> {
        self.lock().get_mut(key)?.since.take().map(|since| since.elapsed())
    }

    /// The pause before the next look.
    pub fn next(&self, key: &LockKey) -> Duration {
        let mut waits = self.lock();
        let wait = waits.entry(key.clone()).or_default();
        wait.looks = wait.looks.saturating_add(1);
        // 0.3 s for the first two seconds, then ever slower.
        let doublings = wait.looks.saturating_sub(7).min(16);
        FIRST.saturating_mul(1 << doublings).min(LONGEST)
    }

    /// How often the kubelets have been told in vain.
    pub fn nudge(&self, key: &LockKey) -> u32 {
        self.lock().get(key).map_or(0, |wait| wait.looks / NUDGE_EVERY)
    }

    /// The lock could not be looked at. Returns for how long that has been so.
    pub fn failed(&self, key: &LockKey) -> Duration {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.entry(key.clone()).or_insert_with(Instant::now).elapsed()
    }

    /// The lock has been looked at.
    pub fn succeeded(&self, key: &LockKey) {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Nothing is waited for any more.
    pub fn calm(&self, key: &LockKey) {
        if let Some(wait) = self.lock().get_mut(key) {
            wait.looks = 0;
        }
    }

    /// The lock is gone.
    pub fn forget(&self, key: &LockKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<LockKey, Wait>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> LockKey {
        LockKey { namespace: "shop".to_owned(), name: "orders".to_owned() }
    }

    #[test]
    fn closely_at_first_then_ever_slower_and_anew_after_a_change() {
        let patience = Patience::default();
        let pauses: Vec<_> = (0..16).map(|_| patience.next(&key()).as_millis()).collect();
        assert_eq!(pauses[..9], [300, 300, 300, 300, 300, 300, 300, 600, 1200]);
        assert_eq!(pauses[15], 30_000);
        patience.begin(&key());
        assert_eq!(patience.next(&key()).as_millis(), 300);
    }

    #[test]
    fn kubelets_are_told_again_when_it_takes_long() {
        let patience = Patience::default();
        let nudges: Vec<_> = (0..11)
            .map(|_| {
                patience.next(&key());
                patience.nudge(&key())
            })
            .collect();
        assert_eq!(nudges, [0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2]);
        patience.calm(&key());
        assert_eq!(patience.nudge(&key()), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_lasts_until_the_next_success() {
        let patience = Patience::default();
        assert_eq!(patience.failed(&key()), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(patience.failed(&key()), Duration::from_secs(5));
        patience.succeeded(&key());
        assert_eq!(patience.failed(&key()), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_pods_took_is_told_once() {
        let patience = Patience::default();
        patience.begin(&key());
        tokio::time::advance(Duration::from_millis(700)).await;
        patience.calm(&key());
        assert_eq!(patience.end(&key()), Some(Duration::from_millis(700)));
        assert_eq!(patience.end(&key()), None);
    }
}
