//! Which lock guards a pod.

use std::collections::BTreeMap;

use jiff::Timestamp;
use postern_crds::sidecar::Resources;

use crate::injection::shape::Shape;
use crate::resolve::selectors::Selector;

/// A `BackendTrust`, as far as injection needs it.
#[derive(Clone, Debug)]
pub struct Lock {
    /// Its name.
    pub name: String,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// `spec.podSelector`.
    pub selector: Selector,
    /// How its pods are injected.
    pub shape: Shape,
    /// Whether it says `trustedWorkload: true`.
    pub trusted: bool,
    /// What its sidecars ask of their node, where it says so.
    pub resources: Option<Resources>,
}

/// The locks that exist, from the operator's own store.
pub trait Locks: Send + Sync + 'static {
    /// All of one namespace; `None` as long as the store has not been filled once. Then nothing is answered, since
    /// an empty list would mean "leave this pod alone".
    fn in_namespace(&self, namespace: &str) -> Option<Vec<Lock>>;
}

/// The lock for a pod with these labels: of several the oldest, then the first by name.
pub fn select<'a>(locks: &'a [Lock], labels: &BTreeMap<String, String>) -> Option<&'a Lock> {
    locks
        .iter()
        .filter(|lock| lock.selector.matches(labels))
        .min_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn lock(name: &str, created: &str, pairs: &[(&str, &str)]) -> Lock {
        let selector = Selector::from_labels(&labels(pairs));
        Lock {
            name: name.to_owned(),
            created: created.parse().unwrap(),
            selector,
            shape: Shape::default(),
            trusted: false,
            resources: None,
        }
    }

    #[test]
    fn the_older_lock_wins_then_the_name() {
        let locks = [
            lock("newer", "2026-02-01T00:00:00Z", &[("app", "orders")]),
            lock("older", "2026-01-01T00:00:00Z", &[("tier", "api")]),
            lock("b-twin", "2026-03-01T00:00:00Z", &[("team", "shop")]),
            lock("a-twin", "2026-03-01T00:00:00Z", &[("team", "shop")]),
        ];
        for (pod, expected) in [
            (vec![("app", "orders")], Some("newer")),
            (vec![("app", "orders"), ("tier", "api")], Some("older")),
            (vec![("team", "shop")], Some("a-twin")),
            (vec![("app", "carts")], None),
            (vec![], None),
        ] {
            assert_eq!(select(&locks, &labels(&pod)).map(|lock| lock.name.as_str()), expected, "{pod:?}");
        }
    }
}
