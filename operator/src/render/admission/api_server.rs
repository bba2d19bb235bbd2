//! The policy on a real API server: `cargo test -p postern-operator -- --ignored api_server`, with `KUBECONFIG`.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::tests::guard;
use crate::injection::tests::{guarded_pod, with};

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

    async fn arm(&self) {
        let mut guard = guard();
        guard.namespace.clone_from(&self.namespace);
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

    async fn type_warnings(&self) -> Value {
        use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
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
    cluster.arm().await;
    cluster.create(&cluster.pod("guarded", "orders"), false).await.unwrap();
    let mut failures = Vec::new();
    creations(&cluster, &mut failures).await;
    updates(&cluster, &mut failures).await;
    ephemeral_containers(&cluster, &mut failures).await;
    if cluster.type_warnings().await != json!({}) {
        failures.push(format!("the policy has type warnings: {}", cluster.type_warnings().await));
    }
    cluster.end().await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[allow(clippy::too_many_lines)] // one table
async fn creations(cluster: &Cluster, failures: &mut Vec<String>) {
    let good = cluster.pod("new", "orders");
    let (r, s, app) = ("/spec/initContainers/0", "/spec/initContainers/1", "/spec/containers/0");
    let late = |pod: &Value| {
        let mut pod = pod.clone();
        pod["spec"]["initContainers"].as_array_mut().unwrap().rotate_right(1);
        pod
    };
    let edits = |edits: &[(String, Value)]| {
        edits.iter().cloned().fold(good.clone(), |pod, (pointer, value)| with(pod, &pointer, value))
    };
    let one = |pointer: String, value: Value| edits(&[(pointer, value)]);
    let resources = json!({"limits": {"cpu": "2", "memory": "64Mi"}, "requests": {"cpu": "1m"}});
    for (case, pod, expected) in [
        ("injected", good.clone(), Ok(())),
        ("injected for an older lock", cluster.pod("new", "tier"), Ok(())),
        ("the previous image", one(format!("{s}/image"), json!("postern/sidecar:1")), Ok(())),
        ("a quota's resources", one(format!("{s}/resources"), resources), Ok(())),
        ("always pulled", one(format!("{s}/imagePullPolicy"), json!("Always")), Ok(())),
        ("not injected", cluster.plain("new"), Err("(what differs: the first two init containers)")),
        ("behind another", late(&good), Err("the first two init containers")),
        ("injected for another lock", cluster.pod("new", "weak"), Err("args of postern-sidecar, volume")),
        ("another image", one(format!("{s}/image"), json!("evil")), Err("the image of postern-sidecar)")),
        ("another redirect", one(format!("{r}/image"), json!("evil")), Err("the image of postern-redirect)")),
        ("command", one(format!("{s}/command"), json!(["sh"])), Err("command of postern-sidecar)")),
        ("no redirect", one(format!("{r}/args"), json!(["help"])), Err("args of postern-redirect)")),
        (
            "hook",
            one(format!("{s}/lifecycle"), json!({"postStart": {"exec": {"command": ["x"]}}})),
            Err("lifecycle of"),
        ),
        (
            "liveness",
            one(format!("{s}/livenessProbe"), json!({"exec": {"command": ["x"]}})),
            Err("livenessProbe of"),
        ),
        (
            "environment",
            one(format!("{s}/env"), json!([{"name": "A", "value": "b"}])),
            Err("env of postern-sidecar)"),
        ),
        (
            "endless redirect",
            one(format!("{r}/restartPolicy"), json!("Always")),
            Err("restartPolicy of postern-redirect)"),
        ),
        (
            "root sidecar",
            one(format!("{s}/securityContext/runAsUser"), json!(0)),
            Err("securityContext of postern-sidecar"),
        ),
        (
            "no state",
            one(format!("{s}/volumeMounts/2"), Value::Null),
            Err("volumeMounts of postern-sidecar)"),
        ),
        (
            "another Secret",
            one("/spec/volumes/0/secret/secretName".to_owned(), json!("postern-weak")),
            Err("volume postern-config)"),
        ),
        ("host network", one("/spec/hostNetwork".to_owned(), json!(true)), Err("the pod sets hostNetwork")),
        ("host pids", one("/spec/hostPID".to_owned(), json!(true)), Err("the pod sets hostPID")),
        (
            "shared pids",
            one("/spec/shareProcessNamespace".to_owned(), json!(true)),
            Err("shareProcessNamespace"),
        ),
        (
            "our user",
            one("/spec/securityContext".to_owned(), json!({"runAsUser": 15100})),
            Err("runs as user 15100"),
        ),
        (
            "our user in a container",
            one(format!("{app}/securityContext"), json!({"runAsUser": 15100})),
            Err("container app runs as user 15100"),
        ),
        (
            "privileged",
            one(format!("{app}/securityContext"), json!({"privileged": true})),
            Err("container app is privileged"),
        ),
        (
            "privileged init container",
            one("/spec/initContainers/2/securityContext".to_owned(), json!({"privileged": true})),
            Err("container migrate is privileged"),
        ),
        (
            "capability",
            one(format!("{app}/securityContext"), json!({"capabilities": {"add": ["cap_net_admin"]}})),
            Err("container app adds a capability"),
        ),
        (
            "harmless capability",
            one(format!("{app}/securityContext"), json!({"capabilities": {"add": ["NET_BIND_SERVICE"]}})),
            Ok(()),
        ),
        (
            "our volume mounted",
            one(format!("{app}/volumeMounts/-"), json!({"name": "postern-config", "mountPath": "/x"})),
            Err("container app mounts a volume that is the sidecar's"),
        ),
        (
            "reserved volume",
            one("/spec/volumes/-".to_owned(), json!({"name": "postern-x", "emptyDir": {}})),
            Err("volume postern-x has a name that is kept"),
        ),
        (
            "reserved container",
            one("/spec/containers/-".to_owned(), json!({"name": "postern-x", "image": "x"})),
            Err("container postern-x has a name that is kept"),
        ),
        (
            "the Secret in another volume",
            one(
                "/spec/volumes/-".to_owned(),
                json!({"name": "x", "secret": {"secretName": "postern-orders"}}),
            ),
            Err("volume x reads the lock's Secret"),
        ),
        (
            "the Secret projected",
            one(
                "/spec/volumes/-".to_owned(),
                json!({"name": "x", "projected": {"sources": [{"secret": {"name": "postern-orders"}}]}}),
            ),
            Err("volume x reads the lock's Secret"),
        ),
        (
            "the Secret as environment",
            one(format!("{app}/envFrom"), json!([{"secretRef": {"name": "postern-orders"}}])),
            Err("container app reads the lock's Secret"),
        ),
        (
            "a key of the Secret",
            one(
                format!("{app}/env"),
                json!([{"name": "K", "valueFrom": {"secretKeyRef": {"name": "postern-orders", "key": "tls.key"}}}]),
            ),
            Err("container app reads the lock's Secret"),
        ),
        ("not selected", with(cluster.plain("new"), "/metadata/labels/app", json!("carts")), Ok(())),
    ] {
        check(failures, case, &cluster.create(&pod, true).await, expected);
    }
}

async fn updates(cluster: &Cluster, failures: &mut Vec<String>) {
    let labels = |labels: Value| json!({"metadata": {"labels": labels}});
    let image = |list: &str, name: &str| json!({"spec": {list: [{"name": name, "image": "evil"}]}});
    let resize = |list: &str, name: &str| json!({"spec": {list: [{"name": name, "resources": {"limits": {"cpu": "3"}}}]}});
    let status = json!({"status": {"conditions": [{"type": "example.com/x", "status": "True"}]}});
    let kept = Err("the labels by which the lock selects cannot change");
    let ours = Err("belong to BackendTrust");
    for (case, pod, subresource, patch, expected) in [
        ("before: leaves the lock", "before", "", labels(json!({"app": "x"})), kept),
        ("before: leaves by status", "before", "status", labels(json!({"app": "x"})), kept),
        ("before: loses the label", "before", "", labels(json!({"app": null})), kept),
        ("before: leaves by an expression", "before", "", labels(json!({"canary": "x"})), kept),
        ("before: another label", "before", "", labels(json!({"role": "leader"})), Ok(())),
        ("before: annotation", "before", "", json!({"metadata": {"annotations": {"a": "b"}}}), Ok(())),
        ("before: status", "before", "status", status.clone(), Ok(())),
        ("before: finalizer", "before", "", json!({"metadata": {"finalizers": ["example.com/x"]}}), Ok(())),
        ("before: image", "before", "", image("containers", "app"), Ok(())),
        ("outside: comes in", "outside", "", labels(json!({"app": "orders"})), kept),
        ("outside: comes in by status", "outside", "status", labels(json!({"app": "orders"})), kept),
        ("outside: another label", "outside", "", labels(json!({"app": "carts"})), Ok(())),
        ("weak: comes in", "weak", "", labels(json!({"app": "orders"})), kept),
        ("guarded: another label", "guarded", "", labels(json!({"role": "leader"})), Ok(())),
        ("guarded: leaves", "guarded", "", labels(json!({"app": "x"})), Ok(())),
        ("guarded: image of the application", "guarded", "", image("containers", "app"), Ok(())),
        ("guarded: image of the sidecar", "guarded", "", image("initContainers", "postern-sidecar"), ours),
        ("guarded: image of the redirect", "guarded", "", image("initContainers", "postern-redirect"), ours),
        ("guarded: resized sidecar", "guarded", "resize", resize("initContainers", "postern-sidecar"), ours),
        ("guarded: status", "guarded", "status", status, Ok(())),
        (
            "guarded: record",
            "guarded",
            "",
            json!({"metadata": {"annotations": {"postern.dev/pod-record": "forged"}}}),
            Err("is signed for this pod and cannot change"),
        ),
        (
            "guarded: record removed by status",
            "guarded",
            "status",
            json!({"metadata": {"annotations": {"postern.dev/pod-record": null}}}),
            Err("is signed for this pod and cannot change"),
        ),
        (
            "guarded: configuration announced",
            "guarded",
            "",
            json!({"metadata": {"annotations": {"postern.dev/config": "sha256:1"}}}),
            Ok(()),
        ),
    ] {
        check(failures, case, &cluster.patch(pod, subresource, &patch).await, expected);
    }
}

async fn ephemeral_containers(cluster: &Cluster, failures: &mut Vec<String>) {
    for (case, fields, expected) in [
        ("plain", json!({}), Ok(())),
        ("beside the application", json!({"targetContainerName": "app"}), Ok(())),
        ("inside the sidecar", json!({"targetContainerName": "postern-sidecar"}), Err("targets a container")),
        ("our user", json!({"securityContext": {"runAsUser": 15100}}), Err("runs as user 15100")),
        ("privileged", json!({"securityContext": {"privileged": true}}), Err("is privileged")),
        (
            "capability",
            json!({"securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}}),
            Err("adds a capability"),
        ),
        (
            "our volume",
            json!({"volumeMounts": [{"name": "postern-config", "mountPath": "/x"}]}),
            Err("mounts a volume that is the sidecar's"),
        ),
        (
            "the Secret",
            json!({"envFrom": [{"secretRef": {"name": "postern-orders"}}]}),
            Err("reads the lock's Secret"),
        ),
        ("our name", json!({"name": "postern-debug"}), Err("has a name that is kept")),
    ] {
        let mut container = json!({"name": "debug", "image": "debug"});
        container.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let patch = json!({"spec": {"ephemeralContainers": [container]}});
        let case = format!("ephemeral container: {case}");
        check(failures, &case, &cluster.patch("guarded", "ephemeralcontainers", &patch).await, expected);
    }
}
