//! A pod that could reach around its sidecar does not start under a lock.

use postern_config::layout::{CONFIG_VOLUME, SIDECAR_UID};
use postern_crds::BackendTrust;
use postern_tests::scene::NAME;
use postern_tests::workload::Echo;
use postern_tests::{Sharing, lock, run, wait};
use serde_json::{Value, json};

#[test]
fn whatever_the_way_around() {
    run(Sharing::Shared, async |test| {
        test.cluster.apply(&lock::trust(&test.namespace, NAME, NAME)).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Armed", "True", "")).await;
        let pod = |app: &str, path: &str, value: Value| {
            let mut pod = json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"namespace": test.namespace, "name": "around", "labels": {"app": app}},
                "spec": Echo::pod_spec(),
            });
            let (parent, key) = path.rsplit_once('/').expect("a path");
            pod.pointer_mut(parent).expect("the path's parent")[key] = value;
            pod
        };
        test.cluster.dry_run(&pod(NAME, "/spec/priority", Value::Null)).await.expect("an ordinary pod");
        let own = "/spec/containers/0/securityContext";
        let mount = json!([{"name": CONFIG_VOLUME, "mountPath": "/stolen"}]);
        for (path, value) in [
            ("/spec/hostNetwork", json!(true)),
            ("/spec/hostPID", json!(true)),
            ("/spec/shareProcessNamespace", json!(true)),
            ("/spec/securityContext", json!({"runAsUser": SIDECAR_UID})),
            (own, json!({"privileged": true})),
            (own, json!({"runAsUser": SIDECAR_UID})),
            (own, json!({"capabilities": {"add": ["NET_ADMIN"]}})),
            (own, json!({"capabilities": {"add": ["NET_RAW", "SYS_ADMIN"]}})),
            (own, json!({"capabilities": {"add": ["ALL"]}})),
            ("/spec/containers/0/volumeMounts", mount),
        ] {
            let named = format!("{path} {value}");
            // Where there is no volume of that name, the API server itself refuses the mount.
            if !path.ends_with("volumeMounts") {
                let outside = test.cluster.dry_run(&pod("other", path, value.clone())).await;
                outside.unwrap_or_else(|error| panic!("without a lock, {named}: {error}"));
            }
            let message = test.cluster.dry_run(&pod(NAME, path, value)).await.map(|_| ()).expect_err(&named);
            assert!(message.to_lowercase().contains("postern"), "{named}: {message}");
        }
    });
}

#[test]
fn a_trusted_workload_may_be_privileged_and_status_says_so() {
    run(Sharing::Shared, async |test| {
        let mut trust = lock::trust(&test.namespace, NAME, NAME);
        test.cluster.apply(&trust).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Armed", "True", "")).await;
        let pod = |key: &str, value: Value| {
            let mut spec = Echo::pod_spec();
            let target = if key == "securityContext" { &mut spec["containers"][0] } else { &mut spec };
            target[key] = value;
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"namespace": test.namespace, "name": "trusted", "labels": {"app": NAME}}, "spec": spec,
            })
        };
        let privileged = || pod("securityContext", json!({"privileged": true}));
        let message = test.cluster.dry_run(&privileged()).await.map(|_| ()).expect_err("without trust");
        assert!(message.contains("trustedWorkload: true"), "the remedy is named: {message}");

        trust["spec"]["trustedWorkload"] = json!(true);
        test.cluster.apply(&trust).await;
        wait::until("a privileged pod to be let in", 30, async || {
            test.cluster.dry_run(&privileged()).await.map(|_| ())
        })
        .await;
        test.cluster.apply(&privileged()).await;
        test.cluster.ready_pod(&test.namespace, "trusted").await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let seen: BackendTrust = test.cluster.get(&test.namespace, NAME).await;
        let locks = seen.status.and_then(|status| status.summary).and_then(|summary| summary.locks);
        assert_eq!(locks.as_deref(), Some("mTLS, trusted workload"));
        for (key, value) in [
            ("hostNetwork", json!(true)),
            ("securityContext", json!({"privileged": true, "runAsUser": SIDECAR_UID})),
        ] {
            let refused = test.cluster.dry_run(&pod(key, value)).await.map(|_| ());
            refused.expect_err("what no lock can bear");
        }
    });
}
