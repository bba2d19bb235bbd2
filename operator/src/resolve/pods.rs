//! How each selected pod stands: behind the lock or not, with the present configuration or not, and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use postern_config::layout;
use postern_crds::BackendTrust;

use crate::injection::shape::Admitted;
use crate::inputs::{Injection, Inputs, Phase, PodFacts};
use crate::plan::{PodPlan, PodState, PodsPlan};
use crate::resolve::selectors::Selector;
use crate::resolve::territory::{Holder, Territory};

#[cfg(test)]
mod tests;

/// Judges the lock's pods against the configuration that they should have loaded.
///
/// Called by `resolve` with what lies in the cluster, and again after the acknowledgements with what was
/// written, on inputs whose [`PodFacts::loaded`] has been brought up to date. Without a trust, the pods are those
/// that still mount its Secret.
pub fn judge(inputs: &Inputs, config_hash: Option<&str>) -> PodsPlan {
    let Some(trust) = &inputs.trust else { return judge_orphans(inputs, config_hash) };
    let Ok(selector) = Selector::new(trust.spec.pod_selector.clone()) else { return PodsPlan::default() };
    if selector.is_empty() {
        return PodsPlan::default();
    }
    let territory = Territory::new(trust, selector, inputs);
    let mut plan = PodsPlan::default();
    for pod in inputs.pods.iter().filter(|pod| !pod.finished()) {
        match territory.holder(&pod.labels) {
            Holder::Nobody => {}
            Holder::Older(lock) => plan.lost.push((pod.name.clone(), lock.to_owned())),
            Holder::Ours => {
                let strays = |other: &str| strays(&inputs.other_trusts, other, &pod.labels);
                let state = state(pod, &Lock::of(inputs, trust), config_hash, inputs.armed_since, strays);
                plan.pods.push(entry(pod, state));
            }
        }
    }
    sort(plan)
}

fn judge_orphans(inputs: &Inputs, config_hash: Option<&str>) -> PodsPlan {
    let pods = inputs.pods.iter().filter(|pod| pod.mounts_lock_secret && !pod.finished());
    let lock = Lock { name: &inputs.key.name, asks: None };
    let state = |pod| state(pod, &lock, config_hash, None, |_| false);
    let pods = pods.map(|pod| entry(pod, state(pod))).collect();
    sort(PodsPlan { pods, lost: Vec::new() })
}

fn sort(mut plan: PodsPlan) -> PodsPlan {
    plan.pods.sort_by(|a, b| a.name.cmp(&b.name));
    plan.lost.sort();
    plan
}

fn entry(pod: &PodFacts, state: PodState) -> PodPlan {
    PodPlan {
        name: pod.name.clone(),
        uid: pod.uid.clone(),
        owner: pod.owner.clone(),
        state,
        foreign_redirect: pod.foreign_redirect.clone(),
    }
}

/// Why a pod can't be injected at all, if it can't.
pub fn unprotectable(pod: &PodFacts) -> Option<&'static str> {
    if pod.host_network {
        Some("it uses the node's network (hostNetwork), which can't be closed")
    } else if pod.mirror {
        Some("it is a static pod of a kubelet, which admission never sees")
    } else if pod.windows {
        Some("it runs on Windows, which the sidecar doesn't")
    } else {
        None
    }
}

/// Whether the lock `other` exists and doesn't select these labels, so that the webhook wouldn't inject such a pod
/// for it.
fn strays(locks: &[Arc<BackendTrust>], other: &str, labels: &BTreeMap<String, String>) -> bool {
    let other = locks.iter().find(|trust| trust.metadata.name.as_deref() == Some(other));
    other.is_some_and(|trust| {
        let selector = Selector::new(trust.spec.pod_selector.clone());
        !selector.is_ok_and(|selector| !selector.is_empty() && selector.matches(labels))
    })
}

/// What a pod is held against.
struct Lock<'a> {
    name: &'a str,
    /// Absent: it is deleted, and asks for nothing any more.
    asks: Option<Admitted>,
}

impl<'a> Lock<'a> {
    fn of(inputs: &'a Inputs, trust: &BackendTrust) -> Self {
        Self { name: &inputs.key.name, asks: Some(Admitted::of(&inputs.key.name, trust)) }
    }
}

