//! A Service of IPv6 alone: the gateway calls it by the route, and nobody else by any address.

use std::net::IpAddr;

use postern_tests::attack::{self, Attack};
use postern_tests::scene::{self, NAME, Scene, ways_in};
use postern_tests::workload::{Echo, HTTP, SERVICE_HTTP};
use postern_tests::{Sharing, lock, run};
use serde_json::json;

#[test]
fn is_called_by_its_gateway_alone() {
    run(Sharing::Shared, async |test| {
        let (cluster, namespace) = (&test.cluster, &test.namespace);
        let mut service = Echo::new(namespace, NAME).service();
        service["spec"]["ipFamilyPolicy"] = json!("SingleStack");
        service["spec"]["ipFamilies"] = json!(["IPv6"]);
        let trust = lock::echo_trust(namespace, NAME);
        let scene = Scene::guarded_behind(test, namespace, &trust, &scene::key(namespace), service).await;
        let target = &scene.target;
        let is_ipv6 = |address: &String| address.parse().is_ok_and(|address: IpAddr| address.is_ipv6());
        assert!(target.service.len() == 1 && target.service.iter().all(is_ipv6), "{:?}", target.service);
        assert!(target.addresses.iter().any(is_ipv6), "{:?}", target.addresses);

        let gateway = scene.gateway(test).await;
        gateway.seen(test, "/").await;
        let plain = |how: String, address: &str, port| {
            Attack::http(format!("plain HTTP {how}"), address, port).logged("PlaintextRefused")
        };
        let tls = |how: String, address: &str, port| {
            Attack::https(format!("TLS {how}"), address, port, None).logged("NoCertificate")
        };
        let mut attacks = ways_in(cluster, target, HTTP, Some(SERVICE_HTTP), plain).await;
        attacks.extend(ways_in(cluster, target, HTTP, Some(SERVICE_HTTP), tls).await);
        attack::all_refused(cluster, target, &attacks).await;
        scene.works(test, &gateway).await;
    });
}
