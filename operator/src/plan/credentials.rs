//! What is to become of the credentials that a gateway holds beside its certificate.

use std::fmt;

use jiff::Timestamp;

use crate::inputs::{KeyCredentials, SecretText};

/// What is to become of one key's credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialsPlan {
    /// A lock asks for a credential that the gateway holds.
    pub basic: bool,
    /// A lock asks for a secret value in this header.
    pub header: Option<String>,
    /// What is done.
    pub step: CredentialsStep,
}

/// One step, in the order of [`crate::plan::LeafPlan`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CredentialsStep {
    /// All stays, less what no lock asks for any more.
    #[default]
    Keep,
    /// New ones take the place of what is there at once, since that can't open the door.
    Issue(CredentialsSpec),
    /// New ones are made beside those that are there.
    StageNext(CredentialsSpec),
    /// The staged ones are handed over.
    PromoteNext {
        /// End of the overlap.
        drop_previous_after: Timestamp,
    },
    /// The previous ones are forgotten.
    DropPrevious,
}

/// What to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialsSpec {
    /// Of what is made.
    pub revision: u64,
    /// For a lock of type Basic.
    pub basic: Option<BasicSpec>,
    /// For a lock of type Header.
    pub header: Option<HeaderSpec>,
    /// Why, for logs.
    pub reason: CredentialsReason,
}

/// A credential to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BasicSpec {
    /// As it is.
    Keep,
    /// A random password.
    Generate {
        /// For this user.
        username: String,
    },
    /// What the lock's author wrote.
    Own(OwnCredential),
}

/// A credential of the lock's author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCredential {
    /// Without a colon.
    pub username: String,
    /// What goes with it.
    pub password: SecretText,
}

/// A header value to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderSpec {
    /// As it is.
    Keep,
    /// A random one.
    Generate,
    /// What the lock's author wrote.
    Own(SecretText),
}

/// Why credentials are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialsReason {
    /// There are none, or a lock asks for more than there is.
    Missing,
    /// The lock's author has written others.
    Changed,
    /// A third of their life or less is left.
    Expiring,
    /// `spec.rotation.requestedAt` is later than their issue.
    Requested,
}

impl fmt::Display for CredentialsReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there were none",
            Self::Changed => "the lock's author has written others",
            Self::Expiring => "a third of their life was left",
            Self::Requested => "rotation.requestedAt asked for it",
        })
    }
}

impl CredentialsPlan {
    /// Whether a lock asks for anything.
    pub const fn is_wanted(&self) -> bool {
        self.basic || self.header.is_some()
    }

    /// Less what no lock asks for, and with the header's present name.
    pub fn trim(&self, mut held: KeyCredentials) -> KeyCredentials {
        if !self.is_wanted() {
            return KeyCredentials::default();
        }
        for credentials in held.current.iter_mut().chain(&mut held.next) {
            credentials.basic = credentials.basic.take().filter(|_| self.basic);
            credentials.header = credentials.header.take().filter(|_| self.header.is_some());
            if let (Some(header), Some(name)) = (&mut credentials.header, &self.header) {
                header.name.clone_from(name);
            }
        }
        if let Some(previous) = &mut held.previous {
            previous.basic = previous.basic.take().filter(|_| self.basic);
            previous.header = previous.header.take().filter(|_| self.header.is_some());
        }
        held
    }
}
