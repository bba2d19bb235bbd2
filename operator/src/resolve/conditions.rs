//! The conditions of status: what the plan refused and what became of the rest, as one answer for each question.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use postern_config::policy::Transport;
use postern_crds::api_route::Verification;
use postern_crds::rollout::Stage;
use postern_crds::{ConditionType, Duration, Reason, limits};

use crate::plan::{
    Armed, BackendPlan, KeyAction, KeyPlan, LockPlan, LockState, Outcome, Plan, PodState, PodsPlan, Refusal,
    RoutePlan,
};
use crate::resolve::backend::some_of;
use crate::resolve::{ports, stage};

mod past;

use past::{bypassable, names_of};

/// One condition before it is written: status `None` is `Unknown`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which condition.
    pub condition: ConditionType,
    /// `True`, `False`, or `Unknown`.
    pub status: Option<bool>,
    /// Why.
    pub reason: Reason,
    /// In words, with what to do.
    pub message: String,
}

impl Verdict {
    fn new(
        condition: ConditionType,
        status: Option<bool>,
        reason: Reason,
        message: impl Into<String>,
    ) -> Self {
        Self { condition, status, reason, message: message.into() }
    }

    fn good(condition: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self::new(condition, Some(true), reason, message)
    }

    fn bad(condition: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self::new(condition, Some(false), reason, message)
    }

    /// As Kubernetes has it. The transition time is `now`; whoever writes it keeps the old one if the status has not
    /// changed.
    pub fn to_condition(&self, generation: i64, now: Timestamp) -> Condition {
        Condition {
            type_: self.condition.as_str().to_owned(),
            status: match self.status {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            }
            .to_owned(),
            reason: self.reason.as_str().to_owned(),
            message: self.message.chars().take(limits::MESSAGE).collect(),
            observed_generation: Some(generation),
            last_transition_time: Time(now),
        }
    }
}

/// The first refusal's reason with the messages of all, or the good answer.
fn refused_or(condition: ConditionType, refusals: &[Refusal], good: impl FnOnce() -> Verdict) -> Verdict {
    let of_this: Vec<_> = refusals.iter().filter(|refusal| refusal.condition == condition).collect();
    match of_this.first() {
        None => good(),
        Some(first) => {
            let messages: Vec<_> = of_this.iter().map(|refusal| refusal.message.as_str()).collect();
            Verdict::bad(condition, first.reason, messages.join("; also: "))
        }
    }
}

/// The conditions of the `BackendTrust`; empty if it doesn't exist.
pub fn lock(plan: &Plan, outcome: &Outcome) -> Vec<Verdict> {
    let LockState::Present(lock) = &plan.lock else { return Vec::new() };
    let parts = vec![
        refused_or(ConditionType::Accepted, &lock.refusals, || {
            let note = stage::note(&lock.enforcement, &lock.ports).map(|note| format!("; {note}"));
            let message = format!("the lock makes sense{}", note.unwrap_or_default());
            Verdict::good(ConditionType::Accepted, Reason::Accepted, message)
        }),
        refused_or(ConditionType::ResolvedRefs, &lock.refusals, || {
            Verdict::good(
                ConditionType::ResolvedRefs,
                Reason::ResolvedRefs,
                "the lock names nothing that is missing",
            )
        }),
        armed(lock, &outcome.armed),
        lock_programmed(lock, outcome),
    ];
    let sum = sum(&parts, "every selected pod runs behind the lock and has loaded its configuration");
    let sum = if sum.status == Some(true) { weakened(lock, outcome).unwrap_or(sum) } else { sum };
    parts.into_iter().chain(bypassable(plan)).chain([sum]).collect()
}

