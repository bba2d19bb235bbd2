//! A pod that somebody injected by hand for a lock that asks for less is guarded by its own lock all the same.

use postern_config::layout::SIDECAR_CONTAINER;
use postern_tests::attack::{self, Attack};
use postern_tests::scene::{NAME, Scene};
use postern_tests::workload::{Echo, HTTP};
use postern_tests::{Sharing, cluster, lock, run};
use serde_json::{Value, json};

#[test]
fn is_injected_for_its_own() {
    run(Sharing::Shared, async |test| {
        // The weaker lock leaves the port open.
        let mut weak = lock::trust(&test.namespace, "weak", "weak");
        weak["spec"]["ports"] = json!([{"port": "http", "open": {"reason": "everybody may call"}}]);
        test.cluster.apply(&weak).await;
        lock::trust_says(&test.cluster, &test.namespace, "weak", ("Armed", "True", "")).await;
        let open = Echo::new(&test.namespace, "weak");
        open.deploy(&test.cluster).await;
        let target = open.target(&test.cluster).await;
        let plain = |address: &str| Attack::http("plain HTTP", address, HTTP);
        attack::all_get_in(&test.cluster, &target, &[plain(target.address())]).await;

        let scene = Scene::guarded(test).await;
        let template = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": test.namespace, "name": target.pod},
        });
        let injected = test.cluster.read(&template).await.expect("the injected pod");
        let mut by_hand = serde_json::to_value(injected).expect("JSON");
        let annotations = by_hand["metadata"]["annotations"].clone();
        by_hand["metadata"] = json!({
            "namespace": test.namespace, "name": "by-hand", "labels": {"app": NAME}, "annotations": annotations,
        });
        by_hand["spec"].as_object_mut().expect("a pod").remove("nodeName");
        by_hand.as_object_mut().expect("a pod").remove("status");
        // Its probes lead to a sidecar that will not be there.
        let message = test.cluster.try_create(&by_hand).await.expect_err("the probes are another pod's");
        assert!(message.contains("write the one that the application has"), "{message}");
        by_hand["spec"]["containers"][0].as_object_mut().expect("a container").remove("readinessProbe");
        test.cluster.try_create(&by_hand).await.expect("the webhook makes it one of its own");
        let pod = test.cluster.ready_pod(&test.namespace, "by-hand").await;
        let spec = serde_json::to_value(&pod).expect("JSON");
        let sidecars: Vec<&Value> = spec["spec"]["initContainers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|container| container["name"] == SIDECAR_CONTAINER)
            .collect();
        assert_eq!(sidecars.len(), 1, "{spec:#}");
        let arguments = sidecars[0]["args"].to_string();
        assert!(arguments.contains(&format!("--trust={NAME}\"")), "{arguments}");
        let address = cluster::addresses(&pod).remove(0);
        let target = postern_tests::workload::Target { pod: "by-hand".to_owned(), ..scene.target.clone() };
        attack::all_refused(&test.cluster, &target, &[plain(&address).logged("PlaintextRefused")]).await;
    });
}
