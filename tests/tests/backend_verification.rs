//! A gateway verifies whose certificate a backend shows; where a route skips that, status says so.

use postern_tests::scene::{self, NAME, Scene};
use postern_tests::{Sharing, lock, run};
use serde_json::json;

#[test]
fn a_route_that_skips_the_name_works_and_is_warned_of() {
    run(Sharing::Shared, async |test| {
        let mut key = scene::key(&test.namespace);
        key["spec"]["backendTLS"] = json!({"verification": "SkipHostname"});
        let trust = lock::echo_trust(&test.namespace, NAME);
        let scene = Scene::guarded_by(test, &test.namespace, &trust, &key).await;
        lock::route_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "HostnameNotVerified"))
            .await;
        let gateway = scene.gateway(test).await;
        scene.works(test, &gateway).await;
    });
}
