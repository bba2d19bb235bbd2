//! The container ports of a lock: what its pods declare, which of `spec.ports` make sense, and which entry a
//! route's target is.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use postern_config::layout;
use postern_config::policy::{PortRef, Protocol};
use postern_crds::{BackendTrust, ConditionType, Reason};

use crate::injection::shape::open_udp_ports;
use crate::inputs::{PodFacts, Transport};
use crate::plan::{Door, OpenPlan, PortAccess, Refusal};
use crate::resolve::doors;
use crate::resolve::protocol::{self, Hint};
use crate::settings::Floor;

#[cfg(test)]
mod tests;

/// The TCP ports that a lock's pods declare, pod by pod.
#[derive(Clone, Debug, Default)]
pub struct PodPorts {
    pods: Vec<Declared>,
}

#[derive(Clone, Debug, Default)]
struct Declared {
    names: BTreeMap<String, u16>,
    numbers: BTreeSet<u16>,
}

impl PodPorts {
    /// Of these pods.
    pub fn new<'a>(pods: impl Iterator<Item = &'a PodFacts>) -> Self {
        let declared = |pod: &PodFacts| {
            let tcp = || pod.ports.iter().filter(|port| port.transport == Transport::Tcp);
            Declared {
                names: tcp().filter_map(|port| Some((port.name.clone()?, port.number))).collect(),
                numbers: tcp().map(|port| port.number).collect(),
            }
        };
        Self { pods: pods.map(declared).collect() }
    }

    /// The numbers that a port has in the pods, each with a name that they give it.
    pub fn numbers(&self, port: &PortRef) -> BTreeMap<u16, Option<String>> {
        let numbers: BTreeSet<u16> = match port {
            PortRef::Number(number) => BTreeSet::from([*number]),
            PortRef::Name(_) => self.pods.iter().filter_map(|pod| pod.number(port)).collect(),
        };
        numbers.into_iter().map(|number| (number, self.name_of(number))).collect()
    }

    /// Its number, if all pods that have it agree.
    pub fn number(&self, port: &PortRef) -> Option<u16> {
        let numbers = self.numbers(port);
        numbers.keys().next().copied().filter(|_| numbers.len() == 1)
    }

    /// Whether a pod declares it.
    pub fn declares(&self, port: &PortRef) -> bool {
        self.pods.iter().any(|pod| pod.number(port).is_some_and(|number| pod.numbers.contains(&number)))
    }

    /// How two references compare, over all pods.
    pub fn compare(&self, a: &PortRef, b: &PortRef) -> Sameness {
        if a == b {
            return Sameness::Same;
        }
        let (mut same, mut differ) = (false, false);
        for pod in &self.pods {
            match (pod.number(a), pod.number(b)) {
                (Some(x), Some(y)) if x == y => same = true,
                (Some(_), Some(_)) => differ = true,
                _ => {}
            }
        }
        match (same, differ) {
            (true, false) => Sameness::Same,
            (true, true) => Sameness::Sometimes,
            (false, _) => Sameness::Different,
        }
    }

    /// What the pods declare, for messages: `http (8080), 9090`.
    pub fn list(&self) -> String {
        let numbers: BTreeSet<u16> = self.pods.iter().flat_map(|pod| pod.numbers.iter().copied()).collect();
        let describe = |number: u16| match self.name_of(number) {
            Some(name) => format!("{name} ({number})"),
            None => number.to_string(),
        };
        match numbers.len() {
            0 => "none".to_owned(),
            _ => numbers.into_iter().map(describe).collect::<Vec<_>>().join(", "),
        }
    }

    /// Whether there is no pod.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    fn name_of(&self, number: u16) -> Option<String> {
        let mut names = self.pods.iter().flat_map(|pod| &pod.names);
        names.find(|(_, of)| **of == number).map(|(name, _)| name.clone())
    }
}

impl Declared {
    fn number(&self, port: &PortRef) -> Option<u16> {
        match port {
            PortRef::Number(number) => Some(*number),
            PortRef::Name(name) => self.names.get(name).copied(),
        }
    }
}

/// Whether two references mean one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sameness {
    /// In each pod that has both.
    Same,
    /// In some pods only.
    Sometimes,
    /// In no pod.
    Different,
}

/// One valid entry of `spec.ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockPort {
    /// Which port.
    pub port: PortRef,
    /// What the lock's author says it speaks.
    pub protocol: Option<Protocol>,
    /// What it is guarded by.
    pub access: PortAccess,
}

