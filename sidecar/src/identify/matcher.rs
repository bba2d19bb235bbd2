//! Whether a certificate is one that a caller is bound to.
//!
//! A matcher looks at a leaf alone. That an authority vouches for it, and for clients, is judged before.

use std::collections::BTreeSet;

use postern_config::dn::{DistinguishedName, DnError, Rdn, Value};
use postern_config::policy::{CertificateMatch, SanKind};
use rustls_pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, Tag, ToDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::{sha256, sha256_from_hex};

/// What matchers look at in a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    fingerprint: [u8; 32],
    key: [u8; 32],
    /// In the order of RFC 4514, the reverse of the certificate's.
    subject: Box<[Box<[Attribute]>]>,
    uris: Box<[Box<str>]>,
    dns_names: Box<[Box<str>]>,
    emails: Box<[Box<str>]>,
}

/// One attribute of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attribute {
    oid: Box<str>,
    /// If it is of a string type and valid.
    text: Option<Box<str>>,
    /// Tag, length and value.
    encoded: Box<[u8]>,
}

/// A leaf of which nothing can be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// Not X.509.
    #[error("the certificate cannot be read ({0})")]
    Certificate(String),
    /// RFC 5280 section 4.2.1.6.
    #[error("its subject alternative names cannot be read ({0})")]
    Names(String),
    /// RFC 5280 section 4.1.2.6.
    #[error("its subject cannot be read")]
    Subject,
}

/// One way in which a certificate can be a caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    authority: Option<Box<str>>,
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Identity { uri: Box<str>, keys: Option<BTreeSet<[u8; 32]>> },
    Fingerprint([u8; 32]),
    Subject(DistinguishedName),
    San { kind: SanKind, value: Box<str> },
}

/// A matcher that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatcherError {
    /// Of a certificate or a key.
    #[error("{0:?} is no SHA-256; write 64 lower-case hex digits")]
    NotSha256(String),
    /// The distinguished name.
    #[error("{subject:?}: {error}")]
    Subject {
        /// As written.
        subject: String,
        /// Why.
        error: DnError,
    },
    /// A name that no certificate can have in this form.
    #[error("{value:?} is no {kind} name that a certificate can hold; write {example}")]
    Name {
        /// As written.
        value: String,
        /// Which.
        kind: &'static str,
        /// As it should be.
        example: &'static str,
    },
}

impl Facts {
    /// Of a leaf.
    ///
    /// # Errors
    /// [`FactsError`].
    pub fn of(leaf: &CertificateDer<'_>) -> Result<Self, FactsError> {
        let (_, parsed) =
            X509Certificate::from_der(leaf).map_err(|error| FactsError::Certificate(error.to_string()))?;
        Self::from_parsed(leaf, &parsed)
    }

    /// Of a leaf that was parsed already.
    ///
    /// # Errors
    /// [`FactsError`].
    pub fn from_parsed(leaf: &CertificateDer<'_>, parsed: &X509Certificate<'_>) -> Result<Self, FactsError> {
        let names =
            parsed.subject_alternative_name().map_err(|error| FactsError::Names(error.to_string()))?;
        let (mut uris, mut dns_names, mut emails) = (Vec::new(), Vec::new(), Vec::new());
        for name in names.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::URI(uri) => uris.push((*uri).into()),
                GeneralName::DNSName(name) => dns_names.push((*name).into()),
                GeneralName::RFC822Name(name) => emails.push((*name).into()),
                _ => {}
            }
        }
        Ok(Self {
            fingerprint: sha256(leaf),
            key: sha256(parsed.public_key().raw),
            subject: subject(parsed.subject())?,
            uris: uris.into(),
            dns_names: dns_names.into(),
            emails: emails.into(),
        })
    }

    /// SHA-256 of the certificate (DER).
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// SHA-256 of the `SubjectPublicKeyInfo` (DER).
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Its subject (RFC 4514), for people; empty if it has none.
    pub fn subject(&self) -> String {
        let value = |attribute: &Attribute| match &attribute.text {
            Some(text) => Value::Text(text.to_string()),
            None => Value::Encoded(attribute.encoded.to_vec()),
        };
        let rdn = |attributes: &[Attribute]| -> Rdn {
            attributes.iter().map(|attribute| (attribute.oid.to_string(), value(attribute))).collect()
        };
        DistinguishedName::of(self.subject.iter().map(|attributes| rdn(attributes)).collect()).to_string()
    }

    /// URIs among its subject alternative names.
    pub fn uris(&self) -> &[Box<str>] {
        &self.uris
    }

    /// DNS names among its subject alternative names.
    pub fn dns_names(&self) -> &[Box<str>] {
        &self.dns_names
    }

    /// E-mail addresses among its subject alternative names.
    pub fn emails(&self) -> &[Box<str>] {
        &self.emails
    }

    /// The one URI, if there is exactly one.
    pub fn only_uri(&self) -> Option<&str> {
        match &*self.uris {
            [only] => Some(only),
            _ => None,
        }
    }
}

