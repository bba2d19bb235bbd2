//! Who may call a port, by which keys, and for what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PortRef, is_default};

/// Who may call one port, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// `<namespace>/<name>` of the `ApiRoute`, for logs and metrics.
    pub name: String,
    /// The port it leads to; it is listed in [`super::Policy::ports`].
    pub port: PortRef,
    /// Who holds its key; none means that nobody may call.
    pub callers: Vec<Caller>,
    /// Host names that may be asked for: exact, or `*.` and a suffix of at least one label. Empty: any.
    #[serde(default)]
    pub hostnames: Vec<String>,
    /// What may be asked for, any of these. Empty: everything. Without meaning for TCP.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Whether a caller may tell of the certificate of whom it calls for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub forwarded_certificate: ForwardedCertificate,
}

/// What becomes of `X-Forwarded-Client-Cert` and `Client-Cert` (RFC 9440) as the caller sends them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ForwardedCertificate {
    /// They are dropped; the caller's own certificate is written.
    #[default]
    Replace,
    /// `X-Forwarded-Client-Cert` keeps its elements and the caller's own is written after them; `Client-Cert` and
    /// `Client-Cert-Chain` stay as they came, if they are well formed.
    Append,
}

/// One holder of a route's key, and all that it may show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Caller {
    /// For logs and metrics, unique in its route: `gateway/edge`, `caller/acme`.
    pub name: String,
    /// Certificates that are its own; any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateMatch>,
    /// Credentials that are its own; any of these (two during a rotation).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<Credential>,
    /// Values for [`super::Lock::Header`]; any of these (two during a rotation).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub header_values: Vec<HeaderSecret>,
}

/// Which certificate, and who must vouch for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum CertificateMatch {
    /// By the one URI in its subject alternative name, and by its key.
    Identity {
        /// A name from [`super::Policy::authorities`].
        authority: String,
        /// Compared byte by byte.
        identity: String,
        /// SHA-256 of the `SubjectPublicKeyInfo` (DER) of each key that may be used, lower-case hex.
        /// Absent: any key that the authority has certified for this identity. Empty: none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keys: Option<Vec<String>>,
    },
    /// One certificate. An authority of the policy must vouch for it all the same.
    Fingerprint {
        /// SHA-256 of the certificate (DER), lower-case hex.
        sha256: String,
    },
    /// By its subject.
    Subject {
        /// A name from [`super::Policy::authorities`].
        authority: String,
        /// RFC 4514; attributes are compared as sequences of RDNs, types by OID, values after RFC 4514 unescaping.
        subject: String,
    },
    /// By one of its subject alternative names.
    #[serde(rename = "SAN")]
    San {
        /// A name from [`super::Policy::authorities`].
        authority: String,
        /// Which kind of name.
        kind: SanKind,
        /// DNS names and the host of an e-mail address are compared without case, all else byte by byte.
        value: String,
    },
}

/// Kinds of subject alternative names (RFC 5280 section 4.2.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SanKind {
    /// `dNSName`.
    DNS,
    /// `uniformResourceIdentifier`.
    URI,
    /// `rfc822Name`.
    Email,
}

/// A user name and what its password is checked by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credential {
    /// Unique in the policy; by it the operator is told when it was last used.
    pub id: String,
    /// The user-id (RFC 7617), without a colon.
    pub username: String,
    /// `sha256:<hex>`: SHA-256 of a password of at least 128 random bits. `$pbkdf2-sha256$i=<iterations>$<salt>$<hash>`
    /// (PHC string format, unpadded base64), `$2y$…`, `$2b$…` or `$2a$…` (bcrypt), `$5$…` or `$6$…` (SHA-crypt): of any
    /// password.
    pub verifier: String,
}

/// What a secret header's value is checked by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderSecret {
    /// Unique in the policy; by it the operator is told when it was last used.
    pub id: String,
    /// `sha256:<hex>`: SHA-256 of the value's bytes.
    pub verifier: String,
}

/// A named set of matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathMatch {
    /// How `value` is compared.
    #[serde(rename = "type")]
    pub kind: PathMatchKind,
    /// Begins with `/`.
    pub value: String,
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathMatchKind {
    /// The whole path.
    Exact,
    /// Whole segments from the start: `/a` matches `/a` and `/a/b`, not `/ab`.
    PathPrefix,
}

impl Caller {
    /// The identity that Postern's own certificates give it, if it has one.
    pub fn identity(&self) -> Option<&str> {
        self.certificates.iter().find_map(|certificate| match certificate {
            CertificateMatch::Identity { identity, .. } => Some(identity.as_str()),
            _ => None,
        })
    }

    /// Every pinned key of its identities.
    pub fn pins(&self) -> impl Iterator<Item = &String> {
        self.certificates.iter().flat_map(|certificate| match certificate {
            CertificateMatch::Identity { keys: Some(keys), .. } => keys.as_slice(),
            _ => &[],
        })
    }

    /// Pins exactly these keys for its identities.
    pub fn pin(&mut self, pins: &[String]) {
        for certificate in &mut self.certificates {
            if let CertificateMatch::Identity { keys, .. } = certificate {
                *keys = Some(pins.to_vec());
            }
        }
    }
}

impl SanKind {
    /// Whether a certificate can hold this value as a name of this kind: an `IA5String` without spaces, a URI with its
    /// scheme, an address with its host.
    pub fn can_hold(self, value: &str) -> bool {
        let is_whole = match self {
            Self::DNS => !value.is_empty(),
            Self::URI => value.contains(':'),
            Self::Email => {
                value.rsplit_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
            }
        };
        is_whole && value.bytes().all(|it| it.is_ascii_graphic())
    }
}
