//! All reads: what `resolve` decides by, and the objects as they lie there, against which `apply` compares.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::Api;
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Resource, ResourceExt};
use postern_config::layout;
use postern_crds::{ApiRoute, BackendTrustStatus, ConditionType};

use crate::acknowledge::Answers;
use crate::apply::{brief, is_ours};
use crate::inputs::{Authorities, Existing, Inputs, KeyId, LockKey, PodFacts};
use crate::plan::Progress;
use crate::render::admission;
use crate::resolve::selectors::Selector;
use crate::settings::Settings;
use crate::watch::Stores;
use crate::watch::lean::LeanPod;

mod documents;
mod outputs;
mod read;
mod references;

pub use read::{Reader, leaf_facts};

/// An object that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be read: {}", brief(source))]
pub struct GatherError {
    /// Kind and name.
    pub what: String,
    /// What the API server says.
    pub source: Box<kube::Error>,
}

/// What [`gather`] reads from.
pub struct Sources<'a> {
    /// For what is not in the stores: Secrets by name, and outputs in the gateways' namespaces.
    pub client: &'a Client,
    /// What is watched.
    pub stores: &'a Stores,
    /// What the pods said of themselves.
    pub answers: &'a Answers,
    /// The administrator's settings.
    pub settings: &'a Settings,
    /// Knows whose signature and certificates are ours.
    pub reader: &'a Reader,
    /// The public side of the CAs.
    pub authorities: &'a Authorities,
}

/// The outputs of one key in one namespace.
#[derive(Clone, Debug, Default)]
pub struct FoundKey {
    /// Its Secret.
    pub secret: Option<Secret>,
    /// Its configuration.
    pub config_map: Option<ConfigMap>,
}

/// What was read.
pub struct Found {
    /// For `resolve`.
    pub inputs: Inputs,
    /// The selected and mounting pods, as watched.
    pub pods: Vec<Arc<LeanPod>>,
    /// The lock's Secret.
    pub lock_secret: Option<Secret>,
    /// Outputs, by key and namespace.
    pub keys: BTreeMap<(KeyId, String), FoundKey>,
    /// The lock's policy.
    pub policy: Option<ValidatingAdmissionPolicy>,
    /// Its binding.
    pub binding: Option<ValidatingAdmissionPolicyBinding>,
    /// The lock's `NetworkPolicy`.
    pub network_policy: Option<NetworkPolicy>,
}

impl GatherError {
    /// Whether the API server doesn't let the operator read there: a right is missing, or what it was given for.
    fn is_refusal(&self) -> bool {
        matches!(&*self.source, kube::Error::Api(status) if matches!(status.code, 403 | 404))
    }
}

impl Found {
    /// Whether an object of somebody else's is in the way; nothing tells when it is gone.
    pub fn is_obstructed(&self) -> bool {
        let inputs = &self.inputs;
        inputs.lock_secret.is_foreign()
            || inputs.admission.is_foreign()
            || inputs.keys.values().any(|key| key.secret.is_foreign() || key.config_map.is_foreign())
    }
}

/// Reads all that concerns one lock. `status` is the lock's status as last written.
pub async fn gather(
    sources: &Sources<'_>,
    key: &LockKey,
    status: &BackendTrustStatus,
    now: Timestamp,
) -> Result<Found, GatherError> {
    let Sources { client, stores, answers, settings, reader, authorities } = sources;
    let local = |namespace: Option<String>| namespace.as_deref() == Some(key.namespace.as_str());
    let trusts = sorted(stores.trusts.state_filter(|trust| local(trust.namespace())));
    let (own, other_trusts): (Vec<_>, Vec<_>) =
        trusts.into_iter().partition(|trust| trust.name_any() == key.name);
    let (all_routes, routes): (Vec<_>, Vec<_>) = {
        let here = sorted(stores.routes.state_filter(|route| local(route.namespace()) && !is_going(route)));
        let mine = here.iter().filter(|route| route.spec.trust_ref.name == key.name).cloned().collect();
        (here, mine)
    };
    let mut pods = stores.pods.state_filter(|pod| pod.namespace == key.namespace);
    pods.sort_by(|a, b| a.name().cmp(b.name()));
    let name = admission::object_name(&key.namespace, &key.name);
    let own = own.into_iter().next();
    let (
        lock_secret,
        policy,
        binding,
        network_policy,
        outputs::Outputs { keys, unreadable },
        references,
        documents,
    ) = tokio::try_join!(
        get::<Secret>(Api::namespaced((*client).clone(), &key.namespace), layout::secret_name(&key.name)),
        get::<ValidatingAdmissionPolicy>(Api::all((*client).clone()), name.clone()),
        get::<ValidatingAdmissionPolicyBinding>(Api::all((*client).clone()), name.clone()),
        get::<NetworkPolicy>(
            Api::namespaced((*client).clone(), &key.namespace),
            layout::secret_name(&key.name)
        ),
        outputs::outputs(client, settings, key, &all_routes),
        references::references(client, key, own.as_deref()),
        documents::documents(client, key, own.as_deref()),
    )?;
    let namespace = stores.namespaces.get(&ObjectRef::new(&key.namespace));
    let inputs = Inputs {
        now,
        key: key.clone(),
        namespace_labels: namespace.map(|namespace| namespace.labels().clone()).unwrap_or_default(),
        trust: own,
        other_trusts,
        services: sorted(stores.services.state_filter(|service| local(service.namespace()))),
        pods: pods.iter().map(|pod| facts(pod, key, answers)).collect(),
        authorities: (*authorities).clone(),
        lock_secret: existing(lock_secret.as_ref(), |secret| reader.lock_secret(secret)),
        keys: outputs::existing_keys(reader, settings, &routes, &keys),
        unreadable,
        admission: admission_state(policy.as_ref(), binding.as_ref()),
        references,
        documents,
        armed_since: armed_since(status),
        progress: Progress::new(status),
        routes,
    };
    Ok(Found { inputs, pods, lock_secret, keys, policy, binding, network_policy })
}

