//! `postern-sidecar redirect`: closes the pod's network namespace, by nftables over netlink.
//!
//! Runs once, as the first init container, with no capability but `NET_ADMIN`. One `inet` table `postern` is
//! written in one transaction, so that a second run changes nothing and leaves no gap, then read back and
//! compared. From then on new TCP from outside reaches the sidecar alone, and nothing else enters but what a
//! network needs to work.

mod compare;
mod expression;
mod foreign;
mod message;
mod namespace;
mod netlink;
mod ruleset;

use std::io;

use postern_config::layout::{HOST_IPS_ENV, INBOUND_PORT, POD_IPS_ENV};

pub use namespace::NamespaceRefusal;

use crate::own_addresses::Snapshot;

/// Why the namespace was not closed. The init container fails with it, so the pod does not start open.
#[derive(Debug, thiserror::Error)]
pub enum RedirectError {
    /// The network namespace is not, or can't be shown to be, this pod's own.
    #[error("this network namespace is left as it is: {0}")]
    Namespace(#[from] NamespaceRefusal),
    /// The namespace's addresses are unknown.
    #[error("cannot list the addresses of this network namespace: {0}")]
    Addresses(#[source] io::Error),
    /// No netlink socket to netfilter.
    #[error(
        "cannot reach nf_tables over netlink: {0}; the node's kernel needs nf_tables (CONFIG_NF_TABLES_INET)"
    )]
    Socket(#[source] io::Error),
    /// The kernel refused a part of the transaction, and so all of it.
    #[error("the kernel refused {object}: {cause}; {remedy}")]
    Refused {
        /// What was refused.
        object: String,
        /// The kernel's word.
        cause: io::Error,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The kernel accepted the datagram but not every part of it.
    #[error(
        "the kernel did not acknowledge {object}; nothing can be said about the rules, so the pod stays down"
    )]
    Unacknowledged {
        /// What went unanswered.
        object: String,
    },
    /// Reading back failed.
    #[error("cannot read back the {what} of nf_tables: {cause}")]
    Read {
        /// Tables, chains or rules.
        what: &'static str,
        /// Why.
        cause: io::Error,
    },
    /// What is in force is not what was written.
    #[error(
        "{object} {how}; does another program change the table inet postern, or does this kernel read the rule \
         otherwise?"
    )]
    Differs {
        /// What differs.
        object: String,
        /// In which way.
        how: String,
    },
}

/// Closes the network namespace of the calling thread. `env` looks up environment variables: [`POD_IPS_ENV`]
/// and [`HOST_IPS_ENV`] prove that the namespace is a pod's own.
///
/// What was done is logged as JSON on standard output; so is a redirect of another table, as a warning, since
/// it may compete with this one.
///
/// # Errors
/// [`RedirectError`]; nothing was changed, except for [`RedirectError::Differs`] and [`RedirectError::Read`].
pub fn run(env: impl Fn(&str) -> Option<String>) -> Result<(), RedirectError> {
    let log = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(io::stdout)
        .finish();
    tracing::subscriber::with_default(log, || guard(env))
}

fn guard(env: impl Fn(&str) -> Option<String>) -> Result<(), RedirectError> {
    let own = Snapshot::read().map_err(RedirectError::Addresses)?;
    namespace::check(env(POD_IPS_ENV).as_deref(), env(HOST_IPS_ENV).as_deref(), &own)?;
    close(&ruleset::guard())
}

fn close(ruleset: &ruleset::Ruleset) -> Result<(), RedirectError> {
    let kernel = netlink::Kernel::open()?;
    kernel.write(&message::transaction(ruleset))?;
    let found = kernel.read()?;
    if let Some(difference) = compare::difference(ruleset, &found) {
        return Err(RedirectError::Differs { object: difference.object, how: difference.how });
    }
    for redirect in foreign::redirects(&found, ruleset.table) {
        tracing::warn!(
            family = redirect.family,
            table = redirect.table,
            chain = redirect.chain,
            "another table redirects inbound connections too; Postern's redirect comes first, so that one no \
             longer sees them: leave one of the two out of this pod"
        );
    }
    tracing::info!(
        table = ruleset.table,
        inbound_port = INBOUND_PORT,
        "the network namespace is closed: inbound TCP goes to the sidecar, everything else is dropped"
    );
    Ok(())
}

#[cfg(test)]
mod tests;
