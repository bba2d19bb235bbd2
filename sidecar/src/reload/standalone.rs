//! Without Kubernetes: the file of `--config`, and the certificate files that it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_config::standalone::Standalone;
use rustls::crypto::CryptoProvider;
use zeroize::Zeroizing;

use super::{LoadError, Source, read};
use crate::generation::{Generation, Origin, Parts};
use crate::identify::sha256;

/// The file, as it was when the listeners were bound.
pub struct File {
    path: PathBuf,
    bound: Standalone,
    last: Option<Origin>,
}

impl File {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// [`LoadError`] if it cannot be read, or lists no listeners.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let bound = parse(path, &read(path)?)?;
        if bound.listeners.is_empty() {
            return Err(LoadError::NoListeners(path.to_owned()));
        }
        Ok(Self { path: path.to_owned(), bound, last: None })
    }

    /// As it was read first.
    pub fn bound(&self) -> &Standalone {
        &self.bound
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Standalone, LoadError> {
    serde_yaml::from_slice(bytes).map_err(|error| LoadError::Standalone { path: path.to_owned(), error })
}

impl Source for File {
    fn load(&mut self, provider: &Arc<CryptoProvider>) -> Result<Option<Generation>, LoadError> {
        let bytes = read(&self.path)?;
        let written = parse(&self.path, &bytes)?;
        let fixed = |it: &Standalone| (it.listeners.clone(), it.metrics_address, it.probe_address);
        if fixed(&written) != fixed(&self.bound) {
            return Err(LoadError::ListenersChanged);
        }
        let certificate = read(&written.server.certificate_file)?;
        let private_key = Zeroizing::new(read(&written.server.private_key_file)?);
        let digests = [sha256(&bytes), sha256(&certificate), sha256(&private_key)].concat();
        let origin = Origin { hash: format!("sha256:{}", hex::encode(sha256(&digests))), sequence: None };
        if self.last.as_ref() == Some(&origin) {
            return Ok(None);
        }
        let parts = Parts {
            policy: &written.policy,
            port_names: &BTreeMap::new(),
            admins: &[],
            settings: &written.settings,
            certificate,
            private_key,
            origin: origin.clone(),
        };
        let generation = Generation::build(provider, parts)?;
        self.bound = written;
        self.last = Some(origin);
        Ok(Some(generation))
    }

    fn files(&self) -> Vec<PathBuf> {
        let server = &self.bound.server;
        vec![self.path.clone(), server.certificate_file.clone(), server.private_key_file.clone()]
    }
}
