//! Has the authorities sign what a plan asks for.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::gather::leaf_facts;
use crate::inputs::{Leaf, SubjectName};
use crate::pki::{Authority, LeafInfo, LeafKind, PkiError};
use crate::plan::{AuthorityKind, LeafSpec};

/// A leaf that could not be issued.
#[derive(Debug, thiserror::Error)]
#[error("no certificate can be issued for {names}: {source}")]
pub struct IssueError {
    /// The names that it was to have.
    pub names: String,
    /// Why.
    pub source: PkiError,
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
        self.try_issue(spec, now).map_err(|source| IssueError {
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
