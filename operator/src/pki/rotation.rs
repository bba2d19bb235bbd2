//! Keeps this replica's own certificates young while it runs: the webhook's, which all replicas share, and the
//! client certificate by which it calls sidecars, which each replica has for itself.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postern_config::layout;
use tokio_util::sync::CancellationToken;

use super::keys::CurrentKey;
use super::store::{Store, StoreError};
use super::{Authority, LeafInfo, LeafSpec, PkiError, renewal_due};

/// How often the Secret is looked at. A renewal has a third of the lifetime, so a minute loses nothing.
const INTERVAL: Duration = Duration::from_secs(60);

/// Why a certificate of the operator's own can't be presented.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The Secret.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The certificate.
    #[error("the operator's own certificate: {0}")]
    Pki(#[from] PkiError),
}

/// The operator's own certificates.
pub struct OwnCertificates {
    store: Store,
    backends: Arc<Authority>,
    callers: Arc<Authority>,
    webhook: LeafSpec,
    client: LeafSpec,
    serving: Arc<CurrentKey>,
    calling: Arc<CurrentKey>,
    served: Option<String>,
    called: Option<LeafInfo>,
}

impl OwnCertificates {
    /// Nothing is presented before [`Self::refresh`].
    ///
    /// * `service`, `namespace`, `cluster_domain`: by which the API server calls the webhook.
    /// * `trust_domain`: of the operator's SPIFFE id, [`layout::operator_identity`].
    pub fn new(
        store: Store,
        (backends, callers): (Arc<Authority>, Arc<Authority>),
        service: &str,
        namespace: &str,
        cluster_domain: &str,
        trust_domain: &str,
    ) -> Self {
        let name = format!("{service}.{namespace}.svc");
        let webhook = LeafSpec::server([format!("{name}.{cluster_domain}"), name]);
        let client = LeafSpec::client(layout::operator_identity(trust_domain, namespace));
        let (serving, calling) = (Arc::default(), Arc::default());
        Self { store, backends, callers, webhook, client, serving, calling, served: None, called: None }
    }

    /// What the webhook presents.
    pub fn serving(&self) -> Arc<CurrentKey> {
        Arc::clone(&self.serving)
    }

    /// What the operator presents to sidecars.
    pub fn calling(&self) -> Arc<CurrentKey> {
        Arc::clone(&self.calling)
    }

    /// Makes, renews or picks up what is to be presented at `now`.
    ///
    /// # Errors
    /// If the Secret can't be had or a certificate can't be issued; what was presented before stays.
    pub async fn refresh(&mut self, now: Timestamp) -> Result<(), RotationError> {
        if let Some(reason) = renewal_due(self.called.as_ref(), &self.client, self.callers.id(), now, None) {
            let leaf = self.callers.issue(&self.client, now)?;
            self.calling.set(&leaf.cert_pem, &leaf.key_pem)?;
            self.called = Some(LeafInfo::inspect(&leaf.cert_pem)?);
            tracing::debug!(%reason, not_after = %leaf.not_after, "issued the operator's own client certificate");
        }
        let webhook = self.store.webhook_certificate(&self.backends, &self.webhook, now).await?;
        if self.served.as_ref() != Some(&webhook.info.sha256) {
            self.serving.set(&webhook.cert_pem, &webhook.key_pem)?;
            let reason = webhook.issued.map(|reason| reason.to_string());
            tracing::info!(reason, not_after = %webhook.info.not_after, "the webhook presents a new certificate");
            self.served = Some(webhook.info.sha256);
        }
        Ok(())
    }

    /// Refreshes until `stop`. A failure is logged and tried again; it ends nothing.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.refresh(Timestamp::now()).await {
                tracing::warn!(%error, "the operator's own certificates cannot be renewed; the old ones stay");
            }
        }
    }
}

#[cfg(test)]
mod tests;
