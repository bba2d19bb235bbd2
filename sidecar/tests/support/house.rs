//! What most tests begin with: a sidecar before an application, and somebody who holds the key.

use super::{Application, Client, GuardedPod, Leaf, ORDERS, Pki, Sidecar};
use postern_sidecar::limits::Limits;

/// A sidecar as a program, before one application on port 8080, with its log.
pub struct House {
    pub pki: Pki,
    pub application: Application,
    pub sidecar: Sidecar,
}

impl House {
    /// With a route without rules for [`ORDERS`] and for [`House::neighbour`].
    pub async fn build(arguments: &[&str]) -> Self {
        Self::before(Application::http().await, arguments).await
    }

    /// The same, before an application of the test's own.
    pub async fn before(application: Application, arguments: &[&str]) -> Self {
        let policy = format!(
            "{{authorities: [{{name: postern, type: Postern, roots: ROOTS}}], \
             ports: [{{port: 8080, protocol: HTTP, access: {{type: Locked, locks: {{require: All, list: [{{type: MutualTLS}}]}}}}}}], \
             routes: [{{name: r, port: 8080, callers: [{{name: c1, certificates: [{{type: Identity, authority: postern, identity: '{ORDERS}'}}]}}, \
             {{name: c2, certificates: [{{type: Identity, authority: postern, identity: '{ORDERS}2'}}]}}]}}]}}"
        );
        Self::with_policy(application, &policy, arguments).await
    }

    /// With a policy in which `ROOTS` stands for the callers' authority.
    pub async fn with_policy(application: Application, policy: &str, arguments: &[&str]) -> Self {
        super::install_provider();
        let pki = Pki::new();
        let sidecar = Sidecar::start_with(&pki, &[(8080, application.address)], policy, arguments).await;
        Self { pki, application, sidecar }
    }

    /// Another caller that has the route.
    pub fn neighbour(&self) -> Leaf {
        self.pki.callers.client(&format!("{ORDERS}2"))
    }

    pub fn http1(&self, leaf: &Leaf) -> Client {
        Client::http1(self.sidecar.address(0), &self.pki.servers, leaf)
    }

    pub fn http2(&self, leaf: &Leaf) -> Client {
        Client::http2(self.sidecar.address(0), &self.pki.servers, leaf)
    }
}

/// A guarded pod that lets [`ORDERS`] in, before an application.
pub async fn guarded(limits: Limits) -> (Application, GuardedPod) {
    let application = Application::http().await;
    let pod = GuardedPod::start_with(application.address, 1, limits);
    pod.mount_bundle(&pod.bundle(1, pod.policy(&[(ORDERS, None)])));
    pod.ready_says(true, "ready").await;
    (application, pod)
}
