//! Everything that a decision about one lock may depend on, as `gather` has read it.
//!
//! `resolve` sees nothing else: neither the cluster nor the clock. Secrets are read here because a Secret that
//! is written again must hold the private key that it holds already; see [`Leaf`].

mod credentials;
mod documents;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use postern_config::bundle::{Bundle, Content};
use postern_config::loaded::Loaded;
use postern_crds::authorities::DataKeyRef;
use postern_crds::{ApiRoute, BackendTrust};
use zeroize::Zeroizing;

use crate::injection::shape::Shape;
use crate::plan::Progress;
use crate::resolve::selectors::Selector;

pub use credentials::{
    BasicCredential, Credentials, HeaderValue, KeyCredentials, PreviousCredentials, Reference, SecretData,
    SecretText, basic_id, header_id,
};
pub use documents::Document;

/// The unit of reconciliation: a `BackendTrust` by namespace and name, whether or not it exists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockKey {
    /// Namespace of the trust, its routes, Services and pods.
    pub namespace: String,
    /// Name of the trust.
    pub name: String,
}

impl fmt::Display for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One route's key on one gateway: the unit of what is written for gateways.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId {
    /// The gateway's name.
    pub gateway: String,
    /// The route's namespace.
    pub namespace: String,
    /// The route's name.
    pub route: String,
}

impl KeyId {
    /// Name of its Secret and of its `ConfigMap`. A gateway's name and a namespace hold no dot, so two keys never
    /// share one.
    pub fn object_name(&self) -> String {
        format!("{}.{}.{}", self.gateway, self.namespace, self.route)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.object_name())
    }
}

/// All that is known about one lock at one moment.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// When this was read; every deadline is measured against it.
    pub now: Timestamp,
    /// Which lock.
    pub key: LockKey,
    /// Labels of the lock's namespace; gateways choose by them.
    pub namespace_labels: BTreeMap<String, String>,
    /// The lock, if it exists.
    pub trust: Option<Arc<BackendTrust>>,
    /// All other locks of the namespace.
    pub other_trusts: Vec<Arc<BackendTrust>>,
    /// Every `ApiRoute` of the namespace whose `trustRef` names the lock. One that is being deleted (it has a
    /// deletion timestamp) is not among them.
    pub routes: Vec<Arc<ApiRoute>>,
    /// All Services of the namespace.
    pub services: Vec<Arc<Service>>,
    /// All pods of the namespace that the lock or one of [`Self::services`] selects, or that mount the lock's
    /// Secret. More do no harm.
    pub pods: Vec<PodFacts>,
    /// The public side of the two CAs.
    pub authorities: Authorities,
    /// The lock's Secret, `postern-<trust>`.
    pub lock_secret: Existing<LockSecret>,
    /// What exists for gateways: each key that a route of the lock asks for *and* each that carries the lock's
    /// labels and is asked for no more.
    pub keys: BTreeMap<KeyId, ExistingKey>,
    /// Namespaces of gateways that the API server doesn't let the operator read, with its words. What lies there is
    /// not known: it is neither there nor absent, and stays as it is.
    pub unreadable: BTreeMap<String, String>,
    /// The lock's `ValidatingAdmissionPolicy` and its Binding: `Foreign` if one of them is somebody else's,
    /// `Ours` if at least one is there, with the Binding's selector if that can be read.
    pub admission: Existing<Option<Selector>>,
    /// The Secrets that the lock names, by name.
    pub references: BTreeMap<String, Reference>,
    /// The single keys of `ConfigMap`s and Secrets that it names.
    pub documents: BTreeMap<DataKeyRef, Document>,
    /// Since when the lock's `Armed` condition has been `True` without a break; from its status.
    pub armed_since: Option<Timestamp>,
    /// How far the lock has come into force; from its status.
    pub progress: Progress,
}

impl Inputs {
    /// The configuration that lies in the cluster, if it can be read.
    pub fn published(&self) -> Option<&Content> {
        Some(&self.lock_secret.ours()?.bundle.as_ref()?.bundle.content)
    }
}

