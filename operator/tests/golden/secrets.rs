//! What the lock's author has written, and what the operator makes: all of it by number, so that it can be shown.

use std::collections::BTreeMap;

use kube::ResourceExt;
use postern_crds::BackendTrust;
use postern_crds::authorities::{DataKeyRef, DataKind};
use postern_operator::inputs::{Document, Leaf, Reference, SecretData, SecretText};
use postern_operator::plan::{Issue, LeafSpec};
use postern_operator::resolve::{authorities, callers};
use zeroize::Zeroizing;

use super::case::{Case, Step};
use super::world::{PRIVATE, World};

impl World {
    /// The Secrets that the lock's author has written, all of which it may name.
    pub(super) fn references(&self, case: &Case, step: &Step) -> BTreeMap<String, Reference> {
        let there = case
            .secrets
            .iter()
            .filter(|secret| !self.deleted.contains(&format!("Secret/{}", secret.name_any())));
        let mut references: BTreeMap<String, Reference> = there
            .map(|secret| {
                let texts = secret.string_data.clone().unwrap_or_default();
                let data =
                    texts.into_iter().map(|(key, text)| (key, Zeroizing::new(text.into_bytes()))).collect();
                let type_ = secret.type_.clone().unwrap_or_default();
                (secret.name_any(), Reference::Found(SecretData { type_, data }))
            })
            .collect();
        for (name, texts) in &step.secrets {
            if let Some(Reference::Found(found)) = references.get_mut(name) {
                found.data = texts
                    .iter()
                    .map(|(key, text)| (key.clone(), Zeroizing::new(text.clone().into_bytes())))
                    .collect();
            }
        }
        let gone = self.deleted.iter().filter_map(|name| name.strip_prefix("Secret/"));
        references.extend(gone.map(|name| (name.to_owned(), Reference::Missing)));
        references
    }

    /// The keys of `ConfigMaps` and Secrets that the lock names.
    pub(super) fn documents(
        &self,
        case: &Case,
        step: &Step,
        trust: Option<&BackendTrust>,
    ) -> BTreeMap<DataKeyRef, Document> {
        let named =
            trust.into_iter().flat_map(|trust| authorities::named(trust).chain(callers::named(trust)));
        let of_map = |name: &str| {
            if self.deleted.contains(&format!("ConfigMap/{name}")) {
                return None;
            }
            let map = case.config_maps.iter().find(|map| map.name_any() == name)?;
            Some(step.config_maps.get(name).or(map.data.as_ref()).cloned().unwrap_or_default())
        };
        let of_secret = |name: &str| {
            let secret = case.secrets.iter().find(|secret| secret.name_any() == name)?;
            Some(secret.string_data.clone().unwrap_or_default())
        };
        named
            .map(|named| {
                let texts = match named.kind {
                    DataKind::ConfigMap => of_map(&named.name),
                    DataKind::Secret => of_secret(&named.name),
                };
                let document = match texts {
                    None => Document::Missing,
                    Some(mut texts) => match texts.remove(&named.key) {
                        None => Document::NoKey,
                        Some(text) => Document::Found(Zeroizing::new(text.into_bytes())),
                    },
                };
                (named.clone(), document)
            })
            .collect()
    }
}

impl Issue for World {
    type Error = ();

    fn leaf(&mut self, spec: &LeafSpec) -> Result<Leaf, ()> {
        Ok(self.issue(spec))
    }

    fn random(&mut self) -> Result<SecretText, ()> {
        self.secrets += 1;
        Ok(SecretText::new(format!("{PRIVATE}-secret-{}", self.secrets)))
    }

    /// The same for the same user and password.
    fn verifier(&mut self, username: &str, password: &SecretText) -> String {
        let known = self.verifiers.len() + 1;
        let about = (username.to_owned(), password.expose().to_owned());
        let number = *self.verifiers.entry(about).or_insert(known);
        format!("<slow verifier {number} of {username}>")
    }
}
