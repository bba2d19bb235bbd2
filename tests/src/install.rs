//! Postern itself: installed by Helm once for all tests, with the gateways that they use.

use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::cluster::{Cluster, is_ready};
use crate::run::LABEL;
use crate::{attacker, wait};

/// Where the operator runs.
pub const NAMESPACE: &str = "postern-system";
/// The Helm release.
pub const RELEASE: &str = "postern";
/// The operator's Deployment.
pub const OPERATOR: &str = "postern-operator";
/// The image that is injected first.
pub const SIDECAR_IMAGE: &str = "postern.dev/postern-sidecar:dev";
/// The same program under another name: what an upgrade brings.
pub const NEXT_SIDECAR_IMAGE: &str = "postern.dev/postern-sidecar:next";

/// A gateway that every namespace may route through, and its namespace.
pub const EDGE: (&str, &str) = ("edge", "gateways");
/// A second one, owned by somebody else.
pub const OTHER: (&str, &str) = ("other", "gateways-other");
/// One that only namespaces with the label [`PARTNER_LABEL`] may use, for the hostnames below `example.com`.
pub const PARTNER: (&str, &str) = ("partner", "gateways-partner");
/// See [`PARTNER`].
pub const PARTNER_LABEL: &str = "tests.postern.dev/partner";

static ONCE: OnceCell<()> = OnceCell::const_new();

/// The repository's top.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in a folder of the repository")
        .to_owned()
}

/// The chart.
pub fn chart() -> PathBuf {
    repository().join("charts/postern")
}

/// The chart's values for the tests.
pub fn values(sidecar_image: &str) -> Value {
    let (sidecar, sidecar_tag) = sidecar_image.rsplit_once(':').expect("an image with a tag");
    json!({
        "image": {"repository": "postern.dev/postern-operator", "tag": "dev", "pullPolicy": "Never"},
        "sidecar": {"image": {"repository": sidecar, "tag": sidecar_tag, "pullPolicy": "Never"}},
        "gateways": [
            {"name": EDGE.0, "flavour": "NGINX", "namespace": EDGE.1,
             "allowedRoutes": {"namespaces": {"from": "All"}}},
            {"name": OTHER.0, "flavour": "NGINX", "namespace": OTHER.1,
             "allowedRoutes": {"namespaces": {"from": "All"}}},
            {"name": PARTNER.0, "flavour": "NGINX", "namespace": PARTNER.1,
             "allowedRoutes": {"namespaces": {"from": "Selector",
                 "selector": {"matchLabels": {PARTNER_LABEL: "true"}}}}},
        ],
    })
}

