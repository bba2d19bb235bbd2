use std::collections::BTreeMap;

use postern_config::loaded::Loaded;

use super::*;
use crate::injection::shape::Shape;
use crate::inputs::Injection;

fn at(text: &str) -> Timestamp {
    format!("2026-11-21T{text}Z").parse().unwrap()
}

fn pod() -> PodFacts {
    PodFacts {
        name: "orders-0".to_owned(),
        uid: "u".to_owned(),
        created: at("10:00:00"),
        deleting: false,
        labels: BTreeMap::new(),
        owner: None,
        injection: injected(&[53], None),
        phase: Phase::Running,
        ready: true,
        sidecar_started: true,
        ips: Vec::new(),
        ports: Vec::new(),
        mounts_lock_secret: true,
        host_network: false,
        mirror: false,
        windows: false,
        config_annotation: None,
        restarted: None,
        foreign_redirect: None,
        exposed: None,
        loaded: Some(loaded(Some("sha256:new"), None)),
    }
}

fn loaded(hash: Option<&str>, rejected: Option<&str>) -> Loaded {
    Loaded {
        config_hash: hash.map(str::to_owned),
        rejected: rejected.map(str::to_owned),
        version: "1".to_owned(),
        ..Loaded::default()
    }
}

fn with(change: impl FnOnce(&mut PodFacts)) -> PodFacts {
    let mut pod = pod();
    change(&mut pod);
    pod
}

/// A lock that leaves the UDP port 53 open.
fn lock() -> Lock<'static> {
    let shape = Shape { udp_ports: [53].into(), ..Shape::default() };
    Lock { name: "orders", asks: Some(Admitted { shape, ..Admitted::plain("orders") }) }
}

/// As [`pod`] is injected.
fn injected(ports: &[u16], privileges: Option<&str>) -> Injection {
    Injection::For {
        trust: "orders".to_owned(),
        current_image: true,
        shape: Shape { udp_ports: ports.iter().copied().collect(), ..Shape::default() },
        privileges: privileges.map(ToOwned::to_owned),
    }
}

fn kind(state: &PodState) -> &'static str {
    match state {
        PodState::Current => "current",
        PodState::Outdated { .. } => "outdated",
        PodState::Reshaped { acknowledged: true, .. } => "reshaped",
        PodState::Reshaped { .. } => "reshaped, and not yet told",
        PodState::Unguarded { slipped_in: true, .. } => "slipped in",
        PodState::Unguarded { .. } => "unguarded",
        PodState::Unprotectable { .. } => "unprotectable",
        PodState::Exposed { .. } => "exposed",
        PodState::Starting => "starting",
        PodState::Leaving => "leaving",
    }
}

#[test]
#[allow(clippy::too_many_lines)] // one table
fn a_pod_is_judged_by_its_structure_and_its_own_word() {
    let bare = || Injection::No("it has no sidecar".to_owned());
    for (case, pod, expected) in [
        ("current", pod(), "current"),
        (
            "an older configuration",
            with(|pod| pod.loaded = Some(loaded(Some("sha256:old"), None))),
            "outdated",
        ),
        ("no configuration", with(|pod| pod.loaded = Some(loaded(None, Some("unsigned")))), "outdated"),
        ("silent", with(|pod| pod.loaded = None), "outdated"),
        ("its node is gone", with(|pod| (pod.loaded, pod.phase) = (None, Phase::Unknown)), "outdated"),
        (
            "starting",
            with(|pod| (pod.loaded, pod.phase, pod.sidecar_started) = (None, Phase::Pending, false)),
            "starting",
        ),
        (
            "silent while its application starts",
            with(|pod| (pod.loaded, pod.phase) = (None, Phase::Pending)),
            "outdated",
        ),
        ("answers while it starts", with(|pod| pod.phase = Phase::Pending), "current"),
        ("leaving", with(|pod| pod.deleting = true), "leaving"),
        (
            "the previous image is as safe",
            with(|pod| {
                let Injection::For { current_image, .. } = &mut pod.injection else { panic!("{pod:?}") };
                *current_image = false;
            }),
            "current",
        ),
        (
            "injected when another port was open",
            with(|pod| pod.injection = injected(&[514], None)),
            "reshaped",
        ),
        (
            "of a former shape, with an older configuration",
            with(|pod| {
                pod.injection = injected(&[], None);
                pod.loaded = Some(loaded(Some("sha256:old"), None));
            }),
            "reshaped, and not yet told",
        ),
        (
            "of a former shape, leaving",
            with(|pod| (pod.injection, pod.deleting) = (injected(&[], None), true)),
            "leaving",
        ),
        (
            "let in when the lock trusted it, and replaced in peace",
            with(|pod| {
                pod.injection = injected(&[53], Some("container app is privileged"));
                pod.created = at("11:00:01");
            }),
            "unguarded",
        ),
        ("ran before", with(|pod| pod.injection = bare()), "unguarded"),
        (
            "made in the second of arming",
            with(|pod| (pod.injection, pod.created) = (bare(), at("11:00:00"))),
            "unguarded",
        ),
        (
            "made after arming",
            with(|pod| (pod.injection, pod.created) = (bare(), at("11:00:01"))),
            "slipped in",
        ),
        (
            "made after arming, leaving",
            with(|pod| {
                (pod.injection, pod.created, pod.deleting) = (bare(), at("11:00:01"), true);
            }),
            "unguarded",
        ),
        (
            "for another lock",
            with(|pod| {
                pod.injection = Injection::plain("payments", true);
                pod.created = at("11:00:01");
            }),
            "unguarded",
        ),
        (
            "for another lock, which doesn't select it",
            with(|pod| {
                pod.injection = Injection::plain("weak", true);
                pod.created = at("11:00:01");
            }),
            "slipped in",
        ),
        (
            "for another lock, which doesn't select it, before arming",
            with(|pod| {
                pod.injection = Injection::plain("weak", true);
            }),
            "unguarded",
        ),
        ("on the node's network", with(|pod| pod.host_network = true), "unprotectable"),
        ("a mirror", with(|pod| pod.mirror = true), "unprotectable"),
        ("on Windows", with(|pod| pod.windows = true), "unprotectable"),
    ] {
        let strays = |other: &str| other == "weak";
        let state = state(&pod, &lock(), Some("sha256:new"), Some(at("11:00:00")), strays);
        assert_eq!(kind(&state), expected, "{case}");
    }
}

