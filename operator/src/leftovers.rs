//! Locks that are gone, found by what they have left behind while nobody looked.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Resource};

use crate::apply::{MANAGED_BY, MANAGED_BY_LABEL, brief};
use crate::inputs::LockKey;
use crate::settings::Settings;
use crate::watch::{Stores, touched};

/// Every lock that there is anything of: it exists, a route names it, a pod mounts its Secret, or it has left an
/// admission policy or outputs for a gateway. What can't be listed is left out, with a warning: it is found when it
/// changes.
pub async fn all_locks(client: &Client, settings: &Settings, stores: &Stores) -> BTreeSet<LockKey> {
    let mut keys = BTreeSet::new();
    keys.extend(stores.trusts.state().iter().filter_map(|trust| touched::key_of_trust(trust)));
    keys.extend(stores.routes.state().iter().filter_map(|route| touched::key_of_route(route)));
    keys.extend(stores.pods.state().iter().flat_map(|pod| touched::mounted_by(pod)));
    let policies = Api::<PartialObjectMeta<ValidatingAdmissionPolicy>>::all(client.clone());
    keys.extend(listed(&policies, "ValidatingAdmissionPolicies").await);
    let outputs: BTreeSet<&str> =
        settings.gateways.values().map(|gateway| gateway.output_namespace(&settings.namespace)).collect();
    for namespace in outputs {
        let secrets = Api::<PartialObjectMeta<Secret>>::namespaced(client.clone(), namespace);
        keys.extend(listed(&secrets, "Secrets").await);
        let config_maps = Api::<PartialObjectMeta<ConfigMap>>::namespaced(client.clone(), namespace);
        keys.extend(listed(&config_maps, "ConfigMaps").await);
    }
    keys
}

async fn listed<K>(api: &Api<K>, what: &str) -> Vec<LockKey>
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let ours = ListParams::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
    match api.list(&ours).await {
        Ok(list) => list.items.iter().filter_map(touched::by_labels).collect(),
        Err(error) => {
            tracing::warn!(what, error = brief(&error), "leftovers of deleted locks can't be looked for");
            Vec::new()
        }
    }
}
