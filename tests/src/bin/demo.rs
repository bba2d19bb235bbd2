//! `make demo`: shows on the running cluster that direct calls, which got in a moment before, no longer do, and
//! that calls through the gateway do. May be run again and again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "panicking is how a demonstration fails"
)]

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use futures::FutureExt as _;
use postern_echo::hits::Hits;
use postern_tests::attack::{self, Attack, Tried};
use postern_tests::attacker::{self, Vantage};
use postern_tests::cluster::Cluster;
use postern_tests::forge::{self, Authority, Leaf};
use postern_tests::gateway::{self, Forward, Gateway};
use postern_tests::workload::{Echo, HTTP, SECURE, SERVICE_HTTP, TCP, Target, UDP, UNDECLARED};
use postern_tests::{install, lock};
use serde_json::{Value, json};
use tokio::process::Command;

const SHOP: &str = "shop";
const NAME: &str = "orders";

/// Counts what was as expected.
#[derive(Default)]
struct Score {
    passed: u32,
    failed: u32,
}

impl Score {
    fn line(&mut self, good: bool, vector: &str, expected: &str, seen: &str, hits: u64) {
        let mark = if good { "ok    " } else { "FAILED" };
        if good {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
        println!("  {mark} {vector:<46} expected: {expected:<8} seen: {seen:<36} hits: {hits}");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut score = Score::default();
    let result = AssertUnwindSafe(show(&mut score)).catch_unwind().await;
    if result.is_err() {
        // What went wrong has been printed by the panic.
        score.failed += 1;
    }
    println!("demo: {} passed, {} failed", score.passed, score.failed);
    if score.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn show(score: &mut Score) {
    let cluster = Cluster::connect().await;
    step("installing Postern: helm upgrade --install postern charts/postern");
    install::once(&cluster).await;
    clear(&cluster).await;

    step("deploying the application: Deployment and Service 'orders' in namespace 'shop'");
    cluster.create_namespace(SHOP, &json!({})).await;
    let echo = Echo::new(SHOP, NAME);
    echo.deploy(&cluster).await;
    let target = echo.target(&cluster).await;
    println!("without a lock:");
    for attack in attacks(&cluster, &target).await {
        let (tried, hits) = try_one(&cluster, &target, &attack).await;
        score.line(hits.total() > 0, &attack.name, "gets in", &tried.made.outcome.brief(), calls(&hits));
    }

    step("applying tests/manifests/lock.yaml and tests/manifests/key.yaml");
    cluster.apply(&manifest(include_str!("../../manifests/lock.yaml"))).await;
    cluster.apply(&manifest(include_str!("../../manifests/key.yaml"))).await;
    lock::trust_says(&cluster, SHOP, NAME, ("Ready", "True", "")).await;
    lock::route_says(&cluster, SHOP, NAME, ("Ready", "True", "")).await;
    let target = echo.target(&cluster).await;
    kubectl(&["get", "bt,art", "--namespace", SHOP, "--output", "wide"]).await;
    println!("with the lock, without the key:");
    let mut refused = attacks(&cluster, &target).await;
    refused.extend(with_certificates(&cluster, &target).await);
    for attack in refused {
        let (tried, hits) = try_one(&cluster, &target, &attack).await;
        let good = attack::is_refusal(&tried.made.outcome) && hits == Hits::default();
        score.line(good, &attack.name, "refused", &tried.made.outcome.brief(), calls(&hits));
    }

    step("starting the gateway: NGINX with the key that Postern has handed over");
    let forwards = [Forward::all(SHOP, NAME)];
    let gateway = gateway::deploy(&cluster, install::EDGE, "demo", &forwards, "").await;
    println!("through the gateway:");
    through(&cluster, score, &target, &gateway).await;
}

/// What an earlier run has left.
async fn clear(cluster: &Cluster) {
    let gateway = gateway::objects(install::EDGE, "demo", &[], "");
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}});
    for object in gateway.iter().chain([&namespace]) {
        cluster.delete(object).await;
    }
    for object in gateway.iter().chain([&namespace]) {
        cluster.gone(object).await;
    }
}

