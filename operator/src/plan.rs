//! The validated model: what is to be, without Kubernetes types.
//!
//! `resolve(&Settings, &Inputs) -> Plan` decides; [`Material::fulfil`] has the certificates issued that the plan
//! asks for (the only step with randomness in it); `render(&Settings, &Plan, &Material, &Signer) -> Objects` is
//! pure again; [`Outcome`] is what became of it, from which the conditions follow.

mod credentials;
mod door;
mod key;
mod leaf;
mod material;
mod outcome;
mod pods;
mod progress;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use postern_config::policy::{Caller, ForwardedCertificate, Policy, PortRef, Protocol, Rule};
use postern_crds::api_route::Verification;
use postern_crds::{ConditionType, Reason};

use crate::injection::shape::Admitted;
use crate::inputs::{KeyId, LockKey, SealedBundle};
use crate::resolve::selectors::Selector;

pub use credentials::{
    BasicSpec, CredentialsPlan, CredentialsReason, CredentialsSpec, CredentialsStep, HeaderSpec,
    OwnCredential,
};
pub use door::{BasicPlan, BasicSource, CallerPlan, Door, DoorLock, HeaderPlan, OpenPlan, PortAccess};
pub use key::{Kept, KeyAction, KeyPlan, KeyStep};
pub use leaf::{AuthorityKind, IssueReason, LeafPlan, LeafSpec};
pub use material::{Issue, KeyMaterial, Material};
pub use outcome::{Armed, Failure, Outcome};
pub use pods::{PodPlan, PodState, PodsPlan};
pub use progress::{Advance, AuditSum, EnforcementPlan, Progress};

/// Why an object is not accepted, or a reference of it not resolved. The message names the object, the cause,
/// and what to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// The condition that becomes `False`.
    pub condition: ConditionType,
    /// Its reason.
    pub reason: Reason,
    /// Its message.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(condition: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { condition, reason, message: message.into() }
    }
}

/// What is to be done about one lock.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which lock.
    pub key: LockKey,
    /// [`crate::inputs::Inputs::now`].
    pub now: Timestamp,
    /// Whether the trust exists, and what it demands.
    pub lock: LockState,
    /// What the lock's Secret is to hold; absent: it is not written. It may still have to be removed, see
    /// [`Self::remove`].
    pub bundle: Option<BundlePlan>,
    /// One entry for each `ApiRoute` that names the lock, refused ones too, by name.
    pub routes: Vec<RoutePlan>,
    /// The pods, judged against the bundle that lies in the cluster. Judged again after the acknowledgements,
    /// see [`crate::resolve::pods::judge`].
    pub pods: PodsPlan,
    /// What is to be deleted.
    pub remove: Removals,
    /// When each credential, header value and pinned key was last used, by what the pods say; the ids are the policy's.
    pub seen: BTreeMap<String, Timestamp>,
    /// When something here changes by the clock alone: a renewal, the end of an overlap.
    pub requeue_at: Option<Timestamp>,
}

/// Whether the trust exists.
#[derive(Clone, Debug)]
pub enum LockState {
    /// It does.
    Present(Box<LockPlan>),
    /// It was deleted while pods run behind it: they keep lock and routes, and new ones start without.
    Orphaned {
        /// Which pods its admission policy was for, and goes on to keep as they are; absent: it had none.
        selector: Option<Selector>,
    },
    /// There is neither a trust nor a pod that runs behind it.
    Gone,
}

impl LockState {
    /// The lock's plan, if the trust exists.
    pub fn present(&self) -> Option<&LockPlan> {
        match self {
            Self::Present(plan) => Some(plan),
            Self::Orphaned { .. } | Self::Gone => None,
        }
    }

    /// Which pods admission watches; absent: the policy and its Binding are to be removed.
    pub fn watched(&self) -> Option<&Selector> {
        match self {
            Self::Present(plan) => plan.admission.as_ref().map(|admission| &admission.selector),
            Self::Orphaned { selector } => selector.as_ref(),
            Self::Gone => None,
        }
    }
}

/// A lock that exists.
#[derive(Clone, Debug)]
pub struct LockPlan {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Empty: accepted. A refused *port* is closed and the others stay as they are; only a refusal of the lock
    /// as a whole closes all, see [`Self::closed`].
    pub refusals: Vec<Refusal>,
    /// The lock as a whole makes no sense: its policy lets nobody in, and nothing is armed.
    pub closed: bool,
    /// `spec.podSelector`; absent if it makes no sense.
    pub selector: Option<Selector>,
    /// The ports that the policy lists, for status.
    pub ports: Vec<PortPlan>,
    /// Whether the sidecar takes over named ports, so that a `NetworkPolicy` has to close the others.
    pub listens: bool,
    /// How far it has come into force.
    pub enforcement: EnforcementPlan,
    /// UDP ports that anybody may send to.
    pub open_udp: BTreeSet<u16>,
    /// What a caller must show, for the column: `mTLS`, `mTLS +1 open`, with `trusted workload` where the pods may be
    /// privileged.
    pub locks_label: String,
    /// What admission is to demand; absent: the policy and its Binding are to be removed.
    pub admission: Option<AdmissionPlan>,
    /// Whether pods that ran before are replaced by the operator.
    pub replace_pods: bool,
    /// The modes of its locks of type `Caller`, for the column; `-` where it has none.
    pub mode_label: String,
    /// `spec.callers`, for status.
    pub callers: Vec<CallerFacts>,
}

