//! What injection learnt about one pod. It lies in an annotation, so it is signed: a record that was edited,
//! or made for another namespace, trust or pod, is refused. Of pods whose names the API server chooses, the record
//! holds what these names begin with, since it is made before: there the pods of one controller (one `ReplicaSet`,
//! say) could exchange theirs, if somebody made them by hand. Once a pod exists, admission keeps the annotation as it
//! is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::policy::PortRef;
use crate::signed::{Domain, SignatureError, Signer, VerifyKey};

/// The facts of one pod, as its probes and ports were before injection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodRecord {
    /// The pod's namespace.
    pub namespace: String,
    /// The `BackendTrust` it was injected for.
    pub trust: String,
    /// `metadata.name`, or `metadata.generateName` where the API server has yet to choose.
    pub pod: String,
    /// Whether it is `metadata.generateName`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub generated: bool,
    /// Unguessable part of the probe paths: 32 lower-case hex digits, another for each pod.
    pub token: String,
    /// Container port numbers by name.
    pub ports: BTreeMap<String, u16>,
    /// The probes that now go through the sidecar.
    pub probes: Vec<Probe>,
    /// With `interception: Listener`: each port that the sidecar listens on ([`crate::layout::LISTENER_PORTS`]), with
    /// the application's port on loopback that it stands for. Absent: all connections are redirected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listeners: Option<BTreeMap<u16, u16>>,
}

/// One rewritten probe or lifecycle hook: the kubelet calls [`PodRecord::probe_path`], the sidecar does `action`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// Name of the container that declares it.
    pub container: String,
    /// Which of its probes or hooks.
    pub kind: ProbeKind,
    /// What the sidecar does in the kubelet's stead.
    pub action: ProbeAction,
    /// `timeoutSeconds` of the probe (Kubernetes' default is 1). A hook has none of its own: the pod's
    /// `terminationGracePeriodSeconds` for `preStop`, [`POST_START_LIMIT`] for `postStart`.
    pub timeout_seconds: u32,
}

/// How many seconds a `postStart` hook may take. Kubernetes sets no limit; the sidecar has to.
pub const POST_START_LIMIT: u32 = 3600;

/// Bytes of `metadata.generateName` that get into a name, at most.
const GENERATED_PREFIX: usize = 58;
/// Bytes that the API server adds.
const GENERATED_SUFFIX: usize = 5;

/// Which probe or lifecycle hook of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeKind {
    /// `livenessProbe`.
    Liveness,
    /// `readinessProbe`.
    Readiness,
    /// `startupProbe`.
    Startup,
    /// `lifecycle.postStart`.
    PostStart,
    /// `lifecycle.preStop`.
    PreStop,
}

impl ProbeKind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Liveness, Self::Readiness, Self::Startup, Self::PostStart, Self::PreStop];

    /// Whether it is a lifecycle hook: the kubelet takes any HTTP answer for success then, whatever its status.
    pub const fn is_hook(self) -> bool {
        matches!(self, Self::PostStart | Self::PreStop)
    }

    /// As in the probe's path.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
            Self::Startup => "startup",
            Self::PostStart => "poststart",
            Self::PreStop => "prestop",
        }
    }
}

/// A probe's handler, with Kubernetes' meaning of each field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ProbeAction {
    /// `httpGet`: 200–399 is success; redirects to another host count as success and are not followed.
    HTTPGet {
        /// Begins with `/`; may carry a query.
        path: String,
        /// Container port.
        port: PortRef,
        /// `https` does not verify the certificate, as the kubelet does not.
        https: bool,
        /// `httpHeaders`, in order.
        headers: Vec<(String, String)>,
        /// `host`, where the probe names one; kept for restoring the original only if it is the pod itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// `tcpSocket`: a connection is success.
    TCPSocket {
        /// Container port.
        port: PortRef,
        /// `host`, as above.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// `grpc`: `grpc.health.v1.Health/Check` answers SERVING.
    GRPC {
        /// Container port.
        port: u16,
        /// `service`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
    },
}

/// A record that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not signed by a known key.
    #[error("the pod record's signature {0}")]
    Signature(#[from] SignatureError),
    /// Not of the expected form.
    #[error("the pod record cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    payload: String,
    signature: String,
}

impl PodRecord {
    /// The annotation's value.
    ///
    /// # Errors
    /// If the record cannot be written as JSON.
    pub fn seal(&self, signer: &Signer) -> Result<String, RecordError> {
        let payload = serde_json::to_string(self)?;
        let signature = signer.sign(Domain::PodRecord, payload.as_bytes());
        Ok(serde_json::to_string(&Sealed { payload, signature })?)
    }

    /// Reads an annotation's value; the payload is parsed only once it is known to be authentic.
    ///
    /// # Errors
    /// If none of `keys` signed it, or it is not a record.
    pub fn open(annotation: &str, keys: &[VerifyKey]) -> Result<Self, RecordError> {
        let sealed: Sealed = serde_json::from_str(annotation)?;
        crate::signed::verify(Domain::PodRecord, sealed.payload.as_bytes(), &sealed.signature, keys)?;
        Ok(serde_json::from_str(&sealed.payload)?)
    }

    /// Whether the record was made for the pod whose `metadata.name` is `name`.
    pub fn is_of(&self, name: &str) -> bool {
        if !self.generated {
            return !self.pod.is_empty() && self.pod == name;
        }
        // What the API server chooses: the prefix, cut to 58 bytes (all of them ASCII), and five letters and digits.
        let prefix = self.pod.get(..GENERATED_PREFIX).unwrap_or(&self.pod);
        let chosen = name.strip_prefix(prefix).filter(|_| !prefix.is_empty());
        chosen.is_some_and(|rest| {
            rest.len() == GENERATED_SUFFIX && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
    }

    /// Path on [`crate::layout::PROBE_PORT`] that stands for one probe of one container.
    pub fn probe_path(&self, container: &str, kind: ProbeKind) -> String {
        format!("/probe/{}/{container}/{}", self.token, kind.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_of_one_name_or_of_those_that_are_made_from_its_prefix() {
        let long = "a".repeat(60);
        let cut = format!("{}bcdfg", "a".repeat(58));
        for (pod, generated, name, fits) in [
            ("orders-0", false, "orders-0", true),
            ("orders-0", false, "orders-1", false),
            ("orders-0", false, "orders-0-bcdfg", false),
            ("orders-0", false, "", false),
            ("", false, "", false),
            ("orders-", true, "orders-bcdfg", true),
            ("orders-", true, "orders-", false),
            ("orders-", true, "orders-bcdf", false),
            ("orders-", true, "orders-bcdfgh", false),
            ("orders-", true, "orders-7d9c5b-bcdfg", false),
            ("orders-", true, "orders-b-dfg", false),
            ("orders-", true, "others-bcdfg", false),
            ("", true, "bcdfg", false),
            (&long, true, &cut, true),
        ] {
            let record = PodRecord {
                namespace: "shop".to_owned(),
                trust: "orders".to_owned(),
                pod: pod.to_owned(),
                generated,
                token: String::new(),
                ports: BTreeMap::new(),
                probes: Vec::new(),
                listeners: None,
            };
            assert_eq!(record.is_of(name), fits, "{pod:?} generated: {generated}, {name:?}");
        }
    }
}
