//! A team that shares a gateway with another points its own route at the other's pods, and is not let in.

use postern_tests::gateway::{self, Forward, output_name};
use postern_tests::scene::{NAME, Scene};
use postern_tests::workload::{Echo, SERVICE_HTTP};
use postern_tests::{Sharing, attack, install, lock, run, scene};

#[test]
fn the_key_of_one_route_does_not_open_another_backend() {
    run(Sharing::Shared, async |test| {
        let theirs = test.another_namespace(serde_json::json!({})).await;
        let victim = Echo::new(&test.namespace, NAME);
        victim.deploy(&test.cluster).await;
        let address = victim.target(&test.cluster).await.service[0].clone();
        let own = Scene::guarded_in(test, &theirs).await;
        let mounted =
            format!("/etc/postern/{}", output_name(install::EDGE.0, &(theirs.clone(), NAME.to_owned())));
        let trick = format!(
            "    location /plain/ {{ proxy_pass http://{address}:{SERVICE_HTTP}; }}
    location /trick/ {{
      proxy_pass https://{address}:{SERVICE_HTTP};
      proxy_ssl_certificate {mounted}/tls.crt;
      proxy_ssl_certificate_key {mounted}/tls.key;
      proxy_ssl_protocols TLSv1.3;
    }}"
        );
        let forwards = [Forward::all(&theirs, NAME)];
        let gateway = gateway::start_with(test, install::EDGE, &forwards, &trick).await;
        // Without a lock nothing holds them off.
        gateway.seen(test, "/plain/").await;
        gateway.seen(test, "/").await;

        test.cluster.apply(&lock::echo_trust(&test.namespace, NAME)).await;
        lock::keyed(&test.cluster, &scene::key(&test.namespace)).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let target = victim.target(&test.cluster).await;
        let before = target.hits(&test.cluster).await;
        let made = gateway.answered(test, gateway.get("/trick/")).await;
        assert_eq!(made.outcome.status(), Some(403), "{:?}", made.outcome);
        assert_eq!(problem_code(&made.outcome).as_deref(), Some("NoRoute"), "{:?}", made.outcome);
        let made = gateway.call(test, gateway.get("/plain/")).await;
        assert!(!made.outcome.got_in(), "{:?}", made.outcome);
        assert_eq!(target.hits(&test.cluster).await, before);
        // Their own route still works, and its key does nothing when it is carried to the pod by hand.
        gateway.seen(test, "/").await;
        let mut stolen = own.with_certificate(own.key(&test.cluster).await);
        target.address().clone_into(&mut stolen.address);
        let attack = attack::Attack::new("the other route's key", stolen).logged("NoRoute");
        attack::all_refused(&test.cluster, &target, &[attack]).await;
    });
}

fn problem_code(outcome: &postern_echo::attempt::Outcome) -> Option<String> {
    gateway::problem(outcome).map(|problem| problem["code"].as_str().unwrap_or_default().to_owned())
}
