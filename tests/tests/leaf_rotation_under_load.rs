//! New certificates on both sides, and not one call is lost.

use postern_crds::{ApiRoute, BackendTrust};
use postern_tests::attack::{self, Attack};
use postern_tests::scene::{NAME, Scene};
use postern_tests::{Sharing, Test, keyring, load, lock, run, wait};
use serde_json::json;

#[test]
fn loses_no_call() {
    run(Sharing::Shared, async |test| {
        let scene = Scene::guarded(test).await;
        let gateway = scene.gateway(test).await;
        gateway.seen(test, "/").await;
        let old_key = scene.key(&test.cluster).await;
        let old = fingerprints(test).await;
        let load = load::begin(test, vec![gateway.get("/")]).await;

        keyring::rotate_by::<BackendTrust>(test, json!({})).await;
        wait::until("new certificates on both sides", lock::LIMIT, async || {
            let new = fingerprints(test).await;
            let both = new.0 != old.0 && new.1 != old.1;
            if both { Ok(()) } else { Err(format!("{old:?} became {new:?}")) }
        })
        .await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        lock::route_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let new_key = scene.key(&test.cluster).await;
        assert_ne!(new_key.certificate, old_key.certificate, "the gateway is given another key");
        gateway.refresh(test).await;
        wait::until("NGINX to be reloaded", 20, async || {
            let log = test.cluster.logs(&gateway.namespace, &gateway.pod, "nginx").await;
            if log.contains("reconfiguring") { Ok(()) } else { Err("it has not said so".to_owned()) }
        })
        .await;
        gateway.seen(test, "/").await;
        let totals = load.end().await;
        assert!(totals.lost.is_empty() && totals.got_in > 10, "{totals:?}");

        // Until the overlap is over, a gateway that reloads late still gets in.
        let keys = [("the new key", new_key), ("the old key", old_key)];
        let keys = keys.map(|(name, key)| Attack::new(name, scene.with_certificate(key)));
        for one in attack::try_all(&test.cluster, &keys).await {
            assert!(one.made.outcome.got_in(), "{}: {:?}", one.attack.name, one.made.outcome);
        }
        scene.works(test, &gateway).await;
    });
}

/// Of the server's certificate and the gateway's, by status.
async fn fingerprints(test: &Test) -> (Vec<String>, Vec<String>) {
    let trust: BackendTrust = test.cluster.get(&test.namespace, NAME).await;
    let route: ApiRoute = test.cluster.get(&test.namespace, NAME).await;
    let server = trust.status.unwrap_or_default().certificates.into_iter().map(|one| one.sha256).collect();
    let gateways = route.status.unwrap_or_default().gateways;
    (server, gateways.into_iter().filter_map(|one| one.certificate).map(|one| one.sha256).collect())
}
