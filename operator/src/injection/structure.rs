//! Whether a pod is guarded, judged by its structure: position, image, arguments, user, volumes, environment.
//! Annotations and labels say nothing here. The admission policy asks the same (`render::admission`).

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use postern_config::layout;

use super::shape::Shape;
use super::{InjectionSpec, injected_container};

/// What is accepted beyond the literals of [`super::containers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The sidecar's image that is injected now.
    pub current_image: String,
    /// The one before, which pods that run may still have.
    pub previous_image: Option<String>,
    /// As [`InjectionSpec::verify_keys`].
    pub verify_keys: Vec<String>,
}

/// A guarded pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// The `BackendTrust` of the pod's namespace that it is injected for.
    pub trust: String,
    /// Whether it runs the image that is injected now.
    pub current_image: bool,
    /// How it was injected.
    pub shape: Shape,
}

/// Why a pod counts as not guarded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// The two containers are not there, or not in front.
    #[error("its first init containers are not postern-redirect and postern-sidecar: it was not injected")]
    NotInjected,
    /// Their image is neither of the accepted ones.
    #[error(
        "{container} runs the image {image:?}, which is not Postern's (or older than the previous release)"
    )]
    Image {
        /// The container.
        container: &'static str,
        /// Its image.
        image: String,
    },
    /// A part differs from what is injected.
    #[error("{container} is not as injected: its {field} differs")]
    Container {
        /// The container.
        container: &'static str,
        /// The field, as in YAML.
        field: &'static str,
    },
    /// A volume of the two differs from what is injected, or is missing.
    #[error("the volume {0} is not as injected")]
    Volume(String),
    /// A named port leads past the sidecar.
    #[error("a port's name leads to the application instead of postern-sidecar")]
    Names,
    /// The pod shares its node's network.
    #[error("the pod sets hostNetwork")]
    HostNetwork,
}

impl Accepted {
    /// The lock that guards `pod`, by structure.
    ///
    /// # Errors
    /// The first difference from an injected pod.
    pub fn guarded_by(&self, pod: &Pod) -> Result<Guarded, Defect> {
        let spec = pod.spec.as_ref().ok_or(Defect::NotInjected)?;
        let init = spec.init_containers.as_deref().unwrap_or_default();
        let (redirect, sidecar, others) = leading(init).ok_or(Defect::NotInjected)?;
        if others.iter().any(|other| injected_container(&other.name)) {
            return Err(Defect::NotInjected);
        }
        if spec.host_network == Some(true) {
            return Err(Defect::HostNetwork);
        }

        let args = sidecar.args.as_deref().unwrap_or_default();
        let trust = args.iter().find_map(|arg| arg.strip_prefix("--trust=")).unwrap_or_default().to_owned();
        let expected = InjectionSpec {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            trust: trust.clone(),
            verify_keys: self.verify_keys.clone(),
            image: String::new(),
            pull_policy: None,
            resources: ResourceRequirements::default(),
            shape: Shape::worn(redirect),
        };
        let mut current_image = true;
        let own = redirect.into_iter().chain([sidecar]);
        for (name, container) in own.clone().map(|container| (injected_name(container), container)) {
            current_image &= self.image_is_current(name, container)?;
        }
        for (container, expected) in own.zip(&expected.containers()) {
            compare(injected_name(container), container, expected)?;
        }
        if expected.shape.listens() && !names_lead_to_sidecar(spec) {
            return Err(Defect::Names);
        }
        for expected in expected.volumes() {
            if !spec.volumes.iter().flatten().any(|volume| *volume == expected) {
                return Err(Defect::Volume(expected.name));
            }
        }
        Ok(Guarded { trust, current_image, shape: expected.shape })
    }

