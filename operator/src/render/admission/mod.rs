//! Admission that holds without the operator: for each lock a `ValidatingAdmissionPolicy` and its Binding, and
//! the configuration of the mutating webhook that goes before them.
//!
//! * [`policy`]: what is demanded (SECURITY 6 to 8), as CEL with literals.
//! * [`cel`]: literals of that language.
//! * [`selected`]: a selector in that language.
//! * [`webhook`]: the `MutatingWebhookConfiguration`.
//!
//! There are no parameters, since a missing parameter object would let everything pass or nothing; and the
//! Binding's `objectSelector` is the lock's `podSelector` itself, so that no selector is written again in CEL.

pub mod cel;
pub mod policy;
pub mod selected;
pub mod webhook;

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicyBindingSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};

/// Label that the API server itself puts on each namespace: its name. Nobody can change it.
const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// What admission demands for one lock.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// The lock's namespace.
    pub namespace: String,
    /// The lock's name.
    pub trust: String,
    /// `spec.podSelector`; never empty.
    pub selector: LabelSelector,
    /// Whether new pods must be injected. `false` once the trust is deleted: what runs behind the lock stays as it
    /// is, and other pods are nobody's affair.
    pub creations: bool,
    /// The locks of the namespace that a selected pod may be injected for: this one, and each older one that can
    /// select the same pod.
    pub trusts: Vec<Admitted>,
    /// The sidecar images that may run: the current and the previous one.
    pub images: Vec<String>,
    /// As [`crate::injection::InjectionSpec::verify_keys`].
    pub verify_keys: Vec<String>,
    /// Labels of both objects; Postern's mark is among them.
    pub labels: BTreeMap<String, String>,
}

impl Guard {
    /// Name of both objects: `<trust>.<namespace>.postern.dev`. Neither a lock's name nor a namespace can hold a
    /// dot that would make two locks share it.
    pub fn name(&self) -> String {
        object_name(&self.namespace, &self.trust)
    }

    fn metadata(&self) -> ObjectMeta {
        ObjectMeta { name: Some(self.name()), labels: Some(self.labels.clone()), ..ObjectMeta::default() }
    }

    /// The policy.
    pub fn policy(&self) -> ValidatingAdmissionPolicy {
        ValidatingAdmissionPolicy {
            metadata: self.metadata(),
            spec: Some(policy::spec(self)),
            ..ValidatingAdmissionPolicy::default()
        }
    }

    /// Its Binding: where it holds.
    pub fn binding(&self) -> ValidatingAdmissionPolicyBinding {
        let spec = ValidatingAdmissionPolicyBindingSpec {
            policy_name: Some(self.name()),
            validation_actions: Some(vec!["Deny".to_owned()]),
            match_resources: Some(MatchResources {
                match_policy: Some("Equivalent".to_owned()),
                namespace_selector: Some(namespaces([self.namespace.clone()])),
                object_selector: Some(self.selector.clone()),
                ..MatchResources::default()
            }),
            ..ValidatingAdmissionPolicyBindingSpec::default()
        };
        ValidatingAdmissionPolicyBinding { metadata: self.metadata(), spec: Some(spec) }
    }
}

/// Name of a lock's policy and of its Binding.
pub fn object_name(namespace: &str, trust: &str) -> String {
    format!("{trust}.{namespace}.postern.dev")
}

/// These namespaces and no others.
fn namespaces(names: impl IntoIterator<Item = String>) -> LabelSelector {
    LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: NAMESPACE_NAME_LABEL.to_owned(),
            operator: "In".to_owned(),
            values: Some(names.into_iter().collect()),
        }]),
        ..LabelSelector::default()
    }
}

use crate::injection::shape::Admitted;

#[cfg(test)]
mod api_server;
#[cfg(test)]
pub(crate) mod tests;
