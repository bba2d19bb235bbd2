//! Pods that exist.

use serde_json::{Value, json};

use super::{Cluster, check};

pub(super) async fn table(cluster: &Cluster, failures: &mut Vec<String>) {
    let labels = |labels: Value| json!({"metadata": {"labels": labels}});
    let image = |list: &str, name: &str| json!({"spec": {list: [{"name": name, "image": "evil"}]}});
    let resize = |list: &str, name: &str| json!({"spec": {list: [{"name": name, "resources": {"limits": {"cpu": "3"}}}]}});
    let status = json!({"status": {"conditions": [{"type": "example.com/x", "status": "True"}]}});
    let kept = Err("the labels by which the lock selects cannot change");
    let created = Err("only when they are created");
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
        ("outside: comes in", "outside", "", labels(json!({"app": "orders"})), created),
        ("outside: comes in by status", "outside", "status", labels(json!({"app": "orders"})), created),
        ("outside: another label", "outside", "", labels(json!({"app": "carts"})), Ok(())),
        ("weak: comes in", "weak", "", labels(json!({"app": "orders"})), created),
        ("injected by hand: comes in", "forged", "", labels(json!({"app": "orders"})), created),
        (
            "injected by hand: comes in by status",
            "forged",
            "status",
            labels(json!({"app": "orders"})),
            created,
        ),
        (
            "injected by hand: comes in by an expression",
            "canary",
            "",
            labels(json!({"canary": null})),
            created,
        ),
        ("injected by hand: another label", "forged", "", labels(json!({"role": "leader"})), Ok(())),
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

pub(super) async fn ephemeral_containers(cluster: &Cluster, failures: &mut Vec<String>) {
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

pub(super) async fn of_a_deleted_lock(cluster: &Cluster, failures: &mut Vec<String>) {
    let labels = |labels: Value| json!({"metadata": {"labels": labels}});
    let image = |list: &str, name: &str| json!({"spec": {list: [{"name": name, "image": "evil"}]}});
    let privileged = json!({"spec": {"ephemeralContainers": [
        {"name": "debug", "image": "debug", "securityContext": {"privileged": true}}]}});
    let ours = Err("belong to BackendTrust");
    for (case, pod, subresource, patch, expected) in [
        ("image of the application", "guarded", "", image("containers", "app"), Ok(())),
        ("image of the sidecar", "guarded", "", image("initContainers", "postern-sidecar"), ours),
        ("image of the redirect", "guarded", "", image("initContainers", "postern-redirect"), ours),
        ("privileged", "guarded", "ephemeralcontainers", privileged.clone(), Err("is privileged")),
        ("comes back", "forged", "", labels(json!({"app": "orders"})), Err("only when they are created")),
        ("without the lock: leaves", "before", "", labels(json!({"app": "x"})), Ok(())),
        ("without the lock: comes in", "outside", "", labels(json!({"app": "orders"})), Ok(())),
        ("without the lock: privileged", "before", "ephemeralcontainers", privileged, Ok(())),
    ] {
        let case = format!("deleted lock: {case}");
        check(failures, &case, &cluster.patch(pod, subresource, &patch).await, expected);
    }
}
