//! What callers, known or not, can't use up; and what waits that has a right to wait.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::support::house::denials;
use crate::support::prelude::*;
use postern_config::record::PodRecord;
use postern_sidecar::limits::Limits;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// How long the other side keeps a connection.
async fn until_closed(mut stream: impl tokio::io::AsyncRead + Unpin) -> Duration {
    let start = Instant::now();
    let mut rest = Vec::new();
    // An error is an end too.
    let _ = timeout(LIMIT, stream.read_to_end(&mut rest)).await.expect("an end");
    start.elapsed()
}

#[tokio::test]
async fn whoever_does_not_finish_the_handshake_is_closed() {
    let limits = Limits { handshake: Duration::from_secs(1), ..Limits::default() };
    let (_application, pod) = guarded(limits).await;
    let silent = TcpStream::connect(pod.callers()).await.unwrap();
    let waited = until_closed(silent).await;
    assert!((Duration::from_millis(900)..Duration::from_secs(4)).contains(&waited), "{waited:?}");
}

#[tokio::test]
async fn half_a_head_is_closed_and_an_idle_connection_is_kept() {
    let limits = Limits { header: Duration::from_secs(1), ..Limits::default() };
    let (application, pod) = guarded(limits).await;
    let mut kept = pod.http1(&pod.pki.gateway()).open_http1().await;
    assert_eq!(read(kept.send_request(get("/")).await.unwrap()).await.0, 200);
    let mut slow = pod.http1(&pod.pki.gateway()).connect().await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    let waited = until_closed(slow).await;
    assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&waited), "{waited:?}");
    kept.ready().await.unwrap();
    assert_eq!(read(kept.send_request(get("/")).await.unwrap()).await.0, 200);
    assert_eq!(application.hits(), 2);
}

#[tokio::test]
async fn what_is_idle_for_too_long_is_closed_and_a_silent_application_is_given_up() {
    let limits = Limits { idle: Duration::from_secs(1), ..Limits::default() };
    let (application, pod) = guarded(limits).await;
    let mut idle = pod.http1(&pod.pki.gateway()).open_http1().await;
    assert_eq!(read(idle.send_request(get("/")).await.unwrap()).await.0, 200);
    let Attempt::Answered(status, body) = pod.http1(&pod.pki.gateway()).get("/slow").await else {
        panic!("an answer")
    };
    assert_eq!(status, 504, "{body}");
    assert!(body.contains("ApplicationTimeout"), "{body}");
    eventually("the idle connection is closed", async || idle.is_closed()).await;
    assert_eq!(application.hits(), 2);
}

#[tokio::test]
async fn strangers_have_a_budget_of_their_own() {
    let limits = Limits { unproven_per_source: 3, ..Limits::default() };
    let (_application, pod) = guarded(limits).await;
    let mut callers = Vec::new();
    for _ in 0..5 {
        // Callers with a route don't count.
        let mut sender = pod.http1(&pod.pki.gateway()).open_http1().await;
        assert_eq!(read(sender.send_request(get("/")).await.unwrap()).await.0, 200);
        callers.push(sender);
    }
    let mut strangers = Vec::new();
    for _ in 0..3 {
        strangers.push(TcpStream::connect(pod.callers()).await.unwrap());
    }
    eventually("a fourth stranger is refused", async || {
        let stream = TcpStream::connect(pod.callers()).await.unwrap();
        timeout(Duration::from_millis(300), until_closed(stream)).await.is_ok()
    })
    .await;
    let refused = async || denials(pod.metrics(), "TooManyConnections").await > 0;
    eventually("the refusal is counted", refused).await;
    for sender in &mut callers {
        assert_eq!(read(sender.send_request(get("/")).await.unwrap()).await.0, 200);
    }
    drop(strangers);
    eventually("there is room again", async || {
        matches!(pod.http1(&pod.pki.gateway()).get("/").await, Attempt::Answered(200, _))
    })
    .await;
}

