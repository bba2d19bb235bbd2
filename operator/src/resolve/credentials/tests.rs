use std::collections::BTreeSet;

use postern_config::verifier::sha256;

use super::*;
use crate::inputs::{BasicCredential, HeaderValue, PreviousCredentials};
use crate::settings::Lifetimes;

const REVOKED: &BTreeSet<String> = &BTreeSet::new();

fn at(hours: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
}

fn clock(hours: i64) -> Clock<'static> {
    Clock { now: at(hours), lifetimes: Lifetimes::default(), requested_at: None, revoked: REVOKED }
}

fn text(text: &str) -> SecretText {
    SecretText::new(text.to_owned())
}

fn held(revision: u64, hours: i64) -> Credentials {
    Credentials {
        revision,
        issued_at: at(hours),
        basic: Some(BasicCredential {
            own: false,
            username: "edge".to_owned(),
            password: text("p"),
            verifier: format!("verifier {revision}"),
        }),
        header: None,
    }
}

fn with_header(mut held: Credentials, value: &str, own: bool) -> Credentials {
    held.header = Some(HeaderValue { own, name: "X-Key".to_owned(), value: text(value) });
    held
}

fn key(current: Option<Credentials>, next: Option<Credentials>, dropped: Option<i64>) -> KeyCredentials {
    let previous = dropped.map(|hours| PreviousCredentials {
        revision: 1,
        drop_after: at(hours),
        basic: None,
        header: None,
    });
    KeyCredentials { current, next, previous }
}

fn basic() -> Wanted {
    Wanted { basic: Part::Generated, ..Wanted::default() }
}

fn both(header: Part<SecretText>) -> Wanted {
    Wanted { header, header_name: "X-Key".to_owned(), ..basic() }
}

/// What is done, in short.
fn done(clock: &Clock<'_>, wanted: &Wanted, existing: &KeyCredentials, published: bool) -> String {
    let content =
        existing.next.as_ref().map(|next| crate::resolve::leaves::tests::content_with(&next.verifiers()));
    let published = Published::of(content.as_ref(), published);
    let (plan, _) = decide(clock, wanted, "edge", Some(existing), &published);
    let spec = |spec: &CredentialsSpec| {
        let basic = spec.basic.as_ref().map_or("-", |basic| match basic {
            BasicSpec::Keep => "keep",
            BasicSpec::Generate { .. } => "generate",
            BasicSpec::Own(_) => "own",
        });
        let header = spec.header.as_ref().map_or("-", |header| match header {
            HeaderSpec::Keep => "keep",
            HeaderSpec::Generate => "generate",
            HeaderSpec::Own(_) => "own",
        });
        format!("{} {basic} {header} {:?}", spec.revision, spec.reason)
    };
    match &plan.step {
        CredentialsStep::Keep => "keep".to_owned(),
        CredentialsStep::Issue(made) => format!("issue {}", spec(made)),
        CredentialsStep::StageNext(made) => format!("stage {}", spec(made)),
        CredentialsStep::PromoteNext { drop_previous_after } => {
            format!("promote {}", drop_previous_after.duration_since(clock.now).as_hours())
        }
        CredentialsStep::DropPrevious => "drop".to_owned(),
    }
}

#[test]
fn generated_credentials_go_by_publish_acknowledge_hand_over_drop() {
    let current = || Some(held(4, 0));
    let requested = |hours| Clock { requested_at: Some(at(hours)), ..clock(20) };
    let no_overlap = |hours: i64| Clock {
        lifetimes: Lifetimes { overlap: SignedDuration::ZERO, ..Lifetimes::default() },
        ..clock(hours)
    };
    for (what, clock, existing, published, expected) in [
        ("none", clock(0), key(None, None, None), false, "issue 1 generate keep Missing"),
        ("young", clock(479), key(current(), None, None), false, "keep"),
        ("a third left", clock(480), key(current(), None, None), false, "stage 5 generate - Expiring"),
        ("asked for", requested(20), key(current(), None, None), false, "stage 5 generate - Requested"),
        ("asked for later", requested(21), key(current(), None, None), false, "keep"),
        ("asked for before", requested(20), key(Some(held(4, 20)), None, None), false, "keep"),
        ("staged, unknown to a pod", clock(481), key(current(), Some(held(5, 480)), None), false, "keep"),
        ("staged and known", clock(481), key(current(), Some(held(5, 480)), None), true, "promote 24"),
        ("no overlap", no_overlap(481), key(current(), Some(held(5, 480)), None), true, "promote 0"),
        ("still overlapping", clock(481), key(current(), Some(held(5, 480)), Some(490)), true, "keep"),
        (
            "overlap over while staged",
            clock(491),
            key(current(), Some(held(5, 480)), Some(490)),
            false,
            "drop",
        ),
        (
            "a pod is silent for days",
            clock(648),
            key(current(), Some(held(5, 480)), None),
            false,
            "promote 24",
        ),
        ("overlap", clock(10), key(current(), None, Some(11)), false, "keep"),
        ("overlap over", clock(11), key(current(), None, Some(11)), false, "drop"),
        ("overlap taken back", no_overlap(10), key(current(), None, Some(11)), false, "drop"),
        (
            "a staged one too old",
            clock(960),
            key(Some(held(4, 900)), Some(held(5, 480)), None),
            false,
            "stage 5 generate - Expiring",
        ),
    ] {
        assert_eq!(done(&clock, &basic(), &existing, published), expected, "{what}");
    }
}

