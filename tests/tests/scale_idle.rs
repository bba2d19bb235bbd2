//! With a hundred of each resource the operator gets done, and then writes nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt as _};
use postern_crds::{ApiRoute, BackendTrust};
use postern_tests::lock::{self, Judged, says};
use postern_tests::{Sharing, Test, install, run, wait};
use serde::de::DeserializeOwned;
use serde_json::json;

const MANY: usize = 100;
/// Long enough for several rounds of anything that goes round.
const IDLE: u64 = 10;

#[test]
fn writes_nothing() {
    // Alone: the API server takes its time for a hundred new admission policies.
    run(Sharing::Alone, async |test| {
        for number in 0..MANY {
            let name = format!("app-{number}");
            let service = json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": test.namespace, "name": name},
                "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
            });
            let trust = lock::trust(&test.namespace, &name, &name);
            let route = lock::route(&test.namespace, &name, &name, install::EDGE.0, &name, 80);
            test.cluster.apply_all(&[service, trust, route]).await;
        }
        wait::until("all of them to be looked at", 120, async || {
            let trusts: Vec<BackendTrust> = all(&test.cluster.api(&test.namespace)).await;
            let routes: Vec<ApiRoute> = all(&test.cluster.api(&test.namespace)).await;
            assert_eq!((trusts.len(), routes.len()), (MANY, MANY));
            for trust in &trusts {
                says(trust, "Armed", "True", "")?;
                says(trust, "Programmed", "Unknown", "NoPods")
                    .or_else(|_| says(trust, "Programmed", "False", "NoPods"))?;
            }
            let unseen: Vec<String> =
                routes.iter().filter(|route| !route.observed()).map(Judged::title).collect();
            if unseen.is_empty() { Ok(()) } else { Err(format!("{unseen:?}")) }
        })
        .await;
        let before = versions(test).await;
        assert!(before.len() > 5 * MANY, "each has its objects: {}", before.len());
        wait::throughout("every object as it was", IDLE, async || {
            let now = versions(test).await;
            let changed: Vec<_> =
                now.iter().filter(|(name, version)| before.get(*name) != Some(version)).collect();
            if changed.is_empty() && now.len() == before.len() { Ok(()) } else { Err(format!("{changed:?}")) }
        })
        .await;
    });
}

/// The version of every object that belongs to the test's locks and keys.
async fn versions(test: &Test) -> BTreeMap<String, String> {
    let namespace = &test.namespace;
    let client = &test.cluster.client;
    let mut versions = BTreeMap::new();
    collect(&mut versions, &Api::<BackendTrust>::namespaced(client.clone(), namespace), "").await;
    collect(&mut versions, &Api::<ApiRoute>::namespaced(client.clone(), namespace), "").await;
    collect(&mut versions, &Api::<Secret>::namespaced(client.clone(), namespace), "").await;
    collect(&mut versions, &Api::<Secret>::namespaced(client.clone(), install::EDGE.1), namespace).await;
    collect(&mut versions, &Api::<ConfigMap>::namespaced(client.clone(), install::EDGE.1), namespace).await;
    collect(&mut versions, &Api::<ValidatingAdmissionPolicy>::all(client.clone()), namespace).await;
    collect(&mut versions, &Api::<ValidatingAdmissionPolicyBinding>::all(client.clone()), namespace).await;
    versions
}

/// Of the objects with `part` in their name.
async fn collect<K>(versions: &mut BTreeMap<String, String>, api: &Api<K>, part: &str)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    for object in all(api).await {
        if object.name_any().contains(part) {
            let name = format!("{} {}", K::kind(&()), object.name_any());
            // A controller of the cluster's own writes the status of admission policies.
            let version = match K::group(&()).as_ref() {
                "admissionregistration.k8s.io" => {
                    object.meta().generation.map(|generation| generation.to_string())
                }
                _ => object.resource_version(),
            };
            versions.insert(name, version.unwrap_or_default());
        }
    }
}

async fn all<K: Clone + DeserializeOwned + std::fmt::Debug>(api: &Api<K>) -> Vec<K> {
    api.list(&ListParams::default()).await.expect("a list").items
}
