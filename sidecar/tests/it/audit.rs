//! What an audit lets through, code by code, and what it refuses all the same: as `docs/denials.md` says.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_config::verifier::sha256;
use postern_sidecar::authorize::Code;
use postern_sidecar::authorize::denial::Stage;
use serde_json::json;

use crate::support::faults::Faults;
use crate::support::house::denials;
use crate::support::prelude::*;
use crate::support::recorder::OK;

const OTHER: &str = "spiffe://test/ns/shop/gateway/edge/route/other";
const MUTUAL: u16 = 1;
const KEYS: u16 = 2;
const FORCE: u16 = 3;
const PLAIN: u16 = 4;
const TCP: u16 = 5;

fn basic(user: &str) -> String {
    format!("authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:secret")))
}

fn credential(name: &str) -> Value {
    json!({"id": name, "username": name, "verifier": sha256(b"secret")})
}

fn value(text: &str) -> Value {
    json!({"id": text, "verifier": sha256(text.as_bytes())})
}

fn route(port: u16, callers: &Value) -> Value {
    json!({
        "name": format!("r{port}"), "port": port, "callers": callers, "hostnames": ["api.example.com"],
        "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/ok"}}]}],
    })
}

/// One sidecar before one application, with an audited port for each kind of lock.
struct Audited {
    faults: Faults,
    application: Recorder,
    sidecar: Sidecar,
}

impl Audited {
    async fn start() -> Self {
        crate::support::install_provider();
        let faults = Faults::new();
        let application = Recorder::answering(OK).await;
        let door = |port: u16, transport: &str, list: Value| {
            json!({
                "port": port, "protocol": "HTTP", "enforcement": "Audit", "transport": transport,
                "access": {"type": "Locked", "locks": {"require": "All", "list": list}},
            })
        };
        let header = json!({"type": "Header", "name": "x-key"});
        let basic = json!({"type": "Basic", "headerName": "authorization", "upstream": "Strip"});
        let force =
            json!({"type": "Caller", "mode": "Force", "headerName": "authorization", "upstream": "Strip"});
        let ports = [
            Faults::port(MUTUAL, "HTTP", "Audit"),
            door(KEYS, "TLS", json!([basic, header])),
            door(FORCE, "TLS", json!([force])),
            door(PLAIN, "Plaintext", json!([header])),
            Faults::port(TCP, "TCP", "Audit"),
        ];
        let (mut own, mut ada) =
            (faults.caller(), json!({"name": "ada", "credentials": [credential("ada")]}));
        ada["headerValues"] = json!([value("ada's")]);
        let bob =
            json!({"name": "bob", "credentials": [credential("bob")], "headerValues": [value("bob's")]});
        let mut routes = vec![
            route(MUTUAL, &json!([own])),
            route(KEYS, &json!([ada, bob])),
            route(PLAIN, &json!([{"name": "c", "headerValues": [value("ada's")]}])),
            json!({"name": "r5", "port": TCP, "callers": [own]}),
        ];
        own["credentials"] = json!([credential("own")]);
        routes.push(route(FORCE, &json!([own])));
        let ways = [MUTUAL, KEYS, FORCE, PLAIN, TCP].map(|port| (port, application.address));
        let sidecar = Sidecar::start(&faults.pki, &ways, &faults.policy(&ports, &routes)).await;
        Self { faults, application, sidecar }
    }

    fn client(&self, port: u16, leaf: Option<&Leaf>) -> Client {
        let address = self.sidecar.address(usize::from(port - 1));
        Client::new(address, &self.faults.pki.servers, leaf, &[b"http/1.1"])
    }

