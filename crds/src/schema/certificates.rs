//! Schemas of what certificates and their holders are known by.

use schemars::{Schema, SchemaGenerator};

use super::{matches, rule_name, set, text};

/// The SHA-256 of a certificate.
pub(crate) fn fingerprint(_: &mut SchemaGenerator) -> Schema {
    text(
        95,
        &[(
            matches("([0-9a-fA-F]{64}|([0-9a-fA-F]{2}:){31}[0-9a-fA-F]{2})"),
            "write the SHA-256 of the certificate (DER) as 64 hexadecimal digits, with or without colons between \
             the bytes, as openssl x509 -noout -fingerprint -sha256 shows it",
        )],
    )
}

/// Several of them.
pub(crate) fn fingerprints(generator: &mut SchemaGenerator) -> Schema {
    set(256, &fingerprint(generator))
}

/// A certificate's subject, RFC 4514.
pub(crate) fn subject(_: &mut SchemaGenerator) -> Schema {
    text(
        1024,
        &[(
            "!self.startsWith('/') && self.contains('=') && !self.matches('[[:cntrl:]]')".to_owned(),
            "write the whole subject as openssl x509 -noout -subject -nameopt RFC2253 shows it, such as CN=acme,O=Acme",
        )],
    )
}

/// The value of a subject alternative name.
pub(crate) fn san_value(_: &mut SchemaGenerator) -> Schema {
    text(
        1024,
        &[(
            "!self.matches('[^!-~]') && !self.contains('*')".to_owned(),
            "write one name in printable ASCII, without spaces and without '*'",
        )],
    )
}

/// Names of callers.
pub(crate) fn caller_names(generator: &mut SchemaGenerator) -> Schema {
    set(crate::limits::CALLERS, &rule_name(generator))
}
