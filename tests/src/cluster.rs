//! The API server, as a user with `kubectl` sees it.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Pod, Secret};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, LogParams, Patch, PatchParams,
    PostParams,
};
use kube::core::Status;
use kube::{Api, Client, Config, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::wait;

/// Kinds that live in no namespace.
const CLUSTER_SCOPED: &[&str] = &[
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "MutatingWebhookConfiguration",
    "Namespace",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

/// A connection with somebody's rights.
#[derive(Clone)]
pub struct Cluster {
    /// For what is not covered here.
    pub client: Client,
}

impl Cluster {
    /// With the rights of `KUBECONFIG`.
    pub async fn connect() -> Self {
        Self::connect_as(None).await
    }

    /// As another user, by impersonation.
    pub async fn connect_as(user: Option<&str>) -> Self {
        // Fails only where a provider is installed already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        assert!(
            std::env::var_os("KUBECONFIG").is_some(),
            "the tests on real pods need a cluster: set KUBECONFIG, or run `tests/cluster/run.sh cargo test -p \
             postern-tests` once `make cluster-up` has started one"
        );
        let mut config = Config::infer().await.expect("KUBECONFIG names a usable configuration");
        config.auth_info.impersonate = user.map(str::to_owned);
        Self { client: Client::try_from(config).expect("a client") }
    }

    /// Objects of a kind in a namespace.
    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Server-side apply of one object, as `kubectl apply --server-side --force-conflicts` does.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn try_apply(&self, object: &Value) -> Result<DynamicObject, String> {
        self.apply_with(object, &PatchParams::apply("tests").force()).await
    }

    /// The same without any effect.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn dry_run(&self, object: &Value) -> Result<DynamicObject, String> {
        self.apply_with(object, &PatchParams::apply("tests").force().dry_run()).await
    }

    async fn apply_with(&self, object: &Value, params: &PatchParams) -> Result<DynamicObject, String> {
        let (api, name) = self.dynamic(object);
        api.patch(&name, params, &Patch::Apply(object)).await.map_err(|error| text(&error))
    }

    /// Applies an object that must be accepted.
    pub async fn apply(&self, object: &Value) -> DynamicObject {
        self.try_apply(object).await.unwrap_or_else(|error| panic!("{error}\nthe object: {object:#}"))
    }

    /// Each of them, in order.
    pub async fn apply_all(&self, objects: &[Value]) {
        for object in objects {
            self.apply(object).await;
        }
    }

    /// Creates, without updating what is there.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn try_create(&self, object: &Value) -> Result<DynamicObject, String> {
        let (api, _) = self.dynamic(object);
        let object = serde_json::from_value(object.clone()).expect("an object");
        api.create(&PostParams::default(), &object).await.map_err(|error| text(&error))
    }

    /// The object that `like` names by kind, namespace and name.
    pub async fn read(&self, like: &Value) -> Option<DynamicObject> {
        let (api, name) = self.dynamic(like);
        api.get_opt(&name).await.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Deletes what `like` names, if it is there.
    pub async fn delete(&self, like: &Value) {
        self.try_delete(like).await.unwrap_or_else(|error| panic!("{error}\nthe object: {like:#}"));
    }

    /// Deletes a lock, with the annotation that this asks for.
    pub async fn unlock(&self, trust: &Value) {
        let mut unlocked = trust.clone();
        unlocked["metadata"]["annotations"] = json!({"postern.dev/unlock": "true"});
        self.apply(&unlocked).await;
        self.delete(trust).await;
    }

    /// The same where it may be refused.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn try_delete(&self, like: &Value) -> Result<(), String> {
        let (api, name) = self.dynamic(like);
        match api.delete(&name, &DeleteParams::default()).await {
            Err(error) if !not_found(&error) => Err(text(&error)),
            _ => Ok(()),
        }
    }

    fn dynamic(&self, object: &Value) -> (Api<DynamicObject>, String) {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, version) = (text("/kind"), text("/apiVersion"));
        let (group, version) = version.rsplit_once('/').unwrap_or(("", &version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        let api = if CLUSTER_SCOPED.contains(&kind.as_str()) {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), &text("/metadata/namespace"), &resource)
        };
        (api, text("/metadata/name"))
    }

    /// One object.
    pub async fn get<K>(&self, namespace: &str, name: &str) -> K
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = self.api(namespace);
        api.get(name).await.unwrap_or_else(|error| panic!("{namespace}/{name}: {error}"))
    }

    /// A merge patch.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn try_patch<K>(&self, namespace: &str, name: &str, patch: Value) -> Result<K, String>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = self.api(namespace);
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map_err(|error| text(&error))
    }

    /// The same for the status subresource.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn try_patch_status<K>(&self, namespace: &str, name: &str, patch: Value) -> Result<K, String>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = self.api(namespace);
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map_err(|error| text(&error))
    }

    /// A Secret's values by key.
    pub async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<std::collections::BTreeMap<String, Vec<u8>>> {
        let api: Api<Secret> = self.api(namespace);
        let secret = api.get_opt(name).await.unwrap_or_else(|error| panic!("{namespace}/{name}: {error}"))?;
        Some(secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect())
    }

    /// A `ConfigMap`'s values by key.
    pub async fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<std::collections::BTreeMap<String, String>> {
        let api: Api<ConfigMap> = self.api(namespace);
        let map = api.get_opt(name).await.unwrap_or_else(|error| panic!("{namespace}/{name}: {error}"))?;
        Some(map.data.unwrap_or_default())
    }

    /// The pods with these labels that are not being deleted.
    pub async fn pods(&self, namespace: &str, labels: &str) -> Vec<Pod> {
        let api: Api<Pod> = self.api(namespace);
        let pods = api.list(&ListParams::default().labels(labels)).await.expect("a list of pods");
        pods.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect()
    }

    /// Waits until a pod is Ready and returns it.
    pub async fn ready_pod(&self, namespace: &str, name: &str) -> Pod {
        let api: Api<Pod> = self.api(namespace);
        wait::until(&format!("pod {namespace}/{name} to be Ready"), 60, async || {
            let pod = api.get(name).await.map_err(|error| text(&error))?;
            if is_ready(&pod) { Ok(pod) } else { Err(why_not_ready(&pod)) }
        })
        .await
    }

    /// What a container has logged, or nothing if it cannot be had.
    pub async fn logs(&self, namespace: &str, pod: &str, container: &str) -> String {
        let api: Api<Pod> = self.api(namespace);
        let params = LogParams { container: Some(container.to_owned()), ..LogParams::default() };
        api.logs(pod, &params).await.unwrap_or_default()
    }

    /// Waits until what `like` names is gone.
    pub async fn gone(&self, like: &Value) {
        let (api, name) = self.dynamic(like);
        wait::until(&format!("{name} to be gone"), 60, async || match api.get_opt(&name).await {
            Ok(None) => Ok(()),
            Ok(Some(object)) => {
                Err(format!("it is there still, deleted at {:?}", object.metadata.deletion_timestamp))
            }
            Err(error) => Err(text(&error)),
        })
        .await;
    }

    /// Makes a namespace.
    pub async fn create_namespace(&self, name: &str, labels: &Value) {
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
        });
        self.apply(&object).await;
    }

    /// Begins to delete a namespace.
    pub async fn delete_namespace(&self, name: &str) {
        let api: Api<Namespace> = Api::all(self.client.clone());
        // One that is gone already is as good.
        let _ = api.delete(name, &DeleteParams::default()).await;
    }

    /// The events of a namespace, one a line.
    pub async fn events(&self, namespace: &str) -> Vec<String> {
        let api: Api<Event> = self.api(namespace);
        let Ok(events) = api.list(&ListParams::default()).await else { return Vec::new() };
        let line = |event: Event| {
            let about = event.involved_object;
            format!(
                "{} {}/{}: {}: {}",
                event.type_.unwrap_or_default(),
                about.kind.unwrap_or_default(),
                about.name.unwrap_or_default(),
                event.reason.unwrap_or_default(),
                event.message.unwrap_or_default(),
            )
        };
        events.items.into_iter().map(line).collect()
    }
}

/// An API server's refusal in its own words.
pub fn text(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Whether an object is not there.
pub fn not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if is_not_found(status))
}

fn is_not_found(status: &Status) -> bool {
    status.code == 404
}

/// Whether a pod's Ready condition is True and it is not ending.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True")
}

/// In a line, for the message of a wait that failed.
pub fn why_not_ready(pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    let mut containers = status.init_container_statuses.unwrap_or_default();
    containers.extend(status.container_statuses.unwrap_or_default());
    let told: Vec<_> = containers.iter().map(|one| format!("{}={}", one.name, json!(one.state))).collect();
    format!("pod {} is {}: {}", pod.name_any(), status.phase.unwrap_or_default(), told.join(", "))
}

/// The addresses of a pod: IPv4 and IPv6 where it has both.
pub fn addresses(pod: &Pod) -> Vec<String> {
    let ips = pod.status.as_ref().and_then(|status| status.pod_ips.clone()).unwrap_or_default();
    ips.into_iter().map(|ip| ip.ip).collect()
}

/// The first address of a running pod, IPv4 where there is one.
pub fn address(pod: &Pod) -> String {
    addresses(pod).into_iter().next().expect("a running pod has an address")
}
