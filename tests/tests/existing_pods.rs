//! Pods that ran before the lock are counted, named, and replaced as their owner wants.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use postern_crds::BackendTrust;
use postern_tests::attack::{self, Attack};
use postern_tests::scene::NAME;
use postern_tests::workload::{ECHO_IMAGE, Echo, HTTP};
use postern_tests::{Sharing, Test, lock, run, wait};
use serde_json::{Value, json};

#[test]
fn are_replaced_one_by_one() {
    run(Sharing::Shared, async |test| {
        let echo = Echo { replicas: 2, ..Echo::new(&test.namespace, NAME) };
        let mut before = names(&echo.deploy(&test.cluster).await);
        for kind in ["StatefulSet", "DaemonSet"] {
            test.cluster.apply(&of_another_kind(&test.namespace, kind)).await;
        }
        for app in ["StatefulSet", "DaemonSet"] {
            before.push(ready_uid(test, app).await);
        }
        let mut trust = lock::trust(&test.namespace, NAME, NAME);
        let all = json!([NAME, "StatefulSet", "DaemonSet"]);
        trust["spec"]["podSelector"] =
            json!({"matchExpressions": [{"key": "app", "operator": "In", "values": all}]});
        lock::locked(&test.cluster, &trust).await;
        let mut after = names(&echo.settled(&test.cluster).await);
        for app in ["StatefulSet", "DaemonSet"] {
            after.push(ready_uid(test, app).await);
        }
        assert!(before.iter().all(|name| !after.contains(name)), "{before:?} became {after:?}");
        let pods = status(test).await;
        assert_eq!((pods.selected, pods.guarded, pods.current), (4, 4, 4), "{pods:?}");
        let deployment: Deployment = test.cluster.get(&test.namespace, NAME).await;
        let template = deployment.spec.and_then(|spec| spec.template.metadata).unwrap_or_default();
        let annotations = template.annotations.unwrap_or_default();
        assert!(annotations.contains_key("postern.dev/restartedAt"), "{annotations:?}");
        // Once is enough.
        let generation = deployment.metadata.generation;
        wait::throughout("the Deployment as it was", 3, async || {
            let now: Deployment = test.cluster.get(&test.namespace, NAME).await;
            if now.metadata.generation == generation {
                Ok(())
            } else {
                Err("it was changed again".to_owned())
            }
        })
        .await;
    });
}

#[test]
fn are_only_named_where_the_owner_deletes_them() {
    run(Sharing::Shared, async |test| {
        let echo = Echo::new(&test.namespace, NAME);
        echo.deploy(&test.cluster).await;
        let target = echo.target(&test.cluster).await;
        let mut trust = lock::echo_trust(&test.namespace, NAME);
        trust["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        test.cluster.apply(&trust).await;
        let says = ("Programmed", "False", "PodsNotGuarded");
        let trust = lock::trust_says(&test.cluster, &test.namespace, NAME, says).await;
        let pods = trust.status.and_then(|status| status.pods).unwrap_or_default();
        assert_eq!((pods.selected, pods.guarded), (1, 0), "{pods:?}");
        assert!(pods.unguarded.iter().any(|one| one.contains(&target.pod)), "{pods:?}");
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Armed", "True", "")).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "False", "")).await;
        attack::all_get_in(&test.cluster, &target, &[Attack::http("plain HTTP", target.address(), HTTP)])
            .await;

        test.cluster.delete(&reference("v1", "Pod", &test.namespace, &target.pod)).await;
        test.cluster.gone(&reference("v1", "Pod", &test.namespace, &target.pod)).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let target = echo.target(&test.cluster).await;
        // No route leads to it yet.
        let direct = Attack::http("plain HTTP", target.address(), HTTP).logged("PortClosed");
        attack::all_refused(&test.cluster, &target, &[direct]).await;
    });
}

/// Nobody would start them again.
#[test]
fn are_left_alone_where_nobody_replaces_them() {
    run(Sharing::Shared, async |test| {
        let bare = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": test.namespace, "name": "bare", "labels": {"app": NAME}},
            "spec": Echo::pod_spec(),
        });
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"namespace": test.namespace, "name": "job"},
            "spec": {"template": {
                "metadata": {"labels": {"app": NAME}},
                "spec": {
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "echo", "image": ECHO_IMAGE, "imagePullPolicy": "Never", "args": ["idle"],
                    }],
                },
            }},
        });
        test.cluster.apply_all(&[bare, job]).await;
        let uid = test.cluster.ready_pod(&test.namespace, "bare").await.metadata.uid;
        let labels = "batch.kubernetes.io/job-name=job";
        wait::until("the Job's pod", 30, async || {
            let pods = test.cluster.pods(&test.namespace, labels).await;
            if pods.iter().any(postern_tests::cluster::is_ready) { Ok(()) } else { Err(format!("{pods:?}")) }
        })
        .await;
        let of_job = names(&test.cluster.pods(&test.namespace, labels).await);
        test.cluster.apply(&lock::echo_trust(&test.namespace, NAME)).await;
        let says = ("Programmed", "False", "PodsNotGuarded");
        let trust = lock::trust_says(&test.cluster, &test.namespace, NAME, says).await;
        let unguarded = trust.status.and_then(|status| status.pods).unwrap_or_default().unguarded.join(" ");
        assert!(unguarded.contains("bare") && unguarded.contains(&of_job[0]), "{unguarded}");
        wait::throughout("both pods", 3, async || {
            let bare: Pod = test.cluster.get(&test.namespace, "bare").await;
            let same = bare.metadata.uid == uid && bare.metadata.deletion_timestamp.is_none();
            let jobs = names(&test.cluster.pods(&test.namespace, labels).await);
            if same && jobs == of_job { Ok(()) } else { Err(format!("{jobs:?}, {:?}", bare.metadata)) }
        })
        .await;
    });
}

/// One pod of the echo server; a `StatefulSet`'s has the same name again, so it is known by its uid.
fn of_another_kind(namespace: &str, kind: &str) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": {"namespace": namespace, "name": kind.to_lowercase()},
        "spec": {
            "selector": {"matchLabels": {"app": kind}},
            "template": {"metadata": {"labels": {"app": kind}}, "spec": Echo::pod_spec()},
        },
    });
    if kind == "StatefulSet" {
        object["spec"]["serviceName"] = NAME.into();
    }
    object
}

/// Waits until the one pod with this label is Ready.
async fn ready_uid(test: &Test, app: &str) -> String {
    wait::until(&format!("the pod of the {app}"), 60, async || {
        let pods = test.cluster.pods(&test.namespace, &format!("app={app}")).await;
        match pods.as_slice() {
            [pod] if postern_tests::cluster::is_ready(pod) => Ok(pod.metadata.uid.clone().expect("a uid")),
            _ => Err(format!(
                "{:?}",
                pods.iter().map(postern_tests::cluster::why_not_ready).collect::<Vec<_>>()
            )),
        }
    })
    .await
}

fn names(pods: &[Pod]) -> Vec<String> {
    pods.iter().map(kube::ResourceExt::name_any).collect()
}

fn reference(version: &str, kind: &str, namespace: &str, name: &str) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"namespace": namespace, "name": name}})
}

async fn status(test: &Test) -> postern_crds::backend_trust::PodsStatus {
    let trust: BackendTrust = test.cluster.get(&test.namespace, NAME).await;
    trust.status.and_then(|status| status.pods).unwrap_or_default()
}
