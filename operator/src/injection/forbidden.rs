//! What a guarded pod must not have, because it would reach around the lock or into the sidecar (SECURITY 4
//! and 8). The admission policy refuses the same; the webhook says so first and in more words. A lock that says
//! `trustedWorkload: true` lets in what gives a container power over the pod or the node: its authors are believed
//! not to use it against the lock. The sidecar's own user, volumes and Secret are nobody else's even then.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec, Volume};
use postern_config::layout;

use super::{injected_container, injected_volume, reserved};

/// Capabilities with which a container could change the pod's firewall, read its packets, or reach into the
/// sidecar or the node. As the container runtime does, compare without regard to case and a `CAP_` in front.
pub const CAPABILITIES: [&str; 11] = [
    "ALL",
    "BPF",
    "CHECKPOINT_RESTORE",
    "DAC_READ_SEARCH",
    "NET_ADMIN",
    "NET_RAW",
    "PERFMON",
    "SYS_ADMIN",
    "SYS_MODULE",
    "SYS_PTRACE",
    "SYS_RAWIO",
];

/// Annotation by which a kubelet marks the mirror of a static pod.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// The other remedy for what a trusted workload may have.
const UNLESS_TRUSTED: &str = ", or let the lock say trustedWorkload: true";

/// Why a pod can't be guarded; each says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// `hostNetwork`.
    #[error("the pod sets {0}, with which it cannot be guarded: leave it out")]
    Shares(&'static str),
    /// `hostPID` or `shareProcessNamespace`.
    #[error(
        "the pod sets {0}, by which its containers reach the sidecar's process: leave it out{UNLESS_TRUSTED}"
    )]
    SharesProcesses(&'static str),
    /// A Windows pod.
    #[error("the pod is for Windows, which Postern cannot guard: choose pods for Linux in podSelector")]
    Windows,
    /// The mirror of a kubelet's static pod.
    #[error("a static pod cannot be guarded, since its kubelet starts it without admission")]
    Mirror,
    /// A container as privileged as the node.
    #[error(
        "container {0} is privileged and could remove the lock: leave securityContext.privileged out{UNLESS_TRUSTED}"
    )]
    Privileged(String),
    /// A capability of [`CAPABILITIES`].
    #[error(
        "container {container} adds the capability {capability} and could remove the lock: leave it out{UNLESS_TRUSTED}"
    )]
    Capability {
        /// The container.
        container: String,
        /// The capability as written.
        capability: String,
    },
    /// The sidecar's user id.
    #[error("{0} runs as user 15100, which is Postern's own: choose another runAsUser")]
    User(String),
    /// A name that begins with `postern-`.
    #[error("the {kind} name {name} begins with postern-, which is kept for Postern: choose another name")]
    ReservedName {
        /// `container` or `volume`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A mount of one of Postern's volumes.
    #[error("container {container} mounts the volume {volume}, which is Postern's own: leave the mount out")]
    Mount {
        /// The container.
        container: String,
        /// The volume.
        volume: String,
    },
    /// An ephemeral container in the namespaces of one of Postern's.
    #[error("the ephemeral container {container} targets {target}, which is Postern's own: delete the pod")]
    Target {
        /// The ephemeral container.
        container: String,
        /// What it targets.
        target: String,
    },
    /// The lock's Secret, by another way than the injected volume.
    #[error("{reader} reads the Secret {secret}, which is the sidecar's alone: leave it out")]
    LockSecret {
        /// The container or volume.
        reader: String,
        /// The Secret.
        secret: String,
    },
    /// More named ports than the sidecar can stand for.
    #[error(
        "its containers name more than {} ports, for which interception: Listener has no room: name only those that \
         Services go by",
        layout::LISTENER_PORTS
    )]
    TooManyPorts,
    /// A container port that is the sidecar's.
    #[error("container {container} declares port {port}, which is Postern's own: choose another port")]
    Port {
        /// The container.
        container: String,
        /// The port.
        port: i32,
    },
}

/// The first thing in `pod` that rules a lock out. What injection overwrites is not looked at.
///
/// `trusted`: whether the lock says `trustedWorkload: true`.
///
/// # Errors
/// That thing.
pub fn check(pod: &Pod, trust: &str, trusted: bool) -> Result<(), Forbidden> {
    let annotations = pod.metadata.annotations.as_ref();
    if annotations.is_some_and(|all| all.contains_key(MIRROR_ANNOTATION)) {
        return Err(Forbidden::Mirror);
    }
    let Some(spec) = &pod.spec else { return Ok(()) };
    if spec.host_network == Some(true) {
        return Err(Forbidden::Shares("hostNetwork"));
    }
    for (set, field) in [(spec.host_pid, "hostPID"), (spec.share_process_namespace, "shareProcessNamespace")]
    {
        if set == Some(true) && !trusted {
            return Err(Forbidden::SharesProcesses(field));
        }
    }
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return Err(Forbidden::Windows);
    }
    let user = spec.security_context.as_ref().and_then(|context| context.run_as_user);
    if user == Some(layout::SIDECAR_UID) {
        return Err(Forbidden::User("the pod".to_owned()));
    }
    let secret = layout::secret_name(trust);
    for volume in spec.volumes.iter().flatten() {
        check_volume(volume, &secret)?;
    }
    if let Some(targeting) = spec.ephemeral_containers.iter().flatten().find_map(target) {
        return Err(targeting);
    }
    application_containers(spec).try_for_each(|container| check_container(&container, &secret, trusted))
}