/// What is known of a caller with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerFacts {
    /// Its name.
    pub name: String,
    /// SHA-256 of the single certificates that are its own, lower-case hex.
    pub sha256: Vec<String>,
    /// When the first of those that are read ends.
    pub not_after: Option<Timestamp>,
}

/// The admission policy of one lock; the images come from the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionPlan {
    /// `spec.podSelector`: the Binding's `objectSelector`.
    pub selector: Selector,
    /// The trusts for which a selected pod may be injected: this one and each older one of the namespace whose
    /// selector can select the same pod. This one is first.
    pub trusts: Vec<Admitted>,
    /// Labels that the selector selects, for the dry run that must be refused. Where possible no other lock
    /// selects them.
    pub probe_labels: BTreeMap<String, String>,
    /// The other locks that select them nevertheless. The API server names but one of the policies that refuse,
    /// and any of these may be the one.
    pub probe_also_selected_by: Vec<String>,
}

/// One port that callers can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPlan {
    /// As the policy names it.
    pub port: PortRef,
    /// The numbers that the selected pods give it, with the name that they give to each, if any.
    pub numbers: BTreeMap<u16, Option<String>>,
    /// What the application speaks there.
    pub protocol: Protocol,
    /// What it is guarded by.
    pub access: PortAccess,
    /// Services of accepted routes that lead there, each `<name>:<Service port>`.
    pub services: BTreeSet<String>,
}

/// What the lock's Secret is to hold.
#[derive(Clone, Debug)]
pub struct BundlePlan {
    /// `metadata.uid` of the trust.
    pub trust_uid: String,
    /// The policy, with no keys in it: each caller's `keys` is empty, so that nobody gets in before
    /// [`Material`] has filled them.
    pub policy: Policy,
    /// How the sidecar works, apart from that.
    pub settings: postern_config::settings::Settings,
    /// Whose key each identity in the policy is.
    pub callers: BTreeMap<String, KeyId>,
    /// What each identity whose key can't be read now ([`KeyAction::Unread`]) is let in by.
    pub kept: BTreeMap<String, Kept>,
    /// By the policy's name of a caller with a name: its credentials, of which the verifiers are yet to be made.
    pub credentials: BTreeMap<String, OwnCredential>,
    /// The server certificate.
    pub leaf: LeafPlan,
    /// What lies there now.
    pub previous: Option<SealedBundle>,
}

/// One `ApiRoute`.
#[derive(Clone, Debug, PartialEq)]
pub struct RoutePlan {
    /// Its name; its namespace is the lock's.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Empty: the route itself makes sense. Refusals of one gateway are in [`KeyPlan::refusals`].
    pub refusals: Vec<Refusal>,
    /// What is wrong but doesn't close the route: it is said, and what works goes on.
    pub reservations: Vec<Refusal>,
    /// Where it leads, if that could be resolved.
    pub backend: Option<BackendPlan>,
    /// `spec.backendRef` as `<Service>:<port>`, for the column.
    pub backend_label: String,
    /// Host names that may be asked for; empty: any.
    pub hostnames: Vec<String>,
    /// What may be asked for; empty: everything.
    pub rules: Vec<Rule>,
    /// One for each gateway that it names.
    pub keys: Vec<KeyPlan>,
    /// Callers with a name whom it lets in, as the policy has them.
    pub callers: Vec<Caller>,
}

impl RoutePlan {
    /// Whether the route itself is accepted and resolved.
    pub fn holds(&self) -> bool {
        self.refusals.is_empty()
    }

    /// Whether somebody is let in by it: then it is in the policy.
    pub fn attached(&self) -> bool {
        self.holds() && (!self.callers.is_empty() || self.keys.iter().any(|key| key.action.admits()))
    }
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendPlan {
    /// The Service.
    pub service: String,
    /// Its port.
    pub service_port: u16,
    /// The addresses that gateways call, the primary one first. Empty: the Service is headless.
    pub addresses: Vec<IpAddr>,
    /// `<service>.<namespace>.svc.<cluster domain>`: for headless Services, which have no address.
    pub dns_name: String,
    /// The name that gateways demand in the server certificate.
    pub server_name: String,
    /// Whether that is the backend's own name, or one that all backends have.
    pub verification: Verification,
    /// Whether gateways may tell of their clients' certificates.
    pub forwarded_certificate: ForwardedCertificate,
    /// The container port, as the policy names it.
    pub port: PortRef,
    /// Its number, where all pods agree.
    pub container_port: Option<u16>,
    /// What the application speaks.
    pub protocol: Protocol,
    /// What gateways have to open.
    pub door: Door,
}

/// What is to be deleted; only what is ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removals {
    /// The lock's Secret: no trust, and no pod mounts it.
    pub lock_secret: bool,
    /// The admission policy and its Binding.
    pub admission: bool,
    /// Outputs for gateways, each with the namespace that it lies in.
    pub keys: BTreeSet<(KeyId, String)>,
}
