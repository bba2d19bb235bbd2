//! The webhook's registration with the API server: called for pods in namespaces that hold a lock, and nowhere
//! else.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::runtime::reflector::Store;
use kube::{Api, Client, ResourceExt};
use postern_crds::BackendTrust;
use tokio::sync::Mutex;

use crate::apply::{Applied, ApplyError, MANAGED_BY, MANAGED_BY_LABEL, apply, brief};
use crate::config::Config;
use crate::render::admission::webhook;
use crate::settings::Settings;
use crate::watch::lean::LeanNamespace;
use crate::watch::{Stores, is_withheld};

/// Whether it is still as it was written is looked at so often.
const FRESH: Duration = Duration::from_secs(300);

/// Why the API server would not call the webhook.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// Reading failed.
    #[error("MutatingWebhookConfiguration {} cannot be read: {}", webhook::NAME, brief(.0))]
    Unreadable(Box<kube::Error>),
    /// Writing failed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Somebody else's has the name.
    #[error(
        "MutatingWebhookConfiguration {} is not Postern's (no label {MANAGED_BY_LABEL}: postern), so new pods are not \
         injected: delete or rename it",
        webhook::NAME
    )]
    Foreign,
}

/// Keeps the registration as it should be.
pub struct Registration {
    endpoint: webhook::Endpoint,
    /// What was last seen to be in force, and when.
    known: Mutex<Option<(BTreeSet<String>, Instant)>>,
}

impl Registration {
    /// For the webhook that `config` describes; `ca_bundle` (PEM) verifies it.
    pub fn new(config: &Config, ca_bundle: &str) -> Self {
        let endpoint = webhook::Endpoint {
            namespace: config.namespace.clone(),
            service: config.webhook.service_name.clone(),
            ca_pem: ca_bundle.to_owned(),
        };
        Self { endpoint, known: Mutex::default() }
    }

    /// Makes sure that it names the namespaces that hold a lock now. One caller at a time, so that no older list
    /// comes after a newer one.
    pub async fn ensure(
        &self,
        client: &Client,
        settings: &Settings,
        stores: &Stores,
    ) -> Result<(), RegistrationError> {
        let mut known = self.known.lock().await;
        let trusts = stores.trusts.state();
        let namespaces = namespaces(settings, &stores.namespaces, trusts.iter().map(AsRef::as_ref));
        if known.as_ref().is_some_and(|(known, at)| known == &namespaces && at.elapsed() < FRESH) {
            return Ok(());
        }
        *known = None;
        let api = Api::<MutatingWebhookConfiguration>::all(client.clone());
        let existing = api.get_opt(webhook::NAME).await;
        let existing = existing.map_err(|error| RegistrationError::Unreadable(Box::new(error)))?;
        let mark = [(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())].into();
        let desired = webhook::configuration(&self.endpoint, &namespaces, mark);
        match apply(&api, existing.as_ref(), &desired).await? {
            Applied::Foreign => return Err(RegistrationError::Foreign),
            Applied::Written => tracing::info!(?namespaces, "webhook registered"),
            Applied::Unchanged => {}
        }
        *known = Some((namespaces, Instant::now()));
        Ok(())
    }
}

/// The namespaces that hold a lock, those excepted that admission leaves alone.
fn namespaces<'a>(
    settings: &Settings,
    known: &Store<LeanNamespace>,
    trusts: impl Iterator<Item = &'a BackendTrust>,
) -> BTreeSet<String> {
    trusts
        .filter(|trust| !is_withheld(trust, known))
        .filter_map(ResourceExt::namespace)
        .filter(|namespace| !settings.is_reserved_namespace(namespace))
        .collect()
}
