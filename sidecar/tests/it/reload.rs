//! Configuration changes while the sidecar runs: what is revoked stops at once, what is broken changes nothing.

use std::io::{Seek as _, SeekFrom, Write as _};

use crate::support::guard::{OPERATOR, signer};
use crate::support::prelude::*;
use postern_config::loaded::Loaded;

const OTHER: &str = "spiffe://test/ns/shop/gateway/edge/route/other";

async fn loaded(pod: &GuardedPod) -> Option<Loaded> {
    let operator = pod.pki.callers.client(OPERATOR);
    let client = Client::new(pod.admin(), &pod.pki.servers, Some(&operator), &[b"http/1.1"]);
    match client.get("/v1/loaded").await {
        Attempt::Answered(200, body) => Some(serde_json::from_str(&body).unwrap()),
        _ => None,
    }
}

async fn loaded_sequence(pod: &GuardedPod, sequence: u64) -> Loaded {
    let mut last = None;
    eventually(&format!("sequence {sequence} is loaded"), async || {
        last = loaded(pod).await;
        last.as_ref().is_some_and(|loaded| loaded.sequence == Some(sequence))
    })
    .await;
    last.unwrap()
}

async fn rejected(pod: &GuardedPod, reason: &str) -> Loaded {
    let mut last = None;
    eventually(&format!("the newest bundle is rejected: {reason}"), async || {
        last = loaded(pod).await;
        last.as_ref().and_then(|loaded| loaded.rejected.as_ref()).is_some_and(|why| why.contains(reason))
    })
    .await;
    last.unwrap()
}

async fn is_let_in(client: &Client) -> bool {
    matches!(client.get("/").await, Attempt::Answered(200, _))
}

#[tokio::test]
async fn without_a_valid_policy_nothing_gets_in_and_nothing_is_ready() {
    let application = Application::http().await;
    let pod = GuardedPod::start(application.address, 1);
    let gateway = pod.pki.gateway();
    pod.ready_says(false, "cannot be read").await;
    assert_eq!(pod.http1(&gateway).get("/").await, Attempt::Closed);
    assert_eq!(loaded(&pod).await, None);

    let policy = pod.policy(&[(ORDERS, None)]);
    let bundle = pod.bundle(1, policy);
    let (payload, signature) = bundle.seal(&signer()).unwrap();
    pod.mount(&payload, &signature, &pod.pki.server);
    pod.ready_says(false, "signature").await;
    pod.mount(&payload, "", &pod.pki.server);
    pod.ready_says(false, "malformed").await;
    assert_eq!(pod.http1(&gateway).get("/").await, Attempt::Closed);

    pod.mount_bundle(&bundle);
    pod.ready_says(true, "ready").await;
    assert!(is_let_in(&pod.http1(&gateway)).await);
    let loaded = loaded(&pod).await.unwrap();
    assert_eq!(loaded.config_hash, Some(bundle.content.hash().unwrap()));
    assert_eq!(loaded.server_certificate, Some(pod.pki.server.sha256()));
    assert_eq!(loaded.rejected, None);
    assert_eq!(application.hits(), 1);
}

