//! The webhook on a real API server: `cargo test -p postern-operator -- --ignored api_server`, with `KUBECONFIG`,
//! on a machine that the API server reaches as `localhost`.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::inject::tests::{injector, locks};
use super::review::{Reviewer, Verdict};
use super::select::{Lock, Locks};
use super::server::Server;
use crate::injection::structure::Accepted;
use crate::pki::{Authority, AuthorityKind, LeafSpec};
use crate::render::admission::webhook::{self, Endpoint};

const LIMIT: Duration = Duration::from_secs(30);

struct Everywhere;

impl Locks for Everywhere {
    fn in_namespace(&self, _namespace: &str) -> Option<Vec<Lock>> {
        Some(locks())
    }
}

/// Starts the webhook and lets the API server ask it about the pods of a new namespace.
async fn register(client: &Client, namespace: &str) -> (MutatingWebhookConfiguration, CancellationToken) {
    let now = jiff::Timestamp::now();
    let authority = Authority::generate(AuthorityKind::Backends, now).unwrap();
    let leaf = authority.issue(&LeafSpec::server(["localhost".to_owned()]), now).unwrap();
    let key = Arc::new(crate::pki::keys::CurrentKey::default());
    key.set(&leaf.cert_pem, &leaf.key_pem).unwrap();
    let reviewer = Reviewer::new(Arc::new(Everywhere), injector(1), "nobody".to_owned());
    let observer = Arc::new(|_: Verdict| ());
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), key, reviewer, observer).await.unwrap();
    let port = server.local_addr().unwrap().port();
    let stop = CancellationToken::new();
    tokio::spawn(server.run(stop.clone()));

    let endpoint = Endpoint {
        namespace: namespace.to_owned(),
        service: "unused".to_owned(),
        ca_pem: authority.cert_pem().to_owned(),
    };
    let mut configuration = webhook::configuration(&endpoint, &[namespace.to_owned()].into(), [].into());
    configuration.metadata.name = Some(namespace.to_owned());
    let hook = &mut configuration.webhooks.as_mut().unwrap()[0];
    hook.client_config.service = None;
    hook.client_config.url = Some(format!("https://localhost:{port}/inject"));
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    (configurations.create(&PostParams::default(), &configuration).await.unwrap(), stop)
}

fn pod(app: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"generateName": "orders-", "labels": {"app": app}},
        "spec": {
            "schedulerName": "nobody",
            "containers": [{"name": "app", "image": "app", "ports": [{"name": "http", "containerPort": 8080}],
                            "livenessProbe": {"grpc": {"port": 9090}},
                            "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}}}],
        },
    }))
    .unwrap()
}

#[tokio::test]
#[ignore = "needs an API server"]
async fn api_server_stores_pods_as_injected() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = Client::try_default().await.expect("KUBECONFIG must lead to an API server");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let new = serde_json::from_value(json!({"metadata": {"generateName": "webhook-"}})).unwrap();
    let namespace = namespaces.create(&PostParams::default(), &new).await.unwrap().metadata.name.unwrap();
    let (configuration, stop) = register(&client, &namespace).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);

    let injector = injector(1);
    let accepted = Accepted {
        current_image: injector.image.get(),
        previous_image: None,
        verify_keys: injector.verify_keys.iter().map(ToString::to_string).collect(),
    };
    let create = async |pod: &Pod| pods.create(&PostParams::default(), pod).await;
    let injected = async {
        loop {
            let stored = create(&pod("orders")).await.unwrap();
            if stored.spec.as_ref().is_some_and(|spec| spec.init_containers.is_some()) {
                return stored;
            }
        }
    };
    let stored = tokio::time::timeout(LIMIT, injected).await.expect("the webhook must be asked");
    let judged = accepted.guarded_by(&stored).map(|guarded| guarded.trust);
    let probes = serde_json::to_value(&stored.spec.as_ref().unwrap().containers[0]).unwrap();

    let mut again = stored.clone();
    again.metadata.resource_version = None;
    again.metadata.uid = None;
    again.metadata.name = Some("by-name".to_owned());
    let copied = create(&again).await.unwrap_err().to_string();
    let mut privileged = pod("orders");
    privileged.spec.as_mut().unwrap().host_pid = Some(true);
    let refused = create(&privileged).await.unwrap_err().to_string();
    let left_alone = create(&pod("carts")).await.unwrap();

    let configurations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let name = configuration.metadata.name.unwrap();
    configurations.delete(&name, &DeleteParams::default()).await.map(drop).unwrap();
    namespaces.delete(&namespace, &DeleteParams::default()).await.map(drop).unwrap();
    stop.cancel();

    assert_eq!(judged, Ok("orders".to_owned()), "what the API server stored");
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(probes[probe]["httpGet"]["port"], 15110, "{probe}");
    }
    let token_mounts = |container: &Value| {
        let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
        mounts.iter().filter(|mount| mount["name"].as_str().unwrap().starts_with("kube-api-access")).count()
    };
    for container in stored.spec.unwrap().init_containers.unwrap() {
        assert_eq!(token_mounts(&serde_json::to_value(container).unwrap()), 0, "ours get no token");
    }
    assert_eq!(token_mounts(&probes), 1, "the application keeps its own");
    assert!(copied.contains("calls a port that is Postern's own"), "{copied}");
    assert!(refused.contains("the pod sets hostPID"), "{refused}");
    assert!(left_alone.spec.unwrap().init_containers.is_none());
}
