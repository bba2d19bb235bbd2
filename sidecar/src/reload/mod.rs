//! Takes over changed files: everything is parsed, then all is swapped at once. What cannot be used leaves
//! the last good configuration in force, and says so.

pub mod guard;
pub mod sequence;
pub mod standalone;
mod watching;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use postern_config::bundle::BundleError;
use rustls::crypto::CryptoProvider;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use self::watching::{Changes, SETTLE, watch_directories};
use crate::budget::Budget;
use crate::generation::{Generation, GenerationError};
use crate::limits::Limits;
use crate::metrics::ControlMetrics;
use crate::readiness::{Pending, Readiness};
use crate::settings::Tracing;
use crate::status::Status;
use crate::worker::Handle;
use crate::{log, memory};

/// How often the files are looked at, should a notification get lost.
const POLL: Duration = Duration::from_secs(1);
/// After the last look, before what it took is given back: those who just called need not wait for it.
const REST: Duration = Duration::from_millis(250);
/// Waits between attempts, before files that don't fit together are given up: they may be half written.
const RETRIES: [Duration; 5] = [
    SETTLE,
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];

/// Where configurations come from.
pub trait Source: Send + Sync {
    /// The configuration in the files now; nothing if it is the one that was loaded last.
    ///
    /// # Errors
    /// [`LoadError`].
    fn load(&mut self, provider: &Arc<CryptoProvider>) -> Result<Option<Generation>, LoadError>;

    /// The files that it is made of.
    fn files(&self) -> Vec<PathBuf>;

    /// Whether what a rename has put at a path completes a change, so that no other file need be waited for.
    fn completes(&self, moved: &Path) -> bool;
}

/// Why files are not used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file that is missing or unreadable.
    #[error("{path} cannot be read ({error})")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Unsigned, or signed by somebody else, or unreadable.
    #[error("{0}; only the operator's own bundle is used")]
    Bundle(#[from] BundleError),
    /// The bundle of another lock.
    #[error(
        "the bundle is for {found}, this pod is guarded by {expected}; mount the Secret of the right lock"
    )]
    OtherLock {
        /// `<namespace>/<trust>` in the bundle.
        found: String,
        /// `<namespace>/<trust>` in the sidecar's arguments.
        expected: String,
    },
    /// An old bundle, put back.
    #[error(
        "the bundle's sequence {found} is older than {highest}, which was loaded before; write the newest"
    )]
    Older {
        /// In the bundle.
        found: u64,
        /// Loaded before.
        highest: u64,
    },
    /// Two bundles of one sequence.
    #[error("the bundle has sequence {0} again, with other content; the operator must count on")]
    Ambiguous(u64),
    /// The certificate of another bundle.
    #[error("the server's certificate (SHA-256 {found}) is not the one of the bundle ({expected})")]
    OtherCertificate {
        /// In tls.crt.
        found: String,
        /// In the bundle.
        expected: String,
    },
    /// A part that is not valid.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// The memory of what was loaded before.
    #[error(transparent)]
    Sequence(#[from] sequence::SequenceError),
    /// The file of `--config`.
    #[error("{path} is not a valid configuration ({error})")]
    Standalone {
        /// Which.
        path: PathBuf,
        /// Where and why.
        error: serde_yaml::Error,
    },
    /// No way in at all.
    #[error("{0} lists no listeners; give at least one")]
    NoListeners(PathBuf),
    /// A change that needs new sockets.
    #[error("addresses or listeners have changed; restart the sidecar to use them")]
    ListenersChanged,
    /// What the file of `--config` takes from other files.
    #[error("{0}")]
    Files(String),
    /// No cryptography was installed for this process.
    #[error("no crypto provider is installed; the program must install one before anything else")]
    NoProvider,
    /// The hash of the content.
    #[error("the content cannot be hashed ({0})")]
    Hash(serde_json::Error),
}

/// What a reload acts upon.
pub struct Reloader {
    /// Where configurations come from.
    pub source: Box<dyn Source>,
    /// Who enforces them.
    pub workers: Vec<Handle>,
    /// How many connections they take.
    pub budget: Arc<Budget>,
    /// Where spans are sent.
    pub tracing: watch::Sender<Option<Tracing>>,
    /// The bounds of whatever a configuration doesn't bound.
    pub limits: Limits,
    /// What is told of them.
    pub status: Arc<Status>,
    /// Shows what is wrong.
    pub readiness: Readiness,
    /// Counts.
    pub metrics: Arc<ControlMetrics>,
    /// Of all cryptography.
    pub provider: Arc<CryptoProvider>,
    /// Whether the drain has begun, in which workers end.
    pub draining: watch::Receiver<bool>,
}

/// Reads a file, whole.
fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|error| LoadError::Read { path: path.to_owned(), error })
}

