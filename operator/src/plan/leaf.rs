//! What is to become of a leaf certificate.

use std::collections::BTreeSet;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::inputs::SubjectName;

/// What is to become of a leaf certificate.
///
/// A server leaf is kept or issued. A client leaf goes by SECURITY 15: `StageNext` publishes the next leaf's pin,
/// `PromoteNext` hands it to the gateway once every guarded pod has acknowledged the pin and no overlap is going
/// on, `DropPrevious` takes the old pin away when the overlap is over. One step at each reconcile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeafPlan {
    /// All stays; a staged leaf goes on waiting.
    Keep,
    /// A new leaf takes its place at once: there is none, or none that still works.
    Issue(LeafSpec),
    /// A new leaf is issued beside the current one.
    StageNext(LeafSpec),
    /// The staged leaf becomes the current one; the old one's pin stays until this time.
    PromoteNext {
        /// End of the overlap.
        drop_previous_after: Timestamp,
    },
    /// The previous leaf's pin is forgotten.
    DropPrevious,
}

/// A leaf to issue. The certificate has no subject; `notBefore` is ten minutes before the issue, `notAfter` is
/// the issue plus `lifetime`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafSpec {
    /// Who signs, and so what the leaf is for.
    pub authority: AuthorityKind,
    /// All subject alternative names: DNS names for a server, exactly one URI for a client.
    pub names: BTreeSet<SubjectName>,
    /// From issue to expiry.
    pub lifetime: SignedDuration,
    /// Why it is issued, for logs and Events.
    pub reason: IssueReason,
}

/// The two CAs (kept apart: what vouches for a backend never vouches for a caller).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthorityKind {
    /// For server certificates: `serverAuth`.
    Backend,
    /// For gateways and the operator: `clientAuth`.
    Client,
}

/// Why a leaf is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IssueReason {
    /// There is none, or it can't be read.
    Missing,
    /// It is not from the present CA, or its key doesn't belong to it.
    Unsound,
    /// Its names are not the wanted ones.
    Names,
    /// A third of its life or less is left.
    Expiring,
    /// `spec.rotation.requestedAt` is later than its issue.
    Requested,
    /// It is among `spec.revokedCertificates`.
    Revoked,
}

impl fmt::Display for IssueReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there was none",
            Self::Unsound => "the old one was not from the present CA",
            Self::Names => "its names changed",
            Self::Expiring => "the old one had a third of its life left",
            Self::Requested => "rotation.requestedAt asked for it",
            Self::Revoked => "revokedCertificates has the old one",
        })
    }
}
