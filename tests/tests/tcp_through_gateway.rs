//! Raw TCP through the gateway's stream module: the application speaks first, and is heard.

use postern_echo::attempt::Outcome;
use postern_echo::serve::GREETING;
use postern_tests::attack::{self, Attack};
use postern_tests::gateway::{self, Forward};
use postern_tests::scene::{self, NAME, Scene};
use postern_tests::workload::{Echo, TCP};
use postern_tests::{Sharing, install, lock, run};

#[test]
fn and_no_other_way() {
    run(Sharing::Shared, async |test| {
        let echo = Echo::new(&test.namespace, NAME);
        echo.deploy(&test.cluster).await;
        let target = echo.target(&test.cluster).await;
        let direct = |address: &str| Attack::tcp("bytes", address, TCP);
        attack::all_get_in(&test.cluster, &target, &[direct(target.address())]).await;

        test.cluster.apply(&lock::echo_trust(&test.namespace, NAME)).await;
        let mut key = scene::key(&test.namespace);
        key["spec"]["backendRef"]["port"] = TCP.into();
        lock::keyed(&test.cluster, &key).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let target = echo.target(&test.cluster).await;
        let scene = Scene { echo, target };
        let forwards =
            [Forward::Stream { port: gateway::TCP, route: (test.namespace.clone(), NAME.to_owned()) }];
        let gateway = gateway::start(test, install::EDGE, &forwards).await;
        let made = gateway.answered(test, gateway.bytes("hello\n")).await;
        let Outcome::Bytes { text } = &made.outcome else { panic!("{:?}", made.outcome) };
        assert!(text.starts_with(GREETING), "{text:?}");
        let without_key = Attack::https("TLS without a certificate", scene.target.address(), TCP, None);
        let attacks =
            [direct(scene.target.address()).logged("PlaintextRefused"), without_key.logged("NoCertificate")];
        attack::all_refused(&test.cluster, &scene.target, &attacks).await;
    });
}
