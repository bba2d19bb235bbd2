//! Which callers the locks of a door open for.

use std::borrow::Cow;

use postern_config::policy::{Mode, Require, Transport};

use super::denial::{Code, Denial};
use super::door::{HeaderKind, HeaderLock, Lock, Locked, Whose};
use super::policy::KeyHash;

/// What a request shows, and its connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown<'a> {
    /// How it came.
    pub transport: Transport,
    /// The connection's certificate, if an authority vouches for it.
    pub certificate: Option<Certificate<'a>>,
    /// Why its certificate was not accepted, where that isn't the end of it.
    pub refused: Option<&'a Denial>,
    /// What the headers of the door's locks hold, by the place of the lock. What is missing is absent.
    pub proofs: &'a [Proof],
}

/// A certificate that an authority vouches for.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'a> {
    /// How its holder is called.
    pub identity: &'a str,
    /// Its key.
    pub key: &'a KeyHash,
    /// Whose it is, on this port.
    pub standing: &'a Standing,
}

/// Whose a certificate is, on one port under one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Numbers of callers that it is the own of, ascending.
    pub(super) own: Vec<u32>,
    pub(super) is_tenant: bool,
}

impl Standing {
    /// Whether it is no caller's own.
    pub fn is_nobodys(&self) -> bool {
        self.own.is_empty()
    }

    fn is_own_of(&self, holder: u32) -> bool {
        self.own.binary_search(&holder).is_ok()
    }
}

/// What one lock's header holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// It isn't there.
    #[default]
    Absent,
    /// It is there, but nothing that could be checked: see the denial.
    Unusable(Denial),
    /// It fits none of the lock's secrets.
    Wrong,
    /// It fits the secrets at these places of the lock's list.
    Right(Vec<u32>),
}

/// What a certificate is to one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    NotShown,
    Own,
    Tenants,
    Foreign,
}

/// The table of the modes. `credentials`: whether they are right, if any were shown; `has_own`: whether the caller has a
/// certificate of its own.
pub(super) const fn admits(
    mode: Mode,
    certificate: Relation,
    has_own: bool,
    credentials: Option<bool>,
) -> bool {
    match (mode, credentials, certificate) {
        (_, None | Some(true), Relation::Own) | (Mode::Default, Some(true), _) => true,
        (_, Some(true), Relation::Tenants) => !has_own,
        (_, None | Some(false), _) | (_, Some(true), Relation::NotShown | Relation::Foreign) => false,
    }
}

impl Locked {
    /// Whether the locks open for a caller.
    pub(super) fn opens_for(&self, holder: u32, shown: &Shown<'_>) -> bool {
        let mut locks = self.locks.iter().enumerate();
        match self.require {
            Require::All => locks.all(|(place, lock)| self.opens(place, lock, holder, shown)),
            Require::Any => locks.any(|(place, lock)| self.opens(place, lock, holder, shown)),
        }
    }

    fn opens(&self, place: usize, lock: &Lock, holder: u32, shown: &Shown<'_>) -> bool {
        let header = match lock {
            Lock::MutualTls => {
                return shown.certificate.is_some_and(|shown| shown.standing.is_own_of(holder));
            }
            Lock::Header(header) => header,
        };
        let proof = proof(shown, place);
        let HeaderKind::Caller(mode) = header.kind else { return header.fits(proof, holder) };
        let credentials = match proof {
            Proof::Absent => None,
            Proof::Unusable(_) | Proof::Wrong => Some(false),
            Proof::Right(_) => Some(header.fits(proof, holder)),
        };
        let has_own = self.holder(holder).is_some_and(|holder| !holder.certificates.is_empty());
        admits(mode, relation(shown, Some(holder)), has_own, credentials)
    }

    /// Why the locks opened for nobody, from the nearest miss.
    pub(super) fn miss(&self, port: u16, shown: &Shown<'_>) -> Denial {
        let all = u32::try_from(self.holders.len()).unwrap_or(u32::MAX);
        let misses = self.locks.iter().enumerate().filter_map(|(place, lock)| {
            let opens = (0..all).any(|holder| self.opens(place, lock, holder, shown));
            (!opens).then(|| missed(port, lock, proof(shown, place), shown))
        });
        let nearest = match self.require {
            // Each would have had to open: the first that didn't.
            Require::All => misses.map(|(_, denial)| denial).next(),
            Require::Any => misses.min_by_key(|(nearness, _)| *nearness).map(|(_, denial)| denial),
        };
        nearest.unwrap_or_else(|| {
            let reason = "each lock opens, but not all of them for the same caller of a route";
            Denial::new(Code::KeysOfSeveral, reason)
        })
    }
}

impl HeaderLock {
    /// Whether a proof stands for a caller.
    fn fits(&self, proof: &Proof, holder: u32) -> bool {
        self.fitting(proof).any(|secret| match secret.whose {
            Whose::Anybody => true,
            Whose::Holder(number) => number == holder,
        })
    }

    /// The secrets that a proof fits.
    pub(super) fn fitting(&self, proof: &Proof) -> impl Iterator<Item = &super::door::Secret> {
        let places = match proof {
            Proof::Right(places) => places.as_slice(),
            _ => &[],
        };
        places.iter().filter_map(|place| self.secrets.get(usize::try_from(*place).ok()?))
    }

