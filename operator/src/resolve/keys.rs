//! One route's key on one gateway: whether it is handed out, and what becomes of its objects.

use postern_config::layout;
use postern_crds::rollout::Stage;
use postern_crds::{ApiRoute, ConditionType, Reason};

use crate::inputs::{ExistingKey, Inputs, KeyId};
use crate::plan::{BackendPlan, BasicSource, Door, Kept, KeyAction, KeyPlan, KeyStep, Refusal};
use crate::resolve::credentials::{self, Part, Wanted};
use crate::resolve::gateways::{self, Asker};
use crate::resolve::leaves;
use crate::resolve::routes::{Site, accepted, earliest, name};
use crate::settings::{Flavour, Gateway, Settings};

/// Plans one route's key on one gateway. `backend`: where the route leads, if it holds.
pub fn plan(
    site: &Site<'_>,
    route: &ApiRoute,
    gateway_name: &str,
    backend: Option<&BackendPlan>,
    again_at: &mut Option<jiff::Timestamp>,
) -> KeyPlan {
    let Site { settings, inputs, .. } = site;
    let mut plan = unplanned(settings, inputs, route, gateway_name);
    let gateway = match allowed(settings, inputs, route, gateway_name) {
        Ok(gateway) => gateway,
        Err(refusal) => {
            plan.refusals.push(refusal);
            plan.action = KeyAction::Remove;
            return plan;
        }
    };
    let Some(backend) = backend else { return plan };
    plan.refusals.extend(flavour_objection(gateway, backend));
    plan.refusals.extend(not_believed(site, gateway_name, backend));
    plan.refusals.extend(foreign(inputs, &plan));
    if let (true, Some((refusal, action))) = (plan.refusals.is_empty(), unread(inputs, &plan)) {
        plan.refusals.push(refusal);
        plan.action = action;
        return plan;
    }
    if plan.refusals.is_empty() {
        let secret = existing(inputs, &plan).and_then(|existing| existing.secret.ours());
        let clock = site.clock.of_route(route.spec.rotation.as_ref());
        let decision = leaves::client(&clock, secret, &plan.identity, &site.published);
        let (credentials, credentials_again_at) = credentials::decide(
            &clock,
            &wanted(site, &backend.door),
            &plan.id.object_name(),
            secret.map(|secret| &secret.credentials),
            &site.published,
        );
        *again_at = earliest(*again_at, earliest(decision.again_at, credentials_again_at));
        let step = KeyStep { leaf: decision.plan, credentials };
        plan.action = if site.stage == Stage::Injecting {
            plan.refusals.push(Refusal::new(
                ConditionType::Programmed,
                Reason::Pending,
                held_back(&plan, inputs),
            ));
            KeyAction::Renew(step)
        } else {
            KeyAction::Write(step)
        };
    }
    plan
}

/// A gateway's certificate is from Postern, and the lock's author may have left Postern out.
fn not_believed(site: &Site<'_>, gateway: &str, backend: &BackendPlan) -> Option<Refusal> {
    let needless = site.authorities.believes_postern() || !backend.door.knows_certificates();
    (!needless).then(|| {
        let message = format!(
            "the certificate of gateway {gateway} is from Postern, which clientAuthorities of BackendTrust {} leaves out: add \
             {{name: postern, type: Postern}} there, or leave the gateway out",
            site.inputs.key.name
        );
        accepted(Reason::LockNotPossible, message)
    })
}

/// What a door asks a gateway for beside its certificate.
fn wanted(site: &Site<'_>, door: &Door) -> Wanted {
    let references = site.references;
    let basic = match door.basic().map(|basic| &basic.source) {
        None | Some(BasicSource::Users { .. }) => Part::No,
        Some(BasicSource::Generated) => Part::Generated,
        Some(BasicSource::Own { secret }) => {
            references.credential(secret).map_or(Part::Unresolved, |own| Part::Own(own.clone()))
        }
    };
    let header = match door.header().map(|header| &header.own) {
        None => Part::No,
        Some(None) => Part::Generated,
        Some(Some(own)) => references.value(own).map_or(Part::Unresolved, |value| Part::Own(value.clone())),
    };
    let header_name = door.header().map(|header| header.name.clone()).unwrap_or_default();
    Wanted { basic, header, header_name }
}

