//! What lies in Postern's Secrets, as far as it is sound.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use postern_config::bundle::Bundle;
use postern_config::layout;
use postern_config::signed::VerifyKey;
use zeroize::Zeroizing;

use crate::inputs::{KeySecret, Leaf, LeafFacts, LockSecret, SealedBundle, SubjectName};
use crate::pki::{Authority, LeafInfo};
use crate::render::gateway_secret;

/// Knows whose signature and certificates are ours.
pub struct Reader {
    backends: std::sync::Arc<Authority>,
    callers: std::sync::Arc<Authority>,
    keys: Vec<VerifyKey>,
}

impl Reader {
    /// `keys`: the signing keys' public halves, the current one first.
    pub fn new(
        backends: std::sync::Arc<Authority>,
        callers: std::sync::Arc<Authority>,
        keys: Vec<VerifyKey>,
    ) -> Self {
        Self { backends, callers, keys }
    }

    /// A lock's Secret.
    pub fn lock_secret(&self, secret: &Secret) -> LockSecret {
        LockSecret {
            leaf: leaf(secret, layout::CERTIFICATE_KEY, layout::PRIVATE_KEY_KEY, &self.backends),
            bundle: self.bundle(secret),
        }
    }

    /// A gateway's Secret.
    pub fn key_secret(&self, secret: &Secret) -> KeySecret {
        KeySecret {
            current: leaf(
                secret,
                gateway_secret::CERTIFICATE_KEY,
                gateway_secret::PRIVATE_KEY_KEY,
                &self.callers,
            ),
            next: leaf(
                secret,
                gateway_secret::NEXT_CERTIFICATE_KEY,
                gateway_secret::NEXT_PRIVATE_KEY_KEY,
                &self.callers,
            ),
            previous: gateway_secret::previous(secret.metadata.annotations.as_ref()),
        }
    }

    fn bundle(&self, secret: &Secret) -> Option<SealedBundle> {
        let payload = bytes(secret, layout::BUNDLE_KEY)?.to_vec();
        let signature = text(secret, layout::BUNDLE_SIGNATURE_KEY)?;
        let bundle = Bundle::open(&payload, &signature, &self.keys).ok()?;
        let by_current_key = self
            .keys
            .first()
            .is_some_and(|key| Bundle::open(&payload, &signature, std::slice::from_ref(key)).is_ok());
        Some(SealedBundle { bundle, payload, signature, by_current_key })
    }
}

fn bytes<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    secret.data.as_ref()?.get(key).map(|value| value.0.as_slice())
}

fn text(secret: &Secret, key: &str) -> Option<String> {
    String::from_utf8(bytes(secret, key)?.to_vec()).ok()
}

/// A leaf with its key; `None` if either is missing or unreadable, or they don't belong together.
fn leaf(secret: &Secret, certificate: &str, key: &str, authority: &Authority) -> Option<Leaf> {
    let certificate_pem = text(secret, certificate)?;
    let private_key_pem = Zeroizing::new(text(secret, key)?);
    let info = LeafInfo::inspect_pair(&certificate_pem, &private_key_pem).ok()?;
    let facts = leaf_facts(&info, authority.signed(&info));
    Some(Leaf { certificate_pem, private_key_pem, facts })
}

/// What a certificate says, in the terms of `resolve`. `sound`: the authority of its kind signed it, and each
/// authority signs leaves of one kind only.
pub fn leaf_facts(info: &LeafInfo, sound: bool) -> LeafFacts {
    let names: BTreeSet<SubjectName> = info
        .names
        .iter()
        .map(|name| match (name.strip_prefix("DNS:"), name.strip_prefix("URI:")) {
            (Some(dns), _) => SubjectName::Dns(dns.to_owned()),
            (_, Some(uri)) => SubjectName::Uri(uri.to_owned()),
            // Of a kind that no leaf of ours has: it will differ from what is wanted.
            _ => SubjectName::Uri(name.clone()),
        })
        .collect();
    LeafFacts {
        certificate_sha256: info.sha256.clone(),
        spki_sha256: info.spki_sha256.clone(),
        names,
        not_before: info.not_before,
        not_after: info.not_after,
        sound,
    }
}
