//! A lock that exists: whether it makes sense, what it demands of its pods, and what its routes make of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Service;
use postern_config::layout;
use postern_config::policy::{Enforcement, PortRef, Transport};
use postern_crds::backend_trust::UpdateStrategyType;
use postern_crds::rollout::Stage;
use postern_crds::{BackendTrust, ConditionType, Reason};

use crate::injection::shape::{Admitted, Shape};
use crate::inputs::Inputs;
use crate::plan::{
    AdmissionPlan, BundlePlan, Door, LockPlan, LockState, Plan, PodsPlan, PortAccess, PortPlan, Refusal,
    Removals, RoutePlan,
};
use crate::resolve::leaves::{self, Clock, Published};
use crate::resolve::policy;
use crate::resolve::ports::{self, LockPorts, PodPorts};
use crate::resolve::references::References;
use crate::resolve::routes::{self, Site, earliest};
use crate::resolve::selectors::Selector;
use crate::resolve::territory::Territory;
use crate::resolve::{authorities, backend, callers, names, pods, revoked, sidecar, stage, users};
use crate::settings::Settings;

/// Decides about a lock that exists.
pub fn resolve(settings: &Settings, inputs: &Inputs, trust: &BackendTrust) -> Plan {
    let objections = Objections::new(settings, inputs, trust);
    let closed = objections.closed;
    let territory = Territory::new(trust, objections.selector.clone().unwrap_or_default(), inputs);
    let own = || territory.pods(&inputs.pods).filter(|_| objections.selector.is_some());
    let pod_ports = PodPorts::new(own());
    let services: Vec<&Service> = inputs.services.iter().map(AsRef::as_ref).collect();
    let leading: Vec<&Service> = backend::leading_to(&services, &territory).collect();
    let lock_ports = ports::judge(trust, &pod_ports, &leading, &settings.floor);
    let (further_names, name_refusals) = names::further_names(settings, trust);
    let revoked = revoked::revoked(trust);
    let clock = Clock::of_lock(inputs.now, settings.lifetimes, trust.spec.rotation.as_ref(), &revoked);
    let references = References::new(inputs, trust, lock_ports.doors());
    let authorities = authorities::resolve(inputs, trust, &settings.floor);
    let callers = callers::resolve(inputs, trust, &authorities, &references);
    let enforcement = stage::plan(inputs, trust);
    let site = Site {
        settings,
        inputs,
        services: &services,
        territory: &territory,
        pod_ports: &pod_ports,
        lock_ports: &lock_ports,
        further_names: &further_names,
        closed: closed || !objections.writable,
        references: &references,
        authorities: &authorities,
        callers: &callers,
        clock,
        published: Published::new(inputs),
        stage: enforcement.stage,
    };
    let (routes, again_at) = routes::resolve(&site);
    let mut ports = if closed { Vec::new() } else { port_plans(&lock_ports, &routes, &pod_ports) };
    stage::apply(&enforcement, &mut ports);
    let judged = pods::judge(inputs, deployed_hash(inputs).as_deref());

    let served =
        routes.iter().filter_map(|route| route.backend.as_ref()).map(|backend| backend.service.clone());
    let server_names = names::server_names(settings, &inputs.key, &served.collect(), &further_names);
    let existing = inputs.lock_secret.ours();
    let leaf = leaves::server(&clock, existing.and_then(|secret| secret.leaf.as_ref()), &server_names);
    let routes_of_policy: &[RoutePlan] = if closed { &[] } else { &routes };
    let mut policy = policy::policy(&inputs.key.namespace, authorities.list, &ports, routes_of_policy);
    policy.tenant = callers.tenant;
    policy.revoked = revoked.iter().cloned().collect();
    users::fill(&mut policy, &ports, &references, existing.and_then(|secret| secret.bundle.as_ref()));
    let bundle = objections.writable.then(|| BundlePlan {
        trust_uid: trust.metadata.uid.clone().unwrap_or_default(),
        policy,
        settings: trust.spec.sidecar.as_ref().map(sidecar::settings).unwrap_or_default(),
        callers: policy::callers(&routes),
        kept: policy::kept(&routes),
        credentials: callers.credentials,
        leaf: leaf.plan,
        previous: existing.and_then(|secret| secret.bundle.clone()),
    });

    let open_udp = ports::open_udp(trust);
    let mode_label = mode_label(&lock_ports);
    let mut refusals = objections.refusals;
    refusals.extend(lock_ports.refusals);
    refusals.extend(name_refusals);
    refusals.extend(authorities.refusals.into_iter().chain(callers.refusals));
    refusals.extend(references.refusals);
    refusals.extend(conflicts(&judged));
    let lock = LockPlan {
        uid: trust.metadata.uid.clone().unwrap_or_default(),
        generation: trust.metadata.generation.unwrap_or_default(),
        refusals,
        closed,
        locks_label: locks_label(
            &lock_ports.default,
            &ports,
            &open_udp,
            enforcement.stage,
            trust.spec.trusted_workload == Some(true),
        ),
        ports,
        enforcement,
        open_udp,
        listens: !redirects(trust),
        admission: objections.armable.then(|| admission(inputs, trust, &territory)),
        selector: objections.selector,
        replace_pods: trust.spec.update_strategy.as_ref().map(|strategy| strategy.type_).unwrap_or_default()
            == UpdateStrategyType::RollingUpdate,
        mode_label,
        callers: callers.facts,
    };
    Plan {
        key: inputs.key.clone(),
        now: inputs.now,
        requeue_at: earliest(
            earliest(again_at, earliest(look_at_references(inputs), lock.enforcement.deadline)),
            leaf.again_at.filter(|_| bundle.is_some()),
        ),
        seen: pods::seen(inputs),
        lock: LockState::Present(Box::new(lock)),
        bundle,
        routes,
        pods: judged,
        remove: Removals::default(),
    }
}

