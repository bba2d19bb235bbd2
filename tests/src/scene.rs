//! What most tests begin with: the echo server behind a lock, and the key for gateway `edge`.

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use postern_config::layout;
use postern_echo::attempt::{Attempt, Identity};
use serde_json::Value;

use crate::attack::{self, Attack};
use crate::cluster::Cluster;
use crate::gateway::{self, Forward, Gateway};
use crate::run::Test;
use crate::workload::{Echo, HTTP, SERVICE_HTTP, Target};
use crate::{attacker, forge, install, lock};

/// Name of the Deployment, the Service, the lock and the key.
pub const NAME: &str = "orders";

/// A guarded application.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The application.
    pub echo: Echo,
    /// Its pod.
    pub target: Target,
}

impl Scene {
    /// In the test's namespace, with a lock and a key for gateway `edge`.
    pub async fn guarded(test: &Test) -> Self {
        Self::guarded_in(test, &test.namespace).await
    }

    /// In another namespace of the test.
    pub async fn guarded_in(test: &Test, namespace: &str) -> Self {
        Self::guarded_by(test, namespace, &lock::echo_trust(namespace, NAME), &key(namespace)).await
    }

    /// With this lock and this key, both named [`NAME`].
    pub async fn guarded_by(test: &Test, namespace: &str, trust: &Value, key: &Value) -> Self {
        Self::guarded_behind(test, namespace, trust, key, Echo::new(namespace, NAME).service()).await
    }

    /// The same behind a Service of the test's own, made from [`Echo::service`].
    pub async fn guarded_behind(
        test: &Test,
        namespace: &str,
        trust: &Value,
        key: &Value,
        service: Value,
    ) -> Self {
        let cluster = &test.cluster;
        let echo = Echo::new(namespace, NAME);
        cluster.apply_all(&[trust.clone(), key.clone(), service]).await;
        // A pod that comes before would have to be replaced.
        lock::trust_says(cluster, namespace, NAME, ("Armed", "True", "")).await;
        cluster.apply(&echo.deployment()).await;
        echo.settled(cluster).await;
        lock::trust_says(cluster, namespace, NAME, ("Ready", "True", "")).await;
        lock::route_says(cluster, namespace, NAME, ("Ready", "True", "")).await;
        let target = echo.target(cluster).await;
        Self { echo, target }
    }

    /// A gateway that holds the key.
    pub async fn gateway(&self, test: &Test) -> Gateway {
        gateway::start(test, install::EDGE, &[Forward::all(&self.echo.namespace, NAME)]).await
    }

    /// The key itself, as only the gateway has it.
    pub async fn key(&self, cluster: &Cluster) -> Identity {
        let route = (self.echo.namespace.clone(), NAME.to_owned());
        forge::stolen(cluster, install::EDGE.1, &gateway::output_name(install::EDGE.0, &route)).await
    }

    /// A request straight to the pod with a certificate.
    pub fn with_certificate(&self, identity: Identity) -> Attempt {
        Attack::https("", self.target.address(), HTTP, Some(identity)).attempt
    }

    /// A call through the gateway gets in, and a direct one does not: the lock works.
    pub async fn works(&self, test: &Test, gateway: &Gateway) {
        gateway.seen(test, "/").await;
        self.refuses(test).await;
    }

    /// Direct calls do not get in.
    pub async fn refuses(&self, test: &Test) {
        let attacks = [
            Attack::http("plain HTTP to the pod", self.target.address(), HTTP).logged("PlaintextRefused"),
            Attack::https("TLS without a certificate", self.target.address(), HTTP, None)
                .logged("NoCertificate"),
        ];
        attack::all_refused(&test.cluster, &self.target, &attacks).await;
    }
}

/// The smallest key for gateway `edge`.
pub fn key(namespace: &str) -> Value {
    lock::route(namespace, NAME, NAME, install::EDGE.0, NAME, SERVICE_HTTP)
}

/// The trust domain, which the tests leave to its default.
pub async fn trust_domain(cluster: &Cluster) -> String {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let uid = namespaces.get("kube-system").await.expect("kube-system").metadata.uid.expect("a uid");
    format!("{uid}.cluster.local")
}

/// The identity of a route's key on a gateway.
pub async fn identity(cluster: &Cluster, namespace: &str, gateway: &str, route: &str) -> String {
    layout::gateway_identity(&trust_domain(cluster).await, namespace, gateway, route)
}

/// Every way to a pod that needs no certificate, to each of `ports`, with the code that a guarded pod logs.
pub async fn ways_in(
    cluster: &Cluster,
    target: &Target,
    port: u16,
    service_port: Option<u16>,
    make: impl Fn(String, &str, u16) -> Attack,
) -> Vec<Attack> {
    let mut ways = Vec::new();
    for address in &target.addresses {
        ways.push(make(format!("to the pod's {address}, port {port},"), address, port));
        ways.push(make(format!("to the pod's {address}, port {port},"), address, port).from_node());
    }
    if let Some(service_port) = service_port {
        for address in &target.service {
            ways.push(make(format!("to the Service's {address}"), address, service_port));
        }
    }
    if let Some(address) = &target.link_local {
        for interface in attacker::interfaces(cluster, attacker::Vantage::Pod).await {
            let address = format!("{address}%{}", interface.interface);
            ways.push(make(format!("to {address}, port {port},"), &address, port));
        }
    }
    ways
}

/// The same over the bridge, from the node itself: one of the interfaces leads to the pod.
pub async fn from_the_bridge(cluster: &Cluster, target: &Target, port: u16) -> Vec<Attack> {
    let Some(address) = &target.link_local else { return Vec::new() };
    let interfaces = attacker::interfaces(cluster, attacker::Vantage::Node).await;
    let attack = |interface: &str| {
        let address = format!("{address}%{interface}");
        Attack::http(format!("plain HTTP to {address}"), &address, port).from_node()
    };
    interfaces.iter().map(|one| attack(&one.interface)).collect()
}
