//! What changes while connections are open: revocation, rotation without an overlap, audit and its end.

use crate::support::Authority;
use crate::support::client::Body;
use crate::support::guard::OPERATOR;
use crate::support::prelude::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use postern_config::verifier::sha256;
use rustls::AlertDescription::{CertificateRequired, CertificateRevoked};
use serde_json::json;

const OTHER: &str = "spiffe://test/ns/shop/gateway/edge/route/other";

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn locked(port: u16, protocol: &str, list: &Value) -> Value {
    json!({"port": port, "protocol": protocol, "access": {"type": "Locked", "locks": {"require": "All", "list": list}}})
}

fn identity(identity: &str) -> Value {
    json!({"type": "Identity", "authority": "postern", "identity": identity})
}

fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

/// Waits for the end of streams, which comes within a second of `changed`.
async fn all_end(changed: Instant, streams: &mut [Incoming]) {
    for body in streams {
        let end = async { while let Some(Ok(_)) = body.frame().await {} };
        tokio::time::timeout(crate::support::LIMIT, end).await.expect("the stream ends");
    }
    assert!(changed.elapsed() < Duration::from_secs(1), "{:?}", changed.elapsed());
}

async fn goes_on(body: &mut Incoming) {
    for _ in 0..10 {
        assert!(body.frame().await.expect("it goes on").unwrap().is_data());
    }
}

#[tokio::test]
async fn what_is_revoked_is_out_at_once_in_open_connections_too() {
    crate::support::install_provider();
    let pki = Pki::new();
    let (http, bytes) = (Application::http().await, Application::bytes().await);
    let (revoked, kept) = (pki.gateway(), pki.gateway());
    let mutual = json!([{"type": "MutualTLS"}]);
    let policy = |revoked: &[String]| {
        let caller = json!([{"name": "c", "certificates": [identity(ORDERS)]}]);
        json!({
            "authorities": [{"name": "postern", "type": "Postern", "roots": "ROOTS"}],
            "ports": [locked(1, "HTTP", &mutual), locked(2, "TCP", &mutual)],
            "routes": [{"name": "http", "port": 1, "callers": caller}, {"name": "tcp", "port": 2, "callers": caller}],
            "revoked": revoked,
        })
        .to_string()
    };
    let ways = [(1, http.address), (2, bytes.address)];
    let sidecar = Sidecar::start(&pki, &ways, &policy(&[])).await;
    let http1 = |leaf: &Leaf| Client::http1(sidecar.address(0), &pki.servers, leaf);
    let http2 = |leaf: &Leaf| Client::http2(sidecar.address(0), &pki.servers, leaf);
    let tcp = |leaf: &Leaf| Client::new(sidecar.address(1), &pki.servers, Some(leaf), &[]);

    let (mut one, mut two) = (http1(&revoked).open_http1().await, http2(&revoked).open_http2().await);
    let mut idle = http1(&revoked).open_http1().await;
    assert_eq!(read(idle.send_request(get("/")).await.unwrap()).await.0, 200);
    let (mut stays, mut stays2) = (http1(&kept).open_http1().await, http2(&kept).open_http2().await);
    let mut streams = [
        one.send_request(get("/endless")).await.unwrap().into_body(),
        two.send_request(get2("/endless")).await.unwrap().into_body(),
        two.send_request(get2("/endless")).await.unwrap().into_body(),
    ];
    let mut staying = [
        stays.send_request(get("/endless")).await.unwrap().into_body(),
        stays2.send_request(get2("/endless")).await.unwrap().into_body(),
    ];
    let (mut raw, mut raw_stays) =
        (tcp(&revoked).connect().await.unwrap(), tcp(&kept).connect().await.unwrap());
    for stream in [&mut raw, &mut raw_stays] {
        stream.read_exact(&mut [0; 6]).await.unwrap();
    }

    let changed = Instant::now();
    sidecar.configure(&pki, &ways, &policy(&[revoked.sha256()]));
    all_end(changed, &mut streams).await;
    let mut rest = Vec::new();
    let _ = raw.read_to_end(&mut rest).await;
    eventually("the idle connection is closed", async || idle.is_closed()).await;
    assert!(changed.elapsed() < Duration::from_secs(1), "{:?}", changed.elapsed());
    eventually("the application's streams end too", async || http.broken() == 3).await;

    for body in &mut staying {
        goes_on(body).await;
    }
    raw_stays.write_all(b"x").await.unwrap();
    raw_stays.read_exact(&mut [0; 1]).await.unwrap();
    assert_eq!(http1(&revoked).get("/").await, Attempt::Alert(CertificateRevoked));
    assert_eq!(sidecar.refused("Revoked").await["certificate"], revoked.sha256());
    assert!(matches!(http1(&kept).get("/").await, Attempt::Answered(200, _)));
}

