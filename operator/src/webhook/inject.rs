//! The pod as it is to be: a pure function of the pod, the locks, and what is injected.
//!
//! It works on the JSON that the API server sent and touches only what it must, so that fields which this
//! program doesn't know survive.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use postern_config::layout;
use postern_config::record::PodRecord;
use postern_config::signed::{Signer, VerifyKey};
use serde_json::{Map, Value};

use super::select::{Lock, select};
use super::{Refusal, probes};
use crate::images::InjectedImage;
use crate::injection::forbidden::Forbidden;
use crate::injection::structure::Accepted;
use crate::injection::{InjectionSpec, forbidden, injected_container, injected_volume, ports, resources};

/// What is injected, whichever the lock.
pub struct Injector {
    /// Signs the pods' records.
    pub signer: Signer,
    /// Keys whose records and bundles count, the signer's own first.
    pub verify_keys: Vec<VerifyKey>,
    /// Image of both containers.
    pub image: InjectedImage,
    /// As [`InjectionSpec::pull_policy`].
    pub pull_policy: Option<String>,
    /// Requests and limits of each of the two containers.
    pub resources: ResourceRequirements,
}

/// What becomes of a pod.
#[derive(Debug, PartialEq)]
pub enum Injected {
    /// No lock selects it: it stays as it is.
    NotSelected,
    /// It is guarded.
    Guarded {
        /// By this lock of its namespace.
        trust: String,
        /// The pod as it is to be; equal to what came in if this was a needless re-run.
        pod: Value,
    },
}

impl Injector {
    /// Injects `pod`, which is about to be created in `namespace`.
    ///
    /// * `locks`: all of the namespace.
    /// * `token`: 32 lower-case hex digits that nobody can guess, for the paths of the probes; not used if the pod
    ///   has a record of an earlier run.
    ///
    /// # Errors
    /// If a lock selects the pod and it can't be guarded.
    pub fn inject(
        &self,
        pod: &Value,
        namespace: &str,
        locks: &[Lock],
        token: &str,
    ) -> Result<Injected, Refusal> {
        let typed: Pod = serde_json::from_value(pod.clone())?;
        let labels = typed.metadata.labels.clone().unwrap_or_default();
        let Some(lock) = select(locks, &labels) else {
            return Ok(Injected::NotSelected);
        };
        let previous = self.previous_record(&typed, namespace);
        let mut pod = pod.clone();
        let mut typed = typed;
        // What an earlier run moved is the author's again.
        if previous.as_ref().is_some_and(|record| record.listeners.is_some()) {
            each_lasting(&mut pod, |ports| Ok(ports::restored(ports)))?;
            typed = serde_json::from_value(pod.clone())?;
        }
        let trust = lock.name.clone();
        if let Err(cause) = forbidden::check(&typed, &trust, lock.trusted) {
            return Err(Refusal::Forbidden { namespace: namespace.to_owned(), trust, cause });
        }
        let spec = typed.spec.clone().unwrap_or_default();
        let mut listeners = lock.shape.listens().then(BTreeMap::new);
        if let Some(listeners) = &mut listeners {
            let refused =
                |cause| Refusal::Forbidden { namespace: namespace.to_owned(), trust: trust.clone(), cause };
            forbidden::check_listener_ports(&spec).map_err(refused)?;
            let mut names = BTreeMap::new();
            each_lasting(&mut pod, |ports| {
                ports::moved(ports, &mut names, listeners)
                    .map_err(|ports::TooMany| refused(Forbidden::TooManyPorts))
            })?;
        }
        let (name, generated) = name_of(&typed);
        let mut record = PodRecord {
            namespace: namespace.to_owned(),
            trust: trust.clone(),
            pod: name,
            generated,
            token: previous.as_ref().map_or_else(|| token.to_owned(), |record| record.token.clone()),
            ports: ports(&spec),
            probes: Vec::new(),
            listeners,
        };
        rewrite_probes(&mut pod, &spec, previous.as_ref(), &mut record).map_err(
            |(container, probes::ReservedPort(probe))| Refusal::ReservedPort {
                namespace: namespace.to_owned(),
                trust: trust.clone(),
                container,
                probe,
            },
        )?;
        let sealed = record.seal(&self.signer).map_err(|error| Refusal::Record(error.to_string()))?;
        annotate(&mut pod, sealed)?;
        insert(&mut pod, &spec, &self.injection(namespace, lock))?;
        Ok(Injected::Guarded { trust, pod })
    }

    fn injection(&self, namespace: &str, lock: &Lock) -> InjectionSpec {
        InjectionSpec {
            namespace: namespace.to_owned(),
            trust: lock.name.clone(),
            verify_keys: self.verify_keys.iter().map(ToString::to_string).collect(),
            image: self.image.get(),
            pull_policy: self.pull_policy.clone(),
            resources: resources::of(&self.resources, lock.resources.as_ref()),
            shape: lock.shape.clone(),
        }
    }

    /// The record that an earlier run left on this very pod. A forged one, or one of another pod, counts as none.
    fn previous_record(&self, pod: &Pod, namespace: &str) -> Option<PodRecord> {
        let annotation = pod.metadata.annotations.as_ref()?.get(layout::RECORD_ANNOTATION)?;
        let record = PodRecord::open(annotation, &self.verify_keys).ok()?;
        let (name, generated) = name_of(pod);
        (record.namespace == namespace && record.pod == name && record.generated == generated)
            .then_some(record)
    }
}

