//! Which sidecar image is injected, and when a new one takes its place.
//!
//! During an upgrade replicas of both releases answer admission requests. All inject the image on record, which
//! the policies of both let pass; the new leader first has every policy accept the new one beside it, and only then
//! puts that on record.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, ObjectMeta};
use kube::{Api, Client, ResourceExt};
use tokio::time::Instant;

use crate::apply::{Applied, ApplyError, MANAGED_BY, MANAGED_BY_LABEL, apply, brief};
use crate::render::admission::policy;
use crate::settings::Images;

#[cfg(test)]
mod tests;

/// The `ConfigMap` in the operator's namespace that remembers which sidecar images are accepted.
pub const IMAGES: &str = "postern-images";
const CURRENT: &str = "current";
const PREVIOUS: &str = "previous";
const OLDER: &str = "older";
/// Images before the previous one that are remembered.
const OLDER_LIMIT: usize = 32;

/// How often a replica looks which image is on record, and a leader whether all policies accept its own.
const INTERVAL: Duration = Duration::from_secs(2);
/// Every API server goes by a policy that was written so long ago.
const IN_FORCE: Duration = Duration::from_secs(5);
/// A policy that can't be written for so long holds up the others no longer.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the `ConfigMap` holds.
pub type Record = BTreeMap<String, String>;

/// Why it is not known, or can't be said, which images count.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// The record cannot be read.
    #[error(
        "ConfigMap {name} cannot be read: {}; is the API server reachable, and the chart installed?",
        brief(source)
    )]
    Unreadable {
        /// Namespace and name.
        name: String,
        /// What the API server says.
        source: Box<kube::Error>,
    },
    /// The images cannot be remembered.
    #[error(transparent)]
    Unwritable(#[from] ApplyError),
    /// Somebody else's object is in the way.
    #[error("ConfigMap {0} is not Postern's (no label {MANAGED_BY_LABEL}: postern): delete or rename it")]
    Foreign(String),
    /// Another replica has remembered other images since this one has started.
    #[error(
        "ConfigMap {0} has changed since this replica started, so its own configuration is out of date; it begins anew"
    )]
    Outdated(String),
}

/// The image that this replica injects. Cloning shares it.
#[derive(Clone, Debug)]
pub struct InjectedImage(Arc<RwLock<String>>);

impl InjectedImage {
    /// Until something else is [`Self::set`].
    pub fn new(image: &str) -> Self {
        Self(Arc::new(RwLock::new(image.to_owned())))
    }

