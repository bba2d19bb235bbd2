//! Whether the network namespace is the pod's own: the host's must never be touched. Pure.

use std::net::IpAddr;

use postern_config::layout::{HOST_IPS_ENV, POD_IPS_ENV};

use crate::own_addresses::Snapshot;

/// Why the network namespace may not be the pod's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceRefusal {
    /// A variable is unset or empty.
    #[error("{0} is not set; it comes from the downward API (status.podIPs, status.hostIPs) by injection")]
    Missing(&'static str),
    /// A variable is no list of addresses.
    #[error(
        "{variable} holds \"{value}\", which is no IP address; it comes from the downward API by injection"
    )]
    Malformed {
        /// Its name.
        variable: &'static str,
        /// The part that can't be read.
        value: String,
    },
    /// The pod shares the node's addresses.
    #[error("{0} is an address of both pod and node: a pod with hostNetwork cannot be guarded")]
    HostNetwork(IpAddr),
    /// The node's namespace, whatever the pod is told about itself.
    #[error("it holds {0}, an address of the node: a pod with hostNetwork cannot be guarded")]
    HostAddress(IpAddr),
    /// Some other namespace.
    #[error("it holds none of the pod's addresses ({0}), so it is not the pod's")]
    NotThePods(String),
}

/// Checks that `own` are the addresses of a pod's network namespace: one of the pod's and none of the node's.
/// `pod_ips` and `host_ips` are comma-separated lists.
pub(super) fn check(
    pod_ips: Option<&str>,
    host_ips: Option<&str>,
    own: &Snapshot,
) -> Result<(), NamespaceRefusal> {
    let pod_ips = addresses(POD_IPS_ENV, pod_ips)?;
    let host_ips = addresses(HOST_IPS_ENV, host_ips)?;
    if let Some(shared) = pod_ips.iter().find(|ip| host_ips.contains(ip)) {
        return Err(NamespaceRefusal::HostNetwork(*shared));
    }
    if let Some(held) = host_ips.iter().find(|ip| own.contains(**ip)) {
        return Err(NamespaceRefusal::HostAddress(*held));
    }
    if !pod_ips.iter().any(|ip| own.contains(*ip)) {
        let listed: Vec<String> = pod_ips.iter().map(IpAddr::to_string).collect();
        return Err(NamespaceRefusal::NotThePods(listed.join(", ")));
    }
    Ok(())
}

fn addresses(variable: &'static str, list: Option<&str>) -> Result<Vec<IpAddr>, NamespaceRefusal> {
    let list = list.unwrap_or_default().trim();
    if list.is_empty() {
        return Err(NamespaceRefusal::Missing(variable));
    }
    let parse = |text: &str| {
        let ip: Result<IpAddr, _> = text.trim().parse();
        ip.map(|ip| ip.to_canonical())
            .map_err(|_| NamespaceRefusal::Malformed { variable, value: text.trim().to_owned() })
    };
    list.split(',').map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::own_addresses::InterfaceAddress;

    #[test]
    fn only_a_namespace_that_is_surely_the_pods_is_touched() {
        use NamespaceRefusal::{HostAddress, HostNetwork, Malformed, Missing, NotThePods};
        let own = Snapshot::new(
            ["127.0.0.1", "10.244.0.7", "fd00::7", "fe80::7"]
                .map(|ip| InterfaceAddress { ip: ip.parse().unwrap(), interface: 2 })
                .to_vec(),
        );
        let malformed = |variable, value: &str| Err(Malformed { variable, value: value.to_owned() });
        let (pod, host) = (Some("10.244.0.7,fd00::7"), Some("192.0.2.1,2001:db8::1"));
        for (pod, host, expected) in [
            (pod, host, Ok(())),
            (Some(" 10.244.0.7 "), host, Ok(())),
            (Some("10.244.0.9,fd00::7"), host, Ok(())),
            (None, host, Err(Missing(POD_IPS_ENV))),
            (Some(" "), host, Err(Missing(POD_IPS_ENV))),
            (pod, None, Err(Missing(HOST_IPS_ENV))),
            (pod, Some(""), Err(Missing(HOST_IPS_ENV))),
            (Some("10.244.0.7,"), host, malformed(POD_IPS_ENV, "")),
            (pod, Some("node-1"), malformed(HOST_IPS_ENV, "node-1")),
            (pod, Some("192.0.2.1,10.244.0.7"), Err(HostNetwork("10.244.0.7".parse().unwrap()))),
            (pod, Some("::ffff:10.244.0.7"), Err(HostNetwork("10.244.0.7".parse().unwrap()))),
            (Some("10.244.0.7"), Some("fd00::7"), Err(HostAddress("fd00::7".parse().unwrap()))),
            (Some("10.244.0.9"), host, Err(NotThePods("10.244.0.9".to_owned()))),
        ] {
            assert_eq!(check(pod, host, &own), expected, "{pod:?} {host:?}");
        }
    }
}
