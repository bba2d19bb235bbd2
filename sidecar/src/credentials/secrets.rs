//! Values of secret headers.

use std::collections::BTreeMap;
use std::sync::Arc;

use postern_config::policy::HeaderSecret;
use postern_config::verifier::Verifier;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::CredentialError;
use crate::identify::sha256;

/// The values that open one header lock.
#[derive(Debug, Default)]
pub struct Secrets {
    /// All different, each with the positions that have it.
    values: Vec<([u8; 32], Box<[u32]>)>,
    ids: Vec<Arc<str>>,
}

impl Secrets {
    /// From the secrets of everybody who may open the lock.
    ///
    /// # Errors
    /// [`CredentialError`], from the first that is wrong.
    pub fn compile<'a>(list: impl IntoIterator<Item = &'a HeaderSecret>) -> Result<Self, CredentialError> {
        let mut by_value = BTreeMap::<[u8; 32], Vec<u32>>::new();
        let mut ids = Vec::new();
        for (position, secret) in (0..).zip(list) {
            match Verifier::parse(&secret.verifier) {
                Ok(Verifier::Sha256(digest)) => by_value.entry(digest).or_default().push(position),
                _ => return Err(CredentialError::NotForHeaders(secret.id.clone())),
            }
            ids.push(secret.id.as_str().into());
        }
        let values = by_value.into_iter().map(|(digest, positions)| (digest, positions.into())).collect();
        Ok(Self { values, ids })
    }

    /// Positions of the secrets whose value this is; none if it is nobody's. How long it takes tells nothing of the
    /// values that are right.
    pub fn check(&self, value: &[u8]) -> &[u32] {
        let digest = sha256(value);
        let mut found = u32::MAX;
        for (at, (known, _)) in (0_u32..).zip(&self.values) {
            let is_it: Choice = known.ct_eq(&digest);
            found = u32::conditional_select(&found, &at, is_it);
        }
        usize::try_from(found).ok().and_then(|at| self.values.get(at)).map_or(&[], |(_, positions)| positions)
    }

    /// [`HeaderSecret::id`] of a position.
    pub fn id(&self, position: usize) -> Option<&Arc<str>> {
        self.ids.get(position)
    }
}
