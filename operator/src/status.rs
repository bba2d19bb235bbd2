//! Writes status, when it differs, and an Event for each condition that changed.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Api, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource, ResourceExt};
use postern_crds::{ApiRoute, ApiRouteStatus, BackendTrust, BackendTrustStatus, ConditionType};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::apply::{FIELD_MANAGER, brief};

#[cfg(test)]
mod tests;

/// A kind whose status Postern writes.
pub trait HasStatus:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug
{
    /// Its status.
    type Status: Clone + Default + PartialEq + Serialize + Send;

    /// As it was read.
    fn status(&self) -> Option<&Self::Status>;

    /// Every list of conditions in it, each under a name that stays the same.
    fn conditions(status: &mut Self::Status) -> Vec<(String, &mut Vec<Condition>)>;
}

impl HasStatus for BackendTrust {
    type Status = BackendTrustStatus;

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    fn conditions(status: &mut Self::Status) -> Vec<(String, &mut Vec<Condition>)> {
        vec![(String::new(), &mut status.conditions)]
    }
}

impl HasStatus for ApiRoute {
    type Status = ApiRouteStatus;

    fn status(&self) -> Option<&Self::Status> {
        self.status.as_ref()
    }

    fn conditions(status: &mut Self::Status) -> Vec<(String, &mut Vec<Condition>)> {
        let gateways =
            status.gateways.iter_mut().map(|gateway| (gateway.name.clone(), &mut gateway.conditions));
        std::iter::once((String::new(), &mut status.conditions)).chain(gateways).collect()
    }
}

/// A condition that changed, with the list that it is in.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// Empty for the object's own conditions, else the gateway's name.
    pub list: String,
    /// As it is now.
    pub condition: Condition,
    /// It was not there before.
    pub first: bool,
}

/// Sets each `lastTransitionTime`: kept where the status is the same as in `previous`, else `now`. Returns the
/// conditions whose status or reason differs.
pub fn settle<K: HasStatus>(previous: &K::Status, next: &mut K::Status, now: Timestamp) -> Vec<Changed> {
    let mut previous = previous.clone();
    let before: HashMap<(String, String), Condition> = K::conditions(&mut previous)
        .into_iter()
        .flat_map(|(list, conditions)| {
            conditions
                .iter()
                .map(move |one| ((list.clone(), one.type_.clone()), one.clone()))
                .collect::<Vec<_>>()
        })
        .collect();
    let mut changed = Vec::new();
    for (list, conditions) in K::conditions(next) {
        for condition in conditions {
            let old = before.get(&(list.clone(), condition.type_.clone()));
            condition.last_transition_time = match old {
                Some(old) if old.status == condition.status => old.last_transition_time.clone(),
                // Whole seconds, as Kubernetes stores them, so that what is read equals what was written.
                _ => Time(Timestamp::from_second(now.as_second()).unwrap_or(now)),
            };
            if old.is_none_or(|old| (&old.status, &old.reason) != (&condition.status, &condition.reason)) {
                let (list, condition, first) = (list.clone(), condition.clone(), old.is_none());
                changed.push(Changed { list, condition, first });
            }
        }
    }
    changed
}

/// A status that was written, and the version of the object on which it was based: a store that still shows
/// that version does not know of it yet.
type Written<S> = HashMap<String, (Option<String>, S)>;

/// Writes statuses and Events.
#[derive(Clone)]
pub struct Reporter {
    client: Client,
    events: Recorder,
    trusts: Arc<Mutex<Written<BackendTrustStatus>>>,
    routes: Arc<Mutex<Written<ApiRouteStatus>>>,
}

