//! Names, ports and paths that hold inside every guarded pod.
//!
//! The webhook writes them, the admission policy demands them as literals, and the sidecar relies on them.

/// Init container 0: closes the pod's network namespace and redirects inbound TCP.
pub const REDIRECT_CONTAINER: &str = "postern-redirect";
/// Init container 1, `restartPolicy: Always`: enforces the lock.
pub const SIDECAR_CONTAINER: &str = "postern-sidecar";

/// TCP port that all redirected connections arrive at. Never reachable directly.
pub const INBOUND_PORT: u16 = 15100;
/// TCP port of the rewritten kubelet probes and of the sidecar's own `/startz` and `/readyz` (plain HTTP).
pub const PROBE_PORT: u16 = 15110;
/// TCP port of `/metrics` (plain HTTP, Prometheus text).
pub const METRICS_PORT: u16 = 15120;
/// TCP port of the admin endpoint (mutual TLS, the operator's identity only).
pub const ADMIN_PORT: u16 = 15130;
/// The ports that are the sidecar's own: no policy, probe or original destination may name one.
pub const OWN_PORTS: [u16; 4] = [INBOUND_PORT, PROBE_PORT, METRICS_PORT, ADMIN_PORT];

/// First TCP port that the sidecar takes over from the application's named ports, with `interception: Listener`.
pub const LISTENER_PORT: u16 = 15200;
/// How many such ports there are, beginning with [`LISTENER_PORT`]: one for each name.
pub const LISTENER_PORTS: u16 = 64;
/// Argument of the sidecar container with `interception: Listener`.
pub const LISTENER_ARGUMENT: &str = "--listener";

/// Whether it is one of the [`LISTENER_PORTS`].
pub const fn is_listener_port(port: u16) -> bool {
    port >= LISTENER_PORT && port < LISTENER_PORT + LISTENER_PORTS
}

/// User and group id of the sidecar; no other container of a guarded pod may run as it.
pub const SIDECAR_UID: i64 = 15100;

/// Volume of the signed bundle and the server certificate (the lock's Secret).
pub const CONFIG_VOLUME: &str = "postern-config";
/// Where [`CONFIG_VOLUME`] is mounted.
pub const CONFIG_PATH: &str = "/etc/postern/config";
/// Volume (downward API) of the signed pod record.
pub const RECORD_VOLUME: &str = "postern-pod";
/// Where [`RECORD_VOLUME`] is mounted.
pub const RECORD_PATH: &str = "/etc/postern/pod";
/// File below [`RECORD_PATH`] that holds the pod's name.
pub const NAME_FILE: &str = "name";
/// File below [`RECORD_PATH`] that holds the annotation [`RECORD_ANNOTATION`].
pub const RECORD_FILE: &str = "record";
/// Volume (memory) in which the sidecar keeps the highest sequence it has loaded, so that a container
/// restarted in place still refuses an older bundle.
pub const STATE_VOLUME: &str = "postern-state";
/// Where [`STATE_VOLUME`] is mounted.
pub const STATE_PATH: &str = "/var/lib/postern";
/// Empty volume that hides the service account token from Postern's containers.
pub const NO_TOKEN_VOLUME: &str = "postern-no-token";
/// Where [`NO_TOKEN_VOLUME`] is mounted.
pub const NO_TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Prefix of everything that is reserved for Postern in a pod: containers and volumes.
pub const RESERVED_PREFIX: &str = "postern-";

/// Key of the lock's Secret: the signed payload, JSON of [`crate::bundle::Bundle`].
pub const BUNDLE_KEY: &str = "bundle.json";
/// Key of the lock's Secret: signature over [`BUNDLE_KEY`], standard base64.
pub const BUNDLE_SIGNATURE_KEY: &str = "bundle.sig";
/// Key of the lock's Secret: the server certificate chain, PEM, leaf first.
pub const CERTIFICATE_KEY: &str = "tls.crt";
/// Key of the lock's Secret: the server's private key, PKCS#8 PEM.
pub const PRIVATE_KEY_KEY: &str = "tls.key";

