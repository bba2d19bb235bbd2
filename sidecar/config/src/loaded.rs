//! The sidecar's own word on what it enforces: `GET /v1/loaded` on the admin port.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a sidecar has loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// When each credential, header value and pinned key of the policy in force was last used with success, in seconds
    /// since the epoch; those never used are left out. Keys: [`crate::policy::Credential::id`],
    /// [`crate::policy::HeaderSecret::id`], and `key:<SHA-256 of the SubjectPublicKeyInfo, hex>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seen: BTreeMap<String, i64>,
    /// What [`crate::policy::Enforcement::Audit`] let through although a lock says no, by container port. Only ports
    /// that are audited.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub audit: BTreeMap<u16, Audited>,
}

/// What one audited port let through, since the sidecar's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audited {
    /// Calls that would have been denied.
    pub would_deny: u64,
    /// When the last of them came, in seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<i64>,
    /// Since when the port is audited without a break, in seconds since the epoch.
    pub since: i64,
    /// Some of who would have been denied, each `<address or identity>: <code>`; at most ten, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub callers: Vec<String>,
}
