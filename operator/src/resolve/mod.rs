//! Decisions, all of them pure: what is asked for, what exists, what follows.
//!
//! One file for each question. A refusal is an answer, not an error: it says what is wrong with one object, and
//! the others go on.

pub mod admitted;
pub mod authorities;
pub mod backend;
pub mod callers;
pub mod conditions;
pub mod credentials;
pub mod documents;
pub mod doors;
pub mod gateways;
pub mod hostnames;
pub mod keys;
pub mod leaves;
pub mod lock;
pub mod names;
pub mod orphan;
pub mod pods;
pub mod policy;
pub mod ports;
pub mod protocol;
pub mod references;
pub mod revoked;
pub mod routes;
pub mod rules;
pub mod selectors;
pub mod sidecar;
pub mod stage;
pub mod stages;
pub mod territory;
pub mod users;

use crate::inputs::{Inputs, KeyId};
use crate::plan::{KeyAction, LockState, Plan, Removals};
use crate::settings::Settings;

/// Decides what is to be done about one lock.
pub fn resolve(settings: &Settings, inputs: &Inputs) -> Plan {
    let mut plan = match &inputs.trust {
        Some(trust) => lock::resolve(settings, inputs, trust),
        None => orphan::resolve(settings, inputs),
    };
    plan.remove = removals(inputs, &plan);
    plan
}

/// What exists, is ours, and is not wanted any more.
fn removals(inputs: &Inputs, plan: &Plan) -> Removals {
    let kept = |id: &KeyId, namespace: &str| {
        plan.routes.iter().flat_map(|route| &route.keys).any(|key| {
            key.id == *id && key.namespace.as_deref() == Some(namespace) && key.action != KeyAction::Remove
        })
    };
    let keys = inputs
        .keys
        .iter()
        .filter(|(_, existing)| existing.secret.ours().is_some() || existing.config_map.ours().is_some())
        .filter(|(id, existing)| !kept(id, &existing.namespace))
        .map(|(id, existing)| (id.clone(), existing.namespace.clone()))
        .collect();
    Removals {
        lock_secret: matches!(plan.lock, LockState::Gone) && inputs.lock_secret.ours().is_some(),
        admission: inputs.admission.ours().is_some() && plan.lock.watched().is_none(),
        keys,
    }
}