/// Why a lock that is in front of every pod still lets everybody in, if it does: nobody is to read that it protects.
fn weakened(lock: &LockPlan, outcome: &Outcome) -> Option<Verdict> {
    let unready = |reason, message| Some(Verdict::bad(ConditionType::Ready, reason, message));
    let advance = outcome.advance.as_ref();
    let denied: Vec<_> = advance
        .iter()
        .flat_map(|advance| &advance.audits)
        .filter(|(_, audit)| audit.would_deny > 0)
        .map(|(port, audit)| {
            let who = match audit.callers.as_slice() {
                [] => "the logs of the pods that let them through say whose".to_owned(),
                callers => callers.join(", "),
            };
            format!("{} calls of port {port} would have been denied ({who})", audit.would_deny)
        })
        .collect();
    let denied =
        if denied.is_empty() { "nobody would have been denied yet".to_owned() } else { denied.join("; ") };
    if lock.enforcement.stage != Stage::Enforcing {
        let waits_for = advance.map(|advance| advance.waits_for.join("; ")).unwrap_or_default();
        let deadline = lock.enforcement.deadline.map(|at| at.to_string()).unwrap_or_default();
        return unready(
            Reason::Staged,
            format!(
                "stage {}: HTTP ports still let everybody in, by TLS and without, until {deadline} at the latest; it waits \
                 for {waits_for}; {denied}",
                lock.enforcement.stage
            ),
        );
    }
    let ports: Vec<_> = lock.audited().map(|port| ports::show(&port.port)).collect();
    if ports.is_empty() {
        return None;
    }
    let promotion = match lock.enforcement.promote_after {
        Some(after) => {
            let after = Duration(after.unsigned_abs());
            format!("when nobody would have been for {after}, denials are carried out (promoteAfter)")
        }
        None => "write enforcement: Enforce, or promoteAfter, to have denials carried out".to_owned(),
    };
    unready(
        Reason::AuditMode,
        format!("enforcement Audit lets everybody in on port {}: {denied}; {promotion}", ports.join(", ")),
    )
}

/// The worst of the others: what is false counts before what is unknown.
fn sum(parts: &[Verdict], good: &str) -> Verdict {
    let worst = parts
        .iter()
        .find(|part| part.status == Some(false))
        .or_else(|| parts.iter().find(|part| part.status.is_none()));
    match worst {
        None => Verdict::good(ConditionType::Ready, Reason::Ready, good),
        Some(part) => Verdict { condition: ConditionType::Ready, ..part.clone() },
    }
}

fn armed(lock: &LockPlan, armed: &Armed) -> Verdict {
    refused_or(ConditionType::Armed, &lock.refusals, || match armed {
        Armed::Yes => Verdict::good(
            ConditionType::Armed,
            Reason::Armed,
            "a dry run has shown that the API server refuses a selected pod without the lock",
        ),
        Armed::No(why) => Verdict::bad(ConditionType::Armed, Reason::AdmissionNotReady, why.clone()),
        Armed::NotTried if lock.admission.is_none() => Verdict::bad(
            ConditionType::Armed,
            Reason::Pending,
            "nothing is armed while the lock is not accepted: see the condition Accepted",
        ),
        Armed::NotTried => Verdict::bad(
            ConditionType::Armed,
            Reason::Pending,
            "not tried yet, because a step before it has not succeeded: see the condition Programmed and the operator's log",
        ),
    })
}

fn lock_programmed(lock: &LockPlan, outcome: &Outcome) -> Verdict {
    let condition = ConditionType::Programmed;
    refused_or(condition, &lock.refusals, || {
        if let Err(failure) = &outcome.lock_secret {
            return Verdict::bad(condition, failure.reason, failure.message.clone());
        }
        if lock.closed {
            return Verdict::bad(
                condition,
                Reason::Pending,
                "the lock lets nobody in while it is not accepted: see the condition Accepted",
            );
        }
        pods_programmed(&outcome.pods, &outcome.rollout)
    })
}

