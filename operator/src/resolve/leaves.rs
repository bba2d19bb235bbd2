//! When a leaf is issued, staged, handed over and forgotten.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use postern_config::bundle::Content;
use postern_config::policy::Caller;
use postern_crds::Duration;
use postern_crds::rotation::{KeyRotation, Rotation};

use crate::inputs::{Inputs, KeySecret, Leaf, LeafFacts, SubjectName};
use crate::plan::{AuthorityKind, IssueReason, LeafPlan, LeafSpec};
use crate::resolve::pods;
use crate::resolve::stages::{Stage, Step};
use crate::settings::Lifetimes;

#[cfg(test)]
pub(super) mod tests;

/// How far `notBefore` lies before the issue, against clocks that go wrong.
pub const BACKDATE: SignedDuration = SignedDuration::from_mins(10);

/// What to do with a leaf, and when the clock alone will change the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub plan: LeafPlan,
    /// When to look again.
    pub again_at: Option<Timestamp>,
}

/// What all decisions about leaves look at.
#[derive(Clone, Copy, Debug)]
pub struct Clock<'a> {
    /// Now.
    pub now: Timestamp,
    /// The settings' lifetimes, or those of `spec.rotation`.
    pub lifetimes: Lifetimes,
    /// `spec.rotation.requestedAt`.
    pub requested_at: Option<Timestamp>,
    /// SHA-256 of certificates that nobody may use any more.
    pub revoked: &'a BTreeSet<String>,
}

/// When a leaf was issued.
pub fn issued_at(facts: &LeafFacts) -> Timestamp {
    plus(facts.not_before, BACKDATE)
}

/// When a leaf is replaced: when a third of its life is left.
pub fn renewal_time(facts: &LeafFacts) -> Timestamp {
    plus(facts.not_after, -(facts.not_after.duration_since(issued_at(facts)) / 3))
}

/// When a staged leaf is handed over although not every pod has acknowledged it: when a tenth of the current
/// one's life is left. From then on waiting would do more harm than a pod that has not answered for days.
fn forced_promotion(facts: &LeafFacts) -> Timestamp {
    plus(facts.not_after, -(facts.not_after.duration_since(issued_at(facts)) / 10))
}

fn plus(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(time)
}

impl<'a> Clock<'a> {
    /// For a lock, by its `spec.rotation`.
    pub fn of_lock(
        now: Timestamp,
        lifetimes: Lifetimes,
        rotation: Option<&Rotation>,
        revoked: &'a BTreeSet<String>,
    ) -> Self {
        let lifetimes = Lifetimes {
            certificate: rotation
                .and_then(|one| one.certificate_lifetime)
                .map_or(lifetimes.certificate, span),
            overlap: rotation.and_then(|one| one.overlap).map_or(lifetimes.overlap, span),
            ..lifetimes
        };
        let requested_at = rotation.and_then(|one| one.requested_at.as_ref()).map(|at| at.0);
        Self { now, lifetimes, requested_at, revoked }
    }

    /// For the keys of one of its routes.
    pub fn of_route(self, rotation: Option<&KeyRotation>) -> Self {
        let overlap = rotation.and_then(|one| one.overlap).map_or(self.lifetimes.overlap, span);
        let credential =
            rotation.and_then(|one| one.credential_lifetime).map_or(self.lifetimes.credential, span);
        let wish = rotation.and_then(|one| one.requested_at.as_ref()).map(|at| at.0);
        // Of two wishes the later counts, and one that is to come must not hide one that has come.
        let wishes = || self.requested_at.into_iter().chain(wish);
        let come = wishes().filter(|at| *at <= self.now).max();
        Self {
            lifetimes: Lifetimes { credential, overlap, ..self.lifetimes },
            requested_at: come.or_else(|| wishes().min()),
            ..self
        }
    }

    /// Why a leaf that is there must be replaced, if it must.
    fn reason(&self, facts: &LeafFacts, names: &BTreeSet<SubjectName>) -> Option<IssueReason> {
        if !facts.sound {
            Some(IssueReason::Unsound)
        } else if self.revoked.contains(&facts.certificate_sha256) {
            Some(IssueReason::Revoked)
        } else if &facts.names != names {
            Some(IssueReason::Names)
        } else if renewal_time(facts) <= self.now {
            Some(IssueReason::Expiring)
        } else if self.requested_at.is_some_and(|at| at <= self.now && issued_before(facts, at)) {
            Some(IssueReason::Requested)
        } else {
            None
        }
    }

    /// When [`Self::reason`] changes by the clock alone.
    fn again_at(&self, facts: &LeafFacts) -> Timestamp {
        let requested = self.requested_at.filter(|at| *at > self.now);
        requested.into_iter().chain([renewal_time(facts)]).min().unwrap_or(self.now)
    }

    /// When the previous key is no longer accepted. Whoever asks for no overlap doesn't wait for one that began before.
    pub fn overlap_ends(&self, end: Timestamp) -> Timestamp {
        if self.lifetimes.overlap.is_zero() { end.min(self.now) } else { end }
    }

    fn spec(&self, authority: AuthorityKind, names: &BTreeSet<SubjectName>, reason: IssueReason) -> LeafSpec {
        LeafSpec { authority, names: names.clone(), lifetime: self.lifetimes.certificate, reason }
    }
}

