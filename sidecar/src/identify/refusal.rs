//! Why a certificate is refused, as exactly as can be told.

use std::borrow::Cow;
use std::fmt::Display;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::Error;
use x509_parser::prelude::X509Certificate;

use super::{Authorities, Presented, unix_time};
use crate::authorize::{Code, Denial};

/// A refused handshake: why, and what was presented if anything was.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Why.
    pub denial: Denial,
    /// What was presented.
    pub presented: Option<Presented>,
}

impl Refusal {
    /// Of somebody who presented nothing that could be looked at.
    pub fn bare(code: Code, reason: impl Into<Cow<'static, str>>) -> Box<Self> {
        Box::new(Self { denial: Denial::new(code, reason), presented: None })
    }

    pub(super) fn of(code: Code, reason: String, presented: Presented) -> Self {
        Self { denial: Denial::new(code, reason), presented: Some(presented) }
    }

    pub(super) fn unreadable(leaf: &CertificateDer<'_>, error: impl Display) -> Self {
        let reason = format!("the certificate cannot be read ({error})");
        Self::of(Code::MalformedCertificate, reason, Presented::unreadable(leaf))
    }

    /// Of a chain that isn't looked at.
    pub(super) fn too_long(leaf: &CertificateDer<'_>, reason: String) -> Self {
        Self::of(Code::MalformedCertificate, reason, Presented::unreadable(leaf))
    }

    /// Of a certificate that is genuine, for a reason that lies in the policy.
    pub fn by_policy(code: Code, reason: String, chain: &[CertificateDer<'_>]) -> Box<Self> {
        use x509_parser::prelude::FromDer;
        let presented = chain.first().map(|leaf| match X509Certificate::from_der(leaf) {
            Ok((_, parsed)) => Presented::of(leaf, &parsed),
            Err(_) => Presented::unreadable(leaf),
        });
        Box::new(Self { denial: Denial::new(code, reason), presented })
    }
}

/// Whether a certificate says that a client may use it, by extended key usage and key usage.
pub(super) fn client_usage(certificate: &X509Certificate<'_>) -> Result<(), &'static str> {
    let extended = certificate.extended_key_usage().map_err(|_| "its extended key usage cannot be read")?;
    if !extended.is_some_and(|extension| extension.value.client_auth) {
        return Err("its extended key usage does not list clientAuth");
    }
    let usage = certificate.key_usage().map_err(|_| "its key usage cannot be read")?;
    if usage.is_some_and(|extension| !extension.value.digital_signature()) {
        return Err("its key usage does not list digitalSignature");
    }
    Ok(())
}

/// Accepts every usage; for telling a wrong usage from a wrong issuer.
struct AnyUsage;

impl webpki::ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: webpki::KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        Ok(())
    }
}

impl Authorities {
    /// The code and the words for a chain that no authority vouches for.
    ///
    /// The library looks at dates and usage before it looks for the issuer, so its error may be about a
    /// certificate that is a stranger's anyway; the issuer counts more.
    pub(super) fn explain(
        &self,
        parsed: &X509Certificate<'_>,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        error: &Error,
    ) -> (Code, String) {
        let then = unix_time(parsed.validity().not_after.timestamp());
        let is_ours = |then: UnixTime| {
            let mut authorities = self.list.iter();
            authorities.any(|authority| authority.verify(leaf, intermediates, then, AnyUsage).is_ok())
        };
        match error {
            Error::CaUsedAsEndEntity => {
                (Code::AuthorityAsClient, "it is a CA's certificate, not a client's".to_owned())
            }
            Error::CertExpired { .. } if is_ours(then) => {
                (Code::Expired, format!("it expired on {}", parsed.validity().not_after))
            }
            Error::CertNotValidYet { .. } if is_ours(then) => {
                (Code::NotYetValid, format!("it is valid from {}", parsed.validity().not_before))
            }
            Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension if is_ours(then) => {
                (Code::NotForClients, "its extended key usage does not list clientAuth".to_owned())
            }
            Error::CertExpired { .. }
            | Error::CertNotValidYet { .. }
            | Error::RequiredEkuNotFoundContext(_)
            | Error::EmptyEkuExtension
            | Error::UnknownIssuer
            | Error::InvalidSignatureForPublicKey
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => self.explain_issuer(parsed),
            other => (Code::MalformedCertificate, format!("it is not a usable certificate ({other})")),
        }
    }

    fn explain_issuer(&self, parsed: &X509Certificate<'_>) -> (Code, String) {
        let issuer = parsed.issuer().as_raw();
        if issuer == parsed.subject().as_raw() {
            return (Code::SelfSigned, "it is signed by itself".to_owned());
        }
        let namesake =
            self.list.iter().find(|authority| authority.subjects.iter().any(|name| name == issuer));
        if let Some(authority) = namesake {
            let reason = format!("its issuer has the name of authority {:?} but not its key", authority.name);
            return (Code::ForgedIssuer, reason);
        }
        if issuer == self.server_issuer {
            let reason = "it is issued by the authority of this server's own certificate, which vouches for \
                          servers and not for callers";
            return (Code::ServerAuthority, reason.to_owned());
        }
        (Code::UnknownIssuer, "its issuer is none of the policy's authorities".to_owned())
    }
}
