//! Spans on their way to a collector: OTLP over HTTP, in batches, from a queue that never holds up a request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::otlp::{Export, KeyValue, Resource, ResourceSpans, Scope, ScopeSpans};
use super::span::Finished;
use crate::metrics::{ControlMetrics, Spans};
use crate::settings::Tracing;

/// Spans that may wait; more are dropped and counted.
const QUEUE: usize = 4096;
/// Spans in one message.
const BATCH: usize = 512;
/// For more spans to come, so that each is not a message of its own.
const GATHER: Duration = Duration::from_millis(200);
/// For a collector to take a message.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before the one attempt more.
const AGAIN: Duration = Duration::from_secs(1);
/// Of an answer that nobody reads.
const ANSWER: usize = 64 << 10;

/// The workers' end of the queue.
#[derive(Clone, Debug)]
pub struct Sender {
    queue: mpsc::Sender<Finished>,
    metrics: Arc<ControlMetrics>,
}

impl Sender {
    /// Hands a span over, or drops it if the queue is full.
    pub(crate) fn send(&self, span: Finished) {
        if self.queue.try_send(span).is_err() {
            self.metrics.spans(Spans::Dropped, 1);
        }
    }
}

/// Who this sidecar is, in every message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The lock's namespace and name; none without Kubernetes.
    pub lock: Option<(String, String)>,
}

/// The other end.
pub struct Exporter {
    queue: mpsc::Receiver<Finished>,
    to: watch::Receiver<Option<Tracing>>,
    resource: Resource,
    metrics: Arc<ControlMetrics>,
    connection: Option<(Tracing, SendRequest<Full<Bytes>>)>,
    is_failing: bool,
}

/// Why a collector did not take a message.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("the collector cannot be reached ({0})")]
    Unreachable(#[from] std::io::Error),
    #[error("the collector did not answer within {} s", PATIENCE.as_secs())]
    Silent(#[from] tokio::time::error::Elapsed),
    #[error("the exchange with the collector broke off ({0})")]
    Broken(#[from] hyper::Error),
    #[error("the endpoint cannot be asked for ({0})")]
    Endpoint(#[from] http::Error),
    #[error("the collector answered {0}")]
    Refused(http::StatusCode),
}

/// A queue, from the workers to where `to` says.
pub fn channel(
    source: &Source,
    to: watch::Receiver<Option<Tracing>>,
    metrics: &Arc<ControlMetrics>,
) -> (Sender, Exporter) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let exporter = Exporter {
        queue,
        to,
        resource: resource(source),
        metrics: Arc::clone(metrics),
        connection: None,
        is_failing: false,
    };
    (Sender { queue: sender, metrics: Arc::clone(metrics) }, exporter)
}

fn resource(source: &Source) -> Resource {
    let mut attributes = vec![
        KeyValue::text("service.name", "postern-sidecar"),
        KeyValue::text("service.version", env!("CARGO_PKG_VERSION")),
    ];
    if let Some((namespace, trust)) = &source.lock {
        attributes.push(KeyValue::text("k8s.namespace.name", namespace.as_str()));
        attributes.push(KeyValue::text("postern.trust", trust.as_str()));
    }
    // In a pod that is the pod's name.
    if let Some(name) = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()) {
        let key = if source.lock.is_some() { "k8s.pod.name" } else { "host.name" };
        attributes.push(KeyValue::text(key, name));
    }
    Resource { attributes }
}

impl Exporter {
    /// Sends what comes, until every [`Sender`] is gone and the queue is empty.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.queue.recv_many(&mut batch, BATCH).await > 0 {
            if batch.len() < BATCH && !self.queue.is_closed() {
                sleep(GATHER).await;
                while batch.len() < BATCH
                    && let Ok(span) = self.queue.try_recv()
                {
                    batch.push(span);
                }
            }
            let count = batch.len() as u64;
            let Some(to) = self.to.borrow().clone() else {
                // Tracing was switched off since.
                self.metrics.spans(Spans::Dropped, count);
                batch.clear();
                continue;
            };
            let spans = batch.drain(..).map(Finished::into_span).collect();
            let message = Export {
                resource_spans: vec![ResourceSpans {
                    resource: Some(self.resource.clone()),
                    scope_spans: vec![ScopeSpans {
                        scope: Some(Scope {
                            name: "postern".to_owned(),
                            version: env!("CARGO_PKG_VERSION").to_owned(),
                        }),
                        spans,
                    }],
                }],
            };
            self.deliver(&to, message.encode_to_vec().into(), count).await;
        }
    }

    async fn deliver(&mut self, to: &Tracing, message: Bytes, count: u64) {
        let mut outcome = self.post(to, message.clone()).await;
        if outcome.as_ref().is_err_and(ExportError::may_pass) {
            sleep(AGAIN).await;
            outcome = self.post(to, message).await;
        }
        match outcome {
            Ok(()) => {
                self.metrics.spans(Spans::Exported, count);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(endpoint = %to.endpoint, "spans are taken again");
                }
            }
            Err(error) => {
                self.metrics.spans(Spans::Failed, count);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(
                        endpoint = %to.endpoint,
                        reason = %error,
                        remedy = "look whether the collector runs and takes OTLP over HTTP there",
                        "spans are lost"
                    );
                }
            }
        }
    }

    /// One message, on the connection of the last one if that still stands.
    async fn post(&mut self, to: &Tracing, message: Bytes) -> Result<(), ExportError> {
        let kept = self.connection.take().filter(|(whose, sender)| whose == to && !sender.is_closed());
        timeout(PATIENCE, async {
            let mut sender = match kept {
                Some((_, sender)) => sender,
                None => connect(to).await?,
            };
            sender.ready().await?;
            let authority = to.endpoint.authority().map_or("", http::uri::Authority::as_str);
            let path = to.endpoint.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
            let request = Request::post(path)
                .header(HOST, authority)
                .header(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))
                .header(USER_AGENT, concat!("postern-sidecar/", env!("CARGO_PKG_VERSION")))
                .body(Full::new(message))?;
            let response = sender.send_request(request).await?;
            let status = response.status();
            // Read to its end, so that the connection can be used again; more than that nobody wants to know.
            let body = http_body_util::Limited::new(response.into_body(), ANSWER);
            let is_whole = body.collect().await.is_ok();
            if !status.is_success() {
                return Err(ExportError::Refused(status));
            }
            if is_whole {
                self.connection = Some((to.clone(), sender));
            }
            Ok(())
        })
        .await?
    }
}

impl ExportError {
    /// Whether another attempt may do better (OTLP names the statuses).
    fn may_pass(&self) -> bool {
        match self {
            Self::Refused(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Endpoint(_) => false,
            Self::Unreachable(_) | Self::Silent(_) | Self::Broken(_) => true,
        }
    }
}

async fn connect(to: &Tracing) -> Result<SendRequest<Full<Bytes>>, ExportError> {
    let host = to.endpoint.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = to.endpoint.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host, port)).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its errors come out of the request that they hit.
    tokio::spawn(connection);
    Ok(sender)
}