#[tokio::test]
async fn what_cannot_be_used_leaves_the_last_good_in_force() {
    let application = Application::http().await;
    let mut pod = GuardedPod::start(application.address, 2);
    let gateway = pod.pki.gateway();
    let good = pod.bundle(10, pod.policy(&[(ORDERS, None)]));
    pod.mount_bundle(&good);
    let in_force = loaded_sequence(&pod, 10).await;

    let nobody = || pod.policy(&[]);
    let foreign = {
        let mut bundle = pod.bundle(11, nobody());
        bundle.content.trust = "payments".to_owned();
        bundle
    };
    let other_certificate = {
        let mut bundle = pod.bundle(11, nobody());
        bundle.content.server_certificate = "00".repeat(32);
        bundle
    };
    let bad_policy = {
        let mut bundle = pod.bundle(11, nobody());
        bundle.content.policy.authorities[0].roots = "none".to_owned();
        bundle
    };
    for (bundle, reason) in [
        (pod.bundle(9, nobody()), "older"),
        (pod.bundle(10, nobody()), "other content"),
        (foreign, "shop/payments"),
        (other_certificate, "not the one of the bundle"),
        (bad_policy, "no PEM"),
    ] {
        pod.mount_bundle(&bundle);
        let now = rejected(&pod, reason).await;
        assert_eq!((&now.config_hash, now.sequence), (&in_force.config_hash, Some(10)), "{reason}");
        pod.ready_says(true, "the last good configuration stays in force").await;
        assert!(is_let_in(&pod.http1(&gateway)).await, "{reason}");
    }
    let (payload, signature) = pod.bundle(11, nobody()).seal(&signer()).unwrap();
    pod.mount(&payload, &signature, &pod.pki.server);
    rejected(&pod, "signature").await;
    // The key of another certificate.
    let (payload, signature) = pod.bundle(11, nobody()).seal(&pod.signer).unwrap();
    let mixed = Leaf { pem: pod.pki.server.pem.clone(), ..pod.pki.servers.client(ORDERS) };
    pod.mount(&payload, &signature, &mixed);
    rejected(&pod, "not usable together").await;
    assert!(is_let_in(&pod.http1(&gateway)).await);

    // Back to what is in force: nothing is wrong any more.
    pod.mount_bundle(&good);
    eventually("nothing is rejected", async || {
        loaded(&pod).await.is_some_and(|loaded| loaded.rejected.is_none())
    })
    .await;

    // A container that is restarted in place remembers.
    pod.mount_bundle(&pod.bundle(9, pod.policy(&[(ORDERS, None), (OTHER, None)])));
    pod.restart();
    pod.ready_says(false, "older").await;
    assert!(!is_let_in(&pod.http1(&gateway)).await);
    pod.mount_bundle(&good);
    pod.ready_says(true, "ready").await;
    assert!(is_let_in(&pod.http1(&gateway)).await);
}

#[tokio::test]
async fn a_route_that_is_taken_away_ends_open_connections_and_streams() {
    let application = Application::http().await;
    let pod = GuardedPod::start(application.address, 2);
    let (gateway, other) = (pod.pki.gateway(), pod.pki.callers.client(OTHER));
    pod.mount_bundle(&pod.bundle(1, pod.policy(&[(ORDERS, None), (OTHER, None)])));
    loaded_sequence(&pod, 1).await;

    let mut revoked = pod.http1(&gateway).open_http1().await;
    let mut kept = pod.http1(&other).open_http1().await;
    let mut streaming = Client::http2(pod.callers(), &pod.pki.servers, &gateway).open_http2().await;
    let mut streaming1 = pod.http1(&gateway).open_http1().await;
    assert_eq!(read(revoked.send_request(get("/")).await.unwrap()).await.0, 200);
    assert_eq!(read(kept.send_request(get("/")).await.unwrap()).await.0, 200);
    let mut endless = streaming.send_request(get2("/endless")).await.unwrap().into_body();
    let mut endless1 = streaming1.send_request(get("/endless")).await.unwrap().into_body();
    assert!(endless.frame().await.unwrap().unwrap().is_data());
    assert!(endless1.frame().await.unwrap().unwrap().is_data());

    let changed = Instant::now();
    pod.mount_bundle(&pod.bundle(2, pod.policy(&[(OTHER, None)])));
    for body in [&mut endless, &mut endless1] {
        let end = async { while let Some(Ok(_)) = body.frame().await {} };
        tokio::time::timeout(crate::support::LIMIT, end).await.expect("the stream ends");
    }
    assert!(changed.elapsed() < Duration::from_secs(2), "{:?}", changed.elapsed());
    loaded_sequence(&pod, 2).await;
    eventually("the connection is closed", async || revoked.is_closed()).await;
    assert!(revoked.send_request(get("/")).await.is_err());
    eventually("the application's streams end too", async || application.broken() == 2).await;
    assert_eq!(read(kept.send_request(get("/")).await.unwrap()).await.0, 200);
    assert!(matches!(pod.http1(&gateway).get("/").await, Attempt::Answered(403, _)));
}

