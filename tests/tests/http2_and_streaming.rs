//! What HTTP can do passes the sidecar as it is: HTTP/2, bodies, streams and their trailers.

use postern_echo::attempt::{Attempt, Made, Outcome, Payload};
use postern_tests::attack::{self, Attack};
use postern_tests::scene::Scene;
use postern_tests::{Sharing, Test, gateway, run};

#[test]
fn pass_as_they_are() {
    run(Sharing::Shared, async |test| {
        let scene = Scene::guarded(test).await;
        let key = scene.with_certificate(scene.key(&test.cluster).await);
        for (h2, version) in [(false, "HTTP/1.1"), (true, "HTTP/2.0")] {
            let request = |method: &str, path: &str, body: String| {
                let (method, path, host) =
                    (method.to_owned(), path.to_owned(), "orders.example.com".to_owned());
                // Trailers are for those who ask for them (RFC 9110 section 6.5.1).
                let headers = vec![("te".to_owned(), "trailers".to_owned())];
                let attempt = Attempt { timeout_ms: 5000, ..key.clone() };
                attempt.with(Payload::Http { h2, method, path, host, headers, body })
            };
            let made = call(test, request("POST", "/upload", "x".repeat(3_000_000))).await;
            let seen = gateway::seen(&made);
            assert_eq!((seen.method.as_str(), seen.body_length), ("POST", 3_000_000), "{version}");
            assert_eq!(seen.protocol, "HTTP/1.1", "the application is spoken to as it understands");
            let Outcome::Http { version: answered, .. } = &made.outcome else { unreachable!() };
            assert_eq!(answered, version);

            let made = call(test, request("GET", "/stream?count=5&ms=20", String::new())).await;
            let Outcome::Http { status: 200, body, trailers, .. } = &made.outcome else {
                panic!("{:?}", made.outcome)
            };
            assert_eq!(body.lines().count(), 5, "{version}: {body}");
            assert_eq!(trailers, &[("x-lines".to_owned(), "5".to_owned())], "{version}");

            let made = call(test, request("GET", "/status/404", String::new())).await;
            assert_eq!(made.outcome.status(), Some(404), "{version}: {:?}", made.outcome);
            assert!(
                gateway::problem(&made.outcome).is_none(),
                "the application's own answer: {:?}",
                made.outcome
            );
        }
    });
}

async fn call(test: &Test, attempt: Attempt) -> Made {
    attack::try_all(&test.cluster, &[Attack::new("", attempt)]).await.remove(0).made
}
