//! A revoked certificate opens nothing, and a gateway that held it gets another one by itself.

use jiff::Timestamp;
use postern_crds::BackendTrust;
use postern_tests::attack::{self, Attack};
use postern_tests::forge::sha256_of;
use postern_tests::scene::{self, NAME, Scene};
use postern_tests::{Sharing, lock, run, wait};
use serde_json::json;

#[test]
fn open_nothing_and_the_gateway_gets_another() {
    run(Sharing::Shared, async |test| {
        let scene = Scene::guarded(test).await;
        let gateway = scene.gateway(test).await;
        scene.works(test, &gateway).await;
        let old = scene.key(&test.cluster).await;
        let with_colons = sha256_of(&old)
            .as_bytes()
            .chunks(2)
            .map(|pair| String::from_utf8_lossy(pair).to_uppercase())
            .collect::<Vec<_>>()
            .join(":");
        let patch = json!({"spec": {"revokedCertificates": [with_colons]}});
        test.cluster.try_patch::<BackendTrust>(&test.namespace, NAME, patch).await.expect("it is revoked");
        let used = Attack::new("the revoked certificate", scene.with_certificate(old.clone()));
        wait::until("the revoked certificate to be refused", 5, async || {
            let tried = attack::try_all(&test.cluster, std::slice::from_ref(&used)).await.remove(0);
            if tried.made.outcome.got_in() { Err("it gets in".to_owned()) } else { Ok(()) }
        })
        .await;
        attack::all_refused(&test.cluster, &scene.target, &[used]).await;
        let new = scene.key(&test.cluster).await;
        assert_ne!(new.certificate, old.certificate);
        let new = Attack::new("the new certificate", scene.with_certificate(new));
        attack::all_get_in(&test.cluster, &scene.target, &[new]).await;
        gateway.refresh(test).await;
        wait::until("the gateway to call with its new key", 30, async || {
            let made = gateway.call(test, gateway.get("/")).await;
            if made.outcome.got_in() { Ok(()) } else { Err(format!("{:?}", made.outcome)) }
        })
        .await;
        scene.works(test, &gateway).await;
    });
}

#[test]
fn of_a_rotation_without_overlap_is_refused_at_once_after_the_hand_over() {
    run(Sharing::Shared, async |test| {
        let scene = Scene::guarded(test).await;
        let old = scene.key(&test.cluster).await;
        let mut key = scene::key(&test.namespace);
        let now = Timestamp::now() + jiff::SignedDuration::from_secs(2);
        key["spec"]["rotation"] =
            json!({"overlap": "0s", "requestedAt": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()});
        test.cluster.apply(&key).await;
        wait::until("the hand-over", lock::LIMIT, async || {
            let new = scene.key(&test.cluster).await;
            if new.certificate == old.certificate { Err("it has the old one".to_owned()) } else { Ok(()) }
        })
        .await;
        let used = Attack::new("the old key", scene.with_certificate(old));
        wait::until("the old key to be refused", 5, async || {
            let tried = attack::try_all(&test.cluster, std::slice::from_ref(&used)).await.remove(0);
            if tried.made.outcome.got_in() { Err("it gets in".to_owned()) } else { Ok(()) }
        })
        .await;
        attack::all_refused(&test.cluster, &scene.target, &[used]).await;
        let new = Attack::new("the new key", scene.with_certificate(scene.key(&test.cluster).await));
        attack::all_get_in(&test.cluster, &scene.target, &[new]).await;
    });
}
