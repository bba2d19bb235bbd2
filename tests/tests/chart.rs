//! Everything that the chart can render is accepted by the API server.

use postern_tests::run::random_name;
use postern_tests::{Sharing, install, run};
use serde::Deserialize as _;
use serde_json::{Value, json};

#[test]
fn renders_what_the_api_server_accepts() {
    run(Sharing::Shared, async |test| {
        let chart = install::chart();
        let everything = chart.join("ci/everything.yaml");
        let (chart, everything) = (chart.to_string_lossy(), everything.to_string_lossy());
        let template = ["template", install::RELEASE, &chart, "--namespace", install::NAMESPACE];
        let defaults = install::helm(&template).await.unwrap_or_else(|error| panic!("{error}"));
        let all = [&template[..], &["--values", &everything]].concat();
        let all = install::helm(&all).await.unwrap_or_else(|error| panic!("{error}"));
        for rendered in [defaults, all] {
            let objects = objects(&rendered);
            assert!(objects.len() > 10, "the chart renders its objects: {}", objects.len());
            for mut object in objects {
                // Not a change of what is installed already; a definition's name is not free.
                if object["kind"] != "CustomResourceDefinition" {
                    object["metadata"]["name"] = random_name("chart").into();
                }
                let accepted = test.cluster.dry_run(&object).await;
                accepted.unwrap_or_else(|error| {
                    panic!("{} {}: {error}", object["kind"], object["metadata"]["name"])
                });
            }
        }
    });
}

/// The operator's pods keep to the strictest of Kubernetes' Pod Security Standards.
#[test]
fn fits_the_restricted_standard() {
    run(Sharing::Shared, async |test| {
        let namespace =
            test.another_namespace(json!({"pod-security.kubernetes.io/enforce": "restricted"})).await;
        let chart = install::chart();
        let template =
            ["template", install::RELEASE, &chart.to_string_lossy(), "--namespace", install::NAMESPACE];
        let rendered = install::helm(&template).await.unwrap_or_else(|error| panic!("{error}"));
        let deployments: Vec<Value> =
            objects(&rendered).into_iter().filter(|object| object["kind"] == "Deployment").collect();
        assert!(!deployments.is_empty());
        for deployment in deployments {
            let mut spec = deployment["spec"]["template"]["spec"].clone();
            // It is not in that namespace.
            spec.as_object_mut().expect("a pod's specification").remove("serviceAccountName");
            let pod = json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": "pod"}, "spec": spec,
            });
            test.cluster.dry_run(&pod).await.unwrap_or_else(|error| panic!("{error}"));
        }
        let loose = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": "pod"},
            "spec": postern_tests::workload::Echo::pod_spec(),
        });
        test.cluster.dry_run(&loose).await.expect_err("the standard is enforced there");
    });
}

fn objects(rendered: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(rendered)
        .map(|document| Value::deserialize(document).expect("the chart renders YAML"))
        .filter(|object| !object.is_null())
        .collect()
}
