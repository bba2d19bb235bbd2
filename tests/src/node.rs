//! What only the node's administrator can do: a pod with the node's process ids.

use serde_json::{Value, json};

use crate::attacker::NAMESPACE;
use crate::cluster::Cluster;
use crate::gateway::IMAGE;
use crate::run::{Test, random_name};

/// Does something to each process of this name (as `/proc/PID/comm` has it) in the pod with this uid; prints a line for
/// each.
const FOR_EACH: &str = r#"
uid=$1 name=$2
for process in /proc/[0-9]*; do
  # The systemd driver writes underscores.
  grep -q -e "$uid" -e "$(echo "$uid" | tr - _)" "$process/cgroup" 2> /dev/null || continue
  [ "$(cat "$process/comm" 2> /dev/null)" = "$name" ] || continue
  act "$process"
done
"#;
const KILL: &str = r#"act() { kill -KILL "${1#/proc/}" && echo killed; }"#;
/// Kibibytes, of memory that the process alone or with others has had at the most.
const PEAK: &str = r#"act() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB$/\1/p' "$1/status"; }"#;

/// A shell that sees all processes of the node.
pub struct Shell {
    name: String,
}

impl Shell {
    /// Starts it; it ends with the test.
    pub async fn start(test: &Test) -> Self {
        let shell = Self { name: random_name("node") };
        test.clear_up(shell.pod());
        test.cluster.apply(&shell.pod()).await;
        test.cluster.ready_pod(NAMESPACE, &shell.name).await;
        shell
    }

    fn pod(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": NAMESPACE, "name": self.name},
            "spec": {
                "hostPID": true,
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "shell", "image": IMAGE, "imagePullPolicy": "Never",
                    "command": ["/bin/sleep", "infinity"],
                    "securityContext": {"runAsUser": 0},
                }],
            },
        })
    }

    /// What `act` prints for each process of this name in a pod.
    async fn for_each(
        &self,
        cluster: &Cluster,
        act: &str,
        pod_uid: &str,
        process: &str,
    ) -> Result<String, String> {
        let script = format!("{act}{FOR_EACH}");
        let command = ["/bin/sh", "-c", &script, "sh", pod_uid, process];
        cluster.try_exec(NAMESPACE, &self.name, "shell", &command, None).await
    }

    /// The most memory that the one process of this name in a pod has had so far, in bytes.
    pub async fn peak_memory(&self, cluster: &Cluster, pod_uid: &str, process: &str) -> u64 {
        let told = self.for_each(cluster, PEAK, pod_uid, process).await;
        let kibibytes: Option<u64> = told.as_ref().ok().and_then(|told| told.trim().parse().ok());
        kibibytes.unwrap_or_else(|| panic!("pod {pod_uid} has one process {process}: {told:?}")) << 10
    }
}

/// Kills each process of this name in a pod; there must be one.
pub async fn kill(test: &Test, pod_uid: &str, process: &str) {
    let shell = Shell::start(test).await;
    let killed = shell.for_each(&test.cluster, KILL, pod_uid, process).await;
    let killed = killed.unwrap_or_else(|error| panic!("{process} cannot be killed: {error}"));
    assert!(!killed.is_empty(), "pod {pod_uid} has a process {process}");
}
