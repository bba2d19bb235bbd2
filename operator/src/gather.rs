//! All reads: what `resolve` decides by, and the objects as they lie there, against which `apply` compares.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, ListParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Resource, ResourceExt};
use postern_config::layout;
use postern_crds::{ApiRoute, BackendTrustStatus, ConditionType};

use crate::acknowledge::Answers;
use crate::apply::{MANAGED_BY, MANAGED_BY_LABEL, brief, is_ours};
use crate::inputs::{Authorities, Existing, ExistingKey, Inputs, KeyId, LockKey, PodFacts};
use crate::render::{admission, labels};
use crate::settings::Settings;
use crate::watch::Stores;
use crate::watch::lean::LeanPod;

mod read;

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
    pub pods: Vec<std::sync::Arc<LeanPod>>,
    /// The lock's Secret.
    pub lock_secret: Option<Secret>,
    /// Outputs, by key and namespace.
    pub keys: BTreeMap<(KeyId, String), FoundKey>,
    /// The lock's policy.
    pub policy: Option<ValidatingAdmissionPolicy>,
    /// Its binding.
    pub binding: Option<ValidatingAdmissionPolicyBinding>,
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
    let trusts = stores.trusts.state_filter(|trust| local(trust.namespace()));
    let (own, other_trusts): (Vec<_>, Vec<_>) =
        trusts.into_iter().partition(|trust| trust.name_any() == key.name);
    let (all_routes, routes): (Vec<_>, Vec<_>) = {
        let here = stores.routes.state_filter(|route| local(route.namespace()) && !is_going(route));
        let mine = here.iter().filter(|route| route.spec.trust_ref.name == key.name).cloned().collect();
        (here, mine)
    };
    let pods = stores.pods.state_filter(|pod| pod.namespace == key.namespace);
    let name = admission::object_name(&key.namespace, &key.name);
    let (lock_secret, policy, binding, keys) = tokio::try_join!(
        get::<Secret>(Api::namespaced((*client).clone(), &key.namespace), layout::secret_name(&key.name)),
        get::<ValidatingAdmissionPolicy>(Api::all((*client).clone()), name.clone()),
        get::<ValidatingAdmissionPolicyBinding>(Api::all((*client).clone()), name.clone()),
        outputs(client, settings, key, &all_routes),
    )?;
    let namespace = stores.namespaces.get(&ObjectRef::new(&key.namespace));
    let inputs = Inputs {
        now,
        key: key.clone(),
        namespace_labels: namespace.map(|namespace| namespace.labels().clone()).unwrap_or_default(),
        trust: own.into_iter().next(),
        other_trusts,
        services: stores.services.state_filter(|service| local(service.namespace())),
        pods: pods.iter().map(|pod| facts(pod, key, answers)).collect(),
        authorities: (*authorities).clone(),
        lock_secret: existing(lock_secret.as_ref(), |secret| reader.lock_secret(secret)),
        keys: existing_keys(reader, settings, &routes, &keys),
        admission: admission_state(policy.as_ref(), binding.as_ref()),
        armed_since: armed_since(status),
        routes,
    };
    Ok(Found { inputs, pods, lock_secret, keys, policy, binding })
}

