//! Has the authorities sign what a plan asks for, and makes what opens locks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use postern_config::signed::{Domain, Signer};
use postern_config::verifier;
use zeroize::Zeroizing;

use crate::gather::leaf_facts;
use crate::inputs::{Leaf, SecretText, SubjectName};
use crate::pki::{Authority, LeafInfo, LeafKind, PkiError};
use crate::plan::{AuthorityKind, Issue, LeafSpec};

/// What could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A certificate.
    #[error("no certificate can be issued for {names}: {source}")]
    Leaf {
        /// The names that it was to have.
        names: String,
        /// Why.
        source: PkiError,
    },
    /// A password or a header value.
    #[error("no secret can be made, since the system has no randomness to give")]
    Random,
}

/// Makes what plans ask for.
pub struct Issuer {
    authorities: Authorities,
    signer: Arc<Signer>,
    /// Verifiers by their salt, which is of trust, user and password: they are slow to make.
    verifiers: Mutex<HashMap<[u8; 32], String>>,
}

/// For one lock at one moment.
pub struct LockIssuer<'a> {
    issuer: &'a Issuer,
    trust_uid: &'a str,
    now: Timestamp,
}

/// Of a generated password or header value.
const SECRET_BYTES: usize = 32;
/// More distinct credentials than locks name; then all are forgotten and made again.
const REMEMBERED: usize = 1024;

impl Issuer {
    /// `signer` keeps the salts from being foreseen.
    pub fn new(authorities: Authorities, signer: Arc<Signer>) -> Self {
        Self { authorities, signer, verifiers: Mutex::default() }
    }

    /// For the lock of this trust.
    pub const fn of<'a>(&'a self, trust_uid: &'a str, now: Timestamp) -> LockIssuer<'a> {
        LockIssuer { issuer: self, trust_uid, now }
    }
}

impl Issue for LockIssuer<'_> {
    type Error = IssueError;

    fn leaf(&mut self, spec: &LeafSpec) -> Result<Leaf, IssueError> {
        self.issuer.authorities.issue(spec, self.now)
    }

    fn random(&mut self) -> Result<SecretText, IssueError> {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        aws_lc_rs::rand::fill(bytes.as_mut_slice()).map_err(|_| IssueError::Random)?;
        Ok(SecretText::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
    }

    /// The salt is a hash of the operator's signature (Ed25519, so always the same) over whom it is for: nobody else can
    /// foresee it, and the bundle stays as it is however often it is made.
    fn verifier(&mut self, username: &str, password: &SecretText) -> String {
        let mut about = digest::Context::new(&digest::SHA256);
        for part in [self.trust_uid, username, password.expose()] {
            about.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            about.update(part.as_bytes());
        }
        let signature = self.issuer.signer.sign(Domain::Salt, about.finish().as_ref());
        let mut salt = [0; 32];
        for (to, from) in salt.iter_mut().zip(digest::digest(&digest::SHA256, signature.as_bytes()).as_ref())
        {
            *to = *from;
        }
        let mut verifiers = self.issuer.verifiers.lock().unwrap_or_else(PoisonError::into_inner);
        if verifiers.len() >= REMEMBERED {
            verifiers.clear();
        }
        let make = || verifier::pbkdf2(password.expose().as_bytes(), salt.get(..16).unwrap_or(&salt));
        verifiers.entry(salt).or_insert_with(make).clone()
    }
}

/// The two authorities, kept apart.
#[derive(Clone)]
pub struct Authorities {
    /// Signs servers' leaves alone.
    pub backends: Arc<Authority>,
    /// Signs clients' leaves alone.
    pub callers: Arc<Authority>,
}

impl Authorities {
    /// A new leaf with a new key.
    pub fn issue(&self, spec: &LeafSpec, now: Timestamp) -> Result<Leaf, IssueError> {
        self.try_issue(spec, now).map_err(|source| IssueError::Leaf {
            names: spec.names.iter().map(text).collect::<Vec<_>>().join(", "),
            source,
        })
    }

