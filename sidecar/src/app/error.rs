//! Why a sidecar doesn't start.

use std::io;

use crate::reload::LoadError;

/// Why a sidecar doesn't start, or ends unasked.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port in use, or an address that isn't there.
    #[error("cannot listen on {place} ({error})")]
    Bind {
        /// Which.
        place: String,
        /// Why.
        error: io::Error,
    },
    /// The file of `--config`.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// The pod's addresses.
    #[error("the pod's own addresses cannot be listed ({0})")]
    Addresses(io::Error),
    /// Threads, signals, sockets.
    #[error("the system gives no {what} ({error})")]
    System {
        /// What is missing.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
    /// No cryptography was installed for this process.
    #[error("no crypto provider is installed; the program must install one before anything else")]
    NoProvider,
    /// A part without which it would guard nothing, or not as it should.
    #[error(
        "{0} has ended unasked, so the sidecar ends too and must be started anew; report what was written before"
    )]
    Ended(String),
}
