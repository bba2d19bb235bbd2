//! Applications that speak HTTP/2 or HTTPS themselves, behind the lock: what the gateway's own NGINX and a caller with
//! its key send arrives as each understands it.

use postern_echo::attempt::{Attempt, Outcome, Payload};
use postern_echo::call::Greeted;
use postern_tests::attack::{self, Attack};
use postern_tests::attacker::{self, Vantage};
use postern_tests::scene::{self, NAME, Scene};
use postern_tests::workload::{Echo, SECURE};
use postern_tests::{Sharing, Test, gateway, lock, run, wait};
use serde_json::{Value, json};

/// The echo server's lock, in which one port speaks something else.
fn trust(namespace: &str, port: &str, protocol: &str) -> Value {
    let mut trust = lock::echo_trust(namespace, NAME);
    trust["spec"]["ports"] =
        json!([{"port": "tcp", "protocol": "TCP"}, {"port": port, "protocol": protocol}]);
    trust
}

/// A call with the gateway's key, straight to the pod.
async fn call(test: &Test, scene: &Scene, port: u16, h2: bool, path: &str) -> Outcome {
    let identity = scene.key(&test.cluster).await;
    let attempt = Attack::https("", scene.target.address(), port, Some(identity)).attempt;
    let attempt = attempt.with(Payload::Http {
        h2,
        method: "POST".to_owned(),
        path: path.to_owned(),
        host: "orders.example.com".to_owned(),
        headers: vec![("te".to_owned(), "trailers".to_owned())],
        body: "x".repeat(100_000),
    });
    attack::try_all(&test.cluster, &[Attack::new("", attempt)]).await.remove(0).made.outcome
}

#[test]
fn http2_without_tls() {
    run(Sharing::Shared, async |test| {
        let namespace = &test.namespace;
        let scene =
            Scene::guarded_by(test, namespace, &trust(namespace, "http", "H2C"), &scene::key(namespace))
                .await;
        // NGINX passes it on by grpc_pass.
        let gateway = scene.gateway(test).await;
        assert_eq!(gateway.seen(test, "/through").await.protocol, "HTTP/2.0");
        for h2 in [false, true] {
            let outcome = call(test, &scene, postern_tests::workload::HTTP, h2, "/stream?count=3&ms=5").await;
            let Outcome::Http { status: 200, body, trailers, .. } = &outcome else { panic!("{outcome:?}") };
            assert_eq!(body.lines().count(), 3, "{body}");
            assert_eq!(trailers, &[("x-lines".to_owned(), "3".to_owned())], "h2: {h2}");
        }
        let direct = scene.with_certificate(scene.key(&test.cluster).await);
        let through = Attempt { port: gateway::HTTP2, timeout_ms: 20_000, ..gateway.get("/") };
        let past = direct.clone().with(attack::get("/", true));
        for (way, attempt) in [("past the gateway", past), ("through NGINX", through)] {
            calls_of_each_kind(test, &scene, way, &attempt).await;
        }
        // RFC 8441 to the application, whichever way it is asked for.
        for h2 in [false, true] {
            let attempt = direct.clone().with(attack::websocket("/chat", h2, &["hello".to_owned()]));
            let made = attack::try_all(&test.cluster, &[Attack::new("", attempt)]).await.remove(0).made;
            let Outcome::WebSocket { messages, .. } = &made.outcome else { panic!("{:?}", made.outcome) };
            assert_eq!(messages, &["welcome", "hello"], "h2: {h2}");
        }
        scene.works(test, &gateway).await;
    });
}

/// gRPC with a real stack at both ends; a call that is given up ends in the service too.
async fn calls_of_each_kind(test: &Test, scene: &Scene, way: &str, attempt: &Attempt) {
    let (cluster, target) = (&test.cluster, &scene.target);
    let cancelled = async || attacker::hits(cluster, &target.namespace, &target.pod).await.cancelled;
    let before = cancelled().await;
    let input = serde_json::to_string(attempt).expect("an attempt is JSON");
    let (namespace, pod) = (attacker::NAMESPACE, Vantage::Pod.pod());
    let greeted: Greeted =
        cluster.exec_json(namespace, pod, "echo", &["/postern-echo", "greet"], Some(&input)).await;
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let expected = Greeted {
        unary: ["hello you ", "warm", "0"].map(str::to_owned),
        missing: ["NotFound", "nobody is here", "looked"].map(str::to_owned),
        counted: texts(&["1", "2", "3", "OutOfRange"]),
        joined: "a+b+c".to_owned(),
        echoed: texts(&["one", "two", "three"]),
        deadline: "hello you 30000000u".to_owned(),
    };
    assert_eq!(greeted, expected, "{way}");
    wait::until(&format!("the call that was given up {way} to end"), 10, async || {
        if cancelled().await == before + 1 { Ok(()) } else { Err("it goes on".to_owned()) }
    })
    .await;
}

#[test]
fn https() {
    run(Sharing::Shared, async |test| {
        let namespace = &test.namespace;
        let mut key = scene::key(namespace);
        key["spec"]["backendRef"]["port"] = SECURE.into();
        let mut service = Echo::new(namespace, NAME).service();
        let ports = service["spec"]["ports"].as_array_mut().expect("ports");
        ports.push(json!({"name": "secure", "port": SECURE, "targetPort": "secure", "appProtocol": "https"}));
        let trust = lock::echo_trust(namespace, NAME);
        let scene = Scene::guarded_behind(test, namespace, &trust, &key, service).await;
        let gateway = scene.gateway(test).await;
        let seen = gateway.seen(test, "/through").await;
        assert!(
            seen.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-client-cert")),
            "{seen:?}"
        );
        let outcome = call(test, &scene, SECURE, true, "/status/204").await;
        assert_eq!(outcome.status(), Some(204), "{outcome:?}");
        let plain = [Attack::http("plain HTTP", scene.target.address(), SECURE).logged("PlaintextRefused")];
        attack::all_refused(&test.cluster, &scene.target, &plain).await;
    });
}
