//! A restart of the API server disturbs no call, opens nothing, and the operator finds its way back.

use postern_tests::scene::{self, NAME, Scene};
use postern_tests::workload::Echo;
use postern_tests::{Sharing, install, load, lock, run};
use tokio::process::Command;

#[test]
fn no_call_is_lost() {
    let Some(restart) = restart_command() else {
        println!(
            "skipped: set POSTERN_RESTART_API_SERVER to the command that restarts this cluster's API server"
        );
        return;
    };
    run(Sharing::Alone, async |test| {
        let scene = Scene::guarded(test).await;
        let gateway = scene.gateway(test).await;
        let load = load::in_a_pod(test, vec![gateway.get("/")]).await;
        let output = Command::new(&restart).output().await.expect("the command can be run");
        assert!(output.status.success(), "{restart}: {output:?}");
        let totals = load.end(test).await;
        assert!(totals.lost.is_empty() && totals.got_in > 20, "{totals:?}");
        scene.works(test, &gateway).await;
        let forged = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": test.namespace, "name": "forged", "labels": {"app": NAME},
                "annotations": {"postern.dev/pod-record": "forged"}},
            "spec": Echo::pod_spec(),
        });
        let made = test.cluster.try_create(&forged).await.expect("the webhook answers again");
        assert!(made.data["spec"]["initContainers"].is_array(), "and injects: {made:?}");
        install::rolled_out(&test.cluster).await;
        // A change reaches pods as before.
        let mut key = scene::key(&test.namespace);
        key["metadata"]["name"] = "second".into();
        lock::keyed(&test.cluster, &key).await;
    });
}

/// The one that comes with our own cluster, unless another is named.
fn restart_command() -> Option<String> {
    if let Ok(command) = std::env::var("POSTERN_RESTART_API_SERVER") {
        return Some(command);
    }
    let load_image = std::env::var("POSTERN_LOAD_IMAGE").ok()?;
    let folder = load_image.strip_suffix("tests/cluster/load-image.sh")?;
    Some(format!("{folder}tests/cluster/restart-apiserver.sh"))
}
