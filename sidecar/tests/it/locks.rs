//! Locks on the wire: what each opens for, alone and with others, with real handshakes and a real process.
#![allow(
    clippy::needless_pass_by_value,
    clippy::too_many_lines,
    reason = "JSON is made where it is used, and a table is as long as it is"
)]

use std::net::SocketAddr;

use crate::support::Authority;
use crate::support::prelude::*;
use crate::support::recorder::OK;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_config::verifier::sha256;
use rustls::AlertDescription::{CertificateRequired, UnknownCA};
use serde_json::json;

const PARTNER: &str = "urn:example:acme";

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn credential(id: &str, username: &str, password: &str) -> Value {
    json!({"id": id, "username": username, "verifier": sha256(password.as_bytes())})
}

fn locked(port: u16, require: &str, list: Value) -> Value {
    json!({"port": port, "protocol": "HTTP", "access": {"type": "Locked", "locks": {"require": require, "list": list}}})
}

fn identity(identity: &str) -> Value {
    json!({"type": "Identity", "authority": "postern", "identity": identity})
}

/// One route for each port, with the same callers.
fn routes(ports: &[Value], callers: &Value) -> Vec<Value> {
    let route = |port: &Value| json!({"name": format!("shop/{}", port["port"]), "port": port["port"], "callers": callers});
    ports.iter().map(route).collect()
}

/// A sidecar with one listener for each port of a policy.
struct Gate {
    pki: Pki,
    partner: Authority,
    application: Application,
    sidecar: Sidecar,
    ports: Vec<u16>,
}

impl Gate {
    async fn build(ports: Vec<Value>, callers: Value, more: Value) -> Self {
        crate::support::install_provider();
        let (pki, partner) = (Pki::new(), Authority::new("partner"));
        let application = Application::http().await;
        let policy = Self::policy(&partner, &ports, &callers, more);
        let number = |port: &Value| u16::try_from(port["port"].as_u64().unwrap()).unwrap();
        let numbers: Vec<u16> = ports.iter().map(number).collect();
        let ways: Vec<_> = numbers.iter().map(|port| (*port, application.address)).collect();
        let sidecar = Sidecar::start_with(&pki, &ways, &policy, &["--access-log"]).await;
        Self { pki, partner, application, sidecar, ports: numbers }
    }

    fn policy(partner: &Authority, ports: &[Value], callers: &Value, more: Value) -> String {
        let mut policy = json!({
            "authorities": [
                {"name": "postern", "type": "Postern", "roots": "ROOTS"},
                {"name": "partner", "type": "Bundle", "roots": partner.pem},
            ],
            "ports": ports,
            "routes": routes(ports, callers),
        });
        for (key, value) in more.as_object().unwrap() {
            policy[key] = value.clone();
        }
        policy.to_string()
    }

    fn address(&self, port: u16) -> SocketAddr {
        self.sidecar.address(self.ports.iter().position(|other| *other == port).unwrap())
    }

    fn client(&self, port: u16, leaf: Option<&Leaf>) -> Client {
        Client::new(self.address(port), &self.pki.servers, leaf, &[b"http/1.1"])
    }

    /// Over TLS, with these headers.
    async fn call(&self, port: u16, leaf: Option<&Leaf>, headers: &[(&str, String)]) -> Attempt {
        self.client(port, leaf).attempt(head("/orders", headers).as_bytes()).await
    }
}

fn head(path: &str, headers: &[(&str, String)]) -> String {
    let lines: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET {path} HTTP/1.1\r\nhost: api.example.com\r\nconnection: close\r\n{}\r\n", lines.concat())
}

/// Status and code of a refusal, or what the application has seen.
fn told(attempt: &Attempt) -> Result<Value, String> {
    match attempt {
        Attempt::Answered(200, body) => Ok(serde_json::from_str(body).unwrap()),
        Attempt::Answered(status, body) => {
            let problem: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{status} {body}"));
            Err(format!("{status} {}", problem["code"].as_str().unwrap()))
        }
        Attempt::Alert(alert) => Err(format!("{alert:?}")),
        Attempt::Closed => Err("closed".to_owned()),
    }
}

fn header<'a>(seen: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = seen["headers"].as_array().unwrap();
    headers.iter().filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap()).collect()
}

