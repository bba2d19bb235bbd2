//! `BackendTrust`, the lock: what a backend demands of a caller.

#![allow(unreachable_pub, reason = "the derive KubeSchema copies each type into a function")]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::authorities::ClientAuthority;
use crate::callers::{NamedCaller, Tenant};
use crate::duration::Duration;
use crate::limits;
use crate::locks::{Accepted, Locks, Transport};
use crate::port::PortRef;
use crate::rollout::{Enforcement, Rollout};
use crate::rotation::Rotation;
use crate::schema;
use crate::selector::PodSelector;
use crate::sidecar::Sidecar;

mod status;

pub use status::{BackendTrustStatus, CertificateStatus, PodsStatus, PortStatus, TrustSummary};

/// What the pods behind this lock demand of a caller: mutual TLS, and a key that an `ApiRoute` has handed out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "BackendTrust",
    plural = "backendtrusts",
    shortname = "bt",
    category = "postern",
    namespaced,
    cel,
    status = "BackendTrustStatus",
    derive = "PartialEq",
    doc = "The lock of a backend: its pods demand mutual TLS on every port and let in nobody but the gateways that \
           an ApiRoute names. Without an ApiRoute nobody gets in.",
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message("the name may have at most 63 characters, since the names of Postern's objects are built from it: \
                  write a shorter metadata.name"),
    printcolumn(name = "Locks", type_ = "string", json_path = ".status.summary.locks",
        description = "What a caller must show"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".status.summary.mode",
        description = "The security mode, for locks of callers with a name"),
    printcolumn(name = "Guarded", type_ = "string", json_path = ".status.summary.guarded",
        description = "Selected pods that run behind the lock, of all selected pods"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the lock holds on every selected pod"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new(
        "!has(self.transport) || self.transport != 'Plaintext' \
         || (has(self.locks) && (has(self.locks.all) ? self.locks.all.all(l, l.type in ['Basic', 'Header']) : self.locks.any.all(l, l.type in ['Basic', 'Header'])))"
    ).message("nobody can show a certificate without TLS: write transport: Plaintext only beside locks \
               of type Basic and Header"),
    validation = Rule::new(
        "!has(self.ports) || self.ports.all(p, has(p.open) \
         || (has(p.transport) ? p.transport : has(self.transport) ? self.transport : 'TLS') != 'Plaintext' \
         || (has(p.locks) ? (has(p.locks.all) ? p.locks.all.all(l, l.type in ['Basic', 'Header']) : p.locks.any.all(l, l.type in ['Basic', 'Header'])) \
             : has(self.locks) && (has(self.locks.all) ? self.locks.all.all(l, l.type in ['Basic', 'Header']) : self.locks.any.all(l, l.type in ['Basic', 'Header']))))"
    ).message("nobody can show a certificate without TLS: on a port that callers come to by Plaintext write locks \
               of type Basic and Header alone, or write transport: TLS for it"),
    validation = Rule::new(
        "!has(self.ports) || self.ports.all(p, !has(p.protocol) || p.protocol != 'TCP' \
         || (has(p.locks) ? (has(p.locks.all) ? p.locks.all.all(l, l.type == 'MutualTLS') : p.locks.any.all(l, l.type == 'MutualTLS')) \
             : !has(self.locks) || (has(self.locks.all) ? self.locks.all.all(l, l.type == 'MutualTLS') : self.locks.any.all(l, l.type == 'MutualTLS'))))"
    ).message("a TCP port carries no headers, so mutual TLS is the one lock for it: write locks: {all: [{type: MutualTLS}]} \
               for that port"),
    validation = Rule::new(
        "has(self.callers) || has(self.tenant) \
         || !((has(self.locks) && (has(self.locks.all) ? self.locks.all.exists(l, l.type == 'Caller') : self.locks.any.exists(l, l.type == 'Caller'))) \
         || (has(self.ports) && self.ports.exists(p, has(p.locks) \
             && (has(p.locks.all) ? p.locks.all.exists(l, l.type == 'Caller') : p.locks.any.exists(l, l.type == 'Caller')))))"
    ).message("a lock of type Caller needs to know whom it lets in: write callers or tenant"),
    validation = Rule::new(
        "!has(self.promoteAfter) || (has(self.enforcement) && self.enforcement == 'Audit') \
         || (has(self.ports) && self.ports.exists(p, has(p.enforcement) && p.enforcement == 'Audit'))"
    ).message("there is nothing to promote where every denial is carried out: write enforcement: Audit, \
               or leave promoteAfter out"),
)]
pub struct BackendTrustSpec {
    /// The pods behind this lock, in this namespace. It can't be changed: make a new BackendTrust for other
    /// pods.
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("podSelector can't be changed, since pods that left it would run without a lock: \
                  create another BackendTrust with the new selector, then delete this one"))]
    pub pod_selector: PodSelector,
    /// Whom an ApiRoute may let in: `Gateways`, `Callers` (callers with a name, past the gateways). Absent: `Gateways`
    /// alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::accepted")]
    pub accepts: Vec<Accepted>,
    /// What a caller must show, on every port that says nothing else. Absent: mutual TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locks: Option<Locks>,
    /// How callers come to every port that says nothing else: by `TLS`, or `Plaintext`, which locks of type `Basic` and
    /// `Header` alone allow. Absent: `TLS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::one_of::<Transport>")]
    pub transport: Option<Transport>,
    /// Container ports that differ from the rule, which is: the locks above, and the protocol as the Service's
    /// `appProtocol` or the port's name tells it, else HTTP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["port"]))]
    pub ports: Vec<Port>,
    /// What becomes of a denial, on every port that says nothing else. `Enforce`: it is carried out. `Audit`: the call goes
    /// through, and is logged, counted and reported in the status; on HTTP ports callers may then come by TLS or
    /// without, on TCP ports by TLS with any certificate. Absent: `Enforce`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::one_of::<Enforcement>")]
    pub enforcement: Option<Enforcement>,
    /// With `Audit`: once nobody would have been denied on any audited port for so long, by the word of every pod,
    /// `Audit` is over for good and denials are carried out: `0s` to `8760h`. Absent: `Audit` lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration::<0, 8760>")]
    pub promote_after: Option<Duration>,
    /// How a new lock comes into force. Absent: `Immediate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// How the backend presents itself to the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    /// What happens to pods that ran before the lock was there. Absent: `RollingUpdate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_strategy: Option<UpdateStrategy>,
    /// Who vouches for the certificates of callers; exactly these. Without `postern` the gateways' keys open nothing.
    /// Absent: Postern alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub client_authorities: Vec<ClientAuthority>,
    /// What all callers with a name share, for locks of type `Caller`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// Callers with a name. Each gets in where an ApiRoute names it, and `accepts` has `Callers`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = limits::CALLERS), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub callers: Vec<NamedCaller>,
    /// Replacing keys and certificates ahead of their time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// How the sidecar works, apart from whom it lets in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<Sidecar>,
    /// Certificates that are refused although somebody vouches for them, by SHA-256 of the certificate (DER): 64
    /// hexadecimal digits, with or without colons between the bytes. They are refused at once, and their open
    /// connections closed. A gateway whose certificate is among them gets another one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::fingerprints")]
    pub revoked_certificates: Vec<String>,
    /// How calls come to the sidecar. `Redirect`: the pod's network is closed and everything led to the sidecar, by an
    /// init container with the capability `NET_ADMIN`. `Listener`, for namespaces under the Pod Security standard
    /// *baseline* or *restricted*: the sidecar takes over the ports that the pod names, a network policy closes the
    /// others, and the application must listen on 127.0.0.1 alone. Absent: `Redirect`. Changing it replaces the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::one_of::<Interception>")]
    pub interception: Option<Interception>,
    /// `true` lets the pods' own containers be privileged, add capabilities such as `NET_ADMIN`, and share process ids
    /// with the node or each other, with any of which they could remove the lock. Absent: such pods are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_workload: Option<bool>,
}

