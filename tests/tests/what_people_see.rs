//! What people see of a guarded pod: why somebody was refused, what was counted, and where a request went.

use postern_config::layout::{METRICS_PORT, SIDECAR_CONTAINER};
use postern_echo::attempt::Outcome;
use postern_tests::attack::{self, Attack};
use postern_tests::attacker::Vantage;
use postern_tests::scene::{self, NAME, Scene};
use postern_tests::workload::HTTP;
use postern_tests::{Sharing, Test, attacker, gateway, lock, logs, run, wait};
use serde_json::{Value, json};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[test]
fn a_refusal_says_who_and_what_to_do_and_is_counted() {
    run(Sharing::Shared, async |test| {
        let scene = Scene::guarded(test).await;
        let stranger = Attack::https("no certificate", scene.target.address(), HTTP, None);
        let made = attacker::call(&test.cluster, stranger.vantage, &[stranger.attempt]).await.remove(0);
        let caller = made.local.expect("a connection");
        let line = logs::refusal(&test.cluster, &scene.target, caller, "NoCertificate").await;
        for field in ["timestamp", "reason", "remedy", "peer"] {
            assert!(line[field].is_string(), "{field}: {line}");
        }
        assert_eq!((&line["message"], &line["port"]), (&json!("refused"), &json!(HTTP)), "{line}");
        let metrics = metrics(test, &scene).await;
        for name in [
            "postern_sidecar_denials_total{code=\"NoCertificate\"}",
            "postern_sidecar_handshakes_total{result=\"refused\",group=\"none\"}",
            "postern_sidecar_server_certificate_expiry_timestamp_seconds",
            "postern_sidecar_configuration_loaded_timestamp_seconds",
        ] {
            assert!(value(&metrics, name) > 0.0, "{name} in {metrics}");
        }
    });
}

#[test]
fn the_access_log_and_the_level_change_without_a_restart() {
    run(Sharing::Shared, async |test| {
        let scene = Scene::guarded(test).await;
        let gateway = scene.gateway(test).await;
        gateway.seen(test, "/before").await;
        set(test, &scene, &json!({"accessLog": true, "logLevel": "Error"})).await;
        let line = wait::until("a line for a request", 60, async || {
            gateway.seen(test, "/after").await;
            permitted(test, &scene, "/after").await.ok_or_else(|| "there is none".to_owned())
        })
        .await;
        let identity = scene::identity(&test.cluster, &test.namespace, "edge", NAME).await;
        assert_eq!(line["identity"], json!(identity), "{line}");
        assert_eq!(line["route"], json!(format!("{}/{NAME}", test.namespace)), "{line}");
        assert_eq!((&line["status"], &line["method"]), (&json!(200), &json!("GET")), "{line}");
        assert!(permitted(test, &scene, "/before").await.is_none());
        let pods = scene.echo.settled(&test.cluster).await;
        let restarts = pods[0].status.as_ref().and_then(|status| status.init_container_statuses.clone());
        let restarts: i32 = restarts.unwrap_or_default().iter().map(|status| status.restart_count).sum();
        assert_eq!(restarts, 0, "no container was restarted");
    });
}

#[test]
fn a_trace_goes_through_gateway_and_sidecar_to_the_collector() {
    run(Sharing::Shared, async |test| {
        let collector = test.another_namespace(json!({})).await;
        test.cluster.apply_all(&collector_objects(&collector)).await;
        test.cluster.ready_pod(&collector, "collector").await;
        let scene = Scene::guarded(test).await;
        let gateway = scene.gateway(test).await;
        let endpoint = format!("http://collector.{collector}.svc.cluster.local:4318/v1/traces");
        set(test, &scene, &json!({"tracing": {"endpoint": endpoint}})).await;

        let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
        let request = gateway.request("GET", "/traced", &[("traceparent", &parent)]);
        let mut told = Vec::new();
        let span = wait::until("the collector to get a span", 60, async || {
            let seen = gateway::seen(&gateway.answered(test, request.clone()).await);
            let sent =
                seen.headers.iter().find(|(name, _)| name == "traceparent").map(|(_, value)| value.clone());
            // spans leave in batches, so one of an earlier look may be the first to arrive
            told.push(sent.ok_or("the application saw no traceparent")?);
            let log = test.cluster.logs(&collector, "collector", "collector").await;
            let ours = |span: &&str| {
                told.iter().any(|sent| {
                    let id = sent.split('-').nth(2).unwrap_or_default();
                    span.contains(&format!("ID             : {id}"))
                })
            };
            log.split("Span #").find(ours).map(str::to_owned).ok_or_else(|| told.join(" "))
        })
        .await;
        for part in [
            format!("Trace ID       : {TRACE}"),
            "Parent ID      : b7ad6b7169203331".to_owned(),
            format!("Name           : GET {}/{NAME}", test.namespace),
            "-> url.path: Str(/traced)".to_owned(),
        ] {
            assert!(span.contains(&part), "{part} is not in {span}");
        }
        let log = test.cluster.logs(&collector, "collector", "collector").await;
        assert!(log.contains(&format!("-> k8s.namespace.name: Str({})", test.namespace)), "{log}");
    });
}

/// Writes `spec.sidecar` and waits until every pod has loaded it.
async fn set(test: &Test, scene: &Scene, sidecar: &Value) {
    let mut trust = lock::echo_trust(&test.namespace, NAME);
    trust["spec"]["sidecar"] = sidecar.clone();
    test.cluster.apply(&trust).await;
    lock::trust_says(&test.cluster, &scene.echo.namespace, NAME, ("Ready", "True", "")).await;
}

async fn permitted(test: &Test, scene: &Scene, path: &str) -> Option<Value> {
    let log = test.cluster.logs(&scene.target.namespace, &scene.target.pod, SIDECAR_CONTAINER).await;
    logs::lines(&log).find(|line| line["message"] == "permitted" && line["path"] == path)
}

async fn metrics(test: &Test, scene: &Scene) -> String {
    let attempt = attack::attempt(scene.target.address(), METRICS_PORT, None, attack::get("/metrics", false));
    let made = attacker::call(&test.cluster, Vantage::Pod, &[attempt]).await.remove(0);
    let Outcome::Http { status: 200, body, .. } = made.outcome else { panic!("{:?}", made.outcome) };
    body
}

fn value(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
}

fn collector_objects(namespace: &str) -> [Value; 2] {
    let labels = json!({"app": "collector"});
    [
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": namespace, "name": "collector", "labels": labels},
            "spec": {"containers": [{
                "name": "collector", "image": "postern.dev/test-collector:dev", "imagePullPolicy": "Never",
                "ports": [{"containerPort": 4318}],
                "readinessProbe": {"tcpSocket": {"port": 4318}, "periodSeconds": 1},
            }]},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": namespace, "name": "collector"},
            "spec": {"selector": labels, "ports": [{"port": 4318}]},
        }),
    ]
}
