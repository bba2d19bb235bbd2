//! Pods and namespaces as the few fields that Postern uses: a cluster has many of them.

use std::borrow::Cow;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Namespace, Pod};
use kube::core::PartialObjectMeta;
use kube::{Resource, ResourceExt};
use postern_config::layout;

use crate::inputs::{ContainerPort, Injection, LockKey, Owner, Phase, PodFacts, Transport};
use crate::rollout::RESTARTED_ANNOTATION;

/// Annotation by which a kubelet marks the mirror of a static pod.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// A namespace's name and labels.
pub type LeanNamespace = PartialObjectMeta<Namespace>;

/// A pod, as far as locks are concerned. What its structure says about injection is judged once, when it is
/// seen, so that the structure need not be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct LeanPod {
    /// Its namespace.
    pub namespace: String,
    /// Its `metadata.resourceVersion`.
    pub version: Option<String>,
    /// The Secrets that it mounts.
    pub secrets: Vec<String>,
    /// How often its sidecar has been started again: each time it has to load its configuration anew.
    pub sidecar_restarts: i32,
    facts: PodFacts,
}

impl LeanPod {
    /// The used part of `pod`, which is injected or not as `injection` says.
    pub fn new(pod: &Pod, injection: Injection) -> Self {
        let spec = pod.spec.as_ref();
        let volumes = spec.and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
        Self {
            namespace: pod.namespace().unwrap_or_default(),
            version: pod.resource_version(),
            secrets: volumes
                .iter()
                .filter_map(|volume| volume.secret.as_ref()?.secret_name.clone())
                .collect(),
            sidecar_restarts: sidecar(pod).map_or(0, |sidecar| sidecar.restart_count),
            facts: facts(pod, injection),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.facts.name
    }

    /// Its facts for one lock, as far as the pod itself tells them.
    pub fn facts(&self, key: &LockKey) -> PodFacts {
        let secret = layout::secret_name(&key.name);
        PodFacts { mounts_lock_secret: self.secrets.contains(&secret), ..self.facts.clone() }
    }

    /// What it says of itself, whichever the lock.
    pub const fn common(&self) -> &PodFacts {
        &self.facts
    }

    /// All by which a lock's picture of this pod changes. The hash that the operator itself announces does not
    /// count, or each announcement would wake its sender.
    pub fn matters(&self) -> Self {
        let facts = PodFacts { config_annotation: None, ..self.facts.clone() };
        Self { version: None, facts, ..self.clone() }
    }
}

impl kube::runtime::reflector::Lookup for LeanPod {
    type DynamicType = ();

    fn kind((): &()) -> Cow<'_, str> {
        <Pod as Resource>::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        <Pod as Resource>::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        <Pod as Resource>::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        <Pod as Resource>::plural(&())
    }

    fn name(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.facts.name))
    }

    fn namespace(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.namespace))
    }

    fn resource_version(&self) -> Option<Cow<'_, str>> {
        self.version.as_deref().map(Cow::Borrowed)
    }

    fn uid(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.facts.uid))
    }
}

/// How the sidecar is, as its kubelet says.
fn sidecar(pod: &Pod) -> Option<&ContainerStatus> {
    let all = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    all.iter().find(|one| one.name == layout::SIDECAR_CONTAINER)
}

/// What the redirect container found of others' redirects, by its termination message. Whoever names a table, or
/// writes the pod's status, shapes it, so it is kept short and plain.
fn foreign_redirect(pod: &Pod) -> Option<String> {
    let all = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    let redirect = all.iter().find(|one| one.name == layout::REDIRECT_CONTAINER)?;
    let message = redirect.state.as_ref()?.terminated.as_ref()?.message.as_deref()?;
    let found = message.strip_prefix(layout::FOREIGN_REDIRECT_MESSAGE)?;
    let plain = |letter: char| if matches!(letter, ' '..='~') { letter } else { '?' };
    Some(found.chars().map(plain).take(PodFacts::FOREIGN_REDIRECT).collect())
}

fn facts(pod: &Pod, injection: Injection) -> PodFacts {
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let annotation = |key: &str| pod.annotations().get(key).cloned();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ips = status.and_then(|status| status.pod_ips.as_deref()).unwrap_or_default();
    PodFacts {
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        created: pod.creation_timestamp().map_or(Timestamp::MIN, |time| time.0),
        deleting: pod.meta().deletion_timestamp.is_some(),
        labels: pod.labels().clone(),
        owner: pod.owner_references().iter().find(|owner| owner.controller == Some(true)).map(|owner| {
            Owner {
                api_version: owner.api_version.clone(),
                kind: owner.kind.clone(),
                name: owner.name.clone(),
            }
        }),
        phase: match status.and_then(|status| status.phase.as_deref()) {
            Some("Running") => Phase::Running,
            Some("Succeeded") => Phase::Succeeded,
            Some("Failed") => Phase::Failed,
            Some("Unknown") => Phase::Unknown,
            _ => Phase::Pending,
        },
        ready: conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        sidecar_started: sidecar(pod).and_then(|sidecar| sidecar.started) == Some(true),
        ips: ips.iter().filter_map(|ip| ip.ip.parse::<IpAddr>().ok()).collect(),
        ports: ports(pod, &injection),
        mounts_lock_secret: false,
        host_network: spec.and_then(|spec| spec.host_network) == Some(true),
        mirror: annotation(MIRROR_ANNOTATION).is_some(),
        windows: spec.and_then(|spec| spec.os.as_ref()).is_some_and(|os| os.name == "windows"),
        config_annotation: annotation(layout::CONFIG_ANNOTATION),
        restarted: annotation(RESTARTED_ANNOTATION).and_then(|at| at.parse().ok()),
        foreign_redirect: foreign_redirect(pod),
        loaded: None,
        exposed: None,
        injection,
    }
}

