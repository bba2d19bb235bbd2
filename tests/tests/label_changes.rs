//! Labels neither bring a running pod under a lock unguarded, nor take one out from behind it.

use k8s_openapi::api::core::v1::Pod;
use postern_tests::scene::{NAME, Scene};
use postern_tests::workload::Echo;
use postern_tests::{Sharing, run};
use serde_json::json;

#[test]
fn open_nothing() {
    run(Sharing::Shared, async |test| {
        let stranger = Echo::new(&test.namespace, "stranger");
        stranger.deploy(&test.cluster).await;
        let stranger = stranger.target(&test.cluster).await;
        let scene = Scene::guarded(test).await;
        let (namespace, name) = (&stranger.namespace, &stranger.pod);
        let join = json!({"metadata": {"labels": {"app": NAME}}});
        let refused = test.cluster.try_patch::<Pod>(namespace, name, join.clone()).await;
        let message = refused.expect_err("a pod without the sidecar must not join the guarded ones");
        assert!(message.contains("postern"), "{message}");
        let refused = test.cluster.try_patch_status::<Pod>(namespace, name, join).await;
        let message = refused.expect_err("nor through the status subresource");
        assert!(message.contains("postern"), "{message}");
        // What the lock has nothing to do with goes on as before.
        let other = json!({"metadata": {"labels": {"tier": "back"}, "annotations": {"a": "b"}}});
        test.cluster.try_patch::<Pod>(namespace, name, other).await.expect("another label");

        // A guarded pod that is given other labels is still guarded, and does not come back: who knows what was done
        // to it in between.
        let (namespace, name) = (&test.namespace, &scene.target.pod);
        let leave = json!({"metadata": {"labels": {"app": "elsewhere"}}});
        test.cluster.try_patch::<Pod>(namespace, name, leave).await.expect("a guarded pod may leave");
        scene.refuses(test).await;
        let back = json!({"metadata": {"labels": {"app": NAME}}});
        let refused = test.cluster.try_patch::<Pod>(namespace, name, back).await;
        let message = refused.expect_err("pods come under a lock when they are created, and only then");
        assert!(message.contains("created"), "{message}");
    });
}
