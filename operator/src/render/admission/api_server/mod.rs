//! The policy on a real API server: `cargo test -p postern-operator -- --ignored api_server`, with `KUBECONFIG`.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::Guard;
use super::tests::guard;
use crate::injection::shape::{Admitted, Shape};
use crate::injection::tests::{guarded_pod, with};

mod creations;
mod updates;

const LIMIT: Duration = Duration::from_secs(30);

struct Cluster {
    client: Client,
    namespace: String,
    pods: Api<Pod>,
}

impl Cluster {
    async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::try_default().await.expect("KUBECONFIG must lead to an API server");
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let new = serde_json::from_value(json!({"metadata": {"generateName": "admission-"}})).unwrap();
        let namespace = namespaces.create(&PostParams::default(), &new).await.unwrap().metadata.name.unwrap();
        let pods = Api::namespaced(client.clone(), &namespace);
        Self { client, namespace, pods }
    }

    /// A pod of ours that nothing schedules.
    fn pod(&self, name: &str, trust: &str) -> Value {
        let pod = with(guarded_pod(trust), "/metadata/namespace", json!(self.namespace));
        let pod = with(pod, "/metadata/name", json!(name));
        let pod = with(pod, "/metadata/annotations", json!({"postern.dev/pod-record": "signed"}));
        let args = json!([
            "guard",
            format!("--namespace={}", self.namespace),
            format!("--trust={trust}"),
            format!("--verify-key={}", guard().verify_keys[0])
        ]);
        with(with(pod, "/spec/initContainers/1/args", args), "/spec/schedulerName", json!("nobody"))
    }

    fn plain(&self, name: &str) -> Value {
        let pod = self.pod(name, "orders");
        let pod = with(pod, "/spec/initContainers", json!([{"name": "migrate", "image": "app"}]));
        with(pod, "/spec/volumes", json!([{"name": "data", "emptyDir": {}}]))
    }

    async fn create(&self, pod: &Value, dry_run: bool) -> Result<(), String> {
        let pod = serde_json::from_value(pod.clone()).unwrap();
        let params = PostParams { dry_run, ..PostParams::default() };
        self.pods.create(&params, &pod).await.map(drop).map_err(|error| error.to_string())
    }

    /// A dry run of a strategic merge patch of the pod, or of a subresource.
    async fn patch(&self, name: &str, subresource: &str, patch: &Value) -> Result<(), String> {
        let params = PatchParams { dry_run: true, ..PatchParams::default() };
        let patch = Patch::Strategic(patch);
        match subresource {
            "" => self.pods.patch(name, &params, &patch).await,
            other => self.pods.patch_subresource(other, name, &params, &patch).await,
        }
        .map(drop)
        .map_err(|error| error.to_string())
    }

    fn guard(&self) -> Guard {
        // An operator that runs in the same cluster would take what bears its mark for the leftover of a lock.
        Guard { namespace: self.namespace.clone(), labels: BTreeMap::new(), ..guard() }
    }

    async fn arm(&self) {
        let guard = self.guard();
        let (policy, binding) = (guard.policy(), guard.binding());
        Api::all(self.client.clone()).create(&PostParams::default(), &policy).await.unwrap();
        Api::all(self.client.clone()).create(&PostParams::default(), &binding).await.unwrap();
        let armed = async {
            while self.create(&self.plain("probe"), true).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, armed).await.expect("the policy must come into force");
    }

    /// The policy becomes that of a lock which was deleted while pods run behind it.
    /// The lock leaves a UDP port open and trusts its workload; the older lock does neither.
    async fn reshape(&self) {
        let shape = Shape { udp_ports: [53].into(), ..Shape::default() };
        let orders = Admitted { shape, trusted: true, ..Admitted::plain("orders") };
        let policy = Guard { trusts: vec![orders, Admitted::plain("tier")], ..self.guard() }.policy();
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.client.clone());
        let name = super::object_name(&self.namespace, "orders");
        policies.patch(&name, &PatchParams::default(), &Patch::Merge(policy)).await.unwrap();
        let changed = async {
            while self.create(&self.pod("probe", "orders"), true).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, changed).await.expect("the changed policy must come into force");
    }

    /// The lock's sidecar takes over named ports; the older lock's is redirected to.
    async fn listen(&self) {
        let orders = Admitted { shape: Shape::listener(), ..Admitted::plain("orders") };
        let policy = Guard { trusts: vec![orders, Admitted::plain("tier")], ..self.guard() }.policy();
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.client.clone());
        let name = super::object_name(&self.namespace, "orders");
        policies.patch(&name, &PatchParams::default(), &Patch::Merge(policy)).await.unwrap();
        let changed = async {
            while self.create(&creations::listening(self), true).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, changed).await.expect("the changed policy must come into force");
    }

    async fn orphan(&self) {
        let policy = Guard { creations: false, ..self.guard() }.policy();
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.client.clone());
        let name = super::object_name(&self.namespace, "orders");
        policies.patch(&name, &PatchParams::default(), &Patch::Merge(policy)).await.unwrap();
        let opened = async {
            while self.create(&self.plain("probe"), true).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, opened).await.expect("new pods must start without the lock");
    }

    async fn type_warnings(&self) -> Value {
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.client.clone());
        let name = super::object_name(&self.namespace, "orders");
        let checked = async {
            loop {
                let policy = policies.get(&name).await.unwrap();
                if let Some(checking) = policy.status.and_then(|status| status.type_checking) {
                    return serde_json::to_value(checking).unwrap();
                }
            }
        };
        tokio::time::timeout(LIMIT, checked).await.expect("the controller manager must check the types")
    }

    async fn end(self) {
        use k8s_openapi::api::admissionregistration::v1 as admission;
        let name = super::object_name(&self.namespace, "orders");
        let params = DeleteParams::default();
        let policies: Api<admission::ValidatingAdmissionPolicy> = Api::all(self.client.clone());
        let bindings: Api<admission::ValidatingAdmissionPolicyBinding> = Api::all(self.client.clone());
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        bindings.delete(&name, &params).await.map(drop).unwrap();
        policies.delete(&name, &params).await.map(drop).unwrap();
        namespaces.delete(&self.namespace, &params).await.map(drop).unwrap();
    }
}

