//! Takes away what is not wanted any more.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::{Api, Client, ResourceExt};

use super::Reconciler;
use crate::apply::{ApplyError, remove};
use crate::gather::{Found, FoundKey};
use crate::inputs::KeyId;
use crate::plan::{LockState, Plan};

impl Reconciler {
    /// Removes what is not wanted any more, all of it that can be.
    ///
    /// # Errors
    /// The first; the removals after it have been tried nevertheless.
    pub(super) async fn remove(&self, found: &Found, plan: &Plan) -> Result<(), ApplyError> {
        if plan.remove.admission {
            self.proofs.forget(&plan.key);
        }
        Unwanted::new(found, plan).remove(&self.client).await
    }
}

/// What is there and should not be.
#[derive(Debug, Default)]
struct Unwanted<'a> {
    /// Outputs, each with its namespace.
    keys: Vec<(&'a str, &'a FoundKey)>,
    lock_secret: Option<&'a Secret>,
    binding: Option<&'a ValidatingAdmissionPolicyBinding>,
    policy: Option<&'a ValidatingAdmissionPolicy>,
    network_policy: Option<&'a NetworkPolicy>,
}

impl<'a> Unwanted<'a> {
    fn new(found: &'a Found, plan: &Plan) -> Self {
        let keys = found.keys.iter().filter(|((id, namespace), _)| {
            plan.remove.keys.contains(&(id.clone(), namespace.clone()))
                || is_left_behind(found, id, namespace)
        });
        Self {
            keys: keys.map(|((_, namespace), key)| (namespace.as_str(), key)).collect(),
            lock_secret: found.lock_secret.as_ref().filter(|_| plan.remove.lock_secret),
            binding: found.binding.as_ref().filter(|_| plan.remove.admission),
            policy: found.policy.as_ref().filter(|_| plan.remove.admission),
            network_policy: found.network_policy.as_ref().filter(|_| match &plan.lock {
                LockState::Present(lock) => !lock.listens,
                LockState::Orphaned { .. } => false,
                LockState::Gone => true,
            }),
        }
    }

    /// The policy comes last, since by it a lock that is gone is found again should the operator stop in between.
    async fn remove(&self, client: &Client) -> Result<(), ApplyError> {
        let mut result = Ok(());
        for (namespace, key) in &self.keys {
            result = result.and(remove_key(client, namespace, key).await);
        }
        if let Some(policy) = self.network_policy {
            let api = Api::namespaced(client.clone(), &policy.namespace().unwrap_or_default());
            result = result.and(remove(&api, policy).await.map(drop));
        }
        if let Some(secret) = self.lock_secret {
            let api = Api::namespaced(client.clone(), &secret.namespace().unwrap_or_default());
            let removed = remove::<Secret>(&api, secret).await;
            result = result.and(removed.map(|removed| {
                if removed {
                    tracing::info!(
                        secret = secret.name_any(),
                        "Secret of a lock that nobody has any more removed"
                    );
                }
            }));
        }
        if let Some(binding) = self.binding {
            result = result.and(remove(&Api::all(client.clone()), binding).await.map(drop));
        }
        if let Some(policy) = self.policy {
            let removed = remove(&Api::all(client.clone()), policy).await;
            result = result.and(removed.map(|removed| {
                if removed {
                    tracing::info!(policy = policy.name_any(), "admission policy removed");
                }
            }));
        }
        result
    }
}

/// The configuration goes first: a gateway that starts in between must not find one that names a certificate that
/// is gone. The Secret goes even if the configuration can't.
async fn remove_key(client: &Client, namespace: &str, key: &FoundKey) -> Result<(), ApplyError> {
    let mut result = Ok(());
    if let Some(config_map) = &key.config_map {
        let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        result = remove(&api, config_map).await.map(drop);
    }
    if let Some(secret) = &key.secret {
        let removed = remove(&Api::<Secret>::namespaced(client.clone(), namespace), secret).await;
        result = result.and(removed.map(|removed| {
            if removed {
                tracing::info!(namespace, secret = secret.name_any(), "key taken away");
            }
        }));
    }
    result
}

/// Outputs in a namespace that is no longer the gateway's, beside those in the one that is.
fn is_left_behind(found: &Found, id: &KeyId, namespace: &str) -> bool {
    found.inputs.keys.get(id).is_some_and(|existing| existing.namespace != namespace)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use kube::client::Body;
    use serde::de::DeserializeOwned;
    use serde_json::json;

    use super::*;

    fn ours<K: DeserializeOwned>(namespace: &str, name: &str) -> K {
        let labels = json!({"app.kubernetes.io/managed-by": "postern"});
        let metadata = json!({"namespace": namespace, "name": name, "uid": name, "labels": labels});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    /// Remembers what was to be deleted, and refuses all in namespace `refused`.
    fn cluster(asked: &Arc<Mutex<Vec<String>>>) -> Client {
        let asked = asked.clone();
        let answer = move |request: http::Request<Body>| {
            let path = request.uri().path().to_owned();
            let code = if path.contains("/namespaces/refused/") { 403 } else { 200 };
            let parts: Vec<&str> = path.rsplit('/').take(2).collect();
            asked.lock().unwrap().push(format!("{} {}/{}", request.method(), parts[1], parts[0]));
            let body = json!({"kind": "Status", "apiVersion": "v1", "message": "no", "code": code,
                              "status": if code == 200 { "Success" } else { "Failure" }});
            let answer = http::Response::builder().status(code);
            let answer = answer.body(Body::from(serde_json::to_vec(&body).unwrap()));
            std::future::ready(Ok::<_, std::convert::Infallible>(answer.unwrap()))
        };
        Client::new(tower::service_fn(answer), "postern")
    }

    #[tokio::test]
    async fn what_can_not_be_removed_keeps_nothing_else() {
        let key = |namespace| FoundKey {
            secret: Some(ours(namespace, namespace)),
            config_map: Some(ours(namespace, namespace)),
        };
        let (refused, edge) = (key("refused"), key("edge"));
        let (secret, binding, policy) = (ours("shop", "lock"), ours("", "guard"), ours("", "guard"));
        let network_policy = ours("shop", "lock");
        let unwanted = Unwanted {
            keys: vec![("refused", &refused), ("edge", &edge)],
            lock_secret: Some(&secret),
            binding: Some(&binding),
            policy: Some(&policy),
            network_policy: Some(&network_policy),
        };
        let asked = Arc::default();
        let error = unwanted.remove(&cluster(&asked)).await.unwrap_err().to_string();
        assert_eq!(error, "ConfigMap refused/refused cannot be deleted: no");
        assert_eq!(
            *asked.lock().unwrap(),
            [
                "DELETE configmaps/refused",
                "DELETE secrets/refused",
                "DELETE configmaps/edge",
                "DELETE secrets/edge",
                "DELETE networkpolicies/lock",
                "DELETE secrets/lock",
                "DELETE validatingadmissionpolicybindings/guard",
                "DELETE validatingadmissionpolicies/guard",
            ]
        );
    }
}