/// How calls come to the sidecar.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Interception {
    /// By rules of the pod's own firewall.
    #[default]
    Redirect,
    /// By the names of ports.
    Listener,
}

/// One container port that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new(
        "has(self.protocol) || has(self.open) || has(self.locks) || has(self.transport) || has(self.enforcement)"
    ).message("this entry says nothing about its port: write protocol, locks, transport, enforcement or open, \
               or leave the entry out"),
    validation = Rule::new("!has(self.enforcement) || !has(self.open)")
        .message("nobody is denied on an open port: leave enforcement out beside open"),
    validation = Rule::new("!has(self.protocol) || !has(self.open) || self.protocol == 'UDP'")
        .message("an open port passes bytes as they are, whatever they mean: leave protocol out beside open"),
    validation = Rule::new("!has(self.protocol) || self.protocol != 'UDP' || has(self.open)")
        .message("no lock holds on UDP: leave the entry out and the port is closed, or write open with a reason"),
    validation = Rule::new("!has(self.protocol) || self.protocol != 'UDP' || string(self.port).matches('^[0-9]+$')")
        .message("which UDP ports are open is the same for all pods: write the port's number"),
    validation = Rule::new("!has(self.open) || !(has(self.locks) || has(self.transport))")
        .message("an open port has no lock, and callers come to it without TLS: leave locks and transport out \
                  beside open"),
    validation = Rule::new("!has(self.protocol) || self.protocol != 'UDP' || !has(self.open) || !has(self.open.paths)")
        .message("datagrams have no paths: leave paths out beside protocol: UDP"),
)]
pub struct Port {
    /// The container port: its number, or the name that the pod gives it, which each pod resolves for itself. Of a
    /// UDP port the number. Each may be written once, so where TCP and UDP share a number, as in DNS, write the TCP
    /// port by its name.
    pub port: PortRef,
    /// What the application speaks there: `HTTP` (HTTP/1.1), `H2C` (HTTP/2 without TLS, as gRPC does), `HTTPS` (its
    /// certificate is not verified, since it is reached inside its own pod; HTTP/2 if it offers it) or `TCP` (any
    /// bytes; hostnames and rules of an ApiRoute can't apply). To the first three a caller speaks HTTP/1.1 or HTTP/2,
    /// as it likes, and is translated. The caller speaks it inside TLS. `UDP`, beside `open` only, leaves a UDP port
    /// open, which is closed else; changing it replaces the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::one_of::<Protocol>")]
    pub protocol: Option<Protocol>,
    /// What a caller of this port must show. Absent: as the BackendTrust says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locks: Option<Locks>,
    /// How callers come to this port. Absent: as the BackendTrust says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::one_of::<Transport>")]
    pub transport: Option<Transport>,
    /// What becomes of a denial on this port. Absent: as the BackendTrust says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::one_of::<Enforcement>")]
    pub enforcement: Option<Enforcement>,
    /// Takes the lock off this port: everybody may call it, without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Open>,
}

