//! What most tests begin with: a sidecar before an application, and somebody who holds the key.

use std::net::SocketAddr;

use super::{Application, Client, GuardedPod, Leaf, ORDERS, Pki, Recorder, Sidecar, eventually};
use postern_sidecar::limits::Limits;

/// A sidecar as a program, before one application on port 8080, with its log.
pub struct House<A = Application> {
    pub pki: Pki,
    pub application: A,
    pub sidecar: Sidecar,
}

impl House {
    /// With a route without rules for [`ORDERS`] and for [`House::neighbour`].
    pub async fn build(arguments: &[&str]) -> Self {
        let application = Application::http().await;
        let address = application.address;
        Self::of(application, address, &route_for_two(), arguments).await
    }
}

impl House<Recorder> {
    /// The same, before a socket.
    pub async fn recording(application: Recorder) -> Self {
        let address = application.address;
        Self::of(application, address, &route_for_two(), &[]).await
    }
}

impl<A> House<A> {
    /// With a policy in which `ROOTS` stands for the callers' authority.
    pub async fn of(application: A, upstream: SocketAddr, policy: &str, arguments: &[&str]) -> Self {
        super::install_provider();
        let pki = Pki::new();
        let sidecar = Sidecar::start_with(&pki, &[(8080, upstream)], policy, arguments).await;
        Self { pki, application, sidecar }
    }

    /// Another caller that has the route.
    pub fn neighbour(&self) -> Leaf {
        self.pki.callers.client(&format!("{ORDERS}2"))
    }

    /// All metrics.
    pub async fn metrics(&self) -> String {
        let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
        let answer = super::client::plaintext(self.sidecar.endpoint("metrics"), request).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// One whole number among them, by its name without the prefix, and its labels.
    pub async fn metric(&self, name: &str) -> Option<u64> {
        let start = format!("postern_sidecar_{name} ");
        let metrics = self.metrics().await;
        metrics.lines().find_map(|line| line.strip_prefix(&start))?.trim().parse().ok()
    }

    pub fn http1(&self, leaf: &Leaf) -> Client {
        Client::http1(self.sidecar.address(0), &self.pki.servers, leaf)
    }

    pub fn http2(&self, leaf: &Leaf) -> Client {
        Client::http2(self.sidecar.address(0), &self.pki.servers, leaf)
    }

    /// How often the metrics say that a code was given.
    pub async fn denials(&self, code: &str) -> u64 {
        denials(self.sidecar.endpoint("metrics"), code).await
    }

    /// Waits until so many denials with this code are counted: a caller may see its connection's end before.
    pub async fn counts(&self, code: &str, count: u64) {
        counts(self.sidecar.endpoint("metrics"), code, count).await;
    }
}

/// The same, of any sidecar.
pub async fn denials(metrics: SocketAddr, code: &str) -> u64 {
    let metrics = super::client::plaintext(metrics, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    let start = format!("postern_sidecar_denials_total{{code=\"{code}\"");
    let lines = metrics.lines().filter(|line| line.starts_with(&start));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// The same, of any sidecar.
pub async fn counts(metrics: SocketAddr, code: &str, count: u64) {
    eventually(&format!("{count} times {code}"), async || denials(metrics, code).await == count).await;
}

fn route_for_two() -> String {
    format!(
        "{{authorities: [{{name: postern, type: Postern, roots: ROOTS}}], \
         ports: [{{port: 8080, protocol: HTTP, access: {{type: Locked, locks: {{require: All, \
         list: [{{type: MutualTLS}}]}}}}}}], \
         routes: [{{name: r, port: 8080, callers: [\
         {{name: c1, certificates: [{{type: Identity, authority: postern, identity: '{ORDERS}'}}]}}, \
         {{name: c2, certificates: [{{type: Identity, authority: postern, identity: '{ORDERS}2'}}]}}]}}]}}"
    )
}

/// A guarded pod that lets [`ORDERS`] in, before an application.
pub async fn guarded(limits: Limits) -> (Application, GuardedPod) {
    let application = Application::http().await;
    let pod = GuardedPod::start_with(application.address, 1, limits);
    pod.mount_bundle(&pod.bundle(1, pod.policy(&[(ORDERS, None)])));
    pod.ready_says(true, "ready").await;
    (application, pod)
}
