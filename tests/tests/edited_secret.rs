//! Whoever may edit Secrets may not edit the lock's.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::DeleteParams;
use postern_config::layout::{BUNDLE_KEY, secret_name};
use postern_tests::cluster::Cluster;
use postern_tests::scene::{NAME, Scene};
use postern_tests::{Sharing, Test, lock, run};
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
