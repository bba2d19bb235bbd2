//! The file behind `postern-sidecar --config FILE` (YAML or JSON), for use without Kubernetes.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::Policy;
use crate::settings::Settings;

/// A sidecar without an operator: it listens, and forwards to fixed addresses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Standalone {
    /// Where callers come in; at least one.
    pub listeners: Vec<Listener>,
    /// The server's certificate, presented on every listener that is not open.
    pub server: ServerFiles,
    /// Who may call what. Its ports are the listeners' `port`s, by number.
    pub policy: Policy,
    /// Parts of the policy that lie in files of their own.
    #[serde(default, skip_serializing_if = "Files::is_empty")]
    pub files: Files,
    /// How the sidecar works, apart from that.
    #[serde(default)]
    pub settings: Settings,
    /// Where `/metrics` is served; absent: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "socket-address"))]
    pub metrics_address: Option<SocketAddr>,
    /// Where `/startz` and `/readyz` are served; absent: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "socket-address"))]
    pub probe_address: Option<SocketAddr>,
}

/// One way in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    /// Address and port to listen on, such as `0.0.0.0:8443` or `[::]:8443`; port 0 lets the system choose.
    #[schemars(extend("format" = "socket-address"))]
    pub address: SocketAddr,
    /// The number by which the policy names this way in.
    pub port: u16,
    /// Address and port of the application, such as `127.0.0.1:8080`.
    #[schemars(extend("format" = "socket-address"))]
    pub upstream: SocketAddr,
}

/// Files that fill the policy, so that no secret and no certificate need stand in it. They are watched and reloaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Files {
    /// Root certificates of authorities whose `roots` are absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<RootsFile>,
    /// Users of `Basic` locks whose `users` are absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UsersFile>,
    /// Values of secret headers, beside the `headerValues` that callers have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub header_values: Vec<HeaderValueFile>,
}

/// An authority's root certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RootsFile {
    /// A `name` from `policy.authorities`.
    pub authority: String,
    /// Certificates, PEM.
    pub file: PathBuf,
}

/// The users of a port's `Basic` locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UsersFile {
    /// A `port` from `policy.ports`.
    pub port: u16,
    /// As `htpasswd -B` writes it, and `openssl passwd -6` its hashes.
    pub file: PathBuf,
}

/// A value of a caller's secret header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderValueFile {
    /// A `name` from `policy.routes`.
    pub route: String,
    /// A `name` from that route's `callers`.
    pub caller: String,
    /// The value alone, at least 16 bytes; a line end after it doesn't belong to it.
    pub file: PathBuf,
}

impl Files {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All of them.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let roots = self.roots.iter().map(|it| &it.file);
        let users = self.users.iter().map(|it| &it.file);
        roots.chain(users).chain(self.header_values.iter().map(|it| &it.file))
    }
}

/// Files that are watched and reloaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerFiles {
    /// Certificate chain, PEM, leaf first.
    pub certificate_file: PathBuf,
    /// Private key, PKCS#8 PEM.
    pub private_key_file: PathBuf,
}
