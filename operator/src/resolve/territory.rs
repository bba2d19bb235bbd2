//! Which pods are a lock's: those that its selector selects and no older lock does.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_crds::BackendTrust;

use crate::inputs::{Inputs, PodFacts};
use crate::resolve::selectors::Selector;

/// The pods that one lock may call its own.
#[derive(Clone, Debug)]
pub struct Territory {
    /// The lock's own selector.
    pub selector: Selector,
    /// Older locks of the namespace, oldest first, whose selectors can be read.
    pub older: Vec<(String, Selector)>,
    /// The younger ones likewise.
    pub younger: Vec<(String, Selector)>,
}

/// Whose a pod is, seen from one lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder<'a> {
    /// This lock's.
    Ours,
    /// The selector selects it, but an older lock does too.
    Older(&'a str),
    /// The selector doesn't select it.
    Nobody,
}

impl Territory {
    /// Of `trust`, whose selector is `selector`, among the other locks of the namespace.
    pub fn new(trust: &BackendTrust, selector: Selector, inputs: &Inputs) -> Self {
        let mut others: Vec<&BackendTrust> = inputs.other_trusts.iter().map(AsRef::as_ref).collect();
        others.sort_by(|a, b| by_age(&a.metadata, &b.metadata));
        let (older, younger): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|other| by_age(&other.metadata, &trust.metadata) == Ordering::Less);
        let readable = |locks: Vec<&BackendTrust>| {
            let named = locks.into_iter().filter_map(|lock| {
                let name = lock.metadata.name.clone()?;
                let selector = Selector::new(lock.spec.pod_selector.clone()).ok()?;
                (!selector.is_empty()).then_some((name, selector))
            });
            named.collect()
        };
        Self { selector, older: readable(older), younger: readable(younger) }
    }

    /// Whose a pod with these labels is.
    pub fn holder(&self, labels: &BTreeMap<String, String>) -> Holder<'_> {
        if !self.selector.matches(labels) {
            return Holder::Nobody;
        }
        match self.older.iter().find(|(_, selector)| selector.matches(labels)) {
            Some((name, _)) => Holder::Older(name),
            None => Holder::Ours,
        }
    }

    /// Our pods that have not ended.
    pub fn pods<'a>(&'a self, pods: &'a [PodFacts]) -> impl Iterator<Item = &'a PodFacts> {
        pods.iter().filter(|pod| !pod.finished() && self.holder(&pod.labels) == Holder::Ours)
    }

    /// All other locks, whatever their age.
    pub fn others(&self) -> impl Iterator<Item = &(String, Selector)> {
        self.older.iter().chain(&self.younger)
    }

    /// Older locks that can select a pod that this one selects too.
    pub fn rivals(&self) -> impl Iterator<Item = &(String, Selector)> {
        self.older.iter().filter(|(_, selector)| selector.overlaps(&self.selector))
    }
}

/// Older first; of two of one second, the first by name. An object without a timestamp is not yet stored, so
/// it is the youngest.
pub fn by_age(a: &ObjectMeta, b: &ObjectMeta) -> Ordering {
    let age = |meta: &ObjectMeta| meta.creation_timestamp.as_ref().map(|time| time.0);
    match (age(a), age(b)) {
        (Some(x), Some(y)) => x.cmp(&y),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
    .then_with(|| a.name.cmp(&b.name))
}
