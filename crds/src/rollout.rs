//! How a lock comes into force: at once, in stages, or after a time of looking on.

#![allow(unreachable_pub, reason = "the derive KubeSchema copies each type into a function")]

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::schema;

/// What becomes of a denial.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Enforcement {
    /// It is carried out.
    #[default]
    Enforce,
    /// The call goes through, and is logged, counted and reported.
    Audit,
}

/// How a new lock comes into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.deadline) || self.type == 'Staged'")
    .message("without stages there is no deadline: write type: Staged, or leave deadline out"))]
pub struct Rollout {
    /// `Immediate`: each pod demands everything from its start on. `Staged`: the pods are injected while their HTTP ports
    /// still let everybody in, by TLS and without; then the gateways are handed their keys; and once each gateway has
    /// called with its key, everything is demanded: when nobody has called for half a minute who would be denied, since
    /// a gateway's replicas take the key up one after the other, and at the latest five minutes after those first calls.
    /// TCP ports have no such stage.
    #[serde(rename = "type")]
    pub type_: RolloutType,
    /// When everything is demanded at the latest, after the BackendTrust was created: `0s` to `168h`. Absent: `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration::<0, 168>")]
    pub deadline: Option<Duration>,
}

/// Whether a lock comes in stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutType {
    /// It doesn't.
    #[default]
    Immediate,
    /// It does.
    Staged,
}

/// How far a lock has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Stage {
    /// Pods that ran before are being replaced by pods behind the lock, which lets everybody in.
    Injecting,
    /// The gateways are handed their keys, and the lock lets everybody in.
    Permissive,
    /// The lock demands everything (or looks on, where `enforcement` says so).
    Enforcing,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Who would have been denied on one port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditStatus {
    /// Calls that would have been denied, at least: what a pod let through between the operator's last question and its
    /// own end is not counted.
    pub would_deny: i64,
    /// Since when there was none that the operator knows of.
    #[schemars(schema_with = "schema::time")]
    pub clean_since: Time,
}
