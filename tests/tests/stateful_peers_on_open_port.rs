//! The pods of a `StatefulSet` talk to each other on a port that is open, and on no other.

use postern_echo::attempt::Payload;
use postern_tests::attack::{self, Attack};
use postern_tests::attacker::call_from;
use postern_tests::scene::NAME;
use postern_tests::workload::{Echo, HTTP, TCP};
use postern_tests::{Sharing, cluster, lock, run};
use serde_json::json;

#[test]
fn reach_each_other_there_alone() {
    run(Sharing::Shared, async |test| {
        let mut trust = lock::trust(&test.namespace, NAME, NAME);
        trust["spec"]["ports"] = json!([{"port": "tcp", "open": {"reason": "the peers replicate over it"}}]);
        test.cluster.apply(&trust).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Armed", "True", "")).await;
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": test.namespace, "name": NAME},
            "spec": {"clusterIP": "None", "selector": {"app": NAME}, "publishNotReadyAddresses": true,
                     "ports": [{"name": "tcp", "port": TCP}]},
        });
        let set = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"namespace": test.namespace, "name": NAME},
            "spec": {
                "replicas": 2, "serviceName": NAME, "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": {"app": NAME}},
                "template": {"metadata": {"labels": {"app": NAME}}, "spec": Echo::pod_spec()},
            },
        });
        test.cluster.apply_all(&[service, set]).await;
        let (first, second) = (format!("{NAME}-0"), format!("{NAME}-1"));
        test.cluster.ready_pod(&test.namespace, &first).await;
        let peer = test.cluster.ready_pod(&test.namespace, &second).await;
        let trust = lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let locks = trust.status.and_then(|status| status.summary).and_then(|summary| summary.locks);
        assert!(locks.as_deref().is_some_and(|locks| locks.contains("+1 open")), "{locks:?}");

        let bytes = Payload::Bytes { text: "replicate\n".to_owned() };
        let name = format!("{second}.{NAME}.{}.svc.cluster.local", test.namespace);
        let address = cluster::addresses(&peer).remove(0);
        let attempts = [
            attack::attempt(&name, TCP, None, bytes),
            attack::attempt(&address, HTTP, None, attack::get("/", false)),
        ];
        let made = call_from(&test.cluster, &test.namespace, &first, "echo", &attempts).await;
        assert!(made[0].outcome.got_in(), "the open port: {:?}", made[0].outcome);
        assert!(attack::is_refusal(&made[1].outcome), "another port: {:?}", made[1].outcome);
        // A pod's own calls to itself are nobody's business.
        let own = cluster::addresses(&test.cluster.ready_pod(&test.namespace, &first).await).remove(0);
        let own = [attack::attempt(&own, HTTP, None, attack::get("/", false))];
        let made = call_from(&test.cluster, &test.namespace, &first, "echo", &own).await;
        assert!(made[0].outcome.got_in(), "a pod calls itself: {:?}", made[0].outcome);
        // An open port is open to everybody, which is why status shows it.
        let tried = attack::try_all(&test.cluster, &[Attack::tcp("a stranger", &address, TCP)]).await;
        assert!(tried[0].made.outcome.got_in(), "{tried:?}");
    });
}