    /// The lock that guards a pod which an earlier release injected: the two containers are in front, both with one of
    /// that release's images, and the sidecar has a lock. What else is in them only that release knows, whose admission
    /// policy looked at it. `None` if the pod is not of such a release.
    pub fn released(&self, pod: &Pod, older: &[String]) -> Option<Guarded> {
        let (redirect, sidecar, others) = leading(pod.spec.as_ref()?.init_containers.as_deref()?)?;
        let of_release = |container: &Container| {
            container.image.as_ref().is_some_and(|image| {
                *image != self.current_image
                    && (self.previous_image.as_ref() == Some(image) || older.contains(image))
            })
        };
        let in_front = !others.iter().any(|other| injected_container(&other.name));
        if !in_front
            || !of_release(sidecar)
            || redirect.is_some_and(|redirect| redirect.image != sidecar.image)
        {
            return None;
        }
        let mut args = sidecar.args.iter().flatten();
        let trust = args.find_map(|arg| arg.strip_prefix("--trust=")).filter(|trust| !trust.is_empty())?;
        Some(Guarded { trust: trust.to_owned(), current_image: false, shape: Shape::worn(redirect) })
    }

    /// As [`Self::guarded_by`] for one container alone: whether `actual` is `expected`, image included, but for
    /// what may differ ([`compare`]).
    pub(crate) fn unchanged(actual: &Container, expected: &Container) -> bool {
        actual.name == expected.name
            && actual.image == expected.image
            && compare("", actual, expected).is_ok()
    }

    fn image_is_current(&self, name: &'static str, container: &Container) -> Result<bool, Defect> {
        let image = container.image.as_deref().unwrap_or_default();
        if image == self.current_image {
            Ok(true)
        } else if Some(image) == self.previous_image.as_deref() {
            Ok(false)
        } else {
            Err(Defect::Image { container: name, image: image.to_owned() })
        }
    }
}

/// The injected containers in front, the redirect if there is one, and the others.
fn leading(init: &[Container]) -> Option<(Option<&Container>, &Container, &[Container])> {
    match init {
        [redirect, sidecar, others @ ..]
            if redirect.name == layout::REDIRECT_CONTAINER && sidecar.name == layout::SIDECAR_CONTAINER =>
        {
            Some((Some(redirect), sidecar, others))
        }
        [sidecar, others @ ..] if sidecar.name == layout::SIDECAR_CONTAINER => Some((None, sidecar, others)),
        _ => None,
    }
}

fn injected_name(container: &Container) -> &'static str {
    if container.name == layout::REDIRECT_CONTAINER {
        layout::REDIRECT_CONTAINER
    } else {
        layout::SIDECAR_CONTAINER
    }
}

/// Whether no name of a TCP port leads past the sidecar.
fn names_lead_to_sidecar(spec: &PodSpec) -> bool {
    let native = spec.init_containers.iter().flatten();
    let native = native.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.containers.iter().chain(native).flat_map(|container| container.ports.iter().flatten()).all(|port| {
        port.name.as_deref().is_none_or(str::is_empty)
            || port.protocol.as_deref().is_some_and(|protocol| protocol != "TCP")
            || u16::try_from(port.container_port).is_ok_and(layout::is_listener_port)
    })
}

/// Everything but the image (judged apart), resources and pull policy (quotas and other admission controllers
/// may change them, and neither opens anything), and the resize policy, which the API server fills in.
fn compare(name: &'static str, actual: &Container, expected: &Container) -> Result<(), Defect> {
    let differs = |field| Err(Defect::Container { container: name, field });
    macro_rules! equal {
        ($($field:ident as $name:literal),* $(,)?) => {$(
            if actual.$field != expected.$field { return differs($name); }
        )*};
    }
    equal!(
        args as "args",
        command as "command",
        env as "env",
        env_from as "envFrom",
        lifecycle as "lifecycle",
        liveness_probe as "livenessProbe",
        ports as "ports",
        readiness_probe as "readinessProbe",
        restart_policy as "restartPolicy",
        security_context as "securityContext",
        startup_probe as "startupProbe",
        stdin as "stdin",
        stdin_once as "stdinOnce",
        termination_message_path as "terminationMessagePath",
        termination_message_policy as "terminationMessagePolicy",
        tty as "tty",
        volume_devices as "volumeDevices",
        volume_mounts as "volumeMounts",
        working_dir as "workingDir",
    );
    Ok(())
}
