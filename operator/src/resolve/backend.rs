//! Where a route leads: its Service, that Service's port, and the container port behind it.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use postern_config::policy::PortRef;
use postern_crds::api_route::BackendRef;
use postern_crds::{ConditionType, Reason};

use crate::inputs::{LockKey, PodFacts, Transport};
use crate::plan::Refusal;
use crate::resolve::ports::{self, PodPorts, ServicePort, show};
use crate::resolve::selectors::Selector;
use crate::resolve::territory::{Holder, Territory};

/// A Service's port that leads to pods of the lock.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// The Service.
    pub service: &'a Service,
    /// Its port.
    pub port: ServicePort<'a>,
    /// It also leads to pods outside the lock. Those who hold the key go on calling the pods behind it; the others
    /// can't pose as them, since they have no certificate.
    pub reservation: Option<Refusal>,
}

fn unresolved<T>(reason: Reason, message: String) -> Result<T, Refusal> {
    Err(Refusal::new(ConditionType::ResolvedRefs, reason, message))
}

/// Finds a route's backend.
///
/// # Errors
/// `RefNotFound`, `PortNotFound`, `BackendNotGuarded`, `LockNotPossible`.
pub fn resolve<'a>(
    key: &LockKey,
    reference: &BackendRef,
    services: &[&'a Service],
    territory: &Territory,
    pods: &[PodFacts],
    pod_ports: &PodPorts,
) -> Result<Target<'a>, Refusal> {
    let Some(service) =
        services.iter().find(|service| service.metadata.name.as_deref() == Some(reference.name.as_str()))
    else {
        return unresolved(Reason::RefNotFound, missing_service(key, reference, services, territory));
    };
    let port = port(key, reference, service)?;
    let reservation = guarded(key, reference, service, territory, pods)?;
    match &port.target {
        PortRef::Name(name) if !pod_ports.is_empty() && !pod_ports.declares(&port.target) => unresolved(
            Reason::PortNotFound,
            format!(
                "Service {} leads from port {} to the container port {name}, but no pod of BackendTrust {} has a \
                 port of that name (they declare: {}): correct the Service's targetPort, or name the container's port so",
                reference.name,
                reference.port,
                key.name,
                pod_ports.list()
            ),
        ),
        _ => Ok(Target { service, port, reservation }),
    }
}

fn missing_service(
    key: &LockKey,
    reference: &BackendRef,
    services: &[&Service],
    territory: &Territory,
) -> String {
    let fitting: Vec<_> =
        leading_to(services, territory).filter_map(|service| service.metadata.name.as_deref()).collect();
    let hint = match fitting.as_slice() {
        [] => "create it".to_owned(),
        names => format!(
            "create it, or write one that leads to the pods of BackendTrust {}: {}",
            key.name,
            names.join(", ")
        ),
    };
    format!("Service {} doesn't exist in namespace {}: {hint}", reference.name, key.namespace)
}

/// Services whose selectors say that all their pods are the lock's.
pub fn leading_to<'a, 'b>(
    services: &'b [&'a Service],
    territory: &'b Territory,
) -> impl Iterator<Item = &'a Service> + use<'a, 'b> {
    services
        .iter()
        .copied()
        .filter(|service| selector(service).is_some_and(|selector| selector.implies(&territory.selector)))
}

/// A Service's selector; none, or an empty one, means that somebody else fills in its endpoints.
fn selector(service: &Service) -> Option<Selector> {
    let labels = service.spec.as_ref()?.selector.as_ref()?;
    (!labels.is_empty()).then(|| Selector::from_labels(labels))
}

