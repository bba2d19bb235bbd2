//! What people see: a code for each refusal, a line for each request, settings that hold at once.

use crate::support::faults::{Fault, Faults};
use crate::support::prelude::*;
use http::Request;
use http_body_util::Empty;
use rustls::AlertDescription;
use serde_json::json;

/// Each fault of a handshake has a code of its own, shown on a real handshake.
#[tokio::test]
async fn each_fault_of_a_handshake_has_its_own_code() {
    crate::support::install_provider();
    let (faults, application) = (Faults::new(), Application::http().await);
    let routes = [json!({"name": "r", "port": 1, "callers": [faults.caller()]})];
    let policy = faults.policy(&[Faults::port(1, "HTTP", "Enforce")], &routes);
    let sidecar = Sidecar::start(&faults.pki, &[(1, application.address)], &policy).await;
    for Fault { code, leaf, alert } in faults.all() {
        let client = Client::new(sidecar.address(0), &faults.pki.servers, leaf.as_ref(), &[b"http/1.1"]);
        let attempt = client.get("/").await;
        assert_eq!(attempt, Attempt::Alert(alert), "{code}");
        let line = sidecar.refused(code).await;
        for field in ["timestamp", "level", "message", "reason", "remedy", "peer"] {
            assert!(line[field].is_string(), "{code}: {line}");
        }
        assert_eq!((&line["level"], &line["message"]), (&"WARN".into(), &"refused".into()), "{code}");
        let is_read = !matches!(code, "MalformedCertificate" | "HandshakeFailed");
        if let Some(leaf) = leaf.filter(|_| is_read) {
            assert_eq!(line["certificate"], leaf.sha256(), "{code}");
            assert!(line["issuer"].as_str().unwrap().starts_with("CN="), "{code}: {line}");
            assert!(line["names"].as_str().unwrap().contains(ORDERS), "{code}: {line}");
        }
    }
    assert_eq!(application.hits(), 0);
}

#[tokio::test]
async fn an_old_version_of_tls_and_nothing_in_common_have_codes_of_their_own() {
    let house = House::build(&[]).await;
    let address = house.sidecar.address(0);
    let answered = client_hello(address, &house.pki, &[&rustls::version::TLS12], None).await;
    assert_eq!(answered, Some(AlertDescription::ProtocolVersion));
    let line = house.sidecar.refused("UnsupportedVersion").await;
    assert!(line["remedy"].as_str().unwrap().contains("TLS 1.3"), "{line}");

    let answered = client_hello(address, &house.pki, &[&rustls::version::TLS13], Some(b"mqtt")).await;
    assert_eq!(answered, Some(AlertDescription::NoApplicationProtocol));
    house.sidecar.refused("NothingInCommon").await;
    let metrics = house.metrics().await;
    for code in ["UnsupportedVersion", "NothingInCommon"] {
        let line = format!("postern_sidecar_denials_total{{code=\"{code}\"}} 1");
        assert!(metrics.lines().any(|other| other == line), "{line} is not in {metrics}");
    }
}

