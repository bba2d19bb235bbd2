//! Nobody exchanges what guards a running pod, or climbs in beside it.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use postern_config::layout::{
    CONFIG_PATH, CONFIG_VOLUME, REDIRECT_CONTAINER, SIDECAR_CONTAINER, SIDECAR_UID,
};
use postern_tests::scene::{NAME, Scene};
use postern_tests::workload::ECHO_IMAGE;
use postern_tests::{Sharing, lock, run};
use serde_json::{Value, json};

#[test]
fn the_sidecars_image_stays() {
    run(Sharing::Shared, async |test| {
        let scene = Scene::guarded(test).await;
        let api: Api<Pod> = test.cluster.api(&test.namespace);
        let patch = async |patch: Value| {
            let params = PatchParams::default();
            api.patch(&scene.target.pod, &params, &Patch::Strategic(patch))
                .await
                .map_err(|error| error.to_string())
        };
        for container in [REDIRECT_CONTAINER, SIDECAR_CONTAINER] {
            let image = json!({"spec": {"initContainers": [{"name": container, "image": ECHO_IMAGE}]}});
            let message = patch(image).await.expect_err(container);
            assert!(message.contains("postern"), "{message}");
        }
        // The application's own image is its owner's, who may change it as before. (Only tried, since
        // the container would be started anew.)
        let own = json!({"spec": {"containers": [{"name": "echo", "image": format!("{ECHO_IMAGE}-other")}]}});
        let tried =
            api.patch(&scene.target.pod, &PatchParams::default().dry_run(), &Patch::Strategic(own)).await;
        tried.expect("the application's image");

        for (what, container) in [
            ("the sidecar's user", json!({"securityContext": {"runAsUser": SIDECAR_UID}})),
            ("NET_ADMIN", json!({"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}})),
            ("privileged", json!({"securityContext": {"privileged": true}})),
            ("its volumes", json!({"volumeMounts": [{"name": CONFIG_VOLUME, "mountPath": CONFIG_PATH}]})),
        ] {
            let mut container = container;
            container["name"] = "debugger".into();
            container["image"] = ECHO_IMAGE.into();
            let body = json!({"spec": {"ephemeralContainers": [container]}});
            let params = PatchParams::default();
            let refused =
                api.patch_ephemeral_containers(&scene.target.pod, &params, &Patch::Strategic(body)).await;
            let message = refused.expect_err(what).to_string();
            assert!(message.contains("postern"), "{what}: {message}");
        }
        scene.refuses(test).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
    });
}
