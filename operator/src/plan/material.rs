//! The certificates and credentials behind a plan: those that exist, and those that the plan had made.

use std::collections::BTreeMap;

use jiff::Timestamp;
use postern_config::policy::Credential;
use postern_config::verifier::sha256;

use crate::inputs::{
    BasicCredential, Credentials, HeaderValue, Inputs, KeyCredentials, KeyId, KeySecret, Leaf, PreviousPin,
    SecretText,
};
use crate::plan::{
    BasicSpec, CredentialsPlan, CredentialsSpec, CredentialsStep, HeaderSpec, LeafPlan, LeafSpec,
    OwnCredential, Plan,
};

/// Makes what a plan asks for: the only step with randomness in it.
pub trait Issue {
    /// Why it can't be made.
    type Error;

    /// A certificate with a new key.
    ///
    /// # Errors
    /// If it can't be signed.
    fn leaf(&mut self, spec: &LeafSpec) -> Result<Leaf, Self::Error>;

    /// A text of at least 128 random bits, of characters that may stand in a URL.
    ///
    /// # Errors
    /// If there is no randomness.
    fn random(&mut self) -> Result<SecretText, Self::Error>;

    /// A slow verifier (PHC string) of a password that a person has chosen; the same for the same user and password.
    fn verifier(&mut self, username: &str, password: &SecretText) -> String;
}

/// All certificates and keys that `render` writes.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// For the lock's Secret; present exactly if [`Plan::bundle`] is.
    pub server: Option<Leaf>,
    /// For each key whose Secret is written.
    pub keys: BTreeMap<KeyId, KeyMaterial>,
    /// By the policy's name of a caller with a name: what it is known by.
    pub callers: BTreeMap<String, Credential>,
}

/// The certificates of one key.
#[derive(Clone, Debug)]
pub struct KeyMaterial {
    /// What the gateway presents.
    pub current: Leaf,
    /// Published, not yet handed over.
    pub next: Option<Leaf>,
    /// Handed over before; still accepted.
    pub previous: Option<PreviousPin>,
    /// What it presents beside its certificate.
    pub credentials: KeyCredentials,
    /// The configuration files that lie in its Secret now.
    pub configuration: BTreeMap<String, String>,
}

impl KeyMaterial {
    /// The pins that the sidecars accept: SHA-256 of each `SubjectPublicKeyInfo`, lower-case hex, sorted.
    pub fn pins(&self) -> Vec<String> {
        let mut pins: Vec<String> = [Some(&self.current), self.next.as_ref()]
            .into_iter()
            .flatten()
            .map(|leaf| leaf.facts.spki_sha256.clone())
            .chain(self.previous.iter().map(|previous| previous.spki_sha256.clone()))
            .collect();
        pins.sort();
        pins.dedup();
        pins
    }
}

impl Material {
    /// Has `issue` make what the plan asks for and takes the rest from what exists.
    ///
    /// # Errors
    /// Those of `issue`.
    pub fn fulfil<I: Issue>(plan: &Plan, inputs: &Inputs, issue: &mut I) -> Result<Self, I::Error> {
        let mut material = Self::default();
        if let Some(bundle) = &plan.bundle {
            let existing = inputs.lock_secret.ours().and_then(|secret| secret.leaf.clone());
            material.server = match (&bundle.leaf, existing) {
                (LeafPlan::Issue(spec) | LeafPlan::StageNext(spec), _) => Some(issue.leaf(spec)?),
                (_, existing) => existing,
            };
            material.callers =
                bundle.credentials.iter().map(|(name, own)| of_caller(name, own, issue)).collect();
        }
        for key in plan.routes.iter().flat_map(|route| &route.keys) {
            let Some(step) = key.action.step() else { continue };
            let existing = inputs.keys.get(&key.id).and_then(|existing| existing.secret.ours());
            let made = leaf(&step.leaf, existing.cloned().unwrap_or_default(), issue)?;
            let Some(mut made) = made else { continue };
            made.credentials = credentials(&step.credentials, made.credentials, plan.now, issue)?;
            material.keys.insert(key.id.clone(), made);
        }
        Ok(material)
    }
}

