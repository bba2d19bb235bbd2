use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName as Name, DnType, DnValue, KeyPair, SanType,
};

use super::*;

fn params(sans: Vec<SanType>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = Name::new();
    params.subject_alt_names = sans;
    params
}

fn make(params: &CertificateParams) -> CertificateDer<'static> {
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// A certificate with this subject, in the order in which the certificate has it.
fn with_subject(attributes: &[(DnType, DnValue)]) -> Facts {
    let mut params = params(vec![]);
    for (kind, value) in attributes {
        params.distinguished_name.push(kind.clone(), value.clone());
    }
    Facts::of(&make(&params)).unwrap()
}

fn by_subject(subject: &str) -> Matcher {
    let written = CertificateMatch::Subject { authority: "partner".into(), subject: subject.into() };
    Matcher::compile(&written).unwrap()
}

fn by_san(kind: SanKind, value: &str) -> Matcher {
    Matcher::compile(&CertificateMatch::San { authority: "partner".into(), kind, value: value.into() })
        .unwrap()
}

fn utf8(text: &str) -> DnValue {
    DnValue::Utf8String(text.into())
}

#[test]
fn subjects() {
    let acme = with_subject(&[
        (DnType::CountryName, DnValue::PrintableString("DE".try_into().unwrap())),
        (DnType::OrganizationName, utf8("Acme, Inc.")),
        (DnType::CommonName, utf8("Lučić #1")),
    ]);
    let cases = [
        (r"CN=Lučić #1,O=Acme\, Inc.,C=DE", true),
        (r"cn=Lu\C4\8Di\C4\87 \231, o = Acme\2C Inc., C=DE", true),
        (r"2.5.4.3=Lučić #1,2.5.4.10=Acme\, Inc.,2.5.4.6=DE", true),
        (r"CN=Lučić #1,O=Acme\, Inc.,C=#13024445", true),
        (r"CN=Lučić #1,O=Acme\, Inc.,C=#0C024445", false),
        (r"C=DE,O=Acme\, Inc.,CN=Lučić #1", false),
        (r"CN=Lučić #1,O=Acme\, Inc.", false),
        (r"CN=Lučić #1,O=Acme\, Inc.,C=DE,C=DE", false),
        (r"CN=lučić #1,O=Acme\, Inc.,C=DE", false),
        (r"CN=Lučić #1+O=Acme\, Inc.,C=DE", false),
        (r"CN=Lučić #1,OU=Acme\, Inc.,C=DE", false),
    ];
    for (subject, expected) in cases {
        assert_eq!(by_subject(subject).matches("partner", &acme), expected, "{subject}");
    }
    assert!(!by_subject(cases[0].0).matches("other", &acme), "another authority vouches for it");
}

#[test]
fn string_types_do_not_matter() {
    for value in [
        utf8("acme"),
        DnValue::PrintableString("acme".try_into().unwrap()),
        DnValue::Ia5String("acme".try_into().unwrap()),
        DnValue::TeletexString("acme".try_into().unwrap()),
        DnValue::BmpString("acme".try_into().unwrap()),
        DnValue::UniversalString("acme".try_into().unwrap()),
    ] {
        let facts = with_subject(&[(DnType::CommonName, value.clone())]);
        assert!(by_subject("CN=acme").matches("partner", &facts), "{value:?}");
        assert!(!by_subject("CN=acm").matches("partner", &facts), "{value:?}");
    }
}

/// Subjects as no tool makes them: RDNs of several attributes.
#[test]
fn attributes_of_one_rdn() {
    let attribute = |last: u8, text: &[u8]| {
        let value = [&[0x0c, u8::try_from(text.len()).unwrap()][..], text].concat();
        let oid = [6, 3, 0x55, 4, last];
        [&[0x30, u8::try_from(oid.len() + value.len()).unwrap()][..], &oid, &value].concat()
    };
    let rdn = |attributes: &[Vec<u8>]| {
        let all = attributes.concat();
        [&[0x31, u8::try_from(all.len()).unwrap()][..], &all].concat()
    };
    let read = |rdns: &[Vec<u8>]| {
        let all = rdns.concat();
        let der = [&[0x30, u8::try_from(all.len()).unwrap()][..], &all].concat();
        let (_, name) = X509Name::from_der(&der).unwrap();
        subject(&name).unwrap()
    };
    let matches = |text: &str, rdns: &[Vec<u8>]| {
        has_subject(DistinguishedName::parse(text).unwrap().rdns(), &read(rdns))
    };
    let (cn, ou, o) = (attribute(3, b"a"), attribute(11, b"b"), attribute(10, b"c"));
    let several = [rdn(&[o]), rdn(&[cn.clone(), ou.clone()])];
    assert!(matches("CN=a+OU=b,O=c", &several));
    assert!(matches("OU=b+CN=a,O=c", &several));
    assert!(!matches("CN=a,OU=b,O=c", &several));
    assert!(!matches("CN=a,O=c", &several));
    // One type twice, which the text can't say: no subject of as many attributes fits.
    let twice = [rdn(&[cn.clone(), cn])];
    assert!(!matches("CN=a", &twice));
    assert!(!matches("CN=a+OU=b", &twice));
}