fn pods_programmed(pods: &PodsPlan, rollout: &[String]) -> Verdict {
    let condition = ConditionType::Programmed;
    let unguarded: Vec<_> = pods.unguarded().map(|(pod, why)| format!("{} ({why})", pod.name)).collect();
    if !unguarded.is_empty() {
        let mut message = format!(
            "{} of {} selected pods run without the lock: {}",
            unguarded.len(),
            pods.selected(),
            some_of(&unguarded)
        );
        for sentence in rollout {
            message.push_str("; ");
            message.push_str(sentence);
        }
        return Verdict::bad(condition, Reason::PodsNotGuarded, message);
    }
    // Before the outdated ones: where the other redirect comes first, the operator doesn't reach the sidecar either.
    let intercepted: Vec<_> =
        pods.intercepted().map(|(pod, found)| format!("{} ({found})", pod.name)).collect();
    if !intercepted.is_empty() {
        let message = format!(
            "in {} of {} guarded pods another program redirects inbound connections too: {}; in brackets are the \
             family, table, chain and priority of its rules; exclude these pods from the other mesh's or CNI plugin's \
             redirect, then replace them",
            intercepted.len(),
            pods.guarded(),
            some_of(&intercepted)
        );
        return Verdict::bad(condition, Reason::ForeignInterception, message);
    }
    let outdated: Vec<_> = pods.outdated().map(|(pod, why)| format!("{} ({why})", pod.name)).collect();
    if !outdated.is_empty() {
        let message = format!(
            "{} of {} guarded pods have not loaded the present configuration: {}; the last one that they loaded stays in \
             force",
            outdated.len(),
            pods.guarded(),
            some_of(&outdated)
        );
        return Verdict::bad(condition, Reason::PodsOutdated, message);
    }
    let starting: Vec<_> =
        pods.pods.iter().filter(|pod| pod.state == PodState::Starting).map(|pod| pod.name.clone()).collect();
    if pods.current() == 0 && !starting.is_empty() {
        let message = format!("the pods are starting, behind the lock: {}", some_of(&starting));
        return Verdict::bad(condition, Reason::PodsOutdated, message);
    }
    if pods.current() == 0 {
        return Verdict::new(
            condition,
            None,
            Reason::NoPods,
            "podSelector selects no running pod, so nothing shows that the lock holds: start the workload, or compare \
             podSelector with its pods' labels",
        );
    }
    Verdict::good(
        condition,
        Reason::Programmed,
        format!("{} pod(s) have loaded the present configuration, by their own word", pods.current()),
    )
}

/// The conditions of one `ApiRoute`.
pub fn route(plan: &Plan, route: &RoutePlan, outcome: &Outcome) -> Vec<Verdict> {
    let gateways: Vec<_> = route.keys.iter().map(|key| (key, gateway(plan, route, key, outcome))).collect();
    let said: Vec<_> = route.refusals.iter().chain(&route.reservations).cloned().collect();
    let accepted = route_accepted(route, &said);
    let resolved = refused_or(ConditionType::ResolvedRefs, &said, || {
        Verdict::good(
            ConditionType::ResolvedRefs,
            Reason::ResolvedRefs,
            "the BackendTrust, the Service and its port were found",
        )
    });
    let parts = vec![accepted, resolved];
    let good = if route.keys.is_empty() {
        "the lock that this key fits is Ready"
    } else {
        "the gateways hold their keys, and the lock that they fit is Ready"
    };
    let mut ready = sum(&parts, good);
    if ready.status == Some(true) {
        ready = warned(route, ready);
    }
    if ready.status == Some(true) {
        let lock = lock(plan, outcome).into_iter().find(|verdict| verdict.condition == ConditionType::Ready);
        let unready = lock.filter(|lock| lock.status != Some(true)).map(|lock| trust_not_ready(plan, &lock));
        let gateway = gateways.iter().find_map(|(key, verdicts)| {
            let verdict = verdicts.iter().find(|verdict| verdict.status != Some(true))?;
            let message = format!("gateway {}: {}", key.id.gateway, verdict.message);
            Some(Verdict::bad(ConditionType::Ready, Reason::GatewayNotReady, message))
        });
        // A lock that is refused as a whole is the cause of what is wrong with the gateways.
        let refused = plan.lock.present().is_some_and(|lock| lock.closed) || plan.bundle.is_none();
        let first = if refused { unready.or(gateway) } else { gateway.or(unready) };
        ready = first.unwrap_or(ready);
    }
    parts.into_iter().chain([ready]).collect()
}

