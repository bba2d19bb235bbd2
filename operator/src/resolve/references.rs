//! What the Secrets hold that a lock names: checked, or refused with what to do. No value of theirs is ever quoted.

use std::collections::{BTreeMap, BTreeSet};

use postern_config::htpasswd::{self, NAME_BYTES, User};
use postern_crds::{BackendTrust, ConditionType, Reason};

use crate::inputs::{Inputs, Reference, SecretData, SecretText};
use crate::plan::{BasicSource, Door, OwnCredential, Refusal};

#[cfg(test)]
mod tests;

/// The least bytes of a header's value.
pub const VALUE_BYTES: std::ops::RangeInclusive<usize> = 16..=4096;
const BASIC_AUTH: &str = "kubernetes.io/basic-auth";
/// Where a htpasswd file lies in a Secret: as ingress controllers have it, or by its own name.
const USERS_KEYS: [&str; 2] = ["auth", ".htpasswd"];
const FAULTS_SHOWN: usize = 3;

/// All that the doors of one lock name.
#[derive(Clone, Debug, Default)]
pub struct References {
    credentials: BTreeMap<String, Option<OwnCredential>>,
    values: BTreeMap<(String, String), Option<SecretText>>,
    users: BTreeMap<String, Option<Vec<User>>>,
    /// What can't be had, by name.
    pub refusals: Vec<Refusal>,
}

/// The Secrets that a lock with these doors names.
pub fn named<'a>(trust: &BackendTrust, doors: impl Iterator<Item = &'a Door>) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = of_callers(trust).cloned().collect();
    for door in doors {
        match door.basic().map(|basic| &basic.source) {
            Some(BasicSource::Own { secret } | BasicSource::Users { secret }) => {
                names.insert(secret.clone());
            }
            Some(BasicSource::Generated) | None => {}
        }
        names.extend(door.header().and_then(|header| header.own.as_ref()).map(|(secret, _)| secret.clone()));
    }
    names
}

/// The Secrets that callers with a name have their credentials in.
fn of_callers(trust: &BackendTrust) -> impl Iterator<Item = &String> {
    trust.spec.callers.iter().filter_map(|caller| Some(&caller.credentials_ref.as_ref()?.name))
}

impl References {
    /// Of a lock with these doors.
    pub fn new<'a>(inputs: &Inputs, trust: &BackendTrust, doors: impl Iterator<Item = &'a Door>) -> Self {
        let mut this = Self::default();
        for secret in of_callers(trust) {
            this.read_credential(inputs, secret);
        }
        for door in doors {
            match door.basic().map(|basic| &basic.source) {
                Some(BasicSource::Own { secret }) => this.read_credential(inputs, secret),
                Some(BasicSource::Users { secret }) if !this.users.contains_key(secret) => {
                    let read =
                        this.note(found(inputs, secret).and_then(|data| users(&place(inputs, secret), data)));
                    this.users.insert(secret.clone(), read);
                }
                _ => {}
            }
            if let Some(own @ (secret, key)) = door.header().and_then(|header| header.own.as_ref())
                && !this.values.contains_key(own)
            {
                let read = this
                    .note(found(inputs, secret).and_then(|data| value(&place(inputs, secret), data, key)));
                this.values.insert(own.clone(), read);
            }
        }
        this
    }

    fn read_credential(&mut self, inputs: &Inputs, secret: &str) {
        if !self.credentials.contains_key(secret) {
            let read = found(inputs, secret).and_then(|data| credential(&place(inputs, secret), data));
            let read = self.note(read);
            self.credentials.insert(secret.to_owned(), read);
        }
    }

    fn note<T>(&mut self, result: Result<T, Refusal>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(refusal) => {
                self.refusals.push(refusal);
                None
            }
        }
    }

    /// Of `credentialsRef`; `None`: it can't be had.
    pub fn credential(&self, secret: &str) -> Option<&OwnCredential> {
        self.credentials.get(secret)?.as_ref()
    }

    /// Of `valueRef`.
    pub fn value(&self, own: &(String, String)) -> Option<&SecretText> {
        self.values.get(own)?.as_ref()
    }

    /// Of `usersRef`.
    pub fn users(&self, secret: &str) -> Option<&[User]> {
        self.users.get(secret)?.as_deref()
    }
}

