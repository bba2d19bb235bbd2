//! Tells the kubelets that a lock's Secret has changed: a pod that is annotated anew is looked at at once, while
//! a mounted Secret alone takes up to a minute and a half to arrive.

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use postern_config::layout;
use serde_json::json;

use crate::apply::{FIELD_MANAGER, brief};
use crate::inputs::PodFacts;

/// Pods that are annotated at the same time.
const AT_ONCE: usize = 32;

/// The pods whose kubelet must be told of the configuration `hash`; once more for each `nudge` those that have
/// not taken it up. Pure.
pub fn untold<'a>(pods: &'a [PodFacts], hash: &str, nudge: u32) -> Vec<&'a PodFacts> {
    pods.iter()
        .filter(|pod| pod.mounts_lock_secret && !pod.deleting && !pod.finished())
        .filter(|pod| {
            let told = pod.config_annotation.as_deref().unwrap_or_default();
            let (told_hash, told_nudge) = told.split_once(';').unwrap_or((told, "0"));
            let current = pod.loaded.as_ref().and_then(|loaded| loaded.config_hash.as_deref()) == Some(hash);
            told_hash != hash || (!current && told_nudge.parse() != Ok(nudge))
        })
        .collect()
}

/// What a pod is annotated with. Another value is needed for another look.
fn value(hash: &str, nudge: u32) -> String {
    if nudge == 0 { hash.to_owned() } else { format!("{hash};{nudge}") }
}

/// Annotates each of `pods`; returns how many could not be. They get the configuration a minute later.
pub async fn announce(
    client: &Client,
    namespace: &str,
    pods: Vec<&PodFacts>,
    hash: &str,
    nudge: u32,
) -> usize {
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch =
        Patch::Merge(json!({"metadata": {"annotations": {layout::CONFIG_ANNOTATION: value(hash, nudge)}}}));
    let telling = pods.into_iter().map(|pod| {
        let (api, params, patch) = (&api, &params, &patch);
        async move {
            match api.patch_metadata(&pod.name, params, patch).await {
                Ok(_) => 0,
                Err(kube::Error::Api(status)) if status.is_not_found() => 0,
                Err(error) => {
                    tracing::warn!(namespace, pod = pod.name, error = brief(&error), "pod not annotated");
                    1
                }
            }
        }
    });
    futures::stream::iter(telling)
        .buffer_unordered(AT_ONCE)
        .fold(0, |sum, one| async move { sum + one })
        .await
}

#[cfg(test)]
mod tests {
    use postern_config::loaded::Loaded;
    use serde_json::json;

    use super::*;
    use crate::inputs::{Injection, LockKey};
    use crate::watch::lean::LeanPod;

    fn pod(annotation: Option<&str>, loaded: Option<&str>, secret: &str, phase: &str) -> PodFacts {
        let pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "shop", "uid": "u"},
            "spec": {"containers": [], "volumes": [{"name": "v", "secret": {"secretName": secret}}]},
            "status": {"phase": phase},
        }))
        .unwrap();
        let pod = LeanPod::new(&pod, Injection::plain("orders", true));
        let key = LockKey { namespace: "shop".to_owned(), name: "orders".to_owned() };
        let loaded = loaded.map(|hash| Loaded {
            config_hash: Some(hash.to_owned()),
            version: String::new(),
            ..Loaded::default()
        });
        PodFacts { loaded, config_annotation: annotation.map(ToOwned::to_owned), ..pod.facts(&key) }
    }

    #[test]
    fn only_pods_that_have_something_to_learn_are_told() {
        let (ours, running) = ("postern-orders", "Running");
        for (case, told, nudge, pod) in [
            ("never told", true, 0, pod(None, None, ours, running)),
            ("told of another", true, 0, pod(Some("old"), Some("old"), ours, running)),
            ("told", false, 0, pod(Some("new"), Some("old"), ours, running)),
            ("told in vain", true, 1, pod(Some("new"), Some("old"), ours, running)),
            ("told again", false, 1, pod(Some("new;1"), Some("old"), ours, running)),
            ("told again in vain", true, 2, pod(Some("new;1"), Some("old"), ours, running)),
            ("it has it", false, 3, pod(Some("new"), Some("new"), ours, running)),
            ("it has it since it was told again", false, 0, pod(Some("new;1"), Some("new"), ours, running)),
            ("another lock's", false, 0, pod(None, None, "postern-carts", running)),
            ("ended", false, 0, pod(None, None, ours, "Succeeded")),
        ] {
            assert_eq!(untold(&[pod], "new", nudge).len() == 1, told, "{case}");
        }
    }

    #[test]
    fn another_look_needs_another_value() {
        assert_eq!((value("h", 0), value("h", 2)), ("h".to_owned(), "h;2".to_owned()));
    }
}
