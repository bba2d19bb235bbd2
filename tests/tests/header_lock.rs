//! A lock of type Header: a value that only the gateway knows.

use postern_tests::attack::{self, Attack};
use postern_tests::scene::NAME;
use postern_tests::{Sharing, keyring, load, lock, run};
use serde_json::json;

#[test]
fn opens_for_the_gateways_generated_value_alone() {
    run(Sharing::Shared, async |test| {
        let scene = keyring::scene(test, &json!({"all": [{"type": "Header"}]})).await;
        let gateway = scene.gateway(test).await;
        let seen = gateway.seen(test, "/").await;
        let held = keyring::held(test).await;
        let value = &held["header-value"];
        assert_eq!(held["header-name"], "X-Postern-Key");
        assert_eq!(keyring::named(&seen, "x-postern-key"), Vec::<&str>::new(), "{seen:?}");
        assert!(!format!("{seen:?}").contains(value.as_str()), "the application sees no value");
        // The gateway's own counts, whatever its client sends.
        let made = gateway.call(test, gateway.request("GET", "/", &[("X-Postern-Key", "guessed")])).await;
        assert_eq!(made.outcome.status(), Some(200), "{made:?}");

        let to = |name: &str, headers: &[(&str, &str)]| {
            Attack::new(name, keyring::https(&scene.target, None, headers))
        };
        let attacks = [
            to("no value", &[]).logged("NoSecretHeader"),
            to("a wrong value", &[("X-Postern-Key", "wrong")]).logged("WrongSecretHeader"),
            to("a value that begins alike", &[("X-Postern-Key", &value[..20])]).logged("WrongSecretHeader"),
            to("twice", &[("X-Postern-Key", value), ("X-Postern-Key", value)]).logged("RepeatedKey"),
            Attack::new("plain HTTP", keyring::http(&scene.target, &[("X-Postern-Key", value)]))
                .logged("PlaintextRefused"),
        ];
        attack::all_refused(&test.cluster, &scene.target, &attacks).await;
        let stolen = [to("the key itself", &[("x-postern-key", value)])];
        let tried = attack::try_all(&test.cluster, &stolen).await;
        assert!(tried[0].made.outcome.got_in(), "or the refusals prove nothing: {tried:?}");
    });
}

#[test]
fn is_rotated_without_losing_a_call() {
    run(Sharing::Shared, async |test| {
        let scene = keyring::scene(test, &json!({"all": [{"type": "Header"}]})).await;
        let gateway = scene.gateway(test).await;
        gateway.seen(test, "/").await;
        let old = keyring::held(test).await["header-value"].clone();
        let load = load::begin(test, vec![gateway.get("/")]).await;
        keyring::rotate(test, json!({})).await;
        let new = keyring::replaced(test, "header-value", &old).await["header-value"].clone();
        keyring::mounted(test, &gateway, &new).await;
        gateway.seen(test, "/").await;
        let totals = load.end().await;
        assert!(totals.lost.is_empty() && totals.got_in > 10, "{totals:?}");
        for value in [&new, &old] {
            let attempt = keyring::https(&scene.target, None, &[("X-Postern-Key", value)]);
            let tried = attack::try_all(&test.cluster, &[Attack::new("", attempt)]).await;
            assert!(tried[0].made.outcome.got_in(), "both are valid during the overlap: {tried:?}");
        }
    });
}

#[test]
fn takes_the_authors_own_value_from_a_secret_if_it_is_strong() {
    run(Sharing::Shared, async |test| {
        let own = |value: &str| {
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": test.namespace, "name": "orders-key"},
                "stringData": {"value": value},
            })
        };
        let value = "0123456789abcdef0123456789abcdef";
        test.cluster.apply(&own(value)).await;
        let header = json!({"name": "X-Gateway-Key", "valueRef": {"name": "orders-key", "key": "value"}});
        let scene = keyring::scene(test, &json!({"all": [{"type": "Header", "header": header}]})).await;
        let gateway = scene.gateway(test).await;
        let seen = gateway.seen(test, "/").await;
        assert_eq!(keyring::named(&seen, "x-gateway-key"), Vec::<&str>::new(), "{seen:?}");
        assert_eq!(keyring::held(test).await["header-value"], value);

        test.cluster.apply(&own("short")).await;
        let trust = lock::trust_says(
            &test.cluster,
            &test.namespace,
            NAME,
            ("ResolvedRefs", "False", "InvalidSecret"),
        )
        .await;
        let message = &lock::condition(&trust, "ResolvedRefs").expect("the condition").message;
        assert!(message.contains("orders-key") && !message.contains("short"), "{message}");
        gateway.seen(test, "/").await;
        let weak =
            Attack::new("the weak value", keyring::https(&scene.target, None, &[("X-Gateway-Key", "short")]));
        attack::all_refused(&test.cluster, &scene.target, &[weak.logged("WrongSecretHeader")]).await;
    });
}
