//! A lock whose trust is gone. Deleting a trust opens nothing that runs (SECURITY 27): while pods mount its
//! Secret, they keep lock and routes, keys and certificates are renewed, and a route that is deleted still takes
//! its key away. Once no pod mounts it, everything goes.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use postern_config::layout;
use postern_config::policy::{AuthorityKind, Caller, Policy};
use postern_crds::{ApiRoute, ConditionType, Reason};

use crate::inputs::{Inputs, KeySecret, PodFacts, SealedBundle, SubjectName};
use crate::plan::{
    BundlePlan, CredentialsPlan, CredentialsStep, KeyAction, KeyPlan, KeyStep, LockState, Plan, Refusal,
    Removals, RoutePlan,
};
use crate::resolve::leaves::{self, Clock, Published};
use crate::resolve::lock::deployed_hash;
use crate::resolve::routes::{self, earliest};
use crate::resolve::{backend, callers, keys, names, pods, policy};
use crate::settings::Settings;

/// Decides about a lock whose trust doesn't exist.
pub fn resolve(settings: &Settings, inputs: &Inputs) -> Plan {
    let mounting = inputs.pods.iter().filter(|pod| keeps_alive(pod)).count();
    let secret = inputs.lock_secret.ours();
    let orphaned = mounting > 0 && secret.is_some();
    let sealed = secret.filter(|_| orphaned).and_then(|secret| secret.bundle.as_ref());
    let revoked = sealed.iter().flat_map(|sealed| &sealed.bundle.content.policy.revoked).cloned().collect();
    let clock = Clock::of_lock(inputs.now, settings.lifetimes, None, &revoked);
    let mut again_at = None;
    let mut route_plans: Vec<_> = inputs
        .routes
        .iter()
        .map(|route| {
            let message = if orphaned { kept(inputs, mounting) } else { missing(inputs) };
            let planned = keys_of(settings, inputs, route, sealed, &clock, &mut again_at);
            RoutePlan { callers: callers_of(inputs, route, sealed), ..plan(route, message, planned) }
        })
        .collect();
    route_plans.sort_by(|a, b| a.name.cmp(&b.name));
    let bundle = sealed.map(|sealed| {
        let leaf = leaves::server(
            &clock,
            secret.and_then(|secret| secret.leaf.as_ref()),
            &server_names(settings, inputs),
        );
        again_at = earliest(again_at, leaf.again_at);
        BundlePlan {
            trust_uid: sealed.bundle.content.trust_uid.clone(),
            policy: remaining(inputs, &sealed.bundle.content.policy, &route_plans),
            settings: sealed.bundle.content.settings.clone(),
            callers: policy::callers(&route_plans),
            kept: policy::kept(&route_plans),
            credentials: BTreeMap::new(),
            leaf: leaf.plan,
            previous: Some(sealed.clone()),
        }
    });
    Plan {
        key: inputs.key.clone(),
        now: inputs.now,
        lock: if orphaned {
            // The trust can't say any more which pods it selected; its Binding can.
            LockState::Orphaned { selector: inputs.admission.ours().cloned().flatten() }
        } else {
            LockState::Gone
        },
        bundle,
        routes: route_plans,
        pods: pods::judge(inputs, deployed_hash(inputs).as_deref()),
        remove: Removals::default(),
        seen: pods::seen(inputs),
        requeue_at: again_at,
    }
}

fn plan(route: &ApiRoute, message: String, keys: Vec<KeyPlan>) -> RoutePlan {
    RoutePlan {
        name: routes::name(route).to_owned(),
        uid: route.metadata.uid.clone().unwrap_or_default(),
        generation: route.metadata.generation.unwrap_or_default(),
        refusals: vec![Refusal::new(ConditionType::ResolvedRefs, Reason::RefNotFound, message)],
        reservations: Vec::new(),
        backend: None,
        backend_label: backend::label(&route.spec.backend_ref),
        hostnames: route.spec.hostnames.clone(),
        rules: Vec::new(),
        keys,
        callers: Vec::new(),
    }
}

fn missing(inputs: &Inputs) -> String {
    let others: Vec<_> =
        inputs.other_trusts.iter().filter_map(|trust| trust.metadata.name.as_deref()).collect();
    let hint = match others.as_slice() {
        [] => "create it".to_owned(),
        names => format!("create it, or correct trustRef.name (there are: {})", names.join(", ")),
    };
    format!("BackendTrust {} doesn't exist in namespace {}: {hint}", inputs.key.name, inputs.key.namespace)
}

fn kept(inputs: &Inputs, pods: usize) -> String {
    format!(
        "BackendTrust {} was deleted; {pods} pod(s) still run behind its lock, and what this route could call before, it \
         still can: create the BackendTrust again, or delete this ApiRoute, which takes its key away at once",
        inputs.key.name
    )
}

/// Whom the running pods let in by a route.
fn let_in<'a>(
    inputs: &Inputs,
    route: &ApiRoute,
    sealed: Option<&'a SealedBundle>,
) -> impl Iterator<Item = &'a Caller> + use<'a> {
    let name = policy::route_name(&inputs.key.namespace, routes::name(route));
    let routes = sealed.into_iter().flat_map(|sealed| &sealed.bundle.content.policy.routes);
    routes.filter(move |route| route.name == name).flat_map(|route| &route.callers)
}

