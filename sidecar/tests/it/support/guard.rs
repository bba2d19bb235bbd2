//! A sidecar as it runs in a pod, but for the redirect: where connections are bound for is told by the test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use postern_config::bundle::{Bundle, Content};
use postern_config::policy::Policy;
use postern_config::record::PodRecord;
use postern_config::signed::Signer;
use postern_sidecar::app::{Addresses, App, Guard, Options, Ports};
use postern_sidecar::destination::{Fixed, Target};
use postern_sidecar::limits::Limits;
use postern_sidecar::metrics::Metrics;
use postern_sidecar::own_addresses::OwnAddresses;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::client::plaintext;
use super::{Client, Leaf, Pki, eventually};

/// The operator of the tests.
pub const OPERATOR: &str = "spiffe://test/ns/postern/sa/postern-operator";

/// A guarded pod with its mounted volumes.
pub struct GuardedPod {
    pub pki: Pki,
    pub signer: Signer,
    pub directory: TempDir,
    pub addresses: Addresses,
    upstream: SocketAddr,
    workers: usize,
    limits: Limits,
    listener: bool,
    running: Option<(oneshot::Sender<()>, std::thread::JoinHandle<()>)>,
    ending: Option<std::thread::JoinHandle<()>>,
}

static VERSIONS: AtomicUsize = AtomicUsize::new(0);

pub fn signer() -> Signer {
    Signer::from_pkcs8(&Signer::generate().unwrap()).unwrap()
}

impl GuardedPod {
    /// Of the lock shop/orders. Nothing is in the Secret yet.
    pub fn start(upstream: SocketAddr, workers: usize) -> Self {
        Self::start_with(upstream, workers, Limits::default())
    }

    pub fn start_with(upstream: SocketAddr, workers: usize, limits: Limits) -> Self {
        Self::start_as(upstream, workers, limits, false, None)
    }

