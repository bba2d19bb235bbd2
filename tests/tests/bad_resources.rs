//! Malformed and contradictory resources, each with its condition, reason and message; none stops the others.

use postern_tests::lock::{self, Judged, says};
use postern_tests::scene::{self, NAME, Scene};
use postern_tests::workload::{Echo, HTTP, SERVICE_HTTP, TCP};
use postern_tests::{Sharing, Test, install, run};
use serde_json::{Value, json};

/// A resource, and what its status must say: condition, reason, and a part of the message.
struct Case {
    object: Value,
    says: (&'static str, &'static str),
    message: String,
}

#[test]
fn are_told_apart_and_stop_nothing() {
    run(Sharing::Shared, async |test| {
        let scene = Scene::guarded(test).await;
        // Pods that no lock of this test replaces.
        let stranger = Echo::new(&test.namespace, "stranger");
        stranger.deploy(&test.cluster).await;
        let strict = test.another_namespace(json!({"pod-security.kubernetes.io/enforce": "baseline"})).await;
        let cases = cases(test, &strict);
        for case in &cases {
            test.cluster.apply(&case.object).await;
            if case.object["metadata"]["namespace"] != json!(test.namespace) {
                test.clear_up(case.object.clone());
            }
        }
        for case in &cases {
            check(test, case).await;
        }
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let route = lock::route_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        assert!(says(&route, "Accepted", "True", "Accepted").is_ok(), "{}", route.title());
        let gateway = scene.gateway(test).await;
        scene.works(test, &gateway).await;
    });
}

async fn check(test: &Test, Case { object, says: (type_, reason), message }: &Case) {
    let (namespace, name) = lock::names(object);
    let condition = if object["kind"] == "BackendTrust" {
        let trust = lock::trust_says(&test.cluster, &namespace, &name, (type_, "False", reason)).await;
        lock::condition(&trust, type_).cloned()
    } else {
        let route = lock::route_says(&test.cluster, &namespace, &name, (type_, "False", reason)).await;
        lock::condition(&route, type_).cloned()
    };
    let said = condition.expect("it was just waited for").message;
    assert!(said.contains(message.as_str()), "{name}: expected {message:?} in {said:?}");
}

/// `strict`: a namespace whose Pod Security standard forbids what the redirect needs.
fn cases(test: &Test, strict: &str) -> Vec<Case> {
    let namespace = &test.namespace;
    let case = |object, type_, reason, message: &str| Case {
        object,
        says: (type_, reason),
        message: message.into(),
    };
    let route = |name: &str, patch: Value| {
        let mut route = scene::key(namespace);
        route["metadata"]["name"] = name.into();
        merge(&mut route["spec"], patch);
        route
    };
    let on_stranger = |name: &str, patch: Value| {
        let mut trust = lock::trust(namespace, name, "stranger");
        // It is not to be restarted.
        trust["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        merge(&mut trust["spec"], patch);
        trust
    };
    let twice = json!({"ports": [{"port": HTTP, "protocol": "HTTP"}, {"port": "http", "protocol": "TCP"}]});
    vec![
        case(lock::trust(namespace, "overlapping", NAME), "Accepted", "Conflicted", NAME),
        case(lock::trust(strict, "too-strict", NAME), "Accepted", "LockNotPossible", "baseline"),
        case(on_stranger("port-twice", twice), "Accepted", "DuplicatePort", "http"),
        case(
            lock::trust(install::NAMESPACE, "reserved", NAME),
            "Accepted",
            "NamespaceNotAllowed",
            install::NAMESPACE,
        ),
        case(
            route("no-gateway", json!({"gateways": [{"name": "nowhere"}]})),
            "Accepted",
            "GatewayUnknown",
            "nowhere",
        ),
        case(
            route("not-allowed", json!({"gateways": [{"name": install::PARTNER.0}]})),
            "Accepted",
            "NamespaceNotAllowed",
            install::PARTNER.0,
        ),
        case(
            route("no-service", json!({"backendRef": {"name": "nothing"}})),
            "ResolvedRefs",
            "RefNotFound",
            "nothing",
        ),
        case(
            route("no-trust", json!({"trustRef": {"name": "nobody"}})),
            "ResolvedRefs",
            "RefNotFound",
            "nobody",
        ),
        case(
            route("unguarded", json!({"backendRef": {"name": "stranger"}})),
            "ResolvedRefs",
            "BackendNotGuarded",
            "stranger",
        ),
        case(
            route("container-port", json!({"backendRef": {"port": HTTP}})),
            "ResolvedRefs",
            "PortNotFound",
            &SERVICE_HTTP.to_string(),
        ),
        case(
            route("rules-on-tcp", json!({"backendRef": {"port": TCP}, "hostnames": ["orders.example.com"]})),
            "Accepted",
            "LockNotPossible",
            "TCP",
        ),
        case(
            route("server-name", json!({"backendTLS": {"serverName": "orders.example.org"}})),
            "ResolvedRefs",
            "ServerNameNotCertified",
            "orders.example.org",
        ),
    ]
}

/// Names of the greatest length are as good as others.
#[test]
fn names_at_the_limit_work() {
    run(Sharing::Shared, async |test| {
        let (lock_name, key_name) = ("l".repeat(63), "k".repeat(63));
        let mut trust = lock::echo_trust(&test.namespace, NAME);
        trust["metadata"]["name"] = lock_name.clone().into();
        let mut key = scene::key(&test.namespace);
        key["metadata"]["name"] = key_name.clone().into();
        key["spec"]["trustRef"]["name"] = lock_name.clone().into();
        let echo = Echo::new(&test.namespace, NAME);
        test.cluster.apply_all(&[trust, key, echo.service()]).await;
        lock::trust_says(&test.cluster, &test.namespace, &lock_name, ("Armed", "True", "")).await;
        echo.deploy(&test.cluster).await;
        lock::trust_says(&test.cluster, &test.namespace, &lock_name, ("Ready", "True", "")).await;
        lock::route_says(&test.cluster, &test.namespace, &key_name, ("Ready", "True", "")).await;
        let forwards = [postern_tests::gateway::Forward::all(&test.namespace, &key_name)];
        let gateway = postern_tests::gateway::start(test, install::EDGE, &forwards).await;
        gateway.seen(test, "/").await;
    });
}

fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch,
    }
}
