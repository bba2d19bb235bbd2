//! The application's probes and HTTP lifecycle hooks, led through the sidecar: the kubelet calls a path on the
//! probe port, the sidecar does what the probe or hook declared.
//!
//! `exec` runs inside the container and stays; `sleep` too. So does what names a `host`: it leaves from the node to
//! another place than the pod, and the redirect never sees it. So does a hook by `tcpSocket`, which the kubelet
//! refuses to run.

use k8s_openapi::api::core::v1::{
    Container, GRPCAction, HTTPGetAction, LifecycleHandler, Probe as KubeletProbe, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use postern_config::layout;
use postern_config::policy::PortRef;
use postern_config::record::{POST_START_LIMIT, PodRecord, Probe, ProbeAction, ProbeKind};
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

/// A probe or hook, as far as it leaves the kubelet.
#[derive(Clone, Copy, Default)]
struct Handler<'a> {
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
}

impl<'a> Handler<'a> {
    fn of_probe(probe: &'a KubeletProbe) -> Self {
        Self {
            http_get: probe.http_get.as_ref(),
            tcp_socket: probe.tcp_socket.as_ref(),
            grpc: probe.grpc.as_ref(),
        }
    }

    fn of_hook(hook: &'a LifecycleHandler) -> Self {
        Self { http_get: hook.http_get.as_ref(), ..Self::default() }
    }
}

/// One probe or hook of a container.
struct Declared<'a> {
    /// Its field, for messages.
    field: &'static str,
    /// Where it lies in the container, as a JSON pointer.
    pointer: &'static str,
    kind: ProbeKind,
    handler: Handler<'a>,
    timeout_seconds: u32,
}

/// `grace`: the pod's `terminationGracePeriodSeconds`.
fn declared(container: &Container, grace: u32) -> impl Iterator<Item = Declared<'_>> {
    let probes = [
        ("livenessProbe", "/livenessProbe", ProbeKind::Liveness, &container.liveness_probe),
        ("readinessProbe", "/readinessProbe", ProbeKind::Readiness, &container.readiness_probe),
        ("startupProbe", "/startupProbe", ProbeKind::Startup, &container.startup_probe),
    ];
    let probes = probes.into_iter().filter_map(|(field, pointer, kind, probe)| {
        let probe = probe.as_ref()?;
        let timeout_seconds = probe.timeout_seconds.and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1);
        Some(Declared { field, pointer, kind, handler: Handler::of_probe(probe), timeout_seconds })
    });
    let lifecycle = container.lifecycle.as_ref();
    let hooks = [
        (
            "postStart hook",
            "/lifecycle/postStart",
            ProbeKind::PostStart,
            lifecycle.and_then(|hooks| hooks.post_start.as_ref()),
            POST_START_LIMIT,
        ),
        (
            "preStop hook",
            "/lifecycle/preStop",
            ProbeKind::PreStop,
            lifecycle.and_then(|hooks| hooks.pre_stop.as_ref()),
            grace.max(1),
        ),
    ];
    probes.chain(hooks.into_iter().filter_map(|(field, pointer, kind, hook, timeout_seconds)| {
        let handler = Handler::of_hook(hook?);
        Some(Declared { field, pointer, kind, handler, timeout_seconds })
    }))
}

/// Rewrites the probes and hooks of one container in place and adds them to `record`.
///
/// * `typed`: the container, as `container` reads.
/// * `grace`: the pod's `terminationGracePeriodSeconds`, which a `preStop` hook may take.
/// * `previous`: the record of an earlier run for this very pod, verified. `record.token` is its token.
///
/// # Errors
/// If a probe or hook calls a port of Postern's own and `previous` doesn't tell what it stood for.
pub fn rewrite(
    container: &mut Value,
    typed: &Container,
    grace: u32,
    previous: Option<&PodRecord>,
    record: &mut PodRecord,
) -> Result<(), ReservedPort> {
    for Declared { field, pointer, kind, handler, timeout_seconds } in declared(typed, grace) {
        let fate = judge(typed, kind, handler, previous, record).ok_or(ReservedPort(field))?;
        let path = record.probe_path(&typed.name, kind);
        if let Fate::Moves(_) = fate
            && let Some(written) = container.pointer_mut(pointer).and_then(Value::as_object_mut)
        {
            written.retain(|key, _| !["httpGet", "tcpSocket", "grpc"].contains(&key.as_str()));
            let ours = json!({"path": path, "port": layout::PROBE_PORT, "scheme": "HTTP"});
            written.insert("httpGet".to_owned(), ours);
        }
        if let Fate::Moves(action) | Fate::Moved(action) = fate {
            record.probes.push(Probe { container: typed.name.clone(), kind, action, timeout_seconds });
        }
    }
    Ok(())
}

/// `None`: a port of Postern's own, for reasons unknown.
fn judge(
    container: &Container,
    kind: ProbeKind,
    handler: Handler<'_>,
    previous: Option<&PodRecord>,
    record: &PodRecord,
) -> Option<Fate> {
    let (port, host, action) = if let Some(get) = handler.http_get {
        (get.port.clone(), &get.host, http_get(container, get, record))
    } else if let Some(socket) = handler.tcp_socket {
        let port = port_ref(container, &socket.port, record);
        (socket.port.clone(), &socket.host, port.map(|port| ProbeAction::TCPSocket { port, host: None }))
    } else if let Some(grpc) = handler.grpc {
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
        let path = handler.http_get.filter(|get| get.port == ours).and_then(|get| get.path.as_deref());
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
