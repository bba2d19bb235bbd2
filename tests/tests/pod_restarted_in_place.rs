//! A pod that is started anew where it is stays closed, while it starts and after.

use k8s_openapi::api::core::v1::Pod;
use postern_config::layout::{REDIRECT_CONTAINER, SIDECAR_CONTAINER};
use postern_tests::cluster::{is_ready, why_not_ready};
use postern_tests::gateway::Gateway;
use postern_tests::scene::Scene;
use postern_tests::workload::{HTTP, Target};
use postern_tests::{Sharing, Test, attack, node, run, wait};

/// As after a crash of its node: another network namespace, and all init containers run again.
#[test]
fn with_its_init_containers() {
    run(Sharing::Shared, async |test| {
        let scene = Scene::guarded(test).await;
        let gateway = scene.gateway(test).await;
        scene.works(test, &gateway).await;
        let before = container_id(test, &scene.target, REDIRECT_CONTAINER).await;
        node::kill(test, &scene.target.uid, "pause").await;
        wait::until("the redirect to run again", 60, async || {
            let now = container_id(test, &scene.target, REDIRECT_CONTAINER).await;
            if now == before || now.is_empty() { Err(format!("it is {now:?} still")) } else { Ok(()) }
        })
        .await;
        healthy_again(test, scene, &gateway).await;
    });
}

/// The application goes on, and nobody gets to it while nobody guards it.
#[test]
fn with_its_sidecar_alone() {
    run(Sharing::Shared, async |test| {
        let scene = Scene::guarded(test).await;
        let gateway = scene.gateway(test).await;
        scene.works(test, &gateway).await;
        let before = container_id(test, &scene.target, SIDECAR_CONTAINER).await;
        let hits = scene.target.hits(&test.cluster).await;
        node::kill(test, &scene.target.uid, "postern-sidecar").await;
        let direct = attack::Attack::http("plain HTTP", scene.target.address(), HTTP);
        wait::until("the sidecar to run again", 60, async || {
            let made = attack::try_all(&test.cluster, std::slice::from_ref(&direct)).await.remove(0).made;
            assert!(!made.outcome.got_in(), "while the sidecar is away: {:?}", made.outcome);
            let now = container_id(test, &scene.target, SIDECAR_CONTAINER).await;
            if now == before || now.is_empty() { Err(format!("it is {now:?} still")) } else { Ok(()) }
        })
        .await;
        assert_eq!(scene.target.hits(&test.cluster).await, hits);
        healthy_again(test, scene, &gateway).await;
    });
}

/// The same pod is Ready, and lets in whom it let in before.
async fn healthy_again(test: &Test, mut scene: Scene, gateway: &Gateway) {
    let Target { namespace, pod, uid, .. } = scene.target.clone();
    wait::until("the pod to be Ready again", 60, async || {
        let pod: Pod = test.cluster.get(&namespace, &pod).await;
        if is_ready(&pod) { Ok(()) } else { Err(why_not_ready(&pod)) }
    })
    .await;
    scene.target = scene.echo.target(&test.cluster).await;
    assert_eq!(scene.target.uid, uid, "it is the same pod");
    wait::until("the gateway to get in again", 20, async || {
        let made = gateway.call(test, gateway.get("/")).await;
        if made.outcome.got_in() { Ok(()) } else { Err(format!("{:?}", made.outcome)) }
    })
    .await;
    scene.works(test, gateway).await;
}

/// Which instance of an init container ran last; empty while there is none.
async fn container_id(test: &Test, target: &Target, container: &str) -> String {
    let pod: Pod = test.cluster.get(&target.namespace, &target.pod).await;
    let statuses = pod.status.and_then(|status| status.init_container_statuses).unwrap_or_default();
    let status = statuses.into_iter().find(|status| status.name == container);
    status.and_then(|status| status.container_id).unwrap_or_default()
}
