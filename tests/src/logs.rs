//! The sidecar's log: one JSON object a line.

use std::net::SocketAddr;

use postern_config::layout::SIDECAR_CONTAINER;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::wait;
use crate::workload::Target;

/// Waits until the sidecar has logged that it refused this caller for this reason; returns the line.
pub async fn refusal(cluster: &Cluster, target: &Target, caller: SocketAddr, code: &str) -> Value {
    let what = format!("the sidecar of {} to log {code} for {caller}", target.pod);
    wait::until(&what, 10, async || {
        let log = cluster.logs(&target.namespace, &target.pod, SIDECAR_CONTAINER).await;
        let about: Vec<Value> = lines(&log).filter(|line| is_about(line, caller)).collect();
        about
            .iter()
            .find(|line| line["code"] == code)
            .cloned()
            .ok_or_else(|| format!("it has logged {about:?} of that caller"))
    })
    .await
}

/// The lines that are JSON.
pub fn lines(log: &str) -> impl Iterator<Item = Value> {
    log.lines().filter_map(|line| serde_json::from_str(line).ok())
}

/// Whether a line names this peer. A link-local address is written with its interface's number, which differs
/// on both ends; the port does not.
fn is_about(line: &Value, caller: SocketAddr) -> bool {
    let Some(peer) = line["peer"].as_str().and_then(|peer| peer.parse::<SocketAddr>().ok()) else {
        return false;
    };
    peer.ip().to_canonical() == caller.ip().to_canonical() && peer.port() == caller.port()
}
