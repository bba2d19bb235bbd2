//! What a replica knows by itself: which locks there are, and which pods are injected.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::reflector::Store;
use postern_crds::BackendTrust;

use crate::injection::forbidden;
use crate::injection::shape::Shape;
use crate::injection::structure::Accepted;
use crate::inputs::Injection;
use crate::resolve::selectors::Selector;
use crate::settings::Settings;
use crate::watch::is_withheld;
use crate::watch::lean::LeanNamespace;
use crate::webhook::select::{Lock, Locks};

/// Whether and for which lock a pod is injected. A pod of an earlier release is as guarded as it was then, so that an
/// upgrade that injects something else doesn't take it for one that slipped in. One that holds what admission forbids
/// to every lock was never admitted as it is, whatever it looks like.
pub(super) fn judge(accepted: &Accepted, older: &[String], pod: &Pod) -> Injection {
    let (guarded, check): (_, fn(&Pod, &str, bool) -> _) = match accepted.released(pod, older) {
        Some(guarded) => (guarded, forbidden::check_released),
        None => match accepted.guarded_by(pod) {
            Ok(guarded) => (guarded, forbidden::check),
            Err(defect) => return Injection::No(defect.to_string()),
        },
    };
    if let Err(forbidden) = check(pod, &guarded.trust, true) {
        return Injection::No(forbidden.to_string());
    }
    let privileges = check(pod, &guarded.trust, false).err().map(|privileges| privileges.to_string());
    Injection::For {
        trust: guarded.trust,
        current_image: guarded.current_image,
        shape: guarded.shape,
        privileges,
    }
}

/// The locks as the webhook asks for them.
pub(super) struct KnownLocks {
    pub(super) settings: Arc<Settings>,
    pub(super) trusts: Store<BackendTrust>,
    pub(super) namespaces: Store<LeanNamespace>,
    /// Set once the store has been filled.
    pub(super) filled: Arc<OnceLock<()>>,
}

impl Locks for KnownLocks {
    fn in_namespace(&self, namespace: &str) -> Option<Vec<Lock>> {
        self.filled.get()?;
        if self.settings.is_reserved_namespace(namespace) {
            return Some(Vec::new());
        }
        let trusts = self.trusts.state_filter(|trust| trust.metadata.namespace.as_deref() == Some(namespace));
        // A lock that was refused must not keep pods from starting that the namespace would not let start guarded.
        let locks = trusts.iter().filter(|trust| !is_withheld(trust, &self.namespaces)).filter_map(|trust| {
            let selector = Selector::new(trust.spec.pod_selector.clone()).ok()?;
            // As in resolve: a lock without a meaning selects nothing.
            (!selector.is_empty()).then(|| Lock {
                shape: Shape::of(trust),
                trusted: trust.spec.trusted_workload == Some(true),
                resources: trust.spec.sidecar.as_ref().and_then(|sidecar| sidecar.resources.clone()),
                name: trust.name_any(),
                created: trust.creation_timestamp().map_or(Timestamp::MAX, |time| time.0),
                selector,
            })
        });
        Some(locks.collect())
    }
}

#[cfg(test)]
mod tests {
    use postern_config::layout;
    use serde_json::json;

    use super::*;
    use crate::injection::tests::{accepted, guarded_pod, with};