    /// With `listener`, as started where there is no redirect; with `listeners`, as injected where there is none: the
    /// sidecar's ports, each with the application's.
    pub fn start_as(
        upstream: SocketAddr,
        workers: usize,
        limits: Limits,
        listener: bool,
        listeners: Option<BTreeMap<u16, u16>>,
    ) -> Self {
        super::install_provider();
        let directory = tempfile::tempdir().unwrap();
        for name in ["config", "pod", "state"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let signer = signer();
        let port = listeners.as_ref().and_then(|it| it.values().next().copied()).unwrap_or(8080);
        let record = PodRecord {
            namespace: "shop".to_owned(),
            trust: "orders".to_owned(),
            pod: "orders-0".to_owned(),
            generated: false,
            token: "0123456789abcdef0123456789abcdef".to_owned(),
            ports: BTreeMap::from([("web".to_owned(), port)]),
            probes: Vec::new(),
            listeners,
        };
        std::fs::write(directory.path().join("pod/name"), "orders-0").unwrap();
        std::fs::write(directory.path().join("pod/record"), record.seal(&signer).unwrap()).unwrap();
        let addresses = Addresses { inbound: Vec::new(), probe: None, metrics: None, admin: None };
        let mut pod = Self {
            pki: Pki::new(),
            signer,
            directory,
            addresses,
            upstream,
            workers,
            limits,
            listener,
            running: None,
            ending: None,
        };
        pod.run();
        pod
    }

    fn run(&mut self) {
        let guard = Guard {
            listener: self.listener,
            namespace: "shop".to_owned(),
            trust: "orders".to_owned(),
            verify_keys: vec![signer().verify_key(), self.signer.verify_key()],
            config: self.path("config"),
            record: self.path("pod"),
            state: self.path("state"),
            ports: Ports { inbound: 0, probe: 0, metrics: 0, admin: 0 },
        };
        let options = Options { workers: self.workers, access_log: false, limits: self.limits.clone() };
        let own = Arc::new(OwnAddresses::new().unwrap());
        let destination = Arc::new(Fixed(Target { port: 8080, address: self.upstream }));
        let app = App::guard_with(&guard, options, Metrics::new(self.workers), own, destination).unwrap();
        self.addresses = app.addresses().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            app.run_until(async {
                let _ = stopped.await;
            })
            .unwrap();
        });
        self.running = Some((stop, thread));
    }

    /// As the kubelet restarts a container in place: the volumes stay.
    pub fn restart(&mut self) {
        self.stop();
        self.run();
    }

    /// Asks it to end; whether it has ended is told by [`Self::has_ended`].
    pub fn begin_to_stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            stop.send(()).unwrap();
            self.ending = Some(thread);
        }
    }

    pub fn has_ended(&self) -> bool {
        self.ending.as_ref().is_none_or(std::thread::JoinHandle::is_finished)
    }

    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            stop.send(()).unwrap();
            thread.join().unwrap();
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn callers(&self) -> SocketAddr {
        local(self.addresses.inbound[0])
    }

    pub fn admin(&self) -> SocketAddr {
        local(self.addresses.admin.unwrap())
    }

    pub fn metrics(&self) -> SocketAddr {
        local(self.addresses.metrics.unwrap())
    }

    /// A caller over HTTP/1.1.
    pub fn http1(&self, leaf: &Leaf) -> Client {
        Client::http1(self.callers(), &self.pki.servers, leaf)
    }

    /// A caller over HTTP/2.
    pub fn http2(&self, leaf: &Leaf) -> Client {
        Client::http2(self.callers(), &self.pki.servers, leaf)
    }

    /// A bundle for this pod's lock.
    pub fn bundle(&self, sequence: u64, policy: Policy) -> Bundle {
        Bundle {
            sequence,
            content: Content {
                namespace: "shop".to_owned(),
                trust: "orders".to_owned(),
                trust_uid: "uid".to_owned(),
                server_certificate: self.pki.server.sha256(),
                admins: vec![OPERATOR.to_owned()],
                policy,
                settings: postern_config::settings::Settings::default(),
            },
        }
    }

    /// Lets callers call port 8080, by name.
    pub fn policy(&self, callers: &[(&str, Option<Vec<String>>)]) -> Policy {
        let callers: Vec<_> = callers
            .iter()
            .map(|(identity, keys)| {
                serde_json::json!({"name": identity, "certificates": [
                {"type": "Identity", "authority": "postern", "identity": identity, "keys": keys}]})
            })
            .collect();
        serde_json::from_value(serde_json::json!({
            "authorities": [{"name": "postern", "type": "Postern", "roots": self.pki.callers.pem}],
            "ports": [{"port": "web", "protocol": "HTTP", "access": postern_config::policy::Access::mutual_tls()}],
            "routes": [{"name": "shop/orders", "port": "web", "callers": callers}],
        }))
        .unwrap()
    }

    /// Writes the Secret as the kubelet does: a directory beside, then the link is replaced.
    pub fn mount(&self, payload: &[u8], signature: &str, server: &Leaf) {
        let version = format!("..version-{}", VERSIONS.fetch_add(1, SeqCst));
        let directory = self.path("config").join(&version);
        std::fs::create_dir(&directory).unwrap();
        for (name, bytes) in [
            ("bundle.json", payload),
            ("bundle.sig", signature.as_bytes()),
            ("tls.crt", server.pem.as_bytes()),
            ("tls.key", server.key.serialize_pem().as_bytes()),
        ] {
            std::fs::write(directory.join(name), bytes).unwrap();
            let link = self.path("config").join(name);
            if !link.exists() && !link.is_symlink() {
                symlink(format!("..data/{name}"), link).unwrap();
            }
        }
        let link = self.path("config").join("..data_tmp");
        symlink(version, &link).unwrap();
        std::fs::rename(link, self.path("config").join("..data")).unwrap();
    }

    pub fn mount_bundle(&self, bundle: &Bundle) {
        let (payload, signature) = bundle.seal(&self.signer).unwrap();
        self.mount(&payload, &signature, &self.pki.server);
    }

    /// `/readyz`: whether it is ready, and the details.
    pub async fn ready(&self) -> (bool, String) {
        let address = local(self.addresses.probe.unwrap());
        let answer = plaintext(address, b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        (answer.starts_with("HTTP/1.1 200"), answer)
    }

    /// Waits until `/readyz` says something.
    pub async fn ready_says(&self, ready: bool, text: &str) {
        eventually(&format!("/readyz says {ready} and {text:?}"), async || {
            let (is_ready, detail) = self.ready().await;
            is_ready == ready && detail.contains(text)
        })
        .await;
    }
}

impl Drop for GuardedPod {
    fn drop(&mut self) {
        // Not waited for: the callers of the tests run on this thread and have to take part in the end.
        if let Some((stop, _)) = self.running.take() {
            let _ = stop.send(());
        }
    }
}

fn local(address: SocketAddr) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], address.port()))
}