/// Ports of the containers that run as long as the pod does, Postern's own excepted.
fn ports(pod: &Pod, injection: &Injection) -> Vec<ContainerPort> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let sidecars =
        spec.init_containers.iter().flatten().filter(|one| one.restart_policy.as_deref() == Some("Always"));
    let listens = matches!(injection, Injection::For { shape, .. } if shape.listens());
    spec.containers
        .iter()
        .chain(sidecars)
        .filter(|container| !container.name.starts_with(layout::RESERVED_PREFIX))
        .flat_map(|container| {
            let ports: Vec<_> = container_ports(container).collect();
            if listens { restored(ports) } else { ports }
        })
        .collect()
}

/// As the author named them, before their names were moved to the sidecar's ports ([`crate::injection::ports`]).
fn restored(ports: Vec<ContainerPort>) -> Vec<ContainerPort> {
    let mut restored = Vec::new();
    let mut moved = None;
    for mut port in ports {
        if port.name.is_some() && port.transport == Transport::Tcp && layout::is_listener_port(port.number) {
            moved = port.name;
            continue;
        }
        if port.name.is_none() {
            port.name = moved.take();
        }
        restored.push(port);
    }
    restored
}

fn container_ports(container: &Container) -> impl Iterator<Item = ContainerPort> {
    container.ports.iter().flatten().filter_map(|port| {
        Some(ContainerPort {
            name: port.name.clone(),
            number: u16::try_from(port.container_port).ok()?,
            transport: match port.protocol.as_deref() {
                Some("UDP") => Transport::Udp,
                Some("SCTP") => Transport::Sctp,
                _ => Transport::Tcp,
            },
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(version: &str, config: &str, label: &str) -> LeanPod {
        let pod: Pod = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "orders-1", "namespace": "shop", "resourceVersion": version, "uid": "u1",
                "labels": {"app": label}, "annotations": {
                    "postern.dev/config": config, "postern.dev/restartedAt": "2026-11-21T20:00:00.25Z"},
                "creationTimestamp": "2026-11-21T20:00:00Z",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "orders-abc",
                                     "uid": "u2", "controller": true}],
            },
            "spec": {
                "initContainers": [
                    {"name": "postern-sidecar", "restartPolicy": "Always", "ports": [{"containerPort": 15100}]},
                    {"name": "migrate", "ports": [{"containerPort": 1}]},
                    {"name": "proxy", "restartPolicy": "Always", "ports": [{"containerPort": 9000}]},
                ],
                "containers": [{"name": "app", "ports": [
                    {"name": "http", "containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}]}],
                "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "secret": {"secretName": "postern-orders"}}],
            },
            "status": {
                "phase": "Running", "podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}],
                "conditions": [{"type": "Ready", "status": "True"}],
                "initContainerStatuses": [{"name": "postern-sidecar", "restartCount": 2, "started": true,
                                           "image": "", "imageID": "", "ready": true}],
            },
        }))
        .unwrap();
        LeanPod::new(&pod, Injection::No("it has no sidecar".to_owned()))
    }

    #[test]
    fn keeps_what_is_used() {
        let pod = pod("7", "sha256:1", "orders");
        let facts = pod.facts(&LockKey { namespace: "shop".to_owned(), name: "orders".to_owned() });
        assert!(facts.mounts_lock_secret);
        assert!(
            !pod.facts(&LockKey { namespace: "shop".to_owned(), name: "other".to_owned() })
                .mounts_lock_secret
        );
        assert_eq!((pod.sidecar_restarts, facts.sidecar_started), (2, true));
        assert_eq!(facts.restarted, Some("2026-11-21T20:00:00.25Z".parse().unwrap()));
        assert_eq!(facts.ips.len(), 2);
        assert!(facts.ready);
        assert_eq!(facts.owner.unwrap().kind, "ReplicaSet");
        let numbers: Vec<_> = facts.ports.iter().map(|port| (port.number, port.transport)).collect();
        assert_eq!(numbers, [(8080, Transport::Tcp), (53, Transport::Udp), (9000, Transport::Tcp)]);
    }

    #[test]
    fn what_the_redirect_container_found_is_kept_short_and_plain() {
        let found = |container: &str, message: &str| {
            let pod = serde_json::from_value(json!({
                "metadata": {"name": "orders-1"},
                "status": {"initContainerStatuses": [{
                    "name": container, "restartCount": 0, "image": "", "imageID": "", "ready": true,
                    "state": {"terminated": {"exitCode": 0, "message": message}},
                }]},
            }));
            LeanPod::new(&pod.unwrap(), Injection::No(String::new())).facts.foreign_redirect
        };
        let redirect = |message: &str| found("postern-redirect", message);
        let said = "foreign redirect: ip nat PREROUTING -100 (after Postern's)";
        assert_eq!(redirect(said).as_deref(), Some("ip nat PREROUTING -100 (after Postern's)"));
        assert_eq!(found("app", said), None);
        assert_eq!(redirect("{\"level\":\"ERROR\",\"message\":\"foreign redirect: a\"}"), None);
        assert_eq!(redirect("foreign redirect: a\nb\u{1b}\u{e9}").as_deref(), Some("a?b??"));
        let long = format!("foreign redirect: {}", "\u{e9}".repeat(1000));
        assert_eq!(redirect(&long), Some("?".repeat(PodFacts::FOREIGN_REDIRECT)));
    }

    #[test]
    fn our_own_announcement_does_not_matter_but_a_label_does() {
        let before = pod("7", "sha256:1", "orders");
        assert_eq!(before.matters(), pod("8", "sha256:2", "orders").matters());
        assert_ne!(before.matters(), pod("8", "sha256:1", "carts").matters());
    }
}
