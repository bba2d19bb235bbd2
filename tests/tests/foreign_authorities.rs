//! Certificates of somebody else's authority: believed where the lock says so, for the names that it says, and no longer.

use postern_tests::attack::{self, Attack};
use postern_tests::forge::{Authority, Leaf, self_signed, sha256_of};
use postern_tests::scene::{self, NAME, Scene};
use postern_tests::{Sharing, lock, run};
use serde_json::{Value, json};

const PARTNER: &str = "https://acme.example/client";

/// A lock that believes a partner's authority and Postern's, with a caller of the partner's.
fn trust(namespace: &str) -> Value {
    let mut trust = lock::echo_trust(namespace, NAME);
    trust["spec"]["accepts"] = json!(["Gateways", "Callers"]);
    trust["spec"]["clientAuthorities"] = json!([
        {"name": "postern", "type": "Postern"},
        {"name": "partner", "type": "Bundle", "bundleRef": {"kind": "ConfigMap", "name": "partner-ca", "key": "ca.crt"}},
    ]);
    trust["spec"]["callers"] = json!([{
        "name": "acme",
        "certificates": [{"authority": "partner", "san": {"type": "URI", "value": PARTNER}}],
    }]);
    trust
}

fn key(namespace: &str) -> Value {
    let mut key = scene::key(namespace);
    key["spec"]["callers"] = json!(["acme"]);
    key
}

fn bundle(namespace: &str, pem: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": "partner-ca"},
        "data": {"ca.crt": pem},
    })
}

#[test]
fn vouch_for_the_names_that_the_lock_binds_to_them() {
    run(Sharing::Shared, async |test| {
        let (partner, stranger) = (Authority::unknown(), Authority::unknown());
        test.cluster.apply(&bundle(&test.namespace, &partner.pem())).await;
        let scene =
            Scene::guarded_by(test, &test.namespace, &trust(&test.namespace), &key(&test.namespace)).await;
        let gateway = scene.gateway(test).await;
        scene.works(test, &gateway).await;
        let with = |name: &str, identity| Attack::new(name, scene.with_certificate(identity));
        let acme = || with("the partner's caller", partner.issue(&Leaf::client(PARTNER)));
        attack::all_get_in(&test.cluster, &scene.target, &[acme()]).await;

        let identity = scene::identity(&test.cluster, &test.namespace, "edge", NAME).await;
        let refused = [
            with(
                "the partner's, of another name",
                partner.issue(&Leaf::client("https://acme.example/other")),
            ),
            with("the partner's, of the gateway's name", partner.issue(&Leaf::client(&identity))),
            with("a stranger's, of the caller's name", stranger.issue(&Leaf::client(PARTNER))),
            with("one of the caller's name, by itself", self_signed(&Leaf::client(PARTNER))),
        ];
        attack::all_refused(&test.cluster, &scene.target, &refused).await;

        // A file that can't be read keeps the last good one, and says so.
        test.cluster.apply(&bundle(&test.namespace, "nothing")).await;
        let says = ("ResolvedRefs", "False", "InvalidBundle");
        lock::trust_says(&test.cluster, &test.namespace, NAME, says).await;
        attack::all_get_in(&test.cluster, &scene.target, &[acme()]).await;

        // An authority that is taken out of the lock vouches for nobody.
        let mut without = trust(&test.namespace);
        without["spec"]["clientAuthorities"] = json!([{"name": "postern", "type": "Postern"}]);
        test.cluster.apply(&without).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("ResolvedRefs", "False", "RefNotFound"))
            .await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Programmed", "True", "")).await;
        attack::all_refused(&test.cluster, &scene.target, &[acme()]).await;
        scene.works(test, &gateway).await;
    });
}

#[test]
fn of_type_pin_believe_one_certificate_even_if_it_is_signed_by_itself() {
    run(Sharing::Shared, async |test| {
        let (pinned, other) = (self_signed(&Leaf::client(PARTNER)), self_signed(&Leaf::client(PARTNER)));
        let sha256 = sha256_of(&pinned);
        let mut trust = trust(&test.namespace);
        trust["spec"]["clientAuthorities"] = json!([
            {"name": "postern", "type": "Postern"},
            {"name": "apic", "type": "Pin", "pin": {"sha256": [sha256]}},
        ]);
        trust["spec"]["callers"] = json!([{"name": "acme", "certificates": [{"sha256": sha256}]}]);
        let scene = Scene::guarded_by(test, &test.namespace, &trust, &key(&test.namespace)).await;
        let with = |name: &str, identity| Attack::new(name, scene.with_certificate(identity));
        attack::all_get_in(&test.cluster, &scene.target, &[with("the pinned certificate", pinned)]).await;
        attack::all_refused(&test.cluster, &scene.target, &[with("another of the same name", other)]).await;
    });
}
