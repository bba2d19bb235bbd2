//! Connections to the application, per worker.
//!
//! Keyed by address *and caller*: what one caller left behind in a connection can never reach another. Of unused
//! HTTP/1.1 connections the last one returned is the first one taken, so that the others can age. An HTTP/2
//! connection stays here while it is used, for more requests of its caller.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use postern_config::policy::Protocol;
use tokio::sync::{Mutex, MutexGuard};

use super::upstream::http1::Upstream;
use super::upstream::http2::{Shared, Stream};

/// Whose connection it is, and where it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) address: SocketAddr,
    /// What is spoken there.
    pub(super) protocol: Protocol,
    /// Whose certificate was shown, or without one where the call came from.
    pub(super) whose: Rc<str>,
    /// Whom credentials named: under one certificate, or none, many may come.
    pub(super) holder: Rc<[u8]>,
}

/// The connections of one worker.
pub(crate) struct Pool {
    places: RefCell<HashMap<Key, Rc<Place>>>,
    keep: Duration,
}

/// The connections of one key.
pub(super) struct Place {
    /// Which.
    pub(super) key: Key,
    unused: RefCell<Vec<Unused>>,
    shared: RefCell<Vec<Rc<Shared>>>,
    /// Held by whoever opens a connection that others will share.
    opening: Mutex<()>,
    /// Whether the last connection turned out not to be shared.
    is_http1: Cell<bool>,
    keep: Duration,
}

struct Unused {
    upstream: Upstream,
    since: Instant,
}

impl Pool {
    /// Empty; connections are kept for so long.
    pub(crate) fn new(keep: Duration) -> Self {
        Self { places: RefCell::default(), keep }
    }

    pub(super) fn place(&self, key: Key) -> Rc<Place> {
        let mut places = self.places.borrow_mut();
        if let Some(place) = places.get(&key) {
            return Rc::clone(place);
        }
        let place = Rc::new(Place {
            key: key.clone(),
            unused: RefCell::default(),
            shared: RefCell::default(),
            opening: Mutex::new(()),
            is_http1: Cell::new(false),
            keep: self.keep,
        });
        places.insert(key, Rc::clone(&place));
        place
    }

    /// Closes what has been unused for too long.
    pub(crate) fn evict(&self) {
        self.places.borrow_mut().retain(|_, place| {
            place.evict();
            Rc::strong_count(place) > 1 || !place.is_empty()
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.borrow().is_empty()
    }
}

impl Place {
    /// An unused HTTP/1.1 connection.
    pub(super) fn take(&self, now: Instant) -> Option<Upstream> {
        let mut unused = self.unused.borrow_mut();
        while let Some(entry) = unused.pop() {
            if now.saturating_duration_since(entry.since) >= self.keep {
                // The others are older.
                unused.clear();
            } else if entry.upstream.is_usable() {
                return Some(entry.upstream);
            }
        }
        None
    }

    /// Gives back a connection whose answer was read to its end.
    pub(super) fn put(&self, upstream: Upstream) {
        self.unused.borrow_mut().push(Unused { upstream, since: Instant::now() });
    }

    /// Room on an HTTP/2 connection.
    pub(super) fn stream(&self) -> Option<Stream> {
        self.shared.borrow().iter().find(|shared| shared.has_room()).map(Stream::open)
    }

    pub(super) fn share(&self, shared: Rc<Shared>) {
        self.is_http1.set(false);
        self.shared.borrow_mut().push(shared);
    }

    /// Nothing can be shared here, so nobody needs to wait for another's connection.
    pub(super) fn note_http1(&self) {
        self.is_http1.set(true);
    }

    pub(super) fn speaks_http1_only(&self) -> bool {
        self.is_http1.get()
    }

    /// Until nobody else opens a connection.
    pub(super) async fn opening(&self) -> MutexGuard<'_, ()> {
        self.opening.lock().await
    }

    fn evict(&self) {
        self.unused
            .borrow_mut()
            .retain(|entry| entry.since.elapsed() < self.keep && entry.upstream.is_usable());
        self.shared.borrow_mut().retain(|shared| !shared.is_stale(self.keep));
    }

    fn is_empty(&self) -> bool {
        self.unused.borrow().is_empty() && self.shared.borrow().is_empty()
    }
}
