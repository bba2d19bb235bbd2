//! Connections that stay: WebSocket and server-sent events, through the gateway and past it with its key.

use postern_config::layout::METRICS_PORT;
use postern_echo::attempt::{Attempt, Outcome};
use postern_tests::attacker::{self, Vantage};
use postern_tests::exec::Running;
use postern_tests::gateway::{self, Forward, Gateway};
use postern_tests::scene::{self, NAME, Scene};
use postern_tests::{Sharing, Test, attack, install, run};

/// More than any buffer on the way holds, so that each message travels in parts.
const LARGE: usize = 200_000;

#[test]
fn pass_as_they_come() {
    run(Sharing::Shared, async |test| {
        let scene = Scene::guarded(test).await;
        let route = || (test.namespace.clone(), NAME.to_owned());
        let forwards = [
            Forward::Location { path: "/".to_owned(), route: route() },
            Forward::Kept { path: "/kept/".to_owned(), route: route() },
        ];
        let gateway = gateway::start(test, install::EDGE, &forwards).await;
        gateway.seen(test, "/").await;
        let identity = scene::identity(&test.cluster, &test.namespace, install::EDGE.0, NAME).await;
        let messages = ["hello".to_owned(), "x".repeat(LARGE), "bye".to_owned()];
        for path in ["/chat", "/kept/chat"] {
            let made = gateway.answered(test, gateway.websocket(path, &messages)).await;
            conversed(path, &made.outcome, &identity, &messages);
        }
        for h2 in [false, true] {
            let attempt = scene.with_certificate(scene.key(&test.cluster).await);
            let attempt = attempt.with(attack::websocket("/chat", h2, &messages));
            let made = attacker::call(&test.cluster, Vantage::Pod, &[attempt]).await.remove(0);
            conversed(&format!("past the gateway, h2: {h2}"), &made.outcome, &identity, &messages);
        }
        // Nobody gets a tunnel that way without the key, nor to where no WebSocket is.
        let keyless = scene.with_certificate(scene.key(&test.cluster).await);
        let mut keyless = keyless.with(attack::websocket("/chat", false, &messages));
        keyless.tls.as_mut().expect("TLS").identity = None;
        let refused = attacker::call(&test.cluster, Vantage::Pod, &[keyless]).await.remove(0).outcome;
        assert!(matches!(refused, Outcome::TlsAlert { .. }), "{refused:?}");
        let plain = gateway.call(test, gateway.get("/chat")).await.outcome;
        assert_eq!(plain.status(), Some(426), "the application's own answer: {plain:?}");

        connections_are_kept(test, &scene, &gateway).await;
        events_come_one_by_one(test, &gateway, gateway.get("/events")).await;
        for h2 in [false, true] {
            let attempt = scene.with_certificate(scene.key(&test.cluster).await);
            events_come_one_by_one(test, &gateway, attempt.with(attack::get("/events", h2))).await;
        }
    });
}

/// Every message has come back, and the application was told whose key it is.
fn conversed(case: &str, outcome: &Outcome, identity: &str, messages: &[String]) {
    let Outcome::WebSocket { headers, messages: returned } = outcome else { panic!("{case}: {outcome:?}") };
    let welcome = "welcome".to_owned();
    let expected: Vec<_> = std::iter::once(&welcome).chain(messages).collect();
    assert!(
        returned.iter().eq(expected),
        "{case}: {:?}",
        returned.iter().map(String::len).collect::<Vec<_>>()
    );
    let caller = headers.iter().find(|(name, _)| name == "x-caller").map(|(_, value)| value.as_str());
    assert!(caller.is_some_and(|caller| caller.contains(identity)), "{case}: {headers:?}");
}

/// What makes a WebSocket possible must not cost the others their kept connections.
async fn connections_are_kept(test: &Test, scene: &Scene, gateway: &Gateway) {
    let get = gateway.get("/kept/");
    gateway.answered(test, get.clone()).await;
    let before = opened(test, scene).await;
    for _ in 0..5 {
        gateway::seen(&gateway.call(test, get.clone()).await);
    }
    let opened = opened(test, scene).await - before;
    // The operator looks from time to time whether its key still gets in.
    assert!(opened < 3.0, "NGINX opened {opened} connections for five requests");
}

/// Handshakes that the sidecar has completed.
async fn opened(test: &Test, scene: &Scene) -> f64 {
    let attempt = attack::attempt(scene.target.address(), METRICS_PORT, None, attack::get("/metrics", false));
    let made = attacker::call(&test.cluster, Vantage::Pod, &[attempt]).await.remove(0);
    let Outcome::Http { status: 200, body, .. } = made.outcome else { panic!("{:?}", made.outcome) };
    let lines = body
        .lines()
        .filter_map(|line| line.strip_prefix("postern_sidecar_handshakes_total{result=\"accepted\""));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// An event is there before the next one is published, so nobody on the way waits for more.
async fn events_come_one_by_one(test: &Test, gateway: &Gateway, attempt: Attempt) {
    let attempt = Attempt { timeout_ms: 30_000, ..attempt };
    let input = serde_json::to_string(&attempt).expect("an attempt is JSON");
    let (namespace, pod) = (attacker::NAMESPACE, Vantage::Pod.pod());
    let command = ["/postern-echo", "listen"];
    let mut events =
        test.cluster.start(namespace, pod, "echo", &command, Some(&input)).await.expect("the listener");
    assert_eq!(next(&mut events).await, "200");
    assert_eq!(next(&mut events).await, ": welcome");
    for number in 0..3 {
        gateway::seen(&gateway.call(test, gateway.get(&format!("/publish?event-{number}"))).await);
        assert_eq!(next(&mut events).await, format!("data: event-{number}"));
    }
}

async fn next(events: &mut Running) -> String {
    let line = tokio::time::timeout(std::time::Duration::from_secs(20), events.line()).await;
    line.expect("an event in time").expect("the stream goes on").trim_end().to_owned()
}
