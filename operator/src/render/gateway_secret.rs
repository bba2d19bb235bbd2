//! A gateway's Secret: its certificate and key for one route, and the CA that vouches for the backend.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use crate::inputs::{Authorities, PreviousPin};
use crate::plan::{KeyMaterial, KeyPlan, Plan};
use crate::render::labels;

/// The gateway's certificate chain.
pub const CERTIFICATE_KEY: &str = "tls.crt";
/// Its private key.
pub const PRIVATE_KEY_KEY: &str = "tls.key";
/// The CA by which it verifies the backend.
pub const CA_KEY: &str = "ca.crt";
/// The certificate that waits until every sidecar knows its key. Not for use.
pub const NEXT_CERTIFICATE_KEY: &str = "next.crt";
/// Its private key.
pub const NEXT_PRIVATE_KEY_KEY: &str = "next.key";

/// Annotation: SHA-256 of the public key before the current one, lower-case hex.
const PREVIOUS_PIN: &str = "postern.dev/previous-key-sha256";
/// Annotation: until when that key is accepted, RFC 3339.
const PREVIOUS_UNTIL: &str = "postern.dev/previous-key-until";

/// Renders a key's Secret.
pub fn render(authorities: &Authorities, plan: &Plan, key: &KeyPlan, material: &KeyMaterial) -> Secret {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let mut data = BTreeMap::from([
        (CERTIFICATE_KEY.to_owned(), bytes(&material.current.certificate_pem)),
        (PRIVATE_KEY_KEY.to_owned(), bytes(&material.current.private_key_pem)),
        (CA_KEY.to_owned(), bytes(&authorities.backend_roots_pem)),
    ]);
    if let Some(next) = &material.next {
        data.insert(NEXT_CERTIFICATE_KEY.to_owned(), bytes(&next.certificate_pem));
        data.insert(NEXT_PRIVATE_KEY_KEY.to_owned(), bytes(&next.private_key_pem));
    }
    let mut metadata = labels::of_key(&plan.key, key);
    metadata.annotations = material.previous.as_ref().map(|previous| {
        BTreeMap::from([
            (PREVIOUS_PIN.to_owned(), previous.spki_sha256.clone()),
            (PREVIOUS_UNTIL.to_owned(), previous.drop_after.to_string()),
        ])
    });
    Secret { metadata, type_: Some("kubernetes.io/tls".to_owned()), data: Some(data), ..Secret::default() }
}

/// Reads back what [`render`] noted about the previous key. Unreadable: it is not accepted any longer.
pub fn previous(annotations: Option<&BTreeMap<String, String>>) -> Option<PreviousPin> {
    let annotations = annotations?;
    let pin = annotations.get(PREVIOUS_PIN)?;
    let well_formed =
        pin.len() == 64 && pin.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let drop_after = annotations.get(PREVIOUS_UNTIL)?.parse().ok()?;
    well_formed.then(|| PreviousPin { spki_sha256: pin.clone(), drop_after })
}
