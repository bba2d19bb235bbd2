//! Spans arrive at a real OpenTelemetry collector, and the application sees the sidecar's span as its parent.
//!
//! `make check-tracing` builds the collector and names it by `POSTERN_COLLECTOR`.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::support::prelude::*;
use serde_json::json;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector that writes what it gets to a file.
struct Collector {
    child: Child,
    address: SocketAddr,
    directory: tempfile::TempDir,
}

impl Collector {
    async fn start() -> Self {
        let program = std::env::var("POSTERN_COLLECTOR").expect("POSTERN_COLLECTOR: run make check-tracing");
        let directory = tempfile::tempdir().unwrap();
        // Free now, and nobody else's business.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = json!({
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": address.to_string()}}}},
            "exporters": {"debug": {"verbosity": "detailed", "use_internal_logger": false}},
            "service": {"pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["debug"]}}},
        });
        let path = directory.path().join("config.yaml");
        std::fs::write(&path, config.to_string()).unwrap();
        let out = std::fs::File::create(directory.path().join("out")).unwrap();
        let child =
            Command::new(program).arg("--config").arg(path).stdout(out).stderr(Stdio::inherit()).spawn();
        let collector = Self { child: child.unwrap(), address, directory };
        eventually("the collector listens", async || tokio::net::TcpStream::connect(address).await.is_ok())
            .await;
        collector
    }

    fn endpoint(&self) -> String {
        format!("http://{}/v1/traces", self.address)
    }

    /// What it got so far.
    fn got(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("out")).unwrap()
    }

    /// Waits for a span with this in it; the text from its head to the next one's.
    async fn span(&self, needle: &str) -> String {
        let mut found = None;
        eventually(&format!("a span with {needle}"), async || {
            found = self.got().split("Span #").find(|span| span.contains(needle)).map(str::to_owned);
            found.is_some()
        })
        .await;
        found.unwrap()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn header<'a>(seen: &'a Value, name: &str) -> Option<&'a str> {
    let headers = seen["headers"].as_array().unwrap();
    headers.iter().find(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap())
}

async fn ask(client: &Client, path: &str, headers: &[(&'static str, &str)]) -> (u16, String) {
    let mut request = get(path);
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    read(client.open_http1().await.send_request(request).await.unwrap()).await
}

#[tokio::test]
#[ignore = "needs a collector: make check-tracing"]
async fn spans_arrive_at_a_collector() {
    let collector = Collector::start().await;
    let house = House::build(&[]).await;
    let client = house.http1(&house.pki.gateway());
    house.sidecar.set(&json!({"tracing": {"endpoint": collector.endpoint(), "samplingPpm": 1_000_000}}));
    house.sidecar.loaded(2).await;

    let given = format!("00-{TRACE}-{PARENT}-01");
    let (status, seen) = ask(&client, "/orders/7", &[("traceparent", &given), ("tracestate", "a=1")]).await;
    let seen: Value = serde_json::from_str(&seen).unwrap();
    let ours = header(&seen, "traceparent").unwrap();
    let span_id = ours.strip_prefix(&format!("00-{TRACE}-")).unwrap().strip_suffix("-01").unwrap();
    assert!(status == 200 && span_id != PARENT && header(&seen, "tracestate") == Some("a=1"), "{seen}");
    let span = collector.span(TRACE).await;
    for line in [
        format!("Parent ID      : {PARENT}"),
        format!("ID             : {span_id}"),
        "Name           : GET r".to_owned(),
        "Kind           : Server".to_owned(),
        "Status code    : Unset".to_owned(),
        "-> http.request.method: Str(GET)".to_owned(),
        "-> url.path: Str(/orders/7)".to_owned(),
        "-> server.address: Str(api.example.com)".to_owned(),
        format!("-> postern.identity: Str({ORDERS})"),
        "-> http.response.status_code: Int(200)".to_owned(),
    ] {
        assert!(span.contains(&line), "{line} is not in {span}");
    }
    assert!(collector.got().contains("-> service.name: Str(postern-sidecar)"), "{}", collector.got());

    // A new trace where there was none, and one in which the caller was refused.
    let (_, seen) = ask(&client, "/new", &[]).await;
    let seen: Value = serde_json::from_str(&seen).unwrap();
    let begun = header(&seen, "traceparent").unwrap().split('-').nth(1).unwrap().to_owned();
    let span = collector.span(&begun).await;
    assert!(span.contains("Parent ID      : \n"), "{span}");
    assert_eq!(ask(&client, "/%2f", &[]).await.0, 400);
    let span = collector.span("Str(AmbiguousPath)").await;
    assert!(span.contains("Int(400)") && span.contains("Status code    : Unset"), "{span}");
    let line = house.sidecar.refused("AmbiguousPath").await;
    assert!(span.contains(line["trace_id"].as_str().unwrap()), "{line}: {span}");

    // A caller that doesn't record: nothing is sent, and nothing comes in between.
    let quiet = format!("00-{}-{PARENT}-00", "1".repeat(32));
    let (_, seen) = ask(&client, "/quiet", &[("traceparent", &quiet)]).await;
    assert_eq!(header(&serde_json::from_str(&seen).unwrap(), "traceparent"), Some(&*quiet));
    assert_eq!(house.metric("spans_total{result=\"exported\"}").await, Some(3));
    assert!(!collector.got().contains(&"1".repeat(32)), "{}", collector.got());

    // Switched off, the context still passes.
    house.sidecar.set(&json!({}));
    house.sidecar.loaded(3).await;
    let (_, seen) = ask(&client, "/off", &[("traceparent", &given)]).await;
    assert_eq!(header(&serde_json::from_str(&seen).unwrap(), "traceparent"), Some(&*given));
    let (_, seen) = ask(&client, "/off", &[("traceparent", "nonsense"), ("tracestate", "a=1")]).await;
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert!(header(&seen, "traceparent").unwrap().ends_with("-00") && header(&seen, "tracestate").is_none());
}

/// Without `#[ignore]`: no collector is needed to lose spans.
#[tokio::test]
async fn a_collector_that_is_not_there_costs_spans_and_nothing_else() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let house = House::build(&[]).await;
    let client = house.http1(&house.pki.gateway());
    let endpoint = format!("http://{gone}/v1/traces");
    house.sidecar.set(&json!({"tracing": {"endpoint": endpoint, "samplingPpm": 1_000_000}}));
    house.sidecar.loaded(2).await;
    for _ in 0..3 {
        let start = Instant::now();
        assert_eq!(ask(&client, "/", &[]).await.0, 200);
        assert!(start.elapsed() < Duration::from_secs(2));
    }
    let line = house.sidecar.logged("the loss", |line| line["message"] == "spans are lost").await;
    assert!(line["reason"].as_str().unwrap().contains("cannot be reached"), "{line}");
    eventually("all are counted", async || house.metric("spans_total{result=\"failed\"}").await == Some(3))
        .await;
    let told = house.sidecar.lines().iter().filter(|line| line["message"] == "spans are lost").count();
    assert_eq!(told, 1, "told once, not for each");
}
