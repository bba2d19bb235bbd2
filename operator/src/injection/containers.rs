//! The two injected containers.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, EnvVarSource, HTTPGetAction, ObjectFieldSelector, Probe, SeccompProfile,
    SecurityContext,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use postern_config::layout;

use super::{InjectionSpec, volumes};

/// Init container 0: closes the pod's network namespace, then ends.
///
/// It is root because only root gets a capability from the kubelet (there are no ambient ones); `NET_ADMIN` is
/// the only one it has, and it has no way to get more.
pub fn redirect(spec: &InjectionSpec) -> Container {
    Container {
        name: layout::REDIRECT_CONTAINER.to_owned(),
        args: Some(layout::redirect_args(&spec.shape.udp_ports)),
        env: Some(vec![
            field_env(layout::POD_IPS_ENV, "status.podIPs"),
            field_env(layout::HOST_IPS_ENV, "status.hostIPs"),
        ]),
        security_context: Some(SecurityContext {
            run_as_user: Some(0),
            run_as_group: Some(0),
            run_as_non_root: Some(false),
            ..restricted(Some("NET_ADMIN"))
        }),
        volume_mounts: Some(vec![volumes::no_token_mount()]),
        ..common(spec)
    }
}

/// Init container 1, a native sidecar: enforces the lock as long as the pod runs.
///
/// It has no liveness probe: a restart would cut every connection, and one that hangs is not ready already.
pub fn sidecar(spec: &InjectionSpec) -> Container {
    Container {
        name: layout::SIDECAR_CONTAINER.to_owned(),
        restart_policy: Some("Always".to_owned()),
        args: Some(sidecar_args(spec)),
        security_context: Some(SecurityContext {
            run_as_user: Some(layout::SIDECAR_UID),
            run_as_group: Some(layout::SIDECAR_UID),
            run_as_non_root: Some(true),
            ..restricted(None)
        }),
        // The containers after it start once this succeeds, so it is asked often at first.
        startup_probe: Some(probe("/startz", 1, 120)),
        readiness_probe: Some(probe("/readyz", 2, 3)),
        volume_mounts: Some(volumes::sidecar_mounts()),
        ..common(spec)
    }
}

/// Its arguments, whole and literal.
pub fn sidecar_args(spec: &InjectionSpec) -> Vec<String> {
    let mut args = layout::sidecar_args(&spec.namespace, &spec.trust, &spec.verify_keys);
    if spec.shape.listens() {
        args.push(layout::LISTENER_ARGUMENT.to_owned());
    }
    args
}

fn common(spec: &InjectionSpec) -> Container {
    Container {
        image: Some(spec.image.clone()),
        image_pull_policy: spec.pull_policy.clone(),
        resources: Some(spec.resources.clone()),
        termination_message_path: Some(layout::TERMINATION_MESSAGE_PATH.to_owned()),
        // The last lines of the log become the container's message: the reason of a failed start is in
        // `kubectl describe`.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

/// The *restricted* Pod Security Standard, but for the one capability.
fn restricted(capability: Option<&str>) -> SecurityContext {
    SecurityContext {
        privileged: Some(false),
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            add: capability.map(|name| vec![name.to_owned()]),
            drop: Some(vec!["ALL".to_owned()]),
        }),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..SecurityContext::default()
    }
}

fn field_env(name: &str, path: &str) -> EnvVar {
    let field_ref = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: path.to_owned() };
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() }),
        value: None,
    }
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(i32::from(layout::PROBE_PORT)),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(2),
        success_threshold: Some(1),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}