fn port<'a>(key: &LockKey, reference: &BackendRef, service: &'a Service) -> Result<ServicePort<'a>, Refusal> {
    let BackendRef { name, port: wanted } = reference;
    let all = || ports::service_ports(service).filter(|port| port.transport == Transport::Tcp);
    if let Some(port) = all().find(|port| port.port == *wanted) {
        return Ok(port);
    }
    if let Some(other) = ports::service_ports(service).find(|port| port.port == *wanted) {
        let transport = if other.transport == Transport::Udp { "UDP" } else { "SCTP" };
        return Err(Refusal::new(
            ConditionType::Accepted,
            Reason::LockNotPossible,
            format!(
                "port {wanted} of Service {name} is {transport}, and the lock lets only TCP in: name a TCP port"
            ),
        ));
    }
    let behind = all().find(|port| port.target == PortRef::Number(*wanted));
    let hint = if let Some(port) = behind {
        format!(
            "{wanted} is the container's port, and backendRef.port is the Service's, which is {0}: write port: {0}",
            port.port
        )
    } else {
        let ports: Vec<_> = all().map(|port| port.port.to_string()).collect();
        let ports = if ports.is_empty() { "none".to_owned() } else { ports.join(", ") };
        format!("its TCP ports are: {ports}; write one of them")
    };
    unresolved(
        Reason::PortNotFound,
        format!("Service {name} in namespace {} has no port {wanted}; {hint}", key.namespace),
    )
}

/// Refuses a Service that leads to none of the lock's pods, and objects to one that leads to others too: calls to those
/// fail, since gateways demand a certificate that only the lock's pods have.
fn guarded(
    key: &LockKey,
    reference: &BackendRef,
    service: &Service,
    territory: &Territory,
    pods: &[PodFacts],
) -> Result<Option<Refusal>, Refusal> {
    let name = &reference.name;
    let external = service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName");
    let selector = match selector(service) {
        Some(selector) if !external => selector,
        _ => {
            return unresolved(
                Reason::BackendNotGuarded,
                format!(
                    "Service {name} has no selector, so it may lead anywhere: give it the selector of the pods that \
                     BackendTrust {} selects",
                    key.name
                ),
            );
        }
    };
    let selected = || pods.iter().filter(|pod| !pod.finished() && selector.matches(&pod.labels));
    let outside: Vec<String> = selected()
        .filter_map(|pod| match territory.holder(&pod.labels) {
            Holder::Ours => None,
            Holder::Older(lock) => Some(format!("{} (of the older BackendTrust {lock})", pod.name)),
            Holder::Nobody => Some(pod.name.clone()),
        })
        .collect();
    if !outside.is_empty() {
        let some_inside = selected().any(|pod| territory.holder(&pod.labels) == Holder::Ours);
        let message = format!(
            "Service {name} {} to pods that are not behind BackendTrust {} ({}){}: make its selector and the podSelector \
             select the same pods",
            if some_inside { "also leads" } else { "leads only" },
            key.name,
            some_of(&outside),
            if some_inside { "; calls that reach those fail" } else { "" },
        );
        let refusal = Refusal::new(ConditionType::ResolvedRefs, Reason::BackendNotGuarded, message);
        return if some_inside { Ok(Some(refusal)) } else { Err(refusal) };
    }
    let certain = selector.implies(&territory.selector);
    let possible = selector.overlaps(&territory.selector);
    let none_yet = territory.pods(pods).next().is_none();
    if selected().next().is_none() && !certain && !(possible && none_yet) {
        return unresolved(
            Reason::BackendNotGuarded,
            format!(
                "Service {name} leads to none of the pods behind BackendTrust {}: make its selector and the podSelector \
                 select the same pods",
                key.name
            ),
        );
    }
    Ok(None)
}

/// At most five names, and how many more there are.
pub fn some_of(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(5).map(String::as_str).collect();
    let shown = shown.join(", ");
    match names.len().saturating_sub(5) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The Service's cluster addresses, the primary one first; none if it is headless.
pub fn addresses(service: &Service) -> Vec<IpAddr> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let primary = spec.cluster_ip.iter();
    let mut addresses = Vec::new();
    for address in primary.chain(spec.cluster_ips.iter().flatten()).filter_map(|text| text.parse().ok()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// As `<Service>:<port>`.
pub fn label(reference: &BackendRef) -> String {
    format!("{}:{}", reference.name, reference.port)
}

/// The container port in words, for messages.
pub fn describe(target: &Target<'_>) -> String {
    format!(
        "port {} of Service {} leads to {}",
        target.port.port,
        target.port.service,
        show(&target.port.target)
    )
}
