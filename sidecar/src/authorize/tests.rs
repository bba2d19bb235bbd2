mod locks;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use postern_config::policy as config;
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _, SanType};
use rustls_pki_types::UnixTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::compile::{Compiled, PolicyError};
use super::*;
use crate::identify::matcher::Facts;
use crate::identify::{Caller, sha256};

const POLICY: &str = r#"
authorities: [{name: postern, type: Postern, roots: unused}, {name: partner, roots: unused}]
ports:
  - {port: 8080, protocol: HTTP, access: {type: Locked, locks: {require: All, list: [{type: MutualTLS}]}}}
  - {port: 5432, protocol: TCP, access: {type: Locked, locks: {require: All, list: [{type: MutualTLS}]}}}
  - {port: 9090, protocol: HTTP, access: {type: Open, reason: metrics}}
  - {port: web, protocol: TCP, access: {type: Open, reason: by name}}
  - {port: 8081, protocol: TCP, access: {type: Locked, locks: {require: All, list: [{type: MutualTLS}]}}}
  - {port: nowhere, protocol: HTTP, access: {type: Locked, locks: {require: All, list: [{type: MutualTLS}]}}}
routes:
  - name: shop/any
    port: 8080
    callers: [{name: c1, certificates: [{type: Identity, authority: postern, identity: "spiffe://d/any"}]}]
  - name: shop/orders
    port: 8080
    callers: [{name: c2, certificates: [{type: Identity, authority: postern, identity: "spiffe://d/orders", keys: [PIN]}]}]
    hostnames: [API.example.com, "*.shop.example"]
    rules:
      - matches:
          - {path: {type: PathPrefix, value: /orders/}, method: GET}
          - {path: {type: Exact, value: /health}}
      - matches: [{method: OPTIONS}]
  - name: shop/database
    port: 5432
    callers: [{name: c3, certificates: [{type: Identity, authority: postern, identity: "spiffe://d/any"}]}, {name: c4, certificates: [{type: Identity, authority: partner, identity: "urn:acme"}]}]
  - name: shop/orphan
    port: 7000
    callers: [{name: c5, certificates: [{type: Identity, authority: postern, identity: "spiffe://d/any"}]}]
  - name: shop/nobody
    port: 8080
    callers: []
  - name: shop/locked-out
    port: 8080
    callers: [{name: c6, certificates: [{type: Identity, authority: postern, identity: "spiffe://d/none", keys: []}]}]
"#;

/// A key that is pinned, and another, each with certificates for any name.
struct Keys {
    pinned: KeyPair,
    other: KeyPair,
}

static KEYS: LazyLock<Keys> =
    LazyLock::new(|| Keys { pinned: KeyPair::generate().unwrap(), other: KeyPair::generate().unwrap() });

fn pin() -> String {
    hex::encode(sha256(&KEYS.pinned.subject_public_key_info()))
}

/// A caller for whom `authority` vouches.
fn caller(authority: &str, identity: &str, key: &KeyPair) -> Caller {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names.push(SanType::URI(identity.try_into().unwrap()));
    let leaf = params.self_signed(key).unwrap();
    let (_, parsed) = X509Certificate::from_der(leaf.der()).unwrap();
    let facts = Facts::from_parsed(leaf.der(), &parsed).unwrap();
    Caller {
        authority: authority.into(),
        authorities: Box::new([authority.into()]),
        identity: identity.into(),
        key: *facts.key(),
        fingerprint: *facts.fingerprint(),
        facts,
        chain: vec![leaf.der().clone()],
        not_after: UnixTime::now(),
    }
}

fn compile(text: &str) -> Result<Compiled, PolicyError> {
    let written: config::Policy = serde_yaml::from_str(&text.replace("PIN", &pin())).unwrap();
    Policy::compile(&written, &BTreeMap::from([("web".to_owned(), 8081)]))
}

/// Authority, identity and key.
type Who<'a> = (&'a str, &'a str, &'a KeyPair);

