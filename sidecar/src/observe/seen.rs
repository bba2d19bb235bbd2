//! When each credential, header value and pinned key was last used.
//!
//! One table per configuration, shared by all workers: an entry is written at most once a second, so nobody waits
//! for anybody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// The entries of one configuration, by the number that the compiled policy gives each.
#[derive(Debug, Default)]
pub struct Seen {
    ids: Box<[Box<str>]>,
    /// Seconds since the epoch; 0: never.
    times: Box<[AtomicI64]>,
}

impl Seen {
    /// Nothing used yet. Entry `n` is `ids[n]`.
    pub fn new(ids: impl IntoIterator<Item = Box<str>>) -> Self {
        let ids: Box<[_]> = ids.into_iter().collect();
        let times = ids.iter().map(|_| AtomicI64::new(0)).collect();
        Self { ids, times }
    }

    /// An entry was used with success, at `now` (seconds since the epoch). A number that there isn't is ignored.
    pub fn mark(&self, entry: u32, now: i64) {
        if let Some(time) = usize::try_from(entry).ok().and_then(|entry| self.times.get(entry))
            && time.load(Relaxed) < now
        {
            time.store(now, Relaxed);
        }
    }

    /// Those that were used, and when.
    pub fn used(&self) -> impl Iterator<Item = (&str, i64)> {
        let all = self.ids.iter().zip(&self.times).map(|(id, time)| (&**id, time.load(Relaxed)));
        all.filter(|(_, time)| *time > 0)
    }
}

/// What is known over several configurations.
#[derive(Debug, Default)]
pub struct Uses {
    now: Arc<Seen>,
    /// By configurations before.
    before: BTreeMap<Box<str>, i64>,
}

impl Uses {
    /// Another configuration is in force: its entries that there were before keep their time.
    pub fn replace(&mut self, table: &Arc<Seen>) {
        if Arc::ptr_eq(&self.now, table) {
            return;
        }
        let known = self.latest();
        self.before =
            table.ids.iter().filter_map(|id| known.get(&**id).map(|time| (id.clone(), *time))).collect();
        self.now = Arc::clone(table);
    }

    /// The last use of each entry of the configuration in force that was used.
    pub fn latest(&self) -> BTreeMap<String, i64> {
        let mut all: BTreeMap<String, i64> =
            self.before.iter().map(|(id, time)| (id.to_string(), *time)).collect();
        for (id, time) in self.now.used() {
            let latest = all.entry(id.to_owned()).or_insert(time);
            *latest = time.max(*latest);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(ids: &[&str]) -> Arc<Seen> {
        Arc::new(Seen::new(ids.iter().map(|id| Box::from(*id))))
    }

    #[test]
    fn times_outlive_a_configuration_but_not_their_entry() {
        let (old, new) = (table(&["a", "b", "c"]), table(&["b", "c", "d"]));
        let mut uses = Uses::default();
        uses.replace(&old);
        old.mark(0, 10);
        old.mark(1, 20);
        old.mark(1, 19);
        old.mark(7, 30);
        assert_eq!(uses.latest(), BTreeMap::from([("a".to_owned(), 10), ("b".to_owned(), 20)]));
        uses.replace(&new);
        new.mark(2, 40);
        assert_eq!(uses.latest(), BTreeMap::from([("b".to_owned(), 20), ("d".to_owned(), 40)]));
        new.mark(0, 50);
        uses.replace(&new);
        assert_eq!(uses.latest().get("b"), Some(&50));
    }
}