fn place(inputs: &Inputs, secret: &str) -> String {
    format!("Secret {}/{secret}", inputs.key.namespace)
}

fn refusal(reason: Reason, message: String) -> Refusal {
    Refusal::new(ConditionType::ResolvedRefs, reason, message)
}

fn invalid(message: String) -> Refusal {
    refusal(Reason::InvalidSecret, message)
}

fn found<'a>(inputs: &'a Inputs, secret: &str) -> Result<&'a SecretData, Refusal> {
    let place = place(inputs, secret);
    match inputs.references.get(secret) {
        Some(Reference::Found(data)) => Ok(data),
        Some(Reference::Unreadable(why)) => Err(refusal(
            Reason::RefNotFound,
            format!(
                "{place} can't be read ({why}), so what was valid before stays so: give Postern the right to read it"
            ),
        )),
        Some(Reference::Missing) | None => Err(refusal(
            Reason::RefNotFound,
            format!(
                "{place} doesn't exist, so nobody new gets in by it, and what was valid before stays so: create it; that is \
                 noticed within a minute"
            ),
        )),
    }
}

fn text<'a>(place: &str, data: &'a SecretData, key: &str) -> Result<&'a str, Refusal> {
    let bytes = data.data.get(key).ok_or_else(|| {
        let keys: Vec<_> = data.data.keys().map(String::as_str).collect();
        invalid(format!("{place} has no key {key} (it has: {}): add it", keys.join(", ")))
    })?;
    std::str::from_utf8(bytes)
        .map_err(|_| invalid(format!("{key} in {place} is no UTF-8 text: write it anew")))
}

fn credential(place: &str, data: &SecretData) -> Result<OwnCredential, Refusal> {
    if data.type_ != BASIC_AUTH {
        return Err(invalid(format!(
            "{place} is of type {}, not {BASIC_AUTH}: create it with that type",
            data.type_
        )));
    }
    let (username, password) = (text(place, data, "username")?, text(place, data, "password")?);
    if username.is_empty() || username.contains(':') || username.contains(char::is_control) {
        return Err(invalid(format!(
            "username in {place} is empty, or has a colon or a control character in it (a line break at its end, perhaps): \
             write it without"
        )));
    }
    if username.len() > NAME_BYTES {
        return Err(invalid(format!("username in {place} has more than {NAME_BYTES} bytes: shorten it")));
    }
    if password.is_empty() || password.contains(char::is_control) {
        return Err(invalid(format!(
            "password in {place} is empty, or has a control character in it (a line break at its end, perhaps): write it \
             without"
        )));
    }
    Ok(OwnCredential { username: username.to_owned(), password: SecretText::new(password.to_owned()) })
}

fn value(place: &str, data: &SecretData, key: &str) -> Result<SecretText, Refusal> {
    let value = text(place, data, key)?;
    if !VALUE_BYTES.contains(&value.len()) {
        return Err(invalid(format!(
            "{key} in {place} has {} bytes; a value that opens a lock has {} to {}: write a longer, random one, for example \
             of openssl rand -hex 32",
            value.len(),
            VALUE_BYTES.start(),
            VALUE_BYTES.end()
        )));
    }
    // What may stand in a header's value and, quoted, in every gateway's configuration.
    let harmless = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | '$' | '`');
    if !value.chars().all(harmless) {
        return Err(invalid(format!(
            "{key} in {place} holds a space, a line break, a quotation mark, '\\', '$' or a character beyond ASCII, which a \
             gateway's configuration can't carry: write letters, digits and -._~!#%&()*+,/:;<=>?@[]^{{|}} alone"
        )));
    }
    Ok(SecretText::new(value.to_owned()))
}

fn users(place: &str, data: &SecretData) -> Result<Vec<User>, Refusal> {
    let key = USERS_KEYS.into_iter().find(|key| data.data.contains_key(*key)).unwrap_or("auth");
    let faults = match htpasswd::parse(text(place, data, key)?) {
        Ok(users) => return Ok(users),
        Err(faults) => faults,
    };
    let shown: Vec<_> = faults.iter().take(FAULTS_SHOWN).map(ToString::to_string).collect();
    let more = match faults.len().saturating_sub(shown.len()) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Err(invalid(format!("{key} in {place}: {}{more}", shown.join("; "))))
}
