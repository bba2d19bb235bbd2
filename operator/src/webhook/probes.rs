//! The application's probes, led through the sidecar: the kubelet calls a path on the probe port, the sidecar
//! does what the probe declared.
//!
//! `exec` probes run inside the container and stay. So do probes with a `host`: they leave from the node to
//! another place than the pod, and the redirect never sees them.

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe as KubeletProbe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use postern_config::layout;
use postern_config::policy::PortRef;
use postern_config::record::{PodRecord, Probe, ProbeAction, ProbeKind};
use serde_json::{Value, json};

/// A probe that calls a port of Postern's own without a record of what it stood for; the name of its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedPort(pub &'static str);

/// What becomes of one probe.
#[derive(Debug, PartialEq)]
enum Fate {
    /// It does not go through the redirect.
    Stays,
    /// It goes through the sidecar from now on.
    Moves(ProbeAction),
    /// It went through the sidecar already, for this.
    Moved(ProbeAction),
}

/// Rewrites the probes of one container in place and adds them to `record`.
///
/// * `typed`: the container, as `container` reads.
/// * `previous`: the record of an earlier run for this very pod, verified. `record.token` is its token.
///
/// # Errors
/// If a probe calls a port of Postern's own and `previous` doesn't tell what it stood for.
pub fn rewrite(
    container: &mut Value,
    typed: &Container,
    previous: Option<&PodRecord>,
    record: &mut PodRecord,
) -> Result<(), ReservedPort> {
    for (field, kind, probe) in [
        ("livenessProbe", ProbeKind::Liveness, &typed.liveness_probe),
        ("readinessProbe", ProbeKind::Readiness, &typed.readiness_probe),
        ("startupProbe", ProbeKind::Startup, &typed.startup_probe),
    ] {
        let Some(probe) = probe else { continue };
        let fate = judge(typed, kind, probe, previous, record).ok_or(ReservedPort(field))?;
        let path = record.probe_path(&typed.name, kind);
        if let Fate::Moves(_) = fate
            && let Some(handler) = container.get_mut(field).and_then(Value::as_object_mut)
        {
            handler.retain(|key, _| !["httpGet", "tcpSocket", "grpc"].contains(&key.as_str()));
            let ours = json!({"path": path, "port": layout::PROBE_PORT, "scheme": "HTTP"});
            handler.insert("httpGet".to_owned(), ours);
        }
        if let Fate::Moves(action) | Fate::Moved(action) = fate {
            let timeout_seconds =
                probe.timeout_seconds.and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1);
            record.probes.push(Probe { container: typed.name.clone(), kind, action, timeout_seconds });
        }
    }
    Ok(())
}

/// `None`: a port of Postern's own, for reasons unknown.
fn judge(
    container: &Container,
    kind: ProbeKind,
    probe: &KubeletProbe,
    previous: Option<&PodRecord>,
    record: &PodRecord,
) -> Option<Fate> {
    let (port, host, action) = if let Some(get) = &probe.http_get {
        (get.port.clone(), &get.host, http_get(container, get, record))
    } else if let Some(socket) = &probe.tcp_socket {
        let port = port_ref(container, &socket.port, record);
        (socket.port.clone(), &socket.host, port.map(|port| ProbeAction::TCPSocket { port, host: None }))
    } else if let Some(grpc) = &probe.grpc {
        let service = grpc.service.clone().filter(|service| !service.is_empty());
        let action = u16::try_from(grpc.port).ok().map(|port| ProbeAction::GRPC { port, service });
        (IntOrString::Int(grpc.port), &None, action)
    } else {
        return Some(Fate::Stays);
    };
    if host.as_ref().is_some_and(|host| !host.is_empty()) {
        return Some(Fate::Stays);
    }
    if own_port(&port) {
        let ours = IntOrString::Int(i32::from(layout::PROBE_PORT));
        let path = probe.http_get.as_ref().filter(|get| get.port == ours).and_then(|get| get.path.as_deref());
        let known =
            previous.filter(|record| path == Some(record.probe_path(&container.name, kind).as_str()))?;
        let same = |entry: &&Probe| entry.container == container.name && entry.kind == kind;
        return known.probes.iter().find(same).map(|entry| Fate::Moved(entry.action.clone()));
    }
    // A name that the container doesn't declare: the kubelet finds no port and says so, as it did before.
    Some(action.map_or(Fate::Stays, Fate::Moves))
}

fn http_get(container: &Container, get: &HTTPGetAction, record: &PodRecord) -> Option<ProbeAction> {
    let path = get.path.as_deref().unwrap_or_default();
    let headers = get.http_headers.iter().flatten();
    Some(ProbeAction::HTTPGet {
        path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
        port: port_ref(container, &get.port, record)?,
        https: get.scheme.as_deref() == Some("HTTPS"),
        headers: headers.map(|header| (header.name.clone(), header.value.clone())).collect(),
        host: None,
    })
}

/// The kubelet looks a name up in the container's own ports. Where another container gives the same name to
/// another number, and the record holds that, the number stands.
fn port_ref(container: &Container, port: &IntOrString, record: &PodRecord) -> Option<PortRef> {
    let name = match port {
        IntOrString::Int(number) => return u16::try_from(*number).ok().map(PortRef::Number),
        IntOrString::String(name) => name,
    };
    let declared = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name))?;
    let number = u16::try_from(declared.container_port).ok()?;
    let unambiguous = record.ports.get(name) == Some(&number);
    Some(if unambiguous { PortRef::Name(name.clone()) } else { PortRef::Number(number) })
}

fn own_port(port: &IntOrString) -> bool {
    let IntOrString::Int(number) = port else { return false };
    u16::try_from(*number).is_ok_and(|number| layout::OWN_PORTS.contains(&number))
}
