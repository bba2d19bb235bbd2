//! Shows that the API server refuses an unguarded pod, by asking it to make one, dry run.
//!
//! That the policy and its binding exist proves nothing: a new binding takes up to a second until it refuses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, Pod, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext,
};
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::core::Status;
use tokio::time::Instant;

use crate::inputs::LockKey;
use crate::plan::{AdmissionPlan, Armed};

/// A proof is believed for so long while the policy stays the same.
const FRESH: Duration = Duration::from_secs(600);

/// The proofs of this process. Cloning shares them.
#[derive(Clone, Default)]
pub struct Proofs {
    shown: Arc<Mutex<HashMap<LockKey, (AdmissionPlan, Instant)>>>,
}

impl Proofs {
    /// Whether unguarded pods of the lock are refused by the policy of that name. `changed`: the policy or its
    /// binding has just been written, so that nothing is proved yet.
    pub async fn show(
        &self,
        client: &Client,
        key: &LockKey,
        plan: &AdmissionPlan,
        policy: &str,
        changed: bool,
    ) -> Armed {
        if changed {
            self.forget(key);
        } else if self.lock().get(key).is_some_and(|(shown, at)| shown == plan && at.elapsed() < FRESH) {
            return Armed::Yes;
        }
        let pods = Api::<Pod>::namespaced(client.clone(), &key.namespace);
        let params = PostParams { dry_run: true, ..PostParams::default() };
        let answer = pods.create(&params, &unguarded_pod(plan)).await;
        let armed = judge(answer.map(drop), policy);
        if armed == Armed::Yes {
            self.lock().insert(key.clone(), (plan.clone(), Instant::now()));
        } else {
            self.forget(key);
        }
        armed
    }

    /// The lock must be shown anew.
    pub fn forget(&self, key: &LockKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<LockKey, (AdmissionPlan, Instant)>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pod that the lock selects and that nothing but the lock's policy refuses: it keeps the *restricted*
/// standard. It states no resources, since limits of the namespace fill them in, and quotas are looked at after
/// the policies.
fn unguarded_pod(plan: &AdmissionPlan) -> Pod {
    let container = Container {
        name: "unguarded".to_owned(),
        image: Some("postern.dev/never-started".to_owned()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        ..Container::default()
    };
    Pod {
        metadata: ObjectMeta {
            generate_name: Some("postern-armed-".to_owned()),
            labels: Some(plan.probe_labels.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            containers: vec![container],
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(65_532),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    localhost_profile: None,
                }),
                ..PodSecurityContext::default()
            }),
            ..PodSpec::default()
        }),
        status: None,
    }
}

/// What the API server's answer means.
fn judge(answer: Result<(), kube::Error>, policy: &str) -> Armed {
    match answer {
        Ok(()) => Armed::No(format!(
            "the API server would still admit an unguarded pod: ValidatingAdmissionPolicy {policy} is not yet in \
             force; if it stays so, look whether it and its binding exist and whether the binding says Deny"
        )),
        Err(kube::Error::Api(status)) if is_refusal_by(&status, policy) => Armed::Yes,
        Err(kube::Error::Api(status)) => Armed::No(format!(
            "a dry run that ValidatingAdmissionPolicy {policy} must refuse was answered otherwise: {}",
            status.message
        )),
        Err(error) => Armed::No(format!("the dry run could not be made: {error}")),
    }
}

/// The API server names the policy in its refusal.
fn is_refusal_by(status: &Status, policy: &str) -> bool {
    matches!(status.code, 403 | 422)
        && status.message.contains(&format!("ValidatingAdmissionPolicy '{policy}' with binding"))
        && status.message.contains("denied request")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, message: &str) -> Result<(), kube::Error> {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        Err(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn only_the_refusal_of_our_own_policy_proves_anything() {
        let ours = "pods \"postern-armed-x\" is forbidden: ValidatingAdmissionPolicy 'orders.shop.postern.dev' with \
                    binding 'orders.shop.postern.dev' denied request: no sidecar";
        for (case, answer, armed) in [
            ("ours", refused(422, ours), true),
            ("ours, as forbidden", refused(403, ours), true),
            ("another lock's", refused(422, &ours.replace("'orders", "'carts")), false),
            ("an error of ours", refused(422, &ours.replace("denied request", "resulted in error")), false),
            ("quota", refused(403, "exceeded quota: pods"), false),
            ("unavailable", refused(503, ours), false),
            ("admitted", Ok(()), false),
        ] {
            assert_eq!(judge(answer, "orders.shop.postern.dev") == Armed::Yes, armed, "{case}");
        }
    }
}