/// Containers and volumes. What has a reserved name is overwritten, wherever it stands, unless it is as it
/// should be but for what other admission controllers may change.
fn insert(pod: &mut Value, typed: &PodSpec, spec: &InjectionSpec) -> Result<(), Refusal> {
    let existing = typed.init_containers.as_deref().unwrap_or_default();
    let expected = spec.containers();
    let in_place = existing.iter().zip(&expected).filter(|(a, b)| Accepted::unchanged(a, b)).count();
    let ours = existing.iter().filter(|container| injected_container(&container.name)).count();
    if in_place < expected.len() || ours > expected.len() {
        let others = take(pod, "initContainers")?;
        let others = others.into_iter().filter(|container| !injected_container(name(container)));
        let ours = expected.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
        put(pod, "initContainers", ours.into_iter().chain(others).collect())?;
    }
    let volumes = spec.volumes();
    let present = typed.volumes.as_deref().unwrap_or_default();
    if !volumes.iter().all(|volume| present.contains(volume)) {
        let others = take(pod, "volumes")?;
        let others = others.into_iter().filter(|volume| !injected_volume(name(volume)));
        let ours = volumes.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
        put(pod, "volumes", others.chain(ours).collect())?;
    }
    Ok(())
}

/// The name, or the prefix of the name that the API server has yet to choose, and whether it has.
fn name_of(pod: &Pod) -> (String, bool) {
    let metadata = &pod.metadata;
    match metadata.name.as_ref().filter(|name| !name.is_empty()) {
        Some(name) => (name.clone(), false),
        None => (metadata.generate_name.clone().unwrap_or_default(), true),
    }
}

/// The containers that run as long as the pod does, without Postern's own: only they have ports and probes.
fn lasting(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let native = spec.init_containers.iter().flatten();
    let native = native.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.containers.iter().chain(native.filter(|container| !injected_container(&container.name)))
}

/// Changes the ports of each container that runs as long as the pod does, without Postern's own.
fn each_lasting(
    pod: &mut Value,
    mut change: impl FnMut(&[Value]) -> Result<Vec<Value>, Refusal>,
) -> Result<(), Refusal> {
    for field in ["containers", "initContainers"] {
        let all = pod.pointer_mut(&format!("/spec/{field}")).and_then(Value::as_array_mut);
        for container in all.into_iter().flatten() {
            let native = container.get("restartPolicy").and_then(Value::as_str) == Some("Always");
            if injected_container(name(container)) || (field == "initContainers" && !native) {
                continue;
            }
            if let Some(Value::Array(ports)) = container.get_mut("ports") {
                *ports = change(ports)?;
            }
        }
    }
    Ok(())
}

/// Names of TCP ports; as for a Service, the first container that has the name counts.
fn ports(spec: &PodSpec) -> BTreeMap<String, u16> {
    let mut ports = BTreeMap::new();
    for port in lasting(spec).flat_map(|container| container.ports.iter().flatten()) {
        let tcp = port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
        if let (true, Some(name), Ok(number)) = (tcp, &port.name, u16::try_from(port.container_port)) {
            ports.entry(name.clone()).or_insert(number);
        }
    }
    ports
}

fn rewrite_probes(
    pod: &mut Value,
    spec: &PodSpec,
    previous: Option<&PodRecord>,
    record: &mut PodRecord,
) -> Result<(), (String, probes::ReservedPort)> {
    // Kubernetes' default is 30 s.
    let grace = spec.termination_grace_period_seconds.unwrap_or(30);
    let grace = u32::try_from(grace).unwrap_or_default();
    for typed in lasting(spec) {
        for field in ["containers", "initContainers"] {
            let all = pod.pointer_mut(&format!("/spec/{field}")).and_then(Value::as_array_mut);
            let found = all.into_iter().flatten().find(|container| name(container) == typed.name);
            if let Some(container) = found {
                probes::rewrite(container, typed, grace, previous, record)
                    .map_err(|error| (typed.name.clone(), error))?;
                break;
            }
        }
    }
    Ok(())
}

/// The object at the top of the pod, made if it is not there.
fn part<'a>(pod: &'a mut Value, key: &str) -> Result<&'a mut Map<String, Value>, Refusal> {
    pod.as_object_mut()
        .and_then(|pod| pod.entry(key).or_insert_with(|| Value::Object(Map::new())).as_object_mut())
        .ok_or_else(|| Refusal::Malformed(format!("{key} is not an object")))
}

fn annotate(pod: &mut Value, record: String) -> Result<(), Refusal> {
    let metadata = part(pod, "metadata")?;
    let mut annotations = match metadata.remove("annotations") {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    annotations.insert(layout::RECORD_ANNOTATION.to_owned(), Value::String(record));
    metadata.insert("annotations".to_owned(), Value::Object(annotations));
    Ok(())
}

/// A list below `spec`, taken out; [`put`] puts it back.
fn take(pod: &mut Value, key: &str) -> Result<Vec<Value>, Refusal> {
    match part(pod, "spec")?.remove(key) {
        Some(Value::Array(list)) => Ok(list),
        _ => Ok(Vec::new()),
    }
}

fn put(pod: &mut Value, key: &str, list: Vec<Value>) -> Result<(), Refusal> {
    part(pod, "spec")?.insert(key.to_owned(), Value::Array(list));
    Ok(())
}

fn name(object: &Value) -> &str {
    object.get("name").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests;
