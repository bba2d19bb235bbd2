//! The whole status of a lock and of its routes. Transition times are `now` throughout; whoever writes a status keeps
//! the old one of a condition that has not changed.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use postern_config::policy::{self, Protocol, Transport};
use postern_crds::api_route::{
    ApiRouteStatus, BackendStatus, ConfigurationRef, CredentialsStatus, GatewayCertificate, GatewayStatus,
    RouteSummary, SecretRef,
};
use postern_crds::backend_trust::{
    BackendTrustStatus, CertificateStatus, PodsStatus, PortStatus, TrustSummary,
};
use postern_crds::callers::CallerStatus;
use postern_crds::rollout::{AuditStatus, Enforcement};
use postern_crds::{backend_trust, limits};

use crate::inputs::{KeyCredentials, LeafFacts, basic_id, header_id};
use crate::plan::{
    Advance, AuditSum, CallerFacts, KeyPlan, LockPlan, Material, Outcome, Plan, PodsPlan, PortPlan, RoutePlan,
};
use crate::render::Objects;
use crate::resolve::conditions::{self, Verdict};
use crate::resolve::leaves;

/// The status of the `BackendTrust`, if it exists.
pub fn trust(plan: &Plan, material: &Material, outcome: &Outcome) -> Option<BackendTrustStatus> {
    let lock = plan.lock.present()?;
    let (pods, advance) = (&outcome.pods, outcome.advance.as_ref());
    Some(BackendTrustStatus {
        observed_generation: Some(lock.generation),
        conditions: conditions(&conditions::lock(plan, outcome), lock.generation, plan.now),
        summary: Some(TrustSummary {
            locks: Some(lock.locks_label.clone()),
            mode: Some(cut(&lock.mode_label)),
            guarded: Some(format!("{}/{}", pods.guarded(), pods.selected())),
        }),
        stage: Some(advance.and_then(|advance| advance.progress.stage).unwrap_or(lock.enforcement.stage)),
        stage_ends: advance.and_then(|advance| advance.progress.stage_ends).map(Time),
        promoted_at: match advance {
            Some(advance) => advance.progress.promoted_at,
            None => lock.enforcement.promoted_at,
        }
        .map(Time),
        config_hash: outcome.lock_secret.clone().ok().flatten(),
        attached_routes: i32::try_from(plan.routes.iter().filter(|route| route.attached()).count()).ok(),
        pods: Some(pods_status(pods)),
        ports: ports(lock, advance),
        certificates: material.server.iter().map(|leaf| certificate(&leaf.facts)).collect(),
        callers: lock.callers.iter().map(caller).collect(),
    })
}

fn conditions(verdicts: &[Verdict], generation: i64, now: Timestamp) -> Vec<Condition> {
    verdicts.iter().map(|verdict| verdict.to_condition(generation, now)).collect()
}

fn pods_status(pods: &PodsPlan) -> PodsStatus {
    let count = |number| i32::try_from(number).unwrap_or(i32::MAX);
    PodsStatus {
        selected: count(pods.selected()),
        guarded: count(pods.guarded()),
        current: count(pods.current()),
        unguarded: pods.unguarded().take(limits::UNGUARDED).map(|(pod, _)| pod.name.clone()).collect(),
    }
}

/// One entry for each number of TCP, and one for each open UDP port; a port whose name no pod has yet is left out.
fn ports(lock: &LockPlan, advance: Option<&Advance>) -> Vec<PortStatus> {
    let mut seen = BTreeSet::new();
    let numbered = lock
        .ports
        .iter()
        .flat_map(|plan| plan.numbers.iter().map(move |(number, name)| (*number, name, plan)));
    let mut ports: Vec<_> = numbered
        .filter(|(number, ..)| seen.insert(*number))
        .map(|(number, name, plan)| PortStatus {
            audit: advance.and_then(|advance| advance.audits.get(&number)).map(audit),
            ..port(number, name.clone(), plan)
        })
        .chain(lock.open_udp.iter().copied().map(udp_port))
        .collect();
    ports.sort_by(|a, b| (a.port, &a.transport).cmp(&(b.port, &b.transport)));
    ports.truncate(limits::STATUS_PORTS);
    ports
}

fn port(number: u16, name: Option<String>, plan: &PortPlan) -> PortStatus {
    let door = plan.access.door();
    let protocol = match plan.protocol {
        Protocol::HTTP => backend_trust::Protocol::HTTP,
        Protocol::H2C => backend_trust::Protocol::H2C,
        Protocol::HTTPS => backend_trust::Protocol::HTTPS,
        Protocol::TCP | Protocol::UDP => backend_trust::Protocol::TCP,
    };
    PortStatus {
        port: number,
        name,
        protocol: door.map(|_| protocol),
        locks: door.map_or_else(|| "open".to_owned(), ToString::to_string),
        transport: format!("{:?}", door.map_or(Transport::Plaintext, |door| door.transport)),
        enforcement: door.map(|door| match door.enforcement {
            policy::Enforcement::Enforce => Enforcement::Enforce,
            policy::Enforcement::Audit => Enforcement::Audit,
        }),
        audit: None,
        services: plan.services.iter().take(limits::SERVICES).cloned().collect(),
    }
}

