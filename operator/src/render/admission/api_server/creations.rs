//! Pods that are about to be created.

use serde_json::{Value, json};

use super::{Cluster, check};
use crate::injection::tests::with;

#[allow(clippy::too_many_lines)] // one table
pub(super) async fn table(cluster: &Cluster, failures: &mut Vec<String>) {
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

/// About as much as fits into an object: the cost of judging it must stay within the API server's budget.
pub(super) fn huge(cluster: &Cluster) -> Value {
    let mut pod = cluster.pod("huge", "orders");
    let several = |count: usize, one: fn(usize) -> Value| (0..count).map(one).collect::<Vec<_>>();
    let volumes = several(
        200,
        |n| json!({"name": format!("v{n}"), "projected": {"sources": [{"secret": {"name": "x"}}]}}),
    );
    let containers = several(60, |n| {
        let env: Vec<_> =
            (0..60).map(|i| json!({"name": format!("E{i}"), "value": "x".repeat(64)})).collect();
        let mounts: Vec<_> =
            (0..60).map(|i| json!({"name": format!("v{i}"), "mountPath": format!("/m{i}")})).collect();
        json!({"name": format!("c{n}"), "image": "x", "env": env, "volumeMounts": mounts,
               "securityContext": {"capabilities": {"add": ["CHOWN", "KILL", "NET_BIND_SERVICE"]}}})
    });
    for (field, more) in [("volumes", volumes), ("containers", containers)] {
        pod["spec"][field].as_array_mut().unwrap().extend(more);
    }
    pod
}

/// Under [`Cluster::reshape`].
pub(super) async fn of_another_shape(cluster: &Cluster, failures: &mut Vec<String>) {
    let args = "/spec/initContainers/0/args";
    let app = "/spec/containers/0/securityContext";
    let open = |pod: Value| with(pod, args, json!(["redirect", "--udp-port=53"]));
    let privileged = |pod: Value| with(pod, app, json!({"privileged": true}));
    let (orders, tier) = (|| cluster.pod("new", "orders"), || cluster.pod("new", "tier"));
    for (case, pod, expected) in [
        ("in the lock's shape", open(orders()), Ok(())),
        ("in the former shape", orders(), Err("args of postern-redirect)")),
        (
            "another port",
            with(orders(), args, json!(["redirect", "--udp-port=54"])),
            Err("args of postern-redirect)"),
        ),
        ("the older lock's shape", tier(), Ok(())),
        ("the younger lock's shape for the older lock", open(tier()), Err("args of postern-redirect)")),
        ("privileged", privileged(open(orders())), Ok(())),
        ("process ids shared", with(open(orders()), "/spec/shareProcessNamespace", json!(true)), Ok(())),
        ("privileged, for the older lock", privileged(tier()), Err("container app is privileged")),
        (
            "the sidecar's user",
            with(open(orders()), app, json!({"runAsUser": 15100})),
            Err("runs as user 15100"),
        ),
        ("the node's network", with(open(orders()), "/spec/hostNetwork", json!(true)), Err("hostNetwork")),
    ] {
        check(failures, case, &cluster.create(&pod, true).await, expected);
    }
}

/// As injected for the lock `orders` under [`Cluster::listen`].
pub(super) fn listening(cluster: &Cluster) -> Value {
    let ports = json!([{"name": "http", "containerPort": 15200}, {"containerPort": 8080},
                       {"name": "dns", "containerPort": 53, "protocol": "UDP"}]);
    let pod = with(cluster.pod("new", "orders"), "/spec/initContainers/0", Value::Null);
    let pod = with(pod, "/spec/initContainers/0/args/-", json!("--listener"));
    with(pod, "/spec/containers/0/ports", ports)
}

/// Under [`Cluster::listen`].
pub(super) async fn without_a_redirect(cluster: &Cluster, failures: &mut Vec<String>) {
    let good = listening(cluster);
    let one = |pointer: &str, value: Value| with(good.clone(), pointer, value);
    let redirect = cluster.pod("new", "orders")["spec"]["initContainers"][0].clone();
    let mut both = good.clone();
    both["spec"]["initContainers"].as_array_mut().unwrap().insert(0, redirect);
    let s = "/spec/initContainers/0";
    for (case, pod, expected) in [
        ("with a listener", good.clone(), Ok(())),
        ("the older lock's redirect", cluster.pod("new", "tier"), Ok(())),
        ("a redirect for the lock without", cluster.pod("new", "orders"), Err("args of postern-sidecar")),
        ("a redirect before the listener", both, Err("args of postern-sidecar")),
        ("not injected", cluster.plain("new"), Err("the first two init containers")),
        ("without the argument", one(&format!("{s}/args/4"), Value::Null), Err("args of postern-sidecar")),
        ("another image", one(&format!("{s}/image"), json!("evil")), Err("the image of postern-sidecar")),
        (
            "as root",
            one(&format!("{s}/securityContext/runAsUser"), json!(0)),
            Err("securityContext of postern-sidecar"),
        ),
        (
            "a name that leads past the sidecar",
            one("/spec/containers/0/ports/0", json!({"name": "http", "containerPort": 8080})),
            Err("names of ports"),
        ),
        (
            "a name of another container",
            one(
                "/spec/containers/-",
                json!({"name": "b", "image": "b", "ports": [{"name": "b", "containerPort": 1}]}),
            ),
            Err("names of ports"),
        ),
        (
            "a name of a native sidecar",
            one(
                "/spec/initContainers/-",
                json!({"name": "n", "image": "n", "restartPolicy": "Always", "ports": [{"name": "n", "containerPort": 1}]}),
            ),
            Err("names of ports"),
        ),
    ] {
        check(failures, case, &cluster.create(&pod, true).await, expected);
    }
}
