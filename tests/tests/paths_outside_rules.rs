//! What a route's rules and hostnames do not list is refused, although the caller has the key.

use postern_echo::attempt::{Attempt, Payload};
use postern_tests::scene::{self, NAME, Scene};
use postern_tests::workload::{Echo, HTTP};
use postern_tests::{Sharing, attack, gateway, lock, run};
use serde_json::json;

const HOST: &str = "orders.example.com";

#[test]
fn are_refused_through_the_gateway() {
    run(Sharing::Shared, async |test| {
        let scene = scene(test).await;
        let gateway = scene.gateway(test).await;
        for (method, path) in
            [("GET", "/orders"), ("GET", "/orders/1"), ("GET", "/orders?a=/admin"), ("POST", "/new")]
        {
            let made = gateway.call(test, gateway.request(method, path, &[])).await;
            assert_eq!(made.outcome.status(), Some(200), "{method} {path}: {:?}", made.outcome);
        }
        let before = scene.target.hits(&test.cluster).await;
        for (method, path, status, code) in [
            ("GET", "/admin", 403, "NoRuleMatches"),
            ("GET", "/ordersx", 403, "NoRuleMatches"),
            ("POST", "/orders", 403, "NoRuleMatches"),
            ("POST", "/new/1", 403, "NoRuleMatches"),
            ("GET", "/orders/../admin", 403, "NoRuleMatches"),
            ("GET", "/orders/%2e%2e/admin", 403, "NoRuleMatches"),
            ("GET", "/orders%2F..%2Fadmin", 400, "AmbiguousPath"),
            ("GET", "/orders/%252e%252e/admin", 400, "AmbiguousPath"),
            ("GET", "/orders/..%5cadmin", 400, "AmbiguousPath"),
        ] {
            let made = gateway.call(test, gateway.request(method, path, &[])).await;
            let problem = gateway::problem(&made.outcome).unwrap_or_default();
            assert_eq!(made.outcome.status(), Some(status), "{method} {path}: {:?}", made.outcome);
            assert_eq!(problem["code"], code, "{method} {path}: {problem}");
            assert_eq!(problem["status"], status, "{method} {path}: {problem}");
        }
        let mut elsewhere = gateway.get("/orders");
        let Payload::Http { host, .. } = &mut elsewhere.payload else { unreachable!() };
        "admin.example.com".clone_into(host);
        let made = gateway.call(test, elsewhere).await;
        assert_eq!(gateway::problem(&made.outcome).unwrap_or_default()["code"], "HostNotAllowed", "{made:?}");
        assert_eq!(scene.target.hits(&test.cluster).await, before, "none of these reached the application");
    });
}

/// What NGINX would not pass on, from somebody who has the key.
#[test]
fn are_refused_however_they_are_spelt() {
    run(Sharing::Shared, async |test| {
        let open = test.another_namespace(json!({})).await;
        let echo = Echo::new(&open, NAME);
        echo.deploy(&test.cluster).await;
        let unguarded = echo.target(&test.cluster).await;
        let scene = scene(test).await;
        let key = scene.with_certificate(scene.key(&test.cluster).await);
        let before = scene.target.hits(&test.cluster).await;
        for (line, refused, code) in [
            ("GET /orders HTTP/1.1\r\nHost: orders.example.com", 200, ""),
            ("GET /orders\\..\\admin HTTP/1.1\r\nHost: orders.example.com", 400, "AmbiguousPath"),
            ("GET /orders/%00/../../admin HTTP/1.1\r\nHost: orders.example.com", 400, "AmbiguousPath"),
            ("GET //admin HTTP/1.1\r\nHost: orders.example.com", 403, "NoRuleMatches"),
            ("GET /orders HTTP/1.1\r\nHost: orders.example.com\r\nHost: a.example.com", 400, ""),
            ("GET http://a.example.com/orders HTTP/1.1\r\nHost: orders.example.com", 0, ""),
            ("CONNECT orders.example.com:80 HTTP/1.1\r\nHost: orders.example.com:80", 405, "ConnectRefused"),
            ("GET /orders HTTP/1.1\r\nHost : orders.example.com", 400, ""),
        ] {
            let bytes = Payload::Bytes { text: format!("{line}\r\nConnection: close\r\n\r\n") };
            let attempt = Attempt { payload: bytes.clone(), ..key.clone() };
            let plain = attack::attempt(unguarded.address(), HTTP, None, bytes);
            let attempts = [attack::Attack::new(line, attempt), attack::Attack::new(line, plain)];
            let tried = attack::try_all(&test.cluster, &attempts).await;
            let outcome = &tried[0].made.outcome;
            if refused == 200 {
                assert_eq!(outcome.status(), Some(200), "{line:?}: {outcome:?}");
                assert_eq!(
                    tried[1].made.outcome.status(),
                    Some(200),
                    "{line:?}: {:?}",
                    tried[1].made.outcome
                );
                continue;
            }
            assert!(!matches!(outcome.status(), Some(200)), "{line:?}: {outcome:?}");
            if refused != 0 {
                assert_eq!(outcome.status(), Some(refused), "{line:?}: {outcome:?}");
            }
            assert!(format!("{outcome:?}").contains(code), "{line:?} expects {code}: {outcome:?}");
        }
        let after = scene.target.hits(&test.cluster).await;
        assert_eq!(
            after.http_requests - before.http_requests,
            1,
            "only the first of these reached the application"
        );
        // One message that can be read as two: whoever reads the length, the second is no part of the first.
        let bytes = Payload::Bytes {
            text: "POST /new HTTP/1.1\r\nHost: orders.example.com\r\nContent-Length: 5\r\n\
                   Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
                   GET /admin HTTP/1.1\r\nHost: orders.example.com\r\nConnection: close\r\n\r\n"
                .to_owned(),
        };
        let smuggled = attack::Attack::new("two in one", Attempt { payload: bytes, ..key });
        attack::try_all(&test.cluster, &[smuggled]).await;
        let requests = scene.target.hits(&test.cluster).await.http_requests - after.http_requests;
        assert!(requests <= 1, "the smuggled request reached the application");
    });
}

async fn scene(test: &postern_tests::Test) -> Scene {
    let mut key = scene::key(&test.namespace);
    key["spec"]["hostnames"] = json!([HOST]);
    key["spec"]["rules"] = json!([
        {"name": "read", "matches": [{"path": {"type": "PathPrefix", "value": "/orders"}, "method": "GET"}]},
        {"name": "new", "matches": [{"path": {"type": "Exact", "value": "/new"}, "method": "POST"}]},
    ]);
    Scene::guarded_by(test, &test.namespace, &lock::echo_trust(&test.namespace, NAME), &key).await
}
