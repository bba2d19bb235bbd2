//! The application is told who called by the sidecar alone; what a caller writes about itself is dropped.

use postern_echo::attempt::{Attempt, Payload};
use postern_echo::serve::Seen;
use postern_tests::scene::{self, NAME, Scene};
use postern_tests::workload::{Echo, HTTP};
use postern_tests::{Sharing, attack, gateway, install, run};

const FORGED: &[(&str, &str)] = &[
    ("X-Forwarded-Client-Cert", "By=spiffe://forged;URI=spiffe://forged"),
    ("x_forwarded_client_cert", "URI=spiffe://forged"),
    ("X-FORWARDED-CLIENT-CERT", "URI=spiffe://forged"),
    ("Client-Cert", ":Zm9yZ2Vk:"),
    ("Client_Cert", ":Zm9yZ2Vk:"),
    ("Client-Cert-Chain", ":Zm9yZ2Vk:"),
    ("Connection", "x-forwarded-client-cert"),
];

#[test]
fn forged_ones_do_not_arrive() {
    run(Sharing::Shared, async |test| {
        let open = test.another_namespace(serde_json::json!({})).await;
        let echo = Echo::new(&open, NAME);
        echo.deploy(&test.cluster).await;
        let unguarded = echo.target(&test.cluster).await;
        let plain = attack::attempt(unguarded.address(), HTTP, None, forged(false));
        let seen = seen(test, plain).await;
        assert!(
            seen.headers.iter().any(|(_, value)| value.contains("forged")),
            "without a lock they do: {seen:?}"
        );

        let scene = Scene::guarded(test).await;
        let gateway = scene.gateway(test).await;
        let identity = scene::identity(&test.cluster, &test.namespace, install::EDGE.0, NAME).await;
        let through = gateway.request("GET", "/", FORGED);
        says_who_called(&self::seen(test, through).await, &identity);
        // NGINX drops some of these by itself; the key lets us bring them all to the sidecar.
        for h2 in [false, true] {
            let attempt = scene.with_certificate(scene.key(&test.cluster).await);
            says_who_called(&self::seen(test, attempt.with(forged(h2))).await, &identity);
        }
    });
}

fn forged(h2: bool) -> Payload {
    let Payload::Http { method, path, host, body, .. } = attack::get("/", h2) else { unreachable!() };
    let headers = FORGED
        .iter()
        .filter(|(name, _)| !(h2 && *name == "Connection"))
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Payload::Http { h2, method, path, host, headers, body }
}

async fn seen(test: &postern_tests::Test, attempt: Attempt) -> Seen {
    let attack = attack::Attack::new("", attempt);
    gateway::seen(&attack::try_all(&test.cluster, &[attack]).await.remove(0).made)
}

fn says_who_called(seen: &Seen, identity: &str) {
    assert!(!format!("{seen:?}").contains("forged"), "{seen:?}");
    assert!(!format!("{seen:?}").contains("Zm9yZ2Vk"), "{seen:?}");
    let named = |name: &str| -> Vec<&str> {
        let same = |other: &str| other.to_ascii_lowercase().replace('_', "-") == name;
        seen.headers.iter().filter(|(other, _)| same(other)).map(|(_, value)| value.as_str()).collect()
    };
    let client = named("x-forwarded-client-cert");
    assert_eq!(client.len(), 1, "{seen:?}");
    assert!(client[0].contains(identity), "{seen:?}");
    let certificate = named("client-cert");
    assert_eq!(certificate.len(), 1, "{seen:?}");
    // RFC 9440: a byte sequence of RFC 8941.
    assert!(certificate[0].starts_with(':') && certificate[0].ends_with(':'), "{seen:?}");
    assert_eq!(named("client-cert-chain"), Vec::<&str>::new(), "{seen:?}");
}