    /// The image.
    pub fn get(&self) -> String {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on `image`.
    pub(crate) fn set(&self, image: &str) {
        image.clone_into(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The image to inject: the one on record. Without a record (the first start, or somebody has just deleted it) it
/// stays what it is: `now`, which begins as the one of the replica's own configuration.
pub fn to_inject<'a>(recorded: Option<&'a Record>, now: &'a str) -> &'a str {
    let current = recorded.and_then(|record| record.get(CURRENT)).filter(|image| !image.is_empty());
    current.map_or(now, String::as_str)
}

/// The sidecar images that were ever injected, as the leader remembers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownImages {
    /// What lay there when this replica started.
    seen: Option<Record>,
    /// The one that is injected, and the one before: admission lets them pass.
    pub accepted: Images,
    /// Those before. Admission lets no new pod have them, but pods that run are left alone: they are guarded,
    /// and an upgrade must not replace them all at once.
    pub older: Vec<String>,
}

impl KnownImages {
    /// From what lies there and the image of this replica's own configuration.
    pub fn new(recorded: Option<&Record>, current: &str) -> Self {
        let seen = recorded.cloned();
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

    fn data(&self) -> Record {
        let current = (CURRENT.to_owned(), self.accepted.current.clone());
        let previous = self.accepted.previous.iter().map(|image| (PREVIOUS.to_owned(), image.clone()));
        let older = (!self.older.is_empty()).then(|| (OLDER.to_owned(), self.older.join("\n")));
        std::iter::once(current).chain(previous).chain(older).collect()
    }

    /// Whether what lies there now is neither what this replica has seen nor what it would write.
    fn outdated(&self, now: Option<&Record>) -> bool {
        now.is_some_and(|now| Some(now) != self.seen.as_ref() && *now != self.data())
    }

    /// What this replica injects when it starts.
    pub fn to_inject(&self) -> &str {
        to_inject(self.seen.as_ref(), &self.accepted.current)
    }

    /// Whether another image is injected than this replica's own.
    fn switches(&self) -> bool {
        self.to_inject() != self.accepted.current
    }
}

/// What is on record, if anything is.
///
/// # Errors
/// If it can't be read, or isn't Postern's and so not to be believed.
pub async fn recorded(client: &Client, namespace: &str) -> Result<Option<Record>, ImagesError> {
    Ok(existing(client, namespace).await?.map(|map| map.data.unwrap_or_default()))
}

async fn existing(client: &Client, namespace: &str) -> Result<Option<ConfigMap>, ImagesError> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let name = format!("{namespace}/{IMAGES}");
    match api.get_opt(IMAGES).await {
        Ok(Some(map)) if map.labels().get(MANAGED_BY_LABEL).is_none_or(|by| by != MANAGED_BY) => {
            Err(ImagesError::Foreign(name))
        }
        Ok(map) => Ok(map),
        Err(source) => Err(ImagesError::Unreadable { name, source: Box::new(source) }),
    }
}

/// Keeps `injected` as the record says, for ever. While that can't be read it stays what it is.
pub async fn follow(client: Client, namespace: String, injected: InjectedImage) {
    loop {
        match recorded(&client, &namespace).await {
            Ok(record) => {
                let now = injected.get();
                let image = to_inject(record.as_ref(), &now);
                if image != now {
                    tracing::info!(image, before = now, "another image is injected from now on");
                    injected.set(image);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "which image is injected can't be looked up; the last one stays");
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Makes sure that no other replica has put on record what this one knows nothing of; before a leader writes.
///
/// # Errors
/// [`ImagesError::Outdated`] if so, and if the record can't be read.
pub async fn check(client: &Client, namespace: &str, images: &KnownImages) -> Result<(), ImagesError> {
    if images.outdated(recorded(client, namespace).await?.as_ref()) {
        return Err(ImagesError::Outdated(format!("{namespace}/{IMAGES}")));
    }
    Ok(())
}

/// Puts the leader's images on record: at once if its own is injected already, else once no policy would refuse it.
/// Meanwhile its reconciles write the policies.
///
/// # Errors
/// If the record can't be written.
pub async fn switch(client: &Client, namespace: &str, images: &KnownImages) -> Result<(), ImagesError> {
    if images.switches() {
        all_policies_accept(client, &images.accepted).await;
        tokio::time::sleep(IN_FORCE).await;
    }
    remember(client, namespace, images).await
}

async fn all_policies_accept(client: &Client, images: &Images) {
    let api = Api::<ValidatingAdmissionPolicy>::all(client.clone());
    let ours = ListParams::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
    let begun = Instant::now();
    loop {
        let behind = match api.list(&ours).await {
            Ok(list) => behind(&list.items, images),
            Err(error) => vec![format!("all of them, which can't be listed: {}", brief(&error))],
        };
        if behind.is_empty() {
            return;
        }
        if begun.elapsed() > PATIENCE {
            tracing::warn!(
                image = images.current,
                policies = behind.join(", "),
                "the new image is injected although some policies still refuse it; see the condition Armed of their locks"
            );
            return;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Names of the policies that don't yet say that these images may run.
fn behind(policies: &[ValidatingAdmissionPolicy], images: &Images) -> Vec<String> {
    let accepted = images.accepted();
    let behind = policies.iter().filter(|policy| !policy::accepts(policy, &accepted));
    behind.map(ResourceExt::name_any).collect()
}

async fn remember(client: &Client, namespace: &str, images: &KnownImages) -> Result<(), ImagesError> {
    let existing = existing(client, namespace).await?;
    let name = format!("{namespace}/{IMAGES}");
    if images.outdated(existing.as_ref().and_then(|map| map.data.as_ref())) {
        return Err(ImagesError::Outdated(name));
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
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    match apply(&api, existing.as_ref(), &desired).await? {
        Applied::Foreign => Err(ImagesError::Foreign(name)),
        Applied::Outdated => Err(ImagesError::Outdated(name)),
        Applied::Written | Applied::Unchanged => Ok(()),
    }
}