/// As [`check`], for a pod that an earlier release injected: the init containers and volumes whose names are kept for
/// Postern are that release's own.
///
/// # Errors
/// The first thing that rules a lock out.
pub fn check_released(pod: &Pod, trust: &str, trusted: bool) -> Result<(), Forbidden> {
    let mut pod = pod.clone();
    if let Some(spec) = &mut pod.spec {
        spec.init_containers.iter_mut().for_each(|all| all.retain(|one| !reserved(&one.name)));
        spec.volumes.iter_mut().for_each(|all| all.retain(|one| !reserved(&one.name)));
    }
    check(&pod, trust, trusted)
}

/// All containers but the two that injection overwrites; ephemeral ones too, which only a pod that runs has.
fn application_containers(spec: &PodSpec) -> impl Iterator<Item = Cow<'_, Container>> {
    let init = spec.init_containers.iter().flatten().filter(|container| !injected_container(&container.name));
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| Cow::Owned(plain(container)));
    spec.containers.iter().chain(init).map(Cow::Borrowed).chain(ephemeral)
}

/// What is judged of an ephemeral container.
fn plain(container: &EphemeralContainer) -> Container {
    Container {
        name: container.name.clone(),
        env: container.env.clone(),
        env_from: container.env_from.clone(),
        security_context: container.security_context.clone(),
        volume_mounts: container.volume_mounts.clone(),
        ..Container::default()
    }
}

fn target(container: &EphemeralContainer) -> Option<Forbidden> {
    let target = container.target_container_name.clone().filter(|target| reserved(target))?;
    Some(Forbidden::Target { container: container.name.clone(), target })
}

fn check_volume(volume: &Volume, secret: &str) -> Result<(), Forbidden> {
    if injected_volume(&volume.name) {
        return Ok(());
    }
    if reserved(&volume.name) {
        return Err(Forbidden::ReservedName { kind: "volume", name: volume.name.clone() });
    }
    let direct = volume.secret.as_ref().and_then(|source| source.secret_name.as_deref());
    let projected = volume.projected.iter().flat_map(|source| source.sources.iter().flatten());
    let mut names = projected.filter_map(|source| source.secret.as_ref()).map(|source| source.name.as_str());
    if direct == Some(secret) || names.any(|name| name == secret) {
        let reader = format!("volume {}", volume.name);
        return Err(Forbidden::LockSecret { reader, secret: secret.to_owned() });
    }
    Ok(())
}

fn check_container(container: &Container, secret: &str, trusted: bool) -> Result<(), Forbidden> {
    let name = || container.name.clone();
    if reserved(&container.name) {
        return Err(Forbidden::ReservedName { kind: "container", name: name() });
    }
    if let Some(context) = &container.security_context {
        if context.privileged == Some(true) && !trusted {
            return Err(Forbidden::Privileged(name()));
        }
        if context.run_as_user == Some(layout::SIDECAR_UID) {
            return Err(Forbidden::User(format!("container {}", container.name)));
        }
        let added = context.capabilities.as_ref().and_then(|all| all.add.as_deref()).unwrap_or_default();
        if let Some(capability) = added.iter().find(|one| !trusted && dangerous(one)) {
            return Err(Forbidden::Capability { container: name(), capability: capability.clone() });
        }
    }
    if let Some(mount) = container.volume_mounts.iter().flatten().find(|mount| reserved(&mount.name)) {
        return Err(Forbidden::Mount { container: name(), volume: mount.name.clone() });
    }
    if reads_secret(container, secret) {
        let reader = format!("container {}", container.name);
        return Err(Forbidden::LockSecret { reader, secret: secret.to_owned() });
    }
    let own = |port: i32| u16::try_from(port).is_ok_and(|port| layout::OWN_PORTS.contains(&port));
    match container.ports.iter().flatten().find(|port| own(port.container_port)) {
        Some(port) => Err(Forbidden::Port { container: name(), port: port.container_port }),
        None => Ok(()),
    }
}

/// Refuses ports that the sidecar listens on with `interception: Listener`, in a pod whose names were not moved yet.
///
/// # Errors
/// The first of them.
pub fn check_listener_ports(spec: &PodSpec) -> Result<(), Forbidden> {
    let listener = |port: i32| u16::try_from(port).is_ok_and(layout::is_listener_port);
    for container in application_containers(spec) {
        if let Some(port) = container.ports.iter().flatten().find(|port| listener(port.container_port)) {
            return Err(Forbidden::Port { container: container.name.clone(), port: port.container_port });
        }
    }
    Ok(())
}

fn dangerous(capability: &str) -> bool {
    let upper = capability.to_uppercase();
    CAPABILITIES.contains(&upper.strip_prefix("CAP_").unwrap_or(&upper))
}

fn reads_secret(container: &Container, secret: &str) -> bool {
    let from = container.env_from.iter().flatten().filter_map(|source| source.secret_ref.as_ref());
    let values = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
    let keys = values.filter_map(|source| source.secret_key_ref.as_ref());
    from.map(|source| &source.name).chain(keys.map(|source| &source.name)).any(|name| name == secret)
}
