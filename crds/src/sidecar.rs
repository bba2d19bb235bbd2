//! How the sidecar of a lock works, apart from whom it lets in.

#![allow(unreachable_pub, reason = "the derive KubeSchema copies each type into a function")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;
use crate::schema;

/// How the sidecar works. All but `resources` changes in running pods, without a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new(
        "has(self.resources) || has(self.logLevel) || has(self.accessLog) || has(self.limits) || has(self.tracing)")
    .message("this says nothing: write resources, logLevel, accessLog, limits or tracing, or leave sidecar out"))]
pub struct Sidecar {
    /// What each of Postern's two containers asks of its node, in pods that are created from now on. What is absent
    /// is as the administrator has it in the chart's values; a limit below a request is raised to it, unless both
    /// are written here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// From which severity on the sidecar tells of itself: `Error`, `Warn` or `Info`. Refusals are always logged.
    /// Absent: `Info`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::one_of::<LogLevel>")]
    pub log_level: Option<LogLevel>,
    /// Whether each request that is let in is logged too, at its end: who, by which route, what for, with what status,
    /// how many bytes, how long. Absent: `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<bool>,
    /// Bounds on what callers may use up. They hold for new connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Where spans of requests are sent. Absent: nowhere; the callers' trace context is passed on all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
}

/// A severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LogLevel {
    /// What somebody must act upon.
    Error,
    /// What may become an error.
    Warn,
    /// What happens.
    Info,
}

/// Requests and limits of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.requests) || has(self.limits)")
        .message("this says nothing: write requests or limits, or leave resources out"),
    validation = Rule::new(
        "!has(self.requests) || !has(self.limits) \
         || ((!has(self.requests.cpu) || !has(self.limits.cpu) \
              || quantity(self.requests.cpu).compareTo(quantity(self.limits.cpu)) <= 0) \
          && (!has(self.requests.memory) || !has(self.limits.memory) \
              || quantity(self.requests.memory).compareTo(quantity(self.limits.memory)) <= 0))")
        .message("a request is above its limit, so no pod could be created: write a request that is at most the limit"),
)]
pub struct Resources {
    /// Reserved on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Amounts>,
    /// Not to be exceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Amounts>,
}

/// Amounts of what a node has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.cpu) || has(self.memory)")
    .message("this says nothing: write cpu or memory, or leave it out"))]
pub struct Amounts {
    /// Cores, or thousandths of one with `m`: `1`, `250m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::cpu")]
    pub cpu: Option<String>,
    /// Bytes, with `Mi` or `Gi`: `64Mi`. At least `16Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::memory")]
    pub memory: Option<String>,
}

/// Bounds on what callers may use up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new(
        "has(self.connections) || has(self.headerBytes) || has(self.headerTimeout) || has(self.idleTimeout)")
    .message("this says nothing: write connections, headerBytes, headerTimeout or idleTimeout, or leave limits out"))]
pub struct Limits {
    /// Open connections of one pod, of all callers together. Absent: `4096`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 16, max = 65_536))]
    pub connections: Option<i32>,
    /// Bytes of a request's head. Absent: `65536`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 8_192, max = 1_048_576))]
    pub header_bytes: Option<i32>,
    /// From the first byte of a request's head to its last: `1s` to `300s`. Absent: `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::seconds::<1, 300>")]
    pub header_timeout: Option<Duration>,
    /// A connection on which nothing moves for so long is closed: `10s` to `86400s`. Absent: `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::seconds::<10, 86400>")]
    pub idle_timeout: Option<Duration>,
}

/// Where spans are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tracing {
    /// A collector of OTLP over HTTP (protobuf), such as `http://collector.observability.svc:4318/v1/traces`. The
    /// sidecar sends no credentials and speaks plain HTTP; the collector sees paths, hosts and identities of callers.
    #[schemars(schema_with = "schema::collector")]
    pub endpoint: String,
    /// Of a hundred requests whose caller doesn't record a trace, so many are recorded; those of a caller that does
    /// always are. Absent: `0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub sampling_percent: Option<i32>,
}
