//! What a caller presented, as far as a log line needs it.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{GeneralName, X509Certificate};

use super::sha256;

/// Longest text that is taken over from a certificate.
pub(super) const CLIP: usize = 300;

/// A certificate in words. All of it is public, none of it is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presented {
    /// Subject's distinguished name.
    pub subject: String,
    /// Issuer's distinguished name.
    pub issuer: String,
    /// Subject alternative names, comma separated.
    pub names: String,
    /// SHA-256 of the DER, lower-case hex.
    pub sha256: String,
}

impl Presented {
    /// Of a certificate that could be parsed.
    pub fn of(der: &CertificateDer<'_>, parsed: &X509Certificate<'_>) -> Self {
        Self {
            subject: clip(parsed.subject().to_string()),
            issuer: clip(parsed.issuer().to_string()),
            names: clip(names(parsed)),
            sha256: hex::encode(sha256(der)),
        }
    }

    /// Of one that could not.
    pub fn unreadable(der: &CertificateDer<'_>) -> Self {
        Self { sha256: hex::encode(sha256(der)), ..Self::default() }
    }
}

fn names(parsed: &X509Certificate<'_>) -> String {
    let Ok(Some(extension)) = parsed.subject_alternative_name() else { return String::new() };
    let written = extension.value.general_names.iter().take(8).map(|name| match name {
        GeneralName::URI(uri) => format!("URI:{uri}"),
        GeneralName::DNSName(dns) => format!("DNS:{dns}"),
        GeneralName::RFC822Name(mail) => format!("email:{mail}"),
        other => format!("{other}"),
    });
    written.collect::<Vec<_>>().join(", ")
}

fn clip(mut text: String) -> String {
    text.truncate(crate::text::clip(&text, CLIP).len());
    text
}
