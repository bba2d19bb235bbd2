//! `ApiRoute`, the key: which gateway may call which backend, for what.

#![allow(unreachable_pub, reason = "the derive KubeSchema copies each type into a function")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::rotation::KeyRotation;
use crate::schema;

/// Which gateways may call which backend, for which host names and paths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "ApiRoute",
    plural = "apiroutes",
    shortname = "art",
    category = "postern",
    namespaced,
    cel,
    status = "ApiRouteStatus",
    derive = "PartialEq",
    selectable = ".spec.trustRef.name",
    doc = "The key to a backend: the gateways it names get a certificate of this route's own and a ready \
           configuration, and may then call the backend for what the route allows.",
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message("the name may have at most 63 characters, since the names of the gateways' objects are built from \
                  it: write a shorter metadata.name"),
    printcolumn(name = "Gateways", type_ = "string", json_path = ".status.summary.gateways",
        description = "The gateways that hold a key"),
    printcolumn(name = "Backend", type_ = "string", json_path = ".status.summary.backend",
        description = "The Service and its port"),
    printcolumn(name = "Trust", type_ = "string", json_path = ".spec.trustRef.name",
        description = "The lock that this key fits"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the gateways can call the backend"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.summary.secrets", priority = 1,
        description = "Where the gateways' keys are kept"),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        priority = 1, description = "Why it is Ready, or not"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.gateways) || has(self.callers)")
    .message("this key is for nobody: write gateways, callers or both"))]
pub struct ApiRouteSpec {
    /// The lock that this key fits: a BackendTrust in this namespace.
    pub trust_ref: TrustRef,
    /// The gateways that get a key. The platform's administrator declares them in the chart's values, and says
    /// there which namespaces may use them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = limits::GATEWAYS), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub gateways: Vec<GatewayRef>,
    /// Callers with a name, from the BackendTrust's `callers`, that may call past the gateways. They count only if its
    /// `accepts` has `Callers`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::caller_names")]
    pub callers: Vec<String>,
    /// The Service in front of the pods behind the lock.
    pub backend_ref: BackendRef,
    /// Host names that may be asked for: exact, or `*.` and a suffix. Absent: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::hostnames")]
    pub hostnames: Vec<String>,
    /// What may be asked for: a request must fit any of these, or the sidecar refuses it. Absent: everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new(
            "self.all(a, !has(a.name) || self.exists_one(b, has(b.name) && b.name == a.name))"
        ).message("two rules have the same name: give each its own, or leave the names out"))]
    pub rules: Vec<RouteRule>,
    /// How the gateway checks that it talks to the right backend. Absent: by the Service's own name.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "backendTLS")]
    pub backend_tls: Option<BackendTls>,
    /// Whether a gateway may tell of its own client's certificate. `Replace`: the application reads of the gateway alone
    /// in `X-Forwarded-Client-Cert` and `Client-Cert` (RFC 9440), whatever the gateway sends. `Append`: what the gateway
    /// sends stays in `X-Forwarded-Client-Cert`, with the gateway after it, and in `Client-Cert` and `Client-Cert-Chain`;
    /// the gateway's configuration then puts its client's verified certificate there, and drops what the client itself
    /// writes. Not for TCP. Absent: `Replace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_certificate: Option<ForwardedCertificate>,
    /// Replacing the gateways' keys ahead of their time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<KeyRotation>,
}

/// A BackendTrust in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustRef {
    /// Its name.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// A gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayRef {
    /// Its name in the chart's values.
    #[schemars(schema_with = "schema::gateway_name")]
    pub name: String,
}

/// A port of a Service in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendRef {
    /// The Service's name.
    #[schemars(schema_with = "schema::service_name")]
    pub name: String,
    /// The Service's port (`spec.ports[].port`), not the container's.
    #[schemars(range(min = 1, max = 65535), extend("format" = "int32"))]
    pub port: u16,
}

/// What may be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteRule {
    /// Its name in logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::rule_name")]
    pub name: Option<String>,
    /// A request must fit any of these. Absent: every request fits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub matches: Vec<RequestMatch>,
}

/// All parts that are present must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.path) || has(self.method)")
    .message("an empty match fits every request: write path, method or both; \
              to allow every request, leave out matches"))]
pub struct RequestMatch {
    /// The path of the request, without its query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// The method of the request, in upper case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::method")]
    pub method: Option<String>,
}

