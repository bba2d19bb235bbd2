//! One authority: what it vouches for.

use std::collections::BTreeSet;
use std::sync::Arc;

use postern_config::policy::{Authority as Written, AuthorityKind};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::matcher::Facts;
use super::{refusal, sha256_from_hex, unix_time};
use crate::authorize::Code;

/// Prefix of the names that only Postern's own authority may give.
const RESERVED_SCHEME: &str = "spiffe://";

#[derive(Debug)]
pub(super) struct Authority {
    pub(super) name: Arc<str>,
    pub(super) kind: AuthorityKind,
    anchors: Vec<TrustAnchor<'static>>,
    /// Subjects of the roots (DER).
    pub(super) subjects: Vec<Vec<u8>>,
    /// SHA-256 of certificates that are trusted by themselves.
    pins: BTreeSet<[u8; 32]>,
}

/// An authority that cannot be used.
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
    /// Roots of a pin, or pins of a CA.
    #[error("authority {0:?}: one of type Pin has pins and no roots, any other has roots and no pins")]
    Mixed(String),
    /// Nothing that could be trusted.
    #[error("authority {0:?}: it pins no certificate; give the SHA-256 of at least one")]
    NoPins(String),
    /// A pin that can't be a hash.
    #[error("authority {name:?}: the pin {pin:?} is not a SHA-256 in 64 hex digits")]
    MalformedPin {
        /// The authority.
        name: String,
        /// As it stands.
        pin: String,
    },
    /// Two that are believed for the same names.
    #[error("authorities {first:?} and {second:?} are both of type Postern; there is one such authority")]
    TwoPosterns {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
}

/// Why an authority doesn't vouch.
pub(super) enum Miss {
    /// The chain doesn't lead to it, or is not valid.
    Chain(webpki::Error),
    /// It does, but the certificate is not one for a caller.
    Rule(Code, String),
}

/// A presented leaf, parsed.
pub(super) struct Leaf<'a> {
    pub(super) der: &'a CertificateDer<'a>,
    pub(super) parsed: &'a X509Certificate<'a>,
    pub(super) facts: &'a Facts,
}

impl Authority {
    pub(super) fn parse(written: &Written) -> Result<Self, AuthorityError> {
        let name = || written.name.clone();
        let is_pin = written.kind == AuthorityKind::Pin;
        if (is_pin && !written.roots.is_empty()) || (!is_pin && !written.pins.is_empty()) {
            return Err(AuthorityError::Mixed(name()));
        }
        if is_pin && written.pins.is_empty() {
            return Err(AuthorityError::NoPins(name()));
        }
        let roots = CertificateDer::pem_slice_iter(written.roots.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| AuthorityError::NotPem { name: name(), reason: error.to_string() })?;
        if roots.is_empty() && !is_pin {
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
        let pins = written.pins.iter().map(|pin| {
            sha256_from_hex(pin)
                .ok_or_else(|| AuthorityError::MalformedPin { name: name(), pin: pin.clone() })
        });
        let pins = pins.collect::<Result<_, _>>()?;
        Ok(Self { name: written.name.as_str().into(), kind: written.kind, anchors, subjects, pins })
    }

    /// Whether it vouches for a caller with this leaf.
    pub(super) fn vouches(
        &self,
        leaf: &Leaf<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Miss> {
        if self.kind == AuthorityKind::Pin {
            self.has_pinned(leaf, now)?;
        } else {
            self.verify(leaf.der, intermediates, now, KeyUsage::client_auth()).map_err(Miss::Chain)?;
            if let Err(reason) = refusal::client_usage(leaf.parsed) {
                return Err(Miss::Rule(Code::NotForClients, reason.to_owned()));
            }
        }
        if self.kind == AuthorityKind::Postern {
            return match leaf.facts.only_uri() {
                Some(_) => Ok(()),
                None => Err(Miss::Rule(Code::NoIdentity, how_many_uris(leaf.facts))),
            };
        }
        match leaf.facts.uris().iter().find(|uri| has_reserved_scheme(uri)) {
            Some(uri) => {
                let reason = format!("{:?} may not vouch for {uri:?}", self.name);
                Err(Miss::Rule(Code::ForeignIdentity, reason))
            }
            None => Ok(()),
        }
    }

    /// Whoever signed it: it is trusted by itself, so only its own word on dates and usage counts.
    fn has_pinned(&self, leaf: &Leaf<'_>, now: UnixTime) -> Result<(), Miss> {
        if !self.pins.contains(leaf.facts.fingerprint()) {
            return Err(Miss::Chain(webpki::Error::UnknownIssuer));
        }
        let validity = leaf.parsed.validity();
        if unix_time(validity.not_after.timestamp()) < now {
            return Err(Miss::Rule(Code::Expired, format!("it expired on {}", validity.not_after)));
        }
        if now < unix_time(validity.not_before.timestamp()) {
            let reason = format!("it is valid from {}", validity.not_before);
            return Err(Miss::Rule(Code::NotYetValid, reason));
        }
        let usage = leaf.parsed.extended_key_usage().map_err(|_| {
            Miss::Rule(Code::MalformedCertificate, "its extended key usage cannot be read".to_owned())
        })?;
        if usage.is_some_and(|usage| !usage.value.client_auth && !usage.value.any) {
            let reason = "its extended key usage does not list clientAuth".to_owned();
            return Err(Miss::Rule(Code::NotForClients, reason));
        }
        Ok(())
    }

    pub(super) fn verify(
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

fn how_many_uris(facts: &Facts) -> String {
    let count = if facts.uris().is_empty() { "no" } else { "more than one" };
    format!("it holds {count} URI as subject alternative name")
}

/// In any case, so that no look-alike comes from elsewhere.
fn has_reserved_scheme(identity: &str) -> bool {
    identity.get(..RESERVED_SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_SCHEME))
}
