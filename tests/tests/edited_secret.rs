//! Whoever may edit Secrets may not edit the lock's.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::DeleteParams;
use postern_config::layout::{BUNDLE_KEY, SIDECAR_CONTAINER, secret_name};
use postern_tests::cluster::Cluster;
use postern_tests::scene::{NAME, Scene};
use postern_tests::{Sharing, Test, install, lock, logs, run, wait};
use serde_json::{Value, json};

#[test]
fn is_refused_to_a_user_with_the_role_edit() {
    run(Sharing::Shared, async |test| {
        let scene = Scene::guarded(test).await;
        let editor = editor(test).await;
        let secret = secret_name(NAME);
        let own = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": test.namespace, "name": "own"},
            "stringData": {"a": "b"},
        });
        // Their own Secrets are theirs, and so are keys.
        editor.try_create(&own).await.expect("an editor creates a Secret");
        let data = json!({"stringData": {"a": "c"}});
        editor.try_patch::<Secret>(&test.namespace, "own", data).await.expect("and changes it");
        let mut key = postern_tests::scene::key(&test.namespace);
        key["metadata"]["name"] = "second".into();
        editor.try_create(&key).await.expect("an editor creates an ApiRoute");

        let refusals = [
            editor.try_patch(&test.namespace, &secret, json!({"stringData": {BUNDLE_KEY: "{}"}})).await,
            editor.try_patch(&test.namespace, &secret, json!({"data": Value::Null})).await,
            editor.try_patch(&test.namespace, &secret, unmarked()).await,
            editor.try_patch(&test.namespace, "own", marked()).await,
        ];
        for refused in refusals {
            let message = refused.map(|_: Secret| ()).expect_err("only the operator writes it");
            assert!(message.contains("Postern manages"), "{message}");
        }
        let secrets: Api<Secret> = editor.api(&test.namespace);
        secrets.delete(&secret, &DeleteParams::default()).await.expect_err("nor may it be deleted");
        let mut planted = own.clone();
        planted["metadata"] =
            json!({"namespace": test.namespace, "name": "postern-planted", "labels": label()});
        editor.try_create(&planted).await.expect_err("nor may one be planted");
        // Who may write a lock decides everything, so that is another right.
        let loose = lock::trust(&test.namespace, "loose", "loose");
        let message = editor.try_create(&loose).await.expect_err("an editor creates no BackendTrust");
        assert!(message.contains("cannot create resource"), "{message}");
        scene.refuses(test).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
    });
}

/// Even where the fence is gone and the operator is away: the sidecar believes the operator's signature alone,
/// and what it has believed once, nothing older.
#[test]
fn is_not_believed() {
    run(Sharing::Alone, async |test| {
        let scene = Scene::guarded(test).await;
        let gateway = scene.gateway(test).await;
        let older = secret_data(test).await;
        let mut key = postern_tests::scene::key(&test.namespace);
        key["spec"]["hostnames"] = json!(["orders.example.com"]);
        lock::keyed(&test.cluster, &key).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        wait::until("another configuration", lock::LIMIT, async || {
            if secret_data(test).await == older { Err("it is as it was".to_owned()) } else { Ok(()) }
        })
        .await;
        let mut forged = secret_data(test).await;
        let bundle = String::from_utf8(forged[BUNDLE_KEY].0.clone()).expect("JSON is text");
        let wider = bundle.replace("orders.example.com", "*.example.com");
        assert_ne!(wider, bundle, "the configuration holds the route's hostnames");
        forged.insert(BUNDLE_KEY.to_owned(), ByteString(wider.into_bytes()));

        install::scale_operator(&test.cluster, 0).await;
        let fence = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": "postern-managed-objects"},
        });
        let mut taken = json!(test.cluster.read(&fence).await.expect("the chart's fence"));
        test.cluster.delete(&fence).await;
        for (data, reason) in [(forged, "signature"), (older, "older")] {
            wait::until("the Secret to be edited", 20, async || {
                let patch = json!({"data": data});
                test.cluster.try_patch::<Secret>(&test.namespace, &secret_name(NAME), patch).await
            })
            .await;
            // The kubelet looks.
            let annotation = json!({"metadata": {"annotations": {"tests.postern.dev/edited": reason}}});
            test.cluster
                .try_patch::<Pod>(&test.namespace, &scene.target.pod, annotation)
                .await
                .expect("the pod");
            wait::until(&format!("the sidecar to reject it: {reason}"), 20, async || {
                let log = test.cluster.logs(&test.namespace, &scene.target.pod, SIDECAR_CONTAINER).await;
                let mut rejected =
                    logs::lines(&log).filter(|line| line["message"] == "configuration rejected");
                let says = |line: Value| line["reason"].as_str().is_some_and(|said| said.contains(reason));
                if rejected.any(says) { Ok(()) } else { Err(log.clone()) }
            })
            .await;
            scene.works(test, &gateway).await;
        }
        let metadata = taken["metadata"].as_object_mut().expect("an object");
        metadata.retain(|key, _| ["name", "labels", "annotations"].contains(&key.as_str()));
        test.cluster.apply(&taken).await;
        install::scale_operator(&test.cluster, 2).await;
        // The operator puts back what belongs there.
        wait::until("the lock's own configuration", lock::LIMIT, async || {
            let data =
                String::from_utf8(secret_data(test).await[BUNDLE_KEY].0.clone()).expect("JSON is text");
            if data.contains("orders.example.com") { Ok(()) } else { Err(data) }
        })
        .await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        scene.works(test, &gateway).await;
    });
}

async fn secret_data(test: &Test) -> BTreeMap<String, ByteString> {
    let secret: Secret = test.cluster.get(&test.namespace, &secret_name(NAME)).await;
    secret.data.unwrap_or_default()
}

fn label() -> Value {
    json!({"app.kubernetes.io/managed-by": "postern"})
}

fn marked() -> Value {
    json!({"metadata": {"labels": label()}})
}

fn unmarked() -> Value {
    json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": Value::Null}}})
}

/// A user with the role `edit` in the test's namespace.
async fn editor(test: &Test) -> Cluster {
    let user = format!("editor-of-{}", test.namespace);
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"namespace": test.namespace, "name": "editor"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    });
    test.cluster.apply(&binding).await;
    let editor = Cluster::connect_as(Some(&user)).await;
    let allowed = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": test.namespace, "name": "probe"},
    });
    postern_tests::wait::until("the role to count", 10, async || editor.dry_run(&allowed).await).await;
    editor
}
