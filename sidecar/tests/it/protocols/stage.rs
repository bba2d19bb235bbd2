//! A sidecar before an application that speaks what a test says, and somebody who holds the key.

use std::net::SocketAddr;

use crate::support::prelude::*;

pub struct Stage {
    pub pki: Pki,
    pub sidecar: Sidecar,
}

impl Stage {
    /// With a route for [`ORDERS`] and for [`Stage::neighbour`].
    pub async fn before(protocol: &str, application: SocketAddr) -> Self {
        Self::with_rules(protocol, application, "[]").await
    }

    pub async fn with_rules(protocol: &str, application: SocketAddr, rules: &str) -> Self {
        crate::support::install_provider();
        let pki = Pki::new();
        let policy = policy(protocol, rules, &[ORDERS, &format!("{ORDERS}2")]);
        let sidecar = Sidecar::start(&pki, &[(8080, application)], &policy).await;
        Self { pki, sidecar }
    }

    pub fn http1(&self) -> Client {
        Client::http1(self.sidecar.address(0), &self.pki.servers, &self.pki.gateway())
    }

    pub fn http2(&self) -> Client {
        Client::http2(self.sidecar.address(0), &self.pki.servers, &self.pki.gateway())
    }

    /// Another caller that has the route.
    pub fn neighbour(&self) -> Client {
        let leaf = self.pki.callers.client(&format!("{ORDERS}2"));
        Client::http2(self.sidecar.address(0), &self.pki.servers, &leaf)
    }

    /// Lets nobody in any more.
    pub fn revoke(&self, application: SocketAddr) {
        self.sidecar.configure(&self.pki, &[(8080, application)], &policy("HTTP", "[]", &[]));
    }

    /// Takes one certificate out of use; its name stays let in.
    pub fn revoke_certificate(&self, application: SocketAddr, leaf: &Leaf) {
        let policy = policy("HTTP", "[]", &[ORDERS]);
        let all_but_brace = policy.strip_suffix('}').unwrap();
        let policy = format!("{all_but_brace}, revoked: ['{}']}}", leaf.sha256());
        self.sidecar.configure(&self.pki, &[(8080, application)], &policy);
    }

    /// Memory that the sidecar holds, in bytes.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.sidecar.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

/// One port, one route.
pub fn policy(protocol: &str, rules: &str, callers: &[&str]) -> String {
    let callers: Vec<String> = callers
        .iter()
        .enumerate()
        .map(|(at, identity)| {
            format!(
                "{{name: c{at}, certificates: [{{type: Identity, authority: postern, identity: '{identity}'}}]}}"
            )
        })
        .collect();
    format!(
        "{{authorities: [{{name: postern, type: Postern, roots: ROOTS}}], \
         ports: [{{port: 8080, protocol: {protocol}, \
         access: {{type: Locked, locks: {{require: All, list: [{{type: MutualTLS}}]}}}}}}], \
         routes: [{{name: r, port: 8080, rules: {rules}, callers: [{}]}}]}}",
        callers.join(", ")
    )
}
