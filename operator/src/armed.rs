//! Shows that the API server refuses an unguarded pod, by asking it to make one, dry run.
//!
//! That the policy and its binding exist proves nothing: a new binding takes up to a second until it refuses.

use std::collections::{BTreeMap, HashMap};
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
use crate::render::admission::object_name;

/// A proof is believed for so long while the policy stays the same.
const FRESH: Duration = Duration::from_secs(600);

/// The proofs of this process. Cloning shares them.
#[derive(Clone, Default)]
pub struct Proofs {
    shown: Arc<Mutex<HashMap<LockKey, (AdmissionPlan, Instant)>>>,
}

impl Proofs {
    /// Whether unguarded pods of the lock are refused by its policy.
    ///
    /// * `image`: a sidecar's, for the pod that is asked for: where only images of some registries may run, that
    ///   one may.
    /// * `changed`: the policy or its binding has just been written, so that nothing is proved yet.
    pub async fn show(
        &self,
        client: &Client,
        key: &LockKey,
        plan: &AdmissionPlan,
        image: &str,
        changed: bool,
    ) -> Armed {
        if changed {
            self.forget(key);
        } else if self.lock().get(key).is_some_and(|(shown, at)| shown == plan && at.elapsed() < FRESH) {
            return Armed::Yes;
        }
        let pods = Api::<Pod>::namespaced(client.clone(), &key.namespace);
        let params = PostParams { dry_run: true, ..PostParams::default() };
        let answer = pods.create(&params, &unguarded_pod(&plan.probe_labels, image)).await;
        let armed = judge(answer.map(drop), key, plan);
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

/// A pod that a lock selects by these labels and that nothing but the lock's policy refuses: it keeps the *restricted*
/// standard. It states no resources, since limits of the namespace fill them in, and quotas are looked at after
/// the policies.
pub(crate) fn unguarded_pod(labels: &BTreeMap<String, String>, image: &str) -> Pod {
    let container = Container {
        name: "unguarded".to_owned(),
        image: Some(image.to_owned()),
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
            labels: Some(labels.clone()),
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
fn judge(answer: Result<(), kube::Error>, key: &LockKey, plan: &AdmissionPlan) -> Armed {
    let policy = object_name(&key.namespace, &key.name);
    let others = plan.probe_also_selected_by.iter().map(|other| object_name(&key.namespace, other));
    match answer {
        Ok(()) => Armed::No(format!(
            "the API server would still admit an unguarded pod: ValidatingAdmissionPolicy {policy} is not yet in \
             force; if it stays so, look whether it and its binding exist and whether the binding says Deny"
        )),
        Err(kube::Error::Api(status))
            if others.chain([policy.clone()]).any(|policy| is_refusal_by(&status, &policy)) =>
        {
            Armed::Yes
        }
        Err(kube::Error::Api(status)) => Armed::No(format!(
            "a dry run that ValidatingAdmissionPolicy {policy} must refuse was answered otherwise: {}",
            status.message
        )),
        Err(error) => Armed::No(format!("the dry run could not be made: {error}")),
    }
}

/// The API server names the policy in its refusal.
pub(crate) fn is_refusal_by(status: &Status, policy: &str) -> bool {
    matches!(status.code, 403 | 422)
        && status.message.contains(&format!("ValidatingAdmissionPolicy '{policy}' with binding"))
        && status.message.contains("denied request")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::resolve::selectors::Selector;

    fn refused(code: u16, message: &str) -> Result<(), kube::Error> {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        Err(kube::Error::Api(Box::new(status)))
    }

    fn key() -> LockKey {
        LockKey { namespace: "shop".to_owned(), name: "orders".to_owned() }
    }

    fn plan(also_selected_by: &[&str]) -> AdmissionPlan {
        AdmissionPlan {
            selector: Selector::default(),
            trusts: vec![crate::injection::shape::Admitted::plain("orders")],
            probe_labels: BTreeMap::new(),
            probe_also_selected_by: also_selected_by.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn only_the_refusal_of_a_policy_that_selects_the_pod_proves_anything() {
        let ours = "pods \"postern-armed-x\" is forbidden: ValidatingAdmissionPolicy 'orders.shop.postern.dev' with \
                    binding 'orders.shop.postern.dev' denied request: no sidecar";
        let carts = ours.replace("'orders", "'carts");
        for (case, answer, armed, beside_carts) in [
            ("ours", refused(422, ours), true, true),
            ("ours, as forbidden", refused(403, ours), true, true),
            ("that of a lock that may select the pod too", refused(422, &carts), false, true),
            ("another lock's", refused(422, &ours.replace("'orders", "'web")), false, false),
            ("another namespace's", refused(422, &carts.replace(".shop.", ".web.")), false, false),
            (
                "an error of ours",
                refused(422, &ours.replace("denied request", "resulted in error")),
                false,
                false,
            ),
            ("quota", refused(403, "exceeded quota: pods"), false, false),
            ("unavailable", refused(503, ours), false, false),
            ("admitted", Ok(()), false, false),
        ] {
            let answered = || match &answer {
                Ok(()) => Ok(()),
                Err(kube::Error::Api(status)) => Err(kube::Error::Api(status.clone())),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(judge(answered(), &key(), &plan(&[])) == Armed::Yes, armed, "{case}");
            let beside = judge(answered(), &key(), &plan(&["carts"])) == Armed::Yes;
            assert_eq!(beside, beside_carts, "{case}, beside carts");
        }
    }

    #[test]
    fn what_is_asked_for_has_an_image_that_may_run_here() {
        let pod = unguarded_pod(&plan(&[]).probe_labels, "registry.test/sidecar:1").spec.unwrap();
        assert_eq!(pod.containers[0].image.as_deref(), Some("registry.test/sidecar:1"));
        assert_eq!(pod.init_containers, None);
    }
}
