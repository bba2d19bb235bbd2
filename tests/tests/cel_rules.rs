//! What makes no sense in itself is refused by the API server, with a message that says what to write instead.

use postern_tests::scene::{self, NAME};
use postern_tests::{Sharing, lock, run};
use serde_json::{Value, json};

#[test]
fn say_what_to_write_instead() {
    run(Sharing::Shared, async |test| {
        let trust = |path: &str, value: Value| with(lock::trust(&test.namespace, NAME, NAME), path, value);
        let route = |path: &str, value: Value| with(scene::key(&test.namespace), path, value);
        let path = |value: &str| json!([{"matches": [{"path": {"type": "PathPrefix", "value": value}}]}]);
        test.cluster.dry_run(&trust("/spec/ports", Value::Null)).await.expect("the smallest lock is good");
        test.cluster
            .dry_run(&route("/spec/rules", path("/orders")))
            .await
            .expect("a key with a rule is good");
        for (object, message) in [
            (trust("/metadata/name", "n".repeat(64).into()), "write a shorter metadata.name"),
            (trust("/spec/podSelector", json!({})), "write at least one label"),
            (
                trust("/spec/podSelector", json!({"matchExpressions": [{"key": "app", "operator": "In"}]})),
                "need at least one entry in values",
            ),
            (trust("/spec/podSelector", json!({"matchLabels": {"a b": "c"}})), "is not a label's key"),
            (trust("/spec/ports", json!([{"port": 8080}])), "says nothing about its port"),
            (
                trust("/spec/ports", json!([{"port": 8080, "protocol": "TCP", "open": {"reason": "x"}}])),
                "leave protocol out beside open",
            ),
            (
                trust("/spec/ports", json!([{"port": 8080, "open": {"reason": " "}}])),
                "why everybody may call",
            ),
            (trust("/spec/ports", json!([{"port": 15100, "protocol": "TCP"}])), "are the sidecar's own"),
            (trust("/spec/ports", json!([{"port": "8080", "protocol": "TCP"}])), "without quotes"),
            (
                trust("/spec/locks", json!({"all": [{"type": "Basic"}], "any": [{"type": "Header"}]})),
                "write either all",
            ),
            (
                trust("/spec/locks", json!({"all": [{"type": "Caller"}, {"type": "Basic"}]})),
                "leave MutualTLS and Basic out",
            ),
            (
                trust("/spec/locks", json!({"all": [{"type": "Header", "header": {"name": "Host"}}]})),
                "a meaning of its own",
            ),
            (
                trust("/spec/locks", json!({"all": [{"type": "Header", "header": {"name": "X-Key v; }"}}]})),
                "write a header's name",
            ),
            (trust("/spec/transport", json!("Plaintext")), "only beside locks"),
            (
                trust(
                    "/spec/ports",
                    json!([{"port": 80, "protocol": "TCP", "locks": {"all": [{"type": "Basic"}]}}]),
                ),
                "a TCP port carries no headers",
            ),
            (trust("/spec/server", json!({"names": ["orders.shop.svc"]})), "names of Services"),
            (trust("/spec/server", json!({"names": ["*.example.com"]})), "no wildcard"),
            (trust("/spec/unknown", json!(1)), "unknown"),
            (route("/metadata/name", "n".repeat(64).into()), "write a shorter metadata.name"),
            (route("/spec/gateways", json!([])), "gateways"),
            (
                route("/spec/gateways", json!([{"name": "Edge_1"}])),
                "the gateway's name from the chart's values",
            ),
            (route("/spec/backendRef/name", json!("orders.shop")), "without the namespace"),
            (route("/spec/backendRef/port", json!(0)), "backendRef.port"),
            (route("/spec/hostnames", json!(["Orders.example.com"])), "in lower case"),
            (route("/spec/hostnames", json!(["orders.example.com:80"])), "no port"),
            (route("/spec/rules", json!([{"name": "a"}, {"name": "a"}])), "give each its own"),
            (route("/spec/rules", json!([{"matches": [{}]}])), "an empty match fits every request"),
            (route("/spec/rules", json!([{"matches": [{"method": "get"}]}])), "in upper case"),
            (route("/spec/rules", json!([{"matches": [{"method": "CONNECT"}]}])), "never forwarded"),
            (route("/spec/rules", path("orders")), "begins with '/'"),
            (route("/spec/rules", path("/a/../b")), "as a server resolves it"),
            (route("/spec/rules", path("/a%2Fb")), "encoded slash"),
            (route("/spec/rules", path("/a?b=c")), "without '?'"),
            // Text that tries to break out of NGINX's configuration.
            (route("/spec/rules", path("/a\n}\nserver {")), "write letters"),
            (route("/spec/hostnames", json!(["a.example.com; return 200"])), "write a DNS name"),
            (route("/spec/hostnames", json!(["a.example.com\n}"])), "write a DNS name"),
            (route("/spec/backendTLS", json!({"serverName": "a.example.com; }"})), "write a whole DNS name"),
            (
                route(
                    "/spec/backendTLS",
                    json!({"serverName": "a.example.com", "verification": "SkipHostname"}),
                ),
                "no name is demanded",
            ),
            (route("/spec/backendTLS", json!({})), "backendTLS says nothing"),
            (route("/spec/backendTLS", json!({"serverName": "$host.example.com"})), "write a whole DNS name"),
        ] {
            let refusal = test.cluster.dry_run(&object).await;
            let said = refusal.map(|object| json!(object)).expect_err(message);
            assert!(said.contains(message), "expected {message:?} in {said:?}");
        }
        // What a lock guards is fixed once it stands.
        test.cluster.apply(&trust("/spec/ports", Value::Null)).await;
        let other = trust("/spec/podSelector", json!({"matchLabels": {"app": "other"}}));
        let said = test.cluster.dry_run(&other).await.expect_err("podSelector is immutable");
        assert!(said.contains("podSelector can't be changed"), "{said}");
    });
}

/// `object` with another value at a path of JSON (RFC 6901).
fn with(mut object: Value, path: &str, value: Value) -> Value {
    let (parent, key) = path.rsplit_once('/').expect("a path");
    let parent = object.pointer_mut(parent).and_then(Value::as_object_mut).expect("the path's parent");
    if value.is_null() {
        parent.remove(key);
    } else {
        parent.insert(key.to_owned(), value);
    }
    object
}
