//! The file behind `postern-sidecar --config FILE` (YAML or JSON), for use without Kubernetes.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::policy::Policy;
use crate::settings::Settings;

/// A sidecar without an operator: it listens, and forwards to fixed addresses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Standalone {
    /// Where callers come in; at least one.
    pub listeners: Vec<Listener>,
    /// The server's certificate, presented on every listener that is not open.
    pub server: ServerFiles,
    /// Who may call what. Its ports are the listeners' `port`s.
    pub policy: Policy,
    /// How the sidecar works, apart from that.
    #[serde(default)]
    pub settings: Settings,
    /// Where `/metrics` is served; absent: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_address: Option<SocketAddr>,
    /// Where `/startz` and `/readyz` are served; absent: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_address: Option<SocketAddr>,
}

/// One way in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    /// Address to listen on; port 0 lets the system choose.
    pub address: SocketAddr,
    /// The number by which the policy names this way in.
    pub port: u16,
    /// The application.
    pub upstream: SocketAddr,
}

/// Files that are watched and reloaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerFiles {
    /// Certificate chain, PEM, leaf first.
    pub certificate_file: PathBuf,
    /// Private key, PKCS#8 PEM.
    pub private_key_file: PathBuf,
}
