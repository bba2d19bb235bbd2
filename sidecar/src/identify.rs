//! Who calls: authority, identity and key, from the chain that a handshake presents.
//!
//! Each authority has a root store of its own, so an identity is always bound to who vouches for it. What is
//! refused here ends as a TLS alert; the reason in words is for the log.

pub mod matcher;
mod presented;
mod refusal;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use postern_config::policy::Authority as Written;
use rustls::DistinguishedName;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

pub use self::presented::Presented;
pub use self::refusal::Refusal;
use crate::authorize::policy::KeyHash;
use crate::authorize::{Code, Who};

/// Prefix of the names that only the first authority, Postern's own, may give.
const RESERVED_SCHEME: &str = "spiffe://";

/// Longest chain that is looked at, in certificates. Clients of Postern's own authority present one.
const CHAIN: usize = 5;
/// Size of the longest chain that is looked at, in bytes.
const CHAIN_BYTES: usize = 32 << 10;

/// A caller that proved who it is.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Name of the authority that vouches for it.
    pub authority: Arc<str>,
    /// The one URI in its certificate.
    pub identity: Box<str>,
    /// SHA-256 of its `SubjectPublicKeyInfo`.
    pub key: KeyHash,
    /// What it presented, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// SHA-256 of the leaf.
    pub fingerprint: [u8; 32],
    /// When the leaf expires.
    pub not_after: UnixTime,
}

impl Caller {
    /// As admission sees it.
    pub fn who(&self) -> Who<'_> {
        Who { authority: &self.authority, identity: &self.identity, key: &self.key }
    }
}

/// Everyone who may vouch for callers. The first is Postern's own.
#[derive(Debug)]
pub struct Authorities {
    list: Vec<Authority>,
    /// Issuer of the server's own certificate (DER), to tell a server's certificate from a stranger's.
    server_issuer: Vec<u8>,
    /// Changes whenever an authority does.
    digest: [u8; 32],
}

#[derive(Debug)]
struct Authority {
    name: Arc<str>,
    anchors: Vec<TrustAnchor<'static>>,
    /// Subjects of the roots (DER).
    subjects: Vec<Vec<u8>>,
}

/// Roots that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Not PEM, or no certificate in it.
    #[error("authority {name:?}: its roots are no PEM certificates ({reason}); give at least one")]
    NotPem {
        /// The authority.
        name: String,
        /// What the parser says.
        reason: String,
    },
    /// A certificate that is no trust anchor.
    #[error("authority {name:?}: a root cannot be used as trust anchor ({reason}); give a CA certificate")]
    BadRoot {
        /// The authority.
        name: String,
        /// What the parser says.
        reason: String,
    },
}

