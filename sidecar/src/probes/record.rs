//! The pod record: read once, believed only if the operator signed it for this namespace and trust. That it was
//! signed for this very pod is not checked.

use std::io;
use std::path::{Path, PathBuf};

use postern_config::layout::RECORD_ANNOTATION;
use postern_config::policy::PortRef;
use postern_config::record::{PodRecord, RecordError};
use postern_config::signed::VerifyKey;

/// Why there is no pod record: rewritten probes fail, and ports that are given by name stay closed.
#[derive(Debug, thiserror::Error)]
pub enum RecordLoadError {
    /// No file.
    #[error(
        "cannot read the pod record {path} (annotation {RECORD_ANNOTATION}): {cause}; delete the pod, so that it is \
         injected anew"
    )]
    Unreadable {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// Forged, altered or malformed.
    #[error(
        "{0}: the annotation {RECORD_ANNOTATION} is not as the operator wrote it; delete the pod, so that it is injected anew"
    )]
    Refused(#[from] RecordError),
    /// Authentic, but made for another lock.
    #[error(
        "the pod record was made for the BackendTrust {found}, and this pod is guarded by {expected}: the annotation \
         {RECORD_ANNOTATION} was copied from a pod of that lock; delete the pod, so that it is injected anew"
    )]
    Misplaced {
        /// `<namespace>/<name>` of the record.
        found: String,
        /// `<namespace>/<name>` of this sidecar.
        expected: String,
    },
}

/// Reads the pod record at `path`, of a pod in `namespace` that the `BackendTrust` `trust` guards.
///
/// # Errors
/// [`RecordLoadError`]; there is then no record at all.
pub fn load(
    path: &Path,
    keys: &[VerifyKey],
    namespace: &str,
    trust: &str,
) -> Result<PodRecord, RecordLoadError> {
    let annotation = std::fs::read_to_string(path)
        .map_err(|cause| RecordLoadError::Unreadable { path: path.to_owned(), cause })?;
    let record = PodRecord::open(&annotation, keys)?;
    if record.namespace != namespace || record.trust != trust {
        return Err(RecordLoadError::Misplaced {
            found: format!("{}/{}", record.namespace, record.trust),
            expected: format!("{namespace}/{trust}"),
        });
    }
    Ok(record)
}

/// The number of a container port, by the record's names; without a record no name has one.
pub fn port_number(port: &PortRef, record: Option<&PodRecord>) -> Option<u16> {
    match port {
        PortRef::Number(number) => Some(*number),
        PortRef::Name(name) => record?.ports.get(name).copied(),
    }
}
