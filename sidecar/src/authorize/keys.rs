//! The header locks of a door, and the secrets that open them.

use std::collections::HashMap;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use postern_config::policy::{self as config, Upstream};

use super::door::{Checks, HeaderKind, HeaderLock, Lock, Secret, Whose};
use crate::credentials::{CredentialError, Secrets, Users};
use crate::identify::sha256;

/// Names that mean something else to HTTP, or that the sidecar writes itself.
const TAKEN: [&str; 22] = [
    "host",
    "connection",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "cookie",
    "expect",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "x-forwarded-client-cert",
    "client-cert",
    "client-cert-chain",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-request-id",
    "date",
];

/// A lock's header that can't be one.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// No name of a header.
    #[error("{0:?} is no lower-case name of a header; write it as RFC 9110 section 5.1 has it")]
    Malformed(String),
    /// It means something else.
    #[error("the header {0:?} has another meaning, so no lock can use it; take another name")]
    Taken(String),
    /// Two locks on one header.
    #[error("two locks look at the header {0:?}; give each a header of its own")]
    Twice(String),
    /// What opens it.
    #[error(transparent)]
    Credential(#[from] CredentialError),
}

/// Gives each secret of a policy its number in the table of last uses.
#[derive(Debug, Default)]
pub(super) struct Keyring {
    pub(super) ids: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
}

impl Keyring {
    pub(super) fn number(&mut self, id: &str) -> u32 {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        // Beyond what can be counted nothing is noted.
        let number = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        self.ids.push(id.into());
        self.numbers.insert(id.into(), number);
        number
    }

    /// A lock for these callers, whose numbers are their places.
    pub(super) fn lock(
        &mut self,
        written: &config::Lock,
        callers: &[&config::Caller],
    ) -> Result<Lock, HeaderError> {
        let (name, kind, upstream) = match written {
            config::Lock::MutualTLS => return Ok(Lock::MutualTls),
            config::Lock::Basic { header_name, upstream, .. } => (header_name, HeaderKind::Basic, *upstream),
            config::Lock::Header { name } => (name, HeaderKind::Secret, Upstream::Strip),
            config::Lock::Caller { mode, header_name, upstream } => {
                (header_name, HeaderKind::Caller(*mode), *upstream)
            }
        };
        let name = header(name)?;
        let mut secrets = Vec::new();
        let checks = match written {
            config::Lock::Basic { users: Some(users), .. } => {
                secrets.extend(users.iter().map(|user| self.credential(Whose::Anybody, user)));
                Checks::Users(Arc::new(Users::compile(users)?))
            }
            config::Lock::Header { .. } => {
                for (holder, caller) in (0..).zip(callers) {
                    secrets.extend(caller.header_values.iter().map(|value| Secret {
                        whose: Whose::Holder(holder),
                        print: sha256(value.verifier.as_bytes()),
                        seen: self.number(&value.id),
                    }));
                }
                Checks::Secrets(Secrets::compile(callers.iter().flat_map(|caller| &caller.header_values))?)
            }
            _ => {
                for (holder, caller) in (0..).zip(callers) {
                    let own = |user| self.credential(Whose::Holder(holder), user);
                    secrets.extend(caller.credentials.iter().map(own));
                }
                // All of them together, so that an unknown user costs what a known one does.
                let users = callers.iter().flat_map(|caller| &caller.credentials);
                Checks::Users(Arc::new(Users::compile(users)?))
            }
        };
        let challenge = (kind != HeaderKind::Secret).then(|| challenge(&name)).flatten();
        Ok(Lock::Header(HeaderLock { name, kind, upstream, challenge, checks, secrets }))
    }

    fn credential(&mut self, whose: Whose, user: &config::Credential) -> Secret {
        // A user name holds no colon.
        let print = sha256(format!("{}:{}", user.username, user.verifier).as_bytes());
        Secret { whose, print, seen: self.number(&user.id) }
    }
}

fn header(name: &str) -> Result<HeaderName, HeaderError> {
    let parsed =
        HeaderName::from_lowercase(name.as_bytes()).map_err(|_| HeaderError::Malformed(name.to_owned()))?;
    let folded = name.replace('_', "-");
    if TAKEN.contains(&folded.as_str()) {
        return Err(HeaderError::Taken(name.to_owned()));
    }
    Ok(parsed)
}

/// RFC 7617 section 2 for the header that it knows. For another one RFC 9110 section 11.6.1 wants a challenge all the
/// same, and it must not be one that a browser answers in `Authorization`.
fn challenge(name: &HeaderName) -> Option<HeaderValue> {
    if *name == AUTHORIZATION {
        return Some(HeaderValue::from_static(r#"Basic realm="postern", charset="UTF-8""#));
    }
    HeaderValue::try_from(format!(r#"Header realm="postern", name="{name}", value="Basic""#)).ok()
}