/// The credential of a caller with a name.
fn of_caller<I: Issue>(name: &str, own: &OwnCredential, issue: &mut I) -> (String, Credential) {
    let credential = Credential {
        id: format!("{name}/basic"),
        username: own.username.clone(),
        verifier: issue.verifier(&own.username, &own.password),
    };
    (name.to_owned(), credential)
}

/// One step of a client leaf. `None` only if the plan keeps what doesn't exist, which `resolve` never asks for.
fn leaf<I: Issue>(
    leaf: &LeafPlan,
    existing: KeySecret,
    issue: &mut I,
) -> Result<Option<KeyMaterial>, I::Error> {
    let KeySecret { current, next, previous, credentials, configuration } = existing;
    let made = |current, next, previous| KeyMaterial { current, next, previous, credentials, configuration };
    Ok(match leaf {
        LeafPlan::Issue(spec) => Some(made(issue.leaf(spec)?, None, None)),
        LeafPlan::Keep => current.map(|current| made(current, next, previous)),
        LeafPlan::StageNext(spec) => match current {
            Some(current) => Some(made(current, Some(issue.leaf(spec)?), previous)),
            None => None,
        },
        LeafPlan::PromoteNext { drop_previous_after } => match (current, next) {
            (Some(old), Some(new)) => {
                let spki_sha256 = old.facts.spki_sha256;
                Some(made(new, None, Some(PreviousPin { spki_sha256, drop_after: *drop_previous_after })))
            }
            (current, next) => current.map(|current| made(current, next, previous)),
        },
        LeafPlan::DropPrevious => current.map(|current| made(current, next, None)),
    })
}

/// One step of the credentials.
fn credentials<I: Issue>(
    plan: &CredentialsPlan,
    held: KeyCredentials,
    now: Timestamp,
    issue: &mut I,
) -> Result<KeyCredentials, I::Error> {
    let KeyCredentials { current, next, previous } = held;
    let made = match &plan.step {
        CredentialsStep::Keep => KeyCredentials { current, next, previous },
        CredentialsStep::Issue(spec) => {
            let (current, issued_at) =
                (current.as_ref(), current.as_ref().map_or(now, |current| current.issued_at));
            let made = make(plan, spec, current, issued_at, issue)?;
            KeyCredentials { current: Some(made), next: None, previous }
        }
        CredentialsStep::StageNext(spec) => {
            let next = make(plan, spec, current.as_ref(), now, issue)?;
            KeyCredentials { current, next: Some(next), previous }
        }
        CredentialsStep::PromoteNext { drop_previous_after } => match (current, next) {
            (Some(old), Some(new)) => KeyCredentials {
                current: Some(new),
                next: None,
                previous: Some(old.retired(*drop_previous_after)),
            },
            (current, next) => KeyCredentials { current, next, previous },
        },
        CredentialsStep::DropPrevious => KeyCredentials { current, next, previous: None },
    };
    Ok(plan.trim(made))
}

fn make<I: Issue>(
    plan: &CredentialsPlan,
    spec: &CredentialsSpec,
    current: Option<&Credentials>,
    issued_at: Timestamp,
    issue: &mut I,
) -> Result<Credentials, I::Error> {
    let basic = match &spec.basic {
        None => None,
        Some(BasicSpec::Keep) => current.and_then(|current| current.basic.clone()),
        Some(BasicSpec::Generate { username }) => {
            let password = issue.random()?;
            let verifier = sha256(password.expose().as_bytes());
            Some(BasicCredential { own: false, username: username.clone(), password, verifier })
        }
        Some(BasicSpec::Own(own)) => Some(BasicCredential {
            own: true,
            username: own.username.clone(),
            password: own.password.clone(),
            verifier: issue.verifier(&own.username, &own.password),
        }),
    };
    let name = plan.header.clone().unwrap_or_default();
    let header = match &spec.header {
        None => None,
        Some(HeaderSpec::Keep) => current.and_then(|current| current.header.clone()),
        Some(HeaderSpec::Generate) => Some(HeaderValue { own: false, name, value: issue.random()? }),
        Some(HeaderSpec::Own(value)) => Some(HeaderValue { own: true, name, value: value.clone() }),
    };
    // As the Secret has it, so that what is read equals what was written.
    let issued_at = Timestamp::from_second(issued_at.as_second()).unwrap_or(issued_at);
    Ok(Credentials { revision: spec.revision, issued_at, basic, header })
}
