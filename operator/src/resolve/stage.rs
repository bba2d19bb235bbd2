//! How a lock comes into force: in stages, or after a time of looking on (SECURITY 24). What is reached is kept in
//! status and never given up; the clock and the sidecars' own word bring the next step, nobody's calls can delay it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use postern_config::loaded::Loaded;
use postern_config::policy::{Caller, Enforcement, Policy};
use postern_crds::BackendTrust;
use postern_crds::rollout::{RolloutType, Stage};

use crate::inputs::{Inputs, PodFacts};
use crate::plan::{
    Advance, AuditSum, EnforcementPlan, LockPlan, PodState, PodsPlan, PortAccess, PortPlan, Progress,
};
use crate::resolve::backend::some_of;
use crate::resolve::routes::earliest;

#[cfg(test)]
mod tests;

/// When everything is demanded at the latest, where the lock says nothing.
const DEADLINE: SignedDuration = SignedDuration::from_hours(1);

/// How many of those who would have been denied are named.
const NAMED: usize = 10;

/// How the lock is enforced now.
pub fn plan(inputs: &Inputs, trust: &BackendTrust) -> EnforcementPlan {
    plan_of(inputs.now, &inputs.progress, trust)
}

fn plan_of(now: Timestamp, progress: &Progress, trust: &BackendTrust) -> EnforcementPlan {
    let Progress { stage, promoted_at, .. } = progress;
    let deadline = deadline(trust).filter(|deadline| *deadline > now);
    let stage = match (stage, deadline) {
        (Some(Stage::Enforcing), _) | (_, None) => Stage::Enforcing,
        (reached, Some(_)) => reached.unwrap_or(Stage::Injecting),
    };
    let wish = trust.spec.promote_after.map(|after| SignedDuration::from_secs(after.seconds()));
    let promoted_at = wish.and(*promoted_at);
    EnforcementPlan {
        stage,
        deadline: deadline.filter(|_| stage != Stage::Enforcing),
        promoted_at,
        promote_after: wish.filter(|_| promoted_at.is_none()),
    }
}

/// When the stages of a lock end at the latest; `None` if it has none. They begin with its creation, so that no change
/// of the lock lets anybody in again.
fn deadline(trust: &BackendTrust) -> Option<Timestamp> {
    let rollout = trust.spec.rollout.as_ref().filter(|rollout| rollout.type_ == RolloutType::Staged)?;
    let after = rollout.deadline.map_or(DEADLINE, |after| SignedDuration::from_secs(after.seconds()));
    trust.metadata.creation_timestamp.as_ref()?.0.saturating_add(after).ok()
}

/// Turns what the lock's author wants to become of a denial into what becomes of it now.
pub fn apply(plan: &EnforcementPlan, ports: &mut [PortPlan]) {
    for port in ports {
        let PortAccess::Locked(door) = &mut port.access else { continue };
        let audited = door.enforcement == Enforcement::Audit && plan.promoted_at.is_none();
        // Where a server may speak first, plaintext and TLS can't be told apart.
        let staged = plan.stage != Stage::Enforcing && port.protocol.is_http();
        door.enforcement = if audited || staged { Enforcement::Audit } else { Enforcement::Enforce };
    }
}

/// What is left to say of a lock that comes in stages: its TCP ports have none.
pub fn note(plan: &EnforcementPlan, ports: &[PortPlan]) -> Option<String> {
    if plan.stage == Stage::Enforcing {
        return None;
    }
    let enforced: Vec<_> = ports
        .iter()
        .filter(|port| port.access.door().is_some_and(|door| door.enforcement == Enforcement::Enforce))
        .map(|port| super::ports::show(&port.port))
        .collect();
    (!enforced.is_empty()).then(|| {
        format!(
            "port {} speaks TCP, where a server may speak first, so that calls with and without TLS can't be told apart: \
             there rollout Staged has no effect, and each pod demands everything from its start on",
            enforced.join(", ")
        )
    })
}

