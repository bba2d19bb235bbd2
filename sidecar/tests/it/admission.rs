//! Who gets in, who doesn't, and what the log says of it. Every refusal leaves the application untouched.

use crate::support::house::counts;
use crate::support::prelude::*;
use crate::support::{Authority, Shape};
use postern_config::policy::Policy;
use rustls::AlertDescription::{
    AccessDenied, CertificateExpired, CertificateRequired, UnknownCA, UnsupportedCertificate,
};

const OTHER: &str = "spiffe://test/ns/shop/gateway/edge/route/other";

/// Ports 8080 (HTTP, rules), 5432 (TCP), 9090 (open); the route's key is pinned to PIN.
const POLICY: &str = r#"
authorities: [{name: postern, type: Postern, roots: ROOTS}]
ports:
  - {port: 8080, protocol: HTTP, access: {type: Locked, locks: {require: All, list: [{type: MutualTLS}]}}}
  - {port: 5432, protocol: TCP, access: {type: Locked, locks: {require: All, list: [{type: MutualTLS}]}}}
  - {port: 9090, protocol: HTTP, access: {type: Open, reason: metrics}}
routes:
  - name: shop/orders
    port: 8080
    callers: [{name: c1, certificates: [{type: Identity, authority: postern, identity: "spiffe://test/ns/shop/gateway/edge/route/orders", keys: ["PIN"]}]}]
    hostnames: ["*.example.com"]
    rules: [{matches: [{path: {type: PathPrefix, value: /orders}}]}]
  - name: shop/database
    port: 5432
    callers: [{name: c2, certificates: [{type: Identity, authority: postern, identity: "spiffe://test/ns/shop/gateway/edge/route/other"}]}]
"#;

/// Three ports, with different locks.
struct Ports {
    pki: Pki,
    gateway: Leaf,
    http: Application,
    bytes: Application,
    sidecar: Sidecar,
}

impl Ports {
    async fn build() -> Self {
        crate::support::install_provider();
        let pki = Pki::new();
        let gateway = pki.gateway();
        let (http, bytes) = (Application::http().await, Application::bytes().await);
        let ways = [(8080, http.address), (5432, bytes.address), (9090, http.address), (7777, http.address)];
        let policy = POLICY.replace("PIN", &gateway.pin());
        let sidecar = Sidecar::start_with(&pki, &ways, &policy, &["--access-log"]).await;
        Self { pki, gateway, http, bytes, sidecar }
    }

    fn client(&self, leaf: Option<&Leaf>) -> Client {
        Client::new(self.sidecar.address(0), &self.pki.servers, leaf, &[b"http/1.1"])
    }
}

