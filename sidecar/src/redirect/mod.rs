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

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use postern_config::layout::{HOST_IPS_ENV, INBOUND_PORT, POD_IPS_ENV, TERMINATION_MESSAGE_PATH};

use foreign::ForeignRedirect;
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

/// Closes the network namespace of the calling thread, but for `udp_ports`. `env` looks up environment variables:
/// [`POD_IPS_ENV`] and [`HOST_IPS_ENV`] prove that the namespace is a pod's own.
///
/// What was done is logged as JSON on standard output; so is a redirect of another table, as a warning, since
/// it competes with this one. The operator learns of it from the termination message, and makes it a condition.
///
/// # Errors
/// [`RedirectError`]; nothing was changed, except for [`RedirectError::Differs`] and [`RedirectError::Read`].
pub fn run(udp_ports: &[u16], env: impl Fn(&str) -> Option<String>) -> Result<(), RedirectError> {
    let log = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(io::stdout)
        .finish();
    tracing::subscriber::with_default(log, || {
        tell(&guard(udp_ports, env)?, Path::new(TERMINATION_MESSAGE_PATH));
        Ok(())
    })
}

/// The redirects of others that are there beside ours.
fn guard(
    udp_ports: &[u16],
    env: impl Fn(&str) -> Option<String>,
) -> Result<Vec<ForeignRedirect>, RedirectError> {
    let own = Snapshot::read().map_err(RedirectError::Addresses)?;
    namespace::check(env(POD_IPS_ENV).as_deref(), env(HOST_IPS_ENV).as_deref(), &own)?;
    close(&ruleset::guard(udp_ports))
}

fn close(ruleset: &ruleset::Ruleset) -> Result<Vec<ForeignRedirect>, RedirectError> {
    let kernel = netlink::Kernel::open()?;
    kernel.write(&message::transaction(ruleset))?;
    let found = kernel.read()?;
    if let Some(difference) = compare::difference(ruleset, &found) {
        return Err(RedirectError::Differs { object: difference.object, how: difference.how });
    }
    tracing::info!(
        table = ruleset.table,
        inbound_port = INBOUND_PORT,
        "the network namespace is closed: inbound TCP goes to the sidecar, everything else is dropped"
    );
    Ok(foreign::redirects(&found, ruleset.table))
}

/// Warns of the redirects of others, in the log and in the termination message: a file that the kubelet has made
/// and mounted, which stays writable under a read-only root.
fn tell(redirects: &[ForeignRedirect], termination_message: &Path) {
    for redirect in redirects {
        let ForeignRedirect { family, table, chain, priority, .. } = redirect;
        if redirect.comes_first() {
            tracing::warn!(
                family,
                table,
                chain,
                priority,
                "another table redirects inbound connections, perhaps before Postern does; what it takes doesn't \
                 reach the sidecar and is dropped: exclude this pod from that redirect, then replace the pod"
            );
        } else {
            tracing::warn!(
                family,
                table,
                chain,
                priority,
                "another table redirects inbound connections too; Postern's redirect comes first, so that one no \
                 longer sees them: exclude this pod from that redirect, then replace the pod"
            );
        }
    }
    if redirects.is_empty() {
        return;
    }
    let file = OpenOptions::new().write(true).truncate(true).open(termination_message);
    let written = file.and_then(|mut file| file.write_all(foreign::last_word(redirects).as_bytes()));
    if let Err(error) = written {
        tracing::warn!(
            file = %termination_message.display(),
            %error,
            "the termination message cannot be written, so the redirects of other tables are said here alone, and \
             not in the status of the BackendTrust"
        );
    }
}

#[cfg(test)]
mod tests;
