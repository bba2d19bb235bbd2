//! A gateway's Secret: its certificate and key for one route, and the CA that vouches for the backend.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use crate::inputs::{Authorities, KeyCredentials, PreviousPin};
use crate::plan::{KeyMaterial, KeyPlan, Plan};
use crate::render::{labels, nginx};

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

/// The credential's user name, where a lock asks for one.
pub const USERNAME_KEY: &str = "username";
/// Its password.
pub const PASSWORD_KEY: &str = "password";
/// Name of the secret header, where a lock asks for one.
pub const HEADER_NAME_KEY: &str = "header-name";
/// Its value.
pub const HEADER_VALUE_KEY: &str = "header-value";
/// Credentials with those before and after them, as JSON. Not for use.
pub const CREDENTIALS_KEY: &str = "credentials.json";

/// Annotation: SHA-256 of the public key before the current one, lower-case hex.
const PREVIOUS_PIN: &str = "postern.dev/previous-key-sha256";
/// Annotation: until when that key is accepted, RFC 3339.
const PREVIOUS_UNTIL: &str = "postern.dev/previous-key-until";

/// Renders a key's Secret. `files`: configuration that holds a secret value.
pub fn render(
    authorities: &Authorities,
    plan: &Plan,
    key: &KeyPlan,
    material: &KeyMaterial,
    files: &BTreeMap<String, String>,
) -> Secret {
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
    data.extend(files.iter().map(|(name, text)| (name.clone(), bytes(text))));
    let current = material.credentials.current.as_ref();
    if let Some(basic) = current.and_then(|current| current.basic.as_ref()) {
        data.insert(USERNAME_KEY.to_owned(), bytes(&basic.username));
        data.insert(PASSWORD_KEY.to_owned(), bytes(basic.password.expose()));
    }
    if let Some(header) = current.and_then(|current| current.header.as_ref()) {
        data.insert(HEADER_NAME_KEY.to_owned(), bytes(&header.name));
        data.insert(HEADER_VALUE_KEY.to_owned(), bytes(header.value.expose()));
    }
    // Plain data, which can always be written.
    if let (false, Ok(json)) = (material.credentials.is_empty(), serde_json::to_vec(&material.credentials)) {
        data.insert(CREDENTIALS_KEY.to_owned(), ByteString(json));
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

/// Reads back the credentials. Unreadable: there are none, and new ones are made.
pub fn credentials(data: Option<&BTreeMap<String, ByteString>>) -> KeyCredentials {
    let json = data.and_then(|data| data.get(CREDENTIALS_KEY));
    json.and_then(|json| serde_json::from_slice(&json.0).ok()).unwrap_or_default()
}

/// Reads back the configuration files.
pub fn configuration(data: Option<&BTreeMap<String, ByteString>>) -> BTreeMap<String, String> {
    let files = data.into_iter().flatten().filter(|(name, _)| nginx::FILES.contains(&name.as_str()));
    files.filter_map(|(name, text)| Some((name.clone(), String::from_utf8(text.0.clone()).ok()?))).collect()
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
