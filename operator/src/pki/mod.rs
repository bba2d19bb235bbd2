//! Certificates: two authorities kept apart, the leaves they sign, and when a leaf must be replaced.
//!
//! * [`authority`]: an authority's certificate and key, and issuing (RFC 5280).
//! * [`foreign`]: certificates that somebody else made; pure.
//! * [`leaf`]: what a leaf is to be, and the leaf that was issued.
//! * [`inspect`]: what an existing leaf is, and whether it is due for renewal; pure.
//! * [`store`]: the Secrets of the operator's own namespace, safe for two replicas.
//! * [`rotation`]: the operator's own certificates, kept young.
//! * [`keys`]: leaves as rustls presents them, swapped while connections run.

pub mod authority;
pub mod foreign;
pub mod inspect;
pub mod keys;
pub mod leaf;
pub mod rotation;
pub mod store;

pub use authority::{Authority, AuthorityId, AuthorityKind};
pub use inspect::{LeafInfo, RenewalReason, renewal_due};
pub use leaf::{Leaf, LeafKind, LeafSpec};

/// Why a certificate can't be issued or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The certificate is no PEM, or no X.509.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// The private key is no PKCS#8 PEM of an ECDSA P-256 key.
    #[error("the private key cannot be read; a PKCS#8 PEM of an ECDSA P-256 key is needed")]
    Key,
    /// Certificate and key are two different ones.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// A certificate that may not sign others.
    #[error("the certificate is not that of an authority (CA:TRUE with keyCertSign is needed)")]
    NotAnAuthority,
    /// The authority ends before a leaf could begin.
    #[error("the authority's certificate ended at {0}; renew the authority")]
    AuthorityExpired(jiff::Timestamp),
    /// A name that no certificate can hold.
    #[error("the name {0:?} cannot stand in a certificate")]
    Name(String),
    /// A time that X.509 cannot express.
    #[error("the time {0} cannot stand in a certificate")]
    Time(jiff::Timestamp),
    /// The system gave no randomness.
    #[error("the system has no randomness to give")]
    Randomness,
    /// `main` has not installed a crypto provider.
    #[error("no crypto provider is installed; main has to do so first")]
    NoProvider,
    /// Signing failed.
    #[error("the certificate could not be signed: {0}")]
    Signing(String),
}
