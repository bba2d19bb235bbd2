//! What the operator has seen of a lock, and done.

#![allow(unreachable_pub, reason = "the derive KubeSchema copies each type into a function")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Protocol;
use crate::callers::CallerStatus;
use crate::limits;
use crate::rollout::{AuditStatus, Enforcement, Stage};
use crate::schema;

/// What the operator has seen and done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendTrustStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `ResolvedRefs`, `Armed`, `Programmed` and `Ready`, the sum of them; and `Bypassable` where callers
    /// with a name get in past the gateways.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Texts for the columns of `kubectl get`; not for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<TrustSummary>,
    /// How far the lock has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::one_of::<Stage>")]
    pub stage: Option<Stage>,
    /// When the stages end at the latest, once each gateway has called with its key: until then the last of its replicas
    /// may still call without. Absent: at the deadline of `spec.rollout`, or they have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub stage_ends: Option<Time>,
    /// Since when denials are carried out where the spec says `Audit`, because `promoteAfter` is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub promoted_at: Option<Time>,
    /// The configuration that the pods are meant to have loaded: `sha256:` and hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::TEXT))]
    pub config_hash: Option<String>,
    /// How many accepted keys (ApiRoute) fit this lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached_routes: Option<i32>,
    /// The selected pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsStatus>,
    /// The container ports that callers can reach, with what guards each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::STATUS_PORTS), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["port", "transport"]))]
    pub ports: Vec<PortStatus>,
    /// The certificates that the backend presents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::CERTIFICATES), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub certificates: Vec<CertificateStatus>,
    /// The callers with a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::CALLERS), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub callers: Vec<CallerStatus>,
}

/// Texts for columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrustSummary {
    /// What a caller must show: `mTLS`, `Basic`, `mTLS+Header` (all of them), `Basic|Header` (one of them); then
    /// `plaintext` and `+1 open` where that is so, and `trusted workload` where the pods' own containers may be
    /// privileged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::SUMMARY))]
    pub locks: Option<String>,
    /// The modes of its locks of type `Caller`; `-` where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::SUMMARY))]
    pub mode: Option<String>,
    /// Guarded and selected pods, for example `2/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::SUMMARY))]
    pub guarded: Option<String>,
}

/// The selected pods, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodsStatus {
    /// Pods that the selector selects and that have not ended.
    pub selected: i32,
    /// Selected pods that run behind this lock.
    pub guarded: i32,
    /// Guarded pods that have loaded `configHash`, by their own word.
    pub current: i32,
    /// Names of selected pods that run without the lock; at most 64 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::UNGUARDED), inner(length(max = limits::TEXT)), extend("x-kubernetes-list-type" = "atomic"))]
    pub unguarded: Vec<String>,
}

/// One container port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortStatus {
    /// Its number.
    #[schemars(range(min = 1, max = 65535), extend("format" = "int32"))]
    pub port: u16,
    /// Its name, where the pods give it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::TEXT))]
    pub name: Option<String>,
    /// What the application speaks there: `HTTP`, `H2C`, `HTTPS` or `TCP`; absent for an open port. `UDP` for a UDP
    /// port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::one_of::<Protocol>")]
    pub protocol: Option<Protocol>,
    /// What a caller must show, as in `summary`, or `open`.
    #[schemars(length(max = limits::TEXT))]
    pub locks: String,
    /// How callers come to it: by `TLS`, `Plaintext`, or `UDP` for a UDP port.
    #[schemars(length(max = limits::TEXT))]
    pub transport: String,
    /// What becomes of a denial at present: `Enforce` or `Audit`. Absent for an open port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::one_of::<Enforcement>")]
    pub enforcement: Option<Enforcement>,
    /// With `Audit`: who would have been denied, counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditStatus>,
    /// Services that lead to it, each `<name>:<Service port>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::SERVICES), inner(length(max = limits::TEXT)), extend("x-kubernetes-list-type" = "atomic"))]
    pub services: Vec<String>,
}

/// One certificate of the backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Which one: `postern` is the one that Postern issues.
    #[schemars(length(max = limits::TEXT))]
    pub name: String,
    /// SHA-256 of the certificate (DER), lower-case hexadecimal digits.
    #[schemars(length(max = limits::TEXT))]
    pub sha256: String,
    /// When it expires.
    #[schemars(schema_with = "schema::time")]
    pub not_after: Time,
    /// When Postern replaces it.
    #[schemars(schema_with = "schema::time")]
    pub renewal_time: Time,
}
