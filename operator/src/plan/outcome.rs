//! What became of a plan: filled while it is carried out, and read by `resolve::conditions`.

use std::collections::BTreeMap;

use postern_crds::Reason;

use crate::inputs::KeyId;
use crate::plan::{Advance, PodsPlan};

/// What became of a plan.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The configuration that now lies in the lock's Secret (`sha256:…`), or why it could not be written.
    /// `Ok(None)`: the plan writes none.
    pub lock_secret: Result<Option<String>, Failure>,
    /// The dry run's answer.
    pub armed: Armed,
    /// For each key whose objects were written, or were to be.
    pub keys: BTreeMap<KeyId, Result<(), Failure>>,
    /// The pods, judged again after the acknowledgements.
    pub pods: PodsPlan,
    /// Evictions and restarts that were refused or can't be done, one sentence each, for the message of
    /// `Programmed`.
    pub rollout: Vec<String>,
    /// What the pods' words make of the lock's stage and audit; absent: nothing was asked.
    pub advance: Option<Advance>,
    /// Somebody changed an object between reading and writing, so it was left alone: decide anew.
    pub outdated: bool,
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            lock_secret: Ok(None),
            armed: Armed::NotTried,
            keys: BTreeMap::new(),
            pods: PodsPlan::default(),
            rollout: Vec::new(),
            advance: None,
            outdated: false,
        }
    }
}

impl Outcome {
    /// Takes note of a failure whose cause is that what was read is no longer so.
    pub fn note(&mut self, failure: &Failure) {
        self.outdated |= failure.reason == Reason::Pending;
    }
}

/// An object that could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// [`Reason::NotOwned`], [`Reason::WriteFailed`], or [`Reason::Pending`]: it has changed since it was read.
    pub reason: Reason,
    /// Which object, why, and what to do.
    pub message: String,
}

/// Whether the API server refuses unguarded pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Armed {
    /// Not tried: the plan has no admission, or a step before failed.
    #[default]
    NotTried,
    /// The dry run was refused by our policy.
    Yes,
    /// The dry run was let pass, or refused by something else, or could not be made; the sentence says which.
    No(String),
}
