//! One route's key on one gateway, and what happens to it.

use jiff::Timestamp;
use postern_config::policy::{Credential, HeaderSecret};

use crate::inputs::KeyId;
use crate::plan::{CredentialsPlan, CredentialsStep, LeafPlan, Refusal};
use crate::settings::Flavour;

/// One route's key on one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPlan {
    /// Which.
    pub id: KeyId,
    /// The gateway's flavour; absent if no such gateway is declared.
    pub flavour: Option<Flavour>,
    /// Where its outputs go; absent if no such gateway is declared.
    pub namespace: Option<String>,
    /// Why this gateway gets no key for this route, or not now.
    pub refusals: Vec<Refusal>,
    /// The SPIFFE id in its certificate.
    pub identity: String,
    /// What happens to the objects.
    pub action: KeyAction,
}

/// What happens to one key's Secret and `ConfigMap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAction {
    /// Both are written.
    Write(KeyStep),
    /// The Secret is written, the `ConfigMap` stays as it is: the lock is orphaned, or not yet in front of all pods.
    Renew(KeyStep),
    /// Both stay as they are, since the gateway's namespace can't be read. The sidecars go on letting in what they let
    /// in, by the pins that were published last.
    Unread(Kept),
    /// Both stay as they are, for example while the Service is missing. The sidecars let nobody in by this key.
    Leave,
    /// They are not to exist.
    Remove,
}

/// What is to become of what a gateway holds for one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStep {
    /// Its certificate.
    pub leaf: LeafPlan,
    /// Its credentials.
    pub credentials: CredentialsPlan,
}

/// What a key was let in by when it was published last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// SHA-256 of each `SubjectPublicKeyInfo`, lower-case hex.
    pub pins: Vec<String>,
    /// Its credentials.
    pub credentials: Vec<Credential>,
    /// Its header values.
    pub header_values: Vec<HeaderSecret>,
}

impl KeyAction {
    /// What is to become of what the gateway holds, if the Secret is written.
    pub fn step(&self) -> Option<&KeyStep> {
        match self {
            Self::Write(step) | Self::Renew(step) => Some(step),
            Self::Unread(_) | Self::Leave | Self::Remove => None,
        }
    }

    /// Whether the sidecars let somebody in by the key.
    pub fn admits(&self) -> bool {
        match self {
            Self::Write(_) | Self::Renew(_) => true,
            Self::Unread(kept) => *kept != Kept::default(),
            Self::Leave | Self::Remove => false,
        }
    }
}

impl KeyStep {
    /// Whether it hands over something new and leaves the old no time.
    pub fn leaves_no_overlap(&self, now: Timestamp) -> bool {
        let leaf =
            matches!(self.leaf, LeafPlan::PromoteNext { drop_previous_after } if drop_previous_after <= now);
        let credentials = matches!(
            self.credentials.step,
            CredentialsStep::PromoteNext { drop_previous_after } if drop_previous_after <= now
        );
        leaf || credentials
    }
}