#[test]
fn a_trusted_workload_may_have_privileges_and_a_deleted_lock_asks_for_no_shape() {
    let pod = with(|pod| pod.injection = injected(&[53], Some("container app is privileged")));
    let mut trusting = lock();
    trusting.asks.as_mut().unwrap().trusted = true;
    let judged = |pod: &PodFacts, lock: &Lock<'_>| {
        kind(&state(pod, lock, Some("sha256:new"), Some(at("11:00:00")), |_| false))
    };
    assert_eq!((judged(&pod, &lock()), judged(&pod, &trusting)), ("unguarded", "current"));
    let deleted = Lock { name: "orders", asks: None };
    let former = with(|pod| pod.injection = injected(&[], None));
    assert_eq!((judged(&pod, &deleted), judged(&former, &deleted)), ("current", "current"));
}

#[test]
fn without_a_redirect_the_application_must_have_refused() {
    let asks = Admitted { shape: Shape::listener(), ..Admitted::plain("orders") };
    let lock = Lock { name: "orders", asks: Some(asks) };
    let injection = Injection::For {
        trust: "orders".to_owned(),
        current_image: true,
        shape: Shape::listener(),
        privileges: None,
    };
    for (case, exposed, hash, expected) in [
        ("not dialled yet", None, "sha256:new", "outdated"),
        ("it refused", Some(vec![]), "sha256:new", "current"),
        ("it answered", Some(vec![8080]), "sha256:new", "exposed"),
        ("it answered, and has an older configuration", Some(vec![8080]), "sha256:old", "exposed"),
        ("it refused, and has an older configuration", Some(vec![]), "sha256:old", "outdated"),
    ] {
        let pod = with(|pod| {
            (pod.injection, pod.exposed) = (injection.clone(), exposed);
            pod.loaded = Some(loaded(Some(hash), None));
        });
        let judged = state(&pod, &lock, Some("sha256:new"), None, |_| false);
        assert_eq!(kind(&judged), expected, "{case}");
    }
}

#[test]
fn nothing_is_current_while_no_configuration_was_written() {
    assert_eq!(kind(&state(&pod(), &lock(), None, None, |_| false)), "outdated");
    let empty = with(|pod| pod.loaded = Some(loaded(None, None)));
    assert_eq!(kind(&state(&empty, &lock(), None, None, |_| false)), "outdated");
}

#[test]
fn a_pod_strays_from_a_lock_that_exists_and_does_not_select_it() {
    let lock = |name: &str, selector: serde_json::Value| {
        let lock = serde_json::json!({
            "apiVersion": "postern.dev/v1alpha1", "kind": "BackendTrust",
            "metadata": {"namespace": "shop", "name": name}, "spec": {"podSelector": selector},
        });
        Arc::new(serde_json::from_value::<BackendTrust>(lock).unwrap())
    };
    let locks = [
        lock("orders", serde_json::json!({"matchLabels": {"app": "orders"}})),
        lock("carts", serde_json::json!({"matchLabels": {"app": "carts"}})),
        lock("empty", serde_json::json!({})),
    ];
    let labels = BTreeMap::from([("app".to_owned(), "orders".to_owned())]);
    for (other, expected) in [("orders", false), ("carts", true), ("empty", true), ("deleted", false)] {
        assert_eq!(strays(&locks, other, &labels), expected, "{other}");
    }
}