impl LockPort {
    /// What it speaks as far as the lock alone can tell: said outright, by its name, or HTTP.
    pub fn assumed_protocol(&self) -> Protocol {
        match (&self.access, self.protocol, &self.port) {
            (PortAccess::Open(open), ..) if open.paths.is_empty() => Protocol::TCP,
            (PortAccess::Open(_), ..) | (PortAccess::Locked(_), None, PortRef::Number(_)) => Protocol::HTTP,
            (PortAccess::Locked(_), Some(protocol), _) => protocol,
            (PortAccess::Locked(_), None, PortRef::Name(name)) => match protocol::hint(None, Some(name)) {
                Hint::Protocol(protocol) => protocol,
                Hint::None | Hint::Unsupported(_) => Protocol::HTTP,
            },
        }
    }
}

/// `spec.ports`, judged.
#[derive(Clone, Debug)]
pub struct LockPorts {
    /// The door of every port that is not listed.
    pub default: Door,
    /// Those that make sense.
    pub entries: Vec<LockPort>,
    /// Those that don't; they stay closed.
    pub refused: Vec<PortRef>,
    /// Why.
    pub refusals: Vec<Refusal>,
}

impl LockPorts {
    /// Every door of the lock.
    pub fn doors(&self) -> impl Iterator<Item = &Door> {
        std::iter::once(&self.default).chain(self.entries.iter().filter_map(|entry| entry.access.door()))
    }
}

/// Judges `spec.ports`, but for UDP ports, of which there is nothing to judge ([`open_udp`]). `services` are those that
/// lead to the lock's pods, for hints.
pub fn judge(trust: &BackendTrust, pods: &PodPorts, services: &[&Service], floor: &Floor) -> LockPorts {
    let entries: Vec<LockPort> = trust
        .spec
        .ports
        .iter()
        .filter_map(|port| {
            use postern_crds::backend_trust::Protocol as Declared;
            let protocol = match port.protocol {
                None => None,
                Some(Declared::HTTP) => Some(Protocol::HTTP),
                Some(Declared::H2C) => Some(Protocol::H2C),
                Some(Declared::HTTPS) => Some(Protocol::HTTPS),
                Some(Declared::TCP) => Some(Protocol::TCP),
                Some(Declared::UDP) => return None,
            };
            let access = match &port.open {
                Some(open) => {
                    PortAccess::Open(OpenPlan { reason: open.reason.clone(), paths: open.paths.clone() })
                }
                None => PortAccess::Locked(doors::door(trust, Some(port))),
            };
            Some(LockPort { port: port_ref(&port.port), protocol, access })
        })
        .collect();
    let default = doors::door(trust, None);
    let objection = doors::objection(&default, "every port that ports doesn't list", Protocol::HTTP, floor);
    let mut judged = LockPorts {
        default,
        entries: Vec::new(),
        refused: Vec::new(),
        refusals: objection.into_iter().collect(),
    };
    for (at, entry) in entries.iter().enumerate() {
        let others = || entries.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, other)| other);
        let twin = |sameness| others().find(|other| pods.compare(&entry.port, &other.port) == sameness);
        let refusal = reserved(&entry.port, pods)
            .or_else(|| twin(Sameness::Same).map(|twin| duplicate(entry, twin, pods)))
            .or_else(|| missing(&entry.port, pods, services))
            .or_else(|| {
                let place = format!("port {}", show(&entry.port));
                doors::objection(entry.access.door()?, &place, entry.assumed_protocol(), floor)
            });
        if let Some(refusal) = refusal {
            judged.refused.push(entry.port.clone());
            judged.refusals.push(refusal);
            continue;
        }
        // A few pods that name their ports otherwise must not close a port of all the others. Where two entries meet in
        // one pod, the sidecar takes the stricter.
        judged.refusals.extend(twin(Sameness::Sometimes).map(|twin| ambiguous(entry, twin)));
        judged.entries.push(entry.clone());
    }
    judged.refusals.sort();
    judged.refusals.dedup();
    judged
}

/// The UDP ports that stay open: the same that injection leaves open.
pub fn open_udp(trust: &BackendTrust) -> BTreeSet<u16> {
    open_udp_ports(trust)
}

/// Refuses a port that is one of the sidecar's own.
pub fn reserved(port: &PortRef, pods: &PodPorts) -> Option<Refusal> {
    let numbers = pods.numbers(port);
    let own =
        numbers.keys().next().filter(|_| numbers.keys().all(|number| layout::OWN_PORTS.contains(number)))?;
    Some(Refusal::new(
        ConditionType::Accepted,
        Reason::LockNotPossible,
        format!(
            "container port {}{} is one of the sidecar's own (15100, 15110, 15120, 15130): let the application listen \
             on another port",
            show(port),
            if *port == PortRef::Number(*own) { String::new() } else { format!(" ({own})") },
        ),
    ))
}

