//! Pods that hold no key: one like any other, one in the node's own network.

use std::sync::OnceLock;

use kube::ResourceExt as _;
use postern_echo::attempt::{Attempt, Made};
use postern_echo::hits::{LinkLocal, Report};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::run::random_name;
use crate::workload::ECHO_IMAGE;

/// Where they run.
pub const NAMESPACE: &str = "tests-attacker";

/// From where a try is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vantage {
    /// Another pod, of another namespace.
    Pod,
    /// The node's own network.
    Node,
}

impl Vantage {
    /// The pod's name; another in each run, so that it runs the newest image.
    pub fn pod(self) -> &'static str {
        static NAMES: OnceLock<[String; 2]> = OnceLock::new();
        let [pod, node] = NAMES.get_or_init(|| [random_name("attacker"), random_name("attacker-on-node")]);
        match self {
            Self::Pod => pod,
            Self::Node => node,
        }
    }
}

/// Starts both.
pub async fn deploy(cluster: &Cluster) {
    cluster.create_namespace(NAMESPACE, &json!({})).await;
    for old in cluster.pods(NAMESPACE, "").await {
        let name = old.name_any();
        cluster.delete(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": NAMESPACE, "name": name}})).await;
    }
    for vantage in [Vantage::Pod, Vantage::Node] {
        cluster.apply(&pod(vantage)).await;
    }
    for vantage in [Vantage::Pod, Vantage::Node] {
        cluster.ready_pod(NAMESPACE, vantage.pod()).await;
    }
}

fn pod(vantage: Vantage) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": NAMESPACE, "name": vantage.pod()},
        "spec": {
            "hostNetwork": vantage == Vantage::Node,
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "echo", "image": ECHO_IMAGE, "imagePullPolicy": "Never", "args": ["idle"],
            }],
        },
    })
}

/// Makes all of these at once from a vantage point.
pub async fn call(cluster: &Cluster, vantage: Vantage, attempts: &[Attempt]) -> Vec<Made> {
    call_from(cluster, NAMESPACE, vantage.pod(), "echo", attempts).await
}

/// Makes all of these at once from any pod that runs the echo image.
pub async fn call_from(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    container: &str,
    attempts: &[Attempt],
) -> Vec<Made> {
    let input = serde_json::to_string(attempts).expect("attempts are JSON");
    let command = ["/postern-echo", "call"];
    let made: Vec<Made> = cluster.exec_json(namespace, pod, container, &command, Some(&input)).await;
    assert_eq!(made.len(), attempts.len(), "an outcome for each attempt");
    made
}

/// What the echo server in a pod has counted.
pub async fn hits(cluster: &Cluster, namespace: &str, pod: &str) -> Report {
    cluster.exec_json(namespace, pod, "echo", &["/postern-echo", "hits"], None).await
}

/// The interfaces of a vantage point that have a link-local address.
pub async fn interfaces(cluster: &Cluster, vantage: Vantage) -> Vec<LinkLocal> {
    cluster.exec_json(NAMESPACE, vantage.pod(), "echo", &["/postern-echo", "interfaces"], None).await
}
