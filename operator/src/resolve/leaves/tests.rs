use zeroize::Zeroizing;

use postern_config::policy::{
    Caller, CertificateMatch, Credential, ForwardedCertificate, Policy, PortRef, Route,
};
use postern_config::settings::Settings;

use super::*;
use crate::inputs::PreviousPin;
use crate::resolve::stages::ACKNOWLEDGED_WITHIN;

const IDENTITY: &str = "spiffe://test/ns/shop/gateway/edge/route/orders";
const OTHER: &str = "spiffe://test/ns/shop/gateway/edge/route/other";

fn at(hours: i64) -> Timestamp {
    "2026-11-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hours)
}

static NONE: BTreeSet<String> = BTreeSet::new();

fn clock(hours: i64) -> Clock<'static> {
    Clock::of_lock(at(hours), Lifetimes::default(), None, &NONE)
}

/// Issued at an hour, for 720 of them.
fn leaf(issued: i64, pin: &str) -> Leaf {
    Leaf {
        certificate_pem: String::new(),
        private_key_pem: Zeroizing::default(),
        facts: LeafFacts {
            certificate_sha256: String::new(),
            spki_sha256: pin.to_owned(),
            names: BTreeSet::from([SubjectName::Uri(IDENTITY.to_owned())]),
            not_before: at(issued) - BACKDATE,
            not_after: at(issued + 720),
            sound: true,
        },
    }
}

fn changed(issued: i64, change: impl FnOnce(&mut LeafFacts)) -> Leaf {
    let mut leaf = leaf(issued, "current");
    change(&mut leaf.facts);
    leaf
}

/// A bundle in which somebody is let in by these verifiers.
pub(in crate::resolve) fn content_with(verifiers: &[String]) -> Content {
    let mut content = content("somebody", &[]);
    for caller in content.policy.routes.iter_mut().flat_map(|route| &mut route.callers) {
        caller.credentials = verifiers
            .iter()
            .map(|verifier| Credential {
                id: verifier.clone(),
                username: String::new(),
                verifier: verifier.clone(),
            })
            .collect();
    }
    content
}

fn content(identity: &str, pins: &[&str]) -> Content {
    let keys = Some(pins.iter().map(ToString::to_string).collect());
    let certificate =
        CertificateMatch::Identity { authority: "postern".to_owned(), identity: identity.to_owned(), keys };
    let caller = Caller {
        name: "gateway/edge".to_owned(),
        certificates: vec![certificate],
        credentials: Vec::new(),
        header_values: Vec::new(),
    };
    let route = Route {
        name: "shop/orders".to_owned(),
        port: PortRef::Number(8080),
        callers: vec![caller],
        hostnames: Vec::new(),
        rules: Vec::new(),
        forwarded_certificate: ForwardedCertificate::default(),
    };
    Content {
        namespace: "shop".to_owned(),
        trust: "orders".to_owned(),
        trust_uid: String::new(),
        server_certificate: String::new(),
        admins: Vec::new(),
        policy: Policy {
            authorities: Vec::new(),
            ports: Vec::new(),
            routes: vec![route],
            tenant: Vec::new(),
            revoked: Vec::new(),
        },
        settings: Settings::default(),
    }
}

fn kind(plan: &LeafPlan) -> String {
    match plan {
        LeafPlan::Keep => "keep".to_owned(),
        LeafPlan::Issue(spec) => format!("issue: {:?}", spec.reason),
        LeafPlan::StageNext(spec) => format!("stage: {:?}", spec.reason),
        LeafPlan::PromoteNext { .. } => "promote".to_owned(),
        LeafPlan::DropPrevious => "drop".to_owned(),
    }
}

#[test]
fn a_leaf_is_renewed_when_a_third_of_its_life_is_left() {
    let facts = leaf(0, "x").facts;
    assert_eq!((issued_at(&facts), renewal_time(&facts)), (at(0), at(480)));
}

#[test]
fn a_server_leaf_is_kept_or_replaced_at_once() {
    let names = leaf(0, "x").facts.names;
    for (case, now, existing, expected) in [
        ("none", 0, None, "issue: Missing"),
        ("fresh", 1, Some(leaf(0, "x")), "keep"),
        ("just before renewal", 479, Some(leaf(0, "x")), "keep"),
        ("renewal", 480, Some(leaf(0, "x")), "issue: Expiring"),
        ("expired", 721, Some(leaf(0, "x")), "issue: Expiring"),
        ("unsound", 1, Some(changed(0, |facts| facts.sound = false)), "issue: Unsound"),
        ("other names", 1, Some(changed(0, |facts| facts.names.clear())), "issue: Names"),
    ] {
        let decision = server(&clock(now), existing.as_ref(), &names);
        assert_eq!(kind(&decision.plan), expected, "{case}");
    }
}

