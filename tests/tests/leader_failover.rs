//! When the leading replica of the operator dies, another takes over, and webhooks are answered all the while.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use postern_tests::scene::{self, NAME, Scene};
use postern_tests::workload::Echo;
use postern_tests::{Sharing, Test, install, lock, run, wait};
use serde_json::json;

#[test]
fn another_takes_over() {
    run(Sharing::Alone, async |test| {
        let scene = Scene::guarded(test).await;
        let old = leader(test).await.expect("a replica leads");
        let pods: Api<Pod> = test.cluster.api(install::NAMESPACE);
        pods.delete(&old, &DeleteParams::default().grace_period(0)).await.expect("deleted");

        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": test.namespace, "name": "meanwhile", "labels": {"app": NAME}},
            "spec": Echo::pod_spec(),
        });
        wait::until("a pod to be injected by another replica", 10, async || {
            test.cluster.try_create(&pod).await
        })
        .await;
        test.cluster.ready_pod(&test.namespace, "meanwhile").await;
        let mut key = scene::key(&test.namespace);
        key["metadata"]["name"] = "second".into();
        lock::keyed(&test.cluster, &key).await;
        let new = leader(test).await;
        assert!(new.as_ref().is_some_and(|new| *new != old), "{new:?} leads after {old}");
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        scene.refuses(test).await;
        install::rolled_out(&test.cluster).await;
    });
}

async fn leader(test: &Test) -> Option<String> {
    let lease: Lease = test.cluster.get(install::NAMESPACE, "postern-operator").await;
    lease.spec.and_then(|spec| spec.holder_identity)
}
