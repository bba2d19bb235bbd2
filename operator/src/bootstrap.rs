//! What the operator learns from the cluster before it can decide anything.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::ObjectMeta;
use kube::{Api, Client, ResourceExt};
use postern_config::signed::Signer;

use crate::apply::{Applied, ApplyError, MANAGED_BY, MANAGED_BY_LABEL, apply, brief};
use crate::config::Config;
use crate::issue::Authorities;
use crate::pki::AuthorityKind;
use crate::pki::rotation::{OwnCertificates, RotationError};
use crate::pki::store::{Store, StoreError};
use crate::settings::{Images, Settings};

/// The `ConfigMap` in the operator's namespace that remembers which sidecar images are accepted.
pub const IMAGES: &str = "postern-images";
const CURRENT: &str = "current";
const PREVIOUS: &str = "previous";

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
    /// The images cannot be remembered.
    #[error(transparent)]
    Images(#[from] ApplyError),
    /// Somebody else's object is in the way.
    #[error("ConfigMap {0} is not Postern's (no label {MANAGED_BY_LABEL}: postern): delete or rename it")]
    Foreign(String),
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
    let remembered = Api::<ConfigMap>::namespaced(client.clone(), &config.namespace).get_opt(IMAGES).await;
    let remembered = remembered.map_err(unreadable(format!("ConfigMap {}/{IMAGES}", config.namespace)))?;
    let previous = previous_image(remembered.as_ref(), &config.sidecar.image);
    let cluster_id = system.uid().unwrap_or_default();
    let settings = config.settings(&cluster_id, previous, vec![signer.verify_key()]);
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
    })
}

/// The image before this one: what was current until now, or what was previous if nothing has changed.
fn previous_image(remembered: Option<&ConfigMap>, current: &str) -> Option<String> {
    let data = remembered?.data.as_ref()?;
    match data.get(CURRENT) {
        Some(last) if last != current => Some(last.clone()),
        _ => data.get(PREVIOUS).filter(|previous| !previous.is_empty()).cloned(),
    }
}

/// Remembers the images; the leader's task.
pub async fn remember(client: &Client, namespace: &str, images: &Images) -> Result<(), BootstrapError> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let existing = api.get_opt(IMAGES).await.map_err(|source| BootstrapError::Unreadable {
        what: format!("ConfigMap {namespace}/{IMAGES}"),
        source: Box::new(source),
    })?;
    let previous = images.previous.iter().map(|image| (PREVIOUS.to_owned(), image.clone()));
    let desired = ConfigMap {
        metadata: ObjectMeta {
            name: Some(IMAGES.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())].into()),
            ..ObjectMeta::default()
        },
        data: Some([(CURRENT.to_owned(), images.current.clone())].into_iter().chain(previous).collect()),
        ..ConfigMap::default()
    };
    match apply(&api, existing.as_ref(), &desired).await? {
        Applied::Foreign => Err(BootstrapError::Foreign(format!("{namespace}/{IMAGES}"))),
        Applied::Written | Applied::Unchanged => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_before_is_kept_until_there_is_another() {
        let remembered = |pairs: &[(&str, &str)]| ConfigMap {
            data: Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
            ..ConfigMap::default()
        };
        for (case, remembered, previous) in [
            ("the first start", None, None),
            ("nothing changed", Some(remembered(&[("current", "2")])), None),
            ("still nothing", Some(remembered(&[("current", "2"), ("previous", "1")])), Some("1")),
            ("an upgrade", Some(remembered(&[("current", "1")])), Some("1")),
            ("another upgrade", Some(remembered(&[("current", "1"), ("previous", "0")])), Some("1")),
            ("an unreadable record", Some(ConfigMap::default()), None),
        ] {
            assert_eq!(previous_image(remembered.as_ref(), "2").as_deref(), previous, "{case}");
        }
    }
}