fn header<'a>(seen: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = seen["headers"].as_array().unwrap();
    headers.iter().filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_gateway_gets_in_and_is_named() {
    let house = Ports::build().await;
    let servers = &house.pki.servers;
    let address = house.sidecar.address(0);

    let mut one = Client::http1(address, servers, &house.gateway).open_http1().await;
    let mut two = Client::http2(address, servers, &house.gateway).open_http2().await;
    let mut forged = get("/%6Frders/../orders/7?q=%2f");
    forged.headers_mut().insert("x-forwarded-client-cert", "URI=spiffe://test/admin".parse().unwrap());
    forged.headers_mut().insert("client_cert", ":AA==:".parse().unwrap());
    forged.headers_mut().insert("x-request-id", "mine".parse().unwrap());
    forged.headers_mut().insert("host", "API.example.com.:8443".parse().unwrap());
    for (response, target, host) in [
        (one.send_request(forged).await.unwrap(), "/orders/7?q=%2f", "api.example.com:8443"),
        (two.send_request(get2("/orders/7")).await.unwrap(), "/orders/7", "api.example.com"),
    ] {
        let (status, body) = read(response).await;
        assert_eq!(status, 200, "{body}");
        let seen: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(seen["target"], target);
        assert_eq!(header(&seen, "host"), [host]);
        let expected =
            format!("By=spiffe://test/ns/shop/server/orders;Hash={};URI={ORDERS}", house.gateway.sha256());
        assert_eq!(header(&seen, "x-forwarded-client-cert"), [expected]);
        assert_eq!(header(&seen, "client-cert").len(), 1);
        assert!(header(&seen, "client_cert").is_empty());
        assert_eq!(header(&seen, "x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(header(&seen, "x-forwarded-proto"), ["https"]);
        assert_eq!(header(&seen, "x-request-id").len(), 1);
    }
    assert_eq!(house.http.hits(), 2);
    let line = house.sidecar.logged("a permit", |line| line["message"] == "permitted").await;
    assert_eq!(
        (&line["route"], &line["identity"], &line["request_id"]),
        (&"shop/orders".into(), &ORDERS.into(), &"mine".into())
    );
}

#[tokio::test]
async fn whoever_has_no_accepted_certificate_gets_an_alert() {
    let house = Ports::build().await;
    let callers = &house.pki.callers;
    let impostor = Authority::new("postern callers");
    for (case, leaf, alert, code) in [
        ("nothing", None, CertificateRequired, "NoCertificate"),
        ("self-signed", Some(Leaf::self_signed(ORDERS)), UnknownCA, "SelfSigned"),
        ("another CA that copies our names", Some(impostor.client(ORDERS)), UnknownCA, "ForgedIssuer"),
        ("a stranger's", Some(Authority::new("stranger").client(ORDERS)), UnknownCA, "UnknownIssuer"),
        ("of our servers' CA", Some(house.pki.servers.client(ORDERS)), UnknownCA, "ServerAuthority"),
        ("expired", Some(callers.issue(Shape::Expired, ORDERS)), CertificateExpired, "Expired"),
        ("for servers", Some(callers.issue(Shape::Server, ORDERS)), UnsupportedCertificate, "NotForClients"),
        (
            "without usage",
            Some(callers.issue(Shape::NoUsage, ORDERS)),
            UnsupportedCertificate,
            "NotForClients",
        ),
        ("two names", Some(callers.issue(Shape::TwoNames, ORDERS)), AccessDenied, "NoIdentity"),
        ("another key", Some(callers.client(ORDERS)), AccessDenied, "KeyNotPinned"),
    ] {
        let attempt = house.client(leaf.as_ref()).get("/orders").await;
        assert_eq!(attempt, Attempt::Alert(alert), "{case}");
        let line = house
            .sidecar
            .logged(case, |line| {
                line["code"] == code && leaf.as_ref().is_none_or(|leaf| line["certificate"] == leaf.sha256())
            })
            .await;
        for field in ["reason", "remedy", "peer"] {
            assert!(line[field].is_string(), "{case}: {line}");
        }
        if leaf.is_some() {
            assert_eq!(line["subject"], "CN=edge", "{case}");
            assert!(line["issuer"].as_str().unwrap().starts_with("CN="), "{case}");
            assert!(line["names"].as_str().unwrap().contains(ORDERS), "{case}");
        }
    }
    assert_eq!(house.http.hits(), 0);
    let attempt = house.client(Some(&house.gateway)).get("/orders").await;
    assert!(matches!(attempt, Attempt::Answered(200, _)), "{attempt:?}");
}

/// A certificate is no secret: whoever shows one that was accepted before, and doesn't hold its key, is nobody.
#[tokio::test]
async fn a_certificate_that_was_accepted_before_opens_nothing_without_its_key() {
    let house = Ports::build().await;
    for _ in 0..2 {
        let attempt = house.client(Some(&house.gateway)).get("/orders").await;
        assert!(matches!(attempt, Attempt::Answered(200, _)), "{attempt:?}");
    }
    let without_key = Leaf { key: house.pki.gateway().key, ..house.gateway.clone() };
    let attempt = house.client(Some(&without_key)).get("/orders").await;
    assert!(matches!(attempt, Attempt::Alert(_)), "{attempt:?}");
    house.sidecar.refused("HandshakeFailed").await;
    assert_eq!(house.http.hits(), 2);
}

#[tokio::test]
async fn a_valid_identity_without_this_route_is_denied() {
    let house = Ports::build().await;
    let stranger = house.pki.callers.client(OTHER);
    let Attempt::Answered(status, body) = house.client(Some(&stranger)).get("/orders").await else {
        panic!("an answer")
    };
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &problem["code"]), (403, &"NoRoute".into()));
    let line = house.sidecar.refused("NoRoute").await;
    assert_eq!((&line["identity"], &line["request_id"]), (&OTHER.into(), &problem["requestId"]));

    // On the TCP port it is the gateway that has no route: closed, without a byte.
    let database = Client::new(house.sidecar.address(1), &house.pki.servers, Some(&house.gateway), &[]);
    assert_eq!(database.attempt(b"x").await, Attempt::Closed);
    house.sidecar.logged("TCP", |line| line["code"] == "NoRoute" && line["port"] == 5432).await;
    assert_eq!((house.http.hits(), house.bytes.hits()), (0, 0));
}

