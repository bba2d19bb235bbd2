//! Chains that were found good, so that a caller that comes again costs no verification of its chain.
//!
//! A set belongs to one configuration and ends with it, so nothing that another configuration refuses is ever taken
//! from it. Only what was accepted is kept, and only for as long as the clock can't change the verdict. That a caller
//! holds the key of its certificate is proven anew by each handshake.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Caller, finished, unix_time};

/// Chains that are kept. Gateways are few; beyond that a caller is verified as if it came first.
const MOST: usize = 256;

/// Callers by what they presented.
#[derive(Debug, Default)]
pub struct Verified {
    callers: Mutex<HashMap<[u8; 32], Kept>>,
}

#[derive(Debug)]
struct Kept {
    caller: Arc<Caller>,
    window: Window,
}

/// From when to when, both included, each certificate of a chain is valid.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: UnixTime,
    to: UnixTime,
}

/// SHA-256 of a chain, with every certificate's length, so that none can be taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// Of a chain as it was presented, leaf first.
    pub fn of(chain: &[CertificateDer<'_>]) -> Self {
        let mut hash = Context::new(&SHA256);
        for certificate in chain {
            hash.update(&certificate.len().to_be_bytes());
            hash.update(certificate);
        }
        Self(finished(&hash.finish()))
    }
}

impl Verified {
    /// Who presents this, if it was found good before and the clock has changed nothing since.
    pub fn find(&self, key: Key, now: UnixTime) -> Option<Arc<Caller>> {
        let callers = self.lock();
        let kept = callers.get(&key.0).filter(|kept| kept.window.holds(now))?;
        Some(Arc::clone(&kept.caller))
    }

    /// Keeps a caller that was accepted as of `now`.
    pub fn keep(&self, key: Key, caller: &Arc<Caller>, now: UnixTime) {
        // What was accepted although a part of it isn't valid may be refused when that part is.
        let Some(window) = Window::of(&caller.chain).filter(|window| window.holds(now)) else { return };
        let mut callers = self.lock();
        if callers.len() >= MOST && !callers.contains_key(&key.0) {
            callers.retain(|_, kept| kept.window.holds(now));
            // Any will do: who is put out is verified again.
            if callers.len() >= MOST
                && let Some(any) = callers.keys().next().copied()
            {
                callers.remove(&any);
            }
        }
        callers.insert(key.0, Kept { caller: Arc::clone(caller), window });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Kept>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    /// Where the windows of all certificates overlap; nothing if one of them can't be read.
    fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let mut all: Option<Self> = None;
        for certificate in chain {
            let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
            let (from, to) = (parsed.validity().not_before, parsed.validity().not_after);
            let (from, to) = (unix_time(from.timestamp()), unix_time(to.timestamp()));
            all = Some(
                all.map_or(Self { from, to }, |all| Self { from: all.from.max(from), to: all.to.min(to) }),
            );
        }
        all
    }

    fn holds(&self, now: UnixTime) -> bool {
        self.from <= now && now <= self.to
    }
}

#[cfg(test)]
mod tests;
