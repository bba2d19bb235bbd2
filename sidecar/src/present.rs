//! What a request shows of its caller beside the connection's certificate: reads the headers that a port's locks look
//! at, and has them checked.

use std::net::IpAddr;

use crate::authorize::door::{Checks, HeaderLock, Lock, Locked};
use crate::authorize::{Code, Denial, Proof};
use crate::credentials::{Answer, BasicError, Checker, Presented};
use crate::fields::Fields;

/// What the header of each lock holds, in the order of the locks; nothing if none looks at a header. Passwords with slow
/// hashes are waited for.
pub(crate) async fn proofs(
    checker: &Checker,
    locked: &Locked,
    fields: &Fields,
    source: IpAddr,
) -> Vec<Proof> {
    if !locked.looks_at_headers() {
        return Vec::new();
    }
    let mut proofs = Vec::with_capacity(locked.locks().len());
    for lock in locked.locks() {
        proofs.push(match lock {
            Lock::MutualTls => Proof::Absent,
            Lock::Header(lock) => proof(checker, lock, fields, source).await,
        });
    }
    proofs
}

async fn proof(checker: &Checker, lock: &HeaderLock, fields: &Fields, source: IpAddr) -> Proof {
    let users = match lock.checks() {
        Checks::Users(users) => users,
        Checks::Secrets(secrets) => {
            return match fields.only_named(lock.name.as_str()) {
                Ok(None) => Proof::Absent,
                Ok(Some(value)) => fitting(secrets.check(value).to_vec()),
                Err(_) => repeated(lock),
            };
        }
    };
    let presented = match Presented::from_fields(fields, lock.name.as_str()) {
        // Another scheme is for somebody else, so nothing is shown to this lock.
        Ok(None) | Err(BasicError::OtherScheme) => return Proof::Absent,
        Ok(Some(presented)) => presented,
        Err(BasicError::Repeated) => return repeated(lock),
        Err(error) => return Proof::Unusable(Denial::new(Code::MalformedCredentials, error.to_string())),
    };
    match checker.verify(users, source, presented).await {
        Answer::Right(matched) => {
            fitting(users.indexes(matched).filter_map(|place| u32::try_from(place).ok()).collect())
        }
        Answer::Wrong => Proof::Wrong,
        Answer::Busy => {
            let reason = "too many passwords are being checked, by this source or by all";
            Proof::Unusable(Denial::new(Code::TooManyChecks, reason))
        }
    }
}

fn fitting(places: Vec<u32>) -> Proof {
    if places.is_empty() { Proof::Wrong } else { Proof::Right(places) }
}

fn repeated(lock: &HeaderLock) -> Proof {
    let reason = format!("the header {} was sent more than once", lock.name);
    Proof::Unusable(Denial::new(Code::RepeatedKey, reason))
}
