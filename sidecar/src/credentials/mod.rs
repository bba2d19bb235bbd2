//! Passwords and secret headers: what callers present, and whether it is right.
//!
//! A verifier of a random secret is checked on the spot and in constant time. Hashes that are slow by intention
//! are checked by threads of their own ([`Pool`]), few at a time, the same work whoever the user is; right answers
//! are remembered by a keyed hash, wrong ones never. Nothing here knows routes or locks: what is compiled is a
//! list, and an answer names positions in it.

mod basic;
mod checker;
mod memory;
mod pool;
mod secrets;
mod slow;
mod users;

pub use self::basic::{BasicError, Presented};
pub use self::checker::{Answer, Check, Checker, Pending};
pub use self::pool::{Load, Pool};
pub use self::secrets::Secrets;
pub use self::users::{Matched, Users};

use postern_config::verifier::{SetError, VerifierError};

/// Credentials that are not used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Its verifier.
    #[error("credential {id:?}: {error}")]
    Verifier {
        /// Which.
        id: String,
        /// Why.
        error: VerifierError,
    },
    /// RFC 7617 section 2 leaves no way to present it.
    #[error(
        "credential {0:?}: the user's name is empty, too long, or has a colon or a control character in it"
    )]
    Name(String),
    /// A value that anybody could try.
    #[error(
        "secret {0:?}: its verifier is not `sha256:` and 64 hex digits; write the SHA-256 of a random value"
    )]
    NotForHeaders(String),
    /// All of them together.
    #[error("the users of a lock: {0}")]
    Together(#[from] SetError),
}

#[cfg(test)]
mod tests;
