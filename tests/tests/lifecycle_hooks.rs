//! `postStart` and `preStop` by `httpGet` reach the application behind the lock, as they did without it.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use postern_tests::scene::NAME;
use postern_tests::workload::{Echo, HTTP, LIGHTTPD_IMAGE};
use postern_tests::{Sharing, attacker, lock, run, wait};
use serde_json::{Value, json};

const POD: &str = "hooks";
const HOOKED: &str = "hooked";

/// The hooks of one container call another one, which outlives it and counts.
#[test]
fn are_called_before_a_container_is_used_and_before_it_ends() {
    run(Sharing::Shared, async |test| {
        test.cluster.apply(&lock::echo_trust(&test.namespace, NAME)).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Armed", "True", "")).await;
        test.cluster.apply(&pod(&test.namespace)).await;
        test.cluster.ready_pod(&test.namespace, POD).await;
        let requests = async || attacker::hits(&test.cluster, &test.namespace, POD).await.hits.http_requests;
        let started = requests().await;
        assert!(started > 0, "the postStart hook came");

        // The container's liveness is its neighbour's health.
        let health = async |command: &[&str]| {
            let _: Value = test.cluster.exec_json(&test.namespace, POD, "echo", command, None).await;
        };
        health(&["/postern-echo", "health", "--down"]).await;
        hooked(test, "to have ended", |container| container.restart_count > 0).await;
        health(&["/postern-echo", "health"]).await;
        hooked(test, "to run again", |container| {
            container.restart_count == 1 && container.started == Some(true)
        })
        .await;
        let ended = requests().await;
        assert!(
            ended >= started + 2,
            "its preStop hook, and the postStart hook of the next one: {started}, {ended}"
        );
    });
}

async fn hooked(test: &postern_tests::Test, what: &str, wanted: impl Fn(&ContainerStatus) -> bool) {
    wait::until(&format!("the container with the hooks {what}"), 60, async || {
        let pod: Pod = test.cluster.get(&test.namespace, POD).await;
        let statuses = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
        let status = statuses.into_iter().find(|status| status.name == HOOKED).ok_or("it has no status")?;
        if wanted(&status) { Ok(()) } else { Err(json!(status).to_string()) }
    })
    .await;
}

fn pod(namespace: &str) -> Value {
    let hook = |path: &str| json!({"httpGet": {"path": path, "port": HTTP}});
    let mut spec = Echo::pod_spec();
    spec["containers"][0].as_object_mut().unwrap().remove("readinessProbe");
    // It comes second, so the one that counts listens when the hook is called.
    spec["containers"].as_array_mut().unwrap().push(json!({
        "name": HOOKED, "image": LIGHTTPD_IMAGE, "imagePullPolicy": "Never",
        "lifecycle": {"postStart": hook("/started"), "preStop": hook("/stopping")},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": HTTP}, "periodSeconds": 1, "failureThreshold": 2},
    }));
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": POD, "labels": {"app": NAME}},
        "spec": spec,
    })
}