fn span(duration: Duration) -> SignedDuration {
    SignedDuration::from_secs(duration.seconds())
}

/// Certificates count whole seconds, so the wish is cut to them too; otherwise a leaf issued in the second of
/// the wish would be issued again and again until that second is over.
fn issued_before(facts: &LeafFacts, wish: Timestamp) -> bool {
    issued_at(facts).as_second() < wish.as_second()
}

/// The lock's server certificate. It needs no staging: gateways verify it by CA and name, and the sidecar takes
/// certificate and bundle from one Secret.
pub fn server(clock: &Clock<'_>, existing: Option<&Leaf>, names: &BTreeSet<SubjectName>) -> Decision {
    let reason = match existing {
        None => Some(IssueReason::Missing),
        Some(leaf) => clock.reason(&leaf.facts, names),
    };
    match (reason, existing) {
        (None, Some(leaf)) => Decision { plan: LeafPlan::Keep, again_at: Some(clock.again_at(&leaf.facts)) },
        (reason, _) => {
            let spec = clock.spec(AuthorityKind::Backend, names, reason.unwrap_or(IssueReason::Missing));
            Decision { plan: LeafPlan::Issue(spec), again_at: None }
        }
    }
}

/// One key's client certificate, one step at a time in the order of SECURITY 15: publish the next pin, wait until
/// every pod has it, hand out the leaf, and after the overlap drop the old pin. A rotation within the overlap of
/// the one before waits for its end.
pub fn client(
    clock: &Clock<'_>,
    existing: Option<&KeySecret>,
    identity: &str,
    published: &Published<'_>,
) -> Decision {
    let names = BTreeSet::from([SubjectName::Uri(identity.to_owned())]);
    let issue = |reason| Decision {
        plan: LeafPlan::Issue(clock.spec(AuthorityKind::Client, &names, reason)),
        again_at: None,
    };
    let stage = |reason| Decision {
        plan: LeafPlan::StageNext(clock.spec(AuthorityKind::Client, &names, reason)),
        again_at: Some(clock.now),
    };
    let Some(KeySecret { current: Some(current), next, previous, .. }) = existing else {
        return issue(IssueReason::Missing);
    };
    // What no sidecar would let in any more has nothing to lose.
    if !current.facts.sound {
        return issue(IssueReason::Unsound);
    }
    if clock.revoked.contains(&current.facts.certificate_sha256) {
        return issue(IssueReason::Revoked);
    }
    if current.facts.names != names {
        return issue(IssueReason::Names);
    }
    if current.facts.not_after <= clock.now {
        return issue(IssueReason::Expiring);
    }
    let overlap_end = previous.as_ref().map(|previous| clock.overlap_ends(previous.drop_after));
    let stage_of = Stage { now: clock.now, overlap: clock.lifetimes.overlap, overlap_end };
    if let Some(next) = next {
        if let Some(reason) = clock.reason(&next.facts, &names) {
            return stage(reason);
        }
        let published = published.everywhere(identity, &next.facts.spki_sha256);
        return decided(stage_of.with_next(published, forced_promotion(&current.facts)));
    }
    if let Some(reason) = clock.reason(&current.facts, &names) {
        return stage(reason);
    }
    decided(stage_of.without_next(clock.again_at(&current.facts)))
}

fn decided((step, again_at): (Step, Timestamp)) -> Decision {
    let plan = match step {
        Step::Keep => LeafPlan::Keep,
        Step::Promote { drop_previous_after } => LeafPlan::PromoteNext { drop_previous_after },
        Step::DropPrevious => LeafPlan::DropPrevious,
    };
    Decision { plan, again_at: Some(again_at) }
}

/// The bundle that lies in the cluster, and whether every pod that serves has loaded it.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    content: Option<&'a Content>,
    acknowledged: bool,
}

impl<'a> Published<'a> {
    /// From what was gathered.
    pub fn new(inputs: &'a Inputs) -> Self {
        let content = inputs.published();
        let hash = content.and_then(|content| content.hash().ok());
        Self { content, acknowledged: hash.is_some_and(|hash| pods::all_acknowledged(inputs, &hash)) }
    }

    /// For tests.
    #[cfg(test)]
    pub(super) const fn of(content: Option<&'a Content>, acknowledged: bool) -> Self {
        Self { content, acknowledged }
    }

    /// Whether every pod that serves knows these verifiers of credentials and header values.
    pub fn credentials_everywhere(&self, verifiers: &[String]) -> bool {
        let callers = || {
            self.content.iter().flat_map(|content| &content.policy.routes).flat_map(|route| &route.callers)
        };
        let known = |verifier: &String| {
            callers().any(|caller| {
                caller.credentials.iter().any(|one| one.verifier == *verifier)
                    || caller.header_values.iter().any(|one| one.verifier == *verifier)
            })
        };
        self.acknowledged && verifiers.iter().all(known)
    }

    /// Whether every pod that serves lets `identity` in with the key of this pin.
    fn everywhere(&self, identity: &str, pin: &str) -> bool {
        let callers =
            self.content.iter().flat_map(|content| &content.policy.routes).flat_map(|route| &route.callers);
        let mut keys = callers.filter(|caller| caller.identity() == Some(identity)).flat_map(Caller::pins);
        self.acknowledged && keys.any(|key| key == pin)
    }
}
