//! The probe port itself.

use std::net::SocketAddr;
use std::time::Duration;

use postern_config::policy::PortRef;
use postern_config::record::{ProbeAction, ProbeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::super::{Health, ProbeServer, Probes};
use super::application::Application;
use super::{LIMIT, TOKEN, prober, prober_of, record};
use crate::readiness::Readiness;

struct Port {
    address: SocketAddr,
    health: Health,
    _task: AbortOnDropHandle<()>,
}

async fn serve(probes: Probes) -> Port {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let health = Health { started: Readiness::new(), ready: Readiness::new() };
    let server = ProbeServer::new(listener, health.clone(), probes);
    let address = server.local_addr().unwrap();
    let task = tokio::spawn(server.serve(std::future::pending()));
    Port { address, health, _task: AbortOnDropHandle::new(task) }
}

impl Port {
    /// Status and body of one exchange; all of it, since the server closes.
    async fn get(&self, path: &str) -> (u16, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: pod\r\nuser-agent: kube-probe/1.36\r\n\r\n")).await
    }

    async fn send(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(LIMIT, stream.read_to_string(&mut answer)).await.expect("the server should close").unwrap();
        let status = answer.split(' ').nth(1).unwrap_or("0").parse().unwrap();
        (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }
}

/// A probe of `path` at `app`, by the address that is the pod's own in tests.
fn action(app: &Application, path: &str) -> ProbeAction {
    ProbeAction::HTTPGet {
        path: path.to_owned(),
        port: PortRef::Number(app.address.port()),
        https: false,
        headers: vec![],
        host: Some("127.0.0.1".to_owned()),
    }
}

#[tokio::test]
async fn health_is_told_as_it_is() {
    let port = serve(Probes::Absent).await;
    assert_eq!(port.get("/startz").await, (200, "ready\n".to_owned()));
    assert_eq!(port.get("/readyz").await, (200, "ready\n".to_owned()));
    let listeners = port.health.started.pending("listeners", "not bound yet");
    let policy = port.health.ready.pending("policy", "no bundle yet");
    assert_eq!(port.get("/startz").await, (503, "not ready\nlisteners: not bound yet\n".to_owned()));
    assert_eq!(port.get("/readyz").await, (503, "not ready\npolicy: no bundle yet\n".to_owned()));
    drop(listeners);
    assert_eq!(port.get("/startz").await.0, 200);
    assert_eq!(port.get("/readyz").await.0, 503);
    drop(policy);
    assert_eq!(port.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn a_recorded_probe_answers_for_the_application() {
    let app = Application::http().await;
    for (path, expected) in [
        ("/status/200", (200, "ok\n")),
        ("/status/500", (503, "HTTP status 500\n")),
        (
            "/slow",
            (503, "no answer within 1s (the probe's timeoutSeconds; for a hook, the pod's grace period)\n"),
        ),
    ] {
        let action = action(&app, path);
        let path = record(action.clone()).probe_path("app", ProbeKind::Liveness);
        let (status, body) = serve(Probes::Recorded(prober(action))).await.get(&path).await;
        assert_eq!((status, body.as_str()), expected);
    }
    assert_eq!(app.paths(), ["/status/200", "/status/500", "/slow"]);
    assert_eq!(app.headers(0)["user-agent"], "kube-probe/1.36");
}

/// Status 0 is a connection that ended without an answer.
#[tokio::test]
async fn a_hook_fails_by_ending_the_connection_since_the_kubelet_takes_any_answer_for_success() {
    let app = Application::http().await;
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for kind in [ProbeKind::PostStart, ProbeKind::PreStop] {
        for (path, port, expected) in [
            ("/status/200", app.address.port(), 200),
            // The application was told; what it makes of it is its own affair, as without a lock.
            ("/status/500", app.address.port(), 200),
            ("/slow", app.address.port(), 0),
            ("/status/200", deaf.port(), 0),
        ] {
            let mut record = record(action(&app, path));
            record.probes[0].kind = kind;
            if let ProbeAction::HTTPGet { port: declared, .. } = &mut record.probes[0].action {
                *declared = PortRef::Number(port);
            }
            let hook = record.probe_path("app", kind);
            let served = serve(Probes::Recorded(prober_of(record))).await;
            assert_eq!(served.get(&hook).await.0, expected, "{kind:?} {path} on {port}");
            assert_eq!(served.get(&format!("/probe/{TOKEN}/app/liveness")).await.0, 404);
        }
        let unavailable = serve(Probes::Unavailable).await;
        assert_eq!(unavailable.get(&format!("/probe/{TOKEN}/app/{}", kind.as_str())).await.0, 0);
    }
}

#[tokio::test]
async fn anything_else_is_not_found_and_never_reaches_the_application() {
    let app = Application::http().await;
    let port = serve(Probes::Recorded(prober(action(&app, "/status/200")))).await;
    let wrong = TOKEN.replace('0', "1");
    for path in [
        "/".to_owned(),
        "/status/200".to_owned(),
        "/metrics".to_owned(),
        "/probe/".to_owned(),
        format!("/probe/{wrong}/app/liveness"),
        format!("/probe/{}/app/liveness", TOKEN.to_uppercase()),
        format!("/probe/{TOKEN}/app/readiness"),
        format!("/probe/{TOKEN}/other/liveness"),
        format!("/probe/{TOKEN}/app/liveness/"),
        format!("/probe/{TOKEN}/app/liveness/../liveness"),
        format!("/probe//{TOKEN}/app/liveness"),
    ] {
        assert_eq!(port.get(&path).await, (404, "not found\n".to_owned()), "{path}");
    }
    let path = format!("/probe/{TOKEN}/app/liveness");
    let posted = format!("POST {path} HTTP/1.1\r\nhost: pod\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(port.send(&posted).await.0, 404);
    assert_eq!(app.paths(), [""; 0]);
    assert_eq!(port.get(&path).await.0, 200, "the right path works");
}

#[tokio::test]
async fn without_a_record_probes_fail_and_health_is_still_told() {
    let path = format!("/probe/{TOKEN}/app/liveness");
    for (probes, expected) in [(Probes::Unavailable, 503), (Probes::Absent, 404)] {
        let port = serve(probes).await;
        assert_eq!(port.get(&path).await.0, expected);
        assert_eq!(port.get("/readyz").await.0, 200);
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_or_never_ends_is_cut_off() {
    let port = serve(Probes::Absent).await;
    let large = format!("GET /readyz HTTP/1.1\r\nhost: pod\r\nx: {}\r\n\r\n", "x".repeat(16 << 10));
    assert_eq!(port.send(&large).await.0, 431);
    let (status, _) = port.send("GET /readyz HTTP/1.1\r\nhost: pod\r\n").await;
    assert_ne!(status, 200);
}

#[tokio::test]
async fn a_connection_carries_one_request() {
    let port = serve(Probes::Absent).await;
    let (status, rest) = port.send(&"GET /readyz HTTP/1.1\r\nhost: pod\r\n\r\n".repeat(2)).await;
    assert_eq!((status, rest.as_str()), (200, "ready\n"));
}

#[tokio::test]
async fn one_source_cannot_hold_more_than_its_share() {
    let port = serve(Probes::Absent).await;
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(TcpStream::connect(port.address).await.unwrap());
    }
    let mut beyond = TcpStream::connect(port.address).await.unwrap();
    let read = timeout(LIMIT, beyond.read(&mut [0; 1])).await.expect("the server should close");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    // The others are still served.
    let stream = held.last_mut().unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: pod\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(LIMIT, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn several_sources_cannot_keep_the_kubelet_out() {
    let port = serve(Probes::Absent).await;
    let mut held = Vec::new();
    for source in 2..6 {
        for _ in 0..64 {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 0, source], 0).into()).unwrap();
            held.push(socket.connect(port.address).await.unwrap());
        }
    }
    let answer = timeout(Duration::from_secs(2), port.get("/readyz")).await;
    assert_eq!(answer.expect("a place"), (200, "ready\n".to_owned()));
}
