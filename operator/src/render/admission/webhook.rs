//! The `MutatingWebhookConfiguration`: which pods the API server shows to the webhook before it creates them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::namespaces;

/// Name of the configuration.
pub const NAME: &str = "postern";
/// Port of the webhook's Service.
const SERVICE_PORT: i32 = 443;
/// Path of the webhook.
const PATH: &str = "/inject";

/// Where the webhook is, and whom it trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The operator's namespace.
    pub namespace: String,
    /// The Service in front of its replicas.
    pub service: String,
    /// Root certificates by which the API server knows it, PEM.
    pub ca_pem: String,
}

/// The configuration for the namespaces that hold a lock; without any it has no webhook, and no pod of the
/// cluster waits for Postern.
///
/// It fails open, because the policies behind it fail closed: a webhook that is down blocks nothing outside these
/// namespaces, and nothing but guarded pods inside them.
pub fn configuration(
    endpoint: &Endpoint,
    locked: &BTreeSet<String>,
    labels: BTreeMap<String, String>,
) -> MutatingWebhookConfiguration {
    let webhook = MutatingWebhook {
        name: "inject.postern.dev".to_owned(),
        admission_review_versions: vec!["v1".to_owned()],
        client_config: WebhookClientConfig {
            ca_bundle: Some(ByteString(endpoint.ca_pem.clone().into_bytes())),
            service: Some(ServiceReference {
                namespace: endpoint.namespace.clone(),
                name: endpoint.service.clone(),
                path: Some(PATH.to_owned()),
                port: Some(SERVICE_PORT),
            }),
            url: None,
        },
        failure_policy: Some("Ignore".to_owned()),
        match_policy: Some("Equivalent".to_owned()),
        namespace_selector: Some(namespaces(locked.iter().cloned())),
        object_selector: Some(LabelSelector::default()),
        // Another webhook may add containers after this one has run.
        reinvocation_policy: Some("IfNeeded".to_owned()),
        rules: Some(vec![RuleWithOperations {
            api_groups: Some(vec![String::new()]),
            api_versions: Some(vec!["v1".to_owned()]),
            operations: Some(vec!["CREATE".to_owned()]),
            resources: Some(vec!["pods".to_owned()]),
            scope: Some("*".to_owned()),
        }]),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(5),
        ..MutatingWebhook::default()
    };
    MutatingWebhookConfiguration {
        metadata: ObjectMeta { name: Some(NAME.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
        webhooks: (!locked.is_empty()).then(|| vec![webhook]),
    }
}
