//! The names in a lock's server certificate.

use std::collections::BTreeSet;

use postern_config::layout;
use postern_crds::{BackendTrust, ConditionType, Reason};

use crate::inputs::{LockKey, SubjectName};
use crate::plan::Refusal;
use crate::settings::{Settings, is_dns_name};

/// The names by which a Service is called inside the cluster and that its certificate holds, the default of
/// `backendTLS.serverName` first.
pub fn service_names(settings: &Settings, namespace: &str, service: &str) -> [String; 2] {
    let short = format!("{service}.{namespace}.svc");
    let long = format!("{short}.{}", settings.cluster_domain);
    [short, long]
}

/// `spec.server.names`, less those that the lock may not have, each of which is refused by name: the names of
/// Services are the cluster's to give, and Postern's own are the admin endpoint's.
pub fn further_names(settings: &Settings, trust: &BackendTrust) -> (Vec<String>, Vec<Refusal>) {
    let names = trust.spec.server.iter().flat_map(|server| &server.names);
    let mut good = Vec::new();
    let mut refusals = Vec::new();
    for name in names {
        match objection(settings, name) {
            None => good.push(name.clone()),
            Some(why) => refusals.push(Refusal::new(
                ConditionType::Accepted,
                Reason::LockNotPossible,
                format!("server.names has {name:?}, which {why}"),
            )),
        }
    }
    (good, refusals)
}

fn objection(settings: &Settings, name: &str) -> Option<&'static str> {
    let plain = name.strip_prefix("*.").unwrap_or(name);
    let below = |suffix: &str| plain == suffix || plain.ends_with(&format!(".{suffix}"));
    if name.starts_with("*.") {
        Some(
            "is a wildcard: name each host, since a certificate for all of a domain would let one backend pose as another",
        )
    } else if !is_dns_name(name) {
        Some("is no DNS name: use lower-case letters, digits, `-` and dots, and no address")
    } else if below("svc") || below(&format!("svc.{}", settings.cluster_domain)) {
        Some(
            "is a name of the cluster's Services: leave it out, those of the routes' Services are in the certificate by themselves",
        )
    } else if below("postern.internal") {
        Some("is one of Postern's own names: leave it out")
    } else {
        None
    }
}

/// All names of the server certificate.
pub fn server_names(
    settings: &Settings,
    key: &LockKey,
    services: &BTreeSet<String>,
    further: &[String],
) -> BTreeSet<SubjectName> {
    services
        .iter()
        .flat_map(|service| service_names(settings, &key.namespace, service))
        .chain(further.iter().cloned())
        .chain([layout::admin_server_name(&key.namespace, &key.name), layout::ANY_BACKEND.to_owned()])
        .map(SubjectName::Dns)
        .collect()
}
