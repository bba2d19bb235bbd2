//! What the sidecar enforces: the ports of the pod, and who may call which of them for what.
//!
//! Everything that is absent is refused: a port that is not listed is closed, a caller that no route names
//! is denied, a request that no rule matches is denied.

use serde::{Deserialize, Serialize};

/// The whole policy of one lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Who may sign the certificates of callers. Each has a root store of its own.
    pub authorities: Vec<Authority>,
    /// Ports of the pod that may be called at all, by container port.
    pub ports: Vec<Port>,
    /// Who may call: one entry per `ApiRoute`.
    #[serde(default)]
    pub routes: Vec<Route>,
}

/// A certificate authority whose client certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authority {
    /// Its name, unique in the policy; callers are bound to it.
    pub name: String,
    /// Its root certificates, PEM, at least one.
    pub roots: String,
}

/// A container port, by number or by the name that the pod gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PortRef {
    /// 1–65535.
    Number(u16),
    /// A name of a container port (RFC 6335 service name), resolved by the signed pod record.
    Name(String),
}

/// What the application behind a port speaks; fixed when the policy is made, never guessed from bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/1.1; HTTP/2 callers are translated.
    HTTP,
    /// Any byte stream.
    TCP,
}

/// One port and the door in front of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Port {
    /// Which container port.
    pub port: PortRef,
    /// What the application speaks there.
    pub protocol: Protocol,
    /// The door.
    pub access: Access,
}

/// How a port is guarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum Access {
    /// Mutual TLS: a handshake without an accepted client certificate fails.
    MutualTLS,
    /// No lock; bytes pass as they are.
    Open {
        /// Why, in the words of the lock's author.
        reason: String,
    },
}

/// Who may call one port, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// `<namespace>/<name>` of the `ApiRoute`, for logs and metrics.
    pub name: String,
    /// The port it leads to; it is listed in [`Policy::ports`].
    pub port: PortRef,
    /// Who holds its key; none means that nobody may call.
    pub callers: Vec<Caller>,
    /// Host names that may be asked for: exact, or `*.` and a suffix of at least one label. Empty: any.
    #[serde(default)]
    pub hostnames: Vec<String>,
    /// What may be asked for, any of these. Empty: everything. Without meaning for TCP.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// A caller's identity, bound to the authority that may vouch for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Caller {
    /// A name from [`Policy::authorities`].
    pub authority: String,
    /// The one URI in the certificate's subject alternative name, compared byte by byte.
    pub identity: String,
    /// SHA-256 of the `SubjectPublicKeyInfo` (DER) of each key that may be used, lower-case hex.
    /// Absent: any key that the authority has certified for this identity. Empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<String>>,
}

/// A named set of matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Its name, for logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Any of these; empty: everything.
    #[serde(default)]
    pub matches: Vec<RequestMatch>,
}

/// All parts that are present must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestMatch {
    /// Of the canonical path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// Of the request (RFC 9110 section 9), compared byte by byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// As `HTTPPathMatch` of the Gateway API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathMatch {
    /// How `value` is compared.
    #[serde(rename = "type")]
    pub kind: PathMatchKind,
    /// Begins with `/`.
    pub value: String,
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathMatchKind {
    /// The whole path.
    Exact,
    /// Whole segments from the start: `/a` matches `/a` and `/a/b`, not `/ab`.
    PathPrefix,
}
