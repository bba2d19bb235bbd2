//! Several locks on one door, without TLS where that is asked for, and open paths.

use postern_crds::{ApiRoute, BackendTrust};
use postern_tests::attack::{self, Attack};
use postern_tests::keyring::{self, basic};
use postern_tests::scene::{self, NAME, Scene};
use postern_tests::{Sharing, lock, run};
use serde_json::json;

#[test]
fn all_of_them_must_open() {
    run(Sharing::Shared, async |test| {
        let locks = json!({"all": [{"type": "MutualTLS"}, {"type": "Basic"}, {"type": "Header"}]});
        let scene = keyring::scene(test, &locks).await;
        let gateway = scene.gateway(test).await;
        gateway.seen(test, "/").await;
        let trust: BackendTrust = test.cluster.get(&test.namespace, NAME).await;
        let summary = trust.status.and_then(|status| status.summary).expect("a summary");
        assert_eq!(summary.locks.as_deref(), Some("mTLS+Basic+Header, mTLS"), "bytes have no headers");
        let route: ApiRoute = test.cluster.get(&test.namespace, NAME).await;
        let configuration = route.status.unwrap_or_default().gateways[0].configuration_ref.clone();
        assert_eq!(configuration.expect("a configuration").kind, "Secret", "it holds secret values");

        let held = keyring::held(test).await;
        let (user, value) = (basic(&held["username"], &held["password"]), &held["header-value"]);
        let (user, value) = (("Authorization", user.as_str()), ("X-Postern-Key", value.as_str()));
        let key = scene.key(&test.cluster).await;
        let with = |certificate: bool, headers: &[(&str, &str)]| {
            keyring::https(&scene.target, certificate.then(|| key.clone()), headers)
        };
        let attacks = [
            Attack::new("without a certificate", with(false, &[user, value])).logged("NoCertificate"),
            Attack::new("without credentials", with(true, &[value])).logged("NoCredentials"),
            Attack::new("without the header", with(true, &[user])).logged("NoSecretHeader"),
            Attack::new("with the certificate alone", with(true, &[])),
        ];
        attack::all_refused(&test.cluster, &scene.target, &attacks).await;
        let tried = attack::try_all(&test.cluster, &[Attack::new("all", with(true, &[user, value]))]).await;
        assert!(tried[0].made.outcome.got_in(), "{tried:?}");
    });
}

#[test]
fn any_of_them_opens_and_nothing_else() {
    run(Sharing::Shared, async |test| {
        let locks = json!({"any": [{"type": "MutualTLS"}, {"type": "Basic"}]});
        let scene = keyring::scene(test, &locks).await;
        let gateway = scene.gateway(test).await;
        gateway.seen(test, "/").await;
        let held = keyring::held(test).await;
        let user = basic(&held["username"], &held["password"]);
        let key = scene.key(&test.cluster).await;
        let ways = [
            Attack::new("the certificate", keyring::https(&scene.target, Some(key), &[])),
            Attack::new("the credential", keyring::https(&scene.target, None, &[("Authorization", &user)])),
        ];
        for tried in attack::try_all(&test.cluster, &ways).await {
            assert!(tried.made.outcome.got_in(), "{tried:?}");
        }
        let wrong = basic(&held["username"], "wrong");
        let attacks = [
            Attack::new("nothing", keyring::https(&scene.target, None, &[])),
            Attack::new("a wrong one", keyring::https(&scene.target, None, &[("Authorization", &wrong)])),
        ];
        attack::all_refused(&test.cluster, &scene.target, &attacks).await;
    });
}

#[test]
fn without_tls_where_that_is_asked_for_by_name_and_with_open_paths() {
    run(Sharing::Shared, async |test| {
        let mut trust = lock::echo_trust(&test.namespace, NAME);
        keyring::with_locks(&mut trust, &json!({"all": [{"type": "Header"}]}));
        trust["spec"]["ports"] = json!([
            {"port": "http", "transport": "Plaintext"},
            {"port": "tcp", "open": {"reason": "the test's", "paths": ["/metrics"]}},
        ]);
        let key = scene::key(&test.namespace);
        let scene = Scene::guarded_by(test, &test.namespace, &trust, &key).await;
        let gateway = scene.gateway(test).await;
        gateway.seen(test, "/").await;
        let trust: BackendTrust = test.cluster.get(&test.namespace, NAME).await;
        let status = trust.status.expect("a status");
        assert_eq!(status.summary.expect("a summary").locks.as_deref(), Some("Header plaintext +1 open"));
        let port = status.ports.iter().find(|port| port.name.as_deref() == Some("http")).expect("the port");
        assert_eq!((port.transport.as_str(), port.locks.as_str()), ("Plaintext", "Header"));
        let value = keyring::held(test).await["header-value"].clone();
        let right = [Attack::new("the value", keyring::http(&scene.target, &[("X-Postern-Key", &value)]))];
        assert!(attack::try_all(&test.cluster, &right).await[0].made.outcome.got_in());
        let attacks = [
            Attack::new("no value", keyring::http(&scene.target, &[])).logged("NoSecretHeader"),
            Attack::new("a wrong one", keyring::http(&scene.target, &[("X-Postern-Key", "wrong")]))
                .logged("WrongSecretHeader"),
        ];
        attack::all_refused(&test.cluster, &scene.target, &attacks).await;
    });
}

#[test]
fn what_can_not_stand_is_refused_with_its_reason() {
    run(Sharing::Shared, async |test| {
        let mut trust = lock::echo_trust(&test.namespace, NAME);
        let twice = json!([{"type": "Basic"}, {"type": "Header", "header": {"name": "authorization"}}]);
        trust["spec"]["ports"] = json!([{"port": "http", "locks": {"all": twice}}]);
        test.cluster.apply(&trust).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Accepted", "False", "HeaderConflict")).await;
    });
}
