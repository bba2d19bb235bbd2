//! A lock that looks on: everybody gets in, who would not is told, and a clean audit is enforced by itself, for good.

use postern_crds::BackendTrust;
use postern_crds::backend_trust::PortStatus;
use postern_crds::rollout::Enforcement;
use postern_tests::attack::{self, Attack};
use postern_tests::scene::{self, NAME, Scene};
use postern_tests::workload::{Echo, HTTP};
use postern_tests::{Sharing, Test, lock, run, wait};
use serde_json::json;

#[test]
fn lets_in_and_tells_who_would_be_denied() {
    run(Sharing::Shared, async |test| {
        let target = audited(test, json!({"enforcement": "Audit"})).await;
        let direct = [
            Attack::http("plain HTTP", target.address(), HTTP),
            Attack::https("TLS without a certificate", target.address(), HTTP, None),
        ];
        attack::all_get_in(&test.cluster, &target, &direct).await;
        wait::until("the count of who would be denied", lock::LIMIT, async || {
            let (trust, port) = http(test).await;
            let counted = port.audit.as_ref().is_some_and(|audit| audit.would_deny >= 2);
            let says = trust.status.unwrap_or_default();
            let label = says.summary.and_then(|summary| summary.locks).unwrap_or_default();
            let told = lock_message(&says.conditions).contains("would have been denied");
            if counted && told && label.contains("audit") { Ok(()) } else { Err(format!("{port:?} {label}")) }
        })
        .await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "False", "AuditMode")).await;
    });
}

#[test]
fn is_enforced_after_a_clean_time_and_stays_so() {
    run(Sharing::Shared, async |test| {
        let target = audited(test, json!({"enforcement": "Audit", "promoteAfter": "20s"})).await;
        let direct = [Attack::http("plain HTTP", target.address(), HTTP)];
        attack::all_get_in(&test.cluster, &target, &direct).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let (trust, port) = http(test).await;
        let promoted = trust.status.unwrap_or_default().promoted_at;
        assert!(promoted.is_some() && port.enforcement == Some(Enforcement::Enforce), "{port:?}");
        let [direct] = direct;
        let direct = [direct.logged("PlaintextRefused")];
        attack::all_refused(&test.cluster, &target, &direct).await;

        // A new pod begins where the old one ended.
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
                         "metadata": {"namespace": test.namespace, "name": target.pod}});
        test.cluster.delete(&pod).await;
        test.cluster.gone(&pod).await;
        let target = Echo::new(&test.namespace, NAME).target(&test.cluster).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let direct = [Attack::http("plain HTTP", target.address(), HTTP).logged("PlaintextRefused")];
        attack::all_refused(&test.cluster, &target, &direct).await;
    });
}

/// The echo server behind a lock with these further fields.
async fn audited(test: &Test, fields: serde_json::Value) -> postern_tests::workload::Target {
    let mut trust = lock::echo_trust(&test.namespace, NAME);
    for (name, value) in fields.as_object().expect("fields") {
        trust["spec"][name] = value.clone();
    }
    let echo = Echo::new(&test.namespace, NAME);
    test.cluster.apply_all(&[trust, scene::key(&test.namespace), echo.service()]).await;
    lock::trust_says(&test.cluster, &test.namespace, NAME, ("Armed", "True", "")).await;
    echo.deploy(&test.cluster).await;
    lock::trust_says(&test.cluster, &test.namespace, NAME, ("Programmed", "True", "")).await;
    let scene = Scene { target: echo.target(&test.cluster).await, echo };
    scene.target
}

async fn http(test: &Test) -> (BackendTrust, PortStatus) {
    let trust: BackendTrust = test.cluster.get(&test.namespace, NAME).await;
    let ports = trust.status.clone().unwrap_or_default().ports;
    let port = ports.into_iter().find(|port| port.port == HTTP).expect("the HTTP port");
    (trust, port)
}

fn lock_message(conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]) -> String {
    conditions.iter().find(|one| one.type_ == "Ready").map(|one| one.message.clone()).unwrap_or_default()
}
