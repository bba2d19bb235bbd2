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