/// Expected: `Ok`, or what the refusal says.
type Expected = Result<(), &'static str>;

fn check(failures: &mut Vec<String>, case: &str, actual: &Result<(), String>, expected: Expected) {
    let agree = match (actual, &expected) {
        (Ok(()), Ok(())) => true,
        (Err(message), Err(part)) => message.contains(part) && message.contains("ValidatingAdmissionPolicy"),
        _ => false,
    };
    if !agree {
        failures.push(format!("{case}: expected {expected:?}, got {actual:?}"));
    }
}

#[tokio::test]
#[ignore = "needs an API server"]
async fn api_server_refuses_what_the_policy_refuses_and_nothing_else() {
    let cluster = Cluster::start().await;
    // Pods that ran before the lock was armed, and pods that the lock doesn't select.
    cluster.create(&cluster.plain("before"), false).await.unwrap();
    let outside = with(cluster.plain("outside"), "/metadata/labels", json!({"app": "other"}));
    cluster.create(&outside, false).await.unwrap();
    let weak = with(cluster.pod("weak", "weak"), "/metadata/labels", json!({"app": "other"}));
    cluster.create(&weak, false).await.unwrap();
    // They look injected, and their application may do what it likes.
    let app = "/spec/containers/0/securityContext";
    let forged = with(cluster.pod("forged", "orders"), app, json!({"privileged": true}));
    cluster.create(&with(forged, "/metadata/labels", json!({"app": "other"})), false).await.unwrap();
    let canary = with(cluster.pod("canary", "orders"), "/metadata/labels/canary", json!("yes"));
    cluster.create(&canary, false).await.unwrap();
    cluster.arm().await;
    cluster.create(&cluster.pod("guarded", "orders"), false).await.unwrap();
    let mut failures = Vec::new();
    creations::table(&cluster, &mut failures).await;
    check(&mut failures, "a huge pod", &cluster.create(&creations::huge(&cluster), true).await, Ok(()));
    updates::table(&cluster, &mut failures).await;
    updates::ephemeral_containers(&cluster, &mut failures).await;
    if cluster.type_warnings().await != json!({}) {
        failures.push(format!("the policy has type warnings: {}", cluster.type_warnings().await));
    }
    cluster.reshape().await;
    creations::of_another_shape(&cluster, &mut failures).await;
    if cluster.type_warnings().await != json!({}) {
        failures.push(format!("the reshaped policy has type warnings: {}", cluster.type_warnings().await));
    }
    cluster.listen().await;
    creations::without_a_redirect(&cluster, &mut failures).await;
    if cluster.type_warnings().await != json!({}) {
        failures.push(format!("the listener's policy has type warnings: {}", cluster.type_warnings().await));
    }
    cluster.orphan().await;
    updates::of_a_deleted_lock(&cluster, &mut failures).await;
    updates::ephemeral_containers(&cluster, &mut failures).await;
    cluster.end().await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