/// A gateway that went on to TLS now would not reach the pods that still run without the lock.
fn held_back(key: &KeyPlan, inputs: &Inputs) -> String {
    format!(
        "the configuration {}/{} is written once every pod of BackendTrust {} runs behind the lock (rollout Staged, stage \
         Injecting): until then the gateway goes on calling as it did",
        key.namespace.as_deref().unwrap_or_default(),
        key.id.object_name(),
        inputs.key.name
    )
}

/// The gateway, if the route may use it.
///
/// # Errors
/// See [`gateways::resolve`].
pub fn allowed<'a>(
    settings: &'a Settings,
    inputs: &Inputs,
    route: &ApiRoute,
    gateway: &str,
) -> Result<&'a Gateway, Refusal> {
    let asker = Asker {
        namespace: &inputs.key.namespace,
        namespace_labels: &inputs.namespace_labels,
        hostnames: &route.spec.hostnames,
    };
    gateways::resolve(settings, gateway, &asker)
}

/// A key of which nothing is decided yet.
pub fn unplanned(settings: &Settings, inputs: &Inputs, route: &ApiRoute, gateway: &str) -> KeyPlan {
    let namespace = &inputs.key.namespace;
    let declared = settings.gateways.get(gateway);
    KeyPlan {
        id: KeyId {
            gateway: gateway.to_owned(),
            namespace: namespace.clone(),
            route: name(route).to_owned(),
        },
        flavour: declared.map(|gateway| gateway.flavour),
        namespace: declared.map(|gateway| gateway.output_namespace(&settings.namespace).to_owned()),
        refusals: Vec::new(),
        identity: layout::gateway_identity(&settings.trust_domain, namespace, gateway, name(route)),
        action: KeyAction::Leave,
    }
}

/// What lies where the key's objects belong.
pub fn existing<'a>(inputs: &'a Inputs, key: &KeyPlan) -> Option<&'a ExistingKey> {
    inputs.keys.get(&key.id).filter(|existing| Some(&existing.namespace) == key.namespace.as_ref())
}

/// Refuses to write over somebody else's object.
pub fn foreign(inputs: &Inputs, key: &KeyPlan) -> Option<Refusal> {
    let existing = existing(inputs, key)?;
    let kind = match (existing.secret.is_foreign(), existing.config_map.is_foreign()) {
        (false, false) => return None,
        (true, false) => "Secret",
        (false, true) => "ConfigMap",
        (true, true) => "Secret and ConfigMap",
    };
    Some(Refusal::new(
        ConditionType::Programmed,
        Reason::NotOwned,
        format!(
            "{kind} {}/{} exists and is not Postern's (it has no label app.kubernetes.io/managed-by: postern), so it was \
             left alone and the gateway has no key: delete or rename it",
            existing.namespace,
            key.id.object_name()
        ),
    ))
}

/// Of what can't be read nothing is known, so it stays as it is, and who was let in by it still is.
pub fn unread(inputs: &Inputs, key: &KeyPlan) -> Option<(Refusal, KeyAction)> {
    let namespace = key.namespace.as_ref()?;
    let why = inputs.unreadable.get(namespace)?;
    let message = format!(
        "Secret and ConfigMap {namespace}/{} can't be read, so they stay as they are, and the pods let in whom they let in \
         before: {why}; if namespace {namespace} was deleted, create it again; then helm upgrade gives Postern its rights \
         there anew, or take gateway {} out of the chart's values",
        key.id.object_name(),
        key.id.gateway
    );
    let refusal = Refusal::new(ConditionType::Programmed, Reason::WriteFailed, message);
    let routes = inputs.published().into_iter().flat_map(|content| &content.policy.routes);
    let caller = routes
        .flat_map(|route| &route.callers)
        .find(|caller| caller.identity() == Some(key.identity.as_str()));
    let kept = caller.map(|caller| Kept {
        pins: caller.pins().cloned().collect(),
        credentials: caller.credentials.clone(),
        header_values: caller.header_values.clone(),
    });
    Some((refusal, KeyAction::Unread(kept.unwrap_or_default())))
}

fn flavour_objection(gateway: &Gateway, backend: &BackendPlan) -> Option<Refusal> {
    match gateway.flavour {
        Flavour::Nginx if backend.addresses.is_empty() => Some(accepted(
            Reason::LockNotPossible,
            format!(
                "Service {} is headless (clusterIP: None), and gateway {} (NGINX) needs an address that stays, since it \
                 looks names up only when it starts: name a Service with a cluster IP in backendRef",
                backend.service, gateway.name
            ),
        )),
        Flavour::Nginx => None,
    }
}