#[tokio::test]
async fn a_route_that_becomes_narrower_ends_what_was_in_flight_under_it() {
    let application = Application::http().await;
    let pod = GuardedPod::start(application.address, 1);
    let gateway = pod.pki.gateway();
    let policy = |paths: &[&str]| {
        let mut policy = pod.policy(&[(ORDERS, None)]);
        let matches: Vec<_> =
            paths.iter().map(|path| serde_json::json!({"path": {"type": "Exact", "value": path}})).collect();
        policy.routes[0].rules = serde_json::from_value(serde_json::json!([{"matches": matches}])).unwrap();
        policy
    };
    pod.mount_bundle(&pod.bundle(1, policy(&["/endless", "/"])));
    loaded_sequence(&pod, 1).await;
    let mut idle = pod.http1(&gateway).open_http1().await;
    assert_eq!(read(idle.send_request(get("/")).await.unwrap()).await.0, 200);
    let mut one = pod.http1(&gateway).open_http1().await;
    let mut two = Client::http2(pod.callers(), &pod.pki.servers, &gateway).open_http2().await;
    let mut endless = [
        one.send_request(get("/endless")).await.unwrap().into_body(),
        two.send_request(get2("/endless")).await.unwrap().into_body(),
    ];

    // A rule more ends nothing.
    pod.mount_bundle(&pod.bundle(2, policy(&["/other", "/", "/endless"])));
    loaded_sequence(&pod, 2).await;
    for body in &mut endless {
        for _ in 0..5 {
            assert!(body.frame().await.unwrap().unwrap().is_data());
        }
    }

    pod.mount_bundle(&pod.bundle(3, policy(&["/other", "/"])));
    for body in &mut endless {
        let ends = async { while let Some(Ok(_)) = body.frame().await {} };
        tokio::time::timeout(crate::support::LIMIT, ends).await.unwrap();
    }
    eventually("the application's streams end too", async || application.broken() == 2).await;
    // What was not in flight is judged at its next request.
    assert_eq!(read(idle.send_request(get("/")).await.unwrap()).await.0, 200);
    idle.ready().await.unwrap();
    assert_eq!(read(idle.send_request(get("/endless")).await.unwrap()).await.0, 403);
}

#[tokio::test]
async fn what_is_revoked_during_the_drain_ends_too() {
    for workers in [1, 2] {
        let application = Application::http().await;
        let mut pod = GuardedPod::start(application.address, workers);
        let (gateway, other) = (pod.pki.gateway(), pod.pki.callers.client(OTHER));
        pod.mount_bundle(&pod.bundle(1, pod.policy(&[(ORDERS, None), (OTHER, None)])));
        loaded_sequence(&pod, 1).await;
        let mut revoked = pod.http1(&gateway).open_http1().await;
        let mut endless = revoked.send_request(get("/endless")).await.unwrap().into_body();
        assert!(endless.frame().await.unwrap().unwrap().is_data());
        let mut kept = pod.http1(&other).open_http1().await;
        let slow = tokio::spawn(async move { read(kept.send_request(get("/slow")).await.unwrap()).await });
        eventually("both are on their way", async || application.hits() == 2).await;

        pod.begin_to_stop();
        pod.ready_says(false, "draining").await;
        pod.mount_bundle(&pod.bundle(2, pod.policy(&[(OTHER, None)])));
        let changed = Instant::now();
        while let Some(Ok(_)) = endless.frame().await {}
        assert!(changed.elapsed() < Duration::from_secs(5), "{:?}", changed.elapsed());
        // A worker that serves nobody has ended; the other still does.
        loaded_sequence(&pod, 2).await;
        assert!(!pod.has_ended() && !slow.is_finished());
        application.release(1);
        assert_eq!(slow.await.unwrap(), (200, "slow\n".to_owned()));
        eventually("the sidecar ends", async || pod.has_ended()).await;
    }
}

