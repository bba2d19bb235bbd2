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
            credentials: gateway_secret::credentials(secret.data.as_ref()),
            configuration: gateway_secret::configuration(secret.data.as_ref()),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use k8s_openapi::ByteString;
    use postern_config::bundle::Content;
    use postern_config::policy::Policy;
    use postern_config::settings::Settings;
    use postern_config::signed::Signer;

    use super::*;
    use crate::pki::{AuthorityKind, LeafSpec};

    struct World {
        reader: Reader,
        backends: Arc<Authority>,
        callers: Arc<Authority>,
        current: Signer,
        previous: Signer,
    }

    fn world() -> World {
        let signer = || Signer::from_pkcs8(&Signer::generate().unwrap()).unwrap();
        let authority = |kind| Arc::new(Authority::generate(kind, Timestamp::now()).unwrap());
        let (current, previous) = (signer(), signer());
        let (backends, callers) = (authority(AuthorityKind::Backends), authority(AuthorityKind::Callers));
        let keys = vec![current.verify_key(), previous.verify_key()];
        let reader = Reader::new(backends.clone(), callers.clone(), keys);
        World { reader, backends, callers, current, previous }
    }

    fn secret(data: &[(&str, &[u8])]) -> Secret {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec()))).collect();
        Secret { data: Some(data), ..Secret::default() }
    }

    fn bundle() -> Bundle {
        let content = Content {
            namespace: "shop".to_owned(),
            trust: "orders".to_owned(),
            trust_uid: "uid".to_owned(),
            server_certificate: String::new(),
            admins: Vec::new(),
            policy: Policy {
                authorities: Vec::new(),
                ports: Vec::new(),
                routes: Vec::new(),
                tenant: Vec::new(),
                revoked: Vec::new(),
            },
            settings: Settings::default(),
        };
        Bundle { sequence: 7, content }
    }

    fn read_bundle(world: &World, signer: &Signer, change: impl Fn(&mut Vec<u8>)) -> Option<bool> {
        let (mut payload, signature) = bundle().seal(signer).unwrap();
        change(&mut payload);
        let secret = secret(&[("bundle.json", &payload), ("bundle.sig", signature.as_bytes())]);
        world.reader.lock_secret(&secret).bundle.map(|sealed| sealed.by_current_key)
    }

    #[test]
    fn a_bundle_counts_only_with_a_signature_of_ours() {
        let world = world();
        let stranger = Signer::from_pkcs8(&Signer::generate().unwrap()).unwrap();
        assert_eq!(read_bundle(&world, &world.current, |_| ()), Some(true));
        assert_eq!(read_bundle(&world, &world.previous, |_| ()), Some(false));
        assert_eq!(read_bundle(&world, &stranger, |_| ()), None);
        assert_eq!(read_bundle(&world, &world.current, |payload| payload.push(b' ')), None);
    }

    #[test]
    fn a_leaf_is_sound_if_the_authority_of_its_kind_signed_it() {
        let world = world();
        let leaf = |authority: &Authority, spec: LeafSpec| authority.issue(&spec, Timestamp::now()).unwrap();
        let read = |leaf: &crate::pki::Leaf| {
            let secret =
                secret(&[("tls.crt", leaf.cert_pem.as_bytes()), ("tls.key", leaf.key_pem.as_bytes())]);
            let sound = |leaf: Option<Leaf>| leaf.map(|leaf| leaf.facts.sound);
            (sound(world.reader.lock_secret(&secret).leaf), sound(world.reader.key_secret(&secret).current))
        };
        let server = leaf(&world.backends, LeafSpec::server(["orders.shop.svc".to_owned()]));
        let client = leaf(&world.callers, LeafSpec::client("spiffe://example.org/route"));
        assert_eq!(read(&server), (Some(true), Some(false)));
        assert_eq!(read(&client), (Some(false), Some(true)));
        let mixed = crate::pki::Leaf { key_pem: client.key_pem.clone(), ..server };
        assert_eq!(read(&mixed), (None, None), "the key of another certificate");
    }
}
