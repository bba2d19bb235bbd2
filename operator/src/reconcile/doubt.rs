//! A lock that can't be looked at: its status must not go on saying what nobody has seen for a while.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use postern_crds::{ConditionType, Reason, limits};

use super::{ReconcileError, Reconciler};
use crate::inputs::LockKey;

impl Reconciler {
    /// Makes Ready of the lock and of its routes `Unknown`, with the error. If that can't be written either, there is
    /// only the log.
    pub(super) async fn doubt(&self, key: &LockKey, error: &ReconcileError) {
        let now = Timestamp::now();
        let mut written = Ok(false);
        if let Some(trust) = self.stores.trusts.get(&ObjectRef::new(&key.name).within(&key.namespace)) {
            let mut status = self.reporter.trust_status(&trust);
            if doubt(&mut status.conditions, error) {
                written = self.reporter.trust(&trust, status, now).await;
            }
        }
        let routes = self.stores.routes.state_filter(|route| {
            route.namespace().as_ref() == Some(&key.namespace) && route.spec.trust_ref.name == key.name
        });
        for route in routes {
            let mut status = self.reporter.route_status(&route);
            if doubt(&mut status.conditions, error) {
                written = written.and(self.reporter.route(&route, status, now).await);
            }
        }
        if let Err(error) = written {
            tracing::warn!(lock = %key, %error, "its status can't be written, and may no longer be true");
        }
    }
}

/// Returns whether there was something to doubt: what is not Ready stays as it is.
fn doubt(conditions: &mut [Condition], error: &ReconcileError) -> bool {
    let ready = conditions.iter_mut().find(|one| one.type_ == ConditionType::Ready.as_str());
    let Some(ready) = ready.filter(|ready| ready.status == "True") else { return false };
    let message = format!("it can't be seen whether this still holds: {error}; see the operator's log");
    "Unknown".clone_into(&mut ready.status);
    Reason::Pending.as_str().clone_into(&mut ready.reason);
    ready.message = message.chars().take(limits::MESSAGE).collect();
    true
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::gather::GatherError;

    fn condition(type_: ConditionType, status: &str) -> Condition {
        Condition {
            type_: type_.as_str().to_owned(),
            status: status.to_owned(),
            reason: type_.as_str().to_owned(),
            message: "all is well".to_owned(),
            observed_generation: Some(1),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    #[test]
    fn only_ready_is_doubted_and_only_where_it_is_true() {
        let source = Box::new(kube::Error::LinesCodecMaxLineLengthExceeded);
        let error = ReconcileError::Gather(GatherError { what: "Secret postern-orders".to_owned(), source });
        let mut good = [condition(ConditionType::Armed, "True"), condition(ConditionType::Ready, "True")];
        assert!(doubt(&mut good, &error));
        assert_eq!(good[0], condition(ConditionType::Armed, "True"));
        assert_eq!((good[1].status.as_str(), good[1].reason.as_str()), ("Unknown", "Pending"));
        assert!(good[1].message.contains("Secret postern-orders cannot be read"), "{}", good[1].message);
        for status in ["False", "Unknown"] {
            let mut bad = [condition(ConditionType::Ready, status)];
            assert!(!doubt(&mut bad, &error));
            assert_eq!(bad, [condition(ConditionType::Ready, status)]);
        }
    }
}