fn judge(who: Option<Who<'_>>, port: u16, http: Option<(&str, &str, &str)>) -> Result<String, Code> {
    let policy = compile(POLICY).unwrap().policy;
    let caller = who.map(|(authority, identity, key)| caller(authority, identity, key));
    let standing = caller.as_ref().map(|caller| policy.standing(port, caller)).unwrap_or_default();
    let certificate = caller.as_ref().map(|caller| Certificate {
        identity: &caller.identity,
        key: &caller.key,
        standing: &standing,
    });
    let parsed = http.map(|(method, host, path)| {
        (method.parse::<Method>().unwrap(), Host::parse(host).unwrap(), Path::parse(path).unwrap())
    });
    let ask = match &parsed {
        None => Ask::Connection,
        Some((method, host, path)) => Ask::Http { method, host, path },
    };
    authorize(&policy, &Request { port, shown: Shown { certificate, ..Shown::default() }, ask })
        .map(|permit| permit.route().unwrap_or("open").to_owned())
        .map_err(|denial| denial.code)
}

#[test]
fn by_identity_port_and_route() {
    let any = Some(("postern", "spiffe://d/any", &KEYS.other));
    let get = Some(("GET", "x", "/"));
    for (case, who, port, http, expected) in [
        ("a route without rules", any, 8080, get, Ok("shop/any")),
        (
            "the same identity from another authority",
            Some(("partner", "spiffe://d/any", &KEYS.pinned)),
            8080,
            get,
            Err(Code::NoRoute),
        ),
        (
            "an identity that merely begins so",
            Some(("postern", "spiffe://d/any2", &KEYS.pinned)),
            8080,
            get,
            Err(Code::NoRoute),
        ),
        ("another case", Some(("postern", "spiffe://D/any", &KEYS.pinned)), 8080, get, Err(Code::NoRoute)),
        ("a TCP port", any, 5432, None, Ok("shop/database")),
        (
            "a foreign authority's own name",
            Some(("partner", "urn:acme", &KEYS.pinned)),
            5432,
            None,
            Ok("shop/database"),
        ),
        (
            "a route to another port",
            Some(("partner", "urn:acme", &KEYS.pinned)),
            8080,
            get,
            Err(Code::NoRoute),
        ),
        ("nobody", None, 8080, get, Err(Code::NoCertificate)),
        ("nobody on TCP", None, 5432, None, Err(Code::NoCertificate)),
        ("a port that is not listed, though a route names it", any, 7000, get, Err(Code::PortClosed)),
        ("an open port", None, 9090, None, Ok("open")),
        ("an open port judges no requests", None, 9090, get, Err(Code::PortClosed)),
        ("open by name and locked by number: locked", None, 8081, None, Err(Code::NoCertificate)),
        (
            "pinned keys: none",
            Some(("postern", "spiffe://d/none", &KEYS.pinned)),
            8080,
            get,
            Err(Code::NoRoute),
        ),
    ] {
        assert_eq!(judge(who, port, http), expected.map(str::to_owned), "{case}");
    }
}

#[test]
fn by_host_path_and_method() {
    let orders = Some(("postern", "spiffe://d/orders", &KEYS.pinned));
    let permit = Ok("shop/orders".to_owned());
    for (method, host, path, expected) in [
        ("GET", "api.example.com", "/orders", permit.clone()),
        ("GET", "API.example.com:443", "/orders/7", permit.clone()),
        ("GET", "a.shop.example", "/orders/", permit.clone()),
        ("GET", "a.shop.example", "/x/%2e%2e/orders/7", permit.clone()),
        ("PUT", "a.shop.example", "/health", permit.clone()),
        ("OPTIONS", "a.shop.example", "/anything", permit),
        ("POST", "api.example.com", "/orders", Err(Code::NoRuleMatches)),
        ("get", "api.example.com", "/orders", Err(Code::NoRuleMatches)),
        ("GET", "api.example.com", "/ordersx", Err(Code::NoRuleMatches)),
        ("GET", "api.example.com", "/orders/../admin", Err(Code::NoRuleMatches)),
        ("GET", "api.example.com", "/health/x", Err(Code::NoRuleMatches)),
        ("GET", "shop.example", "/orders", Err(Code::HostNotAllowed)),
        ("GET", "evil.example", "/orders", Err(Code::HostNotAllowed)),
    ] {
        assert_eq!(judge(orders, 8080, Some((method, host, path))), expected, "{method} {host} {path}");
    }
}