impl Reloader {
    /// Loads what there is, then whatever changes, for as long as it is polled: what is revoked during the drain
    /// ends too.
    pub async fn run(mut self) {
        let mut pending = Some(self.readiness.pending("configuration", "none has been loaded yet"));
        let changes = Arc::new(Changes::default());
        let _watcher = watch_directories(&self.source.files(), &changes);
        // Without it file watching goes on.
        let mut hangup = signal(SignalKind::hangup()).ok();
        let mut seen = fingerprint(&self.source.files());
        let (mut attempt, mut are_new) = (0, true);
        loop {
            changes.closed(&*self.source).await;
            let is_rejected = match self.source.load(&self.provider) {
                Ok(Some(generation)) => {
                    if self.enforce(generation).await {
                        pending = None;
                    }
                    false
                }
                Ok(None) => {
                    self.settle(None, pending.as_ref(), true);
                    false
                }
                Err(error) => {
                    if are_new && let Some(wait) = RETRIES.get(attempt) {
                        attempt += 1;
                        tokio::time::sleep(*wait).await;
                        continue;
                    }
                    self.settle(Some(error), pending.as_ref(), are_new);
                    true
                }
            };
            // Wait for a reason to look again. What was rejected may have been so for a passing reason, such as a
            // full disk, of which the files show nothing.
            (attempt, are_new) = (0, true);
            let mut is_settled = false;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(REST), if !is_settled => {
                        is_settled = true;
                        memory::settle();
                    }
                    () = changes.some() => {
                        changes.complete(&*self.source).await;
                        seen = fingerprint(&self.source.files());
                        break;
                    }
                    () = asked(&mut hangup) => {
                        tracing::info!("SIGHUP: the configuration is looked at");
                        seen = fingerprint(&self.source.files());
                        break;
                    }
                    () = tokio::time::sleep(POLL) => {
                        let now = fingerprint(&self.source.files());
                        if now != seen {
                            seen = now;
                            break;
                        }
                        if is_rejected {
                            are_new = false;
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Sends a configuration to every worker; it counts as loaded once each of them enforces it.
    async fn enforce(&self, generation: Generation) -> bool {
        let generation = Arc::new(generation);
        let audited = generation.gate.policy.audited_ports();
        self.status.audits.watch(audited, jiff::Timestamp::now().as_second());
        let sent: Vec<_> =
            self.workers.iter().map(|worker| worker.enforce(Arc::clone(&generation))).collect();
        for enforced in sent {
            // During the drain a worker ends once it serves nobody. At any other time the process ends with it.
            if enforced.await.is_err() && !*self.draining.borrow() {
                tracing::error!("a worker has ended and enforces nothing; restart the sidecar");
                return false;
            }
        }
        self.status.in_force(&generation);
        self.budget.limit(generation.settings.limits(&self.limits));
        self.tracing.send_replace(generation.settings.tracing().cloned());
        log::set_level(generation.settings.log_level());
        self.readiness.notice("reload", None);
        let unresolved = generation.unresolved.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let notice = format!("closed, since no container of this pod names them: {unresolved}");
        self.readiness.notice("ports", (!unresolved.is_empty()).then_some(notice));
        let ambiguous: Vec<String> = generation.ambiguous.iter().map(u16::to_string).collect();
        let notice = format!(
            "closed, since they are listed by name and by number with different locks: {}",
            ambiguous.join(", ")
        );
        self.readiness.notice("ambiguous ports", (!ambiguous.is_empty()).then_some(notice));

        self.metrics.loaded_at.store(jiff::Timestamp::now().as_second(), Relaxed);
        self.metrics.sequence.store(generation.origin.sequence.unwrap_or(0), Relaxed);
        self.metrics.certificate_start.store(generation.server.not_before, Relaxed);
        self.metrics.certificate_expiry.store(generation.server.not_after, Relaxed);
        self.metrics.rejected_now.store(0, Relaxed);
        self.metrics.reloaded(true);
        tracing::info!(
            config_hash = generation.origin.hash,
            sequence = generation.origin.sequence,
            server_certificate = generation.server.sha256,
            unresolved_ports = (!unresolved.is_empty()).then_some(unresolved),
            "configuration loaded"
        );
        true
    }

    /// Says what is wrong with the newest files, or that nothing is. Files that were rejected before
    /// (`are_new` false) count again only if the reason is another.
    fn settle(&self, error: Option<LoadError>, pending: Option<&Pending>, are_new: bool) {
        let Some(error) = error else {
            self.status.rejected(None);
            self.readiness.notice("reload", None);
            return self.metrics.rejected_now.store(0, Relaxed);
        };
        let reason = error.to_string();
        let before = self.status.rejection();
        if let Some(pending) = pending {
            pending.because(&*reason);
        } else {
            self.readiness
                .notice("reload", Some(format!("the last good configuration stays in force: {reason}")));
        }
        self.metrics.rejected_now.store(1, Relaxed);
        let is_other = before.as_ref() != Some(&reason);
        if are_new || is_other {
            self.metrics.reloaded(false);
        }
        if is_other {
            tracing::error!(reason, in_force = pending.is_none(), "configuration rejected");
        }
        self.status.rejected(Some(reason));
    }
}

/// Until SIGHUP comes.
async fn asked(hangup: &mut Option<Signal>) {
    if let Some(hangup) = hangup
        && hangup.recv().await.is_some()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// Changes when a file does.
fn fingerprint(files: &[PathBuf]) -> Vec<Option<(u64, i64, i64, u64)>> {
    use std::os::unix::fs::MetadataExt as _;
    let describe = |file: &PathBuf| {
        let it = std::fs::metadata(file).ok()?;
        Some((it.ino(), it.mtime(), it.mtime_nsec(), it.size()))
    };
    files.iter().map(describe).collect()
}

#[cfg(test)]
mod tests;