impl Matcher {
    /// From the policy.
    ///
    /// # Errors
    /// [`MatcherError`].
    pub fn compile(written: &CertificateMatch) -> Result<Self, MatcherError> {
        let (authority, rule) = match written {
            CertificateMatch::Identity { authority, identity, keys } => {
                let keys = keys.as_ref().map(|keys| keys.iter().map(|key| digest(key)).collect());
                (Some(authority), Rule::Identity { uri: identity.as_str().into(), keys: keys.transpose()? })
            }
            CertificateMatch::Fingerprint { sha256 } => (None, Rule::Fingerprint(digest(sha256)?)),
            CertificateMatch::Subject { authority, subject } => {
                let name = DistinguishedName::parse(subject)
                    .map_err(|error| MatcherError::Subject { subject: subject.clone(), error })?;
                (Some(authority), Rule::Subject(name))
            }
            CertificateMatch::San { authority, kind, value } => {
                check_name(*kind, value)?;
                (Some(authority), Rule::San { kind: *kind, value: value.as_str().into() })
            }
        };
        Ok(Self { authority: authority.map(|it| it.as_str().into()), rule })
    }

    /// The authority that must vouch for the certificate; none if any of the policy's may.
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// Whether it is this certificate, with `authority` vouching for it.
    pub fn matches(&self, authority: &str, facts: &Facts) -> bool {
        if self.authority().is_some_and(|bound| bound != authority) {
            return false;
        }
        match &self.rule {
            Rule::Identity { uri, keys } => {
                facts.only_uri() == Some(uri) && keys.as_ref().is_none_or(|keys| keys.contains(&facts.key))
            }
            Rule::Fingerprint(fingerprint) => facts.fingerprint == *fingerprint,
            Rule::Subject(name) => has_subject(name.rdns(), &facts.subject),
            Rule::San { kind: SanKind::URI, value } => facts.uris.contains(value),
            Rule::San { kind: SanKind::DNS, value } => {
                facts.dns_names.iter().any(|name| name.eq_ignore_ascii_case(value))
            }
            Rule::San { kind: SanKind::Email, value } => {
                facts.emails.iter().any(|name| is_same_mailbox(name, value))
            }
        }
    }
}

fn digest(written: &str) -> Result<[u8; 32], MatcherError> {
    let is_lower = !written.bytes().any(|it| it.is_ascii_uppercase());
    let digest = sha256_from_hex(written).filter(|_| is_lower);
    digest.ok_or_else(|| MatcherError::NotSha256(written.to_owned()))
}

fn check_name(kind: SanKind, value: &str) -> Result<(), MatcherError> {
    if kind.can_hold(value) {
        return Ok(());
    }
    let (kind, example) = match kind {
        SanKind::DNS => ("DNS", "gateway.example.com"),
        SanKind::URI => ("URI", "https://example.com/gateway"),
        SanKind::Email => ("Email", "gateway@example.com"),
    };
    Err(MatcherError::Name { value: value.to_owned(), kind, example })
}

/// The host of an address without case (RFC 5321 section 2.4), the rest as it is.
fn is_same_mailbox(one: &str, other: &str) -> bool {
    match (one.rsplit_once('@'), other.rsplit_once('@')) {
        (Some((name, host)), Some((other_name, other_host))) => {
            name == other_name && host.eq_ignore_ascii_case(other_host)
        }
        _ => false,
    }
}

/// RDN by RDN in order; the attributes of one RDN in any. What the text names must be there, and as much of it:
/// the types in an [`Rdn`] differ from each other.
fn has_subject(written: &[Rdn], subject: &[Box<[Attribute]>]) -> bool {
    written.len() == subject.len()
        && written.iter().zip(subject).all(|(rdn, attributes)| {
            rdn.len() == attributes.len()
                && rdn.iter().all(|(oid, value)| attributes.iter().any(|it| *it.oid == **oid && it.is(value)))
        })
}

impl Attribute {
    fn is(&self, value: &Value) -> bool {
        match value {
            Value::Text(text) => self.text.as_deref() == Some(text),
            Value::Encoded(bytes) => *self.encoded == **bytes,
        }
    }
}

fn subject(name: &X509Name<'_>) -> Result<Box<[Box<[Attribute]>]>, FactsError> {
    let mut rdns = Vec::new();
    for rdn in name.iter_rdn() {
        rdns.push(rdn.iter().map(attribute).collect::<Result<Box<[_]>, _>>()?);
    }
    rdns.reverse();
    Ok(rdns.into())
}

fn attribute(written: &AttributeTypeAndValue<'_>) -> Result<Attribute, FactsError> {
    let value = written.attr_value();
    Ok(Attribute {
        oid: written.attr_type().to_id_string().into(),
        text: text(value).map(Into::into),
        encoded: value.to_der_vec().map_err(|_| FactsError::Subject)?.into(),
    })
}

/// The characters of a string of any type that subjects are made of. Of `T61String` only ASCII: nobody agrees on the
/// rest.
fn text(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String => String::from_utf8(bytes.to_vec()).ok(),
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString | Tag::T61String => {
            bytes.is_ascii().then(|| String::from_utf8_lossy(bytes).into_owned())
        }
        Tag::BmpString => {
            let (units, rest) = bytes.as_chunks::<2>();
            // UCS-2: without surrogates.
            let letters = units.iter().map(|unit| char::from_u32(u16::from_be_bytes(*unit).into()));
            rest.is_empty().then(|| letters.collect()).flatten()
        }
        Tag::UniversalString => {
            let (units, rest) = bytes.as_chunks::<4>();
            let letters = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit)));
            rest.is_empty().then(|| letters.collect()).flatten()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
