//! Threads that do slow work, so that no worker waits for it: few, with low priority, and a queue that is short and
//! fair to the addresses that wait in it.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, io};

use aws_lc_rs::{hmac, rand};

/// Niceness of the threads: beside a worker they get a tenth of a processor that both want, all of one that is idle.
const NICENESS: i32 = 10;

/// How much work is taken.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Threads, at least one.
    pub threads: usize,
    /// Checks that may wait.
    pub queue: usize,
    /// Of these, for one address (IPv6: one /64).
    pub per_source: usize,
    /// How long a check may wait before it is given up.
    pub patience: Duration,
}

impl Load {
    /// What suits a process with so many workers.
    pub fn for_workers(workers: usize) -> Self {
        Self {
            threads: (workers / 2).clamp(1, 4),
            queue: 128,
            per_source: 32,
            patience: Duration::from_secs(5),
        }
    }
}

/// The threads; they end when it is dropped.
pub struct Pool {
    shared: Arc<Shared>,
    key: hmac::Key,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("load", &self.shared.load).finish_non_exhaustive()
    }
}

struct Shared {
    load: Load,
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Default)]
struct Waiting {
    by_source: HashMap<IpAddr, VecDeque<Job>>,
    /// Whose turn it is; each source with a job once.
    turns: VecDeque<IpAddr>,
    count: usize,
    is_closed: bool,
}

/// Something slow. It is told whether it may begin: false if it waited for too long.
type Work = Box<dyn FnOnce(bool) + Send>;

struct Job {
    work: Work,
    since: Instant,
}

/// The queue, or the source's share of it, is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system gives none, or no random numbers.
    pub fn start(load: Load) -> io::Result<Arc<Self>> {
        let mut key = [0_u8; 32];
        rand::fill(&mut key).map_err(|_| io::Error::other("no random numbers"))?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let shared = Arc::new(Shared { load, waiting: Mutex::default(), wake: Condvar::new() });
        // Made first, so that threads that did start end if another doesn't.
        let pool = Arc::new(Self { shared: Arc::clone(&shared), key });
        for number in 0..load.threads.max(1) {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("passwords-{number}")).spawn(move || shared.run())?;
        }
        Ok(pool)
    }

    /// The key of memories, of this process alone.
    pub(super) fn key(&self) -> hmac::Key {
        self.key.clone()
    }

    /// Puts work into the queue.
    pub(super) fn submit(&self, source: IpAddr, work: Work) -> Result<(), Full> {
        let (source, load) = (network(source), self.shared.load);
        let mut waiting = self.shared.lock();
        let own = waiting.by_source.get(&source).map_or(0, VecDeque::len);
        if waiting.count >= load.queue || own >= load.per_source {
            return Err(Full);
        }
        waiting.count += 1;
        if own == 0 {
            waiting.turns.push_back(source);
        }
        waiting.by_source.entry(source).or_default().push_back(Job { work, since: Instant::now() });
        drop(waiting);
        self.shared.wake.notify_one();
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        // Without it the work is done all the same.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        while let Some(job) = self.next() {
            let is_in_time = job.since.elapsed() < self.load.patience;
            // A fault ends one check, which then has no answer, and not the thread.
            if catch_unwind(AssertUnwindSafe(|| (job.work)(is_in_time))).is_err() {
                tracing::error!("a check of a password has failed by a fault of the sidecar; report it");
            }
        }
    }

    /// The next job, by turns among those who wait; none when the pool is closed.
    fn next(&self) -> Option<Job> {
        let mut waiting = self.lock();
        loop {
            if waiting.is_closed {
                return None;
            }
            if let Some(job) = waiting.take() {
                return Some(job);
            }
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Waiting {
    fn take(&mut self) -> Option<Job> {
        let source = self.turns.pop_front()?;
        let queue = self.by_source.get_mut(&source)?;
        let job = queue.pop_front();
        if queue.is_empty() {
            self.by_source.remove(&source);
        } else {
            self.turns.push_back(source);
        }
        self.count = self.count.saturating_sub(usize::from(job.is_some()));
        job
    }
}

/// Whoever has an IPv6 /64 has any number of addresses.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests;