impl Authorities {
    /// From the policy. `server_issuer`: issuer of the server's certificate, DER.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn parse(written: &[Written], server_issuer: Vec<u8>) -> Result<Self, AuthorityError> {
        let list = written.iter().map(Authority::parse).collect::<Result<_, _>>()?;
        let mut material = Vec::new();
        for authority in written {
            for part in [&authority.name, &authority.roots] {
                material.extend_from_slice(&part.len().to_be_bytes());
                material.extend_from_slice(part.as_bytes());
            }
        }
        Ok(Self { list, server_issuer, digest: sha256(&material) })
    }

    /// Of Postern's own authority alone, for endpoints that no other may open.
    pub fn own_only(written: &[Written], server_issuer: Vec<u8>) -> Result<Self, AuthorityError> {
        Self::parse(written.get(..1).unwrap_or_default(), server_issuer)
    }

    /// Equal for two sets that accept the same chains.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Names that help a caller with several certificates to choose one.
    pub fn hints(&self) -> Vec<DistinguishedName> {
        let subjects = self.list.iter().flat_map(|authority| &authority.subjects);
        subjects.map(|subject| DistinguishedName::from(subject.clone())).collect()
    }

    /// Who presents this chain (leaf first), as of `now`.
    ///
    /// # Errors
    /// A [`Refusal`] with what was presented and why it isn't accepted.
    pub fn identify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Caller, Box<Refusal>> {
        let (leaf, intermediates) = chain
            .split_first()
            .ok_or_else(|| Refusal::bare(Code::NoCertificate, "no certificate was presented"))?;
        // Before anything is parsed: the work of finding a path grows with every certificate.
        let bytes: usize = chain.iter().map(|certificate| certificate.len()).sum();
        if chain.len() > CHAIN || bytes > CHAIN_BYTES {
            let count = chain.len();
            let reason = format!(
                "the chain is too long ({count} certificates, {bytes} bytes; at most {CHAIN} and {CHAIN_BYTES})"
            );
            return Err(Refusal::too_long(leaf, reason).into());
        }
        let parsed = match X509Certificate::from_der(leaf) {
            Ok(([], parsed)) => parsed,
            Ok(_) => return Err(Refusal::unreadable(leaf, "bytes follow the certificate").into()),
            Err(error) => return Err(Refusal::unreadable(leaf, error).into()),
        };
        let refuse =
            |code, reason: String| Err(Refusal::of(code, reason, Presented::of(leaf, &parsed)).into());

        let authority = match self.vouching(leaf, intermediates, now) {
            Ok(authority) => authority,
            Err(error) => {
                let (code, reason) = self.explain(&parsed, leaf, intermediates, &error);
                return refuse(code, reason);
            }
        };
        if let Err(reason) = refusal::client_usage(&parsed) {
            return refuse(Code::NotForClients, reason.to_owned());
        }
        let identity = match only_uri(&parsed) {
            Ok(identity) => identity,
            Err(reason) => return refuse(Code::NoIdentity, reason),
        };
        let is_own = self.list.first().is_some_and(|first| Arc::ptr_eq(&first.name, &authority.name));
        if !is_own && has_reserved_scheme(identity) {
            let reason = format!("{:?} may not vouch for {identity:?}", authority.name);
            return refuse(Code::ForeignIdentity, reason);
        }
        Ok(Caller {
            authority: Arc::clone(&authority.name),
            identity: identity.into(),
            key: sha256(parsed.public_key().raw),
            chain: chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
            fingerprint: sha256(leaf),
            not_after: unix_time(parsed.validity().not_after.timestamp()),
        })
    }

    /// The authority that a chain leads to, or the most telling of the errors.
    fn vouching(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<&Authority, webpki::Error> {
        let mut worst = webpki::Error::UnknownIssuer;
        for authority in &self.list {
            match authority.verify(leaf, intermediates, now, KeyUsage::client_auth()) {
                Ok(()) => return Ok(authority),
                Err(webpki::Error::UnknownIssuer) => {}
                Err(error) => worst = error,
            }
        }
        Err(worst)
    }
}

impl Authority {
    fn parse(written: &Written) -> Result<Self, AuthorityError> {
        let name = || written.name.clone();
        let roots = CertificateDer::pem_slice_iter(written.roots.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| AuthorityError::NotPem { name: name(), reason: error.to_string() })?;
        if roots.is_empty() {
            return Err(AuthorityError::NotPem { name: name(), reason: "none found".to_owned() });
        }
        let mut anchors = Vec::with_capacity(roots.len());
        let mut subjects = Vec::with_capacity(roots.len());
        for root in &roots {
            let bad = |reason: String| AuthorityError::BadRoot { name: name(), reason };
            anchors.push(anchor_from_trusted_cert(root).map_err(|error| bad(error.to_string()))?.to_owned());
            let (_, parsed) = X509Certificate::from_der(root).map_err(|error| bad(error.to_string()))?;
            subjects.push(parsed.subject().as_raw().to_vec());
        }
        Ok(Self { name: written.name.as_str().into(), anchors, subjects })
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: impl webpki::ExtendedKeyUsageValidator,
    ) -> Result<(), webpki::Error> {
        let end_entity = EndEntityCert::try_from(leaf)?;
        end_entity
            .verify_for_usage(ALL_VERIFICATION_ALGS, &self.anchors, intermediates, now, usage, None, None)
            .map(|_| ())
    }
}

/// The one URI among the subject alternative names.
fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, String> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| format!("its subject alternative names cannot be read ({error})"))?
        .map(|extension| &extension.value.general_names);
    let mut uris = names.into_iter().flatten().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => Ok(uri),
        (None, _) => Err("it holds no URI as subject alternative name".to_owned()),
        (Some(_), Some(_)) => Err("it holds more than one URI as subject alternative name".to_owned()),
    }
}

/// In any case, so that no look-alike comes from elsewhere.
fn has_reserved_scheme(identity: &str) -> bool {
    identity.get(..RESERVED_SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_SCHEME))
}

/// SHA-256 in one call.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    // SHA-256 yields 32 bytes; copying by zip cannot go out of bounds.
    for (to, from) in out.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    out
}

fn unix_time(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests;