/// Runs helm with these arguments.
///
/// # Errors
/// What it printed.
pub async fn helm(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("helm").args(arguments).output().await.map_err(|error| {
        format!("helm cannot be run ({error}): `tests/cluster/run.sh` puts the one that was built into PATH")
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("helm {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// `helm upgrade --install`, and waits until every replica of the operator is the new one.
///
/// # Errors
/// What helm printed.
pub async fn upgrade(cluster: &Cluster, values: &Value) -> Result<(), String> {
    let file = std::env::temp_dir().join(format!("{}.yaml", crate::run::random_name("postern-values")));
    std::fs::write(&file, values.to_string()).map_err(|error| error.to_string())?;
    let chart = chart();
    let arguments = [
        "upgrade",
        "--install",
        RELEASE,
        &chart.to_string_lossy(),
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--values",
        &file.to_string_lossy(),
    ];
    let result = helm(&arguments).await;
    let _ = std::fs::remove_file(&file);
    result?;
    rolled_out(cluster).await;
    Ok(())
}

/// Waits until new pods get `image`: the leader puts it on record once every lock's policy lets it pass.
pub async fn injects(cluster: &Cluster, image: &str) {
    wait::until("the sidecar's image on record", 90, async || {
        let record = cluster.config_map(NAMESPACE, "postern-images").await.unwrap_or_default();
        if record.get("current").map(String::as_str) == Some(image) {
            return Ok(());
        }
        Err(format!("{record:?}"))
    })
    .await;
}

/// Waits until every replica of the operator is of the newest template and Ready, and no other is left.
pub async fn rolled_out(cluster: &Cluster) {
    let api: Api<Deployment> = cluster.api(NAMESPACE);
    wait::until("the operator's replicas", 90, async || {
        let deployment = api.get(OPERATOR).await.map_err(|error| error.to_string())?;
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let status = deployment.status.clone().unwrap_or_default();
        let api: Api<Pod> = cluster.api(NAMESPACE);
        // With those that are still ending: they answer until they are gone.
        let operators = ListParams::default().labels("app.kubernetes.io/component=operator");
        let pods = api.list(&operators).await.map_err(|error| error.to_string())?.items;
        let settled = status.observed_generation == deployment.metadata.generation
            && status.updated_replicas.unwrap_or(0) == wanted
            && status.available_replicas.unwrap_or(0) == wanted
            && i32::try_from(pods.len()) == Ok(wanted);
        if settled {
            return Ok(());
        }
        let waiting: Vec<_> =
            pods.iter().filter(|pod| !is_ready(pod)).map(crate::cluster::why_not_ready).collect();
        Err(format!("{}; {}", json!(status), waiting.join("; ")))
    })
    .await;
}

/// Installs what all tests share, the first time that it is called.
pub async fn once(cluster: &Cluster) {
    ONCE.get_or_init(|| install(cluster)).await;
}

async fn install(cluster: &Cluster) {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let stale = namespaces.list(&ListParams::default().labels(LABEL)).await.expect("a list of namespaces");
    for namespace in stale {
        cluster.delete_namespace(&namespace.name_any()).await;
    }
    for (_, namespace) in [EDGE, OTHER, PARTNER] {
        cluster.create_namespace(namespace, &json!({})).await;
    }
    let restart = cluster.read(&operator_reference()).await.is_some();
    upgrade(cluster, &values(SIDECAR_IMAGE)).await.unwrap_or_else(|error| panic!("{error}"));
    if restart {
        // The image may be another under the same name.
        restart_operator(cluster).await;
    }
    attacker::deploy(cluster).await;
}

/// As `kubectl rollout restart` does.
pub async fn restart_operator(cluster: &Cluster) {
    let now = jiff::Timestamp::now().to_string();
    let annotation = json!({"tests.postern.dev/restarted": now});
    let patch = json!({"spec": {"template": {"metadata": {"annotations": annotation}}}});
    cluster.try_patch::<Deployment>(NAMESPACE, OPERATOR, patch).await.expect("the operator's Deployment");
    rolled_out(cluster).await;
}

/// Lets so many replicas of the operator run, and waits until none else is left. The number is nobody's then, so that
/// Helm sets it again without a conflict.
pub async fn scale_operator(cluster: &Cluster, replicas: i32) {
    const SCALER: &str = "tests-scaler";
    set_replicas(cluster, replicas, SCALER).await;
    wait::until("the number of replicas to be nobody's", 10, async || {
        let mut metadata = cluster.get::<Deployment>(NAMESPACE, OPERATOR).await.metadata;
        let mut managers = metadata.managed_fields.take().unwrap_or_default();
        managers.retain(|entry| entry.manager.as_deref() != Some(SCALER));
        // Only as long as nobody else has written meanwhile.
        let patch =
            json!({"metadata": {"managedFields": managers, "resourceVersion": metadata.resource_version}});
        cluster.try_patch::<Deployment>(NAMESPACE, OPERATOR, patch).await
    })
    .await;
    rolled_out(cluster).await;
}

/// As `kubectl scale` does, which is the field manager `kubectl`.
pub async fn kubectl_scale_operator(cluster: &Cluster, replicas: i32) {
    set_replicas(cluster, replicas, "kubectl").await;
    rolled_out(cluster).await;
}

async fn set_replicas(cluster: &Cluster, replicas: i32, manager: &str) {
    let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let api: Api<Deployment> = cluster.api(NAMESPACE);
    api.patch_scale(OPERATOR, &params, &patch).await.expect("the operator's Deployment");
}

/// Names the operator's Deployment.
pub fn operator_reference() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": NAMESPACE, "name": OPERATOR}})
}
