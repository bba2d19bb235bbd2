//! What the sidecar enforces: the ports of the pod, and who may call which of them for what.
//!
//! Everything that is absent is refused: a port that is not listed is closed, a caller that no route names
//! is denied, a request that no rule matches is denied.

mod route;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::route::{
    Caller, CertificateMatch, Credential, ForwardedCertificate, HeaderSecret, PathMatch, PathMatchKind,
    RequestMatch, Route, Rule, SanKind,
};

/// The whole policy of one lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Who may vouch for the certificates of callers. Each has a root store of its own.
    pub authorities: Vec<Authority>,
    /// Ports of the pod that may be called at all, by container port.
    pub ports: Vec<Port>,
    /// Who may call: one entry per `ApiRoute`.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Certificates that all callers of a [`Lock::Caller`] share; never enough without credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenant: Vec<CertificateMatch>,
    /// SHA-256 of certificates (DER) that are refused although an authority vouches for them, lower-case hex.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
}

/// Who vouches for client certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authority {
    /// Its name, unique in the policy; certificates are bound to it.
    pub name: String,
    /// What it is. Only [`AuthorityKind::Postern`] is believed for `spiffe://` names, and at most one is of that kind.
    #[serde(rename = "type", default)]
    pub kind: AuthorityKind,
    /// Its root certificates, PEM, at least one; none for [`AuthorityKind::Pin`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub roots: String,
    /// For [`AuthorityKind::Pin`]: SHA-256 of each certificate (DER) that is trusted by itself, lower-case hex.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<String>,
    /// It vouches for the admin endpoint's callers alone, and for nobody who calls the application.
    #[serde(default, skip_serializing_if = "is_false")]
    pub admin_only: bool,
}

/// What kind of authority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthorityKind {
    /// Postern's own client CA.
    Postern,
    /// Somebody else's CA certificates.
    #[default]
    Bundle,
    /// Certificates that are trusted by themselves, whoever signed them.
    Pin,
}

/// A container port, by number or by the name that the pod gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PortRef {
    /// 1–65535.
    Number(u16),
    /// A name of a container port (RFC 6335 service name), resolved by the signed pod record.
    Name(String),
}

/// What the application behind a port speaks; fixed when the policy is made, never guessed from bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// HTTP/1.1; HTTP/2 callers are translated.
    HTTP,
    /// HTTP/2 with prior knowledge, without TLS (RFC 9113 section 3.3); HTTP/1.1 callers are translated.
    H2C,
    /// HTTP over TLS, which the sidecar ends and begins anew: HTTP/2 if the application offers it by ALPN, else
    /// HTTP/1.1.
    HTTPS,
    /// Any byte stream.
    TCP,
    /// Datagrams. No lock can stand before them: such a port is open or closed.
    UDP,
}

impl Protocol {
    /// Whether requests are looked at one by one.
    pub const fn is_http(self) -> bool {
        matches!(self, Self::HTTP | Self::H2C | Self::HTTPS)
    }
}

/// One port and the door in front of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Port {
    /// Which container port.
    pub port: PortRef,
    /// What the application speaks there.
    pub protocol: Protocol,
    /// The door.
    pub access: Access,
    /// How callers come to a locked port.
    #[serde(default, skip_serializing_if = "is_default")]
    pub transport: Transport,
    /// Whether a denial is carried out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub enforcement: Enforcement,
}

/// How a port is guarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum Access {
    /// Behind locks.
    Locked {
        /// Which.
        locks: Locks,
    },
    /// No lock.
    Open {
        /// Why, in the words of the lock's author.
        reason: String,
        /// Empty: bytes pass as they are, to any caller. Else only GET and HEAD of exactly these canonical paths over
        /// plain HTTP/1.1 pass; everything else is refused.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        paths: Vec<String>,
    },
}

/// How callers come to a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Transport {
    /// By TLS.
    #[default]
    TLS,
    /// Without. Only for locks that need no certificate.
    Plaintext,
}

/// What becomes of a denial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Enforcement {
    /// It is carried out.
    #[default]
    Enforce,
    /// The call goes through, and the denial is logged, counted and told to the operator. TLS and plaintext are then
    /// told apart by a connection's first bytes, on HTTP ports; on a TCP port callers must still come by TLS, since a
    /// server that speaks first would be waited for in vain.
    Audit,
}

/// Several locks on one door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Locks {
    /// How many of them must open.
    pub require: Require,
    /// At least one.
    pub list: Vec<Lock>,
}

/// How many locks must open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Require {
    /// Each, and for one and the same caller of a route.
    All,
    /// One.
    Any,
}

/// What must be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Lock {
    /// A client certificate: one of [`Caller::certificates`].
    MutualTLS,
    /// HTTP Basic credentials (RFC 7617).
    Basic {
        /// The header that carries them, lower-case; `authorization` unless asked otherwise.
        header_name: String,
        /// Whether the application sees them.
        upstream: Upstream,
        /// Users who open this lock for whichever caller of a route the other locks leave. Absent: each caller has
        /// credentials of its own ([`Caller::credentials`]).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        users: Option<Vec<Credential>>,
    },
    /// A header whose value only the caller knows ([`Caller::header_values`]); it never reaches the application.
    Header {
        /// Lower-case.
        name: String,
    },
    /// Callers with a name: a certificate of their own, the tenant's, credentials, as the mode says.
    Caller {
        /// What must be presented together.
        mode: Mode,
        /// The header that carries credentials, lower-case.
        header_name: String,
        /// Whether the application sees them.
        upstream: Upstream,
    },
}

/// What the application sees of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Upstream {
    /// Nothing.
    Strip,
    /// The header as it came.
    Keep,
}

/// The security mode of a lock for callers with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Credentials decide where there are any, else the caller's own certificate.
    Default,
    /// As Default, and beside credentials a certificate is demanded: the caller's own, or the tenant's for callers who
    /// have none.
    Force,
    /// As Force, and a handshake without a certificate is refused.
    Exclusive,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's interface")]
const fn is_false(value: &bool) -> bool {
    !*value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Access {
    /// Mutual TLS alone, the lock that holds where nothing else is said.
    pub fn mutual_tls() -> Self {
        Self::Locked { locks: Locks { require: Require::All, list: vec![Lock::MutualTLS] } }
    }
}
