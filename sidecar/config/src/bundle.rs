//! The policy as it travels: with its origin, a sequence that only grows, and what belongs to it.

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::policy::Policy;
use crate::settings::Settings;
use crate::signed::{Domain, SignatureError, Signer, VerifyKey};

/// The payload that the operator signs; [`crate::layout::BUNDLE_KEY`] holds its JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bundle {
    /// Grows with every change, over all bundles of this namespace and trust, also when the trust is deleted
    /// and made anew. Milliseconds since the epoch, or one more than the last.
    pub sequence: u64,
    /// What is configured.
    pub content: Content,
}

/// All of a bundle but its sequence: two bundles with equal content need not be told apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Content {
    /// Namespace of the `BackendTrust`.
    pub namespace: String,
    /// Its name.
    pub trust: String,
    /// Its `metadata.uid`.
    #[serde(rename = "trustUID")]
    pub trust_uid: String,
    /// SHA-256 of the server certificate (the leaf, DER) that goes with this bundle, lower-case hex.
    pub server_certificate: String,
    /// SPIFFE ids that may use the admin endpoint, believed from the authority of type Postern only.
    pub admins: Vec<String>,
    /// What is enforced.
    pub policy: Policy,
    /// How the sidecar works, apart from that.
    #[serde(default, skip_serializing_if = "is_default")]
    pub settings: Settings,
}

/// A bundle that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not signed by a known key.
    #[error("the bundle's signature: {0}")]
    Signature(#[from] SignatureError),
    /// Signed, but not of the expected form; a sidecar older than the operator, perhaps.
    #[error("the bundle is signed but cannot be read ({0}); is the sidecar's image older than the operator?")]
    Malformed(#[from] serde_json::Error),
}

impl Content {
    /// `sha256:<hex>` over the canonical JSON: the `configHash` of status.
    ///
    /// # Errors
    /// Only if the content cannot be written as JSON.
    pub fn hash(&self) -> Result<String, serde_json::Error> {
        let json = serde_json::to_vec(self)?;
        Ok(format!("sha256:{}", hex::encode(digest::digest(&digest::SHA256, &json))))
    }
}

impl Bundle {
    /// Payload and base64 signature, as the lock's Secret holds them.
    ///
    /// # Errors
    /// If the bundle cannot be written or the key cannot sign.
    pub fn seal(&self, signer: &Signer) -> Result<(Vec<u8>, String), BundleError> {
        let payload = serde_json::to_vec(self)?;
        let signature = signer.sign(Domain::Bundle, &payload);
        Ok((payload, signature))
    }

    /// Checks the signature, then reads the payload; nothing is parsed before it is authentic.
    ///
    /// # Errors
    /// If none of `keys` made the signature, or the payload is not a bundle.
    pub fn open(payload: &[u8], signature: &str, keys: &[VerifyKey]) -> Result<Self, BundleError> {
        crate::signed::verify(Domain::Bundle, payload, signature, keys)?;
        Ok(serde_json::from_slice(payload)?)
    }
}

fn is_default(settings: &Settings) -> bool {
    *settings == Settings::default()
}
