//! How far the enforcement of a lock has come, and what the sidecars say of it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_config::policy::Enforcement;
use postern_crds::BackendTrustStatus;
use postern_crds::rollout::Stage;

use crate::plan::{LockPlan, PortPlan};

/// While a lock comes in stages, its pods are asked so often.
const STAGED_EVERY: Duration = Duration::from_secs(2);
/// While a lock looks on, its pods are asked so often.
const AUDITED_EVERY: Duration = Duration::from_secs(30);

/// What has been reached, and stays so: it is kept in the lock's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The stage; absent for a lock that nobody has looked at yet.
    pub stage: Option<Stage>,
    /// When the stages end, if that is before the deadline: each gateway has called with its key.
    pub stage_ends: Option<Timestamp>,
    /// Since when denials are carried out although the spec says `Audit`.
    pub promoted_at: Option<Timestamp>,
    /// By container port: how many would have been denied, and since when nobody. Pods that end take their counts along.
    pub audited: BTreeMap<u16, (u64, Timestamp)>,
}

impl Progress {
    /// As the status has it.
    pub fn new(status: &BackendTrustStatus) -> Self {
        let audited = status.ports.iter().filter_map(|port| Some((port.port, port.audit.as_ref()?)));
        Self {
            stage: status.stage,
            stage_ends: status.stage_ends.as_ref().map(|at| at.0),
            promoted_at: status.promoted_at.as_ref().map(|at| at.0),
            audited: audited
                .map(|(port, audit)| {
                    (port, (u64::try_from(audit.would_deny).unwrap_or_default(), audit.clean_since.0))
                })
                .collect(),
        }
    }
}

/// How a lock is enforced now, and what would change that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnforcementPlan {
    /// The stage.
    pub stage: Stage,
    /// When the stages are over at the latest; absent if they are.
    pub deadline: Option<Timestamp>,
    /// Since when denials are carried out although the spec says `Audit`.
    pub promoted_at: Option<Timestamp>,
    /// How long nobody may have been denied until they are; absent: never, or they are already.
    pub promote_after: Option<SignedDuration>,
}

impl LockPlan {
    /// Ports on which whoever would be denied is let through now.
    pub fn audited(&self) -> impl Iterator<Item = &PortPlan> {
        let audited =
            |port: &&PortPlan| port.access.door().is_some_and(|door| door.enforcement == Enforcement::Audit);
        self.ports.iter().filter(audited)
    }

    /// How often the pods are asked what they have seen; absent: nothing hangs on it.
    pub fn asked_every(&self) -> Option<Duration> {
        if self.enforcement.stage == Stage::Enforcing {
            self.audited().next().map(|_| AUDITED_EVERY)
        } else {
            Some(STAGED_EVERY)
        }
    }
}

/// What the sidecars' answers make of [`EnforcementPlan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// What has been reached.
    pub progress: Progress,
    /// By container port, each that is audited now.
    pub audits: BTreeMap<u16, AuditSum>,
    /// What the stage waits for, one sentence each.
    pub waits_for: Vec<String>,
    /// Whether what was reached changes the configuration, so that it must be made anew at once.
    pub renew: bool,
    /// When the clock alone brings the next step.
    pub again_at: Option<Timestamp>,
}

/// What one audited port let through, over all pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSum {
    /// Calls that would have been denied, at least.
    pub would_deny: u64,
    /// Since when there was none that is known of.
    pub clean_since: Timestamp,
    /// Some of who they were, of the pods that run now.
    pub callers: Vec<String>,
}
