//! The highest sequence that was ever loaded in this pod, kept where a restart of the container finds it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What was loaded last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mark {
    /// Its sequence.
    pub sequence: u64,
    /// The hash of its content.
    pub hash: String,
}

/// A memory that can't be used; without it an old bundle could be put back.
#[derive(Debug, thiserror::Error)]
pub enum SequenceError {
    /// There is a file, but not one of ours.
    #[error("{path} does not say which bundle was loaded last ({reason}); delete the pod to begin anew")]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It can't be kept.
    #[error("{path} cannot be written ({error}); the sidecar must have its volume there")]
    Unwritable {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A file that holds one [`Mark`].
#[derive(Clone, Debug)]
pub struct Memory {
    path: PathBuf,
}

impl Memory {
    /// In a directory of the sidecar's own.
    pub fn new(directory: &Path) -> Self {
        Self { path: directory.join("sequence.json") }
    }

    /// What was loaded last; nothing in a new pod.
    ///
    /// # Errors
    /// [`SequenceError::Unreadable`].
    pub fn recall(&self) -> Result<Option<Mark>, SequenceError> {
        let unreadable = |reason: String| SequenceError::Unreadable { path: self.path.clone(), reason };
        match std::fs::read(&self.path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map(Some).map_err(|error| unreadable(error.to_string()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }

    /// Replaces it, so that it is never half written.
    ///
    /// # Errors
    /// [`SequenceError::Unwritable`].
    pub fn keep(&self, mark: &Mark) -> Result<(), SequenceError> {
        let write = || {
            let next = self.path.with_extension("next");
            std::fs::write(&next, serde_json::to_vec(mark)?)?;
            std::fs::rename(&next, &self.path)
        };
        write().map_err(|error| SequenceError::Unwritable { path: self.path.clone(), error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_recalled() {
        let directory = tempfile::tempdir().unwrap();
        let memory = Memory::new(directory.path());
        assert_eq!(memory.recall().unwrap(), None);
        for sequence in [7, u64::MAX] {
            let mark = Mark { sequence, hash: "sha256:x".to_owned() };
            memory.keep(&mark).unwrap();
            assert_eq!(Memory::new(directory.path()).recall().unwrap(), Some(mark));
        }
        std::fs::write(directory.path().join("sequence.json"), "7").unwrap();
        assert!(memory.recall().unwrap_err().to_string().contains("delete the pod"));
        let nowhere = Memory::new(&directory.path().join("missing"));
        assert!(nowhere.keep(&Mark { sequence: 1, hash: String::new() }).is_err());
    }
}