const IN: &str = "in";

fn outcome(attempt: &Attempt) -> String {
    told(attempt).map_or_else(|refusal| refusal, |_| IN.to_owned())
}

/// Two gateways, each with all kinds of keys; the second credential of the first is the one before a rotation.
fn gateways() -> Value {
    json!([
        {
            "name": "gateway/edge",
            "certificates": [identity(ORDERS)],
            "credentials": [credential("edge-2", "edge", "new"), credential("edge-1", "edge", "old")],
            "headerValues": [
                {"id": "value-2", "verifier": sha256(b"value-new")},
                {"id": "value-1", "verifier": sha256(b"value-old")},
            ],
        },
        {
            "name": "gateway/other",
            "certificates": [identity(&format!("{ORDERS}2"))],
            "credentials": [credential("other", "other", "third")],
            "headerValues": [{"id": "other-value", "verifier": sha256(b"value-other")}],
        },
    ])
}

/// A lock looks at headers alone; what an application reads of trailers must not hold a key, nor pass for one.
#[tokio::test]
async fn no_key_reaches_an_application_as_a_trailer() {
    let locks = json!([
        {"type": "Header", "name": "x-gateway-key"},
        {"type": "Basic", "headerName": "x-gateway-auth", "upstream": "Keep"},
    ]);
    let ports = [locked(8080, "All", locks)];
    let policy = Gate::policy(&Authority::new("partner"), &ports, &gateways(), json!({}));
    let application = Recorder::answering(OK).await;
    let address = application.address;
    let house = House::of(application, address, &policy, &[]).await;
    let mut caller = Raw::open(&house.http1(&house.pki.gateway())).await;
    caller
        .send(format!(
            "POST /p HTTP/1.1\r\nhost: a\r\nx-gateway-key: value-new\r\nx-gateway-auth: {0}\r\nte: trailers\r\n\
             trailer: x-end, x-gateway-key, x_gateway_key, x-gateway-auth\r\ntransfer-encoding: chunked\r\n\r\n\
             1\r\nx\r\n0\r\nx-gateway-key: value-new\r\nx_gateway_key: forged\r\nx-gateway-auth: {0}\r\nx-end: 8\r\n\r\n",
            basic("edge", "new")
        ))
        .await;
    assert_eq!(caller.answer().await.status, 200);
    let got = house.application.got().concat();
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("x-gateway-auth: Basic ") && !head.contains("value-new"), "{head}");
    assert_eq!(body, "1\r\nx\r\n0\r\nx-end: 8\r\n\r\n");
}

