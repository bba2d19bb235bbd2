use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName as Name, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use super::*;

const ID: &str = "spiffe://d/ns/shop/gateway/edge/route/orders";

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn ca(name: &str) -> Ca {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name = common_name(name);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Ca { issuer: Issuer::new(params, key), pem }
}

fn common_name(name: &str) -> Name {
    let mut names = Name::new();
    names.push(DnType::CommonName, name);
    names
}

fn leaf_params(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["edge.example".to_owned()]).unwrap();
    params.distinguished_name = common_name("edge");
    params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.is_ca = IsCa::ExplicitNoCa;
    params
}

fn sign(params: &CertificateParams, by: &Ca) -> CertificateDer<'static> {
    params.signed_by(&KeyPair::generate().unwrap(), &by.issuer).unwrap().der().clone()
}

fn written(name: &str, ca: &Ca) -> Written {
    let kind = if name == "postern" { AuthorityKind::Postern } else { AuthorityKind::Bundle };
    Written { name: name.to_owned(), kind, roots: ca.pem.clone(), ..Written::default() }
}

#[test]
fn who_is_let_in_and_who_is_not() {
    let (own, partner, server) = (ca("postern clients"), ca("partner"), ca("postern backends"));
    let impostor = ca("postern clients");
    let server_issuer = {
        let leaf = sign(&leaf_params(&[]), &server);
        X509Certificate::from_der(&leaf).unwrap().1.issuer().as_raw().to_vec()
    };
    let authorities =
        Authorities::parse(&[written("postern", &own), written("partner", &partner)], server_issuer).unwrap();
    let change = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = leaf_params(&[ID]);
        change(&mut params);
        params
    };
    let past = |p: &mut CertificateParams| {
        p.not_before = date_time_ymd(2020, 1, 1);
        p.not_after = date_time_ymd(2021, 1, 1);
    };
    let plain = leaf_params(&[ID]);
    let self_signed = plain.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();

    let admitted = |leaf: &CertificateDer<'static>| {
        authorities
            .identify(std::slice::from_ref(leaf), UnixTime::now())
            .map(|caller| (caller.authority.to_string(), caller.identity.to_string()))
            .map_err(|refusal| refusal.denial.code)
    };
    for (case, leaf, expected) in [
        ("ours", sign(&plain, &own), Ok(("postern", ID))),
        (
            "a foreign authority's own kind of name",
            sign(&leaf_params(&["urn:acme"]), &partner),
            Ok(("partner", "urn:acme")),
        ),
        (
            "a foreign authority's without a URI",
            sign(&leaf_params(&[]), &partner),
            Ok(("partner", "CN=edge")),
        ),
        (
            "a foreign authority's with two",
            sign(&leaf_params(&["urn:a", "urn:b"]), &partner),
            Ok(("partner", "CN=edge")),
        ),
        (
            "a foreign authority's with two, one of them ours",
            sign(&leaf_params(&["urn:a", ID]), &partner),
            Err(Code::ForeignIdentity),
        ),
        ("a foreign authority's spiffe name", sign(&plain, &partner), Err(Code::ForeignIdentity)),
        ("in other letters", sign(&leaf_params(&["SPIFFE://d/x"]), &partner), Err(Code::ForeignIdentity)),
        ("another CA that copies our names", sign(&plain, &impostor), Err(Code::ForgedIssuer)),
        ("the CA of servers", sign(&plain, &server), Err(Code::ServerAuthority)),
        ("a stranger", sign(&plain, &ca("stranger")), Err(Code::UnknownIssuer)),
        ("a stranger's, expired too", sign(&change(&past), &ca("stranger")), Err(Code::UnknownIssuer)),
        ("self-signed", self_signed, Err(Code::SelfSigned)),
        ("expired", sign(&change(&past), &own), Err(Code::Expired)),
        (
            "from the future",
            sign(&change(&|p| p.not_before = date_time_ymd(2100, 1, 1)), &own),
            Err(Code::NotYetValid),
        ),
        (
            "for servers only",
            sign(&change(&|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]), &own),
            Err(Code::NotForClients),
        ),
        (
            "without extended usage",
            sign(&change(&|p| p.extended_key_usages.clear()), &own),
            Err(Code::NotForClients),
        ),
        (
            "without digitalSignature",
            sign(&change(&|p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment]), &own),
            Err(Code::NotForClients),
        ),
        (
            "a CA",
            sign(&change(&|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), &own),
            Err(Code::AuthorityAsClient),
        ),
        ("no URI", sign(&leaf_params(&[]), &own), Err(Code::NoIdentity)),
        ("two URIs", sign(&leaf_params(&[ID, "spiffe://d/other"]), &own), Err(Code::NoIdentity)),
        ("not a certificate", CertificateDer::from(vec![0x30, 0]), Err(Code::MalformedCertificate)),
    ] {
        let expected = expected.map(|(authority, identity)| (authority.to_owned(), identity.to_owned()));
        assert_eq!(admitted(&leaf), expected, "{case}");
    }
    assert_eq!(authorities.identify(&[], UnixTime::now()).unwrap_err().denial.code, Code::NoCertificate);
}