#[tokio::test]
async fn what_a_caller_loses_on_one_port_it_keeps_on_the_other() {
    crate::support::install_provider();
    let pki = Pki::new();
    let application = Application::http().await;
    let leaf = pki.gateway();
    let mutual = json!([{"type": "MutualTLS"}]);
    let policy = |ports: &[u16]| {
        let caller = json!([{"name": "c", "certificates": [identity(ORDERS)]}]);
        let route = |port| json!({"name": format!("r{port}"), "port": port, "callers": caller});
        json!({
            "authorities": [{"name": "postern", "type": "Postern", "roots": "ROOTS"}],
            "ports": [locked(1, "HTTP", &mutual), locked(2, "HTTP", &mutual)],
            "routes": ports.iter().map(route).collect::<Vec<_>>(),
        })
        .to_string()
    };
    let ways = [(1, application.address), (2, application.address)];
    let sidecar = Sidecar::start(&pki, &ways, &policy(&[1, 2])).await;
    for (kept, lost) in [(0, 1), (1, 0)] {
        sidecar.configure(&pki, &ways, &policy(&[1, 2]));
        let client = |door: usize| Client::http1(sidecar.address(door), &pki.servers, &leaf);
        let is_let_in = async |door: usize| matches!(client(door).get("/").await, Attempt::Answered(200, _));
        eventually("both ports are open", async || is_let_in(0).await && is_let_in(1).await).await;
        let (mut staying, mut going) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (mut stays, mut goes) = (client(kept).open_http1().await, client(lost).open_http1().await);
            assert_eq!(read(stays.send_request(get("/")).await.unwrap()).await.0, 200);
            assert_eq!(read(goes.send_request(get("/")).await.unwrap()).await.0, 200);
            staying.push(stays);
            going.push(goes);
        }
        sidecar.configure(&pki, &ways, &policy(&[u16::try_from(kept).unwrap() + 1]));
        eventually("the lost ones are closed", async || going.iter().all(SendRequest::is_closed)).await;
        for stays in &mut staying {
            assert_eq!(read(stays.send_request(get("/")).await.unwrap()).await.0, 200);
        }
    }
}

#[tokio::test]
async fn credentials_and_values_that_go_take_their_streams_along() {
    crate::support::install_provider();
    let pki = Pki::new();
    let application = Application::http().await;
    let lock = json!([
        {"type": "Basic", "headerName": "authorization", "upstream": "Strip"},
        {"type": "Header", "name": "x-key"},
    ]);
    let policy = |passwords: &[&str], values: &[&str]| {
        // The ids change with each revision: what counts is what they stand for.
        let revision = passwords.len() + values.len();
        let credentials: Vec<_> = passwords
            .iter()
            .map(|it| json!({"id": format!("{it}-{revision}"), "username": "edge", "verifier": sha256(it.as_bytes())}))
            .collect();
        let values: Vec<_> = values
            .iter()
            .map(|it| json!({"id": format!("{it}-{revision}"), "verifier": sha256(it.as_bytes())}))
            .collect();
        json!({
            "authorities": [],
            "ports": [locked(1, "HTTP", &lock)],
            "routes": [{"name": "r", "port": 1, "callers":
                [{"name": "c", "credentials": credentials, "headerValues": values}]}],
        })
        .to_string()
    };
    let ways = [(1, application.address)];
    let sidecar = Sidecar::start(&pki, &ways, &policy(&["p-new", "p-old"], &["v-new", "v-old"])).await;
    let http1 = Client::new(sidecar.address(0), &pki.servers, None, &[b"http/1.1"]);
    let http2 = Client::new(sidecar.address(0), &pki.servers, None, &[b"h2"]);
    let shown = |request, password: &str, value: &str| {
        with(with(request, "authorization", &basic("edge", password)), "x-key", value)
    };
    let mut streams = Vec::new();
    let mut connections = Vec::new();
    for (password, value) in [("p-new", "v-new"), ("p-old", "v-new"), ("p-new", "v-old")] {
        let (mut one, mut two) = (http1.open_http1().await, http2.open_http2().await);
        streams.push(one.send_request(shown(get("/endless"), password, value)).await.unwrap().into_body());
        streams.push(two.send_request(shown(get2("/endless"), password, value)).await.unwrap().into_body());
        connections.push((one, two));
    }
    for body in &mut streams {
        goes_on(body).await;
    }

    let changed = Instant::now();
    sidecar.configure(&pki, &ways, &policy(&["p-new"], &["v-new", "v-old"]));
    all_end(changed, &mut streams[2..4]).await;
    for body in [0, 1, 4, 5] {
        goes_on(&mut streams[body]).await;
    }
    let changed = Instant::now();
    sidecar.configure(&pki, &ways, &policy(&["p-new"], &["v-new"]));
    all_end(changed, &mut streams[4..6]).await;
    for body in [0, 1] {
        goes_on(&mut streams[body]).await;
    }
    eventually("the application's streams end too", async || application.broken() == 4).await;
}