/// A path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathMatch {
    /// `Exact`: the whole path. `PathPrefix`: whole segments from the start, so that `/a` fits `/a` and `/a/b` but
    /// not `/ab`.
    #[serde(rename = "type")]
    pub type_: PathMatchType,
    /// The path, in its canonical form.
    #[schemars(schema_with = "schema::path")]
    pub value: String,
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathMatchType {
    /// The whole path.
    Exact,
    /// Whole segments from the start.
    PathPrefix,
}

/// How the gateway verifies the backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.serverName) || has(self.verification)")
        .message("backendTLS says nothing: write serverName or verification, or leave it out"),
    validation = Rule::new("!has(self.serverName) || !has(self.verification) || self.verification != 'SkipHostname'")
        .message("with verification SkipHostname no name is demanded: leave serverName out, or write Full")
)]
pub struct BackendTls {
    /// The DNS name that the gateway demands in the backend's certificate: a name of the Service, or one of the
    /// BackendTrust's `server.names`. Absent: `<Service>.<namespace>.svc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::server_name")]
    pub server_name: Option<String>,
    /// `Full`: the certificate must be from the CA of the backends and hold the name. `SkipHostname`: it must be from
    /// that CA, so any workload behind a lock of Postern's may stand in for this backend; the conditions say so. Absent:
    /// `Full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
}

/// What a gateway demands of the backend's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verification {
    /// Its chain and its name.
    #[default]
    Full,
    /// Its chain alone.
    SkipHostname,
}

/// What becomes of the headers by which a gateway tells of its client's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ForwardedCertificate {
    /// They are dropped.
    #[default]
    Replace,
    /// They are passed on.
    Append,
}

/// What the operator has seen and done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiRouteStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `ResolvedRefs` and `Ready`, the sum of them and of the gateways'.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Texts for the columns of `kubectl get`; not for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<RouteSummary>,
    /// The backend as the gateways see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendStatus>,
    /// What each gateway has been given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::GATEWAYS), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub gateways: Vec<GatewayStatus>,
}

/// Texts for columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteSummary {
    /// Names of the gateways, comma separated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::SUMMARY))]
    pub gateways: Option<String>,
    /// `<Service>:<port>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::SUMMARY))]
    pub backend: Option<String>,
    /// The gateways' Secrets, each `<namespace>/<name>`, comma separated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::SUMMARY))]
    pub secrets: Option<String>,
}

/// The backend as a gateway sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendStatus {
    /// The name that the gateways demand in its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::TEXT))]
    pub server_name: Option<String>,
    /// The container port that the Service leads to. Absent where a port's name means another number in each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535), extend("format" = "int32"))]
    pub container_port: Option<u16>,
}

/// What one gateway has been given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// The gateway's name.
    #[schemars(length(max = limits::TEXT))]
    pub name: String,
    /// What it is, as the administrator declared it, for example `NGINX`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::TEXT))]
    pub flavour: Option<String>,
    /// `Accepted` and `Programmed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The Secret with the gateway's certificate, its key and the CA that the backend's certificate is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// The ready configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration_ref: Option<ConfigurationRef>,
    /// Which configuration lies there: `sha256:` and hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::TEXT))]
    pub config_hash: Option<String>,
    /// The gateway's certificate for this route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<GatewayCertificate>,
    /// The credential and the header value that the gateway holds, where the lock asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsStatus>,
}

/// What a gateway holds beside its certificate. Not a word of it is secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsStatus {
    /// Grows with each rotation.
    #[schemars(range(min = 1), extend("format" = "int64"))]
    pub revision: u64,
    /// When they were made.
    #[schemars(schema_with = "schema::time")]
    pub issued_at: Time,
    /// When those before them, which are accepted until the overlap is over, were last used. Absent: none are accepted,
    /// or nobody has used them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub previous_last_seen: Option<Time>,
}

/// A Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Its namespace.
    #[schemars(length(max = limits::TEXT))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(max = limits::TEXT))]
    pub name: String,
}

/// The object that holds a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationRef {
    /// Its kind: `ConfigMap`, or `Secret` where the configuration holds a secret value.
    #[schemars(length(max = limits::TEXT))]
    pub kind: String,
    /// Its namespace.
    #[schemars(length(max = limits::TEXT))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(max = limits::TEXT))]
    pub name: String,
}

/// The gateway's certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayCertificate {
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
