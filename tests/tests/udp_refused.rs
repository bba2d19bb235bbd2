//! What is not TCP is closed as well.

use postern_tests::attack::{self, Attack};
use postern_tests::scene::{NAME, ways_in};
use postern_tests::workload::{Echo, Target, UDP};
use postern_tests::{Sharing, Test, lock, run};

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

async fn attacks(test: &Test, target: &Target) -> Vec<Attack> {
    let udp = |how: String, address: &str, port| Attack::udp(format!("UDP {how}"), address, port);
    ways_in(&test.cluster, target, UDP, Some(UDP), udp).await
}
