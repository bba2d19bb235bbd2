use serde_json::{Value, json};

use super::*;

fn desired() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": "postern-orders", "namespace": "shop",
            "labels": {"app.kubernetes.io/managed-by": "postern", "postern.dev/trust": "orders"},
        },
        "type": "Opaque",
        "data": {"tls.crt": "Yw==", "tls.key": "aw=="},
        "rules": [{"verbs": ["CREATE"]}],
        "nothing": {"empty": []},
    })
}

fn existing(change: impl FnOnce(&mut Value)) -> Value {
    let mut object = desired();
    object["metadata"]["uid"] = json!("0f8fad5b");
    object["metadata"]["resourceVersion"] = json!("17");
    object["rules"][0]["scope"] = json!("*");
    object.as_object_mut().unwrap().remove("nothing");
    object["metadata"]["managedFields"] = json!([
        {"manager": "postern", "operation": "Apply", "fieldsV1": {
            "f:metadata": {"f:labels": {"f:app.kubernetes.io/managed-by": {}, "f:postern.dev/trust": {}}},
            "f:type": {},
            "f:data": {"f:tls.crt": {}, "f:tls.key": {}},
            "f:rules": {},
        }},
        {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:metadata": {"f:annotations": {}}}},
    ]);
    change(&mut object);
    object
}

fn decided(change: impl FnOnce(&mut Value)) -> Action {
    decide(Some(&existing(change)), &desired())
}

#[test]
fn absent_is_created() {
    assert_eq!(decide(None, &desired()), Action::Create);
}

#[test]
fn equal_is_kept_whatever_the_server_adds() {
    assert_eq!(decided(|_| ()), Action::Keep);
}

#[test]
fn fields_of_others_are_kept() {
    assert_eq!(decided(|o| o["metadata"]["annotations"] = json!({"backup": "yes"})), Action::Keep);
}

#[test]
fn another_value_is_updated() {
    assert_eq!(decided(|o| o["data"]["tls.crt"] = json!("ZA==")), Action::Update);
}

#[test]
fn a_missing_value_is_updated() {
    assert_eq!(decided(|o| drop(o["data"].as_object_mut().unwrap().remove("tls.key"))), Action::Update);
}

#[test]
fn a_longer_list_is_updated() {
    assert_eq!(decided(|o| o["rules"].as_array_mut().unwrap().push(json!({}))), Action::Update);
}

#[test]
fn what_we_applied_once_and_render_no_more_is_updated() {
    assert_eq!(
        decided(|o| {
            o["data"]["next.key"] = json!("bg==");
            o["metadata"]["managedFields"][0]["fieldsV1"]["f:data"]["f:next.key"] = json!({});
        }),
        Action::Update
    );
}

#[test]
fn without_our_mark_it_is_foreign_even_if_equal() {
    assert_eq!(
        decided(|o| drop(o["metadata"]["labels"].as_object_mut().unwrap().remove(MANAGED_BY_LABEL))),
        Action::Foreign
    );
}

#[test]
fn with_the_mark_of_another_it_is_foreign() {
    assert_eq!(decided(|o| o["metadata"]["labels"][MANAGED_BY_LABEL] = json!("Helm")), Action::Foreign);
}

#[test]
fn without_any_label_it_is_foreign() {
    assert_eq!(decided(|o| drop(o["metadata"].as_object_mut().unwrap().remove("labels"))), Action::Foreign);
}

#[test]
fn our_own_mark_is_recognised_in_metadata() {
    let ours = |by: &str| {
        is_ours(&ObjectMeta {
            labels: Some([(MANAGED_BY_LABEL.to_owned(), by.to_owned())].into()),
            ..ObjectMeta::default()
        })
    };
    assert!(ours("postern"));
    assert!(!ours("Postern"));
    assert!(!is_ours(&ObjectMeta::default()));
}

#[tokio::test]
async fn only_what_was_looked_at_is_written_over() {
    use k8s_openapi::api::core::v1::Secret;

    let answer = |request: http::Request<kube::client::Body>| async move {
        let body = http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let current = body["metadata"]["uid"] == "0f8fad5b" && body["metadata"]["resourceVersion"] == "18";
        let (code, body) = match (current, body["metadata"].get("uid")) {
            (true, _) => (200, desired()),
            (false, Some(_)) => (409, json!({"message": "changed", "code": 409, "reason": "Conflict"})),
            (false, None) => (409, json!({"message": "it is there", "code": 409, "reason": "Conflict"})),
        };
        let answer = http::Response::builder().status(code);
        let answer = answer.body(kube::client::Body::from(serde_json::to_vec(&body).unwrap()));
        Ok::<_, std::convert::Infallible>(answer.unwrap())
    };
    let api = Api::<Secret>::namespaced(kube::Client::new(tower::service_fn(answer), "shop"), "shop");
    let read = |version: &str| -> Secret {
        let mut object = desired();
        object["metadata"]["uid"] = json!("0f8fad5b");
        object["metadata"]["resourceVersion"] = json!(version);
        object["data"]["tls.crt"] = json!("ZA==");
        serde_json::from_value(object).unwrap()
    };
    let wanted: Secret = serde_json::from_value(desired()).unwrap();
    assert_eq!(apply(&api, Some(&read("18")), &wanted).await.unwrap(), Applied::Written);
    assert_eq!(apply(&api, Some(&read("17")), &wanted).await.unwrap(), Applied::Outdated);
    assert_eq!(apply(&api, None, &wanted).await.unwrap(), Applied::Foreign);
}
