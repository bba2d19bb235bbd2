//! Unused connections to the application, per worker.
//!
//! Keyed by address *and caller*: what one caller left behind in a connection can never reach another. The
//! last one returned is the first one taken, so that the others can age.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::upstream::Upstream;
use crate::worker::Worker;

/// How long a connection may take to become usable after an answer has ended.
const SETTLE: Duration = Duration::from_secs(1);

/// Whose connection it is, and where it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) address: SocketAddr,
    /// Authority and identity.
    pub(super) caller: Rc<str>,
}

/// The unused connections of one worker.
pub(crate) struct Pool {
    unused: RefCell<HashMap<Key, Vec<Unused>>>,
    keep: Duration,
}

struct Unused {
    upstream: Upstream,
    since: Instant,
}

impl Pool {
    /// Empty; connections are kept for so long.
    pub(crate) fn new(keep: Duration) -> Self {
        Self { unused: RefCell::default(), keep }
    }

    pub(super) fn take(&self, key: &Key) -> Option<Upstream> {
        let mut unused = self.unused.borrow_mut();
        let list = unused.get_mut(key)?;
        while let Some(entry) = list.pop() {
            if entry.since.elapsed() >= self.keep {
                // The others are older.
                list.clear();
            } else if entry.upstream.sender.is_ready() {
                return Some(entry.upstream);
            }
        }
        None
    }

    fn put(&self, key: Key, upstream: Upstream) {
        let entry = Unused { upstream, since: Instant::now() };
        self.unused.borrow_mut().entry(key).or_default().push(entry);
    }

    /// Closes what has been unused for too long.
    pub(crate) fn evict(&self) {
        self.unused.borrow_mut().retain(|_, list| {
            list.retain(|entry| entry.since.elapsed() < self.keep && !entry.upstream.sender.is_closed());
            !list.is_empty()
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unused.borrow().is_empty()
    }
}

/// A connection in use. Dropping it closes the connection.
pub(super) struct Lease {
    worker: Rc<Worker>,
    key: Key,
    upstream: Upstream,
}

impl Lease {
    pub(super) fn new(worker: &Rc<Worker>, key: Key, upstream: Upstream) -> Self {
        Self { worker: Rc::clone(worker), key, upstream }
    }

    /// To be called once the answer has been read to its end.
    pub(super) fn give_back(self) {
        let Self { worker, key, mut upstream } = self;
        if upstream.sender.is_ready() {
            worker.pool.put(key, upstream);
        } else if !upstream.sender.is_closed() {
            tokio::task::spawn_local(async move {
                if let Ok(Ok(())) = tokio::time::timeout(SETTLE, upstream.sender.ready()).await {
                    worker.pool.put(key, upstream);
                }
            });
        }
    }
}