#[tokio::test]
async fn basic_header_and_their_combinations() {
    let basic_lock = json!({"type": "Basic", "headerName": "authorization", "upstream": "Strip"});
    let own_header = json!({"type": "Basic", "headerName": "x-gateway-auth", "upstream": "Keep"});
    let header_lock = json!({"type": "Header", "name": "x-gateway-key"});
    let mutual = json!({"type": "MutualTLS"});
    let mut plaintext_port = locked(8005, "All", json!([basic_lock]));
    plaintext_port["transport"] = json!("Plaintext");
    let gate = Gate::build(
        vec![
            locked(8001, "All", json!([basic_lock])),
            locked(8002, "All", json!([header_lock])),
            locked(8003, "Any", json!([basic_lock, header_lock])),
            locked(8004, "All", json!([mutual, basic_lock, header_lock])),
            plaintext_port,
            locked(8006, "All", json!([own_header])),
            locked(8007, "Any", json!([mutual, basic_lock])),
            locked(8008, "All", json!([basic_lock, header_lock])),
        ],
        gateways(),
        json!({}),
    )
    .await;
    let edge = gate.pki.gateway();
    let other = gate.pki.callers.client(&format!("{ORDERS}2"));
    let nobody = gate.pki.callers.client(&format!("{ORDERS}3"));
    let stranger = Authority::new("stranger").client(ORDERS);
    let auth = |user: &str, password: &str| vec![("authorization", basic(user, password))];
    let key = |value: &str| vec![("x-gateway-key", value.to_owned())];
    let both = |user: &str, password: &str, value: &str| [auth(user, password), key(value)].concat();
    for (case, port, leaf, headers, expected) in [
        ("the newest", 8001, None, auth("edge", "new"), IN),
        ("the one before", 8001, None, auth("edge", "old"), IN),
        ("another gateway's", 8001, None, auth("other", "third"), IN),
        ("nothing", 8001, None, vec![], "401 NoCredentials"),
        ("wrong password", 8001, None, auth("edge", "third"), "401 WrongCredentials"),
        ("unknown user", 8001, None, auth("nobody", "new"), "401 WrongCredentials"),
        ("empty", 8001, None, auth("", ""), "401 WrongCredentials"),
        ("a token", 8001, None, vec![("authorization", "Bearer abc".to_owned())], "401 NoCredentials"),
        ("not base64", 8001, None, vec![("authorization", "Basic *".to_owned())], "400 MalformedCredentials"),
        ("twice", 8001, None, [auth("edge", "new"), auth("edge", "new")].concat(), "400 RepeatedKey"),
        (
            "right and wrong",
            8001,
            None,
            [auth("edge", "wrong"), auth("edge", "new")].concat(),
            "400 RepeatedKey",
        ),
        (
            "in other letters",
            8001,
            None,
            vec![("AUTHORIZATION", basic("edge", "new").replace("Basic", "bAsIC"))],
            IN,
        ),
        ("a certificate is not asked for", 8001, Some(&stranger), auth("edge", "new"), IN),
        ("the value", 8002, None, key("value-new"), IN),
        ("the value before", 8002, None, key("value-old"), IN),
        ("no value", 8002, None, vec![], "403 NoSecretHeader"),
        ("wrong value", 8002, None, key("value"), "403 WrongSecretHeader"),
        ("empty value", 8002, None, key(""), "403 WrongSecretHeader"),
        ("value twice", 8002, None, [key("value-new"), key("value-new")].concat(), "400 RepeatedKey"),
        ("credentials for a header", 8002, None, auth("edge", "new"), "403 NoSecretHeader"),
        ("any: first", 8003, None, auth("edge", "new"), IN),
        ("any: second", 8003, None, key("value-other"), IN),
        ("any: wrong and right", 8003, None, both("edge", "wrong", "value-new"), IN),
        ("any: of two", 8003, None, both("other", "third", "value-new"), IN),
        ("any: both wrong", 8003, None, both("edge", "wrong", "wrong"), "401 WrongCredentials"),
        ("any: nothing", 8003, None, vec![], "401 NoCredentials"),
        ("all", 8004, Some(&edge), both("edge", "old", "value-new"), IN),
        ("all: the other's", 8004, Some(&other), both("other", "third", "value-other"), IN),
        (
            "all: certificate of one, rest of another",
            8004,
            Some(&edge),
            both("other", "third", "value-other"),
            "403 KeysOfSeveral",
        ),
        (
            "all: one key of another",
            8004,
            Some(&edge),
            both("edge", "new", "value-other"),
            "403 KeysOfSeveral",
        ),
        ("all: no certificate", 8004, None, both("edge", "new", "value-new"), "CertificateRequired"),
        ("all: no credentials", 8004, Some(&edge), key("value-new"), "401 NoCredentials"),
        ("all: no value", 8004, Some(&edge), auth("edge", "new"), "403 NoSecretHeader"),
        ("all: nobody's certificate", 8004, Some(&nobody), both("edge", "new", "value-new"), "403 NoRoute"),
        ("another header", 8006, None, vec![("x-gateway-auth", basic("edge", "new"))], IN),
        ("another header, nothing", 8006, None, auth("edge", "new"), "401 NoCredentials"),
        ("certificate or credentials: first", 8007, Some(&edge), vec![], IN),
        ("certificate or credentials: second", 8007, None, auth("edge", "new"), IN),
        ("certificate or credentials: neither", 8007, None, vec![], "401 NoCredentials"),
        ("what is shown must be accepted", 8007, Some(&stranger), auth("edge", "new"), "UnknownCA"),
        ("nobody's beside credentials", 8007, Some(&nobody), auth("edge", "new"), IN),
        ("both of one", 8008, None, both("edge", "new", "value-old"), IN),
        ("both of two", 8008, None, both("other", "third", "value-old"), "403 KeysOfSeveral"),
    ] {
        let hits = gate.application.hits();
        let attempt = gate.call(port, leaf, &headers).await;
        assert_eq!(outcome(&attempt), expected, "{case}");
        assert_eq!(gate.application.hits() - hits, usize::from(expected == IN), "{case}");
        if let Ok(seen) = told(&attempt) {
            assert!(header(&seen, "authorization").is_empty(), "{case}: {seen}");
            assert!(header(&seen, "x-gateway-key").is_empty(), "{case}: {seen}");
            let certificates = usize::from(leaf.is_some() && port != 8001);
            assert_eq!(header(&seen, "x-forwarded-client-cert").len(), certificates, "{case}: {seen}");
            assert_eq!(header(&seen, "x-gateway-auth").len(), usize::from(port == 8006), "{case}: {seen}");
        }
    }
    // On a port whose locks don't look at it, the header is the application's; a secret never is.
    let headers = [auth("edge", "new"), vec![("X_Gateway_Key", "value-new".to_owned())]].concat();
    let headers = [headers, key("value-new")].concat();
    let seen = told(&gate.call(8002, None, &headers).await).unwrap();
    assert_eq!(header(&seen, "authorization").len(), 1);
    assert!(!seen.to_string().contains("value-new"), "{seen}");

    // Nothing of it is in the log.
    let log: String = gate.sidecar.lines().iter().map(Value::to_string).collect();
    for secret in ["value-new", "value-other", &basic("edge", "new")[6..], &basic("edge", "wrong")[6..]] {
        assert!(!log.contains(secret), "{secret}");
    }
    let permits = gate.sidecar.lines();
    assert!(permits.iter().any(|line| line["message"] == "permitted" && line["user"] == "gateway/edge"));
}