#[tokio::test]
async fn a_key_that_is_no_longer_pinned_is_out_and_the_new_one_in() {
    let application = Application::http().await;
    let pod = GuardedPod::start(application.address, 1);
    let (old, new) = (pod.pki.gateway(), pod.pki.gateway());
    let pins = |leaves: &[&Leaf]| Some(leaves.iter().map(|leaf| leaf.pin()).collect::<Vec<_>>());
    pod.mount_bundle(&pod.bundle(1, pod.policy(&[(ORDERS, pins(&[&old]))])));
    loaded_sequence(&pod, 1).await;
    let mut open = pod.http1(&old).open_http1().await;
    assert_eq!(read(open.send_request(get("/")).await.unwrap()).await.0, 200);
    assert!(!is_let_in(&pod.http1(&new)).await);

    pod.mount_bundle(&pod.bundle(2, pod.policy(&[(ORDERS, pins(&[&old, &new]))])));
    loaded_sequence(&pod, 2).await;
    assert!(is_let_in(&pod.http1(&new)).await);
    assert_eq!(read(open.send_request(get("/")).await.unwrap()).await.0, 200, "nothing was lost");

    pod.mount_bundle(&pod.bundle(3, pod.policy(&[(ORDERS, pins(&[&new]))])));
    loaded_sequence(&pod, 3).await;
    eventually("the old key's connection is closed", async || open.is_closed()).await;
    assert!(!is_let_in(&pod.http1(&old)).await);
    assert!(is_let_in(&pod.http1(&new)).await);
}

#[tokio::test]
async fn a_new_server_certificate_loses_no_request() {
    let application = Application::http().await;
    let mut pod = GuardedPod::start(application.address, 1);
    let gateway = pod.pki.gateway();
    pod.mount_bundle(&pod.bundle(1, pod.policy(&[(ORDERS, None)])));
    loaded_sequence(&pod, 1).await;
    let mut open = pod.http1(&gateway).open_http1().await;
    let slow = tokio::spawn(open.send_request(get("/slow")));
    eventually("the request is on its way", async || application.hits() == 1).await;

    pod.pki.server =
        pod.pki.servers.issue(crate::support::Shape::Server, "spiffe://test/ns/shop/server/renewed");
    pod.mount_bundle(&pod.bundle(2, pod.policy(&[(ORDERS, None)])));
    assert_eq!(loaded_sequence(&pod, 2).await.server_certificate, Some(pod.pki.server.sha256()));
    let fresh = pod.http1(&gateway).connect().await.unwrap();
    assert_eq!(fresh.get_ref().1.peer_certificates().unwrap()[0], pod.pki.server.certificate);
    application.release(1);
    assert_eq!(read(slow.await.unwrap().unwrap()).await, (200, "slow\n".to_owned()));
    open.ready().await.unwrap();
    assert_eq!(read(open.send_request(get("/")).await.unwrap()).await.0, 200);
}

#[tokio::test]
async fn an_authority_that_is_replaced_takes_its_callers_along() {
    let application = Application::http().await;
    let mut pod = GuardedPod::start(application.address, 1);
    let gateway = pod.pki.gateway();
    pod.mount_bundle(&pod.bundle(1, pod.policy(&[(ORDERS, None)])));
    loaded_sequence(&pod, 1).await;
    let mut open = pod.http1(&gateway).open_http1().await;
    assert_eq!(read(open.send_request(get("/")).await.unwrap()).await.0, 200);
    pod.pki.callers = crate::support::Authority::new("postern callers");
    pod.mount_bundle(&pod.bundle(2, pod.policy(&[(ORDERS, None)])));
    loaded_sequence(&pod, 2).await;
    eventually("the connection is closed", async || open.is_closed()).await;
    assert!(!is_let_in(&pod.http1(&gateway)).await);
    assert!(is_let_in(&pod.http1(&pod.pki.gateway())).await);
}

#[tokio::test]
async fn the_admin_endpoint_is_for_the_operator_alone() {
    let application = Application::http().await;
    let pod = GuardedPod::start(application.address, 1);
    pod.mount_bundle(&pod.bundle(1, pod.policy(&[(ORDERS, None)])));
    loaded_sequence(&pod, 1).await;
    let admin = |leaf: Option<&Leaf>| Client::new(pod.admin(), &pod.pki.servers, leaf, &[b"http/1.1"]);
    let alert = |alert| Attempt::Alert(alert);
    assert_eq!(
        admin(Some(&pod.pki.gateway())).get("/v1/loaded").await,
        alert(rustls::AlertDescription::AccessDenied)
    );
    assert_eq!(admin(None).get("/v1/loaded").await, alert(rustls::AlertDescription::CertificateRequired));
    let forged = pod.pki.servers.client(OPERATOR);
    assert_eq!(admin(Some(&forged)).get("/v1/loaded").await, alert(rustls::AlertDescription::UnknownCA));
    let operator = pod.pki.callers.client(OPERATOR);
    assert!(matches!(admin(Some(&operator)).get("/other").await, Attempt::Answered(404, _)));
    // And the operator has no route.
    assert!(matches!(pod.http1(&operator).get("/").await, Attempt::Answered(403, _)));
    assert_eq!(application.hits(), 0);
}

