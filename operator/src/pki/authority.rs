//! An authority: its self-signed certificate, its key, and issuing.

use std::time::Duration;

use aws_lc_rs::rand;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::PkiError;
use super::inspect::{self, LeafInfo};
use super::leaf::{BACKDATED, Leaf, LeafKind, LeafSpec};

/// How long an authority lives: ten years.
const LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);

/// The two authorities, kept apart so that a backend's key opens no lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityKind {
    /// Signs the server certificates of backends.
    Backends,
    /// Signs the client certificates of callers.
    Callers,
}

impl AuthorityKind {
    const fn common_name(self) -> &'static str {
        match self {
            Self::Backends => "Postern backends",
            Self::Callers => "Postern callers",
        }
    }
}

/// Which authority: the subject key identifier of its certificate, lower-case hex. Leaves carry it as their
/// authority key identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityId(pub(super) String);

impl std::fmt::Display for AuthorityId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An authority that can sign leaves.
pub struct Authority {
    cert_pem: String,
    cert_der: Vec<u8>,
    key: Zeroizing<KeyPair>,
    id: AuthorityId,
    not_after: Timestamp,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new authority: ECDSA P-256, self-signed, CA:TRUE with path length 0, for `keyCertSign` and `cRLSign`.
    ///
    /// # Errors
    /// If there is no randomness, or `now` is beyond what X.509 can express.
    pub fn generate(kind: AuthorityKind, now: Timestamp) -> Result<Self, PkiError> {
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.not_before = offset(before(now, BACKDATED))?;
        params.not_after = offset(after(now, LIFETIME))?;
        params.serial_number = Some(serial()?);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Two authorities never share a subject: a verifier that searches by name finds one candidate.
        let id = hex::encode(params.key_identifier(&*key));
        let name = format!("{} {}", kind.common_name(), id.get(..8).unwrap_or_default());
        params.distinguished_name = distinguished_name(&name);
        let certificate = params.self_signed(&*key).map_err(signing)?;
        Self::from_pem(&certificate.pem(), &key.serialize_pem())
    }

    /// From the certificate and PKCS#8 key of [`Self::cert_pem`] and [`Self::key_pem`].
    ///
    /// # Errors
    /// If either is unreadable, they don't belong together, or the certificate is no authority's.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let der = inspect::first_certificate(cert_pem)?;
        let key = Zeroizing::new(KeyPair::from_pem(key_pem).map_err(|_| PkiError::Key)?);
        if key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(PkiError::Key);
        }
        let (_, certificate) = parse(&der)?;
        if certificate.public_key().raw != key.subject_public_key_info() {
            return Err(PkiError::KeyMismatch);
        }
        let may_sign =
            certificate.key_usage().ok().flatten().is_some_and(|usage| usage.value.key_cert_sign());
        if !certificate.is_ca() || !may_sign {
            return Err(PkiError::NotAnAuthority);
        }
        let id = inspect::subject_key_id(&certificate).ok_or(PkiError::NotAnAuthority)?;
        let not_after = inspect::timestamp(certificate.validity().not_after)?;
        let cert_pem = cert_pem.to_owned();
        Ok(Self { cert_pem, key, id: AuthorityId(id), not_after, cert_der: der })
    }

    /// Its certificate, PEM: what verifiers get.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Its private key, PKCS#8 PEM: for the Secret in the operator's namespace and nowhere else.
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.key.serialize_pem())
    }

    /// Which authority this is.
    pub fn id(&self) -> &AuthorityId {
        &self.id
    }

    /// When it ends. No leaf lives longer.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether this authority's key signed `leaf`; stronger than comparing [`LeafInfo::authority`].
    pub fn signed(&self, leaf: &LeafInfo) -> bool {
        let (Ok((_, own)), Ok((_, leaf))) = (parse(&self.cert_der), parse(&leaf.der)) else {
            return false;
        };
        leaf.verify_signature(Some(own.public_key())).is_ok()
    }

    /// A new leaf with a new key: `digitalSignature`, exactly the one extended key usage of its kind,
    /// CA:FALSE, subject and authority key identifiers, a random serial of 128 bits.
    ///
    /// # Errors
    /// If a name can't stand in a certificate, the authority has ended, or there is no randomness.
    pub fn issue(&self, spec: &LeafSpec, now: Timestamp) -> Result<Leaf, PkiError> {
        if self.not_after <= now {
            return Err(PkiError::AuthorityExpired(self.not_after));
        }
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.not_before = offset(before(now, BACKDATED))?;
        params.not_after = offset(after(now, spec.lifetime).min(self.not_after))?;
        params.serial_number = Some(serial()?);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![match spec.kind {
            LeafKind::Server { .. } => ExtendedKeyUsagePurpose::ServerAuth,
            LeafKind::Client { .. } => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.subject_alt_names = names(&spec.kind)?;
        params.distinguished_name = distinguished_name(match spec.kind {
            LeafKind::Server { .. } => "Postern backend",
            LeafKind::Client { .. } => "Postern caller",
        });
        let issuer_der = self.cert_der.as_slice().into();
        let issuer = Issuer::from_ca_cert_der(&issuer_der, &*self.key).map_err(signing)?;
        let certificate = params.signed_by(&*key, &issuer).map_err(signing)?;
        let cert_pem = certificate.pem();
        let info = LeafInfo::inspect(&cert_pem)?;
        Ok(Leaf {
            cert_pem,
            key_pem: Zeroizing::new(key.serialize_pem()),
            spki_sha256: info.spki_sha256,
            sha256: info.sha256,
            not_before: info.not_before,
            not_after: info.not_after,
        })
    }
}

fn parse(der: &[u8]) -> Result<(&[u8], X509Certificate<'_>), PkiError> {
    X509Certificate::from_der(der).map_err(|error| PkiError::Certificate(error.to_string()))
}

fn names(kind: &LeafKind) -> Result<Vec<SanType>, PkiError> {
    let ia5 = |name: &str| name.to_owned().try_into().map_err(|_| PkiError::Name(name.to_owned()));
    match kind {
        LeafKind::Server { names } if names.is_empty() => Err(PkiError::Name(String::new())),
        LeafKind::Server { names } => {
            let mut seen = std::collections::BTreeSet::new();
            names
                .iter()
                .filter(|name| seen.insert(*name))
                .map(|name| ia5(name).map(SanType::DnsName))
                .collect()
        }
        LeafKind::Client { uri } => Ok(vec![SanType::URI(ia5(uri)?)]),
    }
}

fn new_key() -> Result<Zeroizing<KeyPair>, PkiError> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        .map(Zeroizing::new)
        .map_err(|_| PkiError::Randomness)
}

/// 128 random bits; the highest two are fixed so that the number is positive and always 16 bytes long.
fn serial() -> Result<SerialNumber, PkiError> {
    let mut bytes = [0_u8; 16];
    rand::fill(&mut bytes).map_err(|_| PkiError::Randomness)?;
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Postern");
    name.push(DnType::CommonName, common_name);
    name
}

fn before(now: Timestamp, span: Duration) -> Timestamp {
    now.checked_sub(span).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn after(now: Timestamp, span: Duration) -> Timestamp {
    now.checked_add(span).unwrap_or(Timestamp::MAX)
}

fn offset(at: Timestamp) -> Result<OffsetDateTime, PkiError> {
    OffsetDateTime::from_unix_timestamp(at.as_second()).map_err(|_| PkiError::Time(at))
}

#[allow(clippy::needless_pass_by_value)] // the shape `map_err` takes
fn signing(error: rcgen::Error) -> PkiError {
    PkiError::Signing(error.to_string())
}

#[cfg(test)]
mod tests;