/// What an application speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// HTTP/1.1; WebSocket too.
    HTTP,
    /// HTTP/2 without TLS, as gRPC does.
    H2C,
    /// HTTP inside TLS of its own.
    HTTPS,
    /// Any bytes.
    TCP,
    /// Datagrams, which no lock can hold.
    UDP,
}

/// A port without a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Open {
    /// Why everybody may call this port, for whoever reads it later.
    #[schemars(schema_with = "schema::open_reason")]
    pub reason: String,
    /// Exactly these paths are open, over plain HTTP/1.1, for GET and HEAD; everything else is refused. Absent: bytes
    /// pass as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::open_paths")]
    pub paths: Vec<String>,
}

/// How the backend presents itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Server {
    /// Further DNS names in the server certificate. The names of the Services in front of the pods
    /// (`<service>.<namespace>.svc`) are in it by themselves.
    #[schemars(schema_with = "schema::server_names")]
    pub names: Vec<String>,
}

/// What happens to pods that ran before the lock was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateStrategy {
    /// `RollingUpdate`: their workload is restarted in its own rolling way, as `kubectl rollout restart` does;
    /// pods of Jobs are left to end and bare pods are named in the status. `OnDelete`: they are counted and
    /// named, and whoever runs them deletes them.
    #[serde(rename = "type")]
    pub type_: UpdateStrategyType,
}

/// How pods are replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpdateStrategyType {
    /// By a rolling restart of their workload.
    #[default]
    RollingUpdate,
    /// By whoever runs them.
    OnDelete,
}
