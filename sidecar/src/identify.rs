//! Who calls: authority, identity and key, from the chain that a handshake presents.
//!
//! Each authority has a root store of its own, so an identity is always bound to who vouches for it. What is
//! refused here ends as a TLS alert; the reason in words is for the log.

mod authority;
pub mod matcher;
mod presented;
mod refusal;
pub mod verified;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Digest, SHA256, digest};
use postern_config::policy::{Authority as Written, AuthorityKind};
use rustls::DistinguishedName;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

pub use self::authority::AuthorityError;
use self::authority::{Authority, Leaf, Miss};
use self::matcher::Facts;
pub use self::presented::Presented;
pub use self::refusal::Refusal;
use crate::authorize::Code;
use crate::authorize::policy::KeyHash;

/// Longest chain that is looked at, in certificates. Clients of Postern's own authority present one.
const CHAIN: usize = 5;
/// Size of the longest chain that is looked at, in bytes.
const CHAIN_BYTES: usize = 32 << 10;

/// A caller that proved who it is.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Name of the authority that vouches for it; of several, the first of the policy.
    pub authority: Arc<str>,
    /// Names of all authorities that vouch for it.
    pub authorities: Box<[Arc<str>]>,
    /// The one URI in its certificate, else its subject (RFC 4514): how it is called where people read it. What it
    /// may do is decided by its facts.
    pub identity: Box<str>,
    /// What its certificate holds.
    pub facts: Facts,
    /// SHA-256 of its `SubjectPublicKeyInfo`.
    pub key: KeyHash,
    /// What it presented, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// SHA-256 of the leaf.
    pub fingerprint: [u8; 32],
    /// When the leaf expires.
    pub not_after: UnixTime,
}

/// Everyone who may vouch for callers.
#[derive(Debug)]
pub struct Authorities {
    list: Vec<Authority>,
    /// Issuer of the server's own certificate (DER), to tell a server's certificate from a stranger's.
    server_issuer: Vec<u8>,
    /// Changes whenever an authority does.
    digest: [u8; 32],
}

impl Authorities {
    /// Those of the policy that vouch for the application's callers. `server_issuer`: issuer of the server's
    /// certificate, DER.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn parse(written: &[Written], server_issuer: Vec<u8>) -> Result<Self, AuthorityError> {
        let mut own = written.iter().filter(|authority| authority.kind == AuthorityKind::Postern);
        if let (Some(first), Some(second)) = (own.next(), own.next()) {
            let (first, second) = (first.name.clone(), second.name.clone());
            return Err(AuthorityError::TwoPosterns { first, second });
        }
        Self::of(written.iter().filter(|authority| !authority.admin_only), server_issuer)
    }

    /// Postern's own authority alone, for endpoints that no other may open.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn own_only(written: &[Written], server_issuer: Vec<u8>) -> Result<Self, AuthorityError> {
        let own = written.iter().filter(|authority| authority.kind == AuthorityKind::Postern);
        Self::of(own, server_issuer)
    }

    fn of<'a>(
        written: impl Iterator<Item = &'a Written>,
        server_issuer: Vec<u8>,
    ) -> Result<Self, AuthorityError> {
        let mut list = Vec::new();
        let mut material = Vec::new();
        for authority in written {
            list.push(Authority::parse(authority)?);
            let kind = match authority.kind {
                AuthorityKind::Postern => "Postern",
                AuthorityKind::Bundle => "Bundle",
                AuthorityKind::Pin => "Pin",
            };
            let texts = [authority.name.as_str(), kind, &authority.roots];
            for part in texts.into_iter().chain(authority.pins.iter().map(String::as_str)) {
                material.extend_from_slice(&part.len().to_be_bytes());
                material.extend_from_slice(part.as_bytes());
            }
        }
        Ok(Self { list, server_issuer, digest: sha256(&material) })
    }

    /// Equal for two sets that accept the same chains.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Names that help a caller with several certificates to choose one. None where certificates are pinned, since
    /// a caller may keep to the list, and a pinned certificate may be from anybody.
    pub fn hints(&self) -> Vec<DistinguishedName> {
        if self.list.iter().any(|authority| authority.kind == AuthorityKind::Pin) {
            return Vec::new();
        }
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
        let facts =
            Facts::from_parsed(leaf, &parsed).map_err(|error| Box::new(Refusal::unreadable(leaf, error)))?;
        let presented = Leaf { der: leaf, parsed: &parsed, facts: &facts };
        let authorities = self
            .vouching(&presented, intermediates, now)
            .map_err(|(code, reason)| Box::new(Refusal::of(code, reason, Presented::of(leaf, &parsed))))?;
        let Some(first) = authorities.first() else {
            return Err(Refusal::bare(Code::UnknownIssuer, "no authority vouches for it"));
        };
        Ok(Caller {
            authority: Arc::clone(first),
            identity: identity(&facts),
            key: *facts.key(),
            fingerprint: *facts.fingerprint(),
            chain: chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
            not_after: unix_time(parsed.validity().not_after.timestamp()),
            authorities,
            facts,
        })
    }

    /// All authorities that vouch for a chain, or the most telling of the reasons why none does.
    fn vouching(
        &self,
        leaf: &Leaf<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Box<[Arc<str>]>, (Code, String)> {
        let mut vouching = Vec::new();
        let mut worst = webpki::Error::UnknownIssuer;
        let mut broken = None;
        for authority in &self.list {
            match authority.vouches(leaf, intermediates, now) {
                Ok(()) => vouching.push(Arc::clone(&authority.name)),
                Err(Miss::Rule(code, reason)) => broken = broken.or(Some((code, reason))),
                Err(Miss::Chain(webpki::Error::UnknownIssuer)) => {}
                Err(Miss::Chain(error)) => worst = error,
            }
        }
        if !vouching.is_empty() {
            return Ok(vouching.into());
        }
        Err(broken.unwrap_or_else(|| self.explain(leaf.parsed, leaf.der, intermediates, &worst)))
    }
}

/// How a caller is called: the one URI, the subject, or at least the fingerprint.
fn identity(facts: &Facts) -> Box<str> {
    if let Some(uri) = facts.only_uri() {
        return uri.into();
    }
    let subject = facts.subject();
    if subject.is_empty() {
        return format!("sha256:{}", hex::encode(facts.fingerprint())).into();
    }
    crate::text::clip(&subject, presented::CLIP).into()
}

/// SHA-256 in one call.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    finished(&digest(&SHA256, bytes))
}

fn finished(hash: &Digest) -> [u8; 32] {
    let mut out = [0; 32];
    // SHA-256 yields 32 bytes; copying by zip cannot go out of bounds.
    for (to, from) in out.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    out
}

/// A SHA-256 from its 64 hex digits, in either case; `None` for anything else.
pub fn sha256_from_hex(digits: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    hex::decode_to_slice(digits, &mut out).ok().map(|()| out)
}

fn unix_time(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests;
