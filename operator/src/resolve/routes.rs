//! The routes of a lock that exists, oldest first, so that of two that contradict each other the older counts.

use std::collections::BTreeSet;

use postern_config::layout;
use postern_config::policy::{ForwardedCertificate, PortRef, Protocol};
use postern_crds::api_route::{self, Verification};
use postern_crds::rollout::Stage;
use postern_crds::{ApiRoute, ConditionType, Reason, limits};

use k8s_openapi::api::core::v1::Service;

use crate::injection::shape::Shape;
use crate::inputs::Inputs;
use crate::plan::{BackendPlan, Refusal, RoutePlan};
use crate::resolve::admitted;
use crate::resolve::authorities::Authorities;
use crate::resolve::backend::{self, Target};
use crate::resolve::callers::Callers;
use crate::resolve::doors;
use crate::resolve::keys;
use crate::resolve::leaves::{Clock, Published};
use crate::resolve::names;
use crate::resolve::ports::{self, LockPorts, PodPorts, Sameness, show};
use crate::resolve::protocol::{self, Hint};
use crate::resolve::references::References;
use crate::resolve::rules;
use crate::resolve::territory::{self, Territory};
use crate::settings::Settings;

/// All that a route is judged by.
pub struct Site<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// What was gathered.
    pub inputs: &'a Inputs,
    /// [`Inputs::services`], borrowed.
    pub services: &'a [&'a Service],
    /// The lock's pods.
    pub territory: &'a Territory,
    /// Their ports.
    pub pod_ports: &'a PodPorts,
    /// `spec.ports`, judged.
    pub lock_ports: &'a LockPorts,
    /// `spec.server.names`, judged.
    pub further_names: &'a [String],
    /// The lock as a whole is refused, or its Secret can't be written: no key is handed out, and those that exist stay as
    /// they are.
    pub closed: bool,
    /// What the Secrets hold that the lock names.
    pub references: &'a References,
    /// Who vouches for callers.
    pub authorities: &'a Authorities,
    /// Callers with a name.
    pub callers: &'a Callers,
    /// For the leaves.
    pub clock: Clock<'a>,
    /// For the leaves.
    pub published: Published<'a>,
    /// How far the lock has come into force.
    pub stage: Stage,
}

/// A port that an accepted route leads to.
struct Claim {
    port: PortRef,
    protocol: Protocol,
    route: String,
}

/// Judges every route. The second value is when the clock alone changes something.
pub fn resolve(site: &Site<'_>) -> (Vec<RoutePlan>, Option<jiff::Timestamp>) {
    let mut routes: Vec<&ApiRoute> = site.inputs.routes.iter().map(AsRef::as_ref).collect();
    routes.sort_by(|a, b| territory::by_age(&a.metadata, &b.metadata));
    let mut claims = Vec::new();
    let mut again_at = None;
    let mut plans: Vec<_> =
        routes.into_iter().map(|route| plan(site, route, &mut claims, &mut again_at)).collect();
    plans.sort_by(|a, b| a.name.cmp(&b.name));
    (plans, again_at)
}

fn plan(
    site: &Site<'_>,
    route: &ApiRoute,
    claims: &mut Vec<Claim>,
    again_at: &mut Option<jiff::Timestamp>,
) -> RoutePlan {
    let (rules, mut refusals) = rules::resolve(route);
    refusals.extend(too_long("ApiRoute", name(route)));
    refusals.extend(admitted::gateways_not_accepted(site, route));
    let (backend, mut reservations) = match backend(site, route, claims) {
        Ok((backend, reservations)) => (Some(backend), reservations),
        Err(refusal) => {
            refusals.push(refusal);
            (None, Vec::new())
        }
    };
    let holds = refusals.is_empty() && !site.closed;
    let mut seen = BTreeSet::new();
    let keys: Vec<_> = route
        .spec
        .gateways
        .iter()
        .filter(|gateway| seen.insert(gateway.name.as_str()))
        .map(|gateway| keys::plan(site, route, &gateway.name, backend.as_ref().filter(|_| holds), again_at))
        .collect();
    let (callers, about_callers) = admitted::callers(site, route, backend.as_ref());
    reservations.extend(about_callers);
    let callers = if holds { callers } else { Vec::new() };
    let admits = !callers.is_empty() || keys.iter().any(|key| key.action.admits());
    if let Some(backend) = backend.as_ref().filter(|_| admits) {
        let route = name(route).to_owned();
        claims.push(Claim { port: backend.port.clone(), protocol: backend.protocol, route });
    }
    RoutePlan {
        name: name(route).to_owned(),
        uid: route.metadata.uid.clone().unwrap_or_default(),
        generation: route.metadata.generation.unwrap_or_default(),
        refusals,
        reservations,
        backend,
        backend_label: backend::label(&route.spec.backend_ref),
        hostnames: route.spec.hostnames.clone(),
        rules,
        keys,
        callers,
    }
}