#[tokio::test]
async fn a_caller_without_a_route_does_not_keep_its_place() {
    let limits = Limits { header: Duration::from_secs(1), ..Limits::default() };
    let (application, pod) = guarded(limits).await;
    let stranger = pod.pki.callers.client("spiffe://test/ns/shop/gateway/edge/route/other");
    // One that asks for nothing, and one that takes no part in the end of its HTTP/2 connection.
    let silent = pod.http1(&stranger).connect().await.unwrap();
    until_closed(silent).await;
    let mut stuck = pod.http2(&stranger).connect().await.unwrap();
    // Preface, SETTINGS, and HEADERS of GET https://a/ (RFC 7541: indexed fields, and a literal authority).
    stuck.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stuck.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    stuck.write_all(&[0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x84, 0x87, 0x41, 1, b'a']).await.unwrap();
    until_closed(stuck).await;
    // One whose request is refused before it is asked who it is.
    let mut refused = pod.http1(&stranger).connect().await.unwrap();
    refused.write_all(b"GET /%2f HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    until_closed(refused).await;
    assert_eq!(application.hits(), 0);
}

#[tokio::test]
async fn a_caller_with_a_route_goes_on_after_a_refusal() {
    let (application, pod) = guarded(Limits::default()).await;
    let mut kept = pod.http1(&pod.pki.gateway()).open_http1().await;
    assert_eq!(read(kept.send_request(get("/%2f")).await.unwrap()).await.0, 400);
    kept.ready().await.unwrap();
    assert_eq!(read(kept.send_request(get("/")).await.unwrap()).await.0, 200);
    assert_eq!(application.hits(), 1);
}

/// An idle connection from an address of its own, to an address of this machine.
async fn idle_from(source: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn idle_connections_do_not_lock_the_operator_out() {
    let (_application, pod) = guarded(Limits::default()).await;
    let operator = pod.pki.callers.client(crate::support::guard::OPERATOR);
    let operator = Client::new(pod.admin(), &pod.pki.servers, Some(&operator), &[b"http/1.1"]);
    let start = Instant::now();
    let mut idle = Vec::new();
    for _ in 0..45 {
        idle.push(idle_from([127, 0, 0, 2], pod.admin()).await);
        idle.push(idle_from([127, 0, 0, 2], pod.metrics()).await);
    }
    assert!(matches!(operator.get("/v1/loaded").await, Attempt::Answered(200, _)));
    let metrics = plaintext(pod.metrics(), b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(metrics.starts_with(b"HTTP/1.1 200"));
    assert!(start.elapsed() < Duration::from_secs(3), "no place was free before the idle ones were given up");
    for stream in idle {
        until_closed(stream).await;
    }
    assert!(start.elapsed() < Duration::from_secs(8), "idle connections are given up early");
}

#[tokio::test]
async fn newcomers_take_the_place_of_whoever_shows_nothing() {
    let limits = Limits { unproven: 8, ..Limits::default() };
    let (_application, pod) = guarded(limits).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(idle_from([127, 0, 0, 2], pod.callers()).await);
    }
    assert!(matches!(pod.http1(&pod.pki.gateway()).get("/").await, Attempt::Answered(200, _)));
    let waited = until_closed(idle.remove(0)).await;
    assert!(waited < Duration::from_secs(5), "the oldest makes room: {waited:?}");
}

#[tokio::test]
async fn one_source_does_not_use_up_the_open_ports() {
    let limits = Limits { open_per_source: 2, ..Limits::default() };
    let (_application, pod) = guarded(limits).await;
    let mut policy = pod.policy(&[(ORDERS, None)]);
    let open =
        serde_json::json!([{"port": "web", "protocol": "TCP", "access": {"type": "Open", "reason": "test"}}]);
    policy.ports = serde_json::from_value(open).unwrap();
    policy.routes.clear();
    pod.mount_bundle(&pod.bundle(2, policy));
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let is_served = async || plaintext(pod.callers(), request).await.starts_with(b"HTTP/1.1 200");
    eventually("the port is open", is_served).await;
    let first = idle_from([127, 0, 0, 2], pod.callers()).await;
    let second = idle_from([127, 0, 0, 2], pod.callers()).await;
    let beyond = until_closed(idle_from([127, 0, 0, 2], pod.callers()).await).await;
    assert!(beyond < Duration::from_secs(5), "{beyond:?}");
    eventually("another source is served", is_served).await;
    drop((first, second));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let (application, pod) = guarded(Limits::default()).await;
    let large =
        format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\nconnection: close\r\n\r\n", "x".repeat(80 << 10));
    let attempt = pod.http1(&pod.pki.gateway()).attempt(large.as_bytes()).await;
    assert!(matches!(attempt, Attempt::Answered(431, _) | Attempt::Closed), "{attempt:?}");
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}connection: close\r\n\r\n", "x: 1\r\n".repeat(200));
    let attempt = pod.http1(&pod.pki.gateway()).attempt(many.as_bytes()).await;
    assert!(matches!(attempt, Attempt::Answered(431, _)), "{attempt:?}");
    let two = pod.http2(&pod.pki.gateway());
    let mut request = crate::support::client::get2("/");
    for _ in 0..200 {
        request.headers_mut().append("x", "1".parse().unwrap());
    }
    let (status, body) = read(two.open_http2().await.send_request(request).await.unwrap()).await;
    assert_eq!(status, 431, "{body}");
    assert_eq!(application.hits(), 0);
}

#[tokio::test]
async fn the_end_does_not_wait_for_ever() {
    let limits = Limits { drain: Duration::from_secs(1), ..Limits::default() };
    let (application, mut pod) = guarded(limits).await;
    let mut open = pod.http1(&pod.pki.gateway()).open_http1().await;
    let stuck = tokio::spawn(async move { open.send_request(get("/slow")).await.is_err() });
    eventually("it is on its way", async || application.hits() == 1).await;
    let start = Instant::now();
    pod.begin_to_stop();
    eventually("the end", async || pod.has_ended()).await;
    let waited = start.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&waited), "{waited:?}");
    assert!(stuck.await.unwrap(), "what was in flight is broken off");
}

