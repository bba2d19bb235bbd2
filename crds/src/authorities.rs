//! Who vouches for the certificates of callers.

#![allow(unreachable_pub, reason = "the derive KubeSchema copies each type into a function")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Who vouches for certificates of callers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("(self.type == 'Postern') == (self.name == 'postern')")
        .message("the authority of type Postern has the name postern, and no other has: write another name"),
    validation = Rule::new("(self.type == 'Bundle') == has(self.bundleRef)")
        .message("write bundleRef beside type: Bundle, and beside no other type"),
    validation = Rule::new("(self.type == 'Pin') == has(self.pin)")
        .message("write pin beside type: Pin, and beside no other type"),
)]
pub struct ClientAuthority {
    /// Its name, by which certificates are bound to it.
    #[schemars(schema_with = "schema::rule_name")]
    pub name: String,
    /// `Postern`: the CA that the gateways' keys are from, the only one that is believed for `spiffe://` names.
    /// `Bundle`: CA certificates of somebody else's. `Pin`: certificates that are trusted by themselves, whoever signed
    /// them.
    #[serde(rename = "type")]
    pub type_: AuthorityType,
    /// Where the CA certificates are, PEM. A change is noticed within a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_ref: Option<DataKeyRef>,
    /// Which certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
}

/// What kind of authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthorityType {
    /// Postern's own.
    Postern,
    /// Somebody else's CA certificates.
    Bundle,
    /// Single certificates.
    Pin,
}

/// Certificates that are trusted by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pin {
    /// SHA-256 of each certificate (DER): 64 hexadecimal digits, with or without colons between the bytes.
    #[schemars(schema_with = "schema::fingerprints")]
    pub sha256: Vec<String>,
}

/// One key of a `ConfigMap` or a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataKeyRef {
    /// `ConfigMap` or `Secret`.
    pub kind: DataKind,
    /// Its name.
    #[schemars(schema_with = "schema::reference_name")]
    pub name: String,
    /// The key in its data.
    #[schemars(schema_with = "schema::data_key")]
    pub key: String,
}

/// What kind of object holds the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DataKind {
    /// A `ConfigMap`.
    ConfigMap,
    /// A Secret.
    Secret,
}
