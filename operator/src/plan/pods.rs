//! The selected pods, and how each of them stands.

use crate::inputs::Owner;

/// The selected pods, judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodsPlan {
    /// By name. Pods that ended are not among them.
    pub pods: Vec<PodPlan>,
    /// Pods that the selector selects but that belong to an older lock: pod and lock.
    pub lost: Vec<(String, String)>,
}

/// One selected pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPlan {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Who controls it.
    pub owner: Option<Owner>,
    /// How it stands.
    pub state: PodState,
    /// See [`crate::inputs::PodFacts::foreign_redirect`].
    pub foreign_redirect: Option<String>,
}

/// How one selected pod stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodState {
    /// Behind the lock, with the configuration asked for, by its own word.
    Current,
    /// Behind the lock, which has not yet loaded the configuration (its last good one stays in force).
    Outdated {
        /// What its sidecar says against the newest files, or why it can't be asked.
        why: String,
    },
    /// Behind the lock, but injected when the lock asked for another shape: it is replaced.
    Reshaped {
        /// In which way, in words.
        why: String,
        /// Whether it has loaded the configuration.
        acknowledged: bool,
    },
    /// It runs without the lock.
    Unguarded {
        /// Why, in words.
        why: String,
        /// It was created after the lock was armed, so it slipped in: it is evicted at once.
        slipped_in: bool,
    },
    /// It has a sidecar, and its application can be called past it. Another pod of it would be no better.
    Exposed {
        /// Where, in words, and what to do.
        why: String,
    },
    /// It runs without the lock and can't be injected at all: host network, Windows, a mirror pod.
    Unprotectable {
        /// Why, in words.
        why: String,
    },
    /// Injected, but no container has started yet: it accepts nothing, and is not waited for.
    Starting,
    /// Behind the lock and going: neither counted as current nor waited for.
    Leaving,
}

impl PodsPlan {
    /// Selected pods that have not ended.
    pub fn selected(&self) -> usize {
        self.pods.len()
    }

    /// Those behind the lock.
    pub fn guarded(&self) -> usize {
        self.pods.iter().filter(|pod| pod.state.guarded()).count()
    }

    /// Those that loaded the configuration.
    pub fn current(&self) -> usize {
        self.pods.iter().filter(|pod| pod.state == PodState::Current).count()
    }

    /// Those without the lock, with the reason.
    pub fn unguarded(&self) -> impl Iterator<Item = (&PodPlan, &str)> {
        self.pods.iter().filter_map(|pod| match &pod.state {
            PodState::Unguarded { why, .. } | PodState::Unprotectable { why } | PodState::Exposed { why } => {
                Some((pod, why.as_str()))
            }
            PodState::Current
            | PodState::Outdated { .. }
            | PodState::Reshaped { .. }
            | PodState::Starting
            | PodState::Leaving => None,
        })
    }

    /// Those behind the lock, and not going, in whose network namespace another table redirects too, with what
    /// was found.
    pub fn intercepted(&self) -> impl Iterator<Item = (&PodPlan, &str)> {
        let staying = |pod: &&PodPlan| pod.state.guarded() && pod.state != PodState::Leaving;
        self.pods.iter().filter(staying).filter_map(|pod| Some((pod, pod.foreign_redirect.as_deref()?)))
    }

    /// Those behind the lock with an older configuration or shape, with the reason.
    pub fn outdated(&self) -> impl Iterator<Item = (&PodPlan, &str)> {
        self.pods.iter().filter_map(|pod| match &pod.state {
            PodState::Outdated { why } | PodState::Reshaped { why, .. } => Some((pod, why.as_str())),
            _ => None,
        })
    }
}

impl PodState {
    /// Whether the lock is in front of it.
    pub fn guarded(&self) -> bool {
        matches!(
            self,
            Self::Current | Self::Outdated { .. } | Self::Reshaped { .. } | Self::Starting | Self::Leaving
        )
    }
}
