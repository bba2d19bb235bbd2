//! What is not TCP is closed as well.

use postern_tests::attack::{self, Attack};
use postern_tests::scene::{NAME, ways_in};
use postern_tests::workload::{Echo, HTTP, Target, UDP};
use postern_tests::{Sharing, Test, lock, run, wait};
use serde_json::json;

#[test]
fn datagrams_do_not_arrive() {
    run(Sharing::Shared, async |test| {
        let echo = Echo::new(&test.namespace, NAME);
        echo.deploy(&test.cluster).await;
        let target = echo.target(&test.cluster).await;
        attack::all_get_in(&test.cluster, &target, &attacks(test, &target).await).await;

        lock::locked(&test.cluster, &lock::echo_trust(&test.namespace, NAME)).await;
        let target = echo.target(&test.cluster).await;
        attack::all_refused(&test.cluster, &target, &attacks(test, &target).await).await;
    });
}

#[test]
fn a_port_left_open_by_its_number_is_open_once_its_pods_are_replaced() {
    run(Sharing::Shared, async |test| {
        let echo = Echo::new(&test.namespace, NAME);
        echo.deploy(&test.cluster).await;
        let mut trust = lock::echo_trust(&test.namespace, NAME);
        lock::locked(&test.cluster, &trust).await;
        let closed = echo.target(&test.cluster).await;
        let open = json!({"port": UDP, "protocol": "UDP", "open": {"reason": "a test of open ports"}});
        trust["spec"]["ports"].as_array_mut().expect("the echo server's ports").push(open);
        test.cluster.apply(&trust).await;
        wait::until("the pods to be replaced", 60, async || {
            let now = echo.target(&test.cluster).await;
            if now.uid == closed.uid { Err(now.pod) } else { Ok(()) }
        })
        .await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let target = echo.target(&test.cluster).await;
        attack::all_get_in(&test.cluster, &target, &attacks(test, &target).await).await;
        // The lock holds for everything else.
        let plaintext = Attack::http("plaintext", target.address(), HTTP).logged("PortClosed");
        attack::all_refused(&test.cluster, &target, &[plaintext]).await;
    });
}

async fn attacks(test: &Test, target: &Target) -> Vec<Attack> {
    let udp = |how: String, address: &str, port| Attack::udp(format!("UDP {how}"), address, port);
    ways_in(&test.cluster, target, UDP, Some(UDP), udp).await
}
