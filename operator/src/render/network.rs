//! What closes a pod without a redirect (`interception: Listener`): a `NetworkPolicy` that lets calls in to the sidecar
//! alone. Only a network plugin that enforces such policies obeys it, so it is no proof: the operator dials too.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use postern_config::layout;

use crate::plan::{LockPlan, Plan, PodState};
use crate::render::labels;

/// The lock's policy; `None` where there is to be none, or not yet: pods that have no sidecar, or a redirect, are called
/// at other ports, and are replaced first.
pub fn policy(plan: &Plan) -> Option<NetworkPolicy> {
    let lock = plan.lock.present().filter(|lock| lock.listens && !lock.closed)?;
    let former = |state: &PodState| matches!(state, PodState::Reshaped { .. } | PodState::Unguarded { .. });
    if plan.pods.pods.iter().any(|pod| former(&pod.state)) {
        return None;
    }
    Some(NetworkPolicy {
        // The same name as the Secret's: both are the lock's.
        metadata: labels::of_lock_secret(&plan.key),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(lock.selector.as_ref()?.to_label_selector()),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule { from: None, ports: Some(ports(lock)) }]),
            egress: None,
        }),
    })
}

fn ports(lock: &LockPlan) -> Vec<NetworkPolicyPort> {
    let one = |protocol: &str, port: u16, end: Option<u16>| NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(port.into())),
        end_port: end.map(i32::from),
    };
    let last = layout::LISTENER_PORT + layout::LISTENER_PORTS - 1;
    let own = [layout::PROBE_PORT, layout::METRICS_PORT, layout::ADMIN_PORT];
    std::iter::once(one("TCP", layout::LISTENER_PORT, Some(last)))
        .chain(own.map(|port| one("TCP", port, None)))
        .chain(lock.open_udp.iter().map(|port| one("UDP", *port, None)))
        .collect()
}
