//! The kubelet's probes keep their meaning, and nobody gets in by them.

use k8s_openapi::api::core::v1::Pod;
use postern_config::layout::{PROBE_PORT, RECORD_ANNOTATION};
use postern_tests::attack::{self, Attack};
use postern_tests::cluster::{is_ready, why_not_ready};
use postern_tests::scene::NAME;
use postern_tests::workload::{Echo, HTTP, SECURE, Target};
use postern_tests::{Sharing, Test, cluster, lock, run, wait};
use serde_json::{Value, json};

#[test]
fn keep_their_meaning() {
    run(Sharing::Shared, async |test| {
        test.cluster.apply(&lock::echo_trust(&test.namespace, NAME)).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Armed", "True", "")).await;
        let kinds = [
            (
                "http",
                json!({"httpGet": {"path": "/healthz", "port": "http",
                "httpHeaders": [{"name": "X-Probe", "value": "kubelet"}]}}),
            ),
            ("https", json!({"httpGet": {"path": "/healthz", "port": SECURE, "scheme": "HTTPS"}})),
            ("tcp", json!({"tcpSocket": {"port": "tcp"}})),
            ("grpc", json!({"grpc": {"port": HTTP}})),
            ("exec", json!({"exec": {"command": ["/postern-echo", "hits"]}})),
        ];
        for (name, handler) in &kinds {
            test.cluster.apply(&pod(&test.namespace, name, handler)).await;
        }
        for (name, _) in &kinds {
            test.cluster.ready_pod(&test.namespace, name).await;
        }
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        // An application that says it is not well is believed.
        for name in ["http", "https", "grpc"] {
            health(test, name, &["/postern-echo", "health", "--down"]).await;
        }
        for name in ["http", "https", "grpc"] {
            ready(test, name, false).await;
            health(test, name, &["/postern-echo", "health"]).await;
        }
        for name in ["http", "https", "grpc"] {
            ready(test, name, true).await;
        }
        // A port on which nobody listens is not ready.
        let deaf = json!({"tcpSocket": {"port": 1}});
        test.cluster.apply(&pod(&test.namespace, "deaf", &deaf)).await;
        wait::until("the sidecar beside it to run", 30, async || {
            let pod: Pod = test.cluster.get(&test.namespace, "deaf").await;
            let running = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
            let running = running.into_iter().flatten().any(|one| one.started.is_some() && !one.ready);
            if running { Ok(()) } else { Err(why_not_ready(&pod)) }
        })
        .await;
        ready(test, "deaf", false).await;
    });
}

#[test]
fn let_nobody_in() {
    run(Sharing::Shared, async |test| {
        test.cluster.apply(&lock::echo_trust(&test.namespace, NAME)).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Armed", "True", "")).await;
        let handler = json!({"httpGet": {"path": "/healthz", "port": "http"}});
        test.cluster.apply(&pod(&test.namespace, "first", &handler)).await;
        let first = test.cluster.ready_pod(&test.namespace, "first").await;
        // Somebody brings the record of another pod, to have its probes.
        let record = annotation(&first).expect("an injected pod has a record");
        let mut second = pod(&test.namespace, "second", &json!({"tcpSocket": {"port": "tcp"}}));
        second["metadata"]["annotations"] = json!({RECORD_ANNOTATION: record});
        test.cluster.apply(&second).await;
        let second = test.cluster.ready_pod(&test.namespace, "second").await;
        assert_ne!(annotation(&second).as_deref(), Some(record.as_str()), "each pod has its own record");

        let address = cluster::addresses(&first).remove(0);
        let target = Target {
            namespace: test.namespace.clone(),
            pod: "first".to_owned(),
            uid: String::new(),
            addresses: vec![address.clone()],
            link_local: None,
            service: Vec::new(),
        };
        let get = |name: &str, port: u16, path: &str| {
            Attack::new(name, attack::attempt(&address, port, None, attack::get(path, false))).from_node()
        };
        let attacks = [
            get("the health check on the application's port", HTTP, "/healthz").logged("PortClosed"),
            get("any path on the probe port", PROBE_PORT, "/"),
            get("the health check on the probe port", PROBE_PORT, "/healthz"),
            get("a guessed probe", PROBE_PORT, "/probe/00000000000000000000000000000000/echo/readiness"),
        ];
        attack::all_refused(&test.cluster, &target, &attacks).await;
    });
}

fn pod(namespace: &str, name: &str, handler: &Value) -> Value {
    let mut spec = Echo::pod_spec();
    let mut probe = handler.clone();
    probe["periodSeconds"] = 1.into();
    probe["failureThreshold"] = 2.into();
    let container = &mut spec["containers"][0];
    container["readinessProbe"] = probe.clone();
    // Only the readiness of an unwell application is to change.
    probe["failureThreshold"] = 100.into();
    container["livenessProbe"] = probe.clone();
    container["startupProbe"] = probe;
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": NAME}},
        "spec": spec,
    })
}

fn annotation(pod: &Pod) -> Option<String> {
    pod.metadata.annotations.as_ref()?.get(RECORD_ANNOTATION).cloned()
}

async fn health(test: &Test, pod: &str, command: &[&str]) {
    let _: Value = test.cluster.exec_json(&test.namespace, pod, "echo", command, None).await;
}

async fn ready(test: &Test, name: &str, expected: bool) {
    wait::until(&format!("pod {name} to be Ready: {expected}"), 20, async || {
        let pod: Pod = test.cluster.get(&test.namespace, name).await;
        if is_ready(&pod) == expected { Ok(()) } else { Err(why_not_ready(&pod)) }
    })
    .await;
}
