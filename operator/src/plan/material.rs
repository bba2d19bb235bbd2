//! The certificates behind a plan: those that exist, and those that the plan had issued.

use std::collections::BTreeMap;

use crate::inputs::{Inputs, KeyId, KeySecret, Leaf, PreviousPin};
use crate::plan::{LeafPlan, LeafSpec, Plan};

/// All certificates and keys that `render` writes.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// For the lock's Secret; present exactly if [`Plan::bundle`] is.
    pub server: Option<Leaf>,
    /// For each key whose Secret is written.
    pub keys: BTreeMap<KeyId, KeyMaterial>,
}

/// The certificates of one key.
#[derive(Clone, Debug)]
pub struct KeyMaterial {
    /// What the gateway presents.
    pub current: Leaf,
    /// Published, not yet handed over.
    pub next: Option<Leaf>,
    /// Handed over before; still accepted.
    pub previous: Option<PreviousPin>,
}

impl KeyMaterial {
    /// The pins that the sidecars accept: SHA-256 of each `SubjectPublicKeyInfo`, lower-case hex, sorted.
    pub fn pins(&self) -> Vec<String> {
        let mut pins: Vec<String> = [Some(&self.current), self.next.as_ref()]
            .into_iter()
            .flatten()
            .map(|leaf| leaf.facts.spki_sha256.clone())
            .chain(self.previous.iter().map(|previous| previous.spki_sha256.clone()))
            .collect();
        pins.sort();
        pins.dedup();
        pins
    }
}

impl Material {
    /// Has `issue` make what the plan asks for and takes the rest from what exists.
    ///
    /// # Errors
    /// Those of `issue`.
    pub fn fulfil<E>(
        plan: &Plan,
        inputs: &Inputs,
        mut issue: impl FnMut(&LeafSpec) -> Result<Leaf, E>,
    ) -> Result<Self, E> {
        let mut material = Self::default();
        if let Some(bundle) = &plan.bundle {
            let existing = inputs.lock_secret.ours().and_then(|secret| secret.leaf.clone());
            material.server = match (&bundle.leaf, existing) {
                (LeafPlan::Issue(spec) | LeafPlan::StageNext(spec), _) => Some(issue(spec)?),
                (_, existing) => existing,
            };
        }
        for key in plan.routes.iter().flat_map(|route| &route.keys) {
            let Some(leaf) = key.action.leaf() else { continue };
            let existing = inputs.keys.get(&key.id).and_then(|existing| existing.secret.ours());
            let made = step(leaf, existing.cloned().unwrap_or_default(), &mut issue)?;
            material.keys.extend(made.map(|made| (key.id.clone(), made)));
        }
        Ok(material)
    }
}

/// One step of a client leaf. `None` only if the plan keeps what doesn't exist, which `resolve` never asks for.
fn step<E>(
    leaf: &LeafPlan,
    existing: KeySecret,
    issue: &mut impl FnMut(&LeafSpec) -> Result<Leaf, E>,
) -> Result<Option<KeyMaterial>, E> {
    let KeySecret { current, next, previous } = existing;
    Ok(match leaf {
        LeafPlan::Issue(spec) => Some(KeyMaterial { current: issue(spec)?, next: None, previous: None }),
        LeafPlan::Keep => current.map(|current| KeyMaterial { current, next, previous }),
        LeafPlan::StageNext(spec) => match current {
            Some(current) => Some(KeyMaterial { current, next: Some(issue(spec)?), previous }),
            None => None,
        },
        LeafPlan::PromoteNext { drop_previous_after } => match (current, next) {
            (Some(old), Some(new)) => Some(KeyMaterial {
                current: new,
                next: None,
                previous: Some(PreviousPin {
                    spki_sha256: old.facts.spki_sha256,
                    drop_after: *drop_previous_after,
                }),
            }),
            (current, next) => current.map(|current| KeyMaterial { current, next, previous }),
        },
        LeafPlan::DropPrevious => current.map(|current| KeyMaterial { current, next, previous: None }),
    })
}
