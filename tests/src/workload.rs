//! The application behind the lock: the echo server as a Deployment with a Service.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, ResourceExt as _};
use postern_echo::hits::Hits;
use serde_json::{Value, json};

use crate::cluster::{Cluster, addresses, is_ready, why_not_ready};
use crate::{attacker, wait};

/// Image of the echo server.
pub const ECHO_IMAGE: &str = "postern.dev/test-echo:dev";
/// Image of a server that knows nothing of the tests.
pub const LIGHTTPD_IMAGE: &str = "postern.dev/test-lighttpd:dev";

/// Container port `http`.
pub const HTTP: u16 = 8080;
/// The Service's port for [`HTTP`].
pub const SERVICE_HTTP: u16 = 80;
/// Container port `tcp`, and the Service's.
pub const TCP: u16 = 9090;
/// Container port `udp`, and the Service's.
pub const UDP: u16 = 9091;
/// Container port `secure`: HTTPS with the application's own certificate, which asks for none.
pub const SECURE: u16 = 8443;
/// A port that the application listens on and no manifest names.
pub const UNDECLARED: u16 = 7070;

/// One of the echo server's Deployments.
#[derive(Clone, Debug)]
pub struct Echo {
    /// Its namespace.
    pub namespace: String,
    /// Its name, the Service's and the value of the label `app`.
    pub name: String,
    /// How many pods.
    pub replicas: i32,
}

impl Echo {
    /// One pod.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned(), replicas: 1 }
    }

    /// The pod's specification.
    pub fn pod_spec() -> Value {
        json!({
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "echo", "image": ECHO_IMAGE, "imagePullPolicy": "Never",
                "args": ["serve", format!("--http={HTTP}"), format!("--tcp={TCP}"), format!("--udp={UDP}"),
                         format!("--https={SECURE}"), format!("--undeclared={UNDECLARED}")],
                "ports": [
                    {"name": "http", "containerPort": HTTP},
                    {"name": "secure", "containerPort": SECURE},
                    {"name": "tcp", "containerPort": TCP},
                    {"name": "udp", "containerPort": UDP, "protocol": "UDP"},
                ],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1},
            }],
        })
    }

    /// The Deployment.
    pub fn deployment(&self) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"namespace": self.namespace, "name": self.name},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": {"app": self.name}},
                "template": {"metadata": {"labels": {"app": self.name}}, "spec": Self::pod_spec()},
            },
        })
    }

    /// The Service.
    pub fn service(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": self.namespace, "name": self.name},
            "spec": {
                "selector": {"app": self.name},
                "ipFamilyPolicy": "PreferDualStack",
                "ports": [
                    {"name": "http", "port": SERVICE_HTTP, "targetPort": "http"},
                    {"name": "tcp", "port": TCP, "targetPort": "tcp"},
                    {"name": "udp", "port": UDP, "targetPort": "udp", "protocol": "UDP"},
                ],
            },
        })
    }

    /// Makes both, and waits until it runs.
    pub async fn deploy(&self, cluster: &Cluster) -> Vec<Pod> {
        cluster.apply_all(&[self.service(), self.deployment()]).await;
        self.settled(cluster).await
    }

    /// Waits until all pods are of the newest template and Ready, and none else is left; returns them.
    pub async fn settled(&self, cluster: &Cluster) -> Vec<Pod> {
        let api: Api<Deployment> = cluster.api(&self.namespace);
        let labels = format!("app={}", self.name);
        wait::until(&format!("the pods of Deployment {}/{}", self.namespace, self.name), 90, async || {
            let deployment = api.get(&self.name).await.map_err(|error| error.to_string())?;
            let status = deployment.status.clone().unwrap_or_default();
            let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            let pods = cluster.pods(&self.namespace, &labels).await;
            let settled = status.observed_generation == deployment.metadata.generation
                && status.updated_replicas.unwrap_or(0) == wanted
                && status.available_replicas.unwrap_or(0) == wanted
                && i32::try_from(pods.len()) == Ok(wanted)
                && pods.iter().all(is_ready);
            if settled {
                return Ok(pods);
            }
            let waiting: Vec<_> = pods.iter().filter(|pod| !is_ready(pod)).map(why_not_ready).collect();
            Err(format!("{}; {}", json!(status), waiting.join("; ")))
        })
        .await
    }

    /// The one pod, with its addresses.
    pub async fn target(&self, cluster: &Cluster) -> Target {
        let pods = self.settled(cluster).await;
        assert_eq!(pods.len(), 1, "{self:?} has one pod");
        let service: Service = cluster.get(&self.namespace, &self.name).await;
        Target::of(cluster, &pods[0], &service).await
    }
}

/// A pod as an attacker finds it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// Its IPv4 and IPv6 addresses.
    pub addresses: Vec<String>,
    /// Its link-local address, if it has one.
    pub link_local: Option<String>,
    /// The addresses of its Service.
    pub service: Vec<String>,
}

impl Target {
    async fn of(cluster: &Cluster, pod: &Pod, service: &Service) -> Self {
        let namespace = pod.namespace().expect("a namespace");
        let report = attacker::hits(cluster, &namespace, &pod.name_any()).await;
        let spec = service.spec.clone().unwrap_or_default();
        Self {
            pod: pod.name_any(),
            uid: pod.uid().expect("a uid"),
            addresses: addresses(pod),
            link_local: report.link_local.first().map(|one| one.address.to_string()),
            service: spec.cluster_ips.unwrap_or_default(),
            namespace,
        }
    }

    /// The first address, IPv4 where there is one.
    pub fn address(&self) -> &str {
        self.addresses.first().expect("a running pod has an address")
    }

    /// What reached the application since its start, without health checks, and without connections that ended before a
    /// byte came: on a busy machine a health check may end so, and every attack sends bytes.
    pub async fn hits(&self, cluster: &Cluster) -> Hits {
        Hits { probes: 0, silent: 0, ..attacker::hits(cluster, &self.namespace, &self.pod).await.hits }
    }
}