#[tokio::test]
async fn without_tls_where_asked_for_by_name() {
    let lock = json!([{"type": "Basic", "headerName": "authorization", "upstream": "Strip"}]);
    let mut port = locked(8001, "All", lock);
    port["transport"] = json!("Plaintext");
    let gate = Gate::build(vec![port], gateways(), json!({})).await;
    let call = async |headers: &[(&str, String)]| {
        let answer = plaintext(gate.address(8001), head("/orders", headers).as_bytes()).await;
        String::from_utf8(answer).unwrap()
    };
    let answer = call(&[("authorization", basic("edge", "new"))]).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#"["x-forwarded-proto","http"]"#), "{answer}");
    assert!(!answer.contains("x-forwarded-client-cert"), "{answer}");
    let answer = call(&[]).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.contains("www-authenticate: Basic realm=\"postern\", charset=\"UTF-8\"\r\n"), "{answer}");
    // TLS is not spoken here.
    assert_eq!(gate.call(8001, None, &[("authorization", basic("edge", "new"))]).await, Attempt::Closed);
    assert_eq!(gate.application.hits(), 1);
}

#[tokio::test]
async fn users_by_hash_pass_their_own_credentials_through() {
    // "pass word" by bcrypt, of the lowest cost that is taken.
    let users = json!([
        {"id": "user/ada", "username": "ada", "verifier": "HASH"},
        credential("user/bob", "bob", "of bob"),
    ]);
    let hash = bcrypt::hash("pass word", 10).unwrap();
    let users: Value = serde_json::from_str(&users.to_string().replace("HASH", &hash)).unwrap();
    let list = json!([
        {"type": "MutualTLS"},
        {"type": "Basic", "headerName": "authorization", "upstream": "Keep", "users": users},
    ]);
    let gate = Gate::build(vec![locked(8001, "All", list)], gateways(), json!({})).await;
    let edge = gate.pki.gateway();
    for (user, password, expected) in [
        ("ada", "pass word", IN),
        ("bob", "of bob", IN),
        ("ada", "pass", "401 WrongCredentials"),
        ("eve", "pass word", "401 WrongCredentials"),
        // A gateway's own are for locks without users.
        ("edge", "new", "401 WrongCredentials"),
    ] {
        let attempt = gate.call(8001, Some(&edge), &[("authorization", basic(user, password))]).await;
        assert_eq!(outcome(&attempt), expected, "{user}");
        if let Ok(seen) = told(&attempt) {
            assert_eq!(header(&seen, "authorization"), [basic(user, password)]);
        }
    }
    assert_eq!(
        gate.call(8001, None, &[("authorization", basic("ada", "pass word"))]).await,
        Attempt::Alert(CertificateRequired)
    );
}

