//! What a leaf is to be, and the leaf that was issued.

use std::time::Duration;

use jiff::Timestamp;
use zeroize::Zeroizing;

/// How long a leaf lives unless asked otherwise, and at least: 30 days. Shorter ones would turn an operator
/// that is down for a week into an outage.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// How far `notBefore` lies before the moment of issue, so that a peer whose clock is late accepts it.
pub const BACKDATED: Duration = Duration::from_secs(10 * 60);

/// Who the leaf speaks for; its extended key usage is this role and no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeafKind {
    /// A server known by DNS names (`serverAuth`).
    Server {
        /// Its names, without repetition; the order does not count.
        names: Vec<String>,
    },
    /// A client known by one URI, its SPIFFE id (`clientAuth`).
    Client {
        /// The one URI in its subject alternative name.
        uri: String,
    },
}

impl LeafKind {
    /// The subject alternative names, sorted, as [`crate::pki::LeafInfo`] reads them back: `DNS:…`, `URI:…`.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = match self {
            Self::Server { names } => names.iter().map(|name| format!("DNS:{name}")).collect(),
            Self::Client { uri } => vec![format!("URI:{uri}")],
        };
        names.sort();
        names.dedup();
        names
    }
}

/// A leaf as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafSpec {
    /// Who it speaks for.
    pub kind: LeafKind,
    /// From issue to `notAfter`; never beyond the end of the authority.
    pub lifetime: Duration,
}

impl LeafSpec {
    /// A server's leaf of the default lifetime.
    pub fn server(names: impl IntoIterator<Item = String>) -> Self {
        Self { kind: LeafKind::Server { names: names.into_iter().collect() }, lifetime: DEFAULT_LIFETIME }
    }

    /// A client's leaf of the default lifetime.
    pub fn client(uri: impl Into<String>) -> Self {
        Self { kind: LeafKind::Client { uri: uri.into() }, lifetime: DEFAULT_LIFETIME }
    }

    /// The same with another lifetime.
    pub fn lasting(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }
}

/// A leaf with its key.
#[derive(Clone)]
pub struct Leaf {
    /// Certificate chain, PEM, leaf first. The authority signs leaves directly, so that the chain is the leaf.
    pub cert_pem: String,
    /// Private key, PKCS#8 PEM; wiped when dropped.
    pub key_pem: Zeroizing<String>,
    /// SHA-256 of the `SubjectPublicKeyInfo` (DER), lower-case hex: the pin of a client's key.
    pub spki_sha256: String,
    /// SHA-256 of the certificate (DER), lower-case hex.
    pub sha256: String,
    /// Start of its validity, whole seconds.
    pub not_before: Timestamp,
    /// End of its validity, whole seconds.
    pub not_after: Timestamp,
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaf")
            .field("sha256", &self.sha256)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}