/// By name: stores have no order, and the same cluster must yield the same words.
fn sorted<K: Resource>(mut objects: Vec<Arc<K>>) -> Vec<Arc<K>> {
    objects.sort_by(|a, b| a.meta().name.cmp(&b.meta().name));
    objects
}

/// A pod's facts, with its own word on what it has loaded.
pub fn facts(pod: &LeanPod, key: &LockKey, answers: &Answers) -> PodFacts {
    PodFacts { loaded: answers.loaded(pod), exposed: answers.exposed(pod), ..pod.facts(key) }
}

fn is_going(route: &ApiRoute) -> bool {
    route.meta().deletion_timestamp.is_some()
}

async fn get<K>(api: Api<K>, name: String) -> Result<Option<K>, GatherError>
where
    K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    api.get_opt(&name)
        .await
        .map_err(|source| GatherError { what: format!("{} {name}", K::kind(&())), source: Box::new(source) })
}

fn existing<K: Resource, T>(object: Option<&K>, read: impl Fn(&K) -> T) -> Existing<T> {
    match object {
        None => Existing::Absent,
        Some(object) if is_ours(object.meta()) => Existing::Ours(read(object)),
        Some(_) => Existing::Foreign,
    }
}

fn admission_state(
    policy: Option<&ValidatingAdmissionPolicy>,
    binding: Option<&ValidatingAdmissionPolicyBinding>,
) -> Existing<Option<Selector>> {
    match (existing(policy, |_| ()), existing(binding, bound)) {
        (Existing::Foreign, _) | (_, Existing::Foreign) => Existing::Foreign,
        (Existing::Absent, Existing::Absent) => Existing::Absent,
        (_, Existing::Ours(selector)) => Existing::Ours(selector),
        (Existing::Ours(()), Existing::Absent) => Existing::Ours(None),
    }
}

/// Which pods a Binding of ours is for.
fn bound(binding: &ValidatingAdmissionPolicyBinding) -> Option<Selector> {
    let selector = binding.spec.as_ref()?.match_resources.as_ref()?.object_selector.as_ref()?;
    Selector::from_label_selector(selector).ok().filter(|selector| !selector.is_empty())
}

/// Since when the lock has been armed, by its own status.
pub fn armed_since(status: &BackendTrustStatus) -> Option<Timestamp> {
    let armed = status.conditions.iter().find(|one| one.type_ == ConditionType::Armed.as_str())?;
    (armed.status == "True").then_some(armed.last_transition_time.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::admission::tests::guard;

    #[test]
    fn a_binding_tells_which_pods_a_lock_selected() {
        let (policy, binding) = (guard().policy(), guard().binding());
        let selector = Selector::from_label_selector(&guard().selector).unwrap();
        assert_eq!(selector.to_label_selector(), guard().selector);
        let foreign = ValidatingAdmissionPolicyBinding::default();
        for (case, policy, binding, expected) in [
            ("both", Some(&policy), Some(&binding), Existing::Ours(Some(selector.clone()))),
            ("no policy", None, Some(&binding), Existing::Ours(Some(selector))),
            ("no binding", Some(&policy), None, Existing::Ours(None)),
            ("neither", None, None, Existing::Absent),
            ("somebody else's", Some(&policy), Some(&foreign), Existing::Foreign),
        ] {
            assert_eq!(admission_state(policy, binding), expected, "{case}");
        }
    }
}
