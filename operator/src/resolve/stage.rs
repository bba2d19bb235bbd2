//! How a lock comes into force: in stages, or after a time of looking on (SECURITY 24). What is reached is kept in
//! status and never given up; the clock and the sidecars' own word bring the next step. Calls without a key delay the
//! end of a stage by five minutes at most, and never beyond its deadline.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use postern_config::loaded::Loaded;
use postern_config::policy::{Access, Caller, Enforcement, Lock, Policy, Route};
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

/// After each gateway has called with its key, the stage ends once nobody would have been denied for so long: the other
/// replicas of a gateway take the key up when they are reloaded, each at its own moment.
const QUIET: SignedDuration = SignedDuration::from_secs(30);

/// It ends so long after those first calls in any case, so that whoever has no key can't hold it open by calling.
const SETTLED: SignedDuration = SignedDuration::from_mins(5);

/// How many of those who would have been denied are named.
const NAMED: usize = 10;

/// How the lock is enforced now.
pub fn plan(inputs: &Inputs, trust: &BackendTrust) -> EnforcementPlan {
    plan_of(inputs.now, &inputs.progress, trust)
}

fn plan_of(now: Timestamp, progress: &Progress, trust: &BackendTrust) -> EnforcementPlan {
    let Progress { stage, promoted_at, .. } = progress;
    let deadline =
        deadline(trust).map(|deadline| progress.stage_ends.map_or(deadline, |ends| ends.min(deadline)));
    let deadline = deadline.filter(|deadline| *deadline > now);
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
    // The word of a pod that is outdated or goes counts too: whom it let through, it did.
    let words: Vec<_> = pods.iter().filter_map(|pod| pod.loaded.as_ref()).collect();
    let audits = audits(lock, &inputs.progress, &words, now);
    let clean_since = audits.values().map(|audit| audit.clean_since).max();
    let quiet_at = clean_since.and_then(|since| since.saturating_add(QUIET).ok());
    let plan = &lock.enforcement;
    let Next { stage, waits_for, called } = next(lock, policy, judged, &current, all_answer);
    let quiet = quiet_at.is_none_or(|at| at <= now);
    let stage = if called && quiet { Stage::Enforcing } else { stage };
    let settled = now.saturating_add(SETTLED).ok().filter(|_| called);
    let stage_ends = inputs.progress.stage_ends.or(settled);
    let stage_ends = stage_ends
        .map(|ends| plan.deadline.map_or(ends, |deadline| ends.min(deadline)))
        .filter(|_| stage != Stage::Enforcing);
    // What is let in by a stage is no finding of the audit, which begins after it.
    let due = clean_since.zip(plan.promote_after).filter(|_| plan.stage == Stage::Enforcing);
    let due = due.and_then(|(since, after)| since.saturating_add(after).ok());
    let promoted = due.is_some_and(|due| due <= now) && all_answer;
    Advance {
        progress: Progress {
            stage: Some(stage),
            stage_ends,
            promoted_at: if promoted { Some(now) } else { plan.promoted_at },
            audited: audits
                .iter()
                .map(|(port, audit)| (*port, (audit.would_deny, audit.clean_since)))
                .collect(),
        },
        audits,
        waits_for,
        renew: stage != plan.stage || promoted,
        again_at: earliest(due.filter(|due| *due > now), earliest(plan.deadline, stage_ends)),
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

/// What a lock's stage comes to by what the pods say.
struct Next {
    stage: Stage,
    /// What it waits for.
    waits_for: Vec<String>,
    /// Each gateway has called with its key: nothing but the last of its replicas is waited for.
    called: bool,
}

fn next(
    lock: &LockPlan,
    policy: Option<&Policy>,
    judged: &PodsPlan,
    current: &[&Loaded],
    all_answer: bool,
) -> Next {
    let waits = |stage, waits_for| Next { stage, waits_for, called: false };
    match lock.enforcement.stage {
        Stage::Enforcing => waits(Stage::Enforcing, Vec::new()),
        Stage::Injecting => {
            let unguarded: Vec<_> = judged.unguarded().map(|(pod, _)| pod.name.clone()).collect();
            if !unguarded.is_empty() {
                let names = some_of(&unguarded);
                return waits(Stage::Injecting, vec![format!("pods that run without the lock: {names}")]);
            }
            if !all_answer {
                return waits(Stage::Injecting, vec!["the first word of a pod behind the lock".to_owned()]);
            }
            waits(Stage::Permissive, Vec::new())
        }
        Stage::Permissive => {
            let waits_for = unseen(policy, current);
            if !waits_for.is_empty() || !all_answer {
                return waits(Stage::Permissive, waits_for);
            }
            let last = format!(
                "{QUIET:#} in which nobody calls who would be denied, such as a replica of a gateway that \
                                has yet to take up its key"
            );
            Next { stage: Stage::Permissive, waits_for: vec![last], called: true }
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
        let users = users(policy, route);
        for caller in &route.callers {
            let Some(gateway) = caller.name.strip_prefix("gateway/") else { continue };
            let name = &route.name;
            match &users {
                Some(users) if users.iter().any(|id| seen.contains(id)) => {}
                Some(_) => unseen.push(format!(
                    "the first call of one of the users of ApiRoute {name} through gateway {gateway}"
                )),
                None if marks(caller).iter().any(|mark| seen.contains(mark)) => {}
                None => unseen
                    .push(format!("the first call of gateway {gateway} with its key for ApiRoute {name}")),
            }
        }
    }
    unseen
}

/// The ids of those whose credentials alone open a route's port: a gateway that passes them on has none of its own
/// to be known by.
fn users(policy: &Policy, route: &Route) -> Option<Vec<String>> {
    let port = policy.ports.iter().find(|port| port.port == route.port)?;
    let Access::Locked { locks } = &port.access else { return None };
    let [Lock::Basic { users: Some(users), .. }] = locks.list.as_slice() else { return None };
    Some(users.iter().map(|user| user.id.clone()).collect())
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
    words: &[&Loaded],
    now: Timestamp,
) -> BTreeMap<u16, AuditSum> {
    let numbers: BTreeSet<u16> = lock.audited().flat_map(|port| port.numbers.keys().copied()).collect();
    let sum = |number: u16| {
        let words = || words.iter().filter_map(|loaded| loaded.audit.get(&number));
        let last = words().filter_map(|word| Timestamp::from_second(word.last?).ok()).max();
        let (counted, known) = progress.audited.get(&number).copied().unwrap_or((0, now));
        let mut callers: Vec<_> = words().flat_map(|word| word.callers.iter().cloned()).collect();
        callers.sort();
        callers.dedup();
        callers.truncate(NAMED);
        AuditSum {
            // A pod that ends, and a sidecar that starts anew, has forgotten; what was known of it stays.
            would_deny: words().map(|word| word.would_deny).fold(0, u64::saturating_add).max(counted),
            clean_since: last.map_or(known, |last| known.max(last)).min(now),
            callers,
        }
    };
    numbers.into_iter().map(|number| (number, sum(number))).collect()
}
