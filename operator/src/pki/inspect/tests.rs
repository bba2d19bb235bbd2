use std::time::Duration;

use super::*;
use crate::pki::{Authority, AuthorityKind, LeafSpec};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn renewal_by_table() {
    let issued = at("2026-11-01T00:00:00Z");
    let authority = Authority::generate(AuthorityKind::Callers, issued).unwrap();
    let other = Authority::generate(AuthorityKind::Callers, issued).unwrap();
    let spec = LeafSpec::client("spiffe://cluster/a");
    let renamed = LeafSpec::client("spiffe://cluster/b");
    let leaf = authority.issue(&spec, issued).unwrap();
    let info = LeafInfo::inspect(&leaf.cert_pem).unwrap();
    let due = info.renewal_time();
    let second = Duration::from_secs(1);
    let (soon, later) = (issued + DAY, issued + 20 * DAY + DAY / 2);

    for (case, info, spec, authority, now, requested, expected) in [
        ("fresh", Some(&info), &spec, &authority, soon, None, None),
        ("just before two thirds", Some(&info), &spec, &authority, due - second, None, None),
        ("at two thirds", Some(&info), &spec, &authority, due, None, Some(RenewalReason::Ageing)),
        ("past two thirds", Some(&info), &spec, &authority, later, None, Some(RenewalReason::Ageing)),
        ("expired", Some(&info), &spec, &authority, issued + 40 * DAY, None, Some(RenewalReason::Ageing)),
        ("missing", None, &spec, &authority, soon, None, Some(RenewalReason::Unreadable)),
        ("renamed", Some(&info), &renamed, &authority, soon, None, Some(RenewalReason::NamesDiffer)),
        ("other authority", Some(&info), &spec, &other, soon, None, Some(RenewalReason::OtherAuthority)),
        (
            "requested later",
            Some(&info),
            &spec,
            &authority,
            soon,
            Some(issued + second),
            Some(RenewalReason::Requested),
        ),
        ("requested at its issue", Some(&info), &spec, &authority, soon, Some(issued), None),
        (
            "requested within the back-dated minutes",
            Some(&info),
            &spec,
            &authority,
            soon,
            Some(issued - second),
            None,
        ),
        ("requested for the future", Some(&info), &spec, &authority, soon, Some(soon + DAY), None),
    ] {
        assert_eq!(renewal_due(info, spec, authority.id(), now, requested), expected, "{case}");
    }
}

#[test]
fn a_renewed_leaf_is_not_due_again() {
    let requested = at("2026-11-02T10:00:00Z");
    let authority = Authority::generate(AuthorityKind::Callers, requested).unwrap();
    let spec = LeafSpec::client("spiffe://cluster/a");
    let leaf = authority.issue(&spec, requested).unwrap();
    let info = LeafInfo::inspect(&leaf.cert_pem).unwrap();
    assert_eq!(renewal_due(Some(&info), &spec, authority.id(), requested, Some(requested)), None);
}

#[test]
fn certificate_and_key_must_be_a_pair() {
    let now = at("2026-11-01T00:00:00Z");
    let authority = Authority::generate(AuthorityKind::Callers, now).unwrap();
    let spec = LeafSpec::client("spiffe://cluster/a");
    let (one, two) = (authority.issue(&spec, now).unwrap(), authority.issue(&spec, now).unwrap());
    LeafInfo::inspect_pair(&one.cert_pem, &one.key_pem).unwrap();
    assert!(matches!(LeafInfo::inspect_pair(&one.cert_pem, &two.key_pem), Err(PkiError::KeyMismatch)));
    assert!(matches!(LeafInfo::inspect_pair(&one.cert_pem, ""), Err(PkiError::Key)));
    assert!(matches!(LeafInfo::inspect_pair("", &one.key_pem), Err(PkiError::Certificate(_))));
}
