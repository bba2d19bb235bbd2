//! One lock, from what is to what should be. Each step is a file of its own.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::Client;
use kube::runtime::reflector::ObjectRef;
use postern_config::signed::Signer;
use postern_crds::rollout::Stage;
use postern_crds::{BackendTrustStatus, ConditionType};

use crate::acknowledge::{self, Answers, Asker};
use crate::announce;
use crate::apply::{ApplyError, brief};
use crate::armed::Proofs;
use crate::gather::{Found, GatherError, Reader, Sources, gather};
use crate::inputs::{Authorities, LockKey};
use crate::issue::{self, IssueError};
use crate::metrics::{LockFacts, Metrics, Outcome as Ended};
use crate::plan::{Armed, KeyAction, LockPlan, LockState, Material, Outcome, Plan};
use crate::registration::Registration;
use crate::render::{self, RenderError};
use crate::resolve::{self, routes::earliest};
use crate::rollout;
use crate::settings::Settings;
use crate::status::Reporter;
use crate::watch::{Next, Stores, Urgency, Waker, touched};

mod ask;
mod doubt;
mod patience;
mod remove;
mod write;

pub use patience::Patience;

/// Even if nothing changes, each lock is looked at so often: whether all is still as it was written, and whether
/// the pods still say so.
const AT_LEAST_EVERY: Duration = Duration::from_secs(600);

/// When a lock could not be looked at for so long, what its status says is no longer believed.
const DOUBTFUL_AFTER: Duration = Duration::from_secs(10);

