//! The writing steps. What can't be written is noted in the outcome, and the others go on.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::{Api, Resource, ResourceExt};
use postern_crds::Reason;

use super::Reconciler;
use crate::apply::{Applied, ApplyError, MANAGED_BY_LABEL, apply};
use crate::gather::Found;
use crate::injection::shape::Admitted;
use crate::inputs::KeyId;
use crate::plan::{Armed, Failure, Outcome, Plan};
use crate::render::admission::Guard;
use crate::render::{KeyObjects, Objects, labels, network};
use crate::settings::Settings;

impl Reconciler {
    /// The lock's Secret comes first: whatever is handed out or taken away afterwards, the sidecars are told of it
    /// before. Returns whether it was written.
    pub(super) async fn write_lock(&self, found: &Found, objects: &Objects, outcome: &mut Outcome) -> bool {
        let Some(lock) = &objects.lock else { return false };
        let api = Api::<Secret>::namespaced(self.client.clone(), &found.inputs.key.namespace);
        match settle(apply(&api, found.lock_secret.as_ref(), &lock.secret).await, &lock.secret) {
            Ok(written) => {
                if written {
                    tracing::info!(lock = %found.inputs.key, hash = lock.config_hash, "configuration written");
                }
                outcome.lock_secret = Ok(Some(lock.config_hash.clone()));
                written
            }
            Err(failure) => {
                outcome.note(&failure);
                outcome.lock_secret = Err(failure);
                false
            }
        }
    }

    /// The gateways' Secrets and configurations; only after the sidecars' policy, which has to know the keys.
    pub(super) async fn write_keys(
        &self,
        found: &Found,
        plan: &Plan,
        objects: &Objects,
        outcome: &mut Outcome,
    ) {
        for (id, rendered) in &objects.keys {
            let result = match (&outcome.lock_secret, rendered) {
                (Err(failure), _) => Err(failure.clone()),
                (Ok(_), Err(refused)) => {
                    Err(Failure { reason: Reason::WriteFailed, message: refused.to_string() })
                }
                (Ok(_), Ok(key)) => self.write_key(found, id, key).await,
            };
            if let Err(failure) = &result {
                outcome.note(failure);
                tracing::warn!(lock = %plan.key, key = %id, reason = %failure.reason, failure.message, "key not written");
            }
            outcome.keys.insert(id.clone(), result);
        }
    }

    async fn write_key(&self, found: &Found, id: &KeyId, key: &KeyObjects) -> Result<(), Failure> {
        let namespace = key.secret.namespace().unwrap_or_default();
        let existing = found.keys.get(&(id.clone(), namespace.clone()));
        let secrets = Api::<Secret>::namespaced(self.client.clone(), &namespace);
        let secret = existing.and_then(|existing| existing.secret.as_ref());
        let mut written = settle(apply(&secrets, secret, &key.secret).await, &key.secret)?;
        if let Some(config_map) = &key.config_map {
            let config_maps = Api::<ConfigMap>::namespaced(self.client.clone(), &namespace);
            let existing = existing.and_then(|existing| existing.config_map.as_ref());
            written |= settle(apply(&config_maps, existing, config_map).await, config_map)?;
        }
        if written {
            tracing::info!(key = %id, namespace, "key written");
        }
        Ok(())
    }

    /// What closes pods without a redirect, before anything says that they are closed.
    async fn write_network(&self, found: &Found, plan: &Plan) -> Result<bool, Failure> {
        let Some(policy) = network::policy(plan) else { return Ok(false) };
        let api = Api::<NetworkPolicy>::namespaced(self.client.clone(), &plan.key.namespace);
        settle(apply(&api, found.network_policy.as_ref(), &policy).await, &policy)
    }

    /// The webhook's registration, then the lock's policy and its binding. Returns whether any of them was just
    /// written, or `None` if the lock has no policy or it could not be written.
    pub(super) async fn write_admission(
        &self,
        found: &Found,
        plan: &Plan,
        outcome: &mut Outcome,
    ) -> Option<bool> {
        let registered = self.registration.ensure(&self.client, &self.settings, &self.stores).await;
        let guard = guard(&self.settings, plan)?;
        // New pods of a deleted lock need no webhook, and are not to wait for it.
        if let (Err(error), true) = (registered, guard.creations) {
            outcome.armed = Armed::No(error.to_string());
            return None;
        }
        if let Err(failure) = self.write_network(found, plan).await {
            outcome.note(&failure);
            outcome.armed = Armed::No(failure.message);
            return None;
        }
        let (policy, binding) = (guard.policy(), guard.binding());
        let policies = Api::<ValidatingAdmissionPolicy>::all(self.client.clone());
        let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(self.client.clone());
        let mut changed = false;
        for result in [
            settle(apply(&policies, found.policy.as_ref(), &policy).await, &policy),
            settle(apply(&bindings, found.binding.as_ref(), &binding).await, &binding),
        ] {
            match result {
                Ok(written) => changed |= written,
                Err(failure) => {
                    outcome.note(&failure);
                    outcome.armed = Armed::No(failure.message);
                    return None;
                }
            }
        }
        Some(changed)
    }
}

/// What admission is to demand, with the literals that are the same for all locks.
fn guard(settings: &Settings, plan: &Plan) -> Option<Guard> {
    let selector = plan.lock.watched()?.to_label_selector();
    let admission = plan.lock.present().and_then(|lock| lock.admission.as_ref());
    Some(Guard {
        namespace: plan.key.namespace.clone(),
        trust: plan.key.name.clone(),
        selector,
        creations: admission.is_some(),
        trusts: admission
            .map_or_else(|| vec![Admitted::plain(&plan.key.name)], |admission| admission.trusts.clone()),
        images: settings.images.accepted(),
        verify_keys: settings.verify_keys.iter().map(ToString::to_string).collect(),
        labels: labels::of_lock(&plan.key),
    })
}

/// Whether something was written, or why not, in words.
fn settle<K: Resource<DynamicType = ()>>(
    result: Result<Applied, ApplyError>,
    object: &K,
) -> Result<bool, Failure> {
    match result {
        Ok(Applied::Written) => Ok(true),
        Ok(Applied::Unchanged) => Ok(false),
        Ok(Applied::Outdated) => Err(Failure {
            reason: Reason::Pending,
            message: format!("{} {} was changed by somebody else just now", K::kind(&()), object.name_any()),
        }),
        Ok(Applied::Foreign) => Err(Failure {
            reason: Reason::NotOwned,
            message: format!(
                "{} {} exists and is not Postern's (it has no label {MANAGED_BY_LABEL}: postern), so it was left \
                 alone: delete or rename it",
                K::kind(&()),
                match object.namespace() {
                    Some(namespace) => format!("{namespace}/{}", object.name_any()),
                    None => object.name_any(),
                }
            ),
        }),
        Err(error) => Err(Failure { reason: Reason::WriteFailed, message: error.to_string() }),
    }
}
