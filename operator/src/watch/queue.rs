//! Which locks are due, when, and that none is worked on twice at a time.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::stream::FuturesUnordered;
use kube::runtime::scheduler::{ScheduleRequest, scheduler};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::inputs::LockKey;

/// Changes that come together (a rollout, a `kubectl apply` of both kinds) make one reconcile.
const GATHERING: Duration = Duration::from_millis(20);
/// Locks worked on at the same time.
const CONCURRENCY: usize = 16;
/// Further ones, which only an urgent look may take: what takes rights away never waits for what gives them.
const RESERVED: usize = 4;
/// First and longest pause after an error.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));

/// What follows from one reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Look again after this time even if nothing changes.
    After(Duration),
    /// Look again only when something changes.
    OnChange,
    /// It failed; look again after a pause that grows with each failure in a row.
    Retry,
}

/// The way to wake a lock. Cloning shares the queue.
#[derive(Clone)]
pub struct Waker {
    requests: UnboundedSender<ScheduleRequest<LockKey>>,
    urgent: UnboundedSender<ScheduleRequest<LockKey>>,
}

/// The other end of [`Waker`].
pub struct Queue {
    waker: Waker,
    requests: UnboundedReceiver<ScheduleRequest<LockKey>>,
    urgent: UnboundedReceiver<ScheduleRequest<LockKey>>,
}

/// How soon a lock must be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Before all that is not urgent: somebody may have lost a right.
    First,
    /// When its turn comes.
    InTurn,
}

impl Waker {
    /// The lock is looked at soon.
    pub fn wake(&self, key: LockKey, urgency: Urgency) {
        match urgency {
            Urgency::First => request(&self.urgent, key, GATHERING),
            Urgency::InTurn => self.wake_after(key, GATHERING),
        }
    }

    /// The lock is looked at after `delay`, or earlier if something else asks for it.
    fn wake_after(&self, key: LockKey, delay: Duration) {
        // Delays beyond a month make no difference, and the timer has a limit.
        request(&self.requests, key, delay.min(Duration::from_secs(30 * 24 * 3600)));
    }
}

fn request(requests: &UnboundedSender<ScheduleRequest<LockKey>>, key: LockKey, delay: Duration) {
    // The receiver is gone only when reconciling has stopped.
    drop(requests.unbounded_send(ScheduleRequest { message: key, run_at: Instant::now() + delay }));
}

impl Default for Queue {
    fn default() -> Self {
        let ((sender, requests), (urgent_sender, urgent)) = (unbounded(), unbounded());
        Self { waker: Waker { requests: sender, urgent: urgent_sender }, requests, urgent }
    }
}

impl Queue {
    /// A handle by which locks get in.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Calls `work` for each lock that is due until `stop`; what is being done then is finished first.
    pub async fn run<F: Future<Output = Next>>(self, stop: CancellationToken, work: impl Fn(LockKey) -> F) {
        let Self { waker, requests, urgent } = self;
        let mut due = pin!(scheduler(requests));
        let mut urgent = pin!(scheduler(urgent));
        let mut active = HashSet::new();
        let mut failures = HashMap::new();
        let mut running = FuturesUnordered::new();
        while !(stop.is_cancelled() && running.is_empty()) {
            let going = !stop.is_cancelled();
            let free = active.len() < CONCURRENCY && going;
            let room = active.len() < CONCURRENCY + RESERVED && going;
            let mut next_due = due.as_mut().hold_unless(|key| !active.contains(key));
            let mut next_urgent = urgent.as_mut().hold_unless(|key| !active.contains(key));
            tokio::select! {
                biased;
                Some((key, next)) = running.next() => {
                    active.remove(&key);
                    if let Some(delay) = pause(&mut failures, &key, next) {
                        waker.wake_after(key, delay);
                    }
                }
                Some(key) = async { tokio::select! {
                    biased;
                    Some(key) = next_urgent.next(), if room => Some(key),
                    Some(key) = next_due.next(), if free => Some(key),
                    else => None,
                } }, if room => {
                    active.insert(key.clone());
                    let work = work(key.clone());
                    running.push(async move { (key, work.await) });
                }
                () = stop.cancelled(), if going => {}
            }
        }
    }
}