/// Why a lock could not be brought to where it should be. It is tried again after a pause.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Reading failed.
    #[error(transparent)]
    Gather(#[from] GatherError),
    /// No certificate could be issued.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The lock's Secret could not be made.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// Something is still there that should be gone.
    #[error(transparent)]
    Remove(#[from] ApplyError),
    /// A status could not be written.
    #[error("the status of {kind} {key} cannot be written: {}", brief(source))]
    Status {
        /// `BackendTrust` or `ApiRoute`.
        kind: &'static str,
        /// Namespace and name.
        key: String,
        /// What the API server says.
        source: Box<kube::Error>,
    },
}

impl ReconcileError {
    /// Whether it failed before there was anything to say in a status.
    fn before_status(&self) -> bool {
        match self {
            Self::Gather(_) | Self::Issue(_) | Self::Render(_) => true,
            Self::Remove(_) | Self::Status { .. } => false,
        }
    }
}

/// Everything that reconciling needs.
pub struct Reconciler {
    /// To the API server.
    pub client: Client,
    /// The administrator's settings.
    pub settings: Arc<Settings>,
    /// What is watched.
    pub stores: Stores,
    /// Signs, and makes what opens locks.
    pub issuer: issue::Issuer,
    /// Their public side.
    pub roots: Authorities,
    /// Knows whose signature and certificates are ours.
    pub reader: Reader,
    /// Signs bundles.
    pub signer: Arc<Signer>,
    /// Asks pods.
    pub asker: Asker,
    /// What they said.
    pub answers: Answers,
    /// Which locks are shown to be armed.
    pub proofs: Proofs,
    /// Writes statuses and Events.
    pub reporter: Reporter,
    /// The webhook's registration.
    pub registration: Registration,
    /// Counts.
    pub metrics: Metrics,
    /// How long to wait for what takes its time.
    pub patience: Patience,
}

impl Reconciler {
    /// Reconciles one lock, and says when to look again.
    pub async fn work(&self, key: LockKey) -> Next {
        let started = Instant::now();
        let result = self.reconcile(&key).await;
        let took = started.elapsed();
        match result {
            Ok(next) => {
                self.patience.succeeded(&key);
                self.metrics.reconciled(Ended::Success, took);
                tracing::debug!(lock = %key, ?took, ?next, "reconciled");
                next
            }
            Err(ReconcileError::Remove(error)) if error.namespace_terminating() => Next::OnChange,
            Err(error) => {
                self.metrics.reconciled(Ended::Error, took);
                tracing::error!(lock = %key, %error, "not reconciled; tried again after a pause");
                if error.before_status() && self.patience.failed(&key) >= DOUBTFUL_AFTER {
                    self.doubt(&key, &error).await;
                }
                Next::Retry
            }
        }
    }

    async fn reconcile(&self, key: &LockKey) -> Result<Next, ReconcileError> {
        let now = Timestamp::now();
        let found = gather(&self.sources(), key, &self.status(key), now).await?;
        let plan = resolve::resolve(&self.settings, &found.inputs);
        let trust_uid = plan.bundle.as_ref().map(|bundle| bundle.trust_uid.as_str()).unwrap_or_default();
        let mut issuer = self.issuer.of(trust_uid, now);
        let material = Material::fulfil(&plan, &found.inputs, &mut issuer)?;
        let objects = render::render(&self.settings, &self.roots, &plan, &material, &self.signer)?;

        let mut outcome = Outcome::default();
        let written = self.write_lock(&found, &objects, &mut outcome).await;
        self.announce(&found, &outcome).await;
        self.write_keys(&found, &plan, &objects, &mut outcome).await;
        let removed = self.remove(&found, &plan).await;
        let admission = self.write_admission(&found, &plan, &mut outcome).await;
        if outcome.outdated {
            // What was decided is about something that is no longer so; nothing is said about it.
            removed?;
            return Ok(Next::After(self.patience.next(key)));
        }
        if let Some(changed) = admission {
            outcome.armed = self.show_armed(&found, &plan, changed).await;
        }
        let asked_every = plan.lock.present().and_then(LockPlan::asked_every);
        let fresh = asked_every.map_or(acknowledge::FRESH, |every| every / 2);
        let (settled, pods) = self.acknowledge(&found, &mut outcome, written, fresh).await;
        Self::advance(&found, &plan, &objects, &pods, &mut outcome);
        let retry = self.roll_out(&found, &plan, &mut outcome).await;
        let ready = self.report(&found, &plan, &material, &objects, &outcome).await?;
        self.measure(&found, &plan, &material, ready);
        removed?;
        // A key that waited for the pods to know it can be handed over now.
        let staged = material.keys.values().any(|key| key.next.is_some() || key.credentials.next.is_some());
        if settled && staged {
            return Ok(Next::After(Duration::ZERO));
        }
        // Without an overlap, the old key is refused as soon as the new one is handed over.
        let handed_over = plan.routes.iter().flat_map(|route| &route.keys).any(|key| {
            let over = key.action.step().is_some_and(|step| step.leaves_no_overlap(now));
            over && matches!(outcome.keys.get(&key.id), Some(Ok(())))
        });
        let renew = outcome.advance.as_ref().is_some_and(|advance| advance.renew);
        if handed_over || renew {
            return Ok(Next::After(Duration::ZERO));
        }
        // Nothing tells when it can be read again.
        let mut keys = plan.routes.iter().flat_map(|route| &route.keys);
        let unread = keys.any(|key| matches!(key.action, KeyAction::Unread(_)));
        let next = self.next(&plan, &outcome, retry || unread || found.is_obstructed(), now);
        // What a lock that is gone may have left there is still to be removed.
        let hidden = next == Next::OnChange && !found.inputs.unreadable.is_empty();
        Ok(if hidden { Next::After(AT_LEAST_EVERY) } else { next })
    }

    /// Puts the webhook's registration back whenever somebody changes or deletes it, for ever. Where that fails, the
    /// locks are woken, which try again and say so.
    pub async fn keep_registered(&self, waker: &Waker) -> Infallible {
        loop {
            self.registration.changed().await;
            if let Err(error) = self.registration.ensure(&self.client, &self.settings, &self.stores).await {
                tracing::error!(%error, "the webhook is not registered");
                let trusts = self.stores.trusts.state();
                trusts
                    .iter()
                    .filter_map(|trust| touched::key_of_trust(trust))
                    .for_each(|key| waker.wake(key, Urgency::InTurn));
            }
        }
    }

    fn sources(&self) -> Sources<'_> {
        Sources {
            client: &self.client,
            stores: &self.stores,
            answers: &self.answers,
            settings: &self.settings,
            reader: &self.reader,
            authorities: &self.roots,
        }
    }

    /// The lock's status as last written.
    fn status(&self, key: &LockKey) -> BackendTrustStatus {
        let trust = self.stores.trusts.get(&ObjectRef::new(&key.name).within(&key.namespace));
        trust.map(|trust| self.reporter.trust_status(&trust)).unwrap_or_default()
    }

    /// Has the kubelets look at a changed Secret at once; again if a pod has not got it after a while.
    async fn announce(&self, found: &Found, outcome: &Outcome) {
        let Ok(Some(hash)) = &outcome.lock_secret else { return };
        let key = &found.inputs.key;
        let nudge = self.patience.nudge(key);
        let untold = announce::untold(&found.inputs.pods, hash, nudge);
        announce::announce(&self.client, &key.namespace, untold, hash, nudge).await;
    }

    /// Shows that unguarded pods are refused. A lock that was armed and whose policy has been written anew is given
    /// a moment: it was never meant to be open, so what came in meanwhile has slipped in.
    async fn show_armed(&self, found: &Found, plan: &Plan, changed: bool) -> Armed {
        let Some(admission) = plan.lock.present().and_then(|lock| lock.admission.as_ref()) else {
            return Armed::NotTried;
        };
        let image = &self.settings.images.current;
        let tries = if changed && found.inputs.armed_since.is_some() { 15 } else { 1 };
        let mut armed = self.proofs.show(&self.client, &plan.key, admission, image, changed).await;
        for _ in 1..tries {
            if armed == Armed::Yes {
                break;
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
            armed = self.proofs.show(&self.client, &plan.key, admission, image, false).await;
        }
        armed
    }

    /// Replaces pods without the lock, once new ones are sure to have it. Returns whether to look again soon.
    async fn roll_out(&self, found: &Found, plan: &Plan, outcome: &mut Outcome) -> bool {
        let (Some(lock), Armed::Yes) = (plan.lock.present(), &outcome.armed) else { return false };
        let inputs = &found.inputs;
        let report = rollout::replace(
            &self.client,
            &inputs.key.namespace,
            &outcome.pods,
            &inputs.pods,
            lock.replace_pods,
            lock.enforcement.stage == Stage::Injecting,
            inputs.now,
        )
        .await;
        outcome.rollout = report.sentences;
        report.retry
    }

    /// Writes the statuses; returns whether the lock is Ready.
    async fn report(
        &self,
        found: &Found,
        plan: &Plan,
        material: &Material,
        objects: &render::Objects,
        outcome: &Outcome,
    ) -> Result<bool, ReconcileError> {
        let inputs = &found.inputs;
        let failed = |kind, name: &str, source| ReconcileError::Status {
            kind,
            key: format!("{}/{name}", inputs.key.namespace),
            source: Box::new(source),
        };
        let mut ready = false;
        let status = render::status::trust(plan, material, outcome);
        if let (Some(trust), Some(status)) = (&inputs.trust, status) {
            ready = status
                .conditions
                .iter()
                .any(|one| one.type_ == ConditionType::Ready.as_str() && one.status == "True");
            let written = self.reporter.trust(trust, status, inputs.now).await;
            written.map_err(|error| failed("BackendTrust", &inputs.key.name, error))?;
        }
        for route in &inputs.routes {
            let Some(name) = route.metadata.name.as_deref() else { continue };
            let Some(planned) = plan.routes.iter().find(|planned| planned.name == name) else { continue };
            let status = render::status::route(plan, planned, material, objects, outcome);
            let written = self.reporter.route(route, status, inputs.now).await;
            written.map_err(|error| failed("ApiRoute", name, error))?;
        }
        Ok(ready)
    }

    fn measure(&self, found: &Found, plan: &Plan, material: &Material, ready: bool) {
        let key = &plan.key;
        if matches!(plan.lock, LockState::Gone) {
            return self.metrics.forget(key);
        }
        let leaves = material.server.iter().chain(material.keys.values().map(|key| &key.current));
        let sealed = found.inputs.lock_secret.ours().and_then(|secret| secret.bundle.as_ref());
        self.metrics.lock(
            key,
            LockFacts {
                ready,
                certificate_expiry: leaves.map(|leaf| leaf.facts.not_after.as_second()).min(),
                configured_at: sealed.and_then(|sealed| i64::try_from(sealed.bundle.sequence / 1000).ok()),
            },
        );
    }

    fn next(&self, plan: &Plan, outcome: &Outcome, retry: bool, now: Timestamp) -> Next {
        let key = &plan.key;
        if matches!(plan.lock, LockState::Gone) {
            self.patience.forget(key);
            self.proofs.forget(key);
            self.answers.retain(key, &[]);
            return Next::OnChange;
        }
        let failed = outcome.lock_secret.is_err() || outcome.keys.values().any(Result::is_err);
        let waits = matches!(outcome.armed, Armed::No(_)) || outcome.pods.outdated().next().is_some();
        let soon = if waits || retry || failed {
            Some(self.patience.next(key))
        } else {
            self.patience.calm(key);
            None
        };
        let due = plan.requeue_at.map(|at| until(at, now));
        let asked = plan.lock.present().and_then(LockPlan::asked_every);
        let advance = outcome.advance.as_ref().and_then(|advance| advance.again_at);
        let due = earliest(due, advance.map(|at| until(at, now)));
        let delays = [soon, asked, due.map(|due| due.max(Duration::from_secs(1))), Some(AT_LEAST_EVERY)];
        Next::After(delays.into_iter().flatten().min().unwrap_or(AT_LEAST_EVERY))
    }
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}
