//! What the operator learns from the cluster before it can decide anything.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use postern_config::signed::Signer;

use crate::apply::brief;
use crate::config::Config;
use crate::images::{self, ImagesError, KnownImages};
use crate::issue::Authorities;
use crate::pki::AuthorityKind;
use crate::pki::rotation::{OwnCertificates, RotationError};
use crate::pki::store::{Store, StoreError};
use crate::settings::Settings;

/// Why the operator cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// Something cannot be read.
    #[error(
        "{what} cannot be read: {}; is the API server reachable, and the chart installed?",
        brief(source)
    )]
    Unreadable {
        /// Kind and name.
        what: String,
        /// What the API server says.
        source: Box<kube::Error>,
    },
    /// A Secret of the operator's own.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A certificate of the operator's own.
    #[error(transparent)]
    Certificates(#[from] RotationError),
    /// The settings make no sense in this cluster.
    #[error("the configuration makes no sense:\n- {}", .0.join("\n- "))]
    Invalid(Vec<String>),
    /// The record of the images.
    #[error(transparent)]
    Images(#[from] ImagesError),
}

/// What was learnt.
pub struct Learnt {
    /// Complete.
    pub settings: Arc<Settings>,
    /// Both authorities.
    pub authorities: Authorities,
    /// Signs bundles.
    pub signer: Arc<Signer>,
    /// Signs pod records.
    pub record_signer: Signer,
    /// The operator's own certificates, ready to be presented.
    pub certificates: OwnCertificates,
    /// Which images count.
    pub images: KnownImages,
}

/// Reads, or as the first of several replicas makes, what all else stands on.
pub async fn learn(client: &Client, config: &Config) -> Result<Learnt, BootstrapError> {
    let unreadable = |what: String| {
        move |source| BootstrapError::Unreadable { what: what.clone(), source: Box::new(source) }
    };
    let system = Api::<Namespace>::all(client.clone()).get("kube-system").await;
    let system = system.map_err(unreadable("namespace kube-system".to_owned()))?;
    let now = Timestamp::now();
    let store = Store::new(client.clone(), &config.namespace);
    let authorities = Authorities {
        backends: Arc::new(store.authority(AuthorityKind::Backends, now).await?),
        callers: Arc::new(store.authority(AuthorityKind::Callers, now).await?),
    };
    let (signer, record_signer) = (store.signing_key().await?, store.signing_key().await?);
    let remembered = images::recorded(client, &config.namespace).await?;
    let images = KnownImages::new(remembered.as_ref(), &config.sidecar.image);
    let cluster_id = system.uid().unwrap_or_default();
    let settings = config.settings(&cluster_id, images.accepted.previous.clone(), vec![signer.verify_key()]);
    let problems = settings.problems();
    if !problems.is_empty() {
        return Err(BootstrapError::Invalid(problems));
    }
    let mut certificates = OwnCertificates::new(
        store,
        (authorities.backends.clone(), authorities.callers.clone()),
        &config.webhook.service_name,
        &config.namespace,
        &config.cluster_domain,
        &settings.trust_domain,
    );
    certificates.refresh(now).await?;
    Ok(Learnt {
        settings: Arc::new(settings),
        authorities,
        signer: Arc::new(signer),
        record_signer,
        certificates,
        images,
    })
}