/// An object under a name that Postern uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Existing<T> {
    /// There is none.
    #[default]
    Absent,
    /// It carries Postern's mark.
    Ours(T),
    /// It is somebody else's, and must not be touched.
    Foreign,
}

impl<T> Existing<T> {
    /// What it holds, if it is ours.
    pub fn ours(&self) -> Option<&T> {
        match self {
            Self::Ours(value) => Some(value),
            Self::Absent | Self::Foreign => None,
        }
    }

    /// Whether it is somebody else's.
    pub fn is_foreign(&self) -> bool {
        matches!(self, Self::Foreign)
    }
}

/// The public side of the CAs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// Root certificates that vouch for backends, PEM; gateways verify by them.
    pub backend_roots_pem: String,
    /// Root certificates that vouch for callers, PEM; sidecars verify by them.
    pub client_roots_pem: String,
}

/// A certificate's name, as its subject alternative name has it (RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SubjectName {
    /// `dNSName`.
    Dns(String),
    /// `uniformResourceIdentifier`.
    Uri(String),
}

/// What a leaf certificate says, read from it when it was issued or gathered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafFacts {
    /// SHA-256 of the certificate (DER), lower-case hex.
    pub certificate_sha256: String,
    /// SHA-256 of its `SubjectPublicKeyInfo` (DER), lower-case hex: the pin of `postern_config::policy::Caller`.
    pub spki_sha256: String,
    /// All its subject alternative names.
    pub names: BTreeSet<SubjectName>,
    /// `notBefore`, ten minutes before it was issued.
    pub not_before: Timestamp,
    /// `notAfter`.
    pub not_after: Timestamp,
    /// Whether the present CA (of the kind that the leaf needs) signed it, it carries that kind's key usages,
    /// and its private key belongs to it. A leaf that fails this is replaced at once.
    pub sound: bool,
}

/// A leaf certificate with its key. `Debug` does not show the key.
#[derive(Clone)]
pub struct Leaf {
    /// The chain that is presented, PEM, leaf first.
    pub certificate_pem: String,
    /// PKCS#8, PEM.
    pub private_key_pem: Zeroizing<String>,
    /// What the certificate says.
    pub facts: LeafFacts,
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// The lock's Secret as it lies in the cluster.
#[derive(Clone, Debug, Default)]
pub struct LockSecret {
    /// Its server certificate; absent if it can't be read as one.
    pub leaf: Option<Leaf>,
    /// Its bundle; absent if none of the operator's keys signed it.
    pub bundle: Option<SealedBundle>,
}

/// A bundle with its signature, byte by byte, so that an unchanged one is not signed anew.
#[derive(Clone, Debug)]
pub struct SealedBundle {
    /// What it says.
    pub bundle: Bundle,
    /// The signed bytes ([`postern_config::layout::BUNDLE_KEY`]).
    pub payload: Vec<u8>,
    /// The signature ([`postern_config::layout::BUNDLE_SIGNATURE_KEY`]).
    pub signature: String,
    /// Whether the current signing key made it; one by the previous key is signed anew.
    pub by_current_key: bool,
}

/// What exists for one key of one gateway.
#[derive(Clone, Debug, Default)]
pub struct ExistingKey {
    /// The namespace that it was found in; outputs for a gateway that moved are removed from the old one.
    pub namespace: String,
    /// The Secret.
    pub secret: Existing<KeySecret>,
    /// The `ConfigMap`'s data.
    pub config_map: Existing<BTreeMap<String, String>>,
}

/// A gateway's Secret as it lies in the cluster.
#[derive(Clone, Debug, Default)]
pub struct KeySecret {
    /// `tls.crt` and `tls.key`: what the gateway presents.
    pub current: Option<Leaf>,
    /// `next.crt` and `next.key`: published to the sidecars, not yet handed over.
    pub next: Option<Leaf>,
    /// The key before the current one, while it is still accepted.
    pub previous: Option<PreviousPin>,
    /// What it presents beside its certificate.
    pub credentials: KeyCredentials,
    /// The configuration files in it: those that hold a secret value.
    pub configuration: BTreeMap<String, String>,
}

/// A replaced key that is still accepted for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousPin {
    /// SHA-256 of its `SubjectPublicKeyInfo`, lower-case hex.
    pub spki_sha256: String,
    /// From then on it is refused.
    pub drop_after: Timestamp,
}