/// Annotation of a guarded pod: the signed [`crate::record::PodRecord`].
pub const RECORD_ANNOTATION: &str = "postern.dev/pod-record";
/// Annotation of a guarded pod: the configuration hash last sent; changing it makes the kubelet look at the
/// mounted Secret at once.
pub const CONFIG_ANNOTATION: &str = "postern.dev/config";

/// Environment variable of the redirect container: the pod's addresses, comma separated (`status.podIPs`).
pub const POD_IPS_ENV: &str = "POD_IPS";
/// Environment variable of the redirect container: the node's addresses, comma separated (`status.hostIPs`).
pub const HOST_IPS_ENV: &str = "HOST_IPS";

/// Where the redirect container leaves its last word for the kubelet, which shows it as the container's
/// `state.terminated.message`.
pub const TERMINATION_MESSAGE_PATH: &str = "/dev/termination-log";
/// Beginning of the redirect container's last word if it has closed the namespace and found redirects of other
/// tables there: `foreign redirect: <family> <table> <chain> <priority> (before|after Postern's)`, several of them
/// parted by `; `, one line of printable ASCII, at most [`FOREIGN_REDIRECT_LIMIT`] bytes.
pub const FOREIGN_REDIRECT_MESSAGE: &str = "foreign redirect: ";
/// See [`FOREIGN_REDIRECT_MESSAGE`].
pub const FOREIGN_REDIRECT_LIMIT: usize = 1024;

/// Name of the lock's Secret, in the lock's namespace.
pub fn secret_name(trust: &str) -> String {
    format!("postern-{trust}")
}

/// DNS name in every lock's server certificate by which the operator knows the sidecar's admin endpoint.
/// It is under a name that no Service can have.
pub fn admin_server_name(namespace: &str, trust: &str) -> String {
    format!("{trust}.{namespace}.lock.postern.internal")
}

/// DNS name in every lock's server certificate, by which a gateway demands the CA of the backends and no backend by name.
pub const ANY_BACKEND: &str = "any.backend.postern.internal";

/// SPIFFE id of the operator, the only caller of the admin endpoint.
pub fn operator_identity(trust_domain: &str, operator_namespace: &str) -> String {
    format!("spiffe://{trust_domain}/ns/{operator_namespace}/sa/postern-operator")
}

/// SPIFFE id of one route's key on one gateway (SECURITY: one client certificate per route).
pub fn gateway_identity(trust_domain: &str, namespace: &str, gateway: &str, route: &str) -> String {
    format!("spiffe://{trust_domain}/ns/{namespace}/gateway/{gateway}/route/{route}")
}

/// Arguments of the redirect container, whole and literal. `udp_ports`: those that the lock leaves open, in order.
pub fn redirect_args<'a>(udp_ports: impl IntoIterator<Item = &'a u16>) -> Vec<String> {
    let ports = udp_ports.into_iter().map(|port| format!("{UDP_PORT_ARGUMENT}{port}"));
    std::iter::once("redirect".to_owned()).chain(ports).collect()
}

/// Beginning of an argument of [`redirect_args`] that leaves a UDP port open.
pub const UDP_PORT_ARGUMENT: &str = "--udp-port=";

/// Arguments of the sidecar container, whole and literal: nothing in them differs between the pods of one
/// lock. `verify_keys`: see [`crate::signed::VerifyKey`]; the current one, and the previous one while the
/// signing key rotates.
pub fn sidecar_args(namespace: &str, trust: &str, verify_keys: &[String]) -> Vec<String> {
    let mut args = vec!["guard".to_owned(), format!("--namespace={namespace}"), format!("--trust={trust}")];
    args.extend(verify_keys.iter().map(|key| format!("--verify-key={key}")));
    args
}
