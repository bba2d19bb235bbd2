//! A lock is deleted, and Postern uninstalled, only by who says so twice.

use postern_crds::BackendTrust;
use postern_tests::scene::{NAME, Scene};
use postern_tests::{Sharing, install, lock, run};
use serde_json::json;

#[test]
fn a_lock_is_deleted_once_it_is_annotated() {
    run(Sharing::Shared, async |test| {
        let trust = lock::trust(&test.namespace, NAME, NAME);
        test.cluster.apply(&trust).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Armed", "True", "")).await;
        let refusal = test.cluster.try_delete(&trust).await.expect_err("a lock that nobody unlocked");
        let remedy =
            format!("kubectl annotate backendtrust -n {} {NAME} postern.dev/unlock=true", test.namespace);
        assert!(refusal.contains(&remedy), "{refusal}");
        test.cluster.unlock(&trust).await;
        test.cluster.gone(&trust).await;
    });
}

#[test]
fn a_namespace_is_deleted_with_its_locks() {
    run(Sharing::Shared, async |test| {
        let namespace = test.another_namespace(json!({})).await;
        let trust = lock::trust(&namespace, NAME, NAME);
        test.cluster.apply(&trust).await;
        test.cluster.delete_namespace(&namespace).await;
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        test.cluster.gone(&object).await;
    });
}

/// What was refused has opened nothing, and a rollback makes the release whole again.
#[test]
fn uninstalling_with_locks_in_place_is_refused() {
    run(Sharing::Alone, async |test| {
        let scene = Scene::guarded(test).await;
        let gateway = scene.gateway(test).await;
        let uninstall =
            ["uninstall", install::RELEASE, "--namespace", install::NAMESPACE, "--timeout", "120s"];
        let refusal = install::helm(&uninstall).await.expect_err("there is a lock");
        assert!(refusal.contains("postern-no-locks-are-left"), "{refusal}");
        let selector = "batch.kubernetes.io/job-name=postern-no-locks-are-left";
        let pods = test.cluster.pods(install::NAMESPACE, selector).await;
        let name = pods.first().and_then(|pod| pod.metadata.name.clone()).expect("the Job stays to be read");
        let log = test.cluster.logs(install::NAMESPACE, &name, "check").await;
        assert!(log.contains(&format!("{}/{NAME}", test.namespace)), "the lock is named: {log}");
        scene.works(test, &gateway).await;

        install::helm(&["rollback", install::RELEASE, "--namespace", install::NAMESPACE])
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        install::upgrade(&test.cluster, &install::values(install::SIDECAR_IMAGE))
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let trust: BackendTrust = test.cluster.get(&test.namespace, NAME).await;
        assert!(trust.metadata.deletion_timestamp.is_none());
        scene.works(test, &gateway).await;
    });
}
