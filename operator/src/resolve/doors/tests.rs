use serde_json::{Value, json};

use super::*;

fn door_of(spec: &Value, port: &Value) -> Door {
    let mut spec = spec.clone();
    spec["podSelector"] = json!({"matchLabels": {"app": "orders"}});
    let trust: BackendTrust = serde_json::from_value(json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "BackendTrust", "metadata": {"name": "orders"}, "spec": spec,
    }))
    .unwrap();
    let port: Option<Port> = serde_json::from_value(port.clone()).unwrap();
    door(&trust, port.as_ref())
}

#[test]
fn a_port_says_what_differs_and_the_trust_the_rest() {
    let basic = json!({"locks": {"all": [{"type": "Basic"}]}, "transport": "Plaintext"});
    for (spec, port, label, transport) in [
        (json!({}), Value::Null, "mTLS", Transport::TLS),
        (json!({}), json!({"port": 80}), "mTLS", Transport::TLS),
        (basic.clone(), Value::Null, "Basic", Transport::Plaintext),
        (basic.clone(), json!({"port": 80}), "Basic", Transport::Plaintext),
        (basic.clone(), json!({"port": 80, "transport": "TLS"}), "Basic", Transport::TLS),
        (
            basic,
            json!({"port": 80, "locks": {"any": [{"type": "MutualTLS"}, {"type": "Header"}]}}),
            "mTLS|Header",
            Transport::Plaintext,
        ),
        (
            json!({"locks": {"all": [{"type": "Caller"}, {"type": "Header"}]}}),
            Value::Null,
            "Caller+Header",
            Transport::TLS,
        ),
    ] {
        let door = door_of(&spec, &port);
        assert_eq!((door.to_string().as_str(), door.transport), (label, transport), "{spec} {port}");
    }
}

#[test]
fn what_is_not_said_is_the_strict_default() {
    let door = door_of(&json!({"locks": {"all": [{"type": "Basic"}, {"type": "Header"}]}}), &Value::Null);
    let basic = door.basic().unwrap();
    assert_eq!(
        (basic.header_name.as_str(), basic.upstream, &basic.source),
        ("Authorization", Upstream::Strip, &BasicSource::Generated)
    );
    assert_eq!(door.header(), Some(&HeaderPlan { name: "X-Postern-Key".to_owned(), own: None }));
    let door = door_of(&json!({"locks": {"all": [{"type": "Caller"}]}}), &Value::Null);
    let expected = CallerPlan {
        mode: Mode::Exclusive,
        header_name: "Authorization".to_owned(),
        upstream: Upstream::Strip,
    };
    assert_eq!(door.caller(), Some(&expected));
}

#[test]
fn a_door_stands_only_where_it_can() {
    let all = |list: Value| json!({"locks": {"all": list}});
    let any = |list: Value| json!({"locks": {"any": list}});
    let header = |name: &str| json!({"type": "Header", "header": {"name": name}});
    let plaintext = |mut spec: Value| {
        spec["transport"] = "Plaintext".into();
        spec
    };
    let http = Protocol::HTTP;
    for (spec, protocol, reason) in [
        (json!({}), http, None),
        (json!({}), Protocol::TCP, None),
        (plaintext(json!({})), http, Some(Reason::LockNotPossible)),
        (plaintext(all(json!([{"type": "Basic"}]))), http, None),
        (plaintext(any(json!([{"type": "Basic"}, {"type": "Header"}]))), Protocol::H2C, None),
        (
            plaintext(any(json!([{"type": "Basic"}, {"type": "MutualTLS"}]))),
            http,
            Some(Reason::LockNotPossible),
        ),
        (plaintext(all(json!([{"type": "Caller"}]))), http, Some(Reason::LockNotPossible)),
        (all(json!([{"type": "Basic"}])), Protocol::TCP, Some(Reason::LockNotPossible)),
        (
            any(json!([{"type": "MutualTLS"}, {"type": "Header"}])),
            Protocol::TCP,
            Some(Reason::LockNotPossible),
        ),
        (all(json!([{"type": "Caller"}])), Protocol::TCP, Some(Reason::LockNotPossible)),
        (any(json!([{"type": "MutualTLS"}])), Protocol::TCP, None),
        (all(json!([{"type": "Basic"}, header("authorization")])), http, Some(Reason::HeaderConflict)),
        (any(json!([{"type": "Caller"}, header("Authorization")])), http, Some(Reason::HeaderConflict)),
        (all(json!([{"type": "Basic"}, header("X-Key")])), http, None),
    ] {
        let refused = objection(&door_of(&spec, &Value::Null), "port 80", protocol, &Floor::default());
        assert_eq!(refused.map(|refusal| refusal.reason), reason, "{spec} {protocol:?}");
    }
}
