//! What the operator learns from the cluster before it can decide anything.

use std::collections::BTreeMap;
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
const OLDER: &str = "older";
/// Images before the previous one that are remembered.
const OLDER_LIMIT: usize = 32;

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
    /// Another replica has remembered other images since this one has started.
    #[error(
        "ConfigMap {0} has changed since this replica started, so its own configuration is out of date; it begins anew"
    )]
    Outdated(String),
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

/// The sidecar images that were ever injected, as the leader remembers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownImages {
    /// What lay there when this replica started.
    seen: Option<BTreeMap<String, String>>,
    /// The one that is injected, and the one before: admission lets them pass.
    pub accepted: Images,
    /// Those before. Admission lets no new pod have them, but pods that run are left alone: they are guarded,
    /// and an upgrade must not replace them all at once.
    pub older: Vec<String>,
}

impl KnownImages {
    fn new(remembered: Option<&ConfigMap>, current: &str) -> Self {
        let seen = remembered.map(|map| map.data.clone().unwrap_or_default());
        let get = |key: &str| seen.as_ref().and_then(|data| data.get(key)).filter(|text| !text.is_empty());
        let (last, before) = (get(CURRENT), get(PREVIOUS));
        let mut older: Vec<String> =
            get(OLDER).into_iter().flat_map(|text| text.lines()).map(ToOwned::to_owned).collect();
        let previous = match last {
            Some(last) if last != current => {
                older.splice(0..0, before.cloned());
                Some(last.clone())
            }
            _ => before.cloned(),
        };
        older.retain(|image| image != current && Some(image) != previous.as_ref());
        older.truncate(OLDER_LIMIT);
        Self { accepted: Images { current: current.to_owned(), previous }, older, seen }
    }

    fn data(&self) -> BTreeMap<String, String> {
        let current = (CURRENT.to_owned(), self.accepted.current.clone());
        let previous = self.accepted.previous.iter().map(|image| (PREVIOUS.to_owned(), image.clone()));
        let older = (!self.older.is_empty()).then(|| (OLDER.to_owned(), self.older.join("\n")));
        std::iter::once(current).chain(previous).chain(older).collect()
    }

    /// Whether what lies there now is neither what this replica has seen nor what it would write.
    fn outdated(&self, now: Option<&BTreeMap<String, String>>) -> bool {
        now.is_some_and(|now| Some(now) != self.seen.as_ref() && *now != self.data())
    }
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

/// Remembers the images; the leader's task.
pub async fn remember(client: &Client, namespace: &str, images: &KnownImages) -> Result<(), BootstrapError> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let existing = api.get_opt(IMAGES).await.map_err(|source| BootstrapError::Unreadable {
        what: format!("ConfigMap {namespace}/{IMAGES}"),
        source: Box::new(source),
    })?;
    if images.outdated(existing.as_ref().and_then(|map| map.data.as_ref())) {
        return Err(BootstrapError::Outdated(format!("{namespace}/{IMAGES}")));
    }
    let desired = ConfigMap {
        metadata: ObjectMeta {
            name: Some(IMAGES.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())].into()),
            ..ObjectMeta::default()
        },
        data: Some(images.data()),
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

    fn remembered(pairs: &[(&str, &str)]) -> ConfigMap {
        let data = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        ConfigMap { data: Some(data), ..ConfigMap::default() }
    }

    #[test]
    fn the_images_before_are_kept_in_their_order() {
        for (case, before, previous, older) in [
            ("the first start", None, None, vec![]),
            ("nothing changed", Some(remembered(&[("current", "3")])), None, vec![]),
            ("still nothing", Some(remembered(&[("current", "3"), ("previous", "2")])), Some("2"), vec![]),
            ("an upgrade", Some(remembered(&[("current", "2")])), Some("2"), vec![]),
            ("another", Some(remembered(&[("current", "2"), ("previous", "1")])), Some("2"), vec!["1"]),
            (
                "one more",
                Some(remembered(&[("current", "2"), ("previous", "1"), ("older", "0\nx")])),
                Some("2"),
                vec!["1", "0", "x"],
            ),
            (
                "a way back",
                Some(remembered(&[("current", "4"), ("previous", "3"), ("older", "2")])),
                Some("4"),
                vec!["2"],
            ),
            ("an unreadable record", Some(ConfigMap::default()), None, vec![]),
        ] {
            let images = KnownImages::new(before.as_ref(), "3");
            assert_eq!(images.accepted.previous.as_deref(), previous, "{case}");
            assert_eq!(images.older, older, "{case}");
            let again =
                KnownImages::new(Some(&ConfigMap { data: Some(images.data()), ..ConfigMap::default() }), "3");
            assert_eq!((again.accepted, again.older), (images.accepted, images.older), "{case}, again");
        }
    }

    #[test]
    fn who_has_slept_through_an_upgrade_begins_anew() {
        let images = KnownImages::new(Some(&remembered(&[("current", "2")])), "2");
        let now = |pairs: &[(&str, &str)]| images.outdated(remembered(pairs).data.as_ref());
        assert!(!now(&[("current", "2")]));
        assert!(now(&[("current", "3"), ("previous", "2")]));
        assert!(!images.outdated(None));
        let first = KnownImages::new(None, "2");
        assert!(!first.outdated(remembered(&[("current", "2")]).data.as_ref()), "another replica was faster");
    }
}