    fn try_issue(&self, spec: &LeafSpec, now: Timestamp) -> Result<Leaf, PkiError> {
        let lifetime = Duration::try_from(spec.lifetime).unwrap_or(crate::pki::leaf::DEFAULT_LIFETIME);
        let (authority, kind) = match spec.authority {
            AuthorityKind::Backend => {
                (&self.backends, LeafKind::Server { names: spec.names.iter().map(text).collect() })
            }
            AuthorityKind::Client => {
                (&self.callers, LeafKind::Client { uri: spec.names.iter().map(text).collect() })
            }
        };
        let leaf = authority.issue(&crate::pki::LeafSpec { kind, lifetime }, now)?;
        let info = LeafInfo::inspect_pair(&leaf.cert_pem, &leaf.key_pem)?;
        let facts = leaf_facts(&info, authority.signed(&info));
        Ok(Leaf { certificate_pem: leaf.cert_pem, private_key_pem: leaf.key_pem, facts })
    }
}

fn text(name: &SubjectName) -> String {
    match name {
        SubjectName::Dns(name) | SubjectName::Uri(name) => name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::SignedDuration;

    use super::*;
    use crate::plan::IssueReason;

    #[test]
    fn a_verifier_is_of_lock_user_and_password_and_a_secret_is_never_the_same() {
        let now: Timestamp = "2026-11-21T20:00:00Z".parse().unwrap();
        let generate = |kind| Arc::new(Authority::generate(kind, now).unwrap());
        let authorities = Authorities {
            backends: generate(crate::pki::AuthorityKind::Backends),
            callers: generate(crate::pki::AuthorityKind::Callers),
        };
        let key = Signer::generate().unwrap();
        let issuer = || Issuer::new(authorities.clone(), Arc::new(Signer::from_pkcs8(&key).unwrap()));
        let (one, other) = (issuer(), issuer());
        let password = SecretText::new("correct horse".to_owned());
        let first = one.of("uid", now).verifier("alice", &password);
        assert_eq!(first, other.of("uid", now).verifier("alice", &password), "after a restart too");
        assert!(verifier::Verifier::parse(&first).is_ok() && first.starts_with("$pbkdf2-sha256$"));
        for (uid, user, password) in [
            ("other", "alice", "correct horse"),
            ("uid", "bob", "correct horse"),
            ("uid", "alice", "wrong horse"),
        ] {
            let another = one.of(uid, now).verifier(user, &SecretText::new(password.to_owned()));
            assert_ne!(another, first, "{uid} {user} {password}");
        }
        let secrets: std::collections::BTreeSet<String> =
            (0..8).map(|_| one.of("uid", now).random().unwrap().expose().to_owned()).collect();
        assert_eq!(secrets.len(), 8);
        assert!(secrets.iter().all(|secret| secret.len() == 43));
    }

    #[test]
    fn each_kind_is_signed_by_its_own_authority_for_the_wanted_time() {
        let now: Timestamp = "2026-11-21T20:00:00Z".parse().unwrap();
        let generate = |kind| Arc::new(Authority::generate(kind, now).unwrap());
        let authorities = Authorities {
            backends: generate(crate::pki::AuthorityKind::Backends),
            callers: generate(crate::pki::AuthorityKind::Callers),
        };
        for (authority, name, signer, other) in [
            (
                AuthorityKind::Backend,
                SubjectName::Dns("orders.shop.svc".to_owned()),
                &authorities.backends,
                &authorities.callers,
            ),
            (
                AuthorityKind::Client,
                SubjectName::Uri("spiffe://example.org/ns/shop/gateway/edge/route/orders".to_owned()),
                &authorities.callers,
                &authorities.backends,
            ),
        ] {
            let names = BTreeSet::from([name]);
            let spec = LeafSpec {
                authority,
                names: names.clone(),
                lifetime: SignedDuration::from_hours(800),
                reason: IssueReason::Missing,
            };
            let leaf = authorities.issue(&spec, now).unwrap();
            let info = LeafInfo::inspect_pair(&leaf.certificate_pem, &leaf.private_key_pem).unwrap();
            assert!(leaf.facts.sound && signer.signed(&info) && !other.signed(&info));
            assert_eq!(leaf.facts.names, names);
            assert_eq!(leaf.facts.not_after, now + SignedDuration::from_hours(800));
        }
    }
}