#[test]
fn a_key_that_is_not_pinned_stands_for_nobody() {
    let policy = compile(POLICY).unwrap().policy;
    let allows = |identity, key| policy.allows_key(&caller("postern", identity, key));
    assert!(allows("spiffe://d/orders", &KEYS.pinned));
    assert!(!allows("spiffe://d/orders", &KEYS.other));
    assert!(!allows("spiffe://d/none", &KEYS.other));
    assert!(allows("spiffe://d/any", &KEYS.other));
    assert!(allows("spiffe://d/unknown", &KEYS.other));
    let request = Some(("GET", "api.example.com", "/orders"));
    assert_eq!(judge(Some(("postern", "spiffe://d/orders", &KEYS.other)), 8080, request), Err(Code::NoRoute));
}

#[test]
fn whose_a_certificate_is() {
    let policy = compile(POLICY).unwrap().policy;
    let is_somebodys =
        |port, identity| !policy.standing(port, &caller("postern", identity, &KEYS.pinned)).is_nobodys();
    assert!(is_somebodys(8080, "spiffe://d/orders"));
    assert!(!is_somebodys(5432, "spiffe://d/orders"));
    assert!(!is_somebodys(7000, "spiffe://d/any"));
    assert!(!is_somebodys(8080, "spiffe://d/none"));
}

#[test]
fn what_narrows_a_callers_routes() {
    let policy = |routes: &str| {
        let callers =
            "callers: [{name: c7, certificates: [{type: Identity, authority: a, identity: 'i:i'}]}]";
        let text = format!(
            "{{authorities: [{{name: a, roots: ''}}, {{name: b, roots: ''}}], \
             ports: [{{port: 1, protocol: HTTP, access: {{type: Locked, locks: {{require: All, list: [{{type: MutualTLS}}]}}}}}}], routes: [{routes}]}}"
        );
        compile(&text.replace("WHO", callers)).unwrap().policy
    };
    let any = "{name: r, port: 1, WHO}";
    let hosts = "{name: r, port: 1, WHO, hostnames: [x, y]}";
    let host = "{name: r, port: 1, WHO, hostnames: [x]}";
    let rule = |matches: &str| format!("{{name: r, port: 1, WHO, rules: [{{matches: [{matches}]}}]}}");
    let path = "{path: {type: PathPrefix, value: /a}}";
    let exact = "{path: {type: Exact, value: /a}}";
    let get = "{path: {type: PathPrefix, value: /a}, method: GET}";
    let (one, two) = (rule(path), rule(&format!("{path}, {exact}")));
    for (case, before, now, expected) in [
        ("nothing changes", any, any, false),
        ("another name", any, "{name: other, port: 1, WHO}", false),
        ("a route more", host, "{name: r, port: 1, WHO, hostnames: [x]}, {name: s, port: 1, WHO}", false),
        ("the route goes", any, "", true),
        ("to another port", any, "{name: r, port: 2, WHO}", true),
        (
            "to another caller",
            any,
            "{name: r, port: 1, callers: [{name: c8, certificates: [{type: Identity, authority: b, identity: 'i:i'}]}]}",
            true,
        ),
        (
            "its key is no longer pinned",
            any,
            "{name: r, port: 1, callers: [{name: c9, certificates: [{type: Identity, authority: a, identity: 'i:i', keys: []}]}]}",
            true,
        ),
        (
            "its key is pinned",
            any,
            "{name: r, port: 1, callers: [{name: c10, certificates: [{type: Identity, authority: a, identity: 'i:i', keys: [PIN]}]}]}",
            false,
        ),
        ("hosts come", any, host, true),
        ("a host goes", hosts, host, true),
        ("a host comes", host, hosts, false),
        ("any host", hosts, any, false),
        ("rules come", any, &one, true),
        ("a rule goes", &two, &one, true),
        ("a rule comes", &one, &two, false),
        ("rules go", &one, any, false),
        ("one method only", &one, &rule(get), true),
        ("any method", &rule(get), &one, false),
        ("a prefix becomes a path", &one, &rule(exact), true),
    ] {
        let (before, now) = (policy(before), policy(now));
        let who = caller("a", "i:i", &KEYS.pinned);
        let certificate = |standing| Certificate { identity: "i:i", key: &who.key, standing };
        let (then, later) = (before.standing(1, &who), now.standing(1, &who));
        let shown = Shown { certificate: Some(certificate(&then)), ..Shown::default() };
        let (host, path) = (Host::parse("x").unwrap(), Path::parse("/a").unwrap());
        let ask = Ask::Http { method: &Method::GET, host: &host, path: &path };
        let permit = authorize(&before, &Request { port: 1, shown, ask }).expect(case);
        let ground = permit.ground().unwrap();
        assert!(permit.rests_on(&ground) && ground.holds(&before, 1, Some(certificate(&then))), "{case}");
        assert_eq!(!ground.holds(&now, 1, Some(certificate(&later))), expected, "{case}");
    }
}

