use std::collections::BTreeMap;
use std::time::Duration;

use postern_config::policy::{Authority, AuthorityKind, Policy as Written};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::*;
use crate::authorize::Code;
use crate::authorize::policy::Policy;
use crate::generation::Gate;
use crate::identify::{Authorities, sha256};
use crate::tls::Admission as _;

/// The years in which the intermediate and the leaf are valid; the leaf begins earlier and ends later.
const NARROW: (i32, i32) = (2021, 2023);
const WIDE: (i32, i32) = (2020, 2024);

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

fn params(name: &str, years: (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    params
}

fn ca(name: &str, by: Option<&Ca>) -> Ca {
    let mut params = params(name, NARROW);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let signed = match by {
        Some(by) => params.signed_by(&key, &by.issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Ca { certificate: signed.der().clone(), pem: signed.pem(), issuer: Issuer::new(params, key) }
}

fn leaf(by: &Ca) -> CertificateDer<'static> {
    let mut params = params("edge", WIDE);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.is_ca = IsCa::ExplicitNoCa;
    params.signed_by(&KeyPair::generate().unwrap(), &by.issuer).unwrap().der().clone()
}

/// As a configuration has it that revokes these.
fn gate(root: &Ca, revoked: &[&CertificateDer<'_>]) -> Gate {
    let authority = Authority {
        name: "partner".to_owned(),
        kind: AuthorityKind::Bundle,
        roots: root.pem.clone(),
        ..Authority::default()
    };
    let written = Written {
        authorities: vec![authority],
        ports: Vec::new(),
        routes: Vec::new(),
        tenant: Vec::new(),
        revoked: revoked.iter().map(|it| hex::encode(sha256(it))).collect(),
    };
    Gate {
        policy: Policy::compile(&written, &BTreeMap::new()).unwrap().policy,
        authorities: Authorities::parse(&written.authorities, Vec::new()).unwrap(),
        verified: Verified::default(),
    }
}

/// The first second of a year.
fn year(year: i32) -> UnixTime {
    let seconds = date_time_ymd(year, 1, 1).unix_timestamp();
    UnixTime::since_unix_epoch(Duration::from_secs(seconds.try_into().unwrap()))
}

fn just_after(time: UnixTime) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(time.as_secs() + 1))
}

fn just_before(time: UnixTime) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(time.as_secs() - 1))
}