/// Secrets and `ConfigMap`s of somebody else's can't be watched without the right to list them, so they are read again
/// and again.
const REFERENCES_EVERY: SignedDuration = SignedDuration::from_secs(30);

fn look_at_references(inputs: &Inputs) -> Option<Timestamp> {
    let names_none = inputs.references.is_empty() && inputs.documents.is_empty();
    if names_none { None } else { inputs.now.saturating_add(REFERENCES_EVERY).ok() }
}

/// The hash of the configuration that lies in the cluster, if it can be read.
pub fn deployed_hash(inputs: &Inputs) -> Option<String> {
    inputs.published()?.hash().ok()
}

/// What is said against the lock as a whole.
struct Objections {
    selector: Option<Selector>,
    refusals: Vec<Refusal>,
    /// Nobody is let in.
    closed: bool,
    /// The lock's Secret may be written.
    writable: bool,
    /// Admission may be armed.
    armable: bool,
}

impl Objections {
    fn new(settings: &Settings, inputs: &Inputs, trust: &BackendTrust) -> Self {
        let mut this =
            Self { selector: None, refusals: Vec::new(), closed: false, writable: true, armable: true };
        let namespace = &inputs.key.namespace;
        match selector(trust) {
            Ok(selector) => this.selector = Some(selector),
            Err(message) => this.close(Reason::LockNotPossible, message),
        }
        if let Some(refusal) = routes::too_long("BackendTrust", &inputs.key.name) {
            this.writable = false;
            this.close(refusal.reason, refusal.message);
        }
        if settings.is_reserved_namespace(namespace) {
            this.writable = false;
            this.close(
                Reason::NamespaceNotAllowed,
                format!(
                    "namespace {namespace} belongs to the cluster or to Postern itself, and admission leaves it alone, so no \
                     lock can hold there: move the workload to a namespace of its own"
                ),
            );
        }
        if let Some(standard) = forbidding_standard(&inputs.namespace_labels).filter(|_| redirects(trust)) {
            let message = format!(
                "namespace {namespace} enforces the Pod Security standard {standard}, which forbids the capability \
                 NET_ADMIN that the init container {} needs to close a pod's network: write interception: Listener, which needs \
                 none and an application that listens on 127.0.0.1 alone; or label the namespace \
                 {POD_SECURITY_LABEL}=privileged, and let a policy of your own hold its other pods to {standard}",
                layout::REDIRECT_CONTAINER
            );
            // A label that comes later must not open or stop what already runs behind the lock.
            if is_withheld(trust, &inputs.namespace_labels, inputs.armed_since.is_some()) {
                this.close(Reason::LockNotPossible, message);
            } else {
                this.refusals.push(Refusal::new(ConditionType::Accepted, Reason::LockNotPossible, message));
            }
        }
        if inputs.lock_secret.is_foreign() {
            this.writable = false;
            this.refusals.push(Refusal::new(
                ConditionType::Programmed,
                Reason::NotOwned,
                format!(
                    "Secret {namespace}/{} exists and is not Postern's (it has no label app.kubernetes.io/managed-by: \
                     postern), so it was left alone and the pods have no configuration: delete or rename it",
                    layout::secret_name(&inputs.key.name)
                ),
            ));
        }
        if inputs.admission.is_foreign() {
            this.armable = false;
            this.refusals.push(Refusal::new(
                ConditionType::Armed,
                Reason::AdmissionNotReady,
                format!(
                    "ValidatingAdmissionPolicy {0}.{namespace}.postern.dev, or the ValidatingAdmissionPolicyBinding of that \
                     name, exists and is not Postern's (it has no label app.kubernetes.io/managed-by: postern), so it was \
                     left alone, and the API server doesn't refuse unguarded pods: delete it",
                    inputs.key.name
                ),
            ));
        }
        this
    }

