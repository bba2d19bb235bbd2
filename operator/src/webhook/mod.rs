//! The mutating webhook: `POST /inject` with an `AdmissionReview` (admission.k8s.io/v1).
//!
//! * [`select`]: which lock guards a pod.
//! * [`inject`]: the pod as it is to be; pure.
//! * [`probes`]: the application's probes and lifecycle hooks, led through the sidecar; pure.
//! * [`review`]: from request to answer.
//! * [`server`]: TLS and HTTP.
//!
//! The webhook's failure policy is Ignore: whatever goes wrong here, the pod reaches the admission policy
//! uninjected and is refused there.

pub mod inject;
pub mod probes;
pub mod review;
pub mod select;
pub mod server;

#[cfg(test)]
mod api_server;

use crate::injection::forbidden::Forbidden;

/// Why a pod that a lock selects can't be injected. The text is what its creator reads.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It has something that rules a lock out.
    #[error("BackendTrust {namespace}/{trust} selects this pod, but {cause}")]
    Forbidden {
        /// The lock's namespace.
        namespace: String,
        /// The lock's name.
        trust: String,
        /// What, and what to do.
        cause: Forbidden,
    },
    /// A probe or hook calls one of Postern's own ports, and no record of the operator's says what it stood for.
    #[error(
        "BackendTrust {namespace}/{trust} selects this pod, but the {probe} of container {container} calls a \
         port that is Postern's own; if the pod was copied from a running one, write the one that the application has"
    )]
    ReservedPort {
        /// The lock's namespace.
        namespace: String,
        /// The lock's name.
        trust: String,
        /// The container.
        container: String,
        /// Which: `livenessProbe`, `preStop hook`.
        probe: &'static str,
    },
    /// Not a pod.
    #[error("the pod cannot be read: {0}")]
    Malformed(String),
    /// The record can't be signed, or the system has no randomness.
    #[error("the pod's record cannot be made: {0}; see the operator's log")]
    Record(String),
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}
