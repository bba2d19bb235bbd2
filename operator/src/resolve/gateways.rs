//! Whether a gateway is there for a route: declared, open to the namespace, and for these host names.

use std::collections::BTreeMap;

use postern_crds::{ConditionType, Reason};

use crate::plan::Refusal;
use crate::resolve::hostnames;
use crate::settings::{Gateway, Settings};

/// Who asks: a route, by what the gateways' declarations look at.
pub struct Asker<'a> {
    /// The route's namespace.
    pub namespace: &'a str,
    /// Its labels.
    pub namespace_labels: &'a BTreeMap<String, String>,
    /// The route's host names; empty: any.
    pub hostnames: &'a [String],
}

/// The declared gateway, or why the route doesn't get it.
///
/// # Errors
/// `GatewayUnknown`, `NamespaceNotAllowed`, `HostnameNotAllowed`.
pub fn resolve<'a>(settings: &'a Settings, name: &str, asker: &Asker<'_>) -> Result<&'a Gateway, Refusal> {
    let refuse = |reason, message| Err(Refusal::new(ConditionType::Accepted, reason, message));
    let Some(gateway) = settings.gateways.get(name) else {
        return refuse(Reason::GatewayUnknown, unknown(settings, name));
    };
    if !gateway.allowed.allows(asker.namespace_labels) {
        return refuse(
            Reason::NamespaceNotAllowed,
            format!(
                "gateway {name} takes no routes of namespace {}: ask the platform's administrator to widen the \
                 gateway's allowedRoutes in the chart's values, or to label the namespace as they demand",
                asker.namespace
            ),
        );
    }
    match refused_hostname(gateway, asker) {
        Some(message) => refuse(Reason::HostnameNotAllowed, message),
        None => Ok(gateway),
    }
}

fn unknown(settings: &Settings, name: &str) -> String {
    let declared: Vec<_> = settings.gateways.keys().map(String::as_str).collect();
    let declared = match declared.as_slice() {
        [] => "none is declared".to_owned(),
        names => format!("declared: {}", names.join(", ")),
    };
    format!(
        "no gateway is named {name} ({declared}): correct gateways[].name, or ask the platform's administrator to \
         declare it in the chart's values"
    )
}

fn refused_hostname(gateway: &Gateway, asker: &Asker<'_>) -> Option<String> {
    if gateway.hostnames.is_empty() {
        return None;
    }
    let (name, namespace) = (&gateway.name, asker.namespace);
    let Some(patterns) = gateway.hostnames.get(namespace) else {
        return Some(format!(
            "gateway {name} gives namespace {namespace} no host names: ask the platform's administrator to list \
             the namespace in the gateway's hostnames in the chart's values"
        ));
    };
    let allowed = patterns.join(", ");
    if asker.hostnames.is_empty() {
        return Some(format!(
            "without hostnames this route claims any name, and on gateway {name} namespace {namespace} may claim \
             only {allowed}: list the route's hostnames"
        ));
    }
    hostnames::first_uncovered(patterns, asker.hostnames).map(|hostname| {
        format!(
            "on gateway {name} namespace {namespace} may not claim {hostname}, only {allowed}: use one of those, or \
             ask the platform's administrator to widen the gateway's hostnames in the chart's values"
        )
    })
}