fn trust_not_ready(plan: &Plan, lock: &Verdict) -> Verdict {
    let message = format!(
        "BackendTrust {} is not Ready, with reason {}: see its conditions (kubectl describe bt {} -n {})",
        plan.key.name, lock.reason, plan.key.name, plan.key.namespace
    );
    Verdict::new(ConditionType::Ready, lock.status, Reason::TrustNotReady, message)
}

/// A route that none of its gateways takes is of no use, so it is not accepted itself.
fn route_accepted(route: &RoutePlan, said: &[Refusal]) -> Verdict {
    refused_or(ConditionType::Accepted, said, || {
        let of_gateways: Vec<Refusal> = route.keys.iter().filter_map(not_accepted).cloned().collect();
        let all = !of_gateways.is_empty() && of_gateways.len() == route.keys.len();
        refused_or(ConditionType::Accepted, if all { &of_gateways } else { &[] }, || {
            let past = names_of(route);
            let past =
                if past.is_empty() { past } else { format!("; callers get in past the gateway: {past}") };
            let message = format!("the route makes sense{past}");
            warned(route, Verdict::good(ConditionType::Accepted, Reason::Accepted, message))
        })
    })
}

/// A good answer, with what is weak about it.
fn warned(route: &RoutePlan, verdict: Verdict) -> Verdict {
    let skips = |backend: &&BackendPlan| {
        backend.verification == Verification::SkipHostname && backend.door.transport == Transport::TLS
    };
    let Some(backend) = route.backend.as_ref().filter(skips) else { return verdict };
    let message = format!(
        "{}, but the gateways don't verify that a backend is {}: any workload behind a lock of Postern's may stand in for it \
         (backendTLS.verification SkipHostname)",
        verdict.message, backend.service
    );
    Verdict { reason: Reason::HostnameNotVerified, message, ..verdict }
}

fn not_accepted(key: &KeyPlan) -> Option<&Refusal> {
    key.refusals.iter().find(|refusal| refusal.condition == ConditionType::Accepted)
}

/// The conditions of one gateway of one route.
pub fn gateway(plan: &Plan, route: &RoutePlan, key: &KeyPlan, outcome: &Outcome) -> Vec<Verdict> {
    let accepted = refused_or(ConditionType::Accepted, &key.refusals, || {
        Verdict::good(ConditionType::Accepted, Reason::Accepted, "the gateway takes this route")
    });
    let programmed =
        refused_or(ConditionType::Programmed, &key.refusals, || key_programmed(plan, route, key, outcome));
    vec![accepted, programmed]
}

fn key_programmed(plan: &Plan, route: &RoutePlan, key: &KeyPlan, outcome: &Outcome) -> Verdict {
    let condition = ConditionType::Programmed;
    let object = || format!("{}/{}", key.namespace.as_deref().unwrap_or_default(), key.id.object_name());
    let pending = |message: String| Verdict::bad(condition, Reason::Pending, message);
    match (&key.action, outcome.keys.get(&key.id)) {
        (KeyAction::Remove, _) => {
            pending("the gateway has no key for this route: see the other conditions".to_owned())
        }
        // An unread key has its refusal, which is said instead.
        (KeyAction::Leave | KeyAction::Unread(_), _) => {
            let cause = if !key.refusals.is_empty() {
                format!("gateway {} can't take this route", key.id.gateway)
            } else if route.holds() {
                format!("the lock of BackendTrust {} is not in force", plan.key.name)
            } else {
                "the route is not accepted or not resolved".to_owned()
            };
            pending(format!(
                "{cause}, so no pod lets its key in and nothing is written: see the other conditions"
            ))
        }
        (KeyAction::Write(_) | KeyAction::Renew(_), None) => pending(format!(
            "Secret and ConfigMap {} have not been written yet: wait, or see the operator's log",
            object()
        )),
        (KeyAction::Write(_) | KeyAction::Renew(_), Some(Err(failure))) => {
            Verdict::bad(condition, failure.reason, failure.message.clone())
        }
        (KeyAction::Write(_) | KeyAction::Renew(_), Some(Ok(()))) => Verdict::good(
            condition,
            Reason::Programmed,
            format!("Secret and ConfigMap {} are written", object()),
        ),
    }
}