fn ambiguous(entry: &LockPort, twin: &LockPort) -> Refusal {
    let (first, second) = if entry.port <= twin.port { (entry, twin) } else { (twin, entry) };
    Refusal::new(
        ConditionType::Accepted,
        Reason::DuplicatePort,
        format!(
            "ports lists {} and {}, which are one container port in some pods and two in others; where they are one, the \
             stricter entry counts: give the ports the same names in all pods, or list both by number",
            show(&first.port),
            show(&second.port)
        ),
    )
}

fn duplicate(entry: &LockPort, twin: &LockPort, pods: &PodPorts) -> Refusal {
    let (first, second) = if entry.port <= twin.port { (entry, twin) } else { (twin, entry) };
    let message = if first.port == second.port {
        format!(
            "ports lists {} twice: it stays closed until one of the two entries is gone",
            show(&first.port)
        )
    } else {
        let number =
            pods.numbers(&second.port).keys().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        format!(
            "ports lists {} and {}, which are one container port ({number}): it stays closed until one of the two entries \
             is gone",
            show(&first.port),
            show(&second.port),
        )
    };
    Refusal::new(ConditionType::Accepted, Reason::DuplicatePort, message)
}

/// A named port must be declared, or no pod could resolve it. A number may be right without being declared, if
/// a Service leads to it or the pods declare nothing at all.
fn missing(port: &PortRef, pods: &PodPorts, services: &[&Service]) -> Option<Refusal> {
    if pods.is_empty() || pods.declares(port) {
        return None;
    }
    let targeted = services.iter().flat_map(|service| service_ports(service)).any(|sp| sp.target == *port);
    if matches!(port, PortRef::Number(_)) && (targeted || pods.list() == "none") {
        return None;
    }
    let hint = services
        .iter()
        .flat_map(|service| service_ports(service))
        .find(|sp| PortRef::Number(sp.port) == *port || sp.name.is_some_and(|name| PortRef::Name(name.to_owned()) == *port))
        .map(|sp| {
            let (port, service, target) = (show(port), sp.service, show(&sp.target));
            format!("; {port} is a port of Service {service}, which leads to the container's port {target}: write that one")
        });
    let remedy = match port {
        PortRef::Name(_) => "correct it, or give the container's port this name",
        PortRef::Number(_) => "correct it, or declare it in the container's ports",
    };
    Some(Refusal::new(
        ConditionType::Accepted,
        Reason::PortNotFound,
        format!(
            "ports lists {}, but no pod of this lock has such a container port (they declare: {}){}",
            show(port),
            pods.list(),
            hint.unwrap_or_else(|| format!(": {remedy}")),
        ),
    ))
}

/// One port of a Service, with its defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort<'a> {
    /// The Service's name.
    pub service: &'a str,
    /// `port`.
    pub port: u16,
    /// `name`.
    pub name: Option<&'a str>,
    /// `targetPort`; absent there means `port`.
    pub target: PortRef,
    /// `protocol`.
    pub transport: Transport,
    /// `appProtocol`.
    pub app_protocol: Option<&'a str>,
}

/// The ports of a Service. A number outside 1–65535 (which the API server doesn't store) is left out.
pub fn service_ports(service: &Service) -> impl Iterator<Item = ServicePort<'_>> {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports.filter_map(move |port| {
        let number = u16::try_from(port.port).ok()?;
        let target = match &port.target_port {
            None | Some(IntOrString::Int(0)) => PortRef::Number(number),
            Some(IntOrString::Int(target)) => PortRef::Number(u16::try_from(*target).ok()?),
            Some(IntOrString::String(target)) => PortRef::Name(target.clone()),
        };
        let transport = match port.protocol.as_deref() {
            Some("UDP") => Transport::Udp,
            Some("SCTP") => Transport::Sctp,
            _ => Transport::Tcp,
        };
        let app_protocol = port.app_protocol.as_deref();
        Some(ServicePort {
            service: name,
            port: number,
            name: port.name.as_deref(),
            target,
            transport,
            app_protocol,
        })
    })
}

/// From the resource's type to the policy's.
pub fn port_ref(port: &postern_crds::PortRef) -> PortRef {
    match port {
        postern_crds::PortRef::Number(number) => PortRef::Number(*number),
        postern_crds::PortRef::Name(name) => PortRef::Name(name.clone()),
    }
}

/// As it is written.
pub fn show(port: &PortRef) -> String {
    match port {
        PortRef::Number(number) => number.to_string(),
        PortRef::Name(name) => name.clone(),
    }
}