    fn close(&mut self, reason: Reason, message: String) {
        self.closed = true;
        self.armable = false;
        self.refusals.push(Refusal::new(ConditionType::Accepted, reason, message));
    }
}

fn selector(trust: &BackendTrust) -> Result<Selector, String> {
    let remedy = "create another BackendTrust with a correct one, then delete this one";
    let selector = Selector::new(trust.spec.pod_selector.clone())
        .map_err(|error| format!("podSelector can't be read: {error}; {remedy}"))?;
    if selector.is_empty() {
        return Err(format!("podSelector is empty and would lock every pod of the namespace: {remedy}"));
    }
    if !selector.is_satisfiable() {
        return Err(format!("podSelector contradicts itself, so that no pod can ever fit: {remedy}"));
    }
    Ok(selector)
}

/// The label by which a namespace enforces a Pod Security standard.
pub const POD_SECURITY_LABEL: &str = "pod-security.kubernetes.io/enforce";

/// The Pod Security standard of a namespace with these labels, if it forbids the redirect's capability.
pub fn forbidding_standard(namespace_labels: &BTreeMap<String, String>) -> Option<&str> {
    namespace_labels
        .get(POD_SECURITY_LABEL)
        .map(String::as_str)
        .filter(|level| matches!(*level, "baseline" | "restricted"))
}

/// Whether a lock is refused because of its namespace's Pod Security standard, so that its pods must be let start as
/// they are. One that was armed before stays as it was.
pub fn is_withheld(trust: &BackendTrust, namespace_labels: &BTreeMap<String, String>, armed: bool) -> bool {
    !armed && redirects(trust) && forbidding_standard(namespace_labels).is_some()
}

/// Whether its pods need the redirect.
fn redirects(trust: &BackendTrust) -> bool {
    !Shape::of(trust).listens()
}

fn conflicts(pods: &PodsPlan) -> Vec<Refusal> {
    let mut by_lock: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (pod, lock) in &pods.lost {
        by_lock.entry(lock).or_default().push(pod.clone());
    }
    let refusals = by_lock.into_iter().map(|(lock, pods)| {
        Refusal::new(
            ConditionType::Accepted,
            Reason::Conflicted,
            format!(
                "the older BackendTrust {lock} selects some of the same pods and counts for them: {}; create a \
                 BackendTrust with a narrower podSelector in place of this one, or delete {lock}",
                backend::some_of(&pods)
            ),
        )
    });
    refusals.collect()
}

