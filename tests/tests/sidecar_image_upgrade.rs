//! An upgrade of the chart to another sidecar loses no request: running pods keep theirs, new ones get the new.

use k8s_openapi::api::core::v1::Pod;
use postern_config::layout::{REDIRECT_CONTAINER, SIDECAR_CONTAINER};
use postern_tests::install::{self, NEXT_SIDECAR_IMAGE, SIDECAR_IMAGE};
use postern_tests::scene::{NAME, Scene};
use postern_tests::workload::ECHO_IMAGE;
use postern_tests::{Sharing, Test, load, lock, run, wait};
use serde_json::json;

#[test]
fn loses_no_request() {
    run(Sharing::Alone, async |test| {
        let mut scene = Scene::guarded(test).await;
        let gateway = scene.gateway(test).await;
        assert_eq!(images(test, &scene.target.pod).await, [SIDECAR_IMAGE, SIDECAR_IMAGE]);
        let load = load::begin(test, vec![gateway.get("/")]).await;
        install::upgrade(&test.cluster, &install::values(NEXT_SIDECAR_IMAGE)).await.expect("an upgrade");
        gateway.seen(test, "/").await;
        let totals = load.end().await;
        assert!(totals.lost.is_empty() && totals.got_in > 20, "{totals:?}");
        let pod = scene.target.pod.clone();
        assert_eq!(scene.echo.target(&test.cluster).await.pod, pod, "the pod is not replaced");
        assert_eq!(images(test, &pod).await, [SIDECAR_IMAGE, SIDECAR_IMAGE], "and keeps its sidecar");
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;

        // Its successor gets the new one, once every policy lets it pass and every replica knows.
        install::injects(&test.cluster, NEXT_SIDECAR_IMAGE).await;
        wait::until("both replicas to inject the new image", 30, async || {
            for number in 0..10 {
                let image = injected(test, number).await?;
                if image != NEXT_SIDECAR_IMAGE {
                    return Err(image);
                }
            }
            Ok(())
        })
        .await;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": test.namespace, "name": pod},
        });
        test.cluster.delete(&pod).await;
        test.cluster.gone(&pod).await;
        scene.target = scene.echo.target(&test.cluster).await;
        assert_eq!(images(test, &scene.target.pod).await, [NEXT_SIDECAR_IMAGE, NEXT_SIDECAR_IMAGE]);
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        scene.works(test, &gateway).await;

        // And back, for the other tests.
        install::upgrade(&test.cluster, &install::values(SIDECAR_IMAGE)).await.expect("an upgrade");
        scene.works(test, &gateway).await;
    });
}

/// The image that a pod would get now, by a dry run.
async fn injected(test: &Test, number: u32) -> Result<String, String> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": test.namespace, "name": format!("dry-{number}"), "labels": {"app": NAME}},
        "spec": {"containers": [{"name": "app", "image": ECHO_IMAGE}]},
    });
    let pod = test.cluster.dry_run(&pod).await?;
    Ok(pod.data["spec"]["initContainers"][0]["image"].as_str().unwrap_or_default().to_owned())
}

/// Of Postern's two containers.
async fn images(test: &Test, pod: &str) -> Vec<String> {
    let pod: Pod = test.cluster.get(&test.namespace, pod).await;
    let containers = pod.spec.and_then(|spec| spec.init_containers).unwrap_or_default();
    let ours = containers
        .into_iter()
        .filter(|one| [REDIRECT_CONTAINER, SIDECAR_CONTAINER].contains(&one.name.as_str()));
    ours.filter_map(|one| one.image).collect()
}