#[tokio::test]
async fn a_port_name_that_the_pod_does_not_have_stays_closed() {
    let (application, pod) = guarded(Limits::default()).await;
    let mut policy = pod.policy(&[(ORDERS, None)]);
    let nowhere = postern_config::policy::PortRef::Name("nowhere".to_owned());
    policy.ports[0].port = nowhere.clone();
    policy.routes[0].port = nowhere;
    pod.mount_bundle(&pod.bundle(2, policy));
    pod.ready_says(true, "nowhere").await;
    assert_eq!(pod.http1(&pod.pki.gateway()).get("/").await, Attempt::Closed);
    assert_eq!(application.hits(), 0);
}

#[tokio::test]
async fn a_pod_record_that_is_unsigned_or_of_another_lock_or_pod_is_refused() {
    let (_application, mut pod) = guarded(Limits::default()).await;
    let of = |namespace: &str, trust: &str, name: &str| {
        let record = PodRecord {
            namespace: namespace.to_owned(),
            trust: trust.to_owned(),
            pod: name.to_owned(),
            generated: false,
            token: "0123456789abcdef0123456789abcdef".to_owned(),
            ports: BTreeMap::from([("web".to_owned(), 8080)]),
            probes: Vec::new(),
            listeners: None,
        };
        record.seal(&pod.signer).unwrap()
    };
    for (record, reason) in [
        ("{}".to_owned(), "not as the operator wrote it"),
        (of("elsewhere", "orders", "orders-0"), "made for the BackendTrust elsewhere/orders"),
        (of("shop", "weaker", "orders-0"), "made for the BackendTrust shop/weaker"),
        (of("shop", "orders", "orders-1"), "made for the pod orders-1, and this one is orders-0"),
    ] {
        pod.stop();
        std::fs::write(pod.path("pod/record"), record).unwrap();
        pod.restart();
        pod.ready_says(false, reason).await;
        assert_eq!(pod.http1(&pod.pki.gateway()).get("/").await, Attempt::Closed, "{reason}");
    }
}

#[tokio::test]
async fn a_memory_that_cannot_be_read_for_a_while_costs_a_while_only() {
    let application = Application::http().await;
    let pod = GuardedPod::start(application.address, 1);
    let obstacle = pod.path("state/sequence.json");
    std::fs::create_dir(&obstacle).unwrap();
    pod.mount_bundle(&pod.bundle(1, pod.policy(&[(ORDERS, None)])));
    pod.ready_says(false, "does not say which bundle").await;
    std::fs::remove_dir(&obstacle).unwrap();
    pod.ready_says(true, "ready").await;
    assert!(matches!(pod.http1(&pod.pki.gateway()).get("/").await, Attempt::Answered(200, _)));
}
