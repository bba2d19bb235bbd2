//! What the lock's author has written, and what the operator makes: all of it by number, so that it can be shown.

use std::collections::BTreeMap;

use kube::ResourceExt;
use postern_operator::inputs::{Leaf, Reference, SecretData, SecretText};
use postern_operator::plan::{Issue, LeafSpec};
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

    fn verifier(&mut self, username: &str, _: &SecretText) -> String {
        self.secrets += 1;
        format!("<slow verifier {} of {username}>", self.secrets)
    }
}