/// Every cell of the table of modes.
#[tokio::test]
async fn callers_with_a_name() {
    let port = |number, mode| {
        let lock =
            json!([{"type": "Caller", "mode": mode, "headerName": "authorization", "upstream": "Strip"}]);
        locked(number, "All", lock)
    };
    let callers = json!([
        {
            "name": "caller/acme",
            "certificates": [{"type": "SAN", "authority": "partner", "kind": "URI", "value": PARTNER}],
            "credentials": [credential("acme", "acme", "of acme")],
        },
        {"name": "caller/bare", "credentials": [credential("bare", "bare", "of bare")]},
        {"name": "gateway/edge", "certificates": [identity(ORDERS)]},
    ]);
    let tenant =
        json!([{"type": "SAN", "authority": "partner", "kind": "URI", "value": "urn:example:tenant"}]);
    let ports = vec![port(1, "Default"), port(2, "Force"), port(3, "Exclusive")];
    let gate = Gate::build(ports, callers, json!({"tenant": tenant})).await;

    let own = gate.partner.client(PARTNER);
    let tenant = gate.partner.client("urn:example:tenant");
    let foreign = gate.partner.client("urn:example:foreign");
    // Of the same name, from an authority that the caller isn't bound to.
    let elsewhere = gate.pki.callers.client(PARTNER);
    let stranger = Authority::new("stranger").client(PARTNER);
    let edge = gate.pki.gateway();
    let acme = Some(("acme", "of acme"));
    let bare = Some(("bare", "of bare"));
    let wrong = Some(("acme", "of bare"));
    let (no, required) = ("401 NoCredentials", "403 CertificateRequired");
    let (bad, not_own) = ("401 WrongCredentials", "403 NotOwnCertificate");
    let (refused, unknown) = ("CertificateRequired", "UnknownCA");
    for (case, leaf, credentials, by_mode) in [
        ("nothing", None, None, [no, required, refused]),
        ("credentials", None, acme, [IN, required, refused]),
        ("credentials of one without a certificate", None, bare, [IN, required, refused]),
        ("wrong credentials", None, wrong, [bad, required, refused]),
        ("own", Some(&own), None, [IN, IN, IN]),
        ("a gateway's", Some(&edge), None, [IN, IN, IN]),
        ("the tenant's", Some(&tenant), None, [no, no, no]),
        ("somebody else's", Some(&foreign), None, [not_own, not_own, not_own]),
        ("the own name, by another authority", Some(&elsewhere), None, [not_own, not_own, not_own]),
        ("a stranger's", Some(&stranger), None, [unknown, unknown, unknown]),
        ("own + credentials", Some(&own), acme, [IN, IN, IN]),
        ("own + wrong", Some(&own), wrong, [bad, bad, bad]),
        ("own + another's credentials", Some(&own), bare, [IN, not_own, not_own]),
        ("the tenant's + credentials", Some(&tenant), bare, [IN, IN, IN]),
        ("the tenant's + of one who has an own", Some(&tenant), acme, [IN, not_own, not_own]),
        ("the tenant's + wrong", Some(&tenant), wrong, [bad, bad, bad]),
        ("somebody else's + credentials", Some(&foreign), bare, [IN, not_own, not_own]),
        ("somebody else's + of one who has an own", Some(&foreign), acme, [IN, not_own, not_own]),
        ("somebody else's + wrong", Some(&foreign), wrong, [bad, bad, bad]),
        ("by another authority + credentials", Some(&elsewhere), acme, [IN, not_own, not_own]),
        ("a gateway's + credentials", Some(&edge), acme, [IN, not_own, not_own]),
        ("a gateway's + wrong", Some(&edge), wrong, [bad, bad, bad]),
        ("a stranger's + credentials", Some(&stranger), acme, [unknown, unknown, unknown]),
    ] {
        let headers: Vec<_> = credentials
            .map(|(user, password)| ("authorization", basic(user, password)))
            .into_iter()
            .collect();
        for (port, expected) in (1..).zip(by_mode) {
            let attempt = gate.call(port, leaf, &headers).await;
            assert_eq!(outcome(&attempt), expected, "{case}, port {port}");
        }
    }
    assert_eq!(gate.call(3, None, &[]).await, Attempt::Alert(CertificateRequired));
    assert_eq!(gate.call(1, Some(&stranger), &[]).await, Attempt::Alert(UnknownCA));
}