#[test]
fn a_wish_replaces_what_is_older_once_and_not_before_its_time() {
    let names = leaf(0, "x").facts.names;
    for (case, now, issued, wish, expected, again) in [
        ("a wish to come", 10, 0, 20, "keep", Some(at(20))),
        ("a wish that has come", 20, 0, 20, "issue: Requested", None),
        ("issued in that second", 21, 20, 20, "keep", Some(at(500))),
        ("issued later", 30, 25, 20, "keep", Some(at(505))),
    ] {
        let clock = Clock { requested_at: Some(at(wish) + SignedDuration::from_millis(700)), ..clock(now) };
        let clock = Clock { now: clock.now + SignedDuration::from_millis(700), ..clock };
        let decision = server(&clock, Some(&leaf(issued, "x")), &names);
        let again =
            again.map(|again| if again == at(20) { again + SignedDuration::from_millis(700) } else { again });
        assert_eq!((kind(&decision.plan).as_str(), decision.again_at), (expected, again), "{case}");
    }
}

/// The whole of a client leaf's decisions: time, what lies there, what is published and acknowledged.
#[test]
fn a_client_leaf_goes_by_publish_acknowledge_hand_over_drop() {
    let secret =
        |current, next, previous| Some(KeySecret { current, next, previous, ..KeySecret::default() });
    let old = |hours| Some(PreviousPin { spki_sha256: "old".to_owned(), drop_after: at(hours) });
    let staged = || secret(Some(leaf(0, "current")), Some(leaf(480, "next")), None);
    let published = content(IDENTITY, &["current", "next"]);
    let unpublished = content(IDENTITY, &["current"]);
    let elsewhere = content(OTHER, &["next"]);
    let cases = vec![
        ("nothing", 0, None, None, false, "issue: Missing"),
        ("no certificate", 0, secret(None, Some(leaf(0, "next")), None), None, true, "issue: Missing"),
        ("fresh", 1, secret(Some(leaf(0, "current")), None, None), None, false, "keep"),
        ("a third left", 480, secret(Some(leaf(0, "current")), None, None), None, false, "stage: Expiring"),
        ("expired", 720, secret(Some(leaf(0, "current")), None, None), None, false, "issue: Expiring"),
        ("expired, staged", 720, staged(), Some(&published), true, "issue: Expiring"),
        (
            "unsound",
            1,
            secret(Some(changed(0, |facts| facts.sound = false)), None, None),
            None,
            true,
            "issue: Unsound",
        ),
        (
            "another identity",
            1,
            secret(Some(changed(0, |facts| facts.names.clear())), None, None),
            None,
            true,
            "issue: Names",
        ),
        ("staged, not acknowledged", 481, staged(), Some(&published), false, "keep"),
        ("staged, not published", 481, staged(), Some(&unpublished), true, "keep"),
        ("staged, published for another", 481, staged(), Some(&elsewhere), true, "keep"),
        ("staged, no bundle", 481, staged(), None, true, "keep"),
        ("acknowledged", 481, staged(), Some(&published), true, "promote"),
        ("a tenth left", 648, staged(), Some(&unpublished), false, "promote"),
        (
            "the staged one is unsound",
            481,
            secret(Some(leaf(0, "current")), Some(changed(480, |facts| facts.sound = false)), None),
            Some(&published),
            true,
            "stage: Unsound",
        ),
        (
            "acknowledged within the overlap of the one before",
            481,
            secret(Some(leaf(0, "current")), Some(leaf(480, "next")), old(500)),
            Some(&published),
            true,
            "keep",
        ),
        (
            "acknowledged when that is over",
            500,
            secret(Some(leaf(0, "current")), Some(leaf(480, "next")), old(500)),
            Some(&published),
            true,
            "promote",
        ),
        (
            "over, not acknowledged",
            500,
            secret(Some(leaf(0, "current")), Some(leaf(480, "next")), old(500)),
            Some(&published),
            false,
            "drop",
        ),
        (
            "within the overlap, a tenth left",
            648,
            secret(Some(leaf(0, "current")), Some(leaf(480, "next")), old(650)),
            Some(&published),
            true,
            "promote",
        ),
        ("overlap", 500, secret(Some(leaf(480, "current")), None, old(501)), None, true, "keep"),
        ("overlap over", 501, secret(Some(leaf(480, "current")), None, old(501)), None, false, "drop"),
    ];
    for (case, now, existing, content, acknowledged, expected) in cases {
        let published = Published { content, acknowledged };
        let decision = client(&clock(now), existing.as_ref(), IDENTITY, &published);
        assert_eq!(kind(&decision.plan), expected, "{case}");
    }
}