fn code(gate: &Gate, chain: &[CertificateDer<'_>], now: UnixTime) -> Option<Code> {
    gate.admit(chain, now).err().map(|refusal| refusal.denial.code)
}

/// Without the set.
fn code_anew(gate: &Gate, chain: &[CertificateDer<'_>], now: UnixTime) -> Option<Code> {
    gate.authorities.identify(chain, now).err().map(|refusal| refusal.denial.code)
}

fn is_kept(gate: &Gate, chain: &[CertificateDer<'_>], now: UnixTime) -> bool {
    gate.verified.find(Key::of(chain), now).is_some()
}

#[test]
fn who_comes_again_is_not_verified_again() {
    let root = ca("root", None);
    let (gate, chain) = (gate(&root, &[]), [leaf(&root)]);
    let first = gate.admit(&chain, year(2022)).unwrap();
    let again = gate.admit(&chain, just_after(year(2022))).unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!(again.fingerprint, sha256(&chain[0]));
}

#[test]
fn a_chain_is_good_for_as_long_as_all_of_it_is_valid() {
    let root = ca("root", None);
    let middle = ca("middle", Some(&root));
    let gate = gate(&root, &[]);
    let chain = [leaf(&middle), middle.certificate.clone()];
    let (begin, end) = (year(NARROW.0), year(NARROW.1));
    gate.admit(&chain, year(2022)).unwrap();
    // Kept up to the last second; then each verdict is what it would be without the set.
    for (now, expected) in [(begin, true), (end, true), (just_before(begin), false), (just_after(end), false)]
    {
        assert_eq!(is_kept(&gate, &chain, now), expected, "{now:?}");
        assert_eq!(code(&gate, &chain, now).is_none(), expected, "{now:?}");
        assert_eq!(code(&gate, &chain, now), code_anew(&gate, &chain, now));
    }
}

#[test]
fn an_expired_leaf_is_refused_although_it_was_good() {
    let root = ca("root", None);
    let (gate, chain) = (gate(&root, &[]), [leaf(&root)]);
    let end = year(WIDE.1);
    gate.admit(&chain, end).unwrap();
    assert!(is_kept(&gate, &chain, end));
    assert_eq!(code(&gate, &chain, just_after(end)), Some(Code::Expired));
}

#[test]
fn what_one_configuration_has_found_good_means_nothing_to_the_next() {
    let root = ca("root", None);
    let middle = ca("middle", Some(&root));
    let chain = [leaf(&middle), middle.certificate.clone()];
    let now = year(2022);
    let before = gate(&root, &[]);
    before.admit(&chain, now).unwrap();
    assert!(is_kept(&before, &chain, now));
    assert!(!is_kept(&gate(&root, &[]), &chain, now));
    // Its leaf, or whoever signed it, is revoked.
    for revoked in &chain {
        let after = gate(&root, &[revoked]);
        assert_eq!(code(&after, &chain, now), Some(Code::Revoked));
        assert!(!is_kept(&after, &chain, now));
    }
    // Nobody vouches for it any more.
    let after = gate(&ca("other", None), &[]);
    assert_eq!(code(&after, &chain, now), Some(Code::UnknownIssuer));
}

#[test]
fn one_leaf_with_other_intermediates_is_another_chain() {
    let root = ca("root", None);
    let (middle, look_alike) = (ca("middle", Some(&root)), ca("middle", Some(&root)));
    let gate = gate(&root, &[]);
    let (leaf, now) = (leaf(&middle), year(2022));
    gate.admit(&[leaf.clone(), middle.certificate.clone()], now).unwrap();
    for others in [vec![], vec![look_alike.certificate]] {
        let chain: Vec<_> = std::iter::once(leaf.clone()).chain(others).collect();
        assert!(!is_kept(&gate, &chain, now));
        assert_eq!(code(&gate, &chain, now), code_anew(&gate, &chain, now));
        assert!(code(&gate, &chain, now).is_some());
    }
}

#[test]
fn where_one_certificate_ends_is_part_of_the_key() {
    let der = |bytes: &[u8]| CertificateDer::from(bytes.to_vec());
    let keys = [vec![der(b"ab"), der(b"c")], vec![der(b"a"), der(b"bc")], vec![der(b"abc")]];
    let keys = keys.map(|chain| Key::of(&chain));
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
    assert_eq!(keys[0], Key::of(&[der(b"ab"), der(b"c")]));
}

#[test]
fn what_is_refused_is_never_kept() {
    let root = ca("root", None);
    let (gate, good) = (gate(&root, &[]), [leaf(&root)]);
    // It may be good later.
    let early = just_before(year(WIDE.0));
    assert_eq!(code(&gate, &good, early), Some(Code::NotYetValid));
    assert_eq!(gate.verified.lock().len(), 0);
    assert_eq!(code(&gate, &[leaf(&ca("stranger", None))], year(2022)), Some(Code::UnknownIssuer));
    assert_eq!(gate.verified.lock().len(), 0);
    gate.admit(&good, year(2022)).unwrap();
    assert_eq!(gate.verified.lock().len(), 1);
}

#[test]
fn what_is_good_although_a_part_is_not_valid_is_not_kept() {
    let root = ca("root", None);
    let (gate, useless) = (gate(&root, &[]), ca("useless", None));
    // Nothing needs the second one, which is not valid yet.
    let chain = [leaf(&root), useless.certificate];
    let now = just_before(year(NARROW.0));
    gate.admit(&chain, now).unwrap();
    assert!(!is_kept(&gate, &chain, now));
}

#[test]
fn the_set_is_bounded() {
    let root = ca("root", None);
    let gate = gate(&root, &[]);
    let caller = gate.admit(&[leaf(&root)], year(2022)).unwrap();
    let other = |number: u32| Key(sha256(&number.to_be_bytes()));
    for number in 0..1000 {
        gate.verified.keep(other(number), &caller, year(2022));
    }
    assert_eq!(gate.verified.lock().len(), MOST);
    assert!(gate.verified.find(other(999), year(2022)).is_some());
}
