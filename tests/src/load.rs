//! A steady load, to show that nothing is lost while something changes.

use k8s_openapi::api::core::v1::Pod;
use postern_echo::attempt::Attempt;
use postern_echo::load::{Load, Totals};
use serde_json::{Value, json};

use crate::attacker::{NAMESPACE, Vantage};
use crate::exec::Running;
use crate::run::{Test, random_name};
use crate::wait;
use crate::workload::ECHO_IMAGE;

/// Calls per second.
const RATE: u32 = 25;

/// A load from the attacker's pod, ended on request.
pub struct Attached(Running);

/// A load from a pod of its own, which needs no API server.
pub struct Detached {
    pod: Value,
    name: String,
}

fn load(attempts: Vec<Attempt>) -> String {
    let limit_seconds = 300;
    let load = Load { attempts, per_second: RATE, limit_seconds };
    serde_json::to_string(&load).expect("a load is JSON")
}

/// Begins a load that lasts until it is ended, five minutes at most.
pub async fn begin(test: &Test, attempts: Vec<Attempt>) -> Attached {
    let command = ["/postern-echo", "load"];
    let input = load(attempts);
    let started = test.cluster.start(NAMESPACE, Vantage::Pod.pod(), "echo", &command, Some(&input)).await;
    let mut running = started.expect("the load starts");
    running.line().await.expect("the load says that it has started");
    Attached(running)
}

impl Attached {
    /// Ends it; what came of it.
    pub async fn end(mut self) -> Totals {
        self.0.say("end").await.expect("the load still runs");
        let output = self.0.end().await.expect("the load ends well");
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{output:?} is no totals: {error}"))
    }
}

/// Begins a load in a pod of its own.
pub async fn in_a_pod(test: &Test, attempts: Vec<Attempt>) -> Detached {
    let name = random_name("load");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": NAMESPACE, "name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "echo", "image": ECHO_IMAGE, "imagePullPolicy": "Never",
                "args": ["load", "--load", load(attempts)],
            }],
        },
    });
    test.clear_up(pod.clone());
    test.cluster.apply(&pod).await;
    test.cluster.ready_pod(NAMESPACE, &name).await;
    Detached { pod, name }
}

impl Detached {
    /// Ends it; what came of it.
    pub async fn end(self, test: &Test) -> Totals {
        let command = ["/postern-echo", "end"];
        // The pod's end may take this call with it.
        let _ = test.cluster.try_exec(NAMESPACE, &self.name, "echo", &command, None).await;
        wait::until("the end of the load", 20, async || {
            let pod: Pod = test.cluster.get(NAMESPACE, &self.name).await;
            match pod.status.and_then(|status| status.phase).as_deref() {
                Some("Succeeded") => Ok(()),
                other => Err(format!("it is {other:?}")),
            }
        })
        .await;
        let log = test.cluster.logs(NAMESPACE, &self.name, "echo").await;
        test.cluster.delete(&self.pod).await;
        serde_json::from_str(&log).unwrap_or_else(|error| panic!("{log:?} is no totals: {error}"))
    }
}