/// The alert with which a handshake of these versions ends.
async fn client_hello(
    address: std::net::SocketAddr,
    pki: &Pki,
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: Option<&[u8]>,
) -> Option<AlertDescription> {
    let gateway = pki.gateway();
    let mut config = rustls::ClientConfig::builder_with_protocol_versions(versions)
        .with_root_certificates(pki.servers.roots())
        .with_client_auth_cert(vec![gateway.certificate.clone()], gateway.private_key())
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("orders.shop.svc").unwrap();
    let error =
        tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await.err()?;
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_refusal_is_told_as_the_caller_understands_it() {
    let house = House::build(&[]).await;
    let stranger = house.pki.callers.client("spiffe://test/ns/shop/gateway/edge/route/other");

    let ask = |method: &str| {
        Request::builder()
            .method(method)
            .uri("https://api.example.com/orders")
            .body(Empty::new().boxed())
            .unwrap()
    };
    let mut request = ask("POST");
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    request.headers_mut().insert("x-request-id", "grpc-1".parse().unwrap());
    let response = house.http2(&stranger).open_http2().await.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        (&response.headers()["grpc-status"], &response.headers()["postern-code"]),
        (&"7".parse().unwrap(), &"NoRoute".parse().unwrap())
    );
    assert!(response.headers()["grpc-message"].to_str().unwrap().starts_with("NoRoute: "), "{response:?}");
    // Trailers only: the head is the end of the stream.
    assert!(hyper::body::Body::is_end_stream(response.body()), "{response:?}");
    let line = house.sidecar.logged("the gRPC call", |line| line["request_id"] == "grpc-1").await;
    assert_eq!(
        (&line["code"], &line["protocol"], &line["status"]),
        (&"NoRoute".into(), &"HTTP/2".into(), &403.into())
    );

    let response = house.http2(&stranger).open_http2().await.send_request(ask("HEAD")).await.unwrap();
    assert_eq!(response.status(), 403);
    assert!(hyper::body::Body::is_end_stream(response.body()), "{response:?}");
    let length: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let response = house.http2(&stranger).open_http2().await.send_request(ask("GET")).await.unwrap();
    let given = response.headers()["content-length"].to_str().unwrap().parse::<usize>().unwrap();
    let (status, body) = read(response).await;
    assert_eq!((status, body.len()), (403, given));
    // Only the request's id differs, and it is as long.
    assert_eq!(length, given);

    let head = "HEAD /orders HTTP/1.1\r\nhost: api.example.com\r\nconnection: close\r\n\r\n";
    let Attempt::Answered(403, body) = house.http1(&stranger).attempt(head.as_bytes()).await else {
        panic!("an answer")
    };
    assert!(body.is_empty(), "{body}");
}

