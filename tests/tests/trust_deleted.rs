//! Deleting a BackendTrust opens nothing that runs.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use postern_config::layout::{SIDECAR_CONTAINER, secret_name};
use postern_tests::attack::{self, Attack};
use postern_tests::scene::{NAME, Scene};
use postern_tests::workload::{ECHO_IMAGE, HTTP};
use postern_tests::{Sharing, Test, lock, run, wait};
use serde_json::json;

#[test]
fn opens_nothing_that_runs() {
    run(Sharing::Shared, async |test| {
        let scene = Scene::guarded(test).await;
        let gateway = scene.gateway(test).await;
        let trust = lock::echo_trust(&test.namespace, NAME);
        // Administrators may be asked to say that they mean it.
        let mut meant = trust.clone();
        meant["metadata"]["annotations"] = json!({"postern.dev/unlock": "true"});
        test.cluster.apply(&meant).await;
        test.cluster.unlock(&trust).await;
        test.cluster.gone(&trust).await;
        lock::route_says(&test.cluster, &test.namespace, NAME, ("ResolvedRefs", "False", "RefNotFound"))
            .await;
        scene.works(test, &gateway).await;
        assert!(secret(test).await, "its Secret stays while a pod mounts it");
        let api: Api<Pod> = test.cluster.api(&test.namespace);
        let image = json!({"spec": {"initContainers": [{"name": SIDECAR_CONTAINER, "image": ECHO_IMAGE}]}});
        let refused = api.patch(&scene.target.pod, &PatchParams::default(), &Patch::Strategic(image)).await;
        let message =
            refused.expect_err("what guards a running pod is still not to be exchanged").to_string();
        assert!(message.contains("postern"), "{message}");

        // Once no pod is behind it any more, nothing of it is left, and new pods are as any other.
        scale(test, 0).await;
        wait::until("the lock's Secret to go", 30, async || {
            if secret(test).await { Err("it is there still".to_owned()) } else { Ok(()) }
        })
        .await;
        scale(test, 1).await;
        let target = scene.echo.target(&test.cluster).await;
        attack::all_get_in(&test.cluster, &target, &[Attack::http("plain HTTP", target.address(), HTTP)])
            .await;
    });
}

async fn secret(test: &Test) -> bool {
    test.cluster.secret(&test.namespace, &secret_name(NAME)).await.is_some()
}

async fn scale(test: &Test, replicas: i32) {
    let patch = json!({"spec": {"replicas": replicas}});
    test.cluster.try_patch::<Deployment>(&test.namespace, NAME, patch).await.expect("scaled");
}
