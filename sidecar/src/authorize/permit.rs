//! Leave to forward, and what it rests on.

use std::sync::Arc;

use http::HeaderName;
use postern_config::policy::ForwardedCertificate;

use super::Request;
use super::denial::Denial;
use super::door::{Lock, Locked, Whose};
use super::locks::{Certificate, Proof, Shown, proof};
use super::policy::Policy;
use super::route::Route;

/// Leave to forward exactly what was asked for. Only [`authorize`](super::authorize) makes one.
#[derive(Debug)]
pub struct Permit<'a> {
    pub(super) request: Request<'a>,
    pub(super) granted: Option<Granted<'a>>,
    pub(super) would_deny: Option<Denial>,
}

/// By whom a request was found to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Granted<'a> {
    pub(super) locked: &'a Locked,
    pub(super) holder: u32,
}

/// What a permit rests on, so that it can be judged anew under another policy.
#[derive(Clone, Debug)]
pub struct Ground {
    route: Arc<Route>,
    /// By header: prints of the secrets that its value fits.
    proofs: Vec<(HeaderName, Vec<[u8; 32]>)>,
}

impl<'a> Permit<'a> {
    /// What it is a permit for.
    pub fn request(&self) -> &Request<'a> {
        &self.request
    }

    /// The route that gives it; none on an open port, nor where a denial is not carried out.
    pub fn route(&self) -> Option<&'a str> {
        self.holder().map(|holder| &*holder.route.name)
    }

    /// The caller of that route.
    pub fn caller(&self) -> Option<&'a str> {
        self.holder().map(|holder| &*holder.name)
    }

    /// Tells one caller from every other, where a certificate alone does not. No connection to the application is shared
    /// between two of them.
    pub fn principal(&self) -> Option<Vec<u8>> {
        let granted = self.granted.filter(|granted| granted.locked.looks_at_headers())?;
        let holder = self.holder()?;
        let mut all = Vec::with_capacity(128);
        // Each with its length, so that no two callers are one; prints are all as long.
        for name in [&*holder.route.name, &*holder.name] {
            all.extend_from_slice(&name.len().to_be_bytes());
            all.extend_from_slice(name.as_bytes());
        }
        for secret in self.fitting(granted) {
            all.extend_from_slice(&secret.print);
        }
        Some(all)
    }

    /// Whether the caller may tell of the certificate of whom it calls for.
    pub fn forwarded_certificate(&self) -> ForwardedCertificate {
        self.holder().map(|holder| holder.route.forwarded).unwrap_or_default()
    }

    /// The denial that was not carried out.
    pub fn would_deny(&self) -> Option<&Denial> {
        self.would_deny.as_ref()
    }

    fn holder(&self) -> Option<&'a super::door::Holder> {
        self.granted.and_then(|granted| granted.locked.holder(granted.holder))
    }

    /// Numbers of what was used, in the table of last uses.
    pub fn uses(&self) -> impl Iterator<Item = u32> {
        let keys = self.holder().zip(self.request.shown.certificate).into_iter().flat_map(
            |(holder, certificate)| {
                holder.keys.iter().filter(move |(key, _)| key == certificate.key).map(|(_, number)| *number)
            },
        );
        let secrets = self.granted.into_iter().flat_map(move |granted| {
            self.fitting(granted).filter(move |secret| match secret.whose {
                Whose::Anybody => true,
                Whose::Holder(number) => number == granted.holder,
            })
        });
        keys.chain(secrets.map(|secret| secret.seen))
    }

    fn fitting(&self, granted: Granted<'a>) -> impl Iterator<Item = &'a super::door::Secret> {
        let shown = self.request.shown;
        granted.locked.locks().iter().enumerate().flat_map(move |(place, lock)| {
            let header = match lock {
                Lock::MutualTls => None,
                Lock::Header(header) => Some(header),
            };
            header.into_iter().flat_map(move |header| header.fitting(proof(&shown, place)))
        })
    }

    /// What it rests on; nothing on open ports, nor where a denial is not carried out.
    pub fn ground(&self) -> Option<Ground> {
        let granted = self.granted?;
        let shown = &self.request.shown;
        let proofs = granted.locked.locks().iter().enumerate().filter_map(|(place, lock)| match lock {
            Lock::MutualTls => None,
            Lock::Header(header) => {
                let prints = header.fitting(proof(shown, place)).map(|secret| secret.print);
                Some((header.name.clone(), prints.collect()))
            }
        });
        Some(Ground { route: Arc::clone(&self.holder()?.route), proofs: proofs.collect() })
    }

    /// Whether this is what it rests on.
    pub fn rests_on(&self, ground: &Ground) -> bool {
        // Nothing is compared but what costs nothing; without header locks that is all there is.
        ground.proofs.is_empty()
            && self.holder().is_some_and(|holder| Arc::ptr_eq(&holder.route, &ground.route))
    }
}

impl Ground {
    /// Whether a policy surely still allows what rested on this, for a port and the certificate that was shown.
    pub fn holds(&self, policy: &Policy, port: u16, certificate: Option<Certificate<'_>>) -> bool {
        let Some(locked) = policy.locked(port) else { return false };
        let proofs: Vec<Proof> = locked.locks().iter().map(|lock| self.proof(lock)).collect();
        let shown = Shown { certificate, proofs: &proofs, ..Shown::default() };
        let mut holders = (0..).zip(&locked.holders);
        holders.any(|(number, holder)| holder.route.covers(&self.route) && locked.opens_for(number, &shown))
    }

    /// What the header's value would be for another lock.
    fn proof(&self, lock: &Lock) -> Proof {
        let Lock::Header(header) = lock else { return Proof::Absent };
        let known = self.proofs.iter().find(|(name, _)| *name == header.name);
        let Some((_, prints)) = known else { return Proof::Absent };
        let places = (0..).zip(&header.secrets).filter(|(_, secret)| prints.contains(&secret.print));
        let places: Vec<u32> = places.map(|(place, _)| place).collect();
        match (prints.is_empty(), places.is_empty()) {
            // Whether it was there and wrong, or not there, isn't kept; it was let in either way.
            (true, _) => Proof::Absent,
            (false, true) => Proof::Wrong,
            (false, false) => Proof::Right(places),
        }
    }
}