fn state(
    pod: &PodFacts,
    lock: &Lock<'_>,
    config_hash: Option<&str>,
    armed_since: Option<Timestamp>,
    strays: impl Fn(&str) -> bool,
) -> PodState {
    if let Some(why) = unprotectable(pod) {
        return PodState::Unprotectable { why: why.to_owned() };
    }
    let slipped_in = !pod.deleting && armed_since.is_some_and(|armed| pod.created > armed);
    match &pod.injection {
        Injection::No(why) => PodState::Unguarded { why: why.clone(), slipped_in },
        Injection::For { trust: other, .. } if other != lock.name => {
            // Behind a lock that selects it, or did while there was such a lock, it is replaced in peace. If it was
            // never that lock's, somebody else than the webhook chose a weaker one for it.
            let why = format!("it was injected for BackendTrust {other}");
            PodState::Unguarded { why, slipped_in: slipped_in && strays(other) }
        }
        Injection::For { .. } if pod.deleting => PodState::Leaving,
        Injection::For { shape, privileges, .. } => match (&lock.asks, privileges) {
            // It was let in when the lock said `trustedWorkload: true`.
            (Some(asks), Some(privileges)) if !asks.trusted => {
                PodState::Unguarded { why: privileges.clone(), slipped_in: false }
            }
            (Some(asks), _) if asks.shape != *shape => {
                let why =
                    format!("it was injected {}, and the lock asks for another shape", shape.describe());
                PodState::Reshaped { why, acknowledged: guarded(pod, config_hash) == PodState::Current }
            }
            _ if shape.listens() => reached_past(pod, guarded(pod, config_hash)),
            _ => guarded(pod, config_hash),
        },
    }
}

/// Without a redirect, the sidecar is the only way in as long as the application listens on loopback alone.
fn reached_past(pod: &PodFacts, state: PodState) -> PodState {
    match (&pod.exposed, state) {
        (Some(ports), _) if !ports.is_empty() => {
            let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
            let why = format!(
                "the application itself answers at the pod's address, on port {}, so whoever can reach the pod walks \
                 around the lock: let it listen on 127.0.0.1 alone",
                ports.join(", ")
            );
            PodState::Exposed { why }
        }
        (None, PodState::Current) => PodState::Outdated {
            why: "whether its application answers past the sidecar is tried once the pod is ready".to_owned(),
        },
        (_, state) => state,
    }
}

fn guarded(pod: &PodFacts, config_hash: Option<&str>) -> PodState {
    let Some(loaded) = &pod.loaded else {
        return match pod.phase {
            Phase::Pending if !pod.sidecar_started => PodState::Starting,
            Phase::Unknown => PodState::Outdated { why: "its node doesn't answer".to_owned() },
            Phase::Pending | Phase::Running | Phase::Succeeded | Phase::Failed => PodState::Outdated {
                why: format!("its sidecar doesn't answer on the admin port {}", layout::ADMIN_PORT),
            },
        };
    };
    if config_hash.is_some() && loaded.config_hash.as_deref() == config_hash {
        return PodState::Current;
    }
    let why = match (&loaded.rejected, &loaded.config_hash) {
        (Some(rejected), _) => format!("its sidecar refused the newest configuration: {rejected}"),
        (None, None) => "its sidecar has not yet loaded any configuration, so it lets nobody in".to_owned(),
        (None, Some(_)) => "its sidecar has not yet loaded the newest configuration".to_owned(),
    };
    PodState::Outdated { why }
}

/// Whether every pod that serves has loaded the configuration `hash`: what a rotation waits for. Pods whose sidecar
/// has not started will start with it, pods that leave need it no more, and pods without the lock never had any.
pub fn all_acknowledged(inputs: &Inputs, hash: &str) -> bool {
    judge(inputs, Some(hash)).pods.iter().all(|pod| {
        !matches!(pod.state, PodState::Outdated { .. } | PodState::Reshaped { acknowledged: false, .. })
    })
}

/// When each credential, header value and pinned key was last used, over all pods.
pub fn seen(inputs: &Inputs) -> BTreeMap<String, Timestamp> {
    let mut seen = BTreeMap::<String, Timestamp>::new();
    for (id, at) in inputs.pods.iter().filter_map(|pod| pod.loaded.as_ref()).flat_map(|loaded| &loaded.seen) {
        let Ok(at) = Timestamp::from_second(*at) else { continue };
        let last = seen.entry(id.clone()).or_insert(at);
        *last = at.max(*last);
    }
    seen
}
