//! The plan's routes and ports as the policy that the sidecars enforce.

use std::collections::BTreeMap;

use postern_config::policy::{
    Authority, Caller, CertificateMatch, ForwardedCertificate, Policy, Port, Route,
};

use crate::inputs::KeyId;
use crate::plan::{Kept, KeyAction, KeyPlan, PortPlan, RoutePlan};

/// Name of Postern's client CA in a policy: the only authority that is believed for `spiffe://` names.
pub const AUTHORITY: &str = "postern";

/// The policy of a lock, without pins: each caller's `keys` is empty, so that it admits nobody until `render` fills
/// them. Everything is in a fixed order, so that equal plans yield equal bytes.
pub fn policy(
    namespace: &str,
    authorities: Vec<Authority>,
    ports: &[PortPlan],
    routes: &[RoutePlan],
) -> Policy {
    let mut policy = Policy {
        authorities,
        ports: ports.iter().map(port).collect(),
        routes: routes.iter().flat_map(|plan| route(namespace, plan)).collect(),
        tenant: Vec::new(),
        revoked: Vec::new(),
    };
    policy.ports.sort_by(|a, b| a.port.cmp(&b.port));
    policy.routes.sort_by(|a, b| a.name.cmp(&b.name));
    policy
}

fn port(plan: &PortPlan) -> Port {
    let door = plan.access.door();
    Port {
        port: plan.port.clone(),
        protocol: plan.protocol,
        access: plan.access.policy(),
        transport: door.map(|door| door.transport).unwrap_or_default(),
        enforcement: door.map(|door| door.enforcement).unwrap_or_default(),
    }
}

/// What a gateway may tell of its client's certificate, a caller past it may not: those are routes by themselves where
/// the two differ.
fn route(namespace: &str, plan: &RoutePlan) -> Vec<Route> {
    let Some(backend) = plan.backend.as_ref().filter(|_| plan.attached()) else { return Vec::new() };
    let route = |mut callers: Vec<Caller>, forwarded_certificate| {
        callers.sort_by(|a, b| a.name.cmp(&b.name));
        Route {
            name: route_name(namespace, &plan.name),
            port: backend.port.clone(),
            callers,
            hostnames: plan.hostnames.clone(),
            rules: plan.rules.clone(),
            forwarded_certificate,
        }
    };
    let mut gateways: Vec<_> = admitted(plan).map(caller).collect();
    let named = plan.callers.clone();
    if backend.forwarded_certificate == ForwardedCertificate::Replace {
        gateways.extend(named);
        return vec![route(gateways, ForwardedCertificate::Replace)];
    }
    let both = [(gateways, backend.forwarded_certificate), (named, ForwardedCertificate::Replace)];
    let some = both.into_iter().filter(|(callers, _)| !callers.is_empty());
    some.map(|(callers, forwarded)| route(callers, forwarded)).collect()
}

/// A route as the policy names it.
pub fn route_name(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

fn caller(key: &KeyPlan) -> Caller {
    let certificate = CertificateMatch::Identity {
        authority: AUTHORITY.to_owned(),
        identity: key.identity.clone(),
        keys: Some(Vec::new()),
    };
    Caller {
        name: format!("gateway/{}", key.id.gateway),
        certificates: vec![certificate],
        credentials: Vec::new(),
        header_values: Vec::new(),
    }
}

fn admitted(plan: &RoutePlan) -> impl Iterator<Item = &KeyPlan> {
    plan.keys.iter().filter(|key| key.action.admits())
}

/// Whose key each identity is.
pub fn callers(routes: &[RoutePlan]) -> BTreeMap<String, KeyId> {
    routes.iter().flat_map(admitted).map(|key| (key.identity.clone(), key.id.clone())).collect()
}

/// What identities whose key can't be read now are let in by.
pub fn kept(routes: &[RoutePlan]) -> BTreeMap<String, Kept> {
    let keys = routes.iter().flat_map(|route| &route.keys);
    let kept = keys.filter_map(|key| match &key.action {
        KeyAction::Unread(kept) => Some((key.identity.clone(), kept.clone())),
        _ => None,
    });
    kept.collect()
}
