//! The plan's routes and ports as the policy that the sidecars enforce.

use std::collections::BTreeMap;

use postern_config::policy::{Authority, AuthorityKind, Caller, CertificateMatch, Policy, Port, Route};

use crate::inputs::{Authorities, KeyId};
use crate::plan::{Kept, KeyAction, KeyPlan, PortPlan, RoutePlan};

/// Name of Postern's client CA in a policy: the only authority that is believed for `spiffe://` names.
pub const AUTHORITY: &str = "postern";

/// Whom the policy believes.
pub fn authorities(authorities: &Authorities) -> Vec<Authority> {
    vec![Authority {
        name: AUTHORITY.to_owned(),
        kind: AuthorityKind::Postern,
        roots: authorities.client_roots_pem.clone(),
        ..Authority::default()
    }]
}

/// The policy of a lock, without pins: each caller's `keys` is empty, so that it admits nobody until `render` fills
/// them. Everything is in a fixed order, so that equal plans yield equal bytes.
pub fn policy(namespace: &str, roots: &Authorities, ports: &[PortPlan], routes: &[RoutePlan]) -> Policy {
    let mut policy = Policy {
        authorities: authorities(roots),
        ports: ports.iter().map(port).collect(),
        routes: routes.iter().filter_map(|plan| route(namespace, plan)).collect(),
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

fn route(namespace: &str, plan: &RoutePlan) -> Option<Route> {
    let backend = plan.backend.as_ref().filter(|_| plan.attached())?;
    let mut callers: Vec<_> = admitted(plan).map(caller).collect();
    callers.sort_by(|a, b| a.name.cmp(&b.name));
    Some(Route {
        name: route_name(namespace, &plan.name),
        port: backend.port.clone(),
        callers,
        hostnames: plan.hostnames.clone(),
        rules: plan.rules.clone(),
        forwarded_certificate: backend.forwarded_certificate,
    })
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
