//! Callers with a name get in past the gateway, by what they show and the mode of the lock, where the lock accepts them
//! and the route names them.

use postern_crds::{ApiRoute, BackendTrust};
use postern_echo::attempt::Identity;
use postern_tests::attack::{self, Attack};
use postern_tests::forge::{Authority, Leaf, sha256_of};
use postern_tests::keyring::{self, basic};
use postern_tests::scene::{self, NAME, Scene};
use postern_tests::{Sharing, Test, lock, run};
use serde_json::{Value, json};

/// A lock with these callers, whose certificates a partner's authority vouches for.
fn trust(namespace: &str, callers: &Value) -> Value {
    let mut trust = lock::echo_trust(namespace, NAME);
    trust["spec"]["accepts"] = json!(["Gateways", "Callers"]);
    trust["spec"]["clientAuthorities"] = json!([
        {"name": "postern", "type": "Postern"},
        {"name": "partner", "type": "Bundle", "bundleRef": {"kind": "Secret", "name": "partner-ca", "key": "ca.crt"}},
    ]);
    trust["spec"]["callers"] = callers.clone();
    trust
}

fn key(namespace: &str, callers: &[&str]) -> Value {
    let mut key = scene::key(namespace);
    key["spec"]["callers"] = json!(callers);
    key
}

fn bundle(namespace: &str, partner: &Authority) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"ca.crt": partner.pem()},
           "metadata": {"namespace": namespace, "name": "partner-ca"}})
}

fn credentials(namespace: &str, user: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
           "stringData": {"username": user, "password": password(user)},
           "metadata": {"namespace": namespace, "name": format!("{user}-basic")}})
}

fn password(user: &str) -> String {
    format!("correct horse of {user}")
}

#[test]
fn get_in_where_the_lock_accepts_and_the_route_names_them() {
    run(Sharing::Shared, async |test| {
        let partner = Authority::unknown();
        let client = || partner.issue(&Leaf::client("https://acme"));
        let (first, second, third) = (client(), client(), client());
        let other = partner.issue(&Leaf::client("https://other"));
        let namespace = &test.namespace;
        let reference = |identity: &Identity| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"tls.crt": identity.certificate},
                   "metadata": {"namespace": namespace, "name": "acme"}})
        };
        test.cluster.apply_all(&[bundle(namespace, &partner), reference(&second)]).await;
        let callers = json!([
            {"name": "acme", "certificates": [
                {"sha256": sha256_of(&first)},
                {"certificateRef": {"kind": "ConfigMap", "name": "acme", "key": "tls.crt"}},
            ]},
            {"name": "other", "certificates": [
                {"authority": "partner", "san": {"type": "URI", "value": "https://other"}},
            ]},
        ]);
        let trust = trust(namespace, &callers);
        let scene = Scene::guarded_by(test, namespace, &trust, &key(namespace, &["acme"])).await;
        let gateway = scene.gateway(test).await;
        scene.works(test, &gateway).await;
        let with =
            |name: &str, identity: &Identity| Attack::new(name, scene.with_certificate(identity.clone()));
        let acme = [with("the certificate by hash", &first), with("the certificate by reference", &second)];
        attack::all_get_in(&test.cluster, &scene.target, &acme).await;
        let strangers = [
            with("a third certificate", &third).logged("NoRoute"),
            with("a caller that no route names", &other).logged("NoRoute"),
        ];
        attack::all_refused(&test.cluster, &scene.target, &strangers).await;

        let status = test.cluster.get::<BackendTrust>(namespace, NAME).await.status.unwrap_or_default();
        let known = status.callers.iter().find(|one| one.name == "acme").expect("the caller's status");
        assert!(known.sha256.contains(&sha256_of(&second)) && known.not_after.is_some(), "{known:?}");
        lock::trust_says(&test.cluster, namespace, NAME, ("Bypassable", "True", "KeyHeldByCallers")).await;
        let route: ApiRoute = test.cluster.get(namespace, NAME).await;
        let accepted = lock::condition(&route, "Accepted").expect("a condition").message.clone();
        assert!(accepted.contains("past the gateway: acme"), "{accepted}");

        // Another certificate in the ConfigMap counts in place of the one that was there.
        test.cluster.apply(&reference(&third)).await;
        attack::all_get_in_within(&test.cluster, &scene.target, &[with("the new one", &third)], 90).await;
        attack::all_refused(&test.cluster, &scene.target, &[with("the old one", &second)]).await;

        // A route can't widen what the lock accepts.
        let mut strict = trust.clone();
        strict["spec"]["accepts"] = json!(["Gateways"]);
        test.cluster.apply(&strict).await;
        lock::route_says(&test.cluster, namespace, NAME, ("Accepted", "False", "NotAcceptedByTrust")).await;
        lock::trust_says(&test.cluster, namespace, NAME, ("Programmed", "True", "")).await;
        attack::all_refused(&test.cluster, &scene.target, &acme).await;
        scene.works(test, &gateway).await;
    });
}

