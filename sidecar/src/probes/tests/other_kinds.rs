//! `tcpSocket`, `grpc`, time-outs, and where probes go.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderValue, Response};
use http_body_util::{BodyExt as _, Full};
use postern_config::policy::PortRef;
use postern_config::record::{PodRecord, ProbeAction};
use tokio::net::TcpListener;

use super::super::target::{connect, targets};
use super::super::{ProbeFailure, Prober};
use super::application::{Application, grpc};
use super::{act, get, prober, record};
use crate::own_addresses::OwnAddresses;

fn tcp(port: PortRef, host: Option<&str>) -> ProbeAction {
    ProbeAction::TCPSocket { port, host: host.map(str::to_owned) }
}

/// An address at which nobody listens.
async fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_tcp_probe_succeeds_where_something_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let action = || tcp(PortRef::Number(80), None);
    act(action(), listener.local_addr().unwrap()).await.unwrap();
    let outcome = act(action(), closed().await).await;
    assert!(matches!(outcome, Err(ProbeFailure::Connect { .. })), "{outcome:?}");
}

#[tokio::test]
async fn the_second_address_is_tried_where_the_first_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_, reached) = connect(&[closed().await, address]).await.unwrap();
    assert_eq!(reached, address);
}

#[tokio::test]
async fn a_grpc_probe_succeeds_on_serving_alone() {
    type Answer =
        fn() -> Response<http_body_util::combinators::BoxBody<bytes::Bytes, std::convert::Infallible>>;
    let cases: [(Answer, Option<&str>); 8] = [
        (|| grpc(&[0, 0, 0, 0, 2, 8, 1], "0"), None),
        (|| grpc(&[0, 0, 0, 0, 2, 8, 2], "0"), Some("gRPC health is NOT_SERVING instead of SERVING")),
        (|| grpc(&[0, 0, 0, 0, 0], "0"), Some("gRPC health is UNKNOWN instead of SERVING")),
        (|| grpc(&[0, 0, 0, 0, 2, 8, 1], "12"), Some("gRPC status 12")),
        (|| grpc(b"junk", "0"), Some("the answer is not one of grpc.health.v1.Health")),
        (
            || {
                let mut failed = grpc(b"", "0").map(|_| Full::default().boxed());
                failed.headers_mut().insert("grpc-status", HeaderValue::from_static("5"));
                failed
            },
            Some("gRPC status 5"),
        ),
        (
            || Response::new(Full::from("<html>").boxed()),
            Some("the answer is not one of grpc.health.v1.Health"),
        ),
        (
            || Response::builder().status(503).body(Full::default().boxed()).unwrap(),
            Some("the answer is not one of grpc.health.v1.Health"),
        ),
    ];
    for (answer, expected) in cases {
        let app = Application::http2(answer).await;
        let action = ProbeAction::GRPC { port: 80, service: Some("db".to_owned()) };
        let failure = act(action, app.address).await.err().map(|failure| failure.to_string());
        assert_eq!(failure.as_deref(), expected);
        assert_eq!(app.paths(), ["/grpc.health.v1.Health/Check"]);
        let headers = app.headers(0);
        assert_eq!(
            (&headers["content-type"], &headers["te"]),
            (&HeaderValue::from_static("application/grpc"), &HeaderValue::from_static("trailers"))
        );
        assert_eq!(headers["user-agent"], "kube-probe/1.36");
    }
}

#[tokio::test]
async fn a_grpc_probe_of_an_http_1_server_fails() {
    let app = Application::http().await;
    let outcome = act(ProbeAction::GRPC { port: 80, service: None }, app.address).await;
    assert!(matches!(outcome, Err(ProbeFailure::Exchange(_))), "{outcome:?}");
}

#[tokio::test]
async fn an_application_that_does_not_answer_in_time_fails() {
    let app = Application::http().await;
    let action = match get("/slow", &[]) {
        ProbeAction::HTTPGet { path, https, headers, .. } => ProbeAction::HTTPGet {
            path,
            https,
            headers,
            port: PortRef::Number(app.address.port()),
            host: Some("127.0.0.1".to_owned()),
        },
        other => other,
    };
    let prober = prober(action);
    let outcome = prober.run(&prober.record().probes[0], &HeaderValue::from_static("kube-probe")).await;
    assert!(matches!(outcome, Err(ProbeFailure::Timeout(limit)) if limit.as_secs() == 1), "{outcome:?}");
    assert_eq!(app.paths(), ["/slow"]);
}

#[test]
fn probes_go_to_the_pod_itself() {
    let own = OwnAddresses::fixed(&["127.0.0.1", "10.0.0.7", "fe80::7", "fd00::7"]);
    let record = PodRecord {
        ports: [("web".to_owned(), 8080), ("loop".to_owned(), 15100)].into(),
        ..record(tcp(PortRef::Number(80), None))
    };
    let name = |name: &str| PortRef::Name(name.to_owned());
    for (port, host, expected) in [
        (PortRef::Number(80), None, Ok(&["10.0.0.7:80", "[fd00::7]:80"][..])),
        (name("web"), None, Ok(&["10.0.0.7:8080", "[fd00::7]:8080"])),
        (PortRef::Number(80), Some(""), Ok(&["10.0.0.7:80", "[fd00::7]:80"])),
        (PortRef::Number(80), Some("fd00::7"), Ok(&["[fd00::7]:80"])),
        (PortRef::Number(80), Some("10.0.0.8"), Err("the probe's host 10.0.0.8 is not this pod")),
        (PortRef::Number(80), Some("shop.example"), Err("the probe's host shop.example is not this pod")),
        (name("admin"), None, Err("no container of this pod names a port admin")),
        (PortRef::Number(15130), None, Err("port 15130 belongs to the sidecar")),
        (name("loop"), None, Err("port 15100 belongs to the sidecar")),
    ] {
        match (targets(&port, host, &record, &own), expected) {
            (Ok(found), Ok(expected)) => {
                assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
            }
            (Err(failure), Err(expected)) => assert!(failure.to_string().starts_with(expected), "{failure}"),
            (outcome, _) => panic!("{port:?} {host:?}: {outcome:?}"),
        }
    }
    let nowhere =
        targets(&PortRef::Number(80), None, &record, &OwnAddresses::fixed(&["127.0.0.1", "fe80::7"]));
    assert!(matches!(nowhere, Err(ProbeFailure::NoAddress)), "{nowhere:?}");
}

#[tokio::test]
async fn a_probe_of_an_unknown_port_fails_before_it_calls() {
    let own = Arc::new(OwnAddresses::fixed(&["10.0.0.7"]));
    let prober = Prober::new(record(tcp(PortRef::Name("web".to_owned()), None)), own).unwrap();
    let outcome = prober.run(&prober.record().probes[0], &HeaderValue::from_static("kube-probe")).await;
    assert!(matches!(outcome, Err(ProbeFailure::UnknownPort(name)) if name == "web"));
}