#[test]
fn without_an_overlap_a_replaced_key_is_dropped_at_once_also_one_whose_overlap_goes_on() {
    let secret = |next, previous| KeySecret {
        current: Some(leaf(480, "current")),
        next,
        previous,
        ..KeySecret::default()
    };
    let old = || Some(PreviousPin { spki_sha256: "old".to_owned(), drop_after: at(504) });
    let published = content(IDENTITY, &["current", "next"]);
    let published = Published { content: Some(&published), acknowledged: true };
    for (case, overlap, existing, expected, again) in [
        ("a day", "24h", secret(None, old()), "keep", at(504)),
        ("none", "0s", secret(None, old()), "drop", at(960)),
        ("a day, staged", "24h", secret(Some(leaf(481, "next")), old()), "keep", at(504)),
        ("none, staged", "0s", secret(Some(leaf(481, "next")), old()), "promote", at(490)),
        ("an hour, staged", "1h", secret(Some(leaf(481, "next")), None), "promote", at(491)),
    ] {
        let rotation = KeyRotation { overlap: Duration::parse(overlap), ..KeyRotation::default() };
        let clock = clock(490).of_route(Some(&rotation));
        let decision = client(&clock, Some(&existing), IDENTITY, &published);
        assert_eq!((kind(&decision.plan).as_str(), decision.again_at), (expected, Some(again)), "{case}");
    }
}

#[test]
fn a_revoked_certificate_is_replaced_at_once_and_a_staged_one_staged_anew() {
    let sha = |name: &str, mut leaf: Leaf| {
        leaf.facts.certificate_sha256 = name.to_owned();
        leaf
    };
    let secret = KeySecret {
        current: Some(sha("a", leaf(0, "current"))),
        next: Some(sha("b", leaf(1, "next"))),
        previous: None,
        ..KeySecret::default()
    };
    let none = Published { content: None, acknowledged: false };
    for (revoked, expected) in [("a", "issue: Revoked"), ("b", "stage: Revoked"), ("c", "keep")] {
        let revoked = BTreeSet::from([revoked.to_owned()]);
        let clock = Clock { revoked: &revoked, ..clock(2) };
        assert_eq!(kind(&client(&clock, Some(&secret), IDENTITY, &none).plan), expected, "{revoked:?}");
    }
}

#[test]
fn a_route_may_ask_for_less_than_its_lock_and_of_two_wishes_the_later_that_has_come_counts() {
    let wish = |hours: Option<i64>| {
        hours.map(|hours| k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(hours)))
    };
    for (locks, routes, expected) in [
        (None, None, None),
        (Some(5), None, Some(5)),
        (None, Some(5), Some(5)),
        (Some(5), Some(8), Some(8)),
        (Some(8), Some(5), Some(8)),
        (Some(5), Some(20), Some(5)),
        (Some(30), Some(20), Some(20)),
    ] {
        let lock = Rotation {
            requested_at: wish(locks),
            certificate_lifetime: Duration::parse("1000h"),
            overlap: Duration::parse("2h"),
        };
        let route = KeyRotation { requested_at: wish(routes), ..KeyRotation::default() };
        let of_lock = Clock::of_lock(at(10), Lifetimes::default(), Some(&lock), &NONE);
        let clock = of_lock.of_route(Some(&route));
        assert_eq!(clock.requested_at, expected.map(at), "{locks:?} {routes:?}");
        let hours = |hours| SignedDuration::from_hours(hours);
        assert_eq!((clock.lifetimes.certificate, clock.lifetimes.overlap), (hours(1000), hours(2)));
    }
}

#[test]
fn the_clock_is_looked_at_when_something_is_due() {
    let secret = |next, previous| KeySecret {
        current: Some(leaf(0, "current")),
        next,
        previous,
        ..KeySecret::default()
    };
    let none = Published { content: None, acknowledged: false };
    for (case, now, existing, expected) in [
        ("renewal", 1, secret(None, None), at(480)),
        (
            "end of the overlap",
            1,
            secret(None, Some(PreviousPin { spki_sha256: String::new(), drop_after: at(24) })),
            at(24),
        ),
        ("acknowledgements", 481, secret(Some(leaf(480, "next")), None), at(481) + ACKNOWLEDGED_WITHIN),
        (
            "end of the overlap, staged",
            481,
            secret(
                Some(leaf(480, "next")),
                Some(PreviousPin { spki_sha256: String::new(), drop_after: at(500) }),
            ),
            at(500),
        ),
        (
            "a tenth left, before the overlap ends",
            640,
            secret(
                Some(leaf(480, "next")),
                Some(PreviousPin { spki_sha256: String::new(), drop_after: at(660) }),
            ),
            at(648),
        ),
        ("staged", 480, secret(None, None), at(480)),
    ] {
        assert_eq!(client(&clock(now), Some(&existing), IDENTITY, &none).again_at, Some(expected), "{case}");
    }
}
