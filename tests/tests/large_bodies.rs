//! Bodies of a gibibyte pass both ways as fast as both ends take them, and the sidecar's memory stays as it was.

use postern_echo::attempt::{Attempt, Payload};
use postern_echo::call::{Transfer, Transferred};
use postern_echo::hits::Report;
use postern_tests::attacker::{self, Vantage};
use postern_tests::exec::Running;
use postern_tests::gateway::{self, Forward, Gateway};
use postern_tests::node::Shell;
use postern_tests::scene::{NAME, Scene};
use postern_tests::{Sharing, Test, attack, install, run, wait};

const GIBIBYTE: u64 = 1 << 30;
/// What the sidecar's memory may grow by while any of them passes.
const GROWTH: u64 = 8 << 20;
/// What may be under way between two ends that don't move: mostly the system's buffers.
const UNDER_WAY: u64 = 64 << 20;
const SIDECAR: &str = "postern-sidecar";

#[test]
fn pass_and_leave_nothing_behind() {
    run(Sharing::Shared, async |test| {
        let cluster = &test.cluster;
        let scene = Scene::guarded(test).await;
        let all = [Forward::all(&test.namespace, NAME)];
        // Which size is too large is for the gateway's owner to say.
        let gateway = gateway::start_with(test, install::EDGE, &all, "    client_max_body_size 0;").await;
        gateway.seen(test, "/").await;
        let node = Shell::start(test).await;
        let peak = async || node.peak_memory(cluster, &scene.target.uid, SIDECAR).await;
        let key = scene.with_certificate(scene.key(cluster).await);
        // Through NGINX it is HTTP/1.1; HTTP/2 is what the key lets us speak past it.
        for (way, attempt) in
            [("through the gateway", gateway.get("/")), ("over HTTP/2", key.with(attack::get("/", true)))]
        {
            // What the first bytes take: code, buffers, connections.
            up(test, &attempt, 4 << 20).await;
            let before = peak().await;
            let begun = std::time::Instant::now();
            up(test, &attempt, GIBIBYTE).await;
            let halfway = begun.elapsed();
            let made = transfer(test, &download(&attempt, GIBIBYTE, false)).await.end().await;
            let whole = Transferred { status: 200, text: String::new(), received: GIBIBYTE, is_right: true };
            assert_eq!(transferred(made), whole, "{way}");
            let grown = peak().await - before;
            println!("{way}: up {halfway:?}, both {:?}, grown by {} KiB", begun.elapsed(), grown >> 10);
            assert!(grown < GROWTH, "{way}: {grown} bytes more");

            let before = peak().await;
            who_does_not_read_is_not_sent_to(test, &scene, &gateway, &attempt).await;
            let grown = peak().await - before;
            println!("{way}: {} KiB for those who stall", grown >> 10);
            assert!(grown < GROWTH, "{way}, stalled: {grown} bytes more");
        }
    });
}

/// A caller that does not read holds up the application, and an application that does not read the caller; what is
/// held up goes on when it is read.
async fn who_does_not_read_is_not_sent_to(test: &Test, scene: &Scene, gateway: &Gateway, attempt: &Attempt) {
    let before = made(test, scene).await;
    let mut down = transfer(test, &download(attempt, GIBIBYTE, true)).await;
    let came = settled(async || made(test, scene).await - before).await;
    assert!(came < UNDER_WAY, "the application made {came} bytes for a caller that does not read");

    let mut up = transfer(test, &upload(attempt, "/swallow?wait=true", GIBIBYTE)).await;
    let went = settled(async || {
        up.say("sent").await.expect("the transfer goes on");
        up.line().await.expect("a number").trim().parse().expect("a number")
    })
    .await;
    assert!(went < UNDER_WAY, "the caller sent {went} bytes to an application that does not read");

    down.say("read").await.expect("the transfer goes on");
    let down = transferred(down.end().await);
    assert_eq!((down.received, down.is_right), (GIBIBYTE, true), "what was held up");
    gateway.seen(test, "/publish?go").await;
    assert_eq!(transferred(up.end().await).text, format!("{GIBIBYTE} true"), "what was held up");
}

/// The same call of another path, with minutes of time.
fn to(attempt: &Attempt, new_method: &str, new_path: &str) -> Attempt {
    let mut attempt = Attempt { timeout_ms: 240_000, ..attempt.clone() };
    let Payload::Http { method, path, .. } = &mut attempt.payload else { unreachable!("it is HTTP") };
    (*method, *path) = (new_method.to_owned(), new_path.to_owned());
    attempt
}

fn upload(attempt: &Attempt, path: &str, bytes: u64) -> Transfer {
    Transfer { attempt: to(attempt, "POST", path), upload: bytes, large: false, stalled: false }
}

fn download(attempt: &Attempt, bytes: u64, stalled: bool) -> Transfer {
    let attempt = to(attempt, "GET", &format!("/made?bytes={bytes}"));
    Transfer { attempt, upload: 0, large: true, stalled }
}

/// Sends so many bytes, which the application must have got as they are.
async fn up(test: &Test, attempt: &Attempt, bytes: u64) {
    let made = transfer(test, &upload(attempt, "/swallow", bytes)).await.end().await;
    let Transferred { status, text, .. } = transferred(made);
    assert_eq!((status, text), (200, format!("{bytes} true")));
}

async fn transfer(test: &Test, transfer: &Transfer) -> Running {
    let input = serde_json::to_string(transfer).expect("a transfer is JSON");
    let (namespace, pod) = (attacker::NAMESPACE, Vantage::Pod.pod());
    let command = ["/postern-echo", "transfer"];
    test.cluster.start(namespace, pod, "echo", &command, Some(&input)).await.expect("the transfer")
}

fn transferred(end: Result<String, String>) -> Transferred {
    let text = end.unwrap_or_else(|error| panic!("a transfer: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// Bytes that the application has made so far.
async fn made(test: &Test, scene: &Scene) -> u64 {
    let target = &scene.target;
    let report: Report = attacker::hits(&test.cluster, &target.namespace, &target.pod).await;
    report.made
}

/// What a count comes to that has begun and stays as it is for a second.
async fn settled(mut count: impl AsyncFnMut() -> u64) -> u64 {
    let (mut before, mut since) = (0, std::time::Instant::now());
    wait::until("a transfer to be held up", 60, async || {
        let now = count().await;
        if now != before {
            (before, since) = (now, std::time::Instant::now());
        }
        if now > 0 && since.elapsed().as_secs() >= 1 { Ok(now) } else { Err(format!("{now} bytes so far")) }
    })
    .await
}
