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

/// The pods whose kubelet must be told of the configuration `hash`. Pure.
pub fn untold<'a>(pods: &'a [PodFacts], hash: &str) -> Vec<&'a PodFacts> {
    pods.iter()
        .filter(|pod| pod.mounts_lock_secret && !pod.deleting && !pod.finished())
        .filter(|pod| pod.config_annotation.as_deref() != Some(hash))
        .collect()
}

/// Annotates each of `pods`; returns how many could not be. They get the configuration a minute later.
pub async fn announce(client: &Client, namespace: &str, pods: Vec<&PodFacts>, hash: &str) -> usize {
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"metadata": {"annotations": {layout::CONFIG_ANNOTATION: hash}}}));
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
