//! What an existing leaf is, and whether it is due for renewal. Nothing here does I/O or knows the time.

use aws_lc_rs::digest;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use super::PkiError;
use super::authority::AuthorityId;
use super::leaf::{BACKDATED, LeafSpec};

/// What a leaf says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafInfo {
    /// Subject alternative names, sorted: `DNS:…`, `URI:…`, other kinds as `other:…`.
    pub names: Vec<String>,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
    /// SHA-256 of the certificate (DER), lower-case hex.
    pub sha256: String,
    /// SHA-256 of the `SubjectPublicKeyInfo` (DER), lower-case hex.
    pub spki_sha256: String,
    /// Subject of the issuer (RFC 4514).
    pub issuer: String,
    /// The authority it names as its signer (authority key identifier).
    pub authority: Option<AuthorityId>,
    pub(super) der: Vec<u8>,
}

/// Why a leaf must be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenewalReason {
    /// There is none, or it can't be read, or its key is another one.
    Unreadable,
    /// Signed by another authority.
    OtherAuthority,
    /// Its names are not the wanted ones.
    NamesDiffer,
    /// A third or less of its lifetime is left.
    Ageing,
    /// `spec.rotation.requestedAt` is younger than the leaf.
    Requested,
}

impl std::fmt::Display for RenewalReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "there is no readable certificate with its key",
            Self::OtherAuthority => "the authority is another one",
            Self::NamesDiffer => "its names are other ones",
            Self::Ageing => "a third or less of its lifetime is left",
            Self::Requested => "rotation was requested",
        })
    }
}

impl LeafInfo {
    /// Reads the first certificate of a PEM chain.
    ///
    /// # Errors
    /// If it is no PEM, or no X.509 certificate.
    pub fn inspect(cert_pem: &str) -> Result<Self, PkiError> {
        let der = first_certificate(cert_pem)?;
        let (_, certificate) =
            X509Certificate::from_der(&der).map_err(|error| PkiError::Certificate(error.to_string()))?;
        Ok(Self {
            names: names(&certificate)?,
            not_before: timestamp(certificate.validity().not_before)?,
            not_after: timestamp(certificate.validity().not_after)?,
            sha256: sha256(&der),
            spki_sha256: sha256(certificate.public_key().raw),
            issuer: certificate.issuer().to_string(),
            authority: authority_key_id(&certificate),
            der: der.clone(),
        })
    }

    /// As [`Self::inspect`], and makes sure that the private key (PKCS#8 PEM) belongs to it.
    ///
    /// # Errors
    /// If either can't be read, or they are not a pair.
    pub fn inspect_pair(cert_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let info = Self::inspect(cert_pem)?;
        let key = zeroize::Zeroizing::new(rcgen::KeyPair::from_pem(key_pem).map_err(|_| PkiError::Key)?);
        if sha256(&rcgen::PublicKeyData::subject_public_key_info(&*key)) == info.spki_sha256 {
            Ok(info)
        } else {
            Err(PkiError::KeyMismatch)
        }
    }

    /// When it becomes [`RenewalReason::Ageing`]: with a third of its lifetime left.
    pub fn renewal_time(&self) -> Timestamp {
        let (start, end) = (self.not_before.as_second(), self.not_after.as_second());
        Timestamp::from_second(end - end.saturating_sub(start) / 3).unwrap_or(self.not_after)
    }
}

/// Whether a leaf must be replaced, and why; the first reason in the order of [`RenewalReason`].
///
/// * `info`: the leaf that exists; `None` if there is none or it is unreadable.
/// * `authority`: who is to have signed it.
/// * `requested_at`: `spec.rotation.requestedAt`. A leaf issued before it is due; leaves are back-dated by
///   [`BACKDATED`], which is taken into account. A request for the future waits until then.
pub fn renewal_due(
    info: Option<&LeafInfo>,
    spec: &LeafSpec,
    authority: &AuthorityId,
    now: Timestamp,
    requested_at: Option<Timestamp>,
) -> Option<RenewalReason> {
    let Some(info) = info else {
        return Some(RenewalReason::Unreadable);
    };
    let issued_at = info.not_before.checked_add(BACKDATED).unwrap_or(info.not_before);
    if info.authority.as_ref() != Some(authority) {
        Some(RenewalReason::OtherAuthority)
    } else if info.names != spec.kind.names() {
        Some(RenewalReason::NamesDiffer)
    } else if info.renewal_time() <= now {
        Some(RenewalReason::Ageing)
    } else if requested_at.is_some_and(|at| at <= now && issued_at < at) {
        Some(RenewalReason::Requested)
    } else {
        None
    }
}

/// The first certificate of a PEM file, DER.
pub(super) fn first_certificate(pem: &str) -> Result<Vec<u8>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map(|der| der.as_ref().to_vec())
        .map_err(|error| PkiError::Certificate(error.to_string()))
}

pub(super) fn subject_key_id(certificate: &X509Certificate<'_>) -> Option<String> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(hex::encode(id.0)),
        _ => None,
    })
}

pub(super) fn timestamp(at: ASN1Time) -> Result<Timestamp, PkiError> {
    Timestamp::from_second(at.timestamp()).map_err(|error| PkiError::Certificate(error.to_string()))
}

fn authority_key_id(certificate: &X509Certificate<'_>) -> Option<AuthorityId> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            id.key_identifier.as_ref().map(|id| AuthorityId(hex::encode(id.0)))
        }
        _ => None,
    })
}

fn names(certificate: &X509Certificate<'_>) -> Result<Vec<String>, PkiError> {
    let extension =
        certificate.subject_alternative_name().map_err(|error| PkiError::Certificate(error.to_string()))?;
    let mut names: Vec<String> = extension
        .map(|extension| extension.value.general_names.iter().map(name).collect())
        .unwrap_or_default();
    names.sort();
    Ok(names)
}

fn name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => format!("DNS:{name}"),
        GeneralName::URI(uri) => format!("URI:{uri}"),
        other => format!("other:{other}"),
    }
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

#[cfg(test)]
mod tests;
