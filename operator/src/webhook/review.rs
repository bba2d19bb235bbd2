//! From an `AdmissionReview` request to its answer.

use std::sync::Arc;

use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, Operation};
use serde_json::Value;

use super::Refusal;
use super::inject::{Injected, Injector};
use super::select::Locks;

/// How a request was answered, for logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// No lock selects the pod, or it is no pod's creation.
    LeftAlone,
    /// The pod is guarded.
    Injected,
    /// A lock selects it and it can't be guarded.
    Refused,
    /// The operator's own dry run, which admission has to refuse.
    OwnDryRun,
    /// The locks are not known yet.
    NotReady,
}

/// Answers requests.
pub struct Reviewer<L> {
    locks: Arc<L>,
    injector: Injector,
    operator: String,
}

/// Why there is no answer; the API server then goes by the failure policy.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// The operator has just started.
    #[error("the operator does not know the locks yet; try again in a moment")]
    NotReady,
    /// The patch can't be written.
    #[error("the patch cannot be written: {0}")]
    Patch(String),
}

impl<L: Locks> Reviewer<L> {
    /// `operator`: the operator's own user name, `system:serviceaccount:<namespace>:<name>`.
    pub fn new(locks: Arc<L>, injector: Injector, operator: String) -> Self {
        Self { locks, injector, operator }
    }

    /// The answer to one request.
    ///
    /// # Errors
    /// If there can be none now.
    pub fn answer(
        &self,
        request: &AdmissionRequest<DynamicObject>,
    ) -> Result<(AdmissionResponse, Verdict), NoAnswer> {
        let allowed = AdmissionResponse::from(request);
        let created = match &request.object {
            Some(object) if creates_pod(request) => object,
            _ => return Ok((allowed, Verdict::LeftAlone)),
        };
        if request.dry_run && request.user_info.username.as_deref() == Some(self.operator.as_str()) {
            return Ok((allowed, Verdict::OwnDryRun));
        }
        let namespace = request.namespace.as_deref().unwrap_or_default();
        let locks = self.locks.in_namespace(namespace).ok_or(NoAnswer::NotReady)?;
        let patch_error = |error: &dyn std::fmt::Display| NoAnswer::Patch(error.to_string());
        let before = serde_json::to_value(created).map_err(|error| patch_error(&error))?;
        let injected = token()
            .map_err(Refusal::Record)
            .and_then(|token| self.injector.inject(&before, namespace, &locks, &token));
        match injected {
            Ok(Injected::NotSelected) => Ok((allowed, Verdict::LeftAlone)),
            Ok(Injected::Guarded { trust, pod }) => {
                tracing::info!(namespace, trust, pod = pod_name(&before), "injected");
                let patch = json_patch::diff(&before, &pod);
                let answer = allowed.with_patch(patch).map_err(|error| patch_error(&error))?;
                Ok((answer, Verdict::Injected))
            }
            Err(refusal) => {
                tracing::warn!(namespace, pod = pod_name(&before), reason = %refusal, "refused");
                Ok((allowed.deny(refusal), Verdict::Refused))
            }
        }
    }
}

fn creates_pod(request: &AdmissionRequest<DynamicObject>) -> bool {
    let resource = &request.resource;
    request.operation == Operation::Create
        && request.sub_resource.as_deref().unwrap_or_default().is_empty()
        && (resource.group.as_str(), resource.resource.as_str()) == ("", "pods")
}

fn pod_name(pod: &Value) -> &str {
    let metadata = |key: &str| pod.pointer(&format!("/metadata/{key}")).and_then(Value::as_str);
    metadata("name").or_else(|| metadata("generateName")).unwrap_or_default()
}

/// 128 random bits as 32 lower-case hex digits.
fn token() -> Result<String, String> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the system has no randomness to give".to_owned())?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
pub(crate) mod tests;
