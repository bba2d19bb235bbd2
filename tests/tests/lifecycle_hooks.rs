//! `postStart` and `preStop` by `httpGet` reach the application behind the lock, as they did without it: each once.

use k8s_openapi::api::core::v1::Pod;
use postern_tests::scene::NAME;
use postern_tests::workload::{Echo, HTTP};
use postern_tests::{Sharing, Test, attacker, gateway, lock, run, wait};
use serde_json::{Value, json};

const POD: &str = "hooks";
const HOOKED: &str = "hooked";
/// Until it is told to end.
const WAITS: &str = "trap 'exit 0' TERM; while :; do sleep 60 & wait $!; done";

/// The hooks of one container call another one, which starts before it, outlives it and counts.
#[test]
fn are_called_before_a_container_is_used_and_before_it_ends() {
    run(Sharing::Shared, async |test| {
        test.cluster.apply(&lock::echo_trust(&test.namespace, NAME)).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Armed", "True", "")).await;
        test.cluster.apply(&pod(&test.namespace)).await;
        test.cluster.ready_pod(&test.namespace, POD).await;
        assert_eq!(seen(test).await, Ok(Seen { ends: 0, calls: 1 }), "the postStart hook came, once");

        // The container's liveness is its neighbour's health.
        let health = async |command: &[&str]| {
            let _: Value = test.cluster.exec_json(&test.namespace, POD, "echo", command, None).await;
        };
        health(&["/postern-echo", "health", "--down"]).await;
        wait::until("the container with the hooks to have ended", 60, async || match seen(test).await? {
            Seen { ends: 0, .. } => Err("it runs still".to_owned()),
            _ => Ok(()),
        })
        .await;
        health(&["/postern-echo", "health"]).await;
        // Where the machine is slow, the kubelet ends it more than once until it is well again.
        wait::until("a preStop and a postStart hook for each end", 60, async || {
            let Seen { ends, calls } = seen(test).await?;
            if calls == 1 + 2 * ends { Ok(()) } else { Err(format!("{ends} ends, {calls} calls")) }
        })
        .await;
    });
}

/// What became of the container, and what its hooks did.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// How often it was made anew.
    ends: u64,
    /// How often a hook was called.
    calls: u64,
}

/// Of a container that runs, with its postStart hook done, all the while that the calls are counted.
async fn seen(test: &Test) -> Result<Seen, String> {
    let ends = async || {
        let pod: Pod = test.cluster.get(&test.namespace, POD).await;
        let statuses = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
        let status = statuses.into_iter().find(|status| status.name == HOOKED).ok_or("it has no status")?;
        match u64::try_from(status.restart_count) {
            Ok(ends) if status.started == Some(true) => Ok(ends),
            _ => Err(json!(status).to_string()),
        }
    };
    let before = ends().await?;
    let calls = attacker::hits(&test.cluster, &test.namespace, POD).await.hits.http_requests;
    if ends().await? != before {
        return Err("it ends just now".to_owned());
    }
    Ok(Seen { ends: before, calls })
}

fn pod(namespace: &str) -> Value {
    let hook = |path: &str| json!({"httpGet": {"path": path, "port": HTTP}});
    let mut spec = Echo::pod_spec();
    // As a sidecar, the one that counts has started before the first hook is called. A hook that nothing accepts
    // makes the kubelet end the container, whose preStop hook then comes first.
    let mut echo = spec["containers"][0].take();
    echo["restartPolicy"] = json!("Always");
    let probe = echo.as_object_mut().unwrap().remove("readinessProbe").unwrap();
    echo["startupProbe"] = probe;
    spec["initContainers"] = json!([echo]);
    spec["containers"] = json!([{
        "name": HOOKED, "image": gateway::IMAGE, "imagePullPolicy": "Never", "command": ["/bin/sh", "-c", WAITS],
        "lifecycle": {"postStart": hook("/started"), "preStop": hook("/stopping")},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": HTTP}, "periodSeconds": 1, "failureThreshold": 2},
    }]);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": POD, "labels": {"app": NAME}},
        "spec": spec,
    })
}
