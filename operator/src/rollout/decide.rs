//! What is to be done with each pod that runs without its lock or in a former shape. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Owner, PodFacts, PodState, PodsPlan, is_apps};
use crate::plan::PodPlan;

/// What stands behind a pod, and how its pods are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    /// In its own rolling way.
    Rolling {
        /// `Deployment`, `StatefulSet` or `DaemonSet`.
        kind: String,
        /// Its name.
        name: String,
        /// When Postern restarted it last.
        restarted: Option<Timestamp>,
        /// Why a restart would replace nothing, with what to do.
        blocked: Option<String>,
    },
    /// It has no rolling way, but makes a new pod for one that is evicted.
    Evict,
    /// It is being deleted, and its pods with it.
    Gone,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Let the workload replace its pods.
    Restart {
        /// `Deployment`, `StatefulSet` or `DaemonSet`.
        kind: String,
        /// Its name.
        name: String,
    },
    /// Evict this pod.
    Evict {
        /// Its name.
        pod: String,
    },
    /// Something can't be done; say so.
    Say(String),
    /// Look again in a while.
    Later,
}

/// Owners that must be read before [`decide`].
pub(super) fn to_look_up(plan: &PodsPlan, replace: bool) -> BTreeSet<Owner> {
    let pods = replaceable(plan).filter(|(_, slipped_in)| replace && !slipped_in);
    pods.filter_map(|(pod, _)| pod.owner.clone())
        .filter(|owner| {
            is_apps(&owner.api_version)
                && ["ReplicaSet", "StatefulSet", "DaemonSet"].contains(&owner.kind.as_str())
        })
        .collect()
}

/// Decides. A workload is restarted once: what is restarted already is given time to replace its pods. Of pods
/// that can only be evicted, one of each owner goes at a time, and the next when all others are ready.
///
/// With a `canary`, one workload goes first, and the others when a pod of it is ready behind the lock.
pub fn decide(
    plan: &PodsPlan,
    facts: &[PodFacts],
    workloads: &BTreeMap<Owner, Workload>,
    replace: bool,
    canary: bool,
) -> Vec<Step> {
    let steps = all_steps(plan, facts, workloads, replace);
    let proven =
        || plan.pods.iter().filter(|pod| pod.state == PodState::Current).any(|pod| is_ready(facts, pod));
    if !canary || proven() { steps } else { first_alone(plan, facts, workloads, steps) }
}

/// As long as no pod is ready behind the lock, one workload is replaced and no other.
fn first_alone(
    plan: &PodsPlan,
    facts: &[PodFacts],
    workloads: &BTreeMap<Owner, Workload>,
    steps: Vec<Step>,
) -> Vec<Step> {
    let slipped_in: BTreeSet<&str> =
        replaceable(plan).filter(|(_, slipped_in)| *slipped_in).map(|(pod, _)| pod.name.as_str()).collect();
    let replaces = |step: &Step| match step {
        Step::Restart { .. } => true,
        Step::Evict { pod } => !slipped_in.contains(pod.as_str()),
        Step::Say(_) | Step::Later => false,
    };
    let guarded: Vec<_> =
        plan.pods.iter().filter(|pod| pod.state.guarded()).map(|pod| pod.name.as_str()).collect();
    let begun = !guarded.is_empty()
        || replaceable(plan).any(|(pod, _)| {
            let own = facts.iter().find(|facts| facts.uid == pod.uid);
            let restarted = match pod.owner.as_ref().and_then(|owner| workloads.get(owner)) {
                Some(Workload::Rolling { restarted, .. }) => *restarted,
                _ => None,
            };
            own.is_some_and(|own| own.deleting || is_being_replaced(own, restarted))
        });
    let mut first = !begun;
    let mut held = false;
    let mut kept: Vec<_> = steps
        .into_iter()
        .filter(|step| {
            let keep = !replaces(step) || std::mem::take(&mut first);
            held |= !keep;
            keep
        })
        .collect();
    if held {
        kept.push(Step::Later);
        if let Some(pod) = guarded.first() {
            kept.push(Step::Say(format!(
                "pod {pod} is the first behind the lock and not ready, so no other workload is restarted: look at its \
                 containers"
            )));
        }
    }
    kept
}

/// Whether the workload's last restart is still to replace this pod. A pod that this restart made carries its
/// annotation: its time of creation is of whole seconds, often of the very second in which the restart was.
fn is_being_replaced(own: &PodFacts, restarted: Option<Timestamp>) -> bool {
    restarted.is_some_and(|at| own.restarted != Some(at) && own.created <= at)
}

fn is_ready(facts: &[PodFacts], pod: &PodPlan) -> bool {
    facts.iter().any(|facts| facts.uid == pod.uid && facts.ready && !facts.deleting)
}

fn all_steps(
    plan: &PodsPlan,
    facts: &[PodFacts],
    workloads: &BTreeMap<Owner, Workload>,
    replace: bool,
) -> Vec<Step> {
    let mut steps = BTreeSet::new();
    let mut evicted = BTreeSet::new();
    for (pod, slipped_in) in replaceable(plan) {
        let Some(own) = facts.iter().find(|facts| facts.uid == pod.uid) else { continue };
        if own.deleting {
            continue;
        }
        if slipped_in {
            steps.insert(Step::Evict { pod: pod.name.clone() });
            continue;
        }
        if !replace {
            continue;
        }
        let Some(owner) = &pod.owner else {
            let sentence = format!("pod {} has no controller that would make it anew: delete it", pod.name);
            steps.insert(Step::Say(sentence));
            continue;
        };
        match (owner.kind.as_str(), workloads.get(owner)) {
            ("Job", _) => {
                let sentence = format!("pod {} belongs to Job {} and is left to end", pod.name, owner.name);
                steps.insert(Step::Say(sentence));
            }
            (_, Some(Workload::Gone)) => {}
            (_, Some(Workload::Rolling { kind, name, restarted, blocked })) => {
                if let Some(why) = blocked {
                    steps.insert(Step::Say(format!("{kind} {name} does not replace its pods, since {why}")));
                } else if !is_being_replaced(own, *restarted) {
                    steps.insert(Step::Restart { kind: kind.clone(), name: name.clone() });
                }
            }
            // An apps/v1 owner that could not be read has been reported; it is looked up again.
            (_, None) if to_look_up(plan, replace).contains(owner) => {}
            (_, Some(Workload::Evict) | None) => {
                let others_ready = facts
                    .iter()
                    .filter(|other| other.owner.as_ref() == Some(owner) && !other.finished())
                    .all(|other| other.ready && !other.deleting);
                if others_ready && evicted.insert(owner.clone()) {
                    steps.insert(Step::Evict { pod: pod.name.clone() });
                } else {
                    steps.insert(Step::Later);
                }
            }
        }
    }
    steps.into_iter().collect()
}

/// Pods without the lock, or in a shape that it no longer asks for, that can be replaced by guarded ones, and whether
/// each slipped in.
fn replaceable(plan: &PodsPlan) -> impl Iterator<Item = (&PodPlan, bool)> {
    plan.pods.iter().filter_map(|pod| match pod.state {
        PodState::Unguarded { slipped_in, .. } => Some((pod, slipped_in)),
        PodState::Reshaped { .. } => Some((pod, false)),
        _ => None,
    })
}