/// How long to wait before the next look, if one is due by itself.
fn pause(failures: &mut HashMap<LockKey, u32>, key: &LockKey, next: Next) -> Option<Duration> {
    match next {
        Next::Retry => {
            let count = failures.entry(key.clone()).or_insert(0);
            let delay = BACKOFF.0.saturating_mul(1 << (*count).min(16)).min(BACKOFF.1);
            *count += 1;
            Some(delay)
        }
        Next::After(delay) => {
            failures.remove(key);
            Some(delay)
        }
        Next::OnChange => {
            failures.remove(key);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::{Notify, mpsc};

    use super::*;

    fn key(name: &str) -> LockKey {
        LockKey { namespace: "shop".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn failures_in_a_row_wait_longer_up_to_a_minute() {
        let (mut failures, key) = (HashMap::new(), key("orders"));
        let seconds: Vec<_> = (0..11)
            .filter_map(|_| pause(&mut failures, &key, Next::Retry))
            .map(|delay| delay.as_secs_f32())
            .collect();
        assert_eq!(seconds, [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0, 60.0]);
        assert_eq!(pause(&mut failures, &key, Next::OnChange), None);
        assert_eq!(pause(&mut failures, &key, Next::Retry), Some(BACKOFF.0));
    }

    #[tokio::test(start_paused = true)]
    async fn wakes_that_come_together_are_one_look() {
        let queue = Queue::default();
        let (waker, stop) = (queue.waker(), CancellationToken::new());
        let (looks, mut seen) = mpsc::unbounded_channel();
        for _ in 0..5 {
            waker.wake(key("orders"), Urgency::InTurn);
        }
        waker.wake(key("other"), Urgency::InTurn);
        let running = queue.run(stop.clone(), |key| {
            looks.send(key.name).unwrap();
            async { Next::OnChange }
        });
        let watching = async {
            let mut names = vec![seen.recv().await.unwrap(), seen.recv().await.unwrap()];
            names.sort();
            assert_eq!(names, ["orders", "other"]);
            tokio::time::advance(Duration::from_secs(3600)).await;
            assert!(seen.try_recv().is_err());
            stop.cancel();
        };
        tokio::join!(running, watching);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_woken_while_it_is_worked_on_is_looked_at_again_afterwards() {
        let queue = Queue::default();
        let (waker, stop) = (queue.waker(), CancellationToken::new());
        let (go, at_once) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let (looks, mut seen) = mpsc::unbounded_channel();
        waker.wake(key("orders"), Urgency::InTurn);
        let running = queue.run(stop.clone(), |_| {
            let (go, at_once, looks) = (go.clone(), at_once.clone(), looks.clone());
            async move {
                assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0, "worked on twice at a time");
                looks.send(()).unwrap();
                go.notified().await;
                at_once.fetch_sub(1, Ordering::SeqCst);
                Next::OnChange
            }
        });
        let watching = async {
            seen.recv().await.unwrap();
            waker.wake(key("orders"), Urgency::First);
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(seen.try_recv().is_err());
            go.notify_one();
            seen.recv().await.unwrap();
            stop.cancel();
            go.notify_one();
        };
        tokio::join!(running, watching);
    }

    #[tokio::test(start_paused = true)]
    async fn an_urgent_look_waits_for_no_other() {
        let queue = Queue::default();
        let (waker, stop) = (queue.waker(), CancellationToken::new());
        let go = Arc::new(Notify::new());
        let (looks, mut seen) = mpsc::unbounded_channel();
        for number in 0..100 {
            waker.wake(key(&format!("new-{number}")), Urgency::InTurn);
        }
        let running = queue.run(stop.clone(), |key| {
            let (go, looks) = (go.clone(), looks.clone());
            async move {
                looks.send(key.name).unwrap();
                go.notified().await;
                Next::OnChange
            }
        });
        let watching = async {
            for _ in 0..CONCURRENCY {
                assert!(seen.recv().await.unwrap().starts_with("new-"));
            }
            waker.wake(key("late"), Urgency::InTurn);
            waker.wake(key("revoked"), Urgency::First);
            assert_eq!(seen.recv().await.unwrap(), "revoked");
            // Nor does it wait in the line when its turn and another's come together.
            waker.wake(key("revoked too"), Urgency::First);
            go.notify_one();
            assert_eq!(seen.recv().await.unwrap(), "revoked too");
            stop.cancel();
            go.notify_waiters();
        };
        tokio::join!(running, watching);
    }
}
