//! Writes what was rendered, and takes away what is no longer wanted. Touches only what Postern owns.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::Status;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

mod difference;
#[cfg(test)]
mod tests;

pub use difference::differs;

/// Field manager of everything that the operator writes.
pub const FIELD_MANAGER: &str = "postern";
/// Label of everything that Postern manages …
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// … and its value.
pub const MANAGED_BY: &str = "postern";

/// What is to be done with one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is not there.
    Create,
    /// It is Postern's and differs from what it should be.
    Update,
    /// It is as it should be.
    Keep,
    /// It has our name but not our mark: somebody else's.
    Foreign,
}

/// What was done with one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was written.
    Written,
    /// It already was as it should be.
    Unchanged,
    /// Left alone, because it is somebody else's.
    Foreign,
    /// Left alone, because somebody has changed it since it was read: read it again and decide anew.
    Outdated,
}

/// An object that could not be written or removed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server refused or was not reached.
    #[error("{kind} {name} cannot be {verb}: {}", brief(source))]
    Refused {
        /// Kind of the object.
        kind: String,
        /// `namespace/name`, or the name where there is no namespace.
        name: String,
        /// `written` or `deleted`.
        verb: &'static str,
        /// What the API server says.
        source: Box<kube::Error>,
    },
    /// What was rendered is no Kubernetes object.
    #[error("{kind} {name} cannot be written as JSON: {source}")]
    Malformed {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl ApplyError {
    /// Whether the namespace is being deleted, so that nothing new can be made there and nothing need be.
    pub fn namespace_terminating(&self) -> bool {
        matches!(self, Self::Refused { source, .. }
            if matches!(&**source, kube::Error::Api(status) if is_terminating(status)))
    }
}

/// Whether the API server refuses because the namespace is being deleted.
pub fn is_terminating(status: &Status) -> bool {
    status.code == 403 && status.message.contains("because it is being terminated")
}

/// What the API server says, without the whole answer that `Display` would add.
pub fn brief(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Whether an object bears Postern's mark.
pub fn is_ours(meta: &ObjectMeta) -> bool {
    meta.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY_LABEL)).is_some_and(|by| by == MANAGED_BY)
}

/// Compares what is there with what should be; both are whole objects as JSON.
pub fn decide(existing: Option<&Value>, desired: &Value) -> Action {
    let Some(existing) = existing else { return Action::Create };
    let mark = existing.pointer("/metadata/labels").and_then(|labels| labels.get(MANAGED_BY_LABEL));
    if mark.and_then(Value::as_str) != Some(MANAGED_BY) {
        Action::Foreign
    } else if differs(existing, desired) {
        Action::Update
    } else {
        Action::Keep
    }
}

/// Brings `desired` about by server-side apply, given what [`crate::gather`] found in its place.
///
/// A create is not forced: should somebody else have been faster, their fields stay as they are.
pub async fn apply<K>(api: &Api<K>, existing: Option<&K>, desired: &K) -> Result<Applied, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + Debug,
{
    let json = |object: &K| {
        serde_json::to_value(object).map_err(|source| ApplyError::Malformed {
            kind: K::kind(&()).into_owned(),
            name: full_name(desired),
            source,
        })
    };
    let mut body = json(desired)?;
    let current = existing.map(json).transpose()?;
    let mut params = PatchParams::apply(FIELD_MANAGER);
    match decide(current.as_ref(), &body) {
        Action::Keep => return Ok(Applied::Unchanged),
        Action::Foreign => return Ok(Applied::Foreign),
        Action::Create => {}
        Action::Update => {
            params = params.force();
            // The object that was looked at, as it was, and no other that has taken its name since.
            if let (Some(metadata), Some(existing)) = (body.get_mut("metadata"), existing) {
                metadata["uid"] = existing.uid().into();
                metadata["resourceVersion"] = existing.resource_version().into();
            }
        }
    }
    match api.patch(&desired.name_any(), &params, &Patch::Apply(&body)).await {
        Ok(_) => Ok(Applied::Written),
        Err(kube::Error::Api(status)) if status.is_conflict() => {
            Ok(if existing.is_some() { Applied::Outdated } else { Applied::Foreign })
        }
        Err(source) => Err(refused::<K>(full_name(desired), "written", source)),
    }
}

/// Removes an object that is ours; one that is gone or somebody else's is left alone.
/// Returns whether something was removed.
pub async fn remove<K>(api: &Api<K>, existing: &K) -> Result<bool, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    if !is_ours(existing.meta()) {
        return Ok(false);
    }
    let preconditions = Preconditions { uid: existing.uid(), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    match api.delete(&existing.name_any(), &params).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(false),
        Err(source) => Err(refused::<K>(full_name(existing), "deleted", source)),
    }
}

fn refused<K: Resource<DynamicType = ()>>(
    name: String,
    verb: &'static str,
    source: kube::Error,
) -> ApplyError {
    ApplyError::Refused { kind: K::kind(&()).into_owned(), name, verb, source: Box::new(source) }
}

fn full_name<K: Resource>(object: &K) -> String {
    match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    }
}