impl Reporter {
    /// Reports as the operator's replica `instance`.
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter = kube::runtime::events::Reporter {
            controller: "postern.dev/operator".to_owned(),
            instance: Some(instance.to_owned()),
        };
        let events = Recorder::new(client.clone(), reporter);
        Self { client, events, trusts: Arc::default(), routes: Arc::default() }
    }

    /// The lock's status as it was last written, which its store may not have seen yet.
    pub fn trust_status(&self, trust: &BackendTrust) -> BackendTrustStatus {
        latest(&self.trusts, trust)
    }

    /// As [`Self::trust_status`], for a route.
    pub fn route_status(&self, route: &ApiRoute) -> ApiRouteStatus {
        latest(&self.routes, route)
    }

    /// Writes a lock's status, if it differs.
    pub async fn trust(
        &self,
        trust: &BackendTrust,
        status: BackendTrustStatus,
        now: Timestamp,
    ) -> Result<bool, kube::Error> {
        self.report(&self.trusts, trust, status, now).await
    }

    /// Writes a route's status, if it differs.
    pub async fn route(
        &self,
        route: &ApiRoute,
        status: ApiRouteStatus,
        now: Timestamp,
    ) -> Result<bool, kube::Error> {
        self.report(&self.routes, route, status, now).await
    }

    async fn report<K: HasStatus>(
        &self,
        written: &Mutex<Written<K::Status>>,
        object: &K,
        mut status: K::Status,
        now: Timestamp,
    ) -> Result<bool, kube::Error> {
        let previous = latest(written, object);
        let changed = settle::<K>(&previous, &mut status, now);
        if status == previous {
            return Ok(false);
        }
        let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
        let body = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {"name": name, "namespace": namespace, "uid": object.uid()},
            "status": status,
        });
        let api = Api::<K>::namespaced(self.client.clone(), &namespace);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        match api.patch_status(&name, &params, &Patch::Apply(&body)).await {
            Ok(_) => {}
            // It is gone, or another has its name: there is nobody to report to.
            Err(kube::Error::Api(error)) if error.is_not_found() || error.is_conflict() => return Ok(false),
            Err(error) => return Err(error),
        }
        if let Some(uid) = object.uid() {
            lock(written).insert(uid, (object.resource_version(), status));
        }
        self.tell(&object.object_ref(&()), changed).await;
        Ok(true)
    }

    async fn tell(&self, about: &ObjectReference, changed: Vec<Changed>) {
        for Changed { list, condition, .. } in worth_an_event(changed) {
            let action = condition.type_.clone();
            let message = match list.as_str() {
                "" => condition.message,
                gateway => format!("gateway {gateway}: {}", condition.message),
            };
            let event = Event {
                type_: if condition.status == "False" { EventType::Warning } else { EventType::Normal },
                reason: condition.reason,
                note: Some(truncate(message, 1024)),
                action,
                secondary: None,
            };
            if let Err(error) = self.events.publish(&event, about).await {
                tracing::warn!(error = brief(&error), "Event not published");
            }
        }
    }

    /// Forgets what was written about objects that are gone.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        lock(&self.trusts).retain(|uid, _| exists(uid));
        lock(&self.routes).retain(|uid, _| exists(uid));
    }
}

/// Conditions that are now false, and Ready however it is, unless it only repeats another. That a new lock is not
/// yet armed, nor its pods guarded, is how each begins: there is an Event when that ends, or comes back.
fn worth_an_event(changed: Vec<Changed>) -> Vec<Changed> {
    let is = |one: &Changed, of: ConditionType| one.condition.type_ == of.as_str();
    let about_the_spec =
        |one: &Changed| is(one, ConditionType::Accepted) || is(one, ConditionType::ResolvedRefs);
    let causes: Vec<String> = changed
        .iter()
        .filter(|one| !is(one, ConditionType::Ready) && one.condition.status == "False")
        .map(|one| one.condition.reason.clone())
        .collect();
    changed
        .into_iter()
        .filter(|one| match one.condition.status.as_str() {
            "False" if is(one, ConditionType::Ready) => !one.first && !causes.contains(&one.condition.reason),
            "False" => !one.first || about_the_spec(one),
            _ => is(one, ConditionType::Ready),
        })
        .collect()
}

fn latest<K: HasStatus>(written: &Mutex<Written<K::Status>>, object: &K) -> K::Status {
    let known = object.uid().and_then(|uid| lock(written).get(&uid).cloned());
    match known {
        Some((version, status)) if version == object.resource_version() => status,
        _ => object.status().cloned().unwrap_or_default(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn truncate(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        let mut end = bytes.saturating_sub('…'.len_utf8());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}
