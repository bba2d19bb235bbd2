//! `helm test` shows that an installation works, and `helm rollback` takes an upgrade back; no guarded pod is touched.

use k8s_openapi::api::apps::v1::Deployment;
use postern_tests::scene::{NAME, Scene};
use postern_tests::{Sharing, Test, install, lock, run};
use serde_json::json;

#[test]
fn takes_an_upgrade_back_and_leaves_pods_alone() {
    run(Sharing::Alone, async |test| {
        let scene = Scene::guarded(test).await;
        let gateway = scene.gateway(test).await;
        helm(&["test", install::RELEASE, "--namespace", install::NAMESPACE]).await;

        let mut values = install::values(install::SIDECAR_IMAGE);
        values["replicas"] = json!(1);
        values["logLevel"] = json!("warn");
        values["networkPolicy"] = json!({"enabled": true});
        install::upgrade(&test.cluster, &values).await.unwrap_or_else(|error| panic!("{error}"));
        as_before(test, &scene).await;
        scene.works(test, &gateway).await;
        helm(&["test", install::RELEASE, "--namespace", install::NAMESPACE]).await;

        // Whoever scaled last owns the number of replicas, until Helm is told to take it back.
        install::kubectl_scale_operator(&test.cluster, 3).await;
        let rollback = ["rollback", install::RELEASE, "--namespace", install::NAMESPACE, "--force-conflicts"];
        helm(&rollback).await;
        install::rolled_out(&test.cluster).await;
        let operator: Deployment = test.cluster.get(install::NAMESPACE, install::OPERATOR).await;
        assert_eq!(operator.spec.and_then(|spec| spec.replicas), Some(2), "the number of before");
        as_before(test, &scene).await;
        scene.works(test, &gateway).await;
        let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                            "metadata": {"namespace": install::NAMESPACE, "name": install::OPERATOR}});
        assert!(test.cluster.read(&policy).await.is_none(), "what the upgrade added is gone");
        helm(&["test", install::RELEASE, "--namespace", install::NAMESPACE]).await;
    });
}

async fn helm(arguments: &[&str]) {
    install::helm(arguments).await.unwrap_or_else(|error| panic!("{error}"));
}

async fn as_before(test: &Test, scene: &Scene) {
    lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
    lock::route_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
    let now = scene.echo.target(&test.cluster).await;
    assert_eq!(now.uid, scene.target.uid, "the guarded pod is the same");
}
