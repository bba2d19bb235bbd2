//! What differs from lock to lock in the pods that are injected for it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Container;
use postern_config::layout;
use postern_crds::PortRef;
use postern_crds::backend_trust::{BackendTrust, Interception, Protocol};

/// How the pods of one lock are injected.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    /// How calls come to the sidecar.
    pub interception: Interception,
    /// UDP ports that the redirect leaves open. Without a redirect, what closes UDP is no part of the pod.
    pub udp_ports: BTreeSet<u16>,
}

impl Shape {
    /// As `trust` asks for it.
    pub fn of(trust: &BackendTrust) -> Self {
        match trust.spec.interception.unwrap_or_default() {
            Interception::Listener => Self::listener(),
            Interception::Redirect => {
                Self { interception: Interception::Redirect, udp_ports: open_udp_ports(trust) }
            }
        }
    }

    /// That of a pod without a redirect.
    pub fn listener() -> Self {
        Self { interception: Interception::Listener, udp_ports: BTreeSet::new() }
    }

    /// As a redirect container shows it, or its absence; whether that is a well-formed one is asked elsewhere.
    pub fn worn(redirect: Option<&Container>) -> Self {
        let Some(redirect) = redirect else { return Self::listener() };
        let args = redirect.args.iter().flatten();
        let ports = args.filter_map(|arg| arg.strip_prefix(layout::UDP_PORT_ARGUMENT)?.parse().ok());
        Self { interception: Interception::Redirect, udp_ports: ports.collect() }
    }

    /// Whether the sidecar takes over named ports.
    pub fn listens(&self) -> bool {
        self.interception == Interception::Listener
    }

    /// In words, for status.
    pub fn describe(&self) -> String {
        if self.listens() {
            return "with a listener for each named port".to_owned();
        }
        let ports: Vec<_> = self.udp_ports.iter().map(ToString::to_string).collect();
        match ports.as_slice() {
            [] => "with every UDP port closed".to_owned(),
            ports => format!("with these UDP ports open: {}", ports.join(", ")),
        }
    }
}

/// A lock for which a pod may be injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Its name.
    pub name: String,
    /// How its pods are injected.
    pub shape: Shape,
    /// Whether it says `trustedWorkload: true`.
    pub trusted: bool,
}

impl Admitted {
    /// The lock `name` as `trust` describes it.
    pub fn of(name: &str, trust: &BackendTrust) -> Self {
        let trusted = trust.spec.trusted_workload == Some(true);
        Self { name: name.to_owned(), shape: Shape::of(trust), trusted }
    }

    /// A lock that asks for nothing in particular.
    pub fn plain(name: &str) -> Self {
        Self { name: name.to_owned(), shape: Shape::default(), trusted: false }
    }
}

/// The UDP ports that `trust` leaves open.
pub fn open_udp_ports(trust: &BackendTrust) -> BTreeSet<u16> {
    let open =
        trust.spec.ports.iter().filter(|port| port.protocol == Some(Protocol::UDP) && port.open.is_some());
    let number = |port: &PortRef| match port {
        PortRef::Number(number) => Some(*number),
        // Refused by the resource's own rules: what one pod calls by a name can't be a literal of all.
        PortRef::Name(_) => None,
    };
    open.filter_map(|port| number(&port.port)).collect()
}
