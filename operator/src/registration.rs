//! The webhook's registration with the API server: called for pods in namespaces that hold a lock, and nowhere
//! else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::runtime::reflector::Store;
use kube::{Api, Client, ResourceExt};
use postern_crds::BackendTrust;
use tokio::sync::{Mutex, Notify};

use crate::apply::{Applied, ApplyError, MANAGED_BY, MANAGED_BY_LABEL, apply, brief};
use crate::config::Config;
use crate::render::admission::webhook;
use crate::settings::Settings;
use crate::watch::lean::LeanNamespace;
use crate::watch::{Stores, is_withheld};

/// Whether it is still as it was written is looked at so often.
const FRESH: Duration = Duration::from_secs(300);
/// Should somebody change it just then, it is read and written anew so often.
const TRIES: u32 = 5;

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
    /// Somebody changes it all the time.
    #[error(
        "MutatingWebhookConfiguration {} was changed by somebody else each time when it was to be written: let nothing but \
         Postern write it",
        webhook::NAME
    )]
    Disputed,
}

/// Keeps the registration as it should be.
pub struct Registration {
    endpoint: webhook::Endpoint,
    /// What was last seen to be in force, and when.
    known: Mutex<Option<(BTreeSet<String>, Instant)>>,
    /// Told by the watch.
    changed: Arc<Notify>,
}

impl Registration {
    /// For the webhook that `config` describes; `ca_bundle` (PEM) verifies it, and `changed` is told of each change.
    pub fn new(config: &Config, ca_bundle: &str, changed: Arc<Notify>) -> Self {
        let endpoint = webhook::Endpoint {
            namespace: config.namespace.clone(),
            service: config.webhook.service_name.clone(),
            ca_pem: ca_bundle.to_owned(),
        };
        Self { endpoint, known: Mutex::default(), changed }
    }

    /// Waits until somebody changes or deletes it, or this operator does: nothing is known of it any more.
    pub async fn changed(&self) {
        self.changed.notified().await;
        *self.known.lock().await = None;
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
        let mark = [(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())].into();
        let desired = webhook::configuration(&self.endpoint, &namespaces, mark);
        let mut tries = 1..=TRIES;
        while tries.next().is_some() {
            let existing = api.get_opt(webhook::NAME).await;
            let existing = existing.map_err(|error| RegistrationError::Unreadable(Box::new(error)))?;
            match apply(&api, existing.as_ref(), &desired).await? {
                Applied::Foreign => return Err(RegistrationError::Foreign),
                Applied::Outdated if tries.is_empty() => return Err(RegistrationError::Disputed),
                Applied::Outdated => continue,
                Applied::Written => tracing::info!(?namespaces, "webhook registered"),
                Applied::Unchanged => {}
            }
            break;
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::watch::Watches;

    /// An API server that has no registration, and remembers what it was asked.
    fn cluster(asked: &Arc<Mutex<Vec<String>>>) -> Client {
        let asked = asked.clone();
        let answer = move |request: http::Request<Body>| {
            let written = request.method() == "PATCH";
            asked.lock().unwrap().push(request.method().to_string());
            let body = if written {
                json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
                       "metadata": {"name": webhook::NAME}})
            } else {
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound",
                       "message": "no", "code": 404})
            };
            let answer = http::Response::builder().status(if written { 200 } else { 404 });
            let answer = answer.body(Body::from(serde_json::to_vec(&body).unwrap()));
            std::future::ready(Ok::<_, std::convert::Infallible>(answer.unwrap()))
        };
        Client::new(tower::service_fn(answer), "postern")
    }

    #[tokio::test]
    async fn it_is_looked_at_again_only_after_a_change() {
        let config = Config::parse(
            "{namespace: postern, sidecarImage: i, gateways: [], \
             sidecarResources: {requests: {cpu: 1, memory: 1}, limits: {cpu: 1, memory: 1}}}",
        )
        .unwrap();
        let settings = config.settings("id", None, Vec::new());
        let (asked, changed) = (Arc::default(), Arc::<Notify>::default());
        let client = cluster(&asked);
        let stores = Watches::new(client.clone()).stores();
        let registration = Registration::new(&config, "pem", changed.clone());
        let ensure = async || {
            registration.ensure(&client, &settings, &stores).await.unwrap();
            std::mem::take(&mut *asked.lock().unwrap())
        };
        assert_eq!(ensure().await, ["GET", "PATCH"]);
        assert_eq!(ensure().await, [""; 0]);
        changed.notify_one();
        registration.changed().await;
        assert_eq!(ensure().await, ["GET", "PATCH"]);
    }
}