#[test]
fn what_the_author_writes_is_staged_like_the_rest() {
    let own = |value: &str| both(Part::Own(text(value)));
    let now = || with_header(held(4, 0), "old", true);
    for (what, wanted, existing, expected) in [
        ("the same", own("old"), key(Some(now()), None, None), "keep"),
        ("changed", own("new"), key(Some(now()), None, None), "stage 5 keep own Changed"),
        ("gone", both(Part::Unresolved), key(Some(now()), None, None), "keep"),
        ("never there", both(Part::Unresolved), key(Some(held(4, 0)), None, None), "keep"),
        (
            "no longer the author's",
            both(Part::Generated),
            key(Some(now()), None, None),
            "stage 5 keep generate Changed",
        ),
        ("asked for anew", own("new"), key(Some(held(4, 0)), None, None), "issue 4 keep own Missing"),
        (
            "changed back while staged",
            own("old"),
            key(Some(now()), Some(with_header(held(5, 1), "new", true)), None),
            "stage 5 keep own Changed",
        ),
        ("not asked for", Wanted::default(), key(Some(now()), None, None), "keep"),
    ] {
        assert_eq!(done(&clock(10), &wanted, &existing, false), expected, "{what}");
    }
}

/// A user name and a password count each by itself.
#[test]
fn an_authors_own_credential_that_changes_is_staged() {
    let own = |username: &str, password: &str| Wanted {
        basic: Part::Own(OwnCredential { username: username.to_owned(), password: text(password) }),
        ..Wanted::default()
    };
    let mut now = held(4, 0);
    if let Some(basic) = &mut now.basic {
        basic.own = true;
    }
    for (what, wanted, expected) in [
        ("the same", own("edge", "p"), "keep"),
        ("another password", own("edge", "q"), "stage 5 own - Changed"),
        ("another user name", own("gate", "p"), "stage 5 own - Changed"),
        ("no longer the author's", basic(), "stage 5 generate - Changed"),
    ] {
        let existing = key(Some(now.clone()), None, None);
        assert_eq!(done(&clock(10), &wanted, &existing, false), expected, "{what}");
    }
}

#[test]
fn what_no_lock_asks_for_is_forgotten() {
    let plan = |basic, header: Option<&str>| CredentialsPlan {
        basic,
        header: header.map(str::to_owned),
        step: CredentialsStep::Keep,
    };
    let all = key(Some(with_header(held(4, 0), "v", false)), None, Some(9));
    assert!(plan(false, None).trim(all.clone()).is_empty());
    let renamed = plan(false, Some("X-Other")).trim(all.clone());
    let current = renamed.current.unwrap();
    assert_eq!((current.basic, current.header.unwrap().name.as_str()), (None, "X-Other"));
    assert!(plan(true, None).trim(all).current.unwrap().header.is_none());
}

#[test]
fn two_revisions_are_accepted_and_only_hashes_are_told() {
    let mut all = key(Some(with_header(held(4, 0), "new", false)), None, None);
    all.previous = Some(with_header(held(3, 0), "old", false).retired(at(9)));
    let ids: Vec<_> = all.basics("edge.shop.orders").into_iter().map(|one| (one.id, one.verifier)).collect();
    let id = |id: &str, verifier: &str| (id.to_owned(), verifier.to_owned());
    assert_eq!(
        ids,
        [id("edge.shop.orders/basic/3", "verifier 3"), id("edge.shop.orders/basic/4", "verifier 4")]
    );
    let headers: Vec<_> = all.headers("k").into_iter().map(|one| (one.id, one.verifier)).collect();
    assert_eq!(headers, [id("k/header/3", &sha256(b"old")), id("k/header/4", &sha256(b"new"))]);
    assert!(!format!("{all:?}").contains("old") && !format!("{all:?}").contains("new"));
}

#[test]
fn a_route_says_how_long_its_credentials_live() {
    use postern_crds::Duration;
    use postern_crds::rotation::KeyRotation;
    let rotation = KeyRotation { credential_lifetime: Duration::parse("48h"), ..KeyRotation::default() };
    let existing = key(Some(held(4, 0)), None, None);
    for (rotation, hours, expected) in [
        (None, 32, "keep"),
        (Some(&rotation), 31, "keep"),
        (Some(&rotation), 32, "stage 5 generate keep Expiring"),
    ] {
        let done = done(&clock(hours).of_route(rotation), &basic(), &existing, false);
        assert_eq!(done.replace(" - ", " keep "), expected, "{rotation:?} after {hours} h");
    }
}