    fn judged(image: &str, older: &[&str]) -> Injection {
        let pod = (0..2).fold(guarded_pod("orders"), |pod, index| {
            with(pod, &format!("/spec/initContainers/{index}/image"), json!(image))
        });
        let older: Vec<_> = older.iter().map(ToString::to_string).collect();
        judge(&accepted(), &older, &serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_pod_of_any_release_is_guarded_and_of_no_other_image() {
        let by = |current_image| Injection::plain("orders", current_image);
        assert_eq!(judged("postern/sidecar:2", &[]), by(true));
        assert_eq!(judged("postern/sidecar:1", &[]), by(false));
        assert_eq!(judged("postern/sidecar:0", &["postern/sidecar:0"]), by(false));
        assert!(matches!(judged("postern/sidecar:0", &[]), Injection::No(_)));
        assert!(matches!(judged("evil", &["postern/sidecar:0"]), Injection::No(_)));
    }

    fn store<K>(objects: &[serde_json::Value]) -> Store<K>
    where
        K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + 'static,
    {
        let mut writer = kube::runtime::reflector::store::Writer::default();
        for object in objects {
            let object = serde_json::from_value(object.clone()).unwrap();
            writer.apply_watcher_event(&kube::runtime::watcher::Event::Apply(object));
        }
        writer.as_reader()
    }

    #[test]
    fn a_lock_that_its_namespace_makes_impossible_injects_nothing() {
        let locks = |standard: &str, armed: Option<&str>| {
            let labels = json!({"pod-security.kubernetes.io/enforce": standard});
            let conditions: Vec<_> = armed
                .map(|status| {
                    json!({"type": "Armed", "status": status, "reason": "Armed", "message": "",
                                     "lastTransitionTime": "2026-11-21T20:00:00Z"})
                })
                .into_iter()
                .collect();
            let settings = crate::config::Config::parse(
                "{namespace: postern, sidecarImage: i, gateways: [], \
                 sidecarResources: {requests: {cpu: 1, memory: 1}, limits: {cpu: 1, memory: 1}}}",
            );
            let known = KnownLocks {
                settings: Arc::new(settings.unwrap().settings("id", None, Vec::new())),
                trusts: store(&[json!({
                    "apiVersion": "postern.dev/v1alpha1", "kind": "BackendTrust",
                    "metadata": {"namespace": "shop", "name": "orders"},
                    "spec": {"podSelector": {"matchLabels": {"app": "orders"}}},
                    "status": {"conditions": conditions},
                })]),
                namespaces: store(&[json!({
                    "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels},
                })]),
                filled: Arc::new(OnceLock::from(())),
            };
            known.in_namespace("shop").unwrap().len()
        };
        for (standard, armed, expected) in [
            ("privileged", None, 1),
            ("baseline", None, 0),
            ("restricted", Some("False"), 0),
            // What was armed before its namespace was labelled stays.
            ("restricted", Some("True"), 1),
        ] {
            assert_eq!(locks(standard, armed), expected, "{standard} {armed:?}");
        }
    }

    #[test]
    fn a_pod_of_an_earlier_release_need_not_be_as_this_one_injects() {
        let changed = |image: &str, pointer: &str, value| {
            let pod = (0..2).fold(guarded_pod("orders"), |pod, index| {
                with(pod, &format!("/spec/initContainers/{index}/image"), json!(image))
            });
            let pod = serde_json::from_value(with(pod, pointer, value)).unwrap();
            matches!(judge(&accepted(), &["postern/sidecar:0".to_owned()], &pod), Injection::For { .. })
        };
        let (current, previous, older) = ("postern/sidecar:2", "postern/sidecar:1", "postern/sidecar:0");
        let env = || json!([{"name": "OF_THAT_RELEASE", "value": "1"}]);
        let volume = || json!({"name": "postern-of-that-release", "emptyDir": {}});
        for (image, guarded) in [(current, false), (previous, true), (older, true), ("evil", false)] {
            assert_eq!(changed(image, "/spec/initContainers/1/env", env()), guarded, "{image}");
            assert_eq!(changed(image, "/spec/volumes/-", volume()), guarded, "{image}");
        }
        // What makes a pod guarded at all is asked of every release.
        for (pointer, value) in [
            ("/spec/initContainers/0/image", json!(older)),
            ("/spec/initContainers/0/name", json!("other")),
            ("/spec/initContainers/1/args", json!(["run"])),
            ("/spec/hostNetwork", json!(true)),
            ("/spec/containers/0/securityContext", json!({"runAsUser": layout::SIDECAR_UID})),
        ] {
            assert!(!changed(previous, pointer, value), "{pointer}");
        }
    }

    #[test]
    fn what_a_pod_holds_is_forbidden_to_all_or_to_those_without_trust() {
        let judged = |pointer: &str, value| {
            let pod = serde_json::from_value(with(guarded_pod("orders"), pointer, value)).unwrap();
            judge(&accepted(), &[], &pod)
        };
        let guarded = |pointer: &str, value| judged(pointer, value) == Injection::plain("orders", true);
        let trusted = |pointer: &str, value| {
            matches!(judged(pointer, value), Injection::For { privileges: Some(_), .. })
        };
        let debug = |capability: &str| {
            json!([{"name": "debug", "image": "debug",
                    "securityContext": {"capabilities": {"add": [capability]}}}])
        };
        assert!(trusted("/spec/containers/0/securityContext", json!({"privileged": true})));
        let reads = json!([{"secretRef": {"name": "postern-orders"}}]);
        assert!(matches!(judged("/spec/containers/0/envFrom", reads), Injection::No(_)));
        assert!(guarded("/spec/containers/0/securityContext", json!({"privileged": false})));
        assert!(trusted("/spec/ephemeralContainers", debug("NET_ADMIN")));
        assert!(guarded("/spec/ephemeralContainers", debug("CHOWN")));
    }
}
