//! The pod record: read once, believed only if the operator signed it for this namespace, trust and pod.

use std::io;
use std::path::{Path, PathBuf};

use postern_config::layout::{NAME_FILE, RECORD_ANNOTATION, RECORD_FILE};
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
    /// Authentic, but made for another pod of the lock.
    #[error(
        "the pod record was made for the pod {found}, and this one is {pod}: the annotation {RECORD_ANNOTATION} was copied \
         from that pod; delete this pod, so that it is injected anew"
    )]
    OfAnotherPod {
        /// The record's name, or what it begins with.
        found: String,
        /// This pod's name.
        pod: String,
    },
}

/// Reads the pod record in `folder`, of a pod in `namespace` that the `BackendTrust` `trust` guards.
///
/// # Errors
/// [`RecordLoadError`]; there is then no record at all.
pub fn load(
    folder: &Path,
    keys: &[VerifyKey],
    namespace: &str,
    trust: &str,
) -> Result<PodRecord, RecordLoadError> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).map_err(|cause| RecordLoadError::Unreadable { path, cause })
    };
    let annotation = read(RECORD_FILE)?;
    let record = PodRecord::open(&annotation, keys)?;
    if record.namespace != namespace || record.trust != trust {
        return Err(RecordLoadError::Misplaced {
            found: format!("{}/{}", record.namespace, record.trust),
            expected: format!("{namespace}/{trust}"),
        });
    }
    // The kubelet writes it, from the pod itself.
    let pod = read(NAME_FILE)?;
    if !record.is_of(&pod) {
        return Err(RecordLoadError::OfAnotherPod { found: record.pod, pod });
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
