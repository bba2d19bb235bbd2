//! What bears the name that Postern needs and is somebody else's is left alone, and a condition says so.

use postern_config::layout::secret_name;
use postern_crds::ApiRoute;
use postern_tests::gateway::output_name;
use postern_tests::scene::{self, NAME, Scene};
use postern_tests::{Sharing, install, lock, run, wait};
use serde_json::{Value, json};

#[test]
fn is_left_alone_in_the_gateways_namespace() {
    run(Sharing::Shared, async |test| {
        let name = output_name(install::EDGE.0, &(test.namespace.clone(), NAME.to_owned()));
        let foreign = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": install::EDGE.1, "name": name}, "data": {"location.conf": "return 418;"},
        });
        test.clear_up(foreign.clone());
        test.cluster.apply(&foreign).await;
        test.cluster.apply_all(&[lock::echo_trust(&test.namespace, NAME), scene::key(&test.namespace)]).await;
        let echo = postern_tests::workload::Echo::new(&test.namespace, NAME);
        echo.deploy(&test.cluster).await;
        lock::route_says(&test.cluster, &test.namespace, NAME, ("Ready", "False", "")).await;
        wait::until("the gateway's condition", lock::LIMIT, async || {
            let route: ApiRoute = test.cluster.get(&test.namespace, NAME).await;
            let gateways = route.status.unwrap_or_default().gateways;
            let conditions: Vec<_> = gateways.iter().flat_map(|one| &one.conditions).collect();
            let says = conditions.iter().any(|one| {
                one.type_ == "Programmed"
                    && one.status == "False"
                    && one.reason == "NotOwned"
                    && one.message.contains(&name)
            });
            if says { Ok(()) } else { Err(format!("{conditions:?}")) }
        })
        .await;
        assert_eq!(data(&test.cluster, &name).await["location.conf"], "return 418;", "it is as it was");
        // The lock does not wait for it, and the key comes once the way is free.
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        test.cluster.delete(&foreign).await;
        lock::route_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let target = echo.target(&test.cluster).await;
        let scene = Scene { echo, target };
        let gateway = scene.gateway(test).await;
        scene.works(test, &gateway).await;
    });
}

#[test]
fn is_left_alone_in_the_locks_namespace() {
    run(Sharing::Shared, async |test| {
        let name = secret_name(NAME);
        let foreign = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"namespace": test.namespace, "name": name}, "stringData": {"mine": "yes"},
        });
        test.cluster.apply(&foreign).await;
        test.cluster.apply(&lock::echo_trust(&test.namespace, NAME)).await;
        let trust =
            lock::trust_says(&test.cluster, &test.namespace, NAME, ("Programmed", "False", "NotOwned")).await;
        let message = &lock::condition(&trust, "Programmed").expect("a condition").message;
        assert!(message.contains(&name), "{message}");
        let secret = test.cluster.secret(&test.namespace, &name).await.expect("it is there still");
        assert_eq!(secret.keys().collect::<Vec<_>>(), ["mine"], "it is as it was");
        test.cluster.delete(&foreign).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Armed", "True", "")).await;
    });
}

async fn data(cluster: &postern_tests::cluster::Cluster, name: &str) -> Value {
    json!(cluster.config_map(install::EDGE.1, name).await.expect("it is there still"))
}
