//! What the sidecar says of itself: the configuration in force, and why a newer one isn't.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use postern_config::loaded::Loaded;
use rustls::ServerConfig;

use crate::generation::Generation;
use crate::observe::audit::Audits;
use crate::observe::seen::Uses;

/// Written by reloads, read by the admin endpoint.
#[derive(Debug)]
pub struct Status {
    loaded: Mutex<Loaded>,
    uses: Mutex<Uses>,
    /// What audited ports let through.
    pub audits: Arc<Audits>,
    /// TLS of the admin endpoint; none before the first valid configuration.
    admin: ArcSwapOption<ServerConfig>,
}

impl Default for Status {
    fn default() -> Self {
        let nothing = Loaded { version: env!("CARGO_PKG_VERSION").to_owned(), ..Loaded::default() };
        Self {
            loaded: Mutex::new(nothing),
            uses: Mutex::default(),
            audits: Arc::default(),
            admin: ArcSwapOption::empty(),
        }
    }
}

impl Status {
    /// The answer to `GET /v1/loaded`.
    pub fn loaded(&self) -> Loaded {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        loaded.seen = self.uses.lock().unwrap_or_else(PoisonError::into_inner).latest();
        loaded.audit = self.audits.counts();
        loaded
    }

    /// TLS of the admin endpoint.
    pub fn admin(&self) -> Option<Arc<ServerConfig>> {
        self.admin.load_full()
    }

    /// A configuration is in force in every worker.
    pub fn in_force(&self, generation: &Generation) {
        self.admin.store(Some(Arc::clone(&generation.admin)));
        self.uses.lock().unwrap_or_else(PoisonError::into_inner).replace(&generation.seen);
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.config_hash = Some(generation.origin.hash.clone());
        loaded.sequence = generation.origin.sequence;
        loaded.server_certificate = Some(generation.server.sha256.clone());
        loaded.rejected = None;
    }

    /// Why the newest files are not used, if they aren't.
    pub fn rejection(&self) -> Option<String> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).rejected.clone()
    }

    /// The newest files are not used, for this reason; or they are the ones in force.
    pub fn rejected(&self, reason: Option<String>) {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).rejected = reason;
    }
}