#[tokio::test]
async fn each_request_is_a_line_once_the_access_log_is_on() {
    let house = House::build(&[]).await;
    let client = house.http1(&house.pki.gateway());
    assert!(matches!(client.get("/before").await, Attempt::Answered(200, _)));
    house.sidecar.set(&json!({"accessLog": true}));
    house.sidecar.loaded(2).await;

    let body = Full::new("twelve bytes".into()).boxed();
    let mut request = Request::post("/echo").body(body).unwrap();
    for (name, value) in [
        ("host", "api.example.com"),
        ("x-request-id", "r-1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let (status, echoed) = read(client.open_http1().await.send_request(request).await.unwrap()).await;
    assert_eq!((status, &*echoed), (200, "twelve bytes"));
    let line = house.sidecar.logged("a permit", |line| line["message"] == "permitted").await;
    for (field, expected) in [
        ("level", json!("INFO")),
        ("identity", json!(ORDERS)),
        ("authority", json!("postern")),
        ("route", json!("r")),
        ("port", json!(8080)),
        ("method", json!("POST")),
        ("host", json!("api.example.com")),
        ("path", json!("/echo")),
        ("protocol", json!("HTTP/1.1")),
        ("status", json!(200)),
        ("received_bytes", json!(12)),
        ("sent_bytes", json!(12)),
        ("request_id", json!("r-1")),
        ("trace_id", json!("0af7651916cd43dd8448eb211c80319c")),
    ] {
        assert_eq!(line[field], expected, "{field}: {line}");
    }
    let (took, waited) =
        (line["duration_seconds"].as_f64().unwrap(), line["upstream_seconds"].as_f64().unwrap());
    assert!(took >= waited && waited > 0.0, "{line}");

    house.sidecar.set(&json!({}));
    house.sidecar.loaded(3).await;
    assert!(matches!(client.get("/after").await, Attempt::Answered(200, _)));
    // A later line of any kind shows that this one isn't just late.
    assert!(matches!(client.get("/%2f").await, Attempt::Answered(400, _)));
    house.sidecar.refused("AmbiguousPath").await;
    let permitted = house.sidecar.lines().into_iter().filter(|line| line["message"] == "permitted").count();
    assert_eq!(permitted, 1, "{:?}", house.sidecar.lines());
}

#[tokio::test]
async fn the_level_and_the_limits_change_without_a_restart() {
    let house = House::build(&[]).await;
    let client = house.http1(&house.pki.gateway());
    house.sidecar.set(&json!({"logLevel": "Error", "limits": {"headerBytes": 8192, "connections": 1}}));
    // Its line is of the level before: what is logged is decided when it is written.
    eventually("the level holds", async || {
        house.metric("reloads_total{result=\"applied\"}").await == Some(2)
    })
    .await;
    let big =
        format!("GET / HTTP/1.1\r\nhost: a\r\nx-big: {}\r\nconnection: close\r\n\r\n", "x".repeat(12_000));
    assert!(matches!(client.attempt(big.as_bytes()).await, Attempt::Answered(431, _)));
    // Refusals are logged at any level.
    assert!(matches!(client.get("/%2f").await, Attempt::Answered(400, _)));
    house.sidecar.refused("AmbiguousPath").await;
    // The connections before may not have ended yet.
    let mut held = None;
    eventually("the one connection", async || {
        held = client.connect().await.ok();
        held.is_some()
    })
    .await;
    assert_eq!(client.get("/").await, Attempt::Closed, "the second of one connection");
    house.sidecar.refused("TooManyConnections").await;
    drop(held);

    house.sidecar.set(&json!({"limits": {"headerBytes": 65536}}));
    eventually("the limits hold", async || {
        house.metric("reloads_total{result=\"applied\"}").await == Some(3)
    })
    .await;
    assert!(matches!(client.attempt(big.as_bytes()).await, Attempt::Answered(200, _)));
    let loaded =
        |lines: &[Value]| lines.iter().filter(|line| line["message"] == "configuration loaded").count();
    eventually("the level is Info again", async || loaded(&house.sidecar.lines()) == 2).await;

    house.sidecar.set(&json!({"limits": {"headerBytes": 1}}));
    let line = house.sidecar.logged("a rejection", |line| line["message"] == "configuration rejected").await;
    assert!(line["reason"].as_str().unwrap().contains("headerBytes is 1; give 8192 to 1048576"), "{line}");
    assert!(matches!(client.get("/").await, Attempt::Answered(200, _)), "the last good one stays in force");
}

#[tokio::test]
async fn what_is_counted() {
    let house = House::build(&[]).await;
    let client = house.http1(&house.pki.gateway());
    for _ in 0..3 {
        assert!(matches!(client.get("/").await, Attempt::Answered(200, _)));
    }
    for (name, expected) in [
        ("requests_total{protocol=\"http1\",status=\"2xx\"}", 3),
        ("handshakes_total{result=\"accepted\",group=\"X25519MLKEM768\"}", 3),
        ("request_processing_seconds_count", 3),
        ("connections_opened_total{kind=\"http\"}", 3),
    ] {
        assert_eq!(house.metric(name).await, Some(expected), "{name}");
    }
    for name in [
        "passed_bytes_total{kind=\"http\",direction=\"received\"}",
        "passed_bytes_total{kind=\"http\",direction=\"sent\"}",
        "configuration_loaded_timestamp_seconds",
        "server_certificate_not_before_timestamp_seconds",
        "server_certificate_expiry_timestamp_seconds",
    ] {
        assert!(house.metric(name).await > Some(0), "{name}");
    }
    // The application's time is not the sidecar's.
    let slow = tokio::spawn({
        let client = client.clone();
        async move { client.get("/slow").await }
    });
    eventually("it asks", async || house.application.hits() == 4).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    house.application.release(1);
    assert!(matches!(slow.await.unwrap(), Attempt::Answered(200, _)));
    assert_eq!(house.metric("request_processing_seconds_bucket{le=\"0.25\"}").await, Some(4));
}
