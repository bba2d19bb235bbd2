use super::*;
use crate::render::admission::Guard;
use crate::render::admission::tests::guard;

fn remembered(pairs: &[(&str, &str)]) -> Record {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_images_before_are_kept_in_their_order() {
    for (case, before, previous, older) in [
        ("the first start", None, None, vec![]),
        ("nothing changed", Some(remembered(&[("current", "3")])), None, vec![]),
        ("still nothing", Some(remembered(&[("current", "3"), ("previous", "2")])), Some("2"), vec![]),
        ("an upgrade", Some(remembered(&[("current", "2")])), Some("2"), vec![]),
        ("another", Some(remembered(&[("current", "2"), ("previous", "1")])), Some("2"), vec!["1"]),
        (
            "one more",
            Some(remembered(&[("current", "2"), ("previous", "1"), ("older", "0\nx")])),
            Some("2"),
            vec!["1", "0", "x"],
        ),
        (
            "a way back",
            Some(remembered(&[("current", "4"), ("previous", "3"), ("older", "2")])),
            Some("4"),
            vec!["2"],
        ),
        ("an unreadable record", Some(Record::new()), None, vec![]),
    ] {
        let images = KnownImages::new(before.as_ref(), "3");
        assert_eq!(images.accepted.previous.as_deref(), previous, "{case}");
        assert_eq!(images.older, older, "{case}");
        let again = KnownImages::new(Some(&images.data()), "3");
        assert_eq!((again.accepted, again.older), (images.accepted, images.older), "{case}, again");
    }
}

#[test]
fn who_has_slept_through_an_upgrade_begins_anew() {
    let images = KnownImages::new(Some(&remembered(&[("current", "2")])), "2");
    let now = |pairs: &[(&str, &str)]| images.outdated(Some(&remembered(pairs)));
    assert!(!now(&[("current", "2")]));
    assert!(now(&[("current", "3"), ("previous", "2")]));
    assert!(!images.outdated(None));
    let first = KnownImages::new(None, "2");
    assert!(!first.outdated(Some(&remembered(&[("current", "2")]))), "another replica was faster");
}

/// An upgrade from image 1 (0 before it) to 2, a replica of each release, step by step: what is injected is always
/// among what each policy accepts.
#[test]
fn what_is_injected_is_accepted_at_each_step_of_an_upgrade() {
    let before = remembered(&[("current", "1"), ("previous", "0")]);
    let new = KnownImages::new(Some(&before), "2");
    let after = new.data();
    let old_policy = KnownImages::new(Some(&before), "1").accepted.accepted();
    let new_policy = new.accepted.accepted();
    assert_eq!(
        (old_policy.clone(), new_policy.clone()),
        (vec!["1".into(), "0".into()], vec!["2".into(), "1".into()])
    );
    for (step, record, policies, injected) in [
        ("the old leader's policies", &before, vec![&old_policy], "1"),
        ("some are written", &before, vec![&old_policy, &new_policy], "1"),
        ("all are, not yet on record", &before, vec![&new_policy], "1"),
        ("on record", &after, vec![&new_policy], "2"),
    ] {
        for own in ["1", "2"] {
            let image = to_inject(Some(record), own);
            assert_eq!(image, injected, "{step}, replica of {own}");
            assert!(policies.iter().all(|accepted| accepted.contains(&image.to_owned())), "{step}");
        }
    }
    // Who has not yet seen the record injects the image before, which is still accepted.
    assert!(new_policy.contains(&"1".to_owned()));
}

#[test]
fn without_a_record_the_image_stays() {
    let own = "2";
    for (case, record, expected) in [
        ("the first start", None, "2"),
        ("an unreadable record", Some(Record::new()), "2"),
        ("an empty image", Some(remembered(&[("current", "")])), "2"),
        ("a record", Some(remembered(&[("current", "1")])), "1"),
    ] {
        assert_eq!(to_inject(record.as_ref(), own), expected, "{case}");
    }
}

#[test]
fn a_leader_waits_for_the_policies_only_if_it_brings_another_image() {
    for (case, before, waits) in [
        ("the first start", None, false),
        ("nothing changed", Some(remembered(&[("current", "2"), ("previous", "1")])), false),
        ("an upgrade", Some(remembered(&[("current", "1")])), true),
        ("a way back", Some(remembered(&[("current", "3"), ("previous", "2")])), true),
    ] {
        assert_eq!(KnownImages::new(before.as_ref(), "2").switches(), waits, "{case}");
    }
}

#[test]
fn the_policies_that_are_behind_are_named() {
    let images = Images { current: "new".to_owned(), previous: Some("old".to_owned()) };
    let policy = |trust: &str, images: &[&str]| {
        let images = images.iter().map(ToString::to_string).collect();
        Guard { trust: trust.to_owned(), images, ..guard() }.policy()
    };
    let written = policy("written", &["new", "old"]);
    let (old, first) = (policy("old", &["old"]), policy("first", &["old", "older"]));
    let bare = ValidatingAdmissionPolicy::default();
    assert_eq!(behind(std::slice::from_ref(&written), &images), Vec::<String>::new());
    assert_eq!(
        behind(&[written, old, first, bare], &images),
        ["old.shop.postern.dev", "first.shop.postern.dev", ""]
    );
    // Container names are in every policy, and are no images there.
    let named_as_a_container = Images { current: "postern-sidecar".to_owned(), previous: None };
    assert_eq!(behind(&[policy("orders", &["old"])], &named_as_a_container), ["orders.shop.postern.dev"]);
}
