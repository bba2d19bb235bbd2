//! Without the operator, what runs goes on, and what is not guarded does not start.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt as _};
use postern_tests::scene::{NAME, Scene};
use postern_tests::workload::Echo;
use postern_tests::{Sharing, Test, install, lock, run, wait};
use serde_json::{Value, json};

#[test]
fn traffic_flows_and_admission_holds() {
    run(Sharing::Alone, async |test| {
        let weak = lock::trust(&test.namespace, "weak", "weak");
        lock_without_pods(test, &weak).await;
        let injected_for_weak = injected(test, "weak").await;
        let scene = Scene::guarded(test).await;
        let gateway = scene.gateway(test).await;
        let elsewhere = test.another_namespace(json!({})).await;

        install::scale_operator(&test.cluster, 0).await;
        scene.works(test, &gateway).await;
        let refused = test.cluster.try_create(&pod(&test.namespace, "uninjected", NAME)).await;
        let message = refused.expect_err("an uninjected pod under a lock must not start");
        assert!(message.contains("postern"), "the refusal names who refuses: {message}");
        // By hand, for a trust that asks for less.
        let mut by_hand = injected_for_weak;
        by_hand["metadata"] =
            json!({"namespace": test.namespace, "name": "by-hand", "labels": {"app": NAME}});
        let refused = test.cluster.try_create(&by_hand).await;
        let message = refused.expect_err("a pod injected for another trust must not start under this one");
        assert!(message.contains("postern"), "the refusal names who refuses: {message}");
        for (namespace, app) in [(elsewhere.as_str(), NAME), (test.namespace.as_str(), "other")] {
            let accepted = test.cluster.try_create(&pod(namespace, "bystander", app)).await;
            accepted.unwrap_or_else(|error| panic!("a pod that no lock selects must start: {error}"));
        }

        // Somebody with all rights takes the fence away for a moment, and a pod slips in.
        let slips_in = pod(&test.namespace, "slips-in", NAME);
        let fences = take_fences(test).await;
        wait::until("a pod to slip in", 20, async || test.cluster.try_create(&slips_in).await).await;
        test.cluster.apply_all(&fences).await;
        let comes_late = pod(&test.namespace, "comes-late", NAME);
        wait::until("the fence to stand again", 20, async || match test.cluster.dry_run(&comes_late).await {
            Ok(_) => Err("a pod could still slip in".to_owned()),
            Err(_) => Ok(()),
        })
        .await;
        install::scale_operator(&test.cluster, 2).await;
        test.cluster.gone(&slips_in).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        scene.works(test, &gateway).await;
    });
}

async fn lock_without_pods(test: &Test, trust: &Value) {
    test.cluster.apply(trust).await;
    let (namespace, name) = lock::names(trust);
    lock::trust_says(&test.cluster, &namespace, &name, ("Armed", "True", "")).await;
}

/// A pod as injection makes it, without what the API server adds.
async fn injected(test: &Test, app: &str) -> Value {
    let object = pod(&test.namespace, app, app);
    let made = test.cluster.try_create(&object).await.expect("a pod under its lock");
    test.cluster.delete(&object).await;
    let mut made = serde_json::to_value(made).expect("JSON");
    made["spec"].as_object_mut().expect("a pod").remove("nodeName");
    made.as_object_mut().expect("a pod").remove("status");
    assert!(made["spec"]["initContainers"].is_array(), "it is injected: {made:#}");
    made
}

fn pod(namespace: &str, name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": app}},
        "spec": Echo::pod_spec(),
    })
}

/// Deletes the bindings of this test's locks; returns them, to be put back.
async fn take_fences(test: &Test) -> Vec<Value> {
    let api: Api<ValidatingAdmissionPolicyBinding> = Api::all(test.cluster.client.clone());
    let mut taken = Vec::new();
    for binding in api.list(&ListParams::default()).await.expect("a list") {
        let name = binding.name_any();
        if !name.contains(&test.namespace) {
            continue;
        }
        api.delete(&name, &DeleteParams::default()).await.expect("deleted");
        taken.push(json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name, "labels": binding.labels()}, "spec": binding.spec,
        }));
    }
    assert!(!taken.is_empty(), "each lock has a binding");
    taken
}
