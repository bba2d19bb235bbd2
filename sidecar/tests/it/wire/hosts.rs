//! Paths and hosts by their bytes: what is judged is what is forwarded, whichever host TLS was asked for.

use super::{open, raw};
use crate::support::h2::{GET, fields};
use crate::support::prelude::*;
use crate::support::recorder::OK;

/// One caller, two routes: each its own host and its own paths.
async fn house() -> House<Recorder> {
    let route = |name: &str, host: &str, path: &str| {
        format!(
            "{{name: {name}, port: 8080, hostnames: ['{host}'], \
             rules: [{{matches: [{{path: {{type: PathPrefix, value: {path}}}}}]}}], callers: [\
             {{name: c, certificates: [{{type: Identity, authority: postern, identity: '{ORDERS}'}}]}}]}}"
        )
    };
    let policy = format!(
        "{{authorities: [{{name: postern, type: Postern, roots: ROOTS}}], \
         ports: [{{port: 8080, protocol: HTTP, access: {{type: Locked, locks: {{require: All, \
         list: [{{type: MutualTLS}}]}}}}}}], routes: [{}, {}]}}",
        route("r1", "one.example", "/one"),
        route("r2", "two.example", "/two"),
    );
    let application = Recorder::answering(OK).await;
    let address = application.address;
    House::of(application, address, &policy, &[]).await
}

#[tokio::test]
async fn the_path_that_is_judged_is_the_path_that_is_forwarded() {
    let house = house().await;
    for (target, outcome) in [
        ("/one", Ok("/one")),
        ("/one?q=/../two&x=%2f#no", Err((400, "AmbiguousPath"))),
        ("/one?q=/../two&x=%2f", Ok("/one?q=/../two&x=%2f")),
        ("/%6fne/a%7Eb", Ok("/one/a~b")),
        ("/two/../one/x", Ok("/one/x")),
        ("/two/%2e%2E/one/x", Ok("/one/x")),
        ("/one/./x/..", Ok("/one/")),
        ("/one//x", Ok("/one//x")),
        ("/one/a%2cb%c3%a9", Ok("/one/a%2Cb%C3%A9")),
        ("http://one.example/one/x", Ok("/one/x")),
        ("/one/../two", Err((403, "NoRuleMatches"))),
        ("/one/%2e%2e/two", Err((403, "NoRuleMatches"))),
        ("/oneself", Err((403, "NoRuleMatches"))),
        ("//one", Err((403, "NoRuleMatches"))),
        ("/ONE", Err((403, "NoRuleMatches"))),
        ("/one/..%2ftwo", Err((400, "AmbiguousPath"))),
        ("/one/..%5ctwo", Err((400, "AmbiguousPath"))),
        ("/one/..\\two", Err((400, "AmbiguousPath"))),
        ("/one/%2e%2e%2f%2e%2e/two", Err((400, "AmbiguousPath"))),
        ("/one/%252e%252e/two", Err((400, "AmbiguousPath"))),
        ("/one/..;/two", Err((400, "AmbiguousPath"))),
        ("/one/%00", Err((400, "AmbiguousPath"))),
        ("/one/%0d%0aHost:%20x", Err((400, "AmbiguousPath"))),
        ("/one%23", Err((400, "AmbiguousPath"))),
        ("/one#/two", Err((400, "AmbiguousPath"))),
        ("/one/%", Err((400, "AmbiguousPath"))),
        ("/one/%zz", Err((400, "AmbiguousPath"))),
        ("/../one", Err((400, "AmbiguousPath"))),
    ] {
        let mut one = raw(&house).await;
        one.send(format!("GET {target} HTTP/1.1\r\nhost: one.example\r\n\r\n")).await;
        let answer = one.answer().await;
        match outcome {
            Ok(expected) => {
                assert_eq!(answer.status, 200, "{target}: {answer:?}");
                let got = house.application.one().await;
                assert!(got.starts_with(&format!("GET {expected} HTTP/1.1\r\n")), "{target}: {got}");
            }
            Err((status, code)) => {
                assert_eq!((answer.status, answer.code().as_str()), (status, code), "{target}");
            }
        }
        // HTTP/2 has no absolute form; a fragment it cuts off before anybody can see it.
        if target.starts_with('/') && !target.contains('#') {
            let mut two = open(&house).await;
            let head = [GET[0], GET[1], (":authority", "one.example"), (":path", target)];
            two.request(1, &fields(&head)).await;
            match outcome {
                Ok(expected) => {
                    assert_eq!(two.outcome(1).await, Ok("ok".to_owned()), "{target}");
                    let got = house.application.one().await;
                    assert!(got.starts_with(&format!("GET {expected} HTTP/1.1\r\n")), "{target}: {got}");
                }
                Err((status, code)) => {
                    assert_eq!(two.refused(1).await, (status, code.to_owned()), "{target}");
                }
            }
        }
    }
    assert!(house.application.got().concat().is_empty());
}