fn audit(sum: &AuditSum) -> AuditStatus {
    AuditStatus {
        would_deny: i64::try_from(sum.would_deny).unwrap_or(i64::MAX),
        clean_since: Time(sum.clean_since),
    }
}

fn udp_port(number: u16) -> PortStatus {
    PortStatus {
        port: number,
        name: None,
        protocol: Some(backend_trust::Protocol::UDP),
        locks: "open".to_owned(),
        transport: "UDP".to_owned(),
        enforcement: None,
        audit: None,
        services: Vec::new(),
    }
}

fn caller(facts: &CallerFacts) -> CallerStatus {
    CallerStatus {
        name: facts.name.clone(),
        sha256: facts.sha256.clone(),
        not_after: facts.not_after.map(Time),
    }
}

fn certificate(facts: &LeafFacts) -> CertificateStatus {
    CertificateStatus {
        name: "postern".to_owned(),
        sha256: facts.certificate_sha256.clone(),
        not_after: Time(facts.not_after),
        renewal_time: Time(whole_seconds(leaves::renewal_time(facts))),
    }
}

/// As a status is stored, so that what is read equals what was written.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The status of one `ApiRoute`.
pub fn route(
    plan: &Plan,
    route: &RoutePlan,
    material: &Material,
    objects: &Objects,
    outcome: &Outcome,
) -> ApiRouteStatus {
    let names: Vec<_> = route.keys.iter().map(|key| key.id.gateway.as_str()).collect();
    let gateways: Vec<_> =
        route.keys.iter().map(|key| gateway(plan, route, key, material, objects, outcome)).collect();
    let secrets: Vec<_> = gateways
        .iter()
        .filter_map(|gateway| gateway.secret_ref.as_ref())
        .map(|secret| format!("{}/{}", secret.namespace, secret.name))
        .collect();
    ApiRouteStatus {
        observed_generation: Some(route.generation),
        conditions: conditions(&conditions::route(plan, route, outcome), route.generation, plan.now),
        summary: Some(RouteSummary {
            gateways: (!names.is_empty()).then(|| cut(&names.join(","))),
            backend: Some(cut(&route.backend_label)),
            secrets: (!secrets.is_empty()).then(|| cut(&secrets.join(","))),
        }),
        backend: route.backend.as_ref().map(|backend| BackendStatus {
            server_name: Some(backend.server_name.clone()),
            container_port: backend.container_port,
        }),
        gateways,
    }
}

fn cut(text: &str) -> String {
    text.chars().take(limits::SUMMARY).collect()
}

fn gateway(
    plan: &Plan,
    route: &RoutePlan,
    key: &KeyPlan,
    material: &Material,
    objects: &Objects,
    outcome: &Outcome,
) -> GatewayStatus {
    let written = matches!(outcome.keys.get(&key.id), Some(Ok(())));
    let namespace = key.namespace.clone().filter(|_| written);
    let configuration =
        objects.keys.get(&key.id).and_then(|objects| objects.as_ref().ok()?.configuration.as_ref());
    let held = material.keys.get(&key.id).filter(|_| written);
    GatewayStatus {
        name: key.id.gateway.clone(),
        flavour: key.flavour.map(|flavour| flavour.to_string()),
        conditions: conditions(&conditions::gateway(plan, route, key, outcome), route.generation, plan.now),
        secret_ref: namespace.clone().map(|namespace| SecretRef { namespace, name: key.id.object_name() }),
        configuration_ref: namespace.zip(configuration).map(|(namespace, configuration)| ConfigurationRef {
            kind: configuration.kind.to_owned(),
            namespace,
            name: key.id.object_name(),
        }),
        config_hash: configuration.filter(|_| written).map(|configuration| configuration.hash.clone()),
        certificate: held.map(|key| GatewayCertificate {
            sha256: key.current.facts.certificate_sha256.clone(),
            not_after: Time(key.current.facts.not_after),
            renewal_time: Time(whole_seconds(leaves::renewal_time(&key.current.facts))),
        }),
        credentials: held.and_then(|held| credentials(plan, &key.id.object_name(), &held.credentials)),
    }
}

/// Of what the gateway holds beside its certificate, as far as it may be told.
fn credentials(plan: &Plan, key: &str, held: &KeyCredentials) -> Option<CredentialsStatus> {
    let current = held.current.as_ref()?;
    let ids = held
        .previous
        .iter()
        .flat_map(|previous| [basic_id(key, previous.revision), header_id(key, previous.revision)]);
    Some(CredentialsStatus {
        revision: current.revision,
        issued_at: Time(current.issued_at),
        previous_last_seen: ids.filter_map(|id| plan.seen.get(&id)).max().map(|at| Time(*at)),
    })
}
