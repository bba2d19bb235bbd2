//! Names and labels of what Postern writes. The labels say whose an object is; the first is the mark without which
//! nothing is ever touched.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_config::layout;

use crate::apply::{MANAGED_BY, MANAGED_BY_LABEL};
use crate::inputs::LockKey;
use crate::plan::KeyPlan;

/// Label: the `BackendTrust` that an object serves.
pub const TRUST_LABEL: &str = "postern.dev/trust";
/// Label: the namespace of that trust and of its routes.
pub const NAMESPACE_LABEL: &str = "postern.dev/namespace";
/// Label: the `ApiRoute` that an object serves.
pub const ROUTE_LABEL: &str = "postern.dev/route";
/// Label: the gateway that an object is for.
pub const GATEWAY_LABEL: &str = "postern.dev/gateway";

/// The labels of everything that serves one lock: by them its leftovers are found.
pub fn of_lock(key: &LockKey) -> BTreeMap<String, String> {
    [(MANAGED_BY_LABEL, MANAGED_BY), (TRUST_LABEL, &key.name), (NAMESPACE_LABEL, &key.namespace)]
        .into_iter()
        .map(|(label, value)| (label.to_owned(), value.to_owned()))
        .collect()
}

/// Metadata of the lock's Secret.
pub fn of_lock_secret(key: &LockKey) -> ObjectMeta {
    ObjectMeta {
        name: Some(layout::secret_name(&key.name)),
        namespace: Some(key.namespace.clone()),
        labels: Some(of_lock(key)),
        ..ObjectMeta::default()
    }
}

/// Metadata of a key's Secret and `ConfigMap`.
pub fn of_key(lock: &LockKey, key: &KeyPlan) -> ObjectMeta {
    let mut labels = of_lock(lock);
    labels.insert(ROUTE_LABEL.to_owned(), key.id.route.clone());
    labels.insert(GATEWAY_LABEL.to_owned(), key.id.gateway.clone());
    ObjectMeta {
        name: Some(key.id.object_name()),
        namespace: key.namespace.clone(),
        labels: Some(labels),
        ..ObjectMeta::default()
    }
}