#[tokio::test]
async fn one_host_in_one_form_is_judged_and_forwarded() {
    let house = house().await;
    for (target, host, outcome) in [
        ("/one", "host: one.example\r\n", Ok("one.example")),
        ("/one", "host: ONE.Example\r\n", Ok("one.example")),
        ("/one", "host: one.example.\r\n", Ok("one.example")),
        ("/one", "host: one.example:8443\r\n", Ok("one.example:8443")),
        ("http://ONE.example/one", "host: one.example\r\n", Ok("one.example")),
        ("http://one.example/one", "", Ok("one.example")),
        ("/one", "", Err((400, "InvalidHost"))),
        ("/one", "host:\r\n", Err((400, "InvalidHost"))),
        ("/one", "host: one.example, two.example\r\n", Err((400, "InvalidHost"))),
        ("/one", "host: one.example/x\r\n", Err((400, "InvalidHost"))),
        ("/one", "host: one.example@two.example\r\n", Err((400, "InvalidHost"))),
        ("/one", "host: one.example:80:80\r\n", Err((400, "InvalidHost"))),
        ("/one", "host: one.example\r\nhost: one.example\r\n", Err((400, "InvalidHost"))),
        ("http://two.example/two", "host: one.example\r\n", Err((400, "InvalidHost"))),
        ("http://one.example:80/one", "host: one.example\r\n", Err((400, "InvalidHost"))),
        ("/one", "host: evil.example\r\n", Err((403, "HostNotAllowed"))),
        ("/one", "host: xone.example\r\n", Err((403, "HostNotAllowed"))),
        ("/two", "host: one.example\r\n", Err((403, "NoRuleMatches"))),
        ("/one", "host: evil.example\r\nx-forwarded-host: one.example\r\n", Err((403, "HostNotAllowed"))),
    ] {
        let mut caller = raw(&house).await;
        caller.send(format!("GET {target} HTTP/1.1\r\n{host}\r\n")).await;
        let answer = caller.answer().await;
        match outcome {
            Ok(expected) => {
                assert_eq!(answer.status, 200, "{target} {host:?}: {answer:?}");
                let got = house.application.one().await;
                assert_eq!(got.matches("host: ").count(), 1, "{got}");
                assert!(got.contains(&format!("\r\nhost: {expected}\r\n")), "{target} {host:?}: {got}");
            }
            Err((status, code)) => {
                assert_eq!((answer.status, answer.code().as_str()), (status, code), "{target} {host:?}");
            }
        }
    }
    assert!(house.application.got().concat().is_empty());
}

/// Nothing is decided by the name that TLS was asked for: a port has one lock, whatever name it is reached by, and
/// each request is judged anew with the host it names. So no request can be misdirected, and 421 is never due.
#[tokio::test]
async fn the_name_in_the_handshake_opens_nothing_and_closes_nothing() {
    let house = house().await;
    let gateway = house.pki.gateway();
    for sni in ["orders.shop.svc", "one.example", "two.example", "evil.example"] {
        let client = house.http1(&gateway).asking_for(sni);
        let mut caller = Raw::open(&client).await;
        for (host, path, status) in [
            ("one.example", "/one", 200),
            ("two.example", "/two", 200),
            ("one.example", "/two", 403),
            ("two.example", "/one", 403),
            ("evil.example", "/one", 403),
            ("one.example", "/one", 200),
        ] {
            caller.send(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
            let answer = caller.answer().await;
            assert_eq!(
                answer.status, status,
                "asked for {sni} in the handshake, then {host}{path}: {answer:?}"
            );
        }
    }
    // A stranger isn't let in by a name either.
    let stranger = house.http1(&house.pki.callers.client("spiffe://test/another")).asking_for("one.example");
    let mut caller = Raw::open(&stranger).await;
    caller.send("GET /one HTTP/1.1\r\nhost: one.example\r\n\r\n").await;
    assert_eq!(caller.answer().await.code(), "NoRoute");
}