#[tokio::test]
async fn certificates_of_all_kinds_of_authorities() {
    let pinned = Leaf::self_signed("urn:example:pinned");
    let other = Leaf::self_signed("urn:example:pinned");
    let authorities = |gate: &Pki, partner: &Authority| {
        json!([
            {"name": "postern", "type": "Postern", "roots": gate.callers.pem},
            {"name": "partner", "type": "Bundle", "roots": partner.pem},
            {"name": "apic", "type": "Pin", "pins": [pinned.sha256()]},
        ])
    };
    crate::support::install_provider();
    let (pki, partner) = (Pki::new(), Authority::new("partner"));
    let application = Application::http().await;
    let by_print = partner.client("urn:example:print");
    let policy = json!({
        "authorities": authorities(&pki, &partner),
        "ports": [locked(1, "All", json!([{"type": "MutualTLS"}]))],
        "routes": [{"name": "r", "port": 1, "callers": [{"name": "all", "certificates": [
            {"type": "Fingerprint", "sha256": pinned.sha256()},
            {"type": "Fingerprint", "sha256": by_print.sha256()},
            {"type": "SAN", "authority": "partner", "kind": "URI", "value": PARTNER},
        ]}]}],
    });
    let sidecar = Sidecar::start(&pki, &[(1, application.address)], &policy.to_string()).await;
    for (case, leaf, expected) in [
        ("pinned, self-signed", &pinned, IN),
        ("another key of that name", &other, "UnknownCA"),
        ("by fingerprint", &by_print, IN),
        ("by name", &partner.client(PARTNER), IN),
        ("the partner's, unnamed", &partner.client("urn:example:print"), "403 NoRoute"),
        ("spiffe from the partner", &partner.client(ORDERS), "AccessDenied"),
        ("ours, of that name", &pki.callers.client(PARTNER), "403 NoRoute"),
    ] {
        let client = Client::new(sidecar.address(0), &pki.servers, Some(leaf), &[b"http/1.1"]);
        assert_eq!(outcome(&client.get("/").await), expected, "{case}");
    }
}

#[tokio::test]
async fn some_paths_of_a_port_are_open() {
    let port = json!({"port": 1, "protocol": "HTTP", "access":
        {"type": "Open", "reason": "metrics", "paths": ["/metrics", "/a/b"]}});
    let gate = Gate::build(vec![port], json!([]), json!({})).await;
    for (request, status) in [
        ("GET /metrics HTTP/1.1", 200),
        ("HEAD /metrics HTTP/1.1", 200),
        ("GET /metrics?x=1 HTTP/1.1", 200),
        ("GET /x/../metrics HTTP/1.1", 200),
        ("GET /%6Detrics HTTP/1.1", 200),
        ("GET /a/b HTTP/1.1", 200),
        ("POST /metrics HTTP/1.1", 403),
        ("OPTIONS /metrics HTTP/1.1", 403),
        ("GET /metrics/ HTTP/1.1", 403),
        ("GET /metrics/x HTTP/1.1", 403),
        ("GET /Metrics HTTP/1.1", 403),
        ("GET /a HTTP/1.1", 403),
        ("GET / HTTP/1.1", 403),
        ("GET /metrics%2f..%2fadmin HTTP/1.1", 400),
    ] {
        let hits = gate.application.hits();
        let head =
            format!("{request}\r\nhost: x\r\nconnection: close\r\nx-forwarded-client-cert: mine\r\n\r\n");
        let answer = plaintext(gate.address(1), head.as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
        assert!(!answer.contains("mine"), "{request}: {answer}");
        assert_eq!(gate.application.hits() - hits, usize::from(status == 200), "{request}");
    }
    assert_eq!(gate.client(1, None).get("/metrics").await, Attempt::Closed);
}