#[test]
fn a_refusal_says_what_was_presented() {
    let own = ca("postern clients");
    let authorities = Authorities::parse(&[written("postern", &own)], Vec::new()).unwrap();
    let leaf = sign(&leaf_params(&[ID]), &ca("stranger"));
    let refusal = authorities.identify(std::slice::from_ref(&leaf), UnixTime::now()).unwrap_err();
    let presented = refusal.presented.unwrap();
    assert_eq!(presented.subject, "CN=edge");
    assert_eq!(presented.issuer, "CN=stranger");
    assert_eq!(presented.names, format!("DNS:edge.example, URI:{ID}"));
    assert_eq!(presented.sha256, hex::encode(sha256(&leaf)));
}

#[test]
fn roots_must_be_certificates() {
    for (roots, message) in
        [("", "no PEM"), ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "trust anchor")]
    {
        let error = Authorities::parse(
            &[Written { name: "a".to_owned(), roots: roots.to_owned(), ..Written::default() }],
            Vec::new(),
        );
        let error = error.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_chain_that_is_too_long_is_not_looked_at() {
    let own = ca("postern clients");
    let authorities = Authorities::parse(&[written("postern", &own)], Vec::new()).unwrap();
    let (leaf, other) = (sign(&leaf_params(&[ID]), &own), sign(&leaf_params(&[]), &own));
    let large = CertificateDer::from(vec![0; CHAIN_BYTES]);
    for (intermediates, expected) in [
        (Vec::new(), None),
        (vec![other.clone(); 4], None),
        (vec![other.clone(); 5], Some(Code::MalformedCertificate)),
        (vec![other; 300], Some(Code::MalformedCertificate)),
        (vec![large], Some(Code::MalformedCertificate)),
    ] {
        let mut chain = vec![leaf.clone()];
        chain.extend(intermediates);
        let refusal = authorities.identify(&chain, UnixTime::now()).err();
        assert_eq!(refusal.as_ref().map(|refusal| refusal.denial.code), expected, "{}", chain.len());
        assert!(refusal.is_none_or(|refusal| refusal.denial.reason.contains("too long")));
    }
}

#[test]
fn each_authority_vouches_by_its_own_rules() {
    let own = ca("postern clients");
    let pinned =
        |params: &CertificateParams| params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
    let pin = |leaf: &CertificateDer<'_>| Written {
        name: "pin".to_owned(),
        kind: AuthorityKind::Pin,
        pins: vec![hex::encode(sha256(leaf))],
        ..Written::default()
    };
    let with = |change: &dyn Fn(&mut CertificateParams), uris: &[&str]| {
        let mut params = leaf_params(uris);
        change(&mut params);
        params
    };
    let bundle = Written { name: "bundle".to_owned(), ..written("postern", &own) };
    let bundle = Written { kind: AuthorityKind::Bundle, ..bundle };
    let admin = Written { admin_only: true, ..written("postern", &own) };
    let both = |leaf: &CertificateDer<'_>| vec![bundle.clone(), pin(leaf)];
    for (case, leaf, authorities, expected) in [
        ("self-signed", pinned(&leaf_params(&[])), None, Ok("pin")),
        (
            "a CA's own",
            pinned(&with(&|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), &[])),
            None,
            Ok("pin"),
        ),
        ("without usage", pinned(&with(&|p| p.extended_key_usages.clear(), &[])), None, Ok("pin")),
        (
            "for servers only",
            pinned(&with(&|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth], &[])),
            None,
            Err(Code::NotForClients),
        ),
        (
            "expired",
            pinned(&with(&|p| p.not_after = date_time_ymd(2021, 1, 1), &[])),
            None,
            Err(Code::Expired),
        ),
        (
            "from the future",
            pinned(&with(&|p| p.not_before = date_time_ymd(2100, 1, 1), &[])),
            None,
            Err(Code::NotYetValid),
        ),
        ("our kind of name", pinned(&leaf_params(&[ID])), None, Err(Code::ForeignIdentity)),
        (
            "not pinned",
            sign(&leaf_params(&[]), &own),
            Some(vec![pin(&[0].as_slice().into())]),
            Err(Code::UnknownIssuer),
        ),
        ("by two", sign(&leaf_params(&["urn:a"]), &own), None, Ok("bundle pin")),
        (
            "an authority for admins",
            sign(&leaf_params(&[ID]), &own),
            Some(vec![admin.clone()]),
            Err(Code::UnknownIssuer),
        ),
        (
            "ours, by Postern alone",
            sign(&leaf_params(&[ID]), &own),
            Some(vec![bundle.clone(), written("postern", &own)]),
            Ok("postern"),
        ),
        (
            "a partner's, by the bundle alone",
            sign(&leaf_params(&[]), &own),
            Some(vec![written("postern", &own), bundle.clone()]),
            Ok("bundle"),
        ),
    ] {
        let written = authorities.unwrap_or_else(|| both(&leaf));
        let authorities = Authorities::parse(&written, Vec::new()).unwrap();
        let vouching = authorities.identify(&[leaf], UnixTime::now());
        let vouching = vouching.map(|caller| caller.authorities.join(" ")).map_err(|it| it.denial.code);
        assert_eq!(vouching, expected.map(str::to_owned), "{case}");
    }
    // Without a URI a caller is called by its subject, as RFC 4514 writes it: the last RDN first.
    let name = with(
        &|p| {
            p.distinguished_name = Name::new();
            p.distinguished_name.push(DnType::OrganizationName, "Acme, Inc");
            p.distinguished_name.push(DnType::CommonName, "acme");
        },
        &[],
    );
    let bundles = Authorities::parse(std::slice::from_ref(&bundle), Vec::new()).unwrap();
    let caller = bundles.identify(&[sign(&name, &own)], UnixTime::now()).unwrap();
    assert_eq!(&*caller.identity, "CN=acme,O=Acme\\, Inc");
    let admins = Authorities::own_only(&[bundle, admin], Vec::new()).unwrap();
    assert!(admins.identify(&[sign(&leaf_params(&[ID]), &own)], UnixTime::now()).is_ok());
}

#[test]
fn authorities_that_cannot_be() {
    let own = ca("postern clients");
    let hash = "00".repeat(32);
    let pin = Written { name: "p".to_owned(), kind: AuthorityKind::Pin, ..Written::default() };
    for (written, message) in [
        (vec![pin.clone()], "pins no certificate"),
        (vec![Written { pins: vec!["zz".to_owned()], ..pin.clone() }], "64 hex digits"),
        (vec![Written { pins: vec![hash.clone()], roots: own.pem.clone(), ..pin }], "one of type Pin"),
        (vec![Written { pins: vec![hash], ..written("postern", &own) }], "one of type Pin"),
        (vec![written("postern", &own), written("postern", &own)], "both of type Postern"),
    ] {
        let error = Authorities::parse(&written, Vec::new()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
