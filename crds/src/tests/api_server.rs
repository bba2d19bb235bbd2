//! An API server's own word on every case, of CRDs that differ from the installed ones by their group alone.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::{await_condition, conditions::is_crd_established};
use serde_json::{Value, json};

use super::{Case, cases, examples};
use crate::manifest::{Manifest, manifests};

const GROUP: &str = "cases.postern.dev";
/// How long an API server may take to serve a new resource.
const LIMIT: Duration = Duration::from_secs(30);

struct Resource {
    crd: String,
    name: String,
    api: Api<DynamicObject>,
}

impl Resource {
    async fn install(client: &Client, manifest: &Manifest) -> Self {
        let mut crd = manifest.crd.clone();
        let names = crd["spec"]["names"].clone();
        let name = format!("{}.{GROUP}", names["plural"].as_str().unwrap());
        crd["metadata"] = json!({"name": name});
        crd["spec"]["group"] = json!(GROUP);
        // Those are of the installed ones.
        for shared in ["shortNames", "categories"] {
            crd["spec"]["names"].as_object_mut().unwrap().remove(shared);
        }
        let crds = Api::<CustomResourceDefinition>::all(client.clone());
        let crd = serde_json::from_value(crd).unwrap();
        crds.create(&PostParams::default(), &crd).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let established = await_condition(crds, &name, is_crd_established());
        tokio::time::timeout(LIMIT, established).await.unwrap().unwrap();
        let kind = names["kind"].as_str().unwrap().to_owned();
        let version = manifest.crd["spec"]["versions"][0]["name"].as_str().unwrap();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, version, &kind));
        let kind =
            Self { crd: name, name: kind, api: Api::namespaced_with(client.clone(), "default", &resource) };
        tokio::time::timeout(LIMIT, async { while kind.api.list(&ListParams::default()).await.is_err() {} })
            .await
            .unwrap();
        kind
    }

    fn object(case: &Case, spec: &Value) -> DynamicObject {
        let mut object = case.object.clone();
        object["apiVersion"] = json!(format!("{GROUP}/v1alpha1"));
        object["spec"] = spec.clone();
        serde_json::from_value(object).unwrap()
    }

    /// What the API server says to the case's object.
    async fn answer(&self, case: &Case) -> Result<(), String> {
        let mut wish = Self::object(case, &case.object["spec"]);
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let Some(before) = &case.before else {
            return self.api.create(&dry_run, &wish).await.map(drop).map_err(|error| error.to_string());
        };
        let before = Self::object(case, before);
        let stored = self.api.create(&PostParams::default(), &before).await;
        let stored = stored.map_err(|error| format!("what is there before: {error}"))?;
        let name = stored.metadata.name.unwrap();
        wish.metadata.resource_version = stored.metadata.resource_version;
        let answer = self.api.replace(&name, &dry_run, &wish).await;
        self.api.delete(&name, &DeleteParams::default()).await.unwrap();
        answer.map(drop).map_err(|error| error.to_string())
    }
}

async fn disagreements(kinds: &[Resource]) -> Vec<String> {
    let mut found = Vec::new();
    let [good, bad] = ["accepted.yaml", "refused.yaml"].map(cases);
    for (cases, accepted) in [(good, true), (examples(), true), (bad, false)] {
        for case in cases {
            let kind = kinds.iter().find(|kind| case.object["kind"] == kind.name.as_str()).unwrap();
            match kind.answer(&case).await {
                Ok(()) if !accepted => found.push(format!("{}: accepted", case.name)),
                Err(said) if accepted || !said.contains(&case.answer) => {
                    found.push(format!("{}: {said}", case.name));
                }
                _ => {}
            }
        }
    }
    found
}

#[tokio::test]
#[ignore = "needs an API server"]
async fn api_server_accepts_and_refuses_what_the_cases_say() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = Client::try_default().await.expect("KUBECONFIG must lead to an API server");
    let mut kinds = Vec::new();
    for manifest in manifests().unwrap() {
        kinds.push(Resource::install(&client, &manifest).await);
    }
    let disagreements = disagreements(&kinds).await;
    for kind in &kinds {
        let crds = Api::<CustomResourceDefinition>::all(client.clone());
        crds.delete(&kind.crd, &DeleteParams::default()).await.unwrap();
    }
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
}
