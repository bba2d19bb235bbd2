//! Callers with a name: users who are known by certificates, credentials, or both.

#![allow(unreachable_pub, reason = "the derive KubeSchema copies each type into a function")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::authorities::DataKeyRef;
use crate::limits;
use crate::locks::LocalSecretRef;
use crate::schema;

/// What all callers with a name share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tenant {
    /// Certificates, any of which may stand beside a caller's credentials where a lock of type `Caller` demands one;
    /// never enough without credentials.
    #[schemars(length(min = 1, max = limits::CALLER_CERTIFICATES), extend("x-kubernetes-list-type" = "atomic"))]
    pub certificates: Vec<CallerCertificate>,
}

/// A caller with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.certificates) || has(self.credentialsRef)")
    .message("nothing tells who this caller is: write certificates, credentialsRef or both"))]
pub struct NamedCaller {
    /// Its name, by which an ApiRoute lets it in.
    #[schemars(schema_with = "schema::rule_name")]
    pub name: String,
    /// Its certificates; any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = limits::CALLER_CERTIFICATES), extend("x-kubernetes-list-type" = "atomic"))]
    pub certificates: Vec<CallerCertificate>,
    /// Its user name and password: a Secret of type `kubernetes.io/basic-auth`. When you change it, the new one alone
    /// counts, within a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<LocalSecretRef>,
}

/// Which certificate. One of `clientAuthorities` must vouch for it in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new(
        "[has(self.sha256), has(self.certificateRef), has(self.subject), has(self.san)].filter(x, x).size() == 1"
    ).message("a certificate is known by one thing: write sha256, certificateRef, subject or san"),
    validation = Rule::new("(has(self.subject) || has(self.san)) == has(self.authority)")
        .message("two authorities may certify the same name: write authority beside subject or san, and nowhere else"),
)]
pub struct CallerCertificate {
    /// SHA-256 of the certificate (DER): 64 hexadecimal digits, with or without colons between the bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::fingerprint")]
    pub sha256: Option<String>,
    /// The name in `clientAuthorities` of who must vouch for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::rule_name")]
    pub authority: Option<String>,
    /// Its whole subject (RFC 4514), such as `CN=acme,O=Acme`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::subject")]
    pub subject: Option<String>,
    /// One of its subject alternative names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub san: Option<San>,
    /// The certificate itself, PEM or DER; of a chain, the first. When you change it, the new one alone counts, within
    /// a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_ref: Option<DataKeyRef>,
}

/// A subject alternative name (RFC 5280).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.type != 'URI' || (self.value.contains(':') && !self.value.startsWith('spiffe://'))")
        .message("a spiffe:// name counts only in the gateways' keys: write another URI, such as \
                  https://example.com/gateway"),
    validation = Rule::new("self.type != 'Email' || self.value.matches('[^@]@[^@]+$')")
        .message("write a whole address, such as gateway@example.com"),
)]
pub struct San {
    /// `DNS` (without case), `URI` (byte by byte) or `Email` (its host without case).
    #[serde(rename = "type")]
    pub type_: SanType,
    /// The name.
    #[schemars(schema_with = "schema::san_value")]
    pub value: String,
}

/// What kind of name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SanType {
    /// `dNSName`.
    DNS,
    /// `uniformResourceIdentifier`.
    URI,
    /// `rfc822Name`.
    Email,
}

/// What is known of a caller with a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallerStatus {
    /// Its name.
    #[schemars(length(max = limits::TEXT))]
    pub name: String,
    /// SHA-256 of its certificates, as far as the lock names single ones, lower-case hexadecimal digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::CALLER_CERTIFICATES), inner(length(max = limits::TEXT)), extend("x-kubernetes-list-type" = "atomic"))]
    pub sha256: Vec<String>,
    /// When the first of those that `certificateRef` names expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub not_after: Option<Time>,
}
