//! What a caller must show: the locks of a port, and how callers come to it.

#![allow(unreachable_pub, reason = "the derive KubeSchema copies each type into a function")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Several locks on one door.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.all) != has(self.any)")
        .message("write either all, if each of these locks must open, or any, if one is enough; not both"),
)]
pub struct Locks {
    /// Each of these must open, for one and the same caller.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::locks")]
    pub all: Vec<Lock>,
    /// One of these must open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::locks")]
    pub any: Vec<Lock>,
}

/// One lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.basic) || self.type == 'Basic'")
        .message("basic goes with a lock of type Basic: leave it out, or write type: Basic"),
    validation = Rule::new("!has(self.header) || self.type == 'Header'")
        .message("header goes with a lock of type Header: leave it out, or write type: Header"),
    validation = Rule::new("!has(self.caller) || self.type == 'Caller'")
        .message("caller goes with a lock of type Caller: leave it out, or write type: Caller"),
)]
pub struct Lock {
    /// `MutualTLS`: the client certificate of a gateway with a key (ApiRoute). `Basic`: HTTP Basic credentials.
    /// `Header`: a header with a secret value. `Caller`: callers with a name, by their own certificates and
    /// credentials. Each type at most once.
    #[serde(rename = "type")]
    pub type_: LockType,
    /// How `Basic` asks. Absent: one generated, rotated credential for each route and gateway, in `Authorization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<Basic>,
    /// How `Header` asks. Absent: one generated, rotated value for each route and gateway, in `X-Postern-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    /// How `Caller` asks. Absent: in mode `Exclusive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Caller>,
}

/// What kind of lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LockType {
    /// A gateway's client certificate.
    MutualTLS,
    /// HTTP Basic credentials.
    Basic,
    /// A header with a secret value.
    Header,
    /// Callers with a name.
    Caller,
}

/// HTTP Basic authentication (RFC 7617).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.credentialsRef) || !has(self.usersRef)")
    .message("either the gateway holds one credential or it passes its users' own through: \
              leave out credentialsRef or usersRef"))]
pub struct Basic {
    /// The header that carries the credentials, for an application that uses `Authorization` for its own purpose.
    /// Absent: `Authorization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::header_name")]
    pub header_name: Option<String>,
    /// `Strip`: the application doesn't see the credentials. `Keep`: it sees the header as it came. Absent: `Strip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::one_of::<Upstream>")]
    pub upstream: Option<Upstream>,
    /// One credential of your own in place of generated ones: a Secret of type `kubernetes.io/basic-auth`. It is
    /// handed to every gateway with a key to this lock. When you change it, the old one is accepted until the overlap
    /// is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<LocalSecretRef>,
    /// Users of your own, by hash: a Secret whose key `auth` or `.htpasswd` holds lines as `htpasswd -B` writes them
    /// (bcrypt, or SHA-crypt as `openssl passwd -5` and `-6` write it). Nothing is handed to gateways, which pass on
    /// what their callers send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users_ref: Option<LocalSecretRef>,
}

/// What the application sees of credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Upstream {
    /// Nothing.
    #[default]
    Strip,
    /// The header as it came.
    Keep,
}

/// A header with a secret value, which never reaches the application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Its name. Absent: `X-Postern-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::header_name")]
    pub name: Option<String>,
    /// A value of your own in place of generated ones, of at least 16 bytes. It is handed to every gateway with a key to
    /// this lock. When you change it, the old one is accepted until the overlap is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_ref: Option<SecretKeyRef>,
}

/// Callers with a name: each has certificates of its own, credentials of its own, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Caller {
    /// `Default`: credentials decide where there are any, else the caller's own certificate. `Force`: beside
    /// credentials a certificate is demanded, the caller's own, or the tenant's for callers who have none.
    /// `Exclusive`: as `Force`, and a handshake without a certificate is refused. Absent: `Exclusive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::one_of::<Mode>")]
    pub mode: Option<Mode>,
    /// The header that carries the credentials. Absent: `Authorization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::header_name")]
    pub header_name: Option<String>,
    /// `Strip`: the application doesn't see the credentials. `Keep`: it sees the header as it came. Absent: `Strip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::one_of::<Upstream>")]
    pub upstream: Option<Upstream>,
}

/// The security mode of a lock for callers with a name.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Mode {
    /// Credentials decide where there are any, else the caller's own certificate.
    Default,
    /// Beside credentials a certificate is demanded.
    Force,
    /// As `Force`, and a handshake without a certificate is refused.
    #[default]
    Exclusive,
}

/// How callers come to a port.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Transport {
    /// By TLS.
    #[default]
    TLS,
    /// Without, so that whoever sits on the way reads the credentials.
    Plaintext,
}

/// Whom an ApiRoute may let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Accepted {
    /// Gateways that the administrator declared.
    Gateways,
    /// Callers with a name, past the gateways.
    Callers,
}

/// A Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalSecretRef {
    /// Its name.
    #[schemars(schema_with = "schema::reference_name")]
    pub name: String,
}

/// One key of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(schema_with = "schema::reference_name")]
    pub name: String,
    /// The key in its data.
    #[schemars(schema_with = "schema::data_key")]
    pub key: String,
}
