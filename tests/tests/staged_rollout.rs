//! Lock and key come to running pods under a steady load through the real gateway, and not one request is lost.

use postern_crds::rollout::Stage;
use postern_crds::{ApiRoute, BackendTrust};
use postern_tests::attack::{self, Attack};
use postern_tests::gateway::{self, Forward};
use postern_tests::scene::{self, NAME};
use postern_tests::workload::{Echo, HTTP};
use postern_tests::{Sharing, Test, install, load, lock, run, wait};
use serde_json::json;

/// Where the gateway has no key yet, it calls the Service as it always did.
fn as_before(namespace: &str) -> String {
    format!(
        "    location @before {{ proxy_pass http://{NAME}.{namespace}.svc.cluster.local:80; proxy_set_header Host \
         $http_host; proxy_next_upstream error timeout; }}\n    root /var/empty;\n    error_page 404 = @before;\n"
    )
}

#[test]
fn loses_no_request() {
    run(Sharing::Alone, async |test| {
        let echo = Echo { replicas: 2, ..Echo::new(&test.namespace, NAME) };
        let mut deployment = echo.deployment();
        // As long as a Service may still lead to a pod that goes, it answers; that is the workload's own care.
        deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 10.into();
        deployment["spec"]["template"]["spec"]["containers"][0]["lifecycle"] =
            json!({"preStop": {"sleep": {"seconds": 5}}});
        deployment["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
        test.cluster.apply_all(&[echo.service(), deployment]).await;
        echo.settled(&test.cluster).await;
        let forwards = [Forward::all(&test.namespace, NAME)];
        let before = as_before(&test.namespace);
        let gateway = gateway::start_with(test, install::EDGE, &forwards, &before).await;
        let replica = gateway::start_with(test, install::EDGE, &forwards, &before).await;
        gateway.seen(test, "/").await;
        replica.seen(test, "/").await;
        let load = load::in_a_pod(test, vec![gateway.get("/"), replica.get("/")]).await;

        let mut trust = lock::echo_trust(&test.namespace, NAME);
        trust["spec"]["rollout"] = json!({"type": "Staged", "deadline": "10m"});
        test.cluster.apply_all(&[trust, scene::key(&test.namespace)]).await;
        reaches(test, Stage::Injecting).await;
        let route: ApiRoute = test.cluster.get(&test.namespace, NAME).await;
        let held_back = route.status.unwrap_or_default().gateways;
        assert!(held_back.iter().all(|one| one.configuration_ref.is_none()), "{held_back:?}");

        reaches(test, Stage::Permissive).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "False", "Staged")).await;
        let pods = echo.settled(&test.cluster).await;
        let address = postern_tests::cluster::addresses(&pods[0]).into_iter().next().expect("an address");
        let direct = [Attack::http("plain HTTP", &address, HTTP), Attack::https("TLS", &address, HTTP, None)];
        for tried in attack::try_all(&test.cluster, &direct).await {
            assert!(tried.made.outcome.got_in(), "{}: {:?}", tried.attack.name, tried.made.outcome);
        }
        gateway.refresh(test).await;
        // One replica has called with the key: the other still calls without, and the stage waits for it.
        wait::until("the first call with the key", lock::LIMIT, async || {
            let trust: BackendTrust = test.cluster.get(&test.namespace, NAME).await;
            let status = trust.status.unwrap_or_default();
            assert_eq!(status.stage, Some(Stage::Permissive));
            status.stage_ends.map(|_| ()).ok_or_else(|| format!("{:?}", status.conditions))
        })
        .await;
        replica.refresh(test).await;

        reaches(test, Stage::Enforcing).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let totals = load.end(test).await;
        assert!(totals.lost.is_empty() && totals.got_in > 100, "{totals:?}");
        for tried in attack::try_all(&test.cluster, &direct).await {
            assert!(!tried.made.outcome.got_in(), "{}: {:?}", tried.attack.name, tried.made.outcome);
        }
    });
}

#[test]
fn ends_at_its_deadline_whoever_calls() {
    run(Sharing::Shared, async |test| {
        let echo = Echo::new(&test.namespace, NAME);
        let mut trust = lock::echo_trust(&test.namespace, NAME);
        trust["spec"]["rollout"] = json!({"type": "Staged", "deadline": "40s"});
        test.cluster.apply_all(&[trust, scene::key(&test.namespace)]).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Armed", "True", "")).await;
        echo.deploy(&test.cluster).await;
        let target = echo.target(&test.cluster).await;
        reaches(test, Stage::Permissive).await;
        let direct = [Attack::http("plain HTTP", target.address(), HTTP)];
        attack::all_get_in(&test.cluster, &target, &direct).await;
        // Nobody holds the key, and somebody calls without one for as long as it lasts.
        let load = load::in_a_pod(test, vec![direct[0].attempt.clone()]).await;
        reaches(test, Stage::Enforcing).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        load.end(test).await;
        let [direct] = direct;
        attack::all_refused(&test.cluster, &target, &[direct.logged("PlaintextRefused")]).await;
    });
}

async fn reaches(test: &Test, stage: Stage) {
    wait::until(&format!("stage {stage}"), lock::LIMIT, async || {
        let trust: BackendTrust = test.cluster.get(&test.namespace, NAME).await;
        let status = trust.status.unwrap_or_default();
        if status.stage >= Some(stage) {
            Ok(())
        } else {
            Err(format!("{:?} {:?}", status.stage, status.conditions))
        }
    })
    .await;
}
