//! Certificates as strangers present them, against every kind of matcher.

use postern_config::policy::{CertificateMatch, SanKind};
use postern_sidecar::identify::matcher::{Facts, Matcher};
use rustls_pki_types::CertificateDer;

/// Names that the certificates of the corpus have, or nearly have.
const SUBJECT: &str = "CN=acme,O=Acme";
const NAME: &str = "acme.example";
const ADDRESS: &str = "ops@acme.example";
const IDENTITY: &str = "spiffe://trust.example/ns/gateways/gateway/edge/route/orders";

/// A matcher says yes only to what it names, read here in another way; whatever can't be read matches nothing.
pub fn check(data: &[u8]) {
    let leaf = CertificateDer::from(data.to_vec());
    let Ok(facts) = Facts::of(&leaf) else { return };
    let authority = || "partner".to_owned();
    let san = |kind, value: &str| CertificateMatch::San { authority: authority(), kind, value: value.into() };
    let identity =
        |keys| CertificateMatch::Identity { authority: authority(), identity: IDENTITY.into(), keys };
    let holds = |name: &str| data.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name.as_bytes()));
    let matches = |written: &CertificateMatch| {
        let matcher = Matcher::compile(written).unwrap();
        let is_match = matcher.matches("partner", &facts);
        assert!(
            matcher.authority().is_none() || !matcher.matches("another", &facts),
            "bound to its authority"
        );
        is_match
    };
    for (kind, name) in [(SanKind::DNS, NAME), (SanKind::URI, IDENTITY), (SanKind::Email, ADDRESS)] {
        assert!(!matches(&san(kind, name)) || holds(name), "{kind:?}");
    }
    if matches(&identity(None)) {
        assert!(holds(IDENTITY) && facts.only_uri() == Some(IDENTITY));
        assert!(matches(&identity(Some(vec![hex(facts.key())]))));
    }
    assert!(!matches(&identity(Some(Vec::new()))), "no key, no caller");
    let subject = CertificateMatch::Subject { authority: authority(), subject: SUBJECT.into() };
    assert!(!matches(&subject) || (holds("acme") || holds("a\0c\0m\0e")));
    assert!(matches(&CertificateMatch::Fingerprint { sha256: hex(facts.fingerprint()) }));
    assert!(!matches(&CertificateMatch::Fingerprint { sha256: "0".repeat(64) }));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
