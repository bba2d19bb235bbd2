//! A Job's pod ends when its work is done, and its own calls leave as they are.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use postern_config::layout::SIDECAR_CONTAINER;
use postern_tests::scene::NAME;
use postern_tests::workload::{ECHO_IMAGE, Echo, HTTP};
use postern_tests::{Sharing, attack, lock, run, wait};
use serde_json::json;

#[test]
fn beside_its_sidecar() {
    run(Sharing::Shared, async |test| {
        let elsewhere = Echo::new(&test.namespace, "elsewhere");
        elsewhere.deploy(&test.cluster).await;
        let target = elsewhere.target(&test.cluster).await;
        test.cluster.apply(&lock::trust(&test.namespace, NAME, NAME)).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Armed", "True", "")).await;
        let attempts = [attack::attempt(target.address(), HTTP, None, attack::get("/from-the-job", false))];
        let attempts = serde_json::to_string(&attempts).expect("JSON");
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"namespace": test.namespace, "name": NAME},
            "spec": {"backoffLimit": 0, "template": {
                "metadata": {"labels": {"app": NAME}},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": false,
                    "containers": [{
                        "name": "echo", "image": ECHO_IMAGE, "imagePullPolicy": "Never",
                        "args": ["call", "--attempts", attempts],
                    }],
                },
            }},
        });
        test.cluster.apply(&job).await;
        wait::until("the Job to complete", 40, async || {
            let job: Job = test.cluster.get(&test.namespace, NAME).await;
            let status = job.status.unwrap_or_default();
            if status.succeeded == Some(1) { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
        let pods = test.cluster.pods(&test.namespace, &format!("batch.kubernetes.io/job-name={NAME}")).await;
        let pod: &Pod = pods.first().expect("the Job's pod");
        let spec = pod.spec.clone().unwrap_or_default();
        let injected = spec.init_containers.unwrap_or_default();
        assert!(injected.iter().any(|one| one.name == SIDECAR_CONTAINER), "it was guarded: {injected:?}");
        assert_eq!(target.hits(&test.cluster).await.http_requests, 1, "its call arrived");
        // A pod that has ended is nobody to guard.
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "Unknown", "NoPods")).await;
    });
}
