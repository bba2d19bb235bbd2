//! What only the node's administrator can do: a pod with the node's process ids.

use serde_json::json;

use crate::attacker::NAMESPACE;
use crate::cluster::Cluster;
use crate::gateway::IMAGE;
use crate::run::random_name;

/// Kills each process of this name (as `/proc/PID/comm` has it) in the pod with this uid.
const KILL: &str = r#"
uid=$1 name=$2 killed=0
for process in /proc/[0-9]*; do
  # The systemd driver writes underscores.
  grep -q -e "$uid" -e "$(echo "$uid" | tr - _)" "$process/cgroup" 2> /dev/null || continue
  [ "$(cat "$process/comm" 2> /dev/null)" = "$name" ] || continue
  kill -KILL "${process#/proc/}" && killed=$((killed + 1))
done
echo $killed
"#;

/// Kills each process of this name in a pod; there must be one.
pub async fn kill(cluster: &Cluster, pod_uid: &str, process: &str) {
    let name = random_name("node");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": NAMESPACE, "name": name},
        "spec": {
            "hostPID": true,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "shell", "image": IMAGE, "imagePullPolicy": "Never",
                "command": ["/bin/sleep", "300"],
                "securityContext": {"runAsUser": 0},
            }],
        },
    });
    cluster.apply(&pod).await;
    cluster.ready_pod(NAMESPACE, &name).await;
    let command = ["/bin/sh", "-c", KILL, "sh", pod_uid, process];
    let killed = cluster.try_exec(NAMESPACE, &name, "shell", &command, None).await;
    cluster.delete(&pod).await;
    let killed = killed.unwrap_or_else(|error| panic!("{process} cannot be killed: {error}"));
    assert_ne!(killed.trim(), "0", "pod {pod_uid} has a process {process}");
}