/// What may be presented, and whether it gets in under the modes Default, Force and Exclusive.
struct Cell<'a> {
    name: &'a str,
    certificate: Option<&'a Identity>,
    header: Option<String>,
    expected: [bool; 3],
}

#[test]
fn are_judged_by_the_table_of_the_modes() {
    run(Sharing::Shared, async |test| {
        let partner = Authority::unknown();
        let of = |name: &str| partner.issue(&Leaf::client(&format!("https://{name}")).named(name));
        let (own, tenant, other) = (of("acme"), of("tenant"), of("other"));
        let unknown = Authority::unknown().issue(&Leaf::client("https://acme").named("acme"));
        let right = |user: &str| Some(basic(user, &password(user)));
        let namespace = &test.namespace;
        let objects =
            [bundle(namespace, &partner), credentials(namespace, "acme"), credentials(namespace, "visitor")];
        test.cluster.apply_all(&objects).await;
        let mut trust = trust(
            namespace,
            &json!([
                {"name": "acme", "certificates": [{"authority": "partner", "subject": "CN=acme"}],
                 "credentialsRef": {"name": "acme-basic"}},
                {"name": "visitor", "credentialsRef": {"name": "visitor-basic"}},
            ]),
        );
        trust["spec"]["tenant"] = json!({"certificates": [{"authority": "partner", "subject": "CN=tenant"}]});
        let in_mode = |mode: &str| {
            let mut trust = trust.clone();
            keyring::with_locks(&mut trust, &json!({"all": [{"type": "Caller", "caller": {"mode": mode}}]}));
            trust
        };
        let key = key(namespace, &["acme", "visitor"]);
        let scene = Scene::guarded_by(test, namespace, &in_mode("Default"), &key).await;
        let gateway = scene.gateway(test).await;
        let cell = |name, certificate, header, expected| Cell { name, certificate, header, expected };
        let cells = [
            cell("nothing", None, None, [false; 3]),
            cell("credentials only", None, right("acme"), [true, false, false]),
            cell("wrong credentials only", None, Some(basic("acme", "wrong")), [false; 3]),
            cell("the own certificate only", Some(&own), None, [true; 3]),
            cell("the tenant's only", Some(&tenant), None, [false; 3]),
            cell("another's only", Some(&other), None, [false; 3]),
            cell("the own and credentials", Some(&own), right("acme"), [true; 3]),
            cell("the own and wrong credentials", Some(&own), Some(basic("acme", "wrong")), [false; 3]),
            cell("the tenant's and credentials", Some(&tenant), right("visitor"), [true; 3]),
            cell("the tenant's and one's who has an own", Some(&tenant), right("acme"), [true, false, false]),
            cell("another's and credentials", Some(&other), right("visitor"), [true, false, false]),
            cell("a stranger's and credentials", Some(&unknown), right("acme"), [false; 3]),
        ];
        for (at, mode) in ["Default", "Force", "Exclusive"].into_iter().enumerate() {
            test.cluster.apply(&in_mode(mode)).await;
            let trust = lock::trust_says(&test.cluster, namespace, NAME, ("Ready", "True", "")).await;
            let summary = trust.status.and_then(|status| status.summary).expect("a summary");
            assert_eq!(summary.mode.as_deref(), Some(mode));
            let tries = |admitted: bool| -> Vec<Attack> {
                let cells = cells.iter().filter(|cell| cell.expected[at] == admitted);
                cells.map(|cell| cell.attack(&scene, mode)).collect()
            };
            attack::all_get_in(&test.cluster, &scene.target, &tries(true)).await;
            attack::all_refused(&test.cluster, &scene.target, &tries(false)).await;
            gateway.seen(test, "/").await;
        }
        changed_password(test, &scene, &own).await;
    });
}

impl Cell<'_> {
    fn attack(&self, scene: &Scene, mode: &str) -> Attack {
        let headers: Vec<_> = self.header.iter().map(|value| ("Authorization", value.as_str())).collect();
        let attempt = keyring::https(&scene.target, self.certificate.cloned(), &headers);
        Attack::new(format!("{} in mode {mode}", self.name), attempt)
    }
}

/// The new password counts in place of the old.
async fn changed_password(test: &Test, scene: &Scene, own: &Identity) {
    let mut secret = credentials(&test.namespace, "acme");
    secret["stringData"]["password"] = "battery staple".into();
    test.cluster.apply(&secret).await;
    let with = |name: &str, password: &str| {
        let header = basic("acme", password);
        let headers = [("Authorization", header.as_str())];
        Attack::new(name, keyring::https(&scene.target, Some(own.clone()), &headers))
    };
    let new = with("the new password", "battery staple");
    attack::all_get_in_within(&test.cluster, &scene.target, &[new], 90).await;
    let old = with("the old password", &password("acme")).logged("WrongCredentials");
    attack::all_refused(&test.cluster, &scene.target, &[old]).await;
}