/// The few fields of a pod that decisions need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// Whether it has a deletion timestamp.
    pub deleting: bool,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// The controlling owner.
    pub owner: Option<Owner>,
    /// What its structure says about injection, by `injection`'s judgement, never by an annotation.
    pub injection: Injection,
    /// `status.phase`.
    pub phase: Phase,
    /// The `Ready` condition.
    pub ready: bool,
    /// Whether its sidecar has started, so that it can be asked, and needn't have the newest configuration.
    pub sidecar_started: bool,
    /// `status.podIPs`.
    pub ips: Vec<IpAddr>,
    /// `containers[].ports`, sidecars (`initContainers` with `restartPolicy: Always`) included, without
    /// Postern's own containers.
    pub ports: Vec<ContainerPort>,
    /// Whether it mounts the lock's Secret.
    pub mounts_lock_secret: bool,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// A mirror pod of a kubelet's static pod.
    pub mirror: bool,
    /// `spec.os.name` is `windows`.
    pub windows: bool,
    /// The annotation [`postern_config::layout::CONFIG_ANNOTATION`].
    pub config_annotation: Option<String>,
    /// The annotation [`crate::rollout::RESTARTED_ANNOTATION`], by which a pod tells which restart made it.
    pub restarted: Option<Timestamp>,
    /// Redirects of another table that its redirect container found beside Postern's: printable ASCII, at most
    /// [`PodFacts::FOREIGN_REDIRECT`] characters of what follows [`postern_config::layout::FOREIGN_REDIRECT_MESSAGE`].
    pub foreign_redirect: Option<String>,
    /// Its sidecar's last answer, if it ever answered.
    pub loaded: Option<Loaded>,
    /// Without a redirect: the application's ports that answered at the pod's address, past the sidecar, when they were
    /// last dialled. Absent: they were not.
    pub exposed: Option<Vec<u16>>,
}

impl PodFacts {
    /// Characters that are kept of [`Self::foreign_redirect`]: enough for one with the longest name that is in use.
    pub const FOREIGN_REDIRECT: usize = 200;

    /// Whether its containers have ended for good: it accepts nothing and mounts nothing any more.
    pub fn finished(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }
}

/// Who controls a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// `apps/v1`, `batch/v1` …
    pub api_version: String,
    /// `ReplicaSet`, `StatefulSet`, `DaemonSet`, `Job` …
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// What a pod's structure says about injection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Injection {
    /// Not injected, or not as admission demands; the reason in words, for example `it has no sidecar`.
    No(String),
    /// Injected as admission demands.
    For {
        /// For this `BackendTrust` of the pod's namespace.
        trust: String,
        /// Whether it runs the current sidecar image (else the previous one, which is as safe).
        current_image: bool,
        /// How it was injected; the lock may ask for another shape by now.
        shape: Shape,
        /// What it has that is let in only where the lock says `trustedWorkload`, with what to do; absent: nothing.
        privileges: Option<String>,
    },
}

impl Injection {
    /// For a lock that asks for nothing in particular, of a pod that needs no privileges.
    pub fn plain(trust: &str, current_image: bool) -> Self {
        let trust = trust.to_owned();
        Self::For { trust, current_image, shape: Shape::default(), privileges: None }
    }
}

/// `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Accepted, not all containers started.
    Pending,
    /// Bound and started.
    Running,
    /// All containers ended well.
    Succeeded,
    /// All containers ended, one of them badly.
    Failed,
    /// The node doesn't answer.
    Unknown,
}

/// One entry of a container's `ports`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerPort {
    /// Its name.
    pub name: Option<String>,
    /// Its number.
    pub number: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub transport: Transport,
}

/// The transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP, the default.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}
