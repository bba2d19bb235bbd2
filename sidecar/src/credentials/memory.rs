//! Right answers of slow checks, remembered by a keyed hash.
//!
//! The hash is over the name, its verifiers and the password, under a key that is made when the process starts: an
//! entry tells nothing of a password, and nobody asks for it any more once the verifier has changed.

use std::collections::HashMap;

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq;

/// Answers that are remembered at most, in two halves: the half that nobody asked for is forgotten first.
const HALF: usize = 1024;

/// What stands for a name, its verifiers and a password.
pub(super) type Tag = [u8; 32];

/// Of one worker.
pub(super) struct Memory {
    key: hmac::Key,
    young: Half,
    old: Half,
}

/// By the first bytes of a tag; whoever doesn't know the key can't choose them.
type Half = HashMap<u64, (Tag, u64)>;

impl Memory {
    /// With a key of the process.
    pub(super) fn new(key: hmac::Key) -> Self {
        Self { key, young: Half::new(), old: Half::new() }
    }

    /// Of a person ([`super::Users::digest`]) or, where there is none, of a name.
    pub(super) fn tag(&self, person: Result<&[u8; 32], &[u8]>, password: &[u8]) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        match person {
            Ok(digest) => {
                context.update(&[1]);
                context.update(digest);
            }
            Err(name) => {
                context.update(&[0]);
                context.update(&(name.len() as u64).to_be_bytes());
                context.update(name);
            }
        }
        context.update(password);
        let mut tag = [0; 32];
        for (to, from) in tag.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        tag
    }

    /// What was remembered: bits of verifiers.
    pub(super) fn recall(&mut self, tag: &Tag) -> Option<u64> {
        let slot = slot(tag);
        if let Some((known, bits)) = self.young.get(&slot) {
            return bool::from(known.ct_eq(tag)).then_some(*bits);
        }
        let (known, bits) = self.old.remove(&slot)?;
        if !bool::from(known.ct_eq(tag)) {
            return None;
        }
        self.keep(*tag, bits);
        Some(bits)
    }

    /// Remembers a right answer.
    pub(super) fn keep(&mut self, tag: Tag, bits: u64) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(slot(&tag), (tag, bits));
    }
}

fn slot(tag: &Tag) -> u64 {
    tag.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}
