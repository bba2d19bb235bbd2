//! In namespaces that forbid the redirect, the sidecar takes over named ports, and nobody gets past it.

use postern_config::layout::LISTENER_PORT;
use postern_tests::attack::{self, Attack};
use postern_tests::scene::{self, NAME, Scene};
use postern_tests::workload::{Echo, HTTP, SECURE, TCP, UNDECLARED};
use postern_tests::{Sharing, Test, lock, run};
use serde_json::{Value, json};

#[test]
fn guards_under_the_restricted_standard() {
    run(Sharing::Shared, async |test| guards(test, "restricted").await);
}

#[test]
fn guards_under_the_baseline_standard() {
    run(Sharing::Shared, async |test| guards(test, "baseline").await);
}

async fn guards(test: &Test, standard: &str) {
    let namespace = namespace(test, standard).await;
    let echo = Echo::new(&namespace, NAME);
    let cluster = &test.cluster;
    cluster.apply_all(&[trust(&namespace), scene::key(&namespace), echo.service()]).await;
    lock::trust_says(cluster, &namespace, NAME, ("Armed", "True", "")).await;
    cluster.apply(&deployment(&echo, true)).await;
    echo.settled(cluster).await;
    lock::trust_says(cluster, &namespace, NAME, ("Ready", "True", "")).await;
    lock::route_says(cluster, &namespace, NAME, ("Ready", "True", "")).await;
    let target = echo.target(cluster).await;
    let scene = Scene { echo, target };
    let gateway = scene.gateway(test).await;
    gateway.seen(test, "/").await;

    let address = scene.target.address();
    let service = scene.target.service.first().expect("a Service has an address");
    let mut attacks = vec![
        Attack::http("plaintext to the sidecar's port", address, LISTENER_PORT).logged("PlaintextRefused"),
        Attack::http("plaintext to the Service", service, 80).logged("PlaintextRefused"),
        Attack::https("no certificate", address, LISTENER_PORT, None).logged("NoCertificate"),
    ];
    for port in [HTTP, SECURE, TCP, UNDECLARED] {
        attacks.push(Attack::http(format!("the application's own port {port}"), address, port));
        attacks.push(Attack::http(format!("the application's own port {port}"), address, port).from_node());
    }
    attack::all_refused(cluster, &scene.target, &attacks).await;
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                        "metadata": {"namespace": namespace, "name": format!("postern-{NAME}")}});
    let policy =
        cluster.read(&policy).await.expect("a NetworkPolicy closes the rest, where such are enforced");
    assert_eq!(policy.data["spec"]["podSelector"]["matchLabels"]["app"], NAME);
    cluster.try_delete(&serde_json::to_value(&policy).expect("JSON")).await.expect_err("it is Postern's");
}

#[test]
fn an_application_on_the_pods_address_is_told_to_bind_loopback() {
    run(Sharing::Shared, async |test| {
        let namespace = namespace(test, "baseline").await;
        let echo = Echo::new(&namespace, NAME);
        test.cluster.apply_all(&[trust(&namespace), scene::key(&namespace), echo.service()]).await;
        lock::trust_says(&test.cluster, &namespace, NAME, ("Armed", "True", "")).await;
        test.cluster.apply(&deployment(&echo, false)).await;
        let trust =
            lock::trust_says(&test.cluster, &namespace, NAME, ("Programmed", "False", "PodsNotGuarded"))
                .await;
        let message = &lock::condition(&trust, "Programmed").expect("a condition").message;
        assert!(message.contains("127.0.0.1 alone") && message.contains(&HTTP.to_string()), "{message}");
        lock::trust_says(&test.cluster, &namespace, NAME, ("Ready", "False", "")).await;
    });
}

#[test]
fn a_service_that_goes_by_a_number_is_told_to_go_by_the_name() {
    run(Sharing::Shared, async |test| {
        let namespace = namespace(test, "restricted").await;
        let mut service = Echo::new(&namespace, NAME).service();
        service["spec"]["ports"][0]["targetPort"] = json!(HTTP);
        test.cluster.apply_all(&[trust(&namespace), scene::key(&namespace), service]).await;
        let route =
            lock::route_says(&test.cluster, &namespace, NAME, ("ResolvedRefs", "False", "BackendNotGuarded"))
                .await;
        let message = &lock::condition(&route, "ResolvedRefs").expect("a condition").message;
        assert!(message.contains("write that name as the Service's targetPort"), "{message}");
    });
}

async fn namespace(test: &Test, standard: &str) -> String {
    test.another_namespace(json!({"pod-security.kubernetes.io/enforce": standard})).await
}

fn trust(namespace: &str) -> Value {
    let mut trust = lock::echo_trust(namespace, NAME);
    trust["spec"]["interception"] = json!("Listener");
    trust
}

/// The echo server as the *restricted* standard wants it.
fn deployment(echo: &Echo, loopback: bool) -> Value {
    let mut deployment = echo.deployment();
    let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
    container["securityContext"] = json!({
        "runAsNonRoot": true, "runAsUser": 1000, "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
    });
    if loopback {
        container["args"].as_array_mut().expect("arguments").push(json!("--loopback"));
    }
    deployment
}
