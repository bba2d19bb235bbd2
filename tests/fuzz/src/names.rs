//! Distinguished names as text.

use postern_config::dn::DistinguishedName;
use postern_config::policy::CertificateMatch;
use postern_sidecar::identify::matcher::Matcher;

/// What is read is written so that it reads the same, and makes a matcher.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let written = CertificateMatch::Subject { authority: "a".into(), subject: text.into() };
    let matcher = Matcher::compile(&written);
    let Ok(name) = DistinguishedName::parse(text) else {
        assert!(matcher.is_err_and(|error| !error.to_string().is_empty()));
        return;
    };
    assert_eq!(matcher.unwrap().authority(), Some("a"));
    assert!(!name.rdns().is_empty() && name.rdns().iter().all(|rdn| !rdn.is_empty()), "{text:?}");
    let canonical = name.to_string();
    if canonical.len() <= postern_config::dn::BYTES {
        let again = DistinguishedName::parse(&canonical)
            .unwrap_or_else(|error| panic!("{text:?} {canonical:?}: {error}"));
        assert_eq!(again, name, "{text:?} {canonical:?}");
        assert_eq!(again.to_string(), canonical);
    }
}