    /// How often a code was let through.
    async fn spared(&self, code: &str) -> u64 {
        let metrics =
            plaintext(self.sidecar.endpoint("metrics"), b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let metrics = String::from_utf8(metrics).unwrap();
        let start = format!("postern_sidecar_audited_denials_total{{code=\"{code}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&start)).map_or(0, |count| count.parse().unwrap())
    }

    async fn refused(&self, code: &str) -> u64 {
        denials(self.sidecar.endpoint("metrics"), code).await
    }

    /// What the application got of a request that has to be let through and counted with this code; with none, it is
    /// let in.
    async fn passes(&self, code: Option<&str>, client: &Client, head: &str) -> String {
        let name = code.unwrap_or("nothing");
        let (before, id) = (self.spared(name).await, format!("call-{}", CALLS.fetch_add(1, SeqCst)));
        let head = format!("{head}x-request-id: {id}\r\nconnection: close\r\n\r\n");
        let attempt = client.attempt(head.as_bytes()).await;
        assert_eq!(attempt, Attempt::Answered(200, "ok".to_owned()), "{name}: {head}");
        assert_eq!(self.spared(name).await, before + u64::from(code.is_some()), "{name}: {head}");
        // Lines come later than answers.
        let told = || {
            let mut lines = self.sidecar.lines();
            lines.retain(|line| line["message"] == "would deny" && line["request_id"] == *id);
            lines
        };
        if code.is_some() {
            eventually("a line in the log", async || !told().is_empty()).await;
        }
        assert!(told().iter().all(|line| line["code"] == name), "{name}: {:?}", told());
        assert_eq!(self.refused(name).await, 0, "{name}");
        self.application.one().await
    }
}

/// Calls so far: each has an id of its own.
static CALLS: AtomicU64 = AtomicU64::new(0);

const GET: &str = "GET /ok HTTP/1.1\r\nhost: api.example.com\r\n";

#[tokio::test]
async fn each_code_is_let_through_or_refused_as_documented() {
    let audited = Audited::start().await;
    let mut seen = BTreeSet::new();
    let gateway = audited.faults.gateway.clone();
    let servers = &audited.faults.pki.servers;
    audited.passes(None, &audited.client(MUTUAL, Some(&gateway)), GET).await;

    // Handshakes.
    for fault in audited.faults.all() {
        audited.passes(Some(fault.code), &audited.client(MUTUAL, fault.leaf.as_ref()), GET).await;
        seen.insert(fault.code);
    }

    // Requests.
    let other = audited.faults.pki.callers.client(OTHER);
    let (ada, own) = (basic("ada"), basic("own"));
    let get = |more: &str| format!("{GET}{more}");
    let nobody = |port| audited.client(port, None);
    let with = |port| audited.client(port, Some(&gateway));
    for (code, client, head) in [
        (Some("NoRoute"), audited.client(MUTUAL, Some(&other)), get("")),
        (Some("HostNotAllowed"), with(MUTUAL), "GET /ok HTTP/1.1\r\nhost: other.example.com\r\n".to_owned()),
        (Some("NoRuleMatches"), with(MUTUAL), "GET /no HTTP/1.1\r\nhost: api.example.com\r\n".to_owned()),
        (None, nobody(KEYS), get(&format!("{ada}x-key: ada's\r\n"))),
        // Where no lock looks at certificates, a wrong one is nobody's affair.
        (
            None,
            audited.client(KEYS, Some(&Leaf::self_signed(ORDERS))),
            get(&format!("{ada}x-key: ada's\r\n")),
        ),
        (Some("NoCredentials"), nobody(KEYS), get("x-key: ada's\r\n")),
        (Some("WrongCredentials"), nobody(KEYS), get(&format!("{}x-key: ada's\r\n", basic("eve")))),
        (Some("MalformedCredentials"), nobody(KEYS), get("authorization: Basic !\r\nx-key: ada's\r\n")),
        (Some("RepeatedKey"), nobody(KEYS), get(&format!("{ada}{ada}x-key: ada's\r\n"))),
        (Some("NoSecretHeader"), nobody(KEYS), get(&ada)),
        (Some("WrongSecretHeader"), nobody(KEYS), get(&format!("{ada}x-key: eve's\r\n"))),
        (Some("KeysOfSeveral"), nobody(KEYS), get(&format!("{ada}x-key: bob's\r\n"))),
        (None, with(FORCE), get(&own)),
        (Some("CertificateRequired"), nobody(FORCE), get(&own)),
        (Some("NotOwnCertificate"), audited.client(FORCE, Some(&other)), get(&own)),
        // A certificate that is asked for and not accepted ends the handshake, whatever is right beside it.
        (Some("SelfSigned"), audited.client(FORCE, Some(&Leaf::self_signed(ORDERS))), get(&own)),
        // TLS where plaintext is asked for.
        (Some("HandshakeFailed"), nobody(PLAIN), get("x-key: ada's\r\n")),
    ] {
        audited.passes(code, &client, &head).await;
        seen.extend(code);
    }

    // A path is forwarded as it came.
    for target in ["/ok/a%2Fb?q=%2f", "/no/%252e", "/ok\\x", "/../ok", "/ok/..;/a", "/ok/%", "//ok/%00", "*"]
    {
        let head = format!("OPTIONS {target} HTTP/1.1\r\nhost: api.example.com\r\n");
        let got = audited.passes(Some("AmbiguousPath"), &with(MUTUAL), &head).await;
        assert!(got.starts_with(&format!("OPTIONS {target} HTTP/1.1\r\n")), "{target}: {got}");
    }
    seen.insert("AmbiguousPath");

    // Plaintext, with all that the lock wants: only the transport is wrong.
    let head = format!("{GET}{ada}x-key: ada's\r\nconnection: close\r\n\r\n");
    let answer = plaintext(audited.sidecar.address(usize::from(KEYS - 1)), head.as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(audited.spared("PlaintextRefused").await, 1);
    assert!(!audited.application.one().await.contains("secret"));
    seen.insert("PlaintextRefused");
    // On a TCP port it isn't told apart.
    plaintext(audited.sidecar.address(usize::from(TCP - 1)), b"not TLS\r\n\r\n").await;
    audited.sidecar.refused("PlaintextRefused").await;
    // There, too, who isn't let in by the lock goes through.
    let before = audited.spared("NoRoute").await;
    let mut bytes = Client::new(audited.sidecar.address(usize::from(TCP - 1)), servers, Some(&other), &[])
        .connect()
        .await
        .unwrap();
    bytes.write_all(format!("{GET}\r\n").as_bytes()).await.unwrap();
    let mut start = [0; 12];
    bytes.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    assert_eq!(audited.spared("NoRoute").await, before + 1);
    audited.application.one().await;

    // Every code that an audit lets through has been seen, but for one that takes a crowd.
    let documented: BTreeSet<_> = Code::ALL
        .iter()
        .filter(|code| code.is_let_through_in_audit() && **code != Code::TooManyChecks)
        .map(|code| code.as_str())
        .collect();
    assert_eq!(seen, documented);
}

#[tokio::test]
async fn what_cannot_be_passed_on_safely_is_refused_in_an_audit_too() {
    let audited = Audited::start().await;
    let client = audited.client(MUTUAL, Some(&audited.faults.gateway));
    let host = "host: api.example.com\r\n";
    let long = "x".repeat(17 << 10);
    let large = format!("x: {}\r\n", "x".repeat(8 << 10)).repeat(9);
    let many = "x: 1\r\n".repeat(101);
    let mut seen = BTreeSet::new();
    for (code, head) in [
        (Code::InvalidHost, format!("GET /ok HTTP/1.1\r\n{host}{host}\r\n")),
        (Code::InvalidHost, "GET /ok HTTP/1.1\r\n\r\n".to_owned()),
        (
            Code::InvalidFraming,
            format!("POST /ok HTTP/1.1\r\n{host}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"),
        ),
        (Code::MalformedHead, format!("GET /ok HTTP/1.1\r\n{host}x : 1\r\n\r\n")),
        (Code::VersionNotSupported, format!("GET /ok HTTP/1.2\r\n{host}\r\n")),
        (Code::AmbiguousPath, format!("GET /ok#f HTTP/1.1\r\n{host}\r\n")),
        (Code::AmbiguousPath, format!("GET /ok\u{e9} HTTP/1.1\r\n{host}\r\n")),
        (Code::TargetTooLong, format!("GET /ok{long} HTTP/1.1\r\n{host}\r\n")),
        (Code::HeadTooLarge, format!("GET /ok HTTP/1.1\r\n{host}{large}\r\n")),
        (Code::TooManyHeaders, format!("GET /ok HTTP/1.1\r\n{host}{many}\r\n")),
        (Code::ConnectRefused, format!("CONNECT api.example.com:443 HTTP/1.1\r\n{host}\r\n")),
        (
            Code::UpgradeRefused,
            format!("GET /ok HTTP/1.1\r\n{host}connection: upgrade\r\nupgrade: h2c\r\n\r\n"),
        ),
    ] {
        let before = audited.refused(code.as_str()).await;
        let mut caller = Raw::open(&client).await;
        caller.send(&head).await;
        let answer = caller.answer().await;
        assert_eq!(
            (answer.status, answer.code()),
            (code.status().as_u16(), code.as_str().to_owned()),
            "{head}"
        );
        assert_eq!(audited.refused(code.as_str()).await, before + 1, "{head}");
        assert_eq!(audited.spared(code.as_str()).await, 0, "{head}");
        if !code.is_let_through_in_audit() {
            seen.insert(code.as_str());
        }
    }
    assert!(audited.application.got().concat().is_empty(), "{:?}", audited.application.got());
    // Every such code of a request, but for those that take other bytes or another door.
    let elsewhere = [Code::PathNotOpen, Code::HeadTimeout, Code::Http2Refused];
    let documented: BTreeSet<_> = Code::ALL
        .iter()
        .filter(|code| code.stage() == Stage::Request && !code.is_let_through_in_audit())
        .filter(|code| !elsewhere.contains(code))
        .map(|code| code.as_str())
        .collect();
    assert_eq!(seen, documented);
}
