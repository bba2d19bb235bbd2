//! What the pods say, and what it makes of their lock.

use std::time::{Duration, Instant};

use super::Reconciler;
use crate::gather::{self, Found};
use crate::inputs::PodFacts;
use crate::plan::{Outcome, Plan, PodState};
use crate::render::Objects;
use crate::resolve::{pods, stage};
use crate::watch::lean::LeanPod;

/// A kubelet and a sidecar that are prompt have a new configuration in force within this time; only later is there
/// anything to report.
const PROMPT: Duration = Duration::from_millis(700);

impl Reconciler {
    /// Asks the pods that have not yet said that they have the present configuration, and judges them. Returns
    /// whether the last of them has said so just now, and what is known of the pods now.
    pub(super) async fn acknowledge(
        &self,
        found: &Found,
        outcome: &mut Outcome,
        written: bool,
        fresh: Duration,
    ) -> (bool, Vec<PodFacts>) {
        let mut inputs = found.inputs.clone();
        let key = &inputs.key;
        let Ok(Some(hash)) = &outcome.lock_secret else {
            outcome.pods = pods::judge(&inputs, None);
            return (false, inputs.pods);
        };
        if written {
            self.patience.begin(key);
        }
        let pods: Vec<&LeanPod> = found.pods.iter().map(AsRef::as_ref).collect();
        self.answers.retain(key, &pods);
        let begun = Instant::now();
        let mut judged = loop {
            let silent: Vec<_> =
                pods.iter().copied().filter(|pod| self.answers.must_ask(pod, key, hash, fresh)).collect();
            let asked = !silent.is_empty();
            self.answers.ask(&self.asker, key, silent).await;
            inputs.pods = pods.iter().map(|pod| gather::facts(pod, key, &self.answers)).collect();
            let judged = pods::judge(&inputs, Some(hash));
            let wait = written && asked && begun.elapsed() < PROMPT && judged.outdated().next().is_some();
            if !wait {
                break judged;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        for pod in &mut judged.pods {
            if let (PodState::Outdated { why }, Some(failure)) =
                (&mut pod.state, self.answers.failure(&pod.uid))
            {
                *why = failure;
            }
        }
        let all_current = judged.outdated().next().is_none();
        let lag = if all_current { self.patience.end(key) } else { None };
        outcome.pods = judged;
        let settled = lag.inspect(|lag| self.metrics.acknowledged(*lag)).is_some();
        (settled, inputs.pods)
    }

    /// What the pods' words make of a lock that comes in stages, or looks on.
    pub(super) fn advance(
        found: &Found,
        plan: &Plan,
        objects: &Objects,
        pods: &[PodFacts],
        outcome: &mut Outcome,
    ) {
        let Some(lock) = plan.lock.present() else { return };
        let policy = objects.lock.as_ref().map(|lock| &lock.policy);
        let advance = stage::advance(&found.inputs, lock, policy, pods, &outcome.pods);
        let before = lock.enforcement.stage;
        if let Some(stage) = advance.progress.stage.filter(|stage| *stage != before) {
            tracing::info!(lock = %plan.key, %stage, "the lock has come a stage further");
        }
        if advance.progress.promoted_at != lock.enforcement.promoted_at {
            tracing::info!(lock = %plan.key, "nobody would have been denied for promoteAfter: denials are carried out");
        }
        outcome.advance = Some(advance);
    }
}