#[test]
fn the_stricter_of_two_entries_wins() {
    let door = |first: &str, second: &str| {
        let text = format!("{{authorities: [], ports: [{{port: web, {first}}}, {{port: 8081, {second}}}]}}");
        compile(&text).unwrap().policy.door(8081)
    };
    let open = "protocol: HTTP, access: {type: Open, reason: r}";
    let tcp = "protocol: TCP, access: {type: Locked, locks: {require: All, list: [{type: MutualTLS}]}}";
    let http = "protocol: HTTP, access: {type: Locked, locks: {require: All, list: [{type: MutualTLS}]}}";
    for (first, second, expected) in [
        (open, open, Door::Open),
        (open, tcp, Door::Locked(config::Protocol::TCP)),
        (tcp, open, Door::Locked(config::Protocol::TCP)),
        (http, open, Door::Locked(config::Protocol::HTTP)),
        (tcp, http, Door::Locked(config::Protocol::HTTP)),
        (http, tcp, Door::Locked(config::Protocol::HTTP)),
    ] {
        assert_eq!(door(first, second), Some(expected), "{first} / {second}");
    }
}

#[test]
fn a_policy_that_contradicts_itself_is_refused_whole() {
    assert_eq!(compile(POLICY).unwrap().unresolved.iter().collect::<Vec<_>>(), ["nowhere"]);
    for (text, message) in [
        ("{authorities: [{name: a, roots: ''}, {name: a, roots: ''}], ports: []}", "listed twice"),
        (
            "{authorities: [], ports: [{port: 0, protocol: TCP, access: {type: Locked, locks: {require: All, list: [{type: MutualTLS}]}}}]}",
            "port 0",
        ),
        (
            "{authorities: [], ports: [], routes: [{name: r, port: 1, callers: [{name: c11, certificates: [{type: Identity, authority: x, identity: 'i:i'}]}]}]}",
            "not among",
        ),
        (
            "{authorities: [{name: x, roots: ''}], ports: [], routes: [{name: r, port: 1, \
             callers: [{name: c12, certificates: [{type: Identity, authority: x, identity: 'i:i', keys: [zz]}]}]}]}",
            "64 lower-case hex digits",
        ),
        (
            "{authorities: [], ports: [], routes: [{name: r, port: 1, callers: [], \
             rules: [{matches: [{path: {type: Exact, value: /a%2Fb}}]}]}]}",
            "can never match",
        ),
    ] {
        let error = compile(text).expect_err(text).to_string();
        assert!(error.contains(message), "{error}");
    }
}
