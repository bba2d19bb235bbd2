//! In a guarded pod: the operator's signed bundle with the server's certificate, from the lock's Secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_config::bundle::Bundle;
use postern_config::layout::{BUNDLE_KEY, BUNDLE_SIGNATURE_KEY, CERTIFICATE_KEY, PRIVATE_KEY_KEY};
use postern_config::signed::VerifyKey;
use rustls::crypto::CryptoProvider;
use zeroize::Zeroizing;

use super::sequence::{Mark, Memory};
use super::watching::{DATA_LINK, place};
use super::{LoadError, Source, read};
use crate::generation::{Generation, Origin, Parts};
use crate::identify::sha256;

/// What the sidecar's arguments and the pod record say.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// The lock's namespace.
    pub namespace: String,
    /// The lock's name.
    pub trust: String,
    /// The operator's keys.
    pub verify_keys: Vec<VerifyKey>,
    /// Container ports by name.
    pub port_names: BTreeMap<String, u16>,
}

/// The mounted Secret.
pub struct Secret {
    expected: Expectation,
    directory: PathBuf,
    memory: Memory,
    /// What was loaded last: the bundle, and the digest of the certificate's chain, which the bundle names by
    /// its leaf only.
    last: Option<(Origin, [u8; 32])>,
}

impl Secret {
    /// Mounted at `directory`; `state` is where the highest sequence is kept.
    pub fn new(expected: Expectation, directory: &Path, state: &Path) -> Self {
        Self { expected, directory: directory.to_owned(), memory: Memory::new(state), last: None }
    }

    /// Whether a bundle may follow what was loaded before.
    fn check_sequence(&self, bundle: &Bundle, hash: &str) -> Result<(), LoadError> {
        let Some(highest) = self.memory.recall()? else { return Ok(()) };
        if bundle.sequence > highest.sequence || highest.hash == hash {
            return Ok(());
        }
        Err(if bundle.sequence == highest.sequence {
            LoadError::Ambiguous(bundle.sequence)
        } else {
            LoadError::Older { found: bundle.sequence, highest: highest.sequence }
        })
    }

    fn remember(&self, origin: &Origin) -> Result<(), LoadError> {
        let sequence = origin.sequence.unwrap_or(0);
        if self.memory.recall()?.is_none_or(|highest| sequence > highest.sequence) {
            self.memory.keep(&Mark { sequence, hash: origin.hash.clone() })?;
        }
        Ok(())
    }
}

impl Source for Secret {
    fn load(&mut self, provider: &Arc<CryptoProvider>) -> Result<Option<Generation>, LoadError> {
        // All files of one version: the link is followed once.
        let version = std::fs::canonicalize(self.directory.join(DATA_LINK));
        let directory = version.unwrap_or_else(|_| self.directory.clone());
        let payload = read(&directory.join(BUNDLE_KEY))?;
        let signature = String::from_utf8_lossy(&read(&directory.join(BUNDLE_SIGNATURE_KEY))?).into_owned();
        let bundle = Bundle::open(&payload, &signature, &self.expected.verify_keys)?;

        let content = &bundle.content;
        if (&content.namespace, &content.trust) != (&self.expected.namespace, &self.expected.trust) {
            return Err(LoadError::OtherLock {
                found: format!("{}/{}", content.namespace, content.trust),
                expected: format!("{}/{}", self.expected.namespace, self.expected.trust),
            });
        }
        let hash = content.hash().map_err(LoadError::Hash)?;
        self.check_sequence(&bundle, &hash)?;
        let origin = Origin { hash, sequence: Some(bundle.sequence) };
        let certificate = read(&directory.join(CERTIFICATE_KEY))?;
        let current = (origin.clone(), sha256(&certificate));
        if self.last.as_ref() == Some(&current) {
            return Ok(None);
        }

        let parts = Parts {
            policy: &content.policy,
            port_names: &self.expected.port_names,
            admins: &content.admins,
            settings: &content.settings,
            certificate,
            private_key: Zeroizing::new(read(&directory.join(PRIVATE_KEY_KEY))?),
            origin,
        };
        let generation = Generation::build(provider, parts)?;
        if generation.server.sha256 != content.server_certificate {
            return Err(LoadError::OtherCertificate {
                found: generation.server.sha256,
                expected: content.server_certificate.clone(),
            });
        }
        self.remember(&current.0)?;
        self.last = Some(current);
        Ok(Some(generation))
    }

    fn files(&self) -> Vec<PathBuf> {
        [BUNDLE_KEY, BUNDLE_SIGNATURE_KEY, CERTIFICATE_KEY, PRIVATE_KEY_KEY]
            .iter()
            .map(|name| self.directory.join(name))
            .collect()
    }

    /// All of the Secret's files are replaced by its link.
    fn completes(&self, moved: &Path) -> bool {
        moved == place(&self.directory.join(DATA_LINK))
    }
}