/// What the sidecar says of itself to the operator; nothing before its first configuration.
async fn say(pod: &GuardedPod) -> Option<Value> {
    let operator = pod.pki.callers.client(OPERATOR);
    let client = Client::http1(pod.admin(), &pod.pki.servers, &operator);
    match client.get("/v1/loaded").await {
        Attempt::Answered(200, body) => Some(serde_json::from_str(&body).unwrap()),
        _ => None,
    }
}

async fn loaded(pod: &GuardedPod) -> Value {
    say(pod).await.expect("an answer to the operator")
}

async fn in_force(pod: &GuardedPod, sequence: u64) {
    eventually("the bundle is in force", async || {
        say(pod).await.is_some_and(|it| it["sequence"] == sequence)
    })
    .await;
}

#[tokio::test]
async fn an_audited_port_lets_through_and_tells_who_would_be_denied() {
    let application = Application::http().await;
    let pod = GuardedPod::start(application.address, 2);
    let policy = |enforcement: &str| {
        serde_json::from_value(json!({
            "authorities": [{"name": "postern", "type": "Postern", "roots": pod.pki.callers.pem}],
            "ports": [{
                "port": "web", "protocol": "HTTP", "enforcement": enforcement,
                "access": {"type": "Locked", "locks": {"require": "All", "list": [{"type": "MutualTLS"}]}},
            }],
            "routes": [{"name": "shop/orders", "port": "web", "hostnames": ["api.example.com"],
                "callers": [{"name": "gateway/edge", "certificates": [identity(ORDERS)]}]}],
        }))
        .unwrap()
    };
    pod.mount_bundle(&pod.bundle(1, policy("Audit")));
    in_force(&pod, 1).await;
    let (gateway, nobody) = (pod.pki.gateway(), pod.pki.callers.client(OTHER));
    let stranger = Authority::new("stranger").client(ORDERS);
    let seen = |attempt: Attempt| -> Value {
        let Attempt::Answered(200, body) = attempt else { panic!("{attempt:?}") };
        serde_json::from_str(&body).unwrap()
    };
    let forwarded = |seen: &Value| seen.to_string().contains("x-forwarded-client-cert");

    // Whoever has the key is let in by it, and nothing is counted.
    assert!(forwarded(&seen(pod.http1(&gateway).get("/").await)));
    assert_eq!(loaded(&pod).await["audit"]["8080"]["wouldDeny"], 0);

    let answer = plaintext(
        pod.callers(),
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nclient-cert: :AA==:\r\n\r\n",
    )
    .await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("client-cert"), "{answer}");
    let nothing = Client::new(pod.callers(), &pod.pki.servers, None, &[b"http/1.1"]);
    assert!(!forwarded(&seen(nothing.get("/").await)));
    assert!(!forwarded(&seen(pod.http1(&stranger).get("/").await)), "who isn't verified is not told of");
    assert!(forwarded(&seen(pod.http1(&nobody).get("/").await)), "who is verified is told of");
    let other_host = with(get("/"), "host", "other.example.com");
    let answer = pod.http1(&gateway).open_http1().await.send_request(other_host).await.unwrap();
    assert_eq!(answer.status(), 200);
    // HTTP/2 without TLS begins by its preface.
    let stream = TokioIo::new(tokio::net::TcpStream::connect(pod.callers()).await.unwrap());
    let (mut h2c, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let plain = get2("/");
    assert_eq!(h2c.send_request(plain).await.unwrap().status(), 200);
    // What can't be read in one way only isn't passed on, whoever sends it.
    let twice = b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\nconnection: close\r\n\r\n";
    assert!(plaintext(pod.callers(), twice).await.starts_with(b"HTTP/1.1 400"));

    let metrics = plaintext(pod.metrics(), b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(metrics.contains("postern_sidecar_audited_denials_total{code=\"NoCertificate\"} 3"), "{metrics}");
    let audit = loaded(&pod).await["audit"]["8080"].clone();
    assert_eq!(audit["wouldDeny"], 6, "{audit}");
    let now = jiff::Timestamp::now().as_second();
    assert!(
        audit["since"].as_i64().unwrap() > now - 60 && audit["last"].as_i64().unwrap() > now - 60,
        "{audit}"
    );
    let callers: Vec<_> =
        audit["callers"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let other = format!("{OTHER}: NoRoute");
    let host = format!("{ORDERS}: HostNotAllowed");
    let expected = ["CN=edge: UnknownIssuer", &other, &host, "127.0.0.1: NoCertificate"];
    assert_eq!(callers, expected);

    // It is enforced from now on: what was let through ends, what is let in by the lock goes on.
    let mut one = nothing.open_http1().await;
    let mut two = pod.http2(&nobody).open_http2().await;
    let mut three = pod.http2(&gateway).open_http2().await;
    // Its certificate has the route, what it asks for has not.
    let mut four = pod.http2(&gateway).open_http2().await;
    let mut elsewhere = get2("/endless");
    *elsewhere.uri_mut() = "https://other.example.com/endless".parse().unwrap();
    let plain = get2("/endless");
    let mut streams = [
        one.send_request(get("/endless")).await.unwrap().into_body(),
        two.send_request(get2("/endless")).await.unwrap().into_body(),
        h2c.send_request(plain).await.unwrap().into_body(),
        four.send_request(elsewhere).await.unwrap().into_body(),
        three.send_request(with(get2("/endless"), "host", "api.example.com")).await.unwrap().into_body(),
    ];
    let [spared @ .., staying] = &mut streams;
    let changed = Instant::now();
    pod.mount_bundle(&pod.bundle(2, policy("Enforce")));
    all_end(changed, spared).await;
    in_force(&pod, 2).await;
    goes_on(staying).await;
    assert_eq!(nothing.get("/").await, Attempt::Alert(CertificateRequired));
    assert!(loaded(&pod).await.get("audit").is_none());
    assert!(plaintext(pod.callers(), b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.len() <= 7);
}

#[tokio::test]
async fn the_operator_is_told_what_was_last_used() {
    let application = Application::http().await;
    let pod = GuardedPod::start(application.address, 2);
    let gateway = pod.pki.gateway();
    let other = pod.pki.callers.client(OTHER);
    let credential = |id: &str| json!({"id": id, "username": "edge", "verifier": sha256(id.as_bytes())});
    let value = |id: &str| json!({"id": id, "verifier": sha256(id.as_bytes())});
    let policy = json!({
        "authorities": [{"name": "postern", "type": "Postern", "roots": pod.pki.callers.pem}],
        "ports": [{"port": "web", "protocol": "HTTP", "access": {"type": "Locked", "locks": {"require": "All", "list": [
            {"type": "MutualTLS"},
            {"type": "Basic", "headerName": "authorization", "upstream": "Strip"},
            {"type": "Header", "name": "x-key"},
        ]}}}],
        "routes": [{"name": "shop/orders", "port": "web", "callers": [
            {
                "name": "gateway/edge",
                "certificates": [{"type": "Identity", "authority": "postern", "identity": ORDERS, "keys": [gateway.pin()]}],
                "credentials": [credential("p2"), credential("p1")],
                "headerValues": [value("v2"), value("v1")],
            },
            {
                "name": "gateway/other",
                "certificates": [{"type": "Identity", "authority": "postern", "identity": OTHER, "keys": [other.pin()]}],
                // The same as the first's, under another id.
                "credentials": [{"id": "q", "username": "edge", "verifier": sha256(b"p1")}],
                "headerValues": [value("w")],
            },
        ]}],
    });
    pod.mount_bundle(&pod.bundle(1, serde_json::from_value(policy).unwrap()));
    in_force(&pod, 1).await;
    let request = |password: &str, value: &str| {
        with(with(get("/"), "authorization", &basic("edge", password)), "x-key", value)
    };
    let mut client = pod.http1(&gateway).open_http1().await;
    assert_eq!(read(client.send_request(request("p1", "v2")).await.unwrap()).await.0, 200);
    let refused = pod.http1(&other).open_http1().await.send_request(request("p2", "w")).await.unwrap();
    assert_eq!(refused.status(), 403);
    let now = jiff::Timestamp::now().as_second();
    let seen = loaded(&pod).await["seen"].clone();
    let mut used: Vec<_> =
        seen.as_object().unwrap().iter().map(|(id, time)| (id.as_str(), time.as_i64().unwrap())).collect();
    used.sort_unstable();
    assert!(used.iter().all(|(_, time)| (now - 60..=now + 1).contains(time)), "{used:?}");
    let ids: Vec<_> = used.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [&*format!("key:{}", gateway.pin()), "p1", "v2"]);
}