fn admission(inputs: &Inputs, trust: &BackendTrust, territory: &Territory) -> AdmissionPlan {
    let selector = &territory.selector;
    let older = territory.rivals().filter_map(|(name, _)| {
        let rival = inputs.other_trusts.iter().find(|other| other.metadata.name.as_ref() == Some(name))?;
        Some(Admitted::of(name, rival))
    });
    // Who selects whatever this lock selects can't be avoided, and is no reason not to avoid the others.
    let avoidable: Vec<_> =
        territory.others().map(|(_, other)| other).filter(|other| !selector.implies(other)).collect();
    let probe_labels = selector.example_labels(&avoidable).unwrap_or_default();
    let selecting = territory.others().filter(|(_, other)| other.matches(&probe_labels));
    AdmissionPlan {
        selector: selector.clone(),
        trusts: std::iter::once(Admitted::of(&inputs.key.name, trust)).chain(older).collect(),
        probe_also_selected_by: selecting.map(|(name, _)| name.clone()).collect(),
        probe_labels,
    }
}

fn port_plans(lock_ports: &LockPorts, routes: &[RoutePlan], pods: &PodPorts) -> Vec<PortPlan> {
    let mut plans: BTreeMap<PortRef, PortPlan> = BTreeMap::new();
    let plan = |port: &PortRef, protocol, access| PortPlan {
        port: port.clone(),
        numbers: pods.numbers(port),
        protocol,
        access,
        services: BTreeSet::new(),
    };
    for entry in &lock_ports.entries {
        let port = plan(&entry.port, entry.assumed_protocol(), entry.access.clone());
        plans.insert(entry.port.clone(), port);
    }
    for route in routes.iter().filter(|route| route.attached()) {
        let Some(backend) = &route.backend else { continue };
        let unlisted = || plan(&backend.port, backend.protocol, PortAccess::Locked(backend.door.clone()));
        let entry = plans.entry(backend.port.clone()).or_insert_with(unlisted);
        entry.services.insert(route.backend_label.clone());
        // An entry that names no protocol takes the one that its routes agreed on.
        if !entry.access.is_open() {
            entry.protocol = backend.protocol;
        }
    }
    plans.into_values().collect()
}

/// The modes of the lock's own door and of single ports', each once.
fn mode_label(lock_ports: &LockPorts) -> String {
    let modes = lock_ports.doors().filter_map(Door::caller).map(|caller| format!("{:?}", caller.mode));
    let modes = each_once(modes);
    if modes.is_empty() { "-".to_owned() } else { modes.join(", ") }
}

/// In the order of their first appearance.
fn each_once(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = Vec::new();
    for text in texts {
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen
}

/// The lock's own door first, then those of single ports that differ, then what weakens them.
fn locks_label(
    default: &Door,
    ports: &[PortPlan],
    open_udp: &BTreeSet<u16>,
    stage: Stage,
    trusted: bool,
) -> String {
    let doors = || std::iter::once(default).chain(ports.iter().filter_map(|port| port.access.door()));
    let labels = each_once(doors().map(ToString::to_string));
    let plaintext =
        if doors().any(|door| door.transport == Transport::Plaintext) { " plaintext" } else { "" };
    let audited = ports.iter().filter_map(|port| port.access.door());
    let audited = audited.filter(|door| door.enforcement == Enforcement::Audit).count();
    let audit = match (stage, audited) {
        (Stage::Injecting | Stage::Permissive, _) => " staged",
        (Stage::Enforcing, 0) => "",
        (Stage::Enforcing, _) => " audit",
    };
    let open = ports.iter().filter(|port| port.access.is_open()).count() + open_udp.len();
    let open = if open == 0 { String::new() } else { format!(" +{open} open") };
    let trusted = if trusted { ", trusted workload" } else { "" };
    format!("{}{plaintext}{audit}{open}{trusted}", labels.join(", "))
}
