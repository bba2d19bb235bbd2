//! When keys and certificates are replaced.

#![allow(unreachable_pub, reason = "the derive KubeSchema copies each type into a function")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::schema;

/// Replacing what a lock and its keys were issued.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.certificateLifetime) || has(self.overlap) || has(self.requestedAt)")
    .message("this says nothing: write certificateLifetime, overlap or requestedAt, or leave rotation out"))]
pub struct Rotation {
    /// How long certificates live that are issued from now on, for the backend and for the gateways with a key to it:
    /// `720h` to `8760h`. They are replaced when a third of it is left. Absent: `720h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration::<720, 8760>")]
    pub certificate_lifetime: Option<Duration>,
    /// How long a key that was replaced is still let in, so that a gateway may load the new one late: `0s` to `240h`.
    /// With `0s` it is refused as soon as the new one is handed over, and its connections are closed; so is one whose
    /// longer overlap is not over yet. Absent: `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration::<0, 240>")]
    pub overlap: Option<Duration>,
    /// What was issued before this time, for the backend and for the gateways with a key to it, is replaced now.
    /// RFC 3339; write the present time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub requested_at: Option<Time>,
}

/// Replacing what one route's gateways were issued.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.credentialLifetime) || has(self.overlap) || has(self.requestedAt)")
    .message("this says nothing: write credentialLifetime, overlap or requestedAt, or leave rotation out"))]
pub struct KeyRotation {
    /// How long generated credentials and header values live: `24h` to `8760h`. They are replaced when a third of it is
    /// left. Absent: `720h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration::<24, 8760>")]
    pub credential_lifetime: Option<Duration>,
    /// As `rotation.overlap` of the BackendTrust, for the keys of this route alone. Absent: as the BackendTrust says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration::<0, 240>")]
    pub overlap: Option<Duration>,
    /// What this route's gateways were issued before this time, certificates and generated credentials, is replaced now.
    /// RFC 3339; write the present time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub requested_at: Option<Time>,
}