    /// What a 401 says.
    pub fn challenge(&self) -> Option<&http::HeaderValue> {
        self.challenge.as_ref()
    }

    fn unauthorized(&self, code: Code, reason: impl Into<Cow<'static, str>>) -> Denial {
        Denial { challenge: self.challenge.clone(), ..Denial::new(code, reason) }
    }
}

/// What a lock's header holds.
pub(super) fn proof<'a>(shown: &Shown<'a>, place: usize) -> &'a Proof {
    shown.proofs.get(place).unwrap_or(&Proof::Absent)
}

/// What the certificate is to a caller, or to any of them.
fn relation(shown: &Shown<'_>, holder: Option<u32>) -> Relation {
    match shown.certificate {
        None => Relation::NotShown,
        Some(shown) if holder.map_or(!shown.standing.is_nobodys(), |it| shown.standing.is_own_of(it)) => {
            Relation::Own
        }
        Some(shown) if shown.standing.is_tenant => Relation::Tenants,
        Some(_) => Relation::Foreign,
    }
}

/// How near a lock came to opening: what was shown and is wrong tells more than what was not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    Wrong,
    Unusable,
    NoRoute,
    Absent,
    Nothing,
}

fn missed(port: u16, lock: &Lock, proof: &Proof, shown: &Shown<'_>) -> (Nearness, Denial) {
    let header = match lock {
        Lock::MutualTls => return no_certificate(port, shown),
        Lock::Header(header) => header,
    };
    let name = header.name.as_str();
    match (header.kind, proof) {
        (HeaderKind::Caller(mode), _) => caller_missed(header, mode, port, proof, shown),
        (_, Proof::Unusable(denial)) => (Nearness::Unusable, header.completed(denial)),
        (HeaderKind::Basic, Proof::Absent) => {
            let reason = format!("the header {name} holds no Basic credentials");
            (Nearness::Absent, header.unauthorized(Code::NoCredentials, reason))
        }
        (HeaderKind::Basic, _) => (Nearness::Wrong, header.wrong()),
        (HeaderKind::Secret, Proof::Absent) => {
            (Nearness::Absent, Denial::new(Code::NoSecretHeader, format!("the header {name} is missing")))
        }
        (HeaderKind::Secret, _) => {
            let reason = format!("no caller of a route has this value of the header {name}");
            (Nearness::Wrong, Denial::new(Code::WrongSecretHeader, reason))
        }
    }
}

impl HeaderLock {
    fn wrong(&self) -> Denial {
        self.unauthorized(Code::WrongCredentials, "no caller of a route has this user name and password")
    }

    /// A denial of what can't be checked, with a challenge where its status wants one.
    fn completed(&self, denial: &Denial) -> Denial {
        match denial.code.status() {
            http::StatusCode::UNAUTHORIZED => Denial { challenge: self.challenge.clone(), ..denial.clone() },
            _ => denial.clone(),
        }
    }
}

fn no_certificate(port: u16, shown: &Shown<'_>) -> (Nearness, Denial) {
    match (shown.certificate, shown.refused) {
        (Some(certificate), _) => {
            let reason = format!("no route lets {} call port {port}", certificate.identity);
            (Nearness::NoRoute, Denial::new(Code::NoRoute, reason))
        }
        (None, Some(denial)) => (Nearness::Wrong, denial.clone()),
        (None, None) => {
            (Nearness::Nothing, Denial::new(Code::NoCertificate, "no client certificate was presented"))
        }
    }
}

fn caller_missed(
    header: &HeaderLock,
    mode: Mode,
    port: u16,
    proof: &Proof,
    shown: &Shown<'_>,
) -> (Nearness, Denial) {
    let relation = relation(shown, None);
    if let (Relation::NotShown, Some(denial)) = (relation, shown.refused) {
        return (Nearness::Wrong, denial.clone());
    }
    match (mode, relation, proof) {
        (Mode::Force | Mode::Exclusive, Relation::NotShown, _) => {
            let reason = "no client certificate was presented, with or without credentials";
            (Nearness::Nothing, Denial::new(Code::CertificateRequired, reason))
        }
        (_, _, Proof::Unusable(denial)) => (Nearness::Unusable, header.completed(denial)),
        (_, _, Proof::Wrong) => (Nearness::Wrong, header.wrong()),
        (_, Relation::NotShown, Proof::Absent) => {
            let reason =
                format!("neither a client certificate nor credentials in the header {}", header.name);
            (Nearness::Absent, header.unauthorized(Code::NoCredentials, reason))
        }
        (_, Relation::Tenants, Proof::Absent) => {
            let reason = "the tenant's certificate does not suffice without credentials";
            (Nearness::Absent, header.unauthorized(Code::NoCredentials, reason))
        }
        (_, Relation::Tenants, Proof::Right(_)) => {
            let reason = "the tenant's certificate does not do for a user who has one of their own";
            (Nearness::Wrong, Denial::new(Code::NotOwnCertificate, reason))
        }
        (_, _, Proof::Absent | Proof::Right(_)) => {
            let identity = shown.certificate.map_or("nobody", |certificate| certificate.identity);
            let reason =
                format!("the certificate of {identity} is not one that this caller of port {port} has");
            (Nearness::Wrong, Denial::new(Code::NotOwnCertificate, reason))
        }
    }
}