/// What the pods' answers make of it. `policy` is what they were meant to load, with all pins; `judged` says which did.
pub fn advance(
    inputs: &Inputs,
    lock: &LockPlan,
    policy: Option<&Policy>,
    pods: &[PodFacts],
    judged: &PodsPlan,
) -> Advance {
    let now = Timestamp::from_second(inputs.now.as_second()).unwrap_or(inputs.now);
    let current = answers(pods, judged);
    let all_answer = !current.is_empty() && judged.outdated().next().is_none();
    let audits = audits(lock, &inputs.progress, &current, now);
    let (stage, waits_for) = stage(lock, policy, judged, &current, all_answer);
    let plan = &lock.enforcement;
    let clean_since = audits.values().map(|audit| audit.clean_since).max();
    // What is let in by a stage is no finding of the audit, which begins after it.
    let due = clean_since.zip(plan.promote_after).filter(|_| plan.stage == Stage::Enforcing);
    let due = due.and_then(|(since, after)| since.saturating_add(after).ok());
    let promoted = due.is_some_and(|due| due <= now) && all_answer;
    Advance {
        progress: Progress {
            stage: Some(stage),
            promoted_at: if promoted { Some(now) } else { plan.promoted_at },
            clean_since: audits.iter().map(|(port, audit)| (*port, audit.clean_since)).collect(),
        },
        audits,
        waits_for,
        renew: stage != plan.stage || promoted,
        again_at: earliest(due.filter(|due| *due > now), plan.deadline),
    }
}

/// The words of the pods that have loaded the configuration.
fn answers<'a>(pods: &'a [PodFacts], judged: &PodsPlan) -> Vec<&'a Loaded> {
    let current: BTreeSet<&str> = judged
        .pods
        .iter()
        .filter(|pod| matches!(pod.state, PodState::Current | PodState::Reshaped { acknowledged: true, .. }))
        .map(|pod| pod.uid.as_str())
        .collect();
    pods.iter()
        .filter(|pod| current.contains(pod.uid.as_str()))
        .filter_map(|pod| pod.loaded.as_ref())
        .collect()
}

fn stage(
    lock: &LockPlan,
    policy: Option<&Policy>,
    judged: &PodsPlan,
    current: &[&Loaded],
    all_answer: bool,
) -> (Stage, Vec<String>) {
    match lock.enforcement.stage {
        Stage::Enforcing => (Stage::Enforcing, Vec::new()),
        Stage::Injecting => {
            let unguarded: Vec<_> = judged.unguarded().map(|(pod, _)| pod.name.clone()).collect();
            if !unguarded.is_empty() {
                let names = some_of(&unguarded);
                return (Stage::Injecting, vec![format!("pods that run without the lock: {names}")]);
            }
            if !all_answer {
                return (Stage::Injecting, vec!["the first word of a pod behind the lock".to_owned()]);
            }
            (Stage::Permissive, Vec::new())
        }
        Stage::Permissive => {
            let waits_for = unseen(policy, current);
            if waits_for.is_empty() && all_answer {
                (Stage::Enforcing, waits_for)
            } else {
                (Stage::Permissive, waits_for)
            }
        }
    }
}

/// Whose first call with a key is waited for.
fn unseen(policy: Option<&Policy>, current: &[&Loaded]) -> Vec<String> {
    let Some(policy) = policy.filter(|policy| !policy.routes.is_empty()) else {
        return vec!["an ApiRoute that lets a gateway in".to_owned()];
    };
    let seen: BTreeSet<&String> = current.iter().flat_map(|loaded| loaded.seen.keys()).collect();
    let mut unseen = Vec::new();
    for route in &policy.routes {
        for caller in &route.callers {
            let Some(gateway) = caller.name.strip_prefix("gateway/") else { continue };
            if !marks(caller).iter().any(|mark| seen.contains(mark)) {
                unseen.push(format!(
                    "the first call of gateway {gateway} with its key for ApiRoute {}",
                    route.name
                ));
            }
        }
    }
    unseen
}

/// What a sidecar remembers a caller's call by.
fn marks(caller: &Caller) -> Vec<String> {
    caller
        .pins()
        .map(|pin| format!("key:{pin}"))
        .chain(caller.credentials.iter().map(|credential| credential.id.clone()))
        .chain(caller.header_values.iter().map(|value| value.id.clone()))
        .collect()
}

fn audits(
    lock: &LockPlan,
    progress: &Progress,
    current: &[&Loaded],
    now: Timestamp,
) -> BTreeMap<u16, AuditSum> {
    let numbers: BTreeSet<u16> = lock.audited().flat_map(|port| port.numbers.keys().copied()).collect();
    let sum = |number: u16| {
        let words = || current.iter().filter_map(|loaded| loaded.audit.get(&number));
        let last = words().filter_map(|word| Timestamp::from_second(word.last?).ok()).max();
        let known = progress.clean_since.get(&number).copied().unwrap_or(now);
        let mut callers: Vec<_> = words().flat_map(|word| word.callers.iter().cloned()).collect();
        callers.sort();
        callers.dedup();
        callers.truncate(NAMED);
        AuditSum {
            would_deny: words().map(|word| word.would_deny).sum(),
            // A sidecar that starts anew has forgotten; what was known of it stays.
            clean_since: last.map_or(known, |last| known.max(last)).min(now),
            callers,
        }
    };
    numbers.into_iter().map(|number| (number, sum(number))).collect()
}