#[test]
fn identities_fingerprints_and_keys() {
    let (one, two) = (uri("spiffe://t/ns/a/gateway/b/route/c"), uri("https://example.com/x"));
    let der = make(&params(vec![one.clone()]));
    let facts = Facts::of(&der).unwrap();
    let identity = |identity: &str, keys: Option<Vec<String>>| {
        let written =
            CertificateMatch::Identity { authority: "postern".into(), identity: identity.into(), keys };
        Matcher::compile(&written).unwrap().matches("postern", &facts)
    };
    let (name, key) = ("spiffe://t/ns/a/gateway/b/route/c", hex::encode(facts.key()));
    assert!(identity(name, None));
    assert!(identity(name, Some(vec!["00".repeat(32), key.clone()])));
    assert!(!identity(name, Some(vec![])));
    assert!(!identity(name, Some(vec!["00".repeat(32)])));
    assert!(!identity("spiffe://t/ns/a/gateway/b/route/C", None));
    assert_eq!(facts.only_uri(), Some(name));
    let several = Facts::of(&make(&params(vec![one, two]))).unwrap();
    assert_eq!((several.only_uri(), several.uris().len()), (None, 2));

    let fingerprint =
        |sha256: &str| Matcher::compile(&CertificateMatch::Fingerprint { sha256: sha256.into() });
    let own = fingerprint(&hex::encode(sha256(&der))).unwrap();
    assert!(own.matches("whoever", &facts) && own.authority().is_none());
    assert!(!own.matches("whoever", &several));
    assert_eq!(facts.fingerprint(), &sha256(&der));
    for bad in ["", "7f:83", &"A".repeat(64), &"0".repeat(63), &"g".repeat(64)] {
        assert!(matches!(fingerprint(bad), Err(MatcherError::NotSha256(_))), "{bad}");
    }
}

#[test]
fn alternative_names() {
    let names = vec![
        SanType::DnsName("Gateway.Example.com".try_into().unwrap()),
        SanType::DnsName("*.wild.example".try_into().unwrap()),
        SanType::Rfc822Name("Ops@Example.com".try_into().unwrap()),
        uri("https://Example.com/A"),
        uri("urn:b"),
        SanType::IpAddress([192, 0, 2, 1].into()),
    ];
    let facts = Facts::of(&make(&params(names))).unwrap();
    let cases = [
        (SanKind::DNS, "gateway.example.COM", true),
        (SanKind::DNS, "gateway.example.com.", false),
        (SanKind::DNS, "a.wild.example", false),
        (SanKind::DNS, "*.wild.example", true),
        (SanKind::DNS, "192.0.2.1", false),
        (SanKind::DNS, "https://Example.com/A", false),
        (SanKind::URI, "https://Example.com/A", true),
        (SanKind::URI, "https://example.com/A", false),
        (SanKind::URI, "urn:b", true),
        (SanKind::Email, "Ops@example.COM", true),
        (SanKind::Email, "ops@example.com", false),
        (SanKind::Email, "Ops@other.com", false),
    ];
    for (kind, value, expected) in cases {
        assert_eq!(by_san(kind, value).matches("partner", &facts), expected, "{kind:?} {value}");
        assert!(!by_san(kind, value).matches("other", &facts));
    }
    assert_eq!((facts.dns_names().len(), facts.emails().len()), (2, 1));
    let bad = [
        (SanKind::DNS, ""),
        (SanKind::DNS, "é"),
        (SanKind::DNS, "a b"),
        (SanKind::URI, "x"),
        (SanKind::Email, "@x"),
    ];
    for (kind, value) in bad {
        let written = CertificateMatch::San { authority: "partner".into(), kind, value: value.into() };
        assert!(matches!(Matcher::compile(&written), Err(MatcherError::Name { .. })), "{kind:?} {value:?}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error() {
    assert!(matches!(Facts::of(&CertificateDer::from(vec![0x30, 0])), Err(FactsError::Certificate(_))));
    let mut twice = params(vec![uri("urn:a")]);
    let extension = CustomExtension::from_oid_content(
        &[2, 5, 29, 17],
        vec![0x30, 0x07, 0x86, 5, b'u', b'r', b'n', b':', b'b'],
    );
    twice.custom_extensions.push(extension);
    assert!(matches!(Facts::of(&make(&twice)), Err(FactsError::Names(_))));
    let written = CertificateMatch::Subject { authority: "partner".into(), subject: "CN".into() };
    let error = Matcher::compile(&written).unwrap_err().to_string();
    assert!(error.contains("\"CN\"") && error.contains("attribute=value"), "{error}");
}