/// The ways to the application that need no certificate.
async fn attacks(cluster: &Cluster, target: &Target) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for address in &target.addresses {
        let family = if address.contains(':') { "IPv6" } else { "IPv4" };
        attacks.push(Attack::http(format!("plain HTTP to the pod, {family}"), address, HTTP));
        attacks.push(Attack::tcp(format!("bytes to its TCP port, {family}"), address, TCP));
        attacks.push(Attack::http(format!("an undeclared port, {family}"), address, UNDECLARED));
        attacks.push(Attack::udp(format!("UDP, {family}"), address, UDP));
    }
    for address in &target.service {
        attacks.push(Attack::http(format!("plain HTTP to the Service {address}"), address, SERVICE_HTTP));
    }
    attacks.push(Attack::https("TLS to its own TLS port", target.address(), SECURE, None));
    attacks.push(Attack::http("plain HTTP", target.address(), HTTP).from_node());
    if let Some(address) = &target.link_local {
        for interface in attacker::interfaces(cluster, Vantage::Pod).await {
            let address = format!("{address}%{}", interface.interface);
            attacks.push(Attack::http("plain HTTP to the link-local address", &address, HTTP));
        }
    }
    attacks
}

/// Those with a certificate that is not the key.
async fn with_certificates(cluster: &Cluster, target: &Target) -> Vec<Attack> {
    let key = forge::stolen(cluster, install::EDGE.1, &format!("{}.{SHOP}.{NAME}", install::EDGE.0)).await;
    let leaf = Leaf::client(&forge::uri_of(&key));
    let expired = Leaf { from_days: -60, until_days: -1, ..leaf.clone() };
    let impostor = Authority::impostor(cluster, "postern-client-ca").await;
    let client = Authority::client(cluster).await;
    let backend = Authority::backend(cluster).await;
    let address = target.address();
    let https = |name: &str, identity| Attack::https(name, address, HTTP, Some(identity));
    vec![
        Attack::https("TLS without a certificate", address, HTTP, None),
        https("TLS, self-signed certificate", forge::self_signed(&leaf)),
        https("TLS, another CA that copies our names", impostor.issue(&leaf)),
        https("TLS, from the CA of the backends", backend.issue(&leaf)),
        https("TLS, expired", client.issue(&expired)),
        https("TLS, the right names on a key never handed out", client.issue(&leaf)),
    ]
}

async fn try_one(cluster: &Cluster, target: &Target, attack: &Attack) -> (Tried, Hits) {
    let before = target.hits(cluster).await;
    let tried = attack::try_all(cluster, std::slice::from_ref(attack)).await.remove(0);
    let after = target.hits(cluster).await;
    let hits = Hits {
        http_connections: after.http_connections - before.http_connections,
        http_requests: after.http_requests - before.http_requests,
        tcp_connections: after.tcp_connections - before.tcp_connections,
        datagrams: after.datagrams - before.datagrams,
        undeclared: after.undeclared - before.undeclared,
        silent: after.silent - before.silent,
        probes: 0,
    };
    (tried, hits)
}

/// How often the application was called, whatever the protocol.
fn calls(hits: &Hits) -> u64 {
    hits.http_requests + hits.tcp_connections + hits.datagrams
}

async fn through(cluster: &Cluster, score: &mut Score, target: &Target, gateway: &Gateway) {
    let before = target.hits(cluster).await;
    let made = attacker::call(cluster, Vantage::Pod, &[gateway.get("/orders/1")]).await.remove(0);
    let hits = target.hits(cluster).await.http_requests - before.http_requests;
    let good = made.outcome.status() == Some(200) && hits == 1;
    score.line(good, "GET /orders/1", "HTTP 200", &made.outcome.brief(), hits);
    let seen = gateway::seen(&made);
    let identity = seen.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-client-cert"));
    let value = identity.map(|(_, value)| value.clone()).unwrap_or_default();
    let good = value.contains(&format!("/ns/{SHOP}/gateway/edge/route/{NAME}"));
    score.line(
        good,
        "the application is told who called",
        "edge",
        if good { "edge" } else { "nobody" },
        hits,
    );
    println!("         X-Forwarded-Client-Cert: {value}");
}

fn manifest(yaml: &str) -> Value {
    print!("{yaml}");
    serde_yaml::from_str(yaml).expect("the manifest is YAML")
}

async fn kubectl(arguments: &[&str]) {
    println!("$ kubectl {}", arguments.join(" "));
    let status = Command::new("kubectl").args(arguments).status().await.expect("kubectl is in PATH");
    assert!(status.success(), "kubectl failed");
}

fn step(what: &str) {
    println!("== {what}");
}