/// Refuses a name that doesn't fit into the names and labels of what is written for it.
pub fn too_long(kind: &str, name: &str) -> Option<Refusal> {
    (name.len() > limits::NAME).then(|| {
        let message = format!(
            "the name of {kind} {name} has {} characters, and the names and labels of what Postern writes for it have room \
             for {}: give it a shorter one",
            name.len(),
            limits::NAME
        );
        accepted(Reason::LockNotPossible, message)
    })
}

/// Refuses a Service that leads to a port by its number where the sidecar stands for names alone.
fn past_listener(site: &Site<'_>, target: &backend::Target<'_>) -> Option<Refusal> {
    let PortRef::Number(number) = &target.port.target else { return None };
    let listens = site.inputs.trust.as_ref().is_some_and(|trust| Shape::of(trust).listens());
    listens.then(|| {
        let message = format!(
            "Service {} leads from port {} to the container port {number} by its number, past the sidecar, which with \
             interception: Listener stands for ports by their names: name the container's port, and write that name as \
             the Service's targetPort",
            target.port.service, target.port.port
        );
        Refusal::new(ConditionType::ResolvedRefs, Reason::BackendNotGuarded, message)
    })
}

/// A route's `metadata.name`.
pub fn name(route: &ApiRoute) -> &str {
    route.metadata.name.as_deref().unwrap_or_default()
}

pub(super) fn accepted(reason: Reason, message: String) -> Refusal {
    Refusal::new(ConditionType::Accepted, reason, message)
}

fn backend(
    site: &Site<'_>,
    route: &ApiRoute,
    claims: &[Claim],
) -> Result<(BackendPlan, Vec<Refusal>), Refusal> {
    let Site { settings, inputs, services, territory, pod_ports, .. } = site;
    let reference = &route.spec.backend_ref;
    let target = backend::resolve(&inputs.key, reference, services, territory, &inputs.pods, pod_ports)?;
    if let Some(refusal) = ports::reserved(&target.port.target, pod_ports) {
        return Err(refusal);
    }
    if let Some(refusal) = past_listener(site, &target) {
        return Err(refusal);
    }
    let (port, ambiguity) = canonical(site, &target, claims)?;
    let protocol = protocol(site, &target, &port, claims)?;
    let forwarded_certificate = forwarded_certificate(route);
    if let Some(what) = http_alone(route).filter(|_| !protocol.is_http()) {
        return Err(accepted(
            Reason::LockNotPossible,
            format!(
                "port {} speaks TCP, in which nobody can see {what}, or, if it speaks HTTP, say protocol: HTTP for it in \
                 ports of BackendTrust {}",
                show(&port),
                inputs.key.name
            ),
        ));
    }
    let listed = site.lock_ports.entries.iter().find(|entry| entry.port == port);
    let door = listed.and_then(|entry| entry.access.door()).unwrap_or(&site.lock_ports.default).clone();
    if let Some(refusal) =
        doors::objection(&door, &format!("port {}", show(&port)), protocol, &settings.floor)
    {
        return Err(refusal);
    }
    let certified = names::service_names(settings, &inputs.key.namespace, &reference.name);
    let (verification, server_name) = verified_name(site, route, &certified)?;
    let [_, dns_name] = certified;
    let plan = BackendPlan {
        service: reference.name.clone(),
        service_port: reference.port,
        addresses: backend::addresses(target.service),
        dns_name,
        server_name,
        verification,
        forwarded_certificate,
        container_port: pod_ports.number(&port),
        port,
        protocol,
        door,
    };
    Ok((plan, target.reservation.into_iter().chain(ambiguity).collect()))
}

/// What a route asks for that only HTTP has, with what to do about it.
fn http_alone(route: &ApiRoute) -> Option<&'static str> {
    if !route.spec.hostnames.is_empty() || !route.spec.rules.is_empty() {
        Some("host names and paths: leave hostnames and rules out")
    } else if forwarded_certificate(route) == ForwardedCertificate::Append {
        Some("headers: leave forwardedCertificate out")
    } else {
        None
    }
}

fn forwarded_certificate(route: &ApiRoute) -> ForwardedCertificate {
    match route.spec.forwarded_certificate.unwrap_or_default() {
        api_route::ForwardedCertificate::Replace => ForwardedCertificate::Replace,
        api_route::ForwardedCertificate::Append => ForwardedCertificate::Append,
    }
}

