//! A change of a route reaches running pods in at most two seconds, without a restart.

use std::time::Duration;

use postern_crds::{ApiRoute, BackendTrust};
use postern_tests::scene::{NAME, Scene};
use postern_tests::{Sharing, gateway, lock, run, wait};
use serde_json::json;
use tokio::time::Instant;

/// From the API server's acceptance to the pod's behaviour.
const LIMIT: Duration = Duration::from_secs(2);

#[test]
fn within_two_seconds() {
    // Alone: what is measured is not how long the machine takes for the other tests.
    run(Sharing::Alone, async |test| {
        let scene = Scene::guarded(test).await;
        let gateway = scene.gateway(test).await;
        gateway.seen(test, "/orders").await;
        let before: BackendTrust = test.cluster.get(&test.namespace, NAME).await;
        let rules = |path: &str| json!({"spec": {"rules": [{"matches": [{"path": {"type": "Exact", "value": path}}]}]}});
        for (allowed, refused) in [("/a", "/orders"), ("/orders", "/a")] {
            let patched = Instant::now();
            test.cluster
                .try_patch::<ApiRoute>(&test.namespace, NAME, rules(allowed))
                .await
                .expect("the rules");
            wait::until("the new rules to count", 20, async || {
                let made = gateway.call(test, gateway.get(refused)).await;
                let problem = gateway::problem(&made.outcome).unwrap_or_default();
                if problem["code"] == "NoRuleMatches" {
                    Ok(())
                } else {
                    Err(format!("{refused}: {:?}", made.outcome))
                }
            })
            .await;
            let elapsed = patched.elapsed();
            assert!(elapsed < LIMIT, "the rules counted only {elapsed:?} after they were changed");
            gateway.seen(test, allowed).await;
        }
        // Status says what the pod has loaded, by its own word.
        let after = lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let hash = |trust: &BackendTrust| trust.status.as_ref().and_then(|status| status.config_hash.clone());
        assert_ne!(hash(&before), hash(&after), "another configuration has another hash");
        let target = scene.echo.target(&test.cluster).await;
        assert_eq!(target.pod, scene.target.pod, "the pod was not replaced");
    });
}
