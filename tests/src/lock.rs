//! Lock and key: the two resources, and waiting for their conditions.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, ResourceExt as _};
use postern_crds::{ApiRoute, BackendTrust};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::wait;

/// Seconds within which a condition must be as expected. Far more than it takes: how long that is, is tested
/// where it matters.
pub const LIMIT: u64 = 120;

/// A lock on the pods with the label `app`, whose port `tcp` speaks TCP where they have one.
pub fn trust(namespace: &str, name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "BackendTrust",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"podSelector": {"matchLabels": {"app": app}}},
    })
}

/// The lock on an echo server, whose port `tcp` is TCP.
pub fn echo_trust(namespace: &str, name: &str) -> Value {
    let mut trust = trust(namespace, name, name);
    trust["spec"]["ports"] = json!([{"port": "tcp", "protocol": "TCP"}]);
    trust
}

/// A key for one gateway.
pub fn route(namespace: &str, name: &str, trust: &str, gateway: &str, service: &str, port: u16) -> Value {
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ApiRoute",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "trustRef": {"name": trust},
            "gateways": [{"name": gateway}],
            "backendRef": {"name": service, "port": port},
        },
    })
}

/// Whatever has conditions and tells which generation it looked at.
pub trait Judged {
    /// Namespace and name.
    fn title(&self) -> String;
    /// The conditions.
    fn conditions(&self) -> &[Condition];
    /// Whether the status is about the newest specification.
    fn observed(&self) -> bool;
}

impl Judged for BackendTrust {
    fn title(&self) -> String {
        format!("BackendTrust {}/{}", self.namespace().unwrap_or_default(), self.name_any())
    }

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    fn observed(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.observed_generation == self.metadata.generation)
    }
}

impl Judged for ApiRoute {
    fn title(&self) -> String {
        format!("ApiRoute {}/{}", self.namespace().unwrap_or_default(), self.name_any())
    }

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    fn observed(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.observed_generation == self.metadata.generation)
    }
}

/// The condition of a type, if it is there.
pub fn condition<'a>(object: &'a impl Judged, type_: &str) -> Option<&'a Condition> {
    object.conditions().iter().find(|one| one.type_ == type_)
}

/// Whether `object` says that the condition has this status (and, unless empty, this reason).
///
/// # Errors
/// All that it says instead.
pub fn says(object: &impl Judged, type_: &str, status: &str, reason: &str) -> Result<(), String> {
    let found = condition(object, type_);
    let holds = found.is_some_and(|one| one.status == status && (reason.is_empty() || one.reason == reason));
    if holds && object.observed() {
        return Ok(());
    }
    let all: Vec<_> = object
        .conditions()
        .iter()
        .map(|one| format!("{}={} {}: {}", one.type_, one.status, one.reason, one.message))
        .collect();
    let observed = if object.observed() { "" } else { " (of an older generation)" };
    Err(format!(
        "{} does not say {type_}={status} {reason} but{observed}: {}",
        object.title(),
        all.join("; ")
    ))
}

/// Waits until a BackendTrust says so.
pub async fn trust_says(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    (type_, status, reason): (&str, &str, &str),
) -> BackendTrust {
    let api: Api<BackendTrust> = cluster.api(namespace);
    wait::until(&format!("BackendTrust {namespace}/{name} {type_}={status} {reason}"), LIMIT, async || {
        let trust = api.get(name).await.map_err(|error| error.to_string())?;
        says(&trust, type_, status, reason).map(|()| trust)
    })
    .await
}

/// Waits until an ApiRoute says so.
pub async fn route_says(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    (type_, status, reason): (&str, &str, &str),
) -> ApiRoute {
    let api: Api<ApiRoute> = cluster.api(namespace);
    wait::until(&format!("ApiRoute {namespace}/{name} {type_}={status} {reason}"), LIMIT, async || {
        let route = api.get(name).await.map_err(|error| error.to_string())?;
        says(&route, type_, status, reason).map(|()| route)
    })
    .await
}

/// Applies a lock and waits until it holds on every pod.
pub async fn locked(cluster: &Cluster, trust: &Value) -> BackendTrust {
    cluster.apply(trust).await;
    let (namespace, name) = names(trust);
    trust_says(cluster, &namespace, &name, ("Ready", "True", "")).await
}

/// Applies a key and waits until it fits.
pub async fn keyed(cluster: &Cluster, route: &Value) -> ApiRoute {
    cluster.apply(route).await;
    let (namespace, name) = names(route);
    route_says(cluster, &namespace, &name, ("Ready", "True", "")).await
}

/// Namespace and name of an object.
pub fn names(object: &Value) -> (String, String) {
    let text = |key: &str| object["metadata"][key].as_str().expect("namespace and name").to_owned();
    (text("namespace"), text("name"))
}
