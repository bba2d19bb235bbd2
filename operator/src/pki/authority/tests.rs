use std::time::Duration;

use super::*;
use crate::pki::leaf::DEFAULT_LIFETIME;

fn now() -> Timestamp {
    "2026-11-21T20:00:00Z".parse().unwrap()
}

fn der(pem: &str) -> Vec<u8> {
    inspect::first_certificate(pem).unwrap()
}

fn client() -> LeafSpec {
    LeafSpec::client("spiffe://cluster/ns/shop/gateway/edge/route/orders")
}

#[test]
fn an_authority_may_sign_leaves_and_nothing_else() {
    let authority = Authority::generate(AuthorityKind::Backends, now()).unwrap();
    let der = der(authority.cert_pem());
    let (_, certificate) = parse(&der).unwrap();
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    assert!(!usage.value.digital_signature());
    assert_eq!(inspect::subject_key_id(&certificate).as_deref(), Some(authority.id().0.as_str()));
    assert_eq!(authority.not_after(), now() + LIFETIME);
    certificate.verify_signature(None).unwrap();
}

#[test]
fn two_authorities_have_different_subjects_and_keys() {
    let one = Authority::generate(AuthorityKind::Callers, now()).unwrap();
    let two = Authority::generate(AuthorityKind::Callers, now()).unwrap();
    let subject = |authority: &Authority| parse(&authority.cert_der).unwrap().1.subject().to_string();
    assert_ne!(subject(&one), subject(&two));
    assert_ne!(one.id(), two.id());
}

#[test]
fn a_leaf_has_exactly_what_its_kind_needs() {
    let authority = Authority::generate(AuthorityKind::Callers, now()).unwrap();
    let server = LeafSpec::server(["b.shop.svc", "a.shop.svc", "a.shop.svc"].map(str::to_owned));
    for (spec, server_auth, names) in [
        (server, true, vec!["DNS:a.shop.svc", "DNS:b.shop.svc"]),
        (client(), false, vec!["URI:spiffe://cluster/ns/shop/gateway/edge/route/orders"]),
    ] {
        let leaf = authority.issue(&spec, now()).unwrap();
        let der = der(&leaf.cert_pem);
        let (_, certificate) = parse(&der).unwrap();
        assert!(!certificate.is_ca() && certificate.basic_constraints().unwrap().is_some());
        let usage = certificate.key_usage().unwrap().unwrap().value;
        assert_eq!(usage.flags, 1, "digitalSignature alone");
        let extended = certificate.extended_key_usage().unwrap().unwrap().value;
        assert_eq!((extended.server_auth, extended.client_auth), (server_auth, !server_auth));
        assert!(!extended.any && extended.other.is_empty() && !extended.code_signing);
        let info = LeafInfo::inspect_pair(&leaf.cert_pem, &leaf.key_pem).unwrap();
        assert_eq!(info.names, names);
        assert_eq!(info.names, spec.kind.names());
        assert_eq!(info.authority.as_ref(), Some(authority.id()));
        assert_eq!((&info.sha256, &info.spki_sha256), (&leaf.sha256, &leaf.spki_sha256));
        assert_eq!(leaf.not_before, now() - BACKDATED);
        assert_eq!(leaf.not_after, now() + DEFAULT_LIFETIME);
        assert!(authority.signed(&info));
        assert!(leaf.key_pem.starts_with("-----BEGIN PRIVATE KEY-----"), "PKCS#8");
    }
}

#[test]
fn serials_are_positive_16_bytes_and_never_the_same() {
    let authority = Authority::generate(AuthorityKind::Callers, now()).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let leaf = authority.issue(&client(), now()).unwrap();
        let der = der(&leaf.cert_pem);
        let (_, certificate) = parse(&der).unwrap();
        let raw = certificate.raw_serial().to_vec();
        assert_eq!(raw.len(), 16);
        assert_eq!(raw[0] & 0x80, 0);
        assert!(seen.insert(raw));
    }
}

#[test]
fn no_leaf_outlives_its_authority() {
    let authority = Authority::generate(AuthorityKind::Callers, now()).unwrap();
    let late = authority.not_after() - Duration::from_secs(60);
    assert_eq!(authority.issue(&client(), late).unwrap().not_after, authority.not_after());
    let refused = authority.issue(&client(), authority.not_after());
    assert!(matches!(refused, Err(PkiError::AuthorityExpired(_))), "{refused:?}");
}

#[test]
fn an_authority_reads_back_from_its_pem_and_nothing_else_does() {
    let authority = Authority::generate(AuthorityKind::Backends, now()).unwrap();
    let other = Authority::generate(AuthorityKind::Backends, now()).unwrap();
    let back = Authority::from_pem(authority.cert_pem(), &authority.key_pem()).unwrap();
    assert_eq!(back.id(), authority.id());
    let leaf = back.issue(&client(), now()).unwrap();
    let info = LeafInfo::inspect(&leaf.cert_pem).unwrap();
    assert!(authority.signed(&info) && !other.signed(&info));

    let refused = |cert: &str, key: &str| Authority::from_pem(cert, key).unwrap_err();
    assert!(matches!(refused(authority.cert_pem(), &other.key_pem()), PkiError::KeyMismatch));
    assert!(matches!(refused("nonsense", &authority.key_pem()), PkiError::Certificate(_)));
    assert!(matches!(refused(authority.cert_pem(), "nonsense"), PkiError::Key));
    assert!(matches!(refused(&leaf.cert_pem, &leaf.key_pem), PkiError::NotAnAuthority));
}

#[test]
fn a_name_that_no_certificate_can_hold_is_refused() {
    let authority = Authority::generate(AuthorityKind::Callers, now()).unwrap();
    for spec in
        [LeafSpec::server([]), LeafSpec::server(["ä.example".to_owned()]), LeafSpec::client("spiffe://ä")]
    {
        assert!(matches!(authority.issue(&spec, now()), Err(PkiError::Name(_))), "{spec:?}");
    }
}

/// rustls' own verifier is the judge: it accepts each leaf for its role and no other.
#[test]
fn webpki_accepts_each_leaf_for_its_role_alone() {
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::server::WebPkiClientVerifier;
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let authority = Authority::generate(AuthorityKind::Callers, now()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(der(authority.cert_pem()))).unwrap();
    let roots = std::sync::Arc::new(roots);
    let clients =
        WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build().unwrap();
    let servers = WebPkiServerVerifier::builder_with_provider(roots, provider).build().unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(now().as_second().cast_unsigned()));
    let name = ServerName::try_from("a.shop.svc").unwrap();

    let client = CertificateDer::from(der(&authority.issue(&client(), now()).unwrap().cert_pem));
    let spec = LeafSpec::server(["a.shop.svc".to_owned()]);
    let server = CertificateDer::from(der(&authority.issue(&spec, now()).unwrap().cert_pem));
    clients.verify_client_cert(&client, &[], at).unwrap();
    servers.verify_server_cert(&server, &[], &name, &[], at).unwrap();
    clients.verify_client_cert(&server, &[], at).unwrap_err();
    servers.verify_server_cert(&client, &[], &name, &[], at).unwrap_err();
}
