//! Certificates that are refused although somebody vouches for them.

use std::collections::BTreeSet;

use postern_crds::BackendTrust;

/// `spec.revokedCertificates` in the policy's form.
pub fn revoked(trust: &BackendTrust) -> BTreeSet<String> {
    trust.spec.revoked_certificates.iter().map(|text| fingerprint(text)).collect()
}

/// A SHA-256 as the policy has it: lower-case hex without colons.
pub fn fingerprint(text: &str) -> String {
    text.chars().filter(|c| *c != ':').map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_certificate_has_one_form() {
        for (text, expected) in [("7f83", "7f83"), ("7F:83", "7f83"), ("7f:83", "7f83"), ("7F83", "7f83")] {
            assert_eq!(fingerprint(text), expected);
        }
    }
}
