//! When a stage begins and ends; the rest is in the golden cases `staged…` and `audit`.

use postern_config::policy::{
    CertificateMatch, Credential, ForwardedCertificate, Locks, Port, PortRef, Protocol, Require, Transport,
    Upstream,
};
use serde_json::json;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_291_200 + seconds).unwrap()
}

fn trust(spec: &serde_json::Value) -> BackendTrust {
    let mut object = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "BackendTrust",
        "metadata": {"namespace": "shop", "name": "orders", "creationTimestamp": at(0).to_string()},
        "spec": {"podSelector": {"matchLabels": {"app": "orders"}}},
    });
    json_patch::merge(&mut object["spec"], spec);
    serde_json::from_value(object).unwrap()
}

#[test]
fn a_stage_ends_at_its_deadline_and_what_was_reached_is_kept() {
    let staged = json!({"rollout": {"type": "Staged"}});
    let short = json!({"rollout": {"type": "Staged", "deadline": "10m"}});
    let immediate = json!({});
    for (case, spec, now, reached, expected) in [
        ("no stages", &immediate, 0, None, Stage::Enforcing),
        ("stages taken out", &immediate, 0, Some(Stage::Injecting), Stage::Enforcing),
        ("a new lock", &staged, 0, None, Stage::Injecting),
        ("on its way", &staged, 3599, Some(Stage::Permissive), Stage::Permissive),
        ("an hour", &staged, 3600, Some(Stage::Permissive), Stage::Enforcing),
        ("before a deadline of its own", &short, 599, Some(Stage::Injecting), Stage::Injecting),
        ("a deadline of its own", &short, 600, Some(Stage::Injecting), Stage::Enforcing),
        ("done", &staged, 60, Some(Stage::Enforcing), Stage::Enforcing),
        ("stages asked for later", &staged, 90_000, None, Stage::Enforcing),
    ] {
        let progress = Progress { stage: reached, ..Progress::default() };
        let plan = plan_of(at(now), &progress, &trust(spec));
        assert_eq!(plan.stage, expected, "{case}");
        assert_eq!(plan.deadline.is_some(), expected != Stage::Enforcing, "{case}");
    }
}

#[test]
fn what_ends_a_stage_early_is_kept_and_never_makes_it_longer() {
    let staged = trust(&json!({"rollout": {"type": "Staged", "deadline": "10m"}}));
    for (case, ends, now, stage, deadline) in [
        ("before the deadline", 300, 299, Stage::Permissive, Some(300)),
        ("over", 300, 300, Stage::Enforcing, None),
        ("after the deadline", 900, 599, Stage::Permissive, Some(600)),
        ("after the deadline, over", 900, 600, Stage::Enforcing, None),
    ] {
        let progress =
            Progress { stage: Some(Stage::Permissive), stage_ends: Some(at(ends)), ..Progress::default() };
        let plan = plan_of(at(now), &progress, &staged);
        assert_eq!((plan.stage, plan.deadline), (stage, deadline.map(at)), "{case}");
    }
}

#[test]
fn a_promotion_lasts_as_long_as_the_lock_asks_for_one() {
    let progress = Progress { promoted_at: Some(at(5)), ..Progress::default() };
    let asks = trust(&json!({"enforcement": "Audit", "promoteAfter": "1h"}));
    let no_more = trust(&json!({"enforcement": "Audit"}));
    assert_eq!(plan_of(at(9), &progress, &asks).promoted_at, Some(at(5)));
    assert_eq!(plan_of(at(9), &progress, &no_more).promoted_at, None);
    let waiting = plan_of(at(9), &Progress::default(), &asks);
    assert_eq!((waiting.promoted_at, waiting.promote_after), (None, Some(SignedDuration::from_hours(1))));
}

#[test]
fn each_gateway_of_each_route_must_have_called_and_nobody_else_counts() {
    let caller = |name: &str, pin: Option<&str>| Caller {
        name: name.to_owned(),
        certificates: pin
            .map(|pin| CertificateMatch::Identity {
                authority: "postern".to_owned(),
                identity: String::new(),
                keys: Some(vec![pin.to_owned(), format!("{pin}-next")]),
            })
            .into_iter()
            .collect(),
        credentials: Vec::new(),
        header_values: Vec::new(),
    };
    let route = |name: &str, callers| Route {
        name: name.to_owned(),
        port: PortRef::Number(8080),
        callers,
        hostnames: Vec::new(),
        rules: Vec::new(),
        forwarded_certificate: ForwardedCertificate::default(),
    };
    let policy = |routes| Policy {
        authorities: Vec::new(),
        ports: Vec::new(),
        routes,
        tenant: Vec::new(),
        revoked: Vec::new(),
    };
    let full = policy(vec![
        route("shop/a", vec![caller("gateway/edge", Some("a")), caller("caller/acme", None)]),
        route("shop/b", vec![caller("gateway/edge", Some("b"))]),
    ]);
    for (case, policy, seen, expected) in [
        ("no policy", None, vec![], 1),
        ("no route", Some(policy(Vec::new())), vec![], 1),
        ("nobody", Some(full.clone()), vec![], 2),
        ("somebody else", Some(full.clone()), vec!["key:c", "a"], 2),
        ("one of two", Some(full.clone()), vec!["key:a"], 1),
        ("both, one with its next key", Some(full), vec!["key:a", "key:b-next"], 0),
    ] {
        let loaded =
            Loaded { seen: seen.iter().map(|key| ((*key).to_owned(), 1)).collect(), ..Loaded::default() };
        assert_eq!(unseen(policy.as_ref(), &[&Loaded::default(), &loaded]).len(), expected, "{case}");
    }

    // Users' credentials alone open the port, or beside something of the gateway's own.
    let users = Lock::Basic {
        header_name: "authorization".to_owned(),
        upstream: Upstream::Strip,
        users: Some(vec![Credential {
            id: "alice".to_owned(),
            username: "alice".to_owned(),
            verifier: String::new(),
        }]),
    };
    for (case, list, seen, expected) in [
        ("users alone, nobody", vec![users.clone()], vec![], 1),
        ("users alone, another's", vec![users.clone()], vec!["bob", "key:a"], 1),
        ("users alone", vec![users.clone()], vec!["alice"], 0),
        ("users and a key, a user", vec![users.clone(), Lock::MutualTLS], vec!["alice"], 1),
        ("users and a key", vec![users, Lock::MutualTLS], vec!["key:a"], 0),
    ] {
        let mut policy = policy(vec![route("shop/a", vec![caller("gateway/edge", Some("a"))])]);
        policy.ports.push(Port {
            port: PortRef::Number(8080),
            protocol: Protocol::HTTP,
            access: Access::Locked { locks: Locks { require: Require::All, list } },
            transport: Transport::TLS,
            enforcement: Enforcement::Audit,
        });
        let seen = seen.iter().map(|id| ((*id).to_owned(), 1)).collect();
        let loaded = Loaded { seen, ..Loaded::default() };
        assert_eq!(unseen(Some(&policy), &[&loaded]).len(), expected, "{case}");
    }
}