/// Keys that the running pods let in go on; others are not handed out any more.
fn keys_of(
    settings: &Settings,
    inputs: &Inputs,
    route: &ApiRoute,
    sealed: Option<&SealedBundle>,
    clock: &Clock<'_>,
    again_at: &mut Option<Timestamp>,
) -> Vec<KeyPlan> {
    let admitted: BTreeSet<&str> =
        let_in(inputs, route, sealed).filter_map(|caller| caller.identity()).collect();
    let published = Published::new(inputs);
    let mut seen = BTreeSet::new();
    let gateways = route.spec.gateways.iter().filter(|gateway| seen.insert(gateway.name.as_str()));
    gateways
        .map(|gateway| {
            let mut key = keys::unplanned(settings, inputs, route, &gateway.name);
            key.refusals.extend(keys::allowed(settings, inputs, route, &gateway.name).err());
            if !key.refusals.is_empty() || !admitted.contains(key.identity.as_str()) {
                key.action = KeyAction::Remove;
                return key;
            }
            key.refusals.extend(keys::foreign(inputs, &key));
            if let Some((refusal, action)) = keys::unread(inputs, &key) {
                key.refusals.push(refusal);
                key.action = action;
                return key;
            }
            if key.refusals.is_empty() {
                let secret = keys::existing(inputs, &key).and_then(|existing| existing.secret.ours());
                let decision = leaves::client(
                    &clock.of_route(route.spec.rotation.as_ref()),
                    secret,
                    &key.identity,
                    &published,
                );
                *again_at = earliest(*again_at, decision.again_at);
                let credentials = kept_credentials(inputs, clock, &key, secret);
                key.action = KeyAction::Renew(KeyStep { leaf: decision.plan, credentials });
            }
            key
        })
        .collect()
}

/// Callers with a name that the running pods let in go on, as long as the route names them.
fn callers_of(inputs: &Inputs, route: &ApiRoute, sealed: Option<&SealedBundle>) -> Vec<Caller> {
    let_in(inputs, route, sealed)
        .filter(|caller| {
            let name = callers::name_of(&caller.name);
            name.is_some_and(|name| route.spec.callers.iter().any(|wanted| wanted == name))
        })
        .cloned()
        .collect()
}

/// What the running pods ask for stays as it is; only what its overlap is over of is forgotten.
fn kept_credentials(
    inputs: &Inputs,
    clock: &Clock<'_>,
    key: &KeyPlan,
    secret: Option<&KeySecret>,
) -> CredentialsPlan {
    let routes = inputs.published().into_iter().flat_map(|content| &content.policy.routes);
    let mut caller = routes
        .flat_map(|route| &route.callers)
        .filter(|caller| caller.identity() == Some(key.identity.as_str()));
    let (Some(caller), Some(secret)) = (caller.next(), secret) else { return CredentialsPlan::default() };
    let held = &secret.credentials;
    let over = held.previous.as_ref().is_some_and(|previous| previous.drop_after <= clock.now);
    let header = held.current.as_ref().and_then(|current| current.header.as_ref());
    CredentialsPlan {
        basic: !caller.credentials.is_empty(),
        header: header.filter(|_| !caller.header_values.is_empty()).map(|header| header.name.clone()),
        step: if over { CredentialsStep::DropPrevious } else { CredentialsStep::Keep },
    }
}

/// The policy as it was, less the routes and callers that no longer hold, and with the present authorities.
fn remaining(inputs: &Inputs, policy: &Policy, routes: &[RoutePlan]) -> Policy {
    let holding = policy::callers(routes);
    let plans: BTreeMap<String, &RoutePlan> =
        routes.iter().map(|plan| (policy::route_name(&inputs.key.namespace, &plan.name), plan)).collect();
    let mut policy = policy.clone();
    // Those of others stay as they were when the trust was there to name them.
    for authority in policy.authorities.iter_mut().filter(|one| one.kind == AuthorityKind::Postern) {
        authority.roots.clone_from(&inputs.authorities.client_roots_pem);
    }
    policy.routes.retain_mut(|route| {
        let Some(plan) = plans.get(&route.name) else { return false };
        route.callers.retain(|caller| match caller.identity() {
            Some(identity) => holding.contains_key(identity),
            None => plan.callers.contains(caller),
        });
        for caller in &mut route.callers {
            caller.pin(&[]);
        }
        true
    });
    policy
}

/// The names that the certificate has; if it can't be read, those that the routes' Services give it.
fn server_names(settings: &Settings, inputs: &Inputs) -> BTreeSet<SubjectName> {
    let leaf = inputs.lock_secret.ours().and_then(|secret| secret.leaf.as_ref());
    let admin = SubjectName::Dns(layout::admin_server_name(&inputs.key.namespace, &inputs.key.name));
    match leaf.map(|leaf| &leaf.facts.names) {
        Some(names) if names.contains(&admin) => names.clone(),
        _ => {
            let services = inputs.routes.iter().map(|route| route.spec.backend_ref.name.clone()).collect();
            names::server_names(settings, &inputs.key, &services, &[])
        }
    }
}

/// Whether a pod keeps an orphaned lock alive.
pub fn keeps_alive(pod: &PodFacts) -> bool {
    pod.mounts_lock_secret && !pod.finished()
}
