//! What differs from lock to lock in the pods that are injected for it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Container;
use postern_config::layout;
use postern_crds::PortRef;
use postern_crds::backend_trust::{BackendTrust, Protocol};

/// How the pods of one lock are injected.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    /// UDP ports that stay open.
    pub udp_ports: BTreeSet<u16>,
}

impl Shape {
    /// As `trust` asks for it.
    pub fn of(trust: &BackendTrust) -> Self {
        let open = trust
            .spec
            .ports
            .iter()
            .filter(|port| port.protocol == Some(Protocol::UDP) && port.open.is_some());
        let number = |port: &PortRef| match port {
            PortRef::Number(number) => Some(*number),
            // Refused by the resource's own rules: what one pod calls by a name can't be a literal of all.
            PortRef::Name(_) => None,
        };
        Self { udp_ports: open.filter_map(|port| number(&port.port)).collect() }
    }

    /// As a redirect container shows it; whether that is a well-formed one is asked elsewhere.
    pub fn worn(redirect: &Container) -> Self {
        let args = redirect.args.iter().flatten();
        let ports = args.filter_map(|arg| arg.strip_prefix(layout::UDP_PORT_ARGUMENT)?.parse().ok());
        Self { udp_ports: ports.collect() }
    }

    /// In words, for status.
    pub fn describe(&self) -> String {
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