/// A pod's facts, with its own word on what it has loaded.
pub fn facts(pod: &LeanPod, key: &LockKey, answers: &Answers) -> PodFacts {
    PodFacts { loaded: answers.loaded(pod), ..pod.facts(key) }
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

/// The outputs of the lock: those that its routes ask for, and those that carry its labels and are asked for by
/// nobody. What a route that has moved to another lock asks for is that lock's.
async fn outputs(
    client: &Client,
    settings: &Settings,
    key: &LockKey,
    routes: &[std::sync::Arc<ApiRoute>],
) -> Result<BTreeMap<(KeyId, String), FoundKey>, GatherError> {
    let mut found = BTreeMap::<(KeyId, String), FoundKey>::new();
    let namespaces: BTreeSet<&str> =
        settings.gateways.values().map(|gateway| gateway.output_namespace(&settings.namespace)).collect();
    let selector = format!(
        "{MANAGED_BY_LABEL}={MANAGED_BY},{}={},{}={}",
        labels::NAMESPACE_LABEL,
        key.namespace,
        labels::TRUST_LABEL,
        key.name
    );
    let listed = try_join_all(namespaces.into_iter().map(|namespace| {
        let params = ListParams::default().labels(&selector);
        async move {
            let secrets = list::<Secret>(client, namespace, &params).await?;
            let config_maps = list::<ConfigMap>(client, namespace, &params).await?;
            Ok((namespace, secrets, config_maps))
        }
    }))
    .await?;
    for (namespace, secrets, config_maps) in listed {
        for secret in secrets {
            if let Some(id) = key_id(&secret) {
                found.entry((id, namespace.to_owned())).or_default().secret = Some(secret);
            }
        }
        for config_map in config_maps {
            if let Some(id) = key_id(&config_map) {
                found.entry((id, namespace.to_owned())).or_default().config_map = Some(config_map);
            }
        }
    }
    let (mine, others): (Vec<_>, Vec<_>) =
        asked_for(settings, routes).partition(|(route, _, _)| route.spec.trust_ref.name == key.name);
    for (_, id, namespace) in others {
        found.remove(&(id, namespace));
    }
    let missing = mine
        .into_iter()
        .map(|(_, id, namespace)| (id, namespace))
        .filter(|at| found.get(at).is_none_or(|found| found.secret.is_none() || found.config_map.is_none()));
    // What lies there without our labels is somebody else's, and has to be seen so that it is left alone.
    let read = try_join_all(missing.map(|(id, namespace)| async move {
        let name = id.object_name();
        let (secret, config_map) = tokio::try_join!(
            get::<Secret>(Api::namespaced(client.clone(), &namespace), name.clone()),
            get::<ConfigMap>(Api::namespaced(client.clone(), &namespace), name),
        )?;
        Ok(((id, namespace), FoundKey { secret, config_map }))
    }))
    .await?;
    found.extend(read.into_iter().filter(|(_, key)| key.secret.is_some() || key.config_map.is_some()));
    Ok(found)
}

async fn list<K>(client: &Client, namespace: &str, params: &ListParams) -> Result<Vec<K>, GatherError>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let listed = Api::<K>::namespaced(client.clone(), namespace).list(params).await;
    listed.map(|list| list.items).map_err(|source| GatherError {
        what: format!("{}s in namespace {namespace}", K::kind(&())),
        source: Box::new(source),
    })
}

/// Each route with each declared gateway that it names: the key and the namespace of its outputs.
fn asked_for<'a>(
    settings: &'a Settings,
    routes: &'a [std::sync::Arc<ApiRoute>],
) -> impl Iterator<Item = (&'a ApiRoute, KeyId, String)> {
    routes.iter().flat_map(move |route| {
        route.spec.gateways.iter().filter_map(move |gateway| {
            let declared = settings.gateways.get(&gateway.name)?;
            let id = KeyId {
                gateway: gateway.name.clone(),
                namespace: route.namespace()?,
                route: route.name_any(),
            };
            Some((&**route, id, declared.output_namespace(&settings.namespace).to_owned()))
        })
    })
}

/// Which key an output belongs to, by its labels; its name must say the same.
pub fn key_id<K: Resource>(object: &K) -> Option<KeyId> {
    let label = |name: &str| object.labels().get(name).cloned();
    let id = KeyId {
        gateway: label(labels::GATEWAY_LABEL)?,
        namespace: label(labels::NAMESPACE_LABEL)?,
        route: label(labels::ROUTE_LABEL)?,
    };
    (id.object_name() == object.name_any()).then_some(id)
}

/// One entry for each key: of several namespaces the one that is asked for.
fn existing_keys(
    reader: &Reader,
    settings: &Settings,
    routes: &[std::sync::Arc<ApiRoute>],
    found: &BTreeMap<(KeyId, String), FoundKey>,
) -> BTreeMap<KeyId, ExistingKey> {
    let wanted: BTreeSet<(KeyId, String)> =
        asked_for(settings, routes).map(|(_, id, namespace)| (id, namespace)).collect();
    let mut keys = BTreeMap::new();
    let in_order = found.iter().filter(|(at, _)| !wanted.contains(at));
    for ((id, namespace), key) in in_order.chain(found.iter().filter(|(at, _)| wanted.contains(at))) {
        keys.insert(
            id.clone(),
            ExistingKey {
                namespace: namespace.clone(),
                secret: existing(key.secret.as_ref(), |secret| reader.key_secret(secret)),
                config_map: existing(key.config_map.as_ref(), |map| map.data.clone().unwrap_or_default()),
            },
        );
    }
    keys
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
) -> Existing<()> {
    match (existing(policy, |_| ()), existing(binding, |_| ())) {
        (Existing::Foreign, _) | (_, Existing::Foreign) => Existing::Foreign,
        (Existing::Absent, Existing::Absent) => Existing::Absent,
        _ => Existing::Ours(()),
    }
}

/// Since when the lock has been armed, by its own status.
pub fn armed_since(status: &BackendTrustStatus) -> Option<Timestamp> {
    let armed = status.conditions.iter().find(|one| one.type_ == ConditionType::Armed.as_str())?;
    (armed.status == "True").then_some(armed.last_transition_time.0)
}
