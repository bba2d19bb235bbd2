//! htpasswd files, as `htpasswd` and `openssl passwd` write them: one `user:hash` a line.
//!
//! Every fault of a file is told, with its line; no hash is quoted, since it may be a password by mistake.

use std::collections::BTreeMap;

use crate::verifier::{SetError, Slow, VerifierError, work_of};

/// Users that a file may hold.
pub const USERS: usize = 1_000;
/// Bytes that a file may hold.
pub const BYTES: usize = 256 << 10;
/// Bytes that a user's name may have.
pub const NAME_BYTES: usize = 255;

/// One user and what the password is checked by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user-id (RFC 7617), without a colon.
    pub username: String,
    /// Of one of the slow kinds of [`crate::policy::Credential::verifier`].
    pub verifier: String,
}

/// One fault of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Longer than [`BYTES`].
    #[error("the file has more than {BYTES} bytes; remove users, or what isn't one")]
    TooLong,
    /// More than [`USERS`].
    #[error("the file has more than {USERS} users; remove some")]
    TooManyUsers,
    /// Nobody in it.
    #[error("the file has no users; add one with `htpasswd -B FILE NAME`")]
    NoUsers,
    /// All of them together.
    #[error("{0}")]
    Together(SetError),
    /// One line.
    #[error("line {line}: {problem}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No colon.
    #[error("no colon, so no user and hash; write user:hash")]
    NoColon,
    /// Nothing before the colon.
    #[error("no user before the colon; write user:hash")]
    NoName,
    /// Longer than [`NAME_BYTES`].
    #[error("the user's name has more than {NAME_BYTES} bytes; shorten it")]
    LongName,
    /// RFC 7617 forbids control characters; spaces at the ends are a slip.
    #[error("the user's name begins or ends with a space, or has a control character in it; remove it")]
    BadName,
    /// Twice.
    #[error("user {user:?} was already there in line {first}; remove one of them")]
    Duplicate {
        /// Who.
        user: String,
        /// Where.
        first: usize,
    },
    /// The hash.
    #[error("user {user:?}: {error}")]
    Hash {
        /// Whose.
        user: String,
        /// Why.
        error: VerifierError,
    },
}

/// Reads a file. Empty lines and lines that begin with `#` are skipped; what follows a second colon is a comment.
///
/// # Errors
/// Every [`Fault`] that it has, in the order of its lines; at least one.
pub fn parse(text: &str) -> Result<Vec<User>, Vec<Fault>> {
    if text.len() > BYTES {
        return Err(vec![Fault::TooLong]);
    }
    let (mut users, mut faults) = (Vec::new(), Vec::new());
    let mut seen = BTreeMap::<&str, usize>::new();
    for (line, written) in (1..).zip(text.lines()) {
        if written.is_empty() || written.starts_with('#') {
            continue;
        }
        match user(written, line, &mut seen) {
            Ok(user) => users.push(user),
            Err(problem) => faults.push(Fault::Line { line, problem }),
        }
    }
    if seen.len() > USERS {
        faults.push(Fault::TooManyUsers);
    }
    if users.is_empty() && faults.is_empty() {
        faults.push(Fault::NoUsers);
    }
    let pairs = users.iter().map(|user| (user.username.as_str(), user.verifier.as_str()));
    if faults.is_empty()
        && let Err(error) = work_of(pairs)
    {
        faults.push(Fault::Together(error));
    }
    if faults.is_empty() { Ok(users) } else { Err(faults) }
}

fn user<'a>(written: &'a str, line: usize, seen: &mut BTreeMap<&'a str, usize>) -> Result<User, Problem> {
    let (name, rest) = written.split_once(':').ok_or(Problem::NoColon)?;
    if name.is_empty() {
        return Err(Problem::NoName);
    }
    if name.len() > NAME_BYTES {
        return Err(Problem::LongName);
    }
    if name.trim() != name || name.contains(char::is_control) {
        return Err(Problem::BadName);
    }
    if let Some(first) = seen.get(name) {
        return Err(Problem::Duplicate { user: name.to_owned(), first: *first });
    }
    seen.insert(name, line);
    let hash = rest.split_once(':').map_or(rest, |(hash, _comment)| hash);
    Slow::parse(hash).map_err(|error| Problem::Hash { user: name.to_owned(), error })?;
    Ok(User { username: name.to_owned(), verifier: hash.to_owned() })
}

#[cfg(test)]
mod tests;
