//! A real NGINX, with the keys mounted as the hand-over's README says.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::Pod;
use postern_echo::attempt::{Attempt, Made, Outcome, Payload};
use postern_echo::serve::Seen;
use serde_json::{Value, json};

use crate::attack;
use crate::attacker::{self, Vantage};
use crate::cluster::{Cluster, address};
use crate::lock::names;
use crate::run::{Test, random_name};
use crate::wait;

/// Image of the gateway.
pub const IMAGE: &str = "postern.dev/test-nginx:dev";
/// Its HTTP port.
pub const HTTP: u16 = 8080;
/// The same in HTTP/2 without TLS (with prior knowledge).
pub const HTTP2: u16 = 8081;
/// Its TCP port, where it forwards bytes.
pub const TCP: u16 = 9090;

/// NGINX, and a loop that reloads it when a mounted key changes: what a gateway's owner would run.
const SCRIPT: &str = r#"
nginx -g 'daemon off;' & nginx=$!
trap 'kill -TERM $nginx' TERM
look() { for link in /etc/postern/*/..data; do readlink "$link"; done; }
now=$(look)
while kill -0 $nginx 2> /dev/null; do
  sleep 0.2 & wait $!
  new=$(look)
  if [ "$new" != "$now" ]; then now=$new; nginx -s reload; fi
done
"#;

/// What a gateway forwards to a route.
#[derive(Clone, Debug)]
pub enum Forward {
    /// A path of its HTTP server.
    Location {
        /// `/`, `/other/` …
        path: String,
        /// Namespace and name of the ApiRoute.
        route: (String, String),
    },
    /// The same over connections that are kept.
    Kept {
        /// `/`, `/other/` …
        path: String,
        /// Namespace and name of the ApiRoute.
        route: (String, String),
    },
    /// A TCP port.
    Stream {
        /// Its number, [`TCP`] for example.
        port: u16,
        /// Namespace and name of the ApiRoute.
        route: (String, String),
    },
}

impl Forward {
    /// Everything goes to one route.
    pub fn all(namespace: &str, route: &str) -> Self {
        Self::Location { path: "/".to_owned(), route: (namespace.to_owned(), route.to_owned()) }
    }

    const fn route(&self) -> &(String, String) {
        match self {
            Self::Location { route, .. } | Self::Kept { route, .. } | Self::Stream { route, .. } => route,
        }
    }
}

/// A running gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Its namespace.
    pub namespace: String,
    /// Its pod.
    pub pod: String,
    /// Its address.
    pub address: String,
}

/// Name of a route's outputs in its gateway's namespace.
pub fn output_name(gateway: &str, (namespace, route): &(String, String)) -> String {
    format!("{gateway}.{namespace}.{route}")
}

/// Starts a gateway that holds the keys of these routes, once they have been handed over.
pub async fn start(test: &Test, gateway: (&str, &str), forwards: &[Forward]) -> Gateway {
    start_with(test, gateway, forwards, "").await
}

/// The same with further lines for NGINX's HTTP server.
pub async fn start_with(test: &Test, gateway: (&str, &str), forwards: &[Forward], extra: &str) -> Gateway {
    start_of(test, &objects(gateway, &random_name("gateway"), forwards, extra)).await
}

/// The same of a `ConfigMap` and a pod like those that [`objects`] makes.
pub async fn start_of(test: &Test, objects: &[Value; 2]) -> Gateway {
    for object in objects {
        test.clear_up(object.clone());
    }
    bring_up(&test.cluster, objects).await
}

/// Starts a gateway without a test to clear it up.
pub async fn deploy(
    cluster: &Cluster,
    gateway: (&str, &str),
    name: &str,
    forwards: &[Forward],
    extra: &str,
) -> Gateway {
    bring_up(cluster, &objects(gateway, name, forwards, extra)).await
}

async fn bring_up(cluster: &Cluster, objects: &[Value; 2]) -> Gateway {
    cluster.apply_all(objects).await;
    let (namespace, pod) = names(&objects[1]);
    let address = address(&cluster.ready_pod(&namespace, &pod).await);
    Gateway { namespace, pod, address }
}

/// The gateway's `ConfigMap` and pod.
pub fn objects(
    (gateway, namespace): (&str, &str),
    name: &str,
    forwards: &[Forward],
    extra: &str,
) -> [Value; 2] {
    let mut names: Vec<String> = forwards.iter().map(|one| output_name(gateway, one.route())).collect();
    names.sort();
    names.dedup();
    let configuration = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name},
        "data": {"nginx.conf": nginx_conf(gateway, forwards, extra)},
    });
    let mut volumes = vec![json!({"name": "configuration", "configMap": {"name": name}})];
    let mut mounts = vec![json!({
        "name": "configuration", "mountPath": "/etc/nginx/nginx.conf", "subPath": "nginx.conf",
    })];
    for (index, output) in names.iter().enumerate() {
        let source = json!({"name": output, "optional": true});
        let volume = format!("route-{index}");
        volumes.push(json!({
            "name": volume, "projected": {"sources": [{"secret": source}, {"configMap": source}]},
        }));
        mounts.push(json!({"name": volume, "mountPath": format!("/etc/postern/{output}")}));
    }
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 2,
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "nginx", "image": IMAGE, "imagePullPolicy": "Never",
                "command": ["/bin/sh", "-c", SCRIPT],
                "ports": [{"name": "http", "containerPort": HTTP}],
                "readinessProbe": {"tcpSocket": {"port": HTTP}, "periodSeconds": 1},
                "volumeMounts": mounts,
            }],
            "volumes": volumes,
        },
    });
    [configuration, pod]
}

fn nginx_conf(gateway: &str, forwards: &[Forward], extra: &str) -> String {
    let (mut upstreams, mut locations, mut streams) = (String::new(), String::new(), String::new());
    for forward in forwards {
        let output = output_name(gateway, forward.route());
        let result = match forward {
            Forward::Location { path, .. } => {
                writeln!(locations, "    location {path} {{ include /etc/postern/{output}/location*.conf; }}")
            }
            Forward::Kept { path, .. } => {
                writeln!(upstreams, "  include /etc/postern/{output}/upstream*.conf;").and(writeln!(
                    locations,
                    "    location {path} {{ include /etc/postern/{output}/kept-location*.conf; }}"
                ))
            }
            Forward::Stream { port, .. } => writeln!(
                streams,
                "  server {{ listen {port}; listen [::]:{port}; include /etc/postern/{output}/stream*.conf; }}"
            ),
        };
        result.expect("a String takes everything");
    }
    if !streams.is_empty() {
        streams = format!("stream {{\n{streams}}}\n");
    }
    format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;
pid /tmp/nginx.pid;
error_log stderr notice;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log /dev/stdout;
  client_body_temp_path /tmp/client_body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
{upstreams}  server {{
    listen {HTTP};
    listen [::]:{HTTP};
    listen {HTTP2} http2;
    listen [::]:{HTTP2} http2;
{extra}
{locations}  }}
}}
{streams}"
    )
}

impl Gateway {
    /// A GET to the gateway.
    pub fn get(&self, path: &str) -> Attempt {
        self.request("GET", path, &[])
    }

    /// A request to the gateway.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Attempt {
        Attempt {
            address: self.address.clone(),
            port: HTTP,
            tls: None,
            payload: Payload::Http {
                h2: false,
                method: method.to_owned(),
                path: path.to_owned(),
                host: "orders.example.com".to_owned(),
                headers: headers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
                body: String::new(),
            },
            timeout_ms: 5000,
        }
    }

    /// A WebSocket through the gateway, over which these messages are sent.
    pub fn websocket(&self, path: &str, messages: &[String]) -> Attempt {
        let payload = attack::websocket(path, false, messages);
        Attempt { payload, ..self.get(path) }
    }

    /// Bytes through the gateway's TCP port.
    pub fn bytes(&self, text: &str) -> Attempt {
        Attempt { port: TCP, payload: Payload::Bytes { text: text.to_owned() }, ..self.get("/") }
    }

    /// Makes one attempt from a pod of somebody else: the gateway's ordinary client.
    pub async fn call(&self, test: &Test, attempt: Attempt) -> Made {
        attacker::call(&test.cluster, Vantage::Pod, &[attempt]).await.remove(0)
    }

    /// The same, until somebody behind the gateway has answered: a Service leads to its new pod after a moment.
    pub async fn answered(&self, test: &Test, attempt: Attempt) -> Made {
        wait::until("an answer from behind the gateway", 20, async || {
            let made = self.call(test, attempt.clone()).await;
            let answered = match &made.outcome {
                Outcome::Http { status, .. } => ![502, 504].contains(status),
                Outcome::Bytes { .. } | Outcome::WebSocket { .. } => true,
                _ => false,
            };
            if answered { Ok(made) } else { Err(format!("{:?}", made.outcome)) }
        })
        .await
    }

    /// A GET that must come through; what the application saw.
    pub async fn seen(&self, test: &Test, path: &str) -> Seen {
        seen(&self.answered(test, self.get(path)).await)
    }

    /// Lets the kubelet look at the mounted keys now, as its owner may.
    pub async fn refresh(&self, test: &Test) {
        let annotation = json!({"tests.postern.dev/refreshed": random_name("at")});
        let patch = json!({"metadata": {"annotations": annotation}});
        test.cluster.try_patch::<Pod>(&self.namespace, &self.pod, patch).await.expect("the gateway's pod");
    }
}

/// What the application saw, from its own answer.
pub fn seen(made: &Made) -> Seen {
    let Outcome::Http { status: 200, body, .. } = &made.outcome else {
        panic!("the call did not come through: {:?}", made.outcome);
    };
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{body:?} is not the echo's answer: {error}"))
}

/// The problem document (RFC 9457) of an answer, if it holds one.
pub fn problem(outcome: &Outcome) -> Option<Value> {
    let Outcome::Http { headers, body, .. } = outcome else { return None };
    let type_ = headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.as_str());
    (type_ == Some("application/problem+json")).then(|| serde_json::from_str(body).ok()).flatten()
}