#[tokio::test]
async fn requests_outside_the_rules_are_denied() {
    let house = Ports::build().await;
    let client = house.client(Some(&house.gateway));
    for (head, status, code) in [
        ("GET /admin HTTP/1.1\r\nhost: a.example.com\r\n", 403, "NoRuleMatches"),
        ("GET /ordersx HTTP/1.1\r\nhost: a.example.com\r\n", 403, "NoRuleMatches"),
        ("GET /orders/../admin HTTP/1.1\r\nhost: a.example.com\r\n", 403, "NoRuleMatches"),
        ("GET /orders/%2e%2e/admin HTTP/1.1\r\nhost: a.example.com\r\n", 403, "NoRuleMatches"),
        (
            "POST /admin HTTP/1.1\r\nhost: a.example.com\r\nexpect: 100-continue\r\ncontent-length: 5\r\n",
            403,
            "NoRuleMatches",
        ),
        ("GET /orders HTTP/1.1\r\nhost: evil.example\r\n", 403, "HostNotAllowed"),
        ("GET /orders/..%2fadmin HTTP/1.1\r\nhost: a.example.com\r\n", 400, "AmbiguousPath"),
        ("GET /orders/%252e%252e/admin HTTP/1.1\r\nhost: a.example.com\r\n", 400, "AmbiguousPath"),
        ("GET /orders/..;/admin HTTP/1.1\r\nhost: a.example.com\r\n", 400, "AmbiguousPath"),
        ("GET /orders\\..\\admin HTTP/1.1\r\nhost: a.example.com\r\n", 400, "AmbiguousPath"),
        ("OPTIONS * HTTP/1.1\r\nhost: a.example.com\r\n", 400, "AmbiguousPath"),
        ("GET /orders HTTP/1.1\r\nhost: a.example.com\r\nhost: b.example.com\r\n", 400, "InvalidHost"),
        ("GET http://b.example.com/orders HTTP/1.1\r\nhost: a.example.com\r\n", 400, "InvalidHost"),
        ("GET /orders HTTP/1.1\r\n", 400, "InvalidHost"),
        ("CONNECT a.example.com:443 HTTP/1.1\r\nhost: a.example.com:443\r\n", 405, "ConnectRefused"),
        (
            "GET /orders HTTP/1.1\r\nhost: a.example.com\r\nconnection: upgrade\r\nupgrade: h2c\r\n",
            501,
            "UpgradeRefused",
        ),
        (
            "POST /orders HTTP/1.1\r\nhost: a.example.com\r\ntransfer-encoding: gzip, chunked\r\n",
            400,
            "InvalidFraming",
        ),
    ] {
        let close = if head.contains("upgrade") { "" } else { "connection: close\r\n" };
        let attempt = client.attempt(format!("{head}{close}\r\n").as_bytes()).await;
        let Attempt::Answered(seen, body) = &attempt else { panic!("{head}: {attempt:?}") };
        assert_eq!(*seen, status, "{head}{body}");
        let problem: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{head}: {body}"));
        assert_eq!(problem["code"], code, "{head}");
    }
    assert_eq!(house.http.hits(), 0);

    let two = Client::http2(house.sidecar.address(0), &house.pki.servers, &house.gateway);
    let mut request = get2("/orders");
    request.headers_mut().insert("host", "other.example.com".parse().unwrap());
    let (status, body) = read(two.open_http2().await.send_request(request).await.unwrap()).await;
    assert_eq!(status, 400, "{body}");
    assert!(body.contains("InvalidHost"), "{body}");
    assert_eq!(house.http.hits(), 0);
}

#[tokio::test]
async fn plaintext_and_closed_ports() {
    let house = Ports::build().await;
    for (listener, code) in [(0, "PlaintextRefused"), (1, "PlaintextRefused"), (3, "PortClosed")] {
        let answer =
            plaintext(house.sidecar.address(listener), b"GET /orders HTTP/1.1\r\nhost: x\r\n\r\n").await;
        // At most a TLS alert.
        assert!(answer.len() <= 7, "{listener}: {answer:?}");
        house.sidecar.refused(code).await;
    }
    assert_eq!((house.http.hits(), house.bytes.hits()), (0, 0));

    // The open port has no lock: bytes pass unchanged.
    let answer = plaintext(
        house.sidecar.address(2),
        b"GET /metrics HTTP/1.1\r\nhost: x\r\nx-forwarded-client-cert: mine\r\nconnection: close\r\n\r\n",
    )
    .await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains(r#"["x-forwarded-client-cert","mine"]"#),
        "{answer}"
    );
    let metrics = house.sidecar.endpoint("metrics");
    counts(metrics, "PlaintextRefused", 2).await;
    counts(metrics, "PortClosed", 1).await;
    let metrics = plaintext(metrics, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let metrics = String::from_utf8_lossy(&metrics);
    for line in [
        r#"postern_sidecar_handshakes_total{result="refused",group="none"} 2"#,
        r#"postern_sidecar_connections_opened_total{kind="open"} 1"#,
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line} is not in {metrics}");
    }
}

#[tokio::test]
async fn bytes_pass_both_ways_on_a_tcp_port() {
    let house = Ports::build().await;
    let caller = house.pki.callers.client(OTHER);
    let client = Client::new(house.sidecar.address(1), &house.pki.servers, Some(&caller), &[]);
    let mut stream = client.connect().await.unwrap();
    let mut hello = [0; 6];
    stream.read_exact(&mut hello).await.unwrap();
    assert_eq!(&hello, b"hello\n");
    let sent: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let (mut read, mut write) = tokio::io::split(stream);
    let (back, ()) = tokio::join!(
        async {
            let mut back = Vec::new();
            read.read_to_end(&mut back).await.unwrap();
            back
        },
        async {
            write.write_all(&sent).await.unwrap();
            // Half a close: the answer still comes.
            write.shutdown().await.unwrap();
        }
    );
    assert_eq!(back, [&sent[..], b"bye\n"].concat());
}

#[test]
fn the_policy_of_this_file_is_one() {
    assert!(serde_yaml::from_str::<Policy>(POLICY).is_ok());
}
