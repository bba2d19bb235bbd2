//! What a gateway holds beside its certificate, and the Secrets that a lock's author names.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use postern_config::policy::{Credential, HeaderSecret};
use postern_config::verifier;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// A text that opens something. `Debug` does not show it, and it is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// Takes it.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

impl Drop for SecretText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// What a gateway holds for one route beside its certificate: now, soon, and before. It lies in the gateway's Secret
/// as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyCredentials {
    /// What it presents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Credentials>,
    /// Published to the sidecars, not yet handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Credentials>,
    /// Handed over before, and still accepted; only what it is checked by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousCredentials>,
}

/// A credential and a header value that are made, handed over and forgotten together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// Grows by one with each rotation.
    pub revision: u64,
    /// When they were made.
    pub issued_at: Timestamp,
    /// For a lock of type Basic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicCredential>,
    /// For a lock of type Header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderValue>,
}

/// A user name with its password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BasicCredential {
    /// It is the lock's author's, not generated.
    #[serde(default)]
    pub own: bool,
    /// Without a colon.
    pub username: String,
    /// What goes with it.
    pub password: SecretText,
    /// What the sidecars check it by.
    pub verifier: String,
}

/// A header with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderValue {
    /// It is the lock's author's, not generated.
    #[serde(default)]
    pub own: bool,
    /// The header.
    pub name: String,
    /// Its value.
    pub value: SecretText,
}

/// What is left of replaced credentials while they are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreviousCredentials {
    /// Of those.
    pub revision: u64,
    /// From then on they are refused.
    pub drop_after: Timestamp,
    /// User name and verifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<(String, String)>,
    /// Verifier of the header's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

impl Credentials {
    /// What is left of them when they are replaced.
    pub fn retired(self, drop_after: Timestamp) -> PreviousCredentials {
        PreviousCredentials {
            revision: self.revision,
            drop_after,
            basic: self.basic.map(|basic| (basic.username, basic.verifier)),
            header: self.header.map(|header| header.verifier()),
        }
    }

    /// What the sidecars check them by.
    pub fn verifiers(&self) -> Vec<String> {
        let basic = self.basic.iter().map(|basic| basic.verifier.clone());
        basic.chain(self.header.iter().map(HeaderValue::verifier)).collect()
    }
}

impl HeaderValue {
    /// What the sidecars check it by.
    pub fn verifier(&self) -> String {
        verifier::sha256(self.value.expose().as_bytes())
    }
}

impl KeyCredentials {
    /// As the sidecars know them. `key`: the name of the key's objects, by which the ids begin.
    pub fn basics(&self, key: &str) -> Vec<Credential> {
        let of = |revision: u64, username: &str, verifier: &str| Credential {
            id: basic_id(key, revision),
            username: username.to_owned(),
            verifier: verifier.to_owned(),
        };
        let held = self.current.iter().chain(&self.next).filter_map(|held| {
            held.basic.as_ref().map(|basic| of(held.revision, &basic.username, &basic.verifier))
        });
        let previous = self.previous.iter().filter_map(|held| {
            held.basic.as_ref().map(|(username, verifier)| of(held.revision, username, verifier))
        });
        sorted(held.chain(previous), |one| one.id.clone())
    }

    /// As the sidecars know them.
    pub fn headers(&self, key: &str) -> Vec<HeaderSecret> {
        let of = |revision: u64, verifier: String| HeaderSecret { id: header_id(key, revision), verifier };
        let held = self.current.iter().chain(&self.next);
        let held =
            held.filter_map(|held| held.header.as_ref().map(|header| of(held.revision, header.verifier())));
        let previous = self.previous.iter().filter_map(|held| Some(of(held.revision, held.header.clone()?)));
        sorted(held.chain(previous), |one| one.id.clone())
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.current.is_none() && self.next.is_none() && self.previous.is_none()
    }
}

fn sorted<T>(all: impl Iterator<Item = T>, by: impl Fn(&T) -> String) -> Vec<T> {
    let mut all: Vec<T> = all.collect();
    all.sort_by_key(by);
    all
}

/// The id of a revision's credential.
pub fn basic_id(key: &str, revision: u64) -> String {
    format!("{key}/basic/{revision}")
}

/// The id of a revision's header value.
pub fn header_id(key: &str, revision: u64) -> String {
    format!("{key}/header/{revision}")
}

/// A Secret that a lock's author names.
#[derive(Clone, Debug, Default)]
pub enum Reference {
    /// There is none.
    #[default]
    Missing,
    /// The API server doesn't let the operator read it, with its words.
    Unreadable(String),
    /// It is there.
    Found(SecretData),
}

/// A Secret's data. `Debug` shows its keys alone.
#[derive(Clone, Default)]
pub struct SecretData {
    /// `type`.
    pub type_: String,
    /// `data`.
    pub data: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for SecretData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretData").field("type", &self.type_).field("keys", &self.data.keys()).finish()
    }
}
