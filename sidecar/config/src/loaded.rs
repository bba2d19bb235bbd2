//! The sidecar's own word on what it enforces: `GET /v1/loaded` on the admin port.

use serde::{Deserialize, Serialize};

/// What a sidecar has loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Loaded {
    /// [`crate::bundle::Content::hash`] of the bundle in force in every worker; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
    /// Its sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// SHA-256 of the server certificate in use, lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_certificate: Option<String>,
    /// Why the newest files were refused, if they were; the last good configuration stays in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// Version of the sidecar.
    pub version: String,
}