/// Lets one identity in.
fn standalone(identity: &str) -> String {
    format!(
        "{{authorities: [{{name: postern, type: Postern, roots: ROOTS}}], \
         ports: [{{port: 8080, protocol: HTTP, access: {{type: Locked, locks: {{require: All, list: [{{type: MutualTLS}}]}}}}}}], \
         routes: [{{name: r, port: 8080, callers: [{{name: c1, certificates: [{{type: Identity, authority: postern, identity: '{identity}'}}]}}]}}]}}"
    )
}

#[tokio::test]
async fn standalone_files_are_watched() {
    crate::support::install_provider();
    let pki = Pki::new();
    let (gateway, other) = (pki.gateway(), pki.callers.client(OTHER));
    let application = Application::http().await;
    let ways = [(8080, application.address)];
    let sidecar = Sidecar::start(&pki, &ways, &standalone(ORDERS)).await;
    let client = |leaf: &Leaf| Client::http1(sidecar.address(0), &pki.servers, leaf);
    assert!(is_let_in(&client(&gateway)).await);

    sidecar.configure(
        &pki,
        &ways,
        "{authorities: [], ports: [{port: 0, protocol: TCP, access: {type: Locked, locks: {require: All, list: [{type: MutualTLS}]}}}]}",
    );
    let line = sidecar.logged("rejected", |line| line["message"] == "configuration rejected").await;
    assert!(line["reason"].as_str().unwrap().contains("port 0"), "{line}");
    assert!(is_let_in(&client(&gateway)).await);
    sidecar.configure(&pki, &[(8080, application.address), (8081, application.address)], &standalone(OTHER));
    sidecar
        .logged("listeners", |line| {
            line["reason"].as_str().is_some_and(|why| why.contains("restart the sidecar"))
        })
        .await;
    assert!(!is_let_in(&client(&other)).await);

    sidecar.configure(&pki, &ways, &standalone(OTHER));
    eventually("the other is let in", async || is_let_in(&client(&other)).await).await;
    assert!(!is_let_in(&client(&gateway)).await);

    let renewed = pki.servers.issue(crate::support::Shape::Server, "spiffe://test/ns/shop/server/renewed");
    sidecar.write_server(&renewed);
    eventually("the renewed certificate is presented", async || {
        let stream = client(&other).connect().await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0] == renewed.certificate
    })
    .await;
}

#[tokio::test]
async fn half_a_file_is_not_used_while_the_other_half_is_being_written() {
    crate::support::install_provider();
    let pki = Pki::new();
    let gateway = pki.gateway();
    let application = Application::http().await;
    let ways = [(8080, application.address)];
    let sidecar = Sidecar::start(&pki, &ways, &standalone(ORDERS)).await;
    let mut open = Client::http1(sidecar.address(0), &pki.servers, &gateway).open_http1().await;
    let path = sidecar.path("config.yaml");
    let good = std::fs::read_to_string(&path).unwrap();
    // Valid, and without the gateway; the rest of it is still to come.
    let half = good.replace(ORDERS, OTHER);
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(half.as_bytes()).unwrap();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(200) {
        open.ready().await.unwrap();
        assert_eq!(read(open.send_request(get("/")).await.unwrap()).await.0, 200);
    }
    file.seek(SeekFrom::Start(0)).unwrap();
    file.set_len(0).unwrap();
    file.write_all(format!("{good}# whole\n").as_bytes()).unwrap();
    drop(file);
    sidecar.loaded(2).await;
    open.ready().await.unwrap();
    assert_eq!(read(open.send_request(get("/")).await.unwrap()).await.0, 200);
    assert!(is_let_in(&Client::http1(sidecar.address(0), &pki.servers, &gateway)).await);
}
