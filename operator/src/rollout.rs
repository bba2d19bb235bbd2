//! Replaces pods that run without their lock: workloads by their own rolling way, others by eviction.

use std::collections::BTreeMap;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::api::{Api, EvictParams, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;

use crate::apply::{FIELD_MANAGER, brief};
use crate::inputs::{Owner, PodFacts};
use crate::plan::{PodState, PodsPlan};

mod decide;
#[cfg(test)]
mod tests;

pub use decide::{Step, Workload, decide};

/// Annotation of a pod template; a new value makes the workload replace its pods, as `kubectl rollout restart`
/// does.
pub const RESTARTED_ANNOTATION: &str = "postern.dev/restartedAt";

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What can't be done, one sentence each.
    pub sentences: Vec<String>,
    /// Something was refused that may succeed later.
    pub retry: bool,
}

/// Replaces what has to be replaced, and says what can't be.
///
/// `canary`: whether one workload goes first. `replace`: whether pods that ran before are replaced by the operator; those that slipped in always are.
pub async fn replace(
    client: &Client,
    namespace: &str,
    plan: &PodsPlan,
    facts: &[PodFacts],
    replace: bool,
    canary: bool,
    now: Timestamp,
) -> Report {
    let mut report = Report::default();
    let mut workloads = BTreeMap::new();
    for owner in decide::to_look_up(plan, replace) {
        match look_up(client, namespace, &owner).await {
            Ok(workload) => drop(workloads.insert(owner, workload)),
            Err(error) => {
                report.retry = true;
                report.sentences.push(format!(
                    "{} {} can't be read, so its pods are not replaced: {}",
                    owner.kind,
                    owner.name,
                    brief(&error)
                ));
            }
        }
    }
    let steps = decide(plan, facts, &workloads, replace, canary);
    let done: Vec<_> = futures::stream::iter(steps)
        .map(|step| take(client, namespace, step, now))
        .buffer_unordered(8)
        .collect()
        .await;
    for (sentence, retry) in done {
        report.sentences.extend(sentence);
        report.retry |= retry;
    }
    report.sentences.sort();
    report
}

/// Takes one step; returns what is to be said about it, and whether to try again later.
async fn take(client: &Client, namespace: &str, step: Step, now: Timestamp) -> (Option<String>, bool) {
    match step {
        Step::Say(sentence) => (Some(sentence), false),
        Step::Later => (None, true),
        Step::Restart { kind, name } => {
            let restarted = match kind.as_str() {
                "Deployment" => restart::<Deployment>(client, namespace, &name, now).await,
                "StatefulSet" => restart::<StatefulSet>(client, namespace, &name, now).await,
                _ => restart::<DaemonSet>(client, namespace, &name, now).await,
            };
            match restarted {
                Ok(()) => {
                    tracing::info!(
                        namespace,
                        kind,
                        name,
                        "rolling restart, since pods of it run without their lock"
                    );
                    (None, false)
                }
                Err(error) => (Some(format!("{kind} {name} can't be restarted: {}", brief(&error))), true),
            }
        }
        Step::Evict { pod } => {
            let pods = Api::<Pod>::namespaced(client.clone(), namespace);
            match pods.evict(&pod, &EvictParams::default()).await {
                Ok(_) => {
                    tracing::info!(namespace, pod, "evicted, since it runs without its lock");
                    (None, true)
                }
                Err(kube::Error::Api(status)) if status.is_not_found() => (None, false),
                Err(error) => (Some(format!("pod {pod} can't be evicted: {}", brief(&error))), true),
            }
        }
    }
}

async fn restart<K>(client: &Client, namespace: &str, name: &str, now: Timestamp) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {
        RESTARTED_ANNOTATION: now.to_string(),
    }}}}});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    Api::<K>::namespaced(client.clone(), namespace)
        .patch(name, &params, &Patch::Merge(&patch))
        .await
        .map(drop)
}

/// What stands behind an owner, and how its pods are replaced.
async fn look_up(client: &Client, namespace: &str, owner: &Owner) -> Result<Workload, kube::Error> {
    let workload = match owner.kind.as_str() {
        "ReplicaSet" => {
            let api = Api::<ReplicaSet>::namespaced(client.clone(), namespace);
            let Some(set) = api.get_opt(&owner.name).await? else { return Ok(Workload::Gone) };
            let deployment = set.owner_references().iter().find(|one| {
                one.controller == Some(true) && one.kind == "Deployment" && is_apps(&one.api_version)
            });
            match deployment {
                Some(deployment) => of_deployment(client, namespace, &deployment.name).await?,
                None => Workload::Evict,
            }
        }
        "StatefulSet" => {
            let api = Api::<StatefulSet>::namespaced(client.clone(), namespace);
            let Some(spec) = api.get_opt(&owner.name).await?.and_then(|set| set.spec) else {
                return Ok(Workload::Gone);
            };
            let strategy = spec.update_strategy.and_then(|strategy| strategy.type_);
            rolling("StatefulSet", &owner.name, &spec.template, blocked_by(strategy.as_deref()))
        }
        _ => {
            let api = Api::<DaemonSet>::namespaced(client.clone(), namespace);
            let Some(spec) = api.get_opt(&owner.name).await?.and_then(|set| set.spec) else {
                return Ok(Workload::Gone);
            };
            let strategy = spec.update_strategy.and_then(|strategy| strategy.type_);
            rolling("DaemonSet", &owner.name, &spec.template, blocked_by(strategy.as_deref()))
        }
    };
    Ok(workload)
}

async fn of_deployment(client: &Client, namespace: &str, name: &str) -> Result<Workload, kube::Error> {
    let api = Api::<Deployment>::namespaced(client.clone(), namespace);
    let Some(spec) = api.get_opt(name).await?.and_then(|deployment| deployment.spec) else {
        return Ok(Workload::Gone);
    };
    let blocked = (spec.paused == Some(true)).then_some("it is paused: resume it");
    Ok(rolling("Deployment", name, &spec.template, blocked))
}

fn blocked_by(strategy: Option<&str>) -> Option<&'static str> {
    (strategy == Some("OnDelete")).then_some("its own updateStrategy is OnDelete: delete its pods")
}

fn rolling(kind: &str, name: &str, template: &PodTemplateSpec, blocked: Option<&str>) -> Workload {
    let annotations = template.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
    Workload::Rolling {
        kind: kind.to_owned(),
        name: name.to_owned(),
        restarted: annotations
            .and_then(|annotations| annotations.get(RESTARTED_ANNOTATION))
            .and_then(|at| at.parse().ok()),
        blocked: blocked.map(ToOwned::to_owned),
    }
}

fn is_apps(api_version: &str) -> bool {
    api_version.starts_with("apps/")
}