/// The name that gateways demand in the backend's certificate, and whether it is the backend's own.
fn verified_name(
    site: &Site<'_>,
    route: &ApiRoute,
    certified: &[String; 2],
) -> Result<(Verification, String), Refusal> {
    let tls = route.spec.backend_tls.as_ref();
    let verification = tls.and_then(|tls| tls.verification).unwrap_or_default();
    if verification == Verification::SkipHostname {
        return Ok((verification, layout::ANY_BACKEND.to_owned()));
    }
    let [first, _] = certified;
    let Some(wanted) = tls.and_then(|tls| tls.server_name.as_ref()) else {
        return Ok((verification, first.clone()));
    };
    if certified.iter().chain(site.further_names).any(|name| name == wanted) {
        return Ok((verification, wanted.clone()));
    }
    let message = format!(
        "the backend's certificate doesn't hold {wanted:?}, the name in backendTLS.serverName: use {first}, or add the name to \
         server.names of BackendTrust {}",
        site.inputs.key.name
    );
    Err(Refusal::new(ConditionType::ResolvedRefs, Reason::ServerNameNotCertified, message))
}

/// How the policy names the target: as `spec.ports` does if it lists the same port, else as an older route does,
/// else as the Service does. The second value objects to names that the pods don't agree on.
fn canonical(
    site: &Site<'_>,
    target: &Target<'_>,
    claims: &[Claim],
) -> Result<(PortRef, Option<Refusal>), Refusal> {
    let trust = &site.inputs.key.name;
    let wanted = &target.port.target;
    let compare = |port: &PortRef| site.pod_ports.compare(port, wanted);
    if let Some(refused) = site.lock_ports.refused.iter().find(|port| compare(port) == Sameness::Same) {
        let (what, refused) = (backend::describe(target), show(refused));
        return Err(accepted(
            Reason::PortNotFound,
            format!(
                "{what}, and the entry {refused} in ports of BackendTrust {trust} is refused, so that port is closed: see \
                 the condition Accepted of the BackendTrust"
            ),
        ));
    }
    let entries = site.lock_ports.entries.iter();
    let listed = entries.map(|entry| (&entry.port, format!("BackendTrust {trust}"), entry.access.is_open()));
    let claimed = claims.iter().map(|claim| (&claim.port, format!("ApiRoute {}", claim.route), false));
    let mut reservation = None;
    for (port, owner, open) in listed.chain(claimed) {
        match compare(port) {
            Sameness::Different => {}
            Sameness::Sometimes => {
                reservation = reservation.or_else(|| Some(ambiguous(target, &owner, port)));
            }
            Sameness::Same if open => {
                let what = backend::describe(target);
                return Err(accepted(
                    Reason::LockNotPossible,
                    format!(
                        "{what}, which {owner} opens to everybody without TLS, so a gateway needs no key for it: \
                         delete this ApiRoute, or take open off that port"
                    ),
                ));
            }
            Sameness::Same => return Ok((port.clone(), None)),
        }
    }
    Ok((wanted.clone(), reservation))
}

/// Pods that name their ports otherwise must not close the route of all the others.
fn ambiguous(target: &Target<'_>, owner: &str, port: &PortRef) -> Refusal {
    accepted(
        Reason::DuplicatePort,
        format!(
            "{}, and {owner} lists {}: these are one port in some pods and two in others; where they are one, the stricter \
             entry counts: name the port alike in both places",
            backend::describe(target),
            show(port)
        ),
    )
}

fn protocol(
    site: &Site<'_>,
    target: &Target<'_>,
    port: &PortRef,
    claims: &[Claim],
) -> Result<Protocol, Refusal> {
    let trust = &site.inputs.key.name;
    let listed = site.lock_ports.entries.iter().find(|entry| entry.port == *port);
    if let Some(protocol) = listed.and_then(|entry| entry.protocol) {
        return Ok(protocol);
    }
    let container_name = match &target.port.target {
        PortRef::Name(name) => Some(name.as_str()),
        PortRef::Number(_) => None,
    };
    let hint = match protocol::hint(target.port.app_protocol, target.port.name) {
        Hint::None => protocol::hint(None, container_name),
        hint => hint,
    };
    let older = claims.iter().find(|claim| claim.port == *port);
    match (hint, older) {
        (Hint::Unsupported(what), _) => Err(accepted(
            Reason::LockNotPossible,
            format!(
                "by its name or appProtocol, port {} of Service {} speaks {what}: list container port {} in ports of \
                 BackendTrust {trust}, with protocol: TCP to pass its bytes as they are, or protocol: HTTPS if it \
                 speaks HTTP inside",
                target.port.port,
                target.port.service,
                show(port)
            ),
        )),
        (Hint::Protocol(protocol), Some(older)) if protocol != older.protocol => Err(accepted(
            Reason::Conflicted,
            format!(
                "by port {} of Service {}, container port {} speaks {protocol:?}, and by the older ApiRoute {} it \
                 speaks {:?}, which counts: say which in ports of BackendTrust {trust}",
                target.port.port,
                target.port.service,
                show(port),
                older.route,
                older.protocol
            ),
        )),
        (Hint::Protocol(protocol), _) => Ok(protocol),
        (Hint::None, Some(older)) => Ok(older.protocol),
        (Hint::None, None) => Ok(Protocol::HTTP),
    }
}

/// The earlier of two moments, if there are any.
pub fn earliest<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    a.into_iter().chain(b).min()
}
