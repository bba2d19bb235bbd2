//! Whoever calls the pod itself, on whatever port and address, from wherever, does not reach the application.

use postern_config::layout;
use postern_tests::attack::{self, Attack};
use postern_tests::scene::{self, NAME, from_the_bridge, ways_in};
use postern_tests::workload::{Echo, HTTP, SECURE, SERVICE_HTTP, TCP, Target, UNDECLARED};
use postern_tests::{Sharing, Test, lock, run};

#[test]
fn on_no_port_and_no_address() {
    run(Sharing::Shared, async |test| {
        let echo = Echo::new(&test.namespace, NAME);
        echo.deploy(&test.cluster).await;
        let target = echo.target(&test.cluster).await;
        assert!(target.addresses.len() > 1, "pods have IPv4 and IPv6 addresses: {target:?}");
        assert!(target.link_local.is_some(), "pods have link-local addresses: {target:?}");
        attack::all_get_in(&test.cluster, &target, &attacks(test, &target).await).await;
        let over_the_bridge = from_the_bridge(&test.cluster, &target, HTTP).await;
        let tried = attack::try_all(&test.cluster, &over_the_bridge).await;
        assert!(
            tried.iter().any(|one| one.made.outcome.got_in()),
            "one interface leads to the pod: {tried:?}"
        );

        test.cluster.apply(&lock::echo_trust(&test.namespace, NAME)).await;
        lock::keyed(&test.cluster, &scene::key(&test.namespace)).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let target = echo.target(&test.cluster).await;
        let mut attacks = attacks(test, &target).await;
        attacks.extend(sidecars_own_ports(&target));
        attack::all_refused(&test.cluster, &target, &attacks).await;
        let before = target.hits(&test.cluster).await;
        let over_the_bridge = from_the_bridge(&test.cluster, &target, HTTP).await;
        let tried = attack::try_all(&test.cluster, &over_the_bridge).await;
        assert!(!tried.iter().any(|one| one.made.outcome.got_in()), "{tried:?}");
        assert_eq!(target.hits(&test.cluster).await, before);
    });
}

async fn attacks(test: &Test, target: &Target) -> Vec<Attack> {
    let cluster = &test.cluster;
    let http = |how: String, address: &str, port| Attack::http(format!("plain HTTP {how}"), address, port);
    let plain = |how: String, address: &str, port| http(how, address, port).logged("PlaintextRefused");
    let bytes = |how: String, address: &str, port| Attack::tcp(format!("bytes {how}"), address, port);
    let tls = |how: String, address: &str, port| Attack::https(format!("TLS {how}"), address, port, None);
    let mut attacks = ways_in(cluster, target, HTTP, Some(SERVICE_HTTP), plain).await;
    attacks.extend(ways_in(cluster, target, TCP, Some(TCP), bytes).await);
    attacks.extend(ways_in(cluster, target, SECURE, None, tls).await);
    attacks.extend(ways_in(cluster, target, UNDECLARED, None, http).await);
    attacks
}

/// These lead to the sidecar, and past it to nothing.
fn sidecars_own_ports(target: &Target) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for address in &target.addresses {
        for port in layout::OWN_PORTS {
            attacks.push(Attack::http(format!("plain HTTP to the sidecar's port {port}"), address, port));
        }
        for port in [layout::INBOUND_PORT, layout::ADMIN_PORT] {
            attacks.push(Attack::https(format!("TLS to the sidecar's port {port}"), address, port, None));
        }
    }
    attacks
}
