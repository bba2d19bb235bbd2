//! An application that knows nothing of Postern, with nothing of it changed.

use k8s_openapi::api::core::v1::Pod;
use postern_echo::attempt::Outcome;
use postern_tests::attack::{self, Attack};
use postern_tests::gateway::{self, Forward};
use postern_tests::scene::NAME;
use postern_tests::workload::LIGHTTPD_IMAGE;
use postern_tests::{Sharing, Test, cluster, install, lock, run, scene};
use serde_json::json;

const PORT: u16 = 8080;

#[test]
fn is_guarded_all_the_same() {
    run(Sharing::Shared, async |test| {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": test.namespace, "name": NAME},
            "spec": {"selector": {"app": NAME}, "ports": [{"port": 80, "targetPort": PORT}]},
        });
        let pod = |name: &str| {
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"namespace": test.namespace, "name": name, "labels": {"app": NAME}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "lighttpd", "image": LIGHTTPD_IMAGE, "imagePullPolicy": "Never",
                        "readinessProbe": {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1},
                    }],
                },
            })
        };
        test.cluster.apply_all(&[service, pod("before")]).await;
        let before = test.cluster.ready_pod(&test.namespace, "before").await;
        let tried = attack::try_all(&test.cluster, &[direct(&before)]).await;
        assert!(tried[0].made.outcome.got_in(), "without a lock: {tried:?}");
        test.cluster.delete(&pod("before")).await;
        test.cluster.gone(&pod("before")).await;

        test.cluster.apply(&lock::trust(&test.namespace, NAME, NAME)).await;
        test.cluster.apply(&scene::key(&test.namespace)).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Armed", "True", "")).await;
        test.cluster.apply(&pod("after")).await;
        let after = test.cluster.ready_pod(&test.namespace, "after").await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        lock::route_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let tried = attack::try_all(&test.cluster, &[direct(&after)]).await;
        assert!(attack::is_refusal(&tried[0].made.outcome), "{tried:?}");
        let forwards = [Forward::all(&test.namespace, NAME)];
        let gateway = gateway::start(test, install::EDGE, &forwards).await;
        let made = gateway.answered(test, gateway.get("/?through=the-gateway")).await;
        let Outcome::Http { status: 200, body, .. } = &made.outcome else { panic!("{:?}", made.outcome) };
        assert!(body.contains("These are the orders"), "{body}");
        let log = requests(test, "after").await;
        assert!(log.contains("the-gateway") && !log.contains("direct"), "{log}");
    });
}

fn direct(pod: &Pod) -> Attack {
    let address = cluster::addresses(pod).remove(0);
    Attack::new("a direct call", attack::attempt(&address, PORT, None, attack::get("/?direct", false)))
}

/// What the server says of the requests that it saw.
async fn requests(test: &Test, pod: &str) -> String {
    postern_tests::wait::until("the server's log of the request", 10, async || {
        let log = test.cluster.logs(&test.namespace, pod, "lighttpd").await;
        if log.contains("through=") { Ok(log) } else { Err(log) }
    })
    .await
}
