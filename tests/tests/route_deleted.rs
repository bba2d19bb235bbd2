//! Deleting an ApiRoute takes its key away: at once, in open connections too.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use postern_echo::attempt::{Attempt, Outcome, Payload};
use postern_tests::attack::{self, Attack};
use postern_tests::attacker::{NAMESPACE, Vantage};
use postern_tests::exec::Running;
use postern_tests::gateway::{self, Forward, output_name};
use postern_tests::scene::{self, NAME, Scene};
use postern_tests::workload::{HTTP, TCP};
use postern_tests::{Sharing, Test, install, lock, run, wait};
use tokio::time::Instant;

/// From the deletion to the first refusal.
const LIMIT: Duration = Duration::from_secs(2);

#[test]
fn its_key_opens_nothing_any_more() {
    // Alone: what is measured is not how long the machine takes for the other tests.
    run(Sharing::Alone, async |test| {
        let scene = Scene::guarded(test).await;
        let mut tcp_key = scene::key(&test.namespace);
        tcp_key["metadata"]["name"] = "tcp".into();
        tcp_key["spec"]["backendRef"]["port"] = TCP.into();
        lock::keyed(&test.cluster, &tcp_key).await;
        let gateway = scene.gateway(test).await;
        gateway.seen(test, "/").await;

        let over_http = scene.with_certificate(scene.key(&test.cluster).await);
        let mut over_tcp = over_http.clone();
        over_tcp.port = TCP;
        over_tcp.payload = Payload::Bytes { text: "hello\n".to_owned() };
        let tls = over_tcp.tls.as_mut().expect("TLS");
        let route = (test.namespace.clone(), "tcp".to_owned());
        tls.identity = Some(
            postern_tests::forge::stolen(&test.cluster, install::EDGE.1, &output_name("edge", &route)).await,
        );
        let mut held = hold(test, &over_http).await;
        let mut held_tcp = hold(test, &over_tcp).await;
        assert!(
            ask(&mut held).await.is_some_and(|outcome| outcome.got_in()),
            "an open connection is used again"
        );

        test.cluster.delete(&scene::key(&test.namespace)).await;
        test.cluster.delete(&tcp_key).await;
        let deleted = Instant::now();
        let through_gateway = async || is_in(Some(gateway.call(test, gateway.get("/")).await.outcome));
        let elapsed = [
            ("an open HTTP connection", refused(deleted, async || is_in(ask(&mut held).await)).boxed_local()),
            (
                "an open TCP connection",
                refused(deleted, async || is_in(ask(&mut held_tcp).await)).boxed_local(),
            ),
            ("the gateway", refused(deleted, through_gateway).boxed_local()),
        ];
        for (what, elapsed) in join_all(elapsed.map(async |(what, elapsed)| (what, elapsed.await))).await {
            assert!(elapsed < LIMIT, "{what} was refused only {elapsed:?} after the deletion");
        }

        // What was handed over is gone, and does not keep the gateway from starting anew.
        let name = output_name(install::EDGE.0, &(test.namespace.clone(), NAME.to_owned()));
        wait::until("the key to be taken from the gateway's namespace", 20, async || {
            let secret = test.cluster.secret(install::EDGE.1, &name).await;
            let configuration = test.cluster.config_map(install::EDGE.1, &name).await;
            if secret.is_none() && configuration.is_none() {
                Ok(())
            } else {
                Err("it is there still".to_owned())
            }
        })
        .await;
        let anew = gateway::start(test, install::EDGE, &[Forward::all(&test.namespace, NAME)]).await;
        let made = anew.call(test, anew.get("/")).await;
        assert_eq!(made.outcome.status(), Some(404), "NGINX has nothing to forward to: {:?}", made.outcome);
        // No route leads to that port any more, so it is closed to everybody.
        let direct = Attack::http("plain HTTP", scene.target.address(), HTTP).logged("PortClosed");
        attack::all_refused(&test.cluster, &scene.target, &[direct]).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
    });
}

async fn hold(test: &Test, attempt: &Attempt) -> Running {
    let input = serde_json::to_string(attempt).expect("an attempt is JSON");
    let command = ["/postern-echo", "hold"];
    let held = test.cluster.start(NAMESPACE, Vantage::Pod.pod(), "echo", &command, Some(&input)).await;
    let mut held = held.expect("the call starts");
    let first: Outcome = serde_json::from_str(&held.line().await.expect("an outcome")).expect("JSON");
    assert!(first.got_in(), "the key opens the lock: {first:?}");
    held
}

/// One more call over the same connection; nothing if the program has ended.
async fn ask(held: &mut Running) -> Option<Outcome> {
    held.say("again").await.ok()?;
    serde_json::from_str(&held.line().await.ok()?).ok()
}

fn is_in(outcome: Option<Outcome>) -> bool {
    outcome.is_some_and(|outcome| outcome.got_in())
}

/// How long it takes until it does not get in any more.
async fn refused(since: Instant, mut gets_in: impl AsyncFnMut() -> bool) -> Duration {
    wait::until("it to be refused", 20, async || {
        if gets_in().await { Err("it gets in still".to_owned()) } else { Ok(()) }
    })
    .await;
    since.elapsed()
}
