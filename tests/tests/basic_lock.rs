//! A lock of type Basic: generated credentials, the author's own, and users of the author's.

use postern_crds::ApiRoute;
use postern_tests::attack::{self, Attack};
use postern_tests::gateway;
use postern_tests::keyring::{self, basic};
use postern_tests::scene::{self, NAME};
use postern_tests::{Sharing, Test, load, lock, run, wait};
use serde_json::{Value, json};

#[test]
fn opens_for_the_gateways_generated_credential_alone() {
    run(Sharing::Shared, async |test| {
        let scene = keyring::scene(test, &json!({"all": [{"type": "Basic"}]})).await;
        let gateway = scene.gateway(test).await;
        let trust = lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let summary = trust.status.and_then(|status| status.summary).expect("a summary");
        assert_eq!(summary.locks.as_deref(), Some("Basic, mTLS"), "bytes have no headers");
        let seen = gateway.seen(test, "/").await;
        let held = keyring::held(test).await;
        let (username, password) = (&held["username"], &held["password"]);
        assert_eq!(keyring::named(&seen, "authorization"), Vec::<&str>::new(), "{seen:?}");
        assert!(!format!("{seen:?}").contains(password.as_str()), "the application sees no credential");
        // The gateway's own counts, whatever its client sends.
        let made = gateway.call(test, gateway.request("GET", "/", &[("Authorization", "Bearer x")])).await;
        assert_eq!(made.outcome.status(), Some(200), "{made:?}");

        let right = basic(username, password);
        let wrong = basic(username, "wrong");
        let unknown = basic("nobody", password);
        let to = |name: &str, headers: &[(&str, &str)]| {
            Attack::new(name, keyring::https(&scene.target, None, headers))
        };
        let plain = Attack::new("plain HTTP", keyring::http(&scene.target, &[("Authorization", &right)]));
        let attacks = [
            to("no credentials", &[]).logged("NoCredentials"),
            to("a wrong password", &[("Authorization", &wrong)]).logged("WrongCredentials"),
            to("an unknown user", &[("Authorization", &unknown)]).logged("WrongCredentials"),
            to("no base64", &[("Authorization", "Basic !")]).logged("MalformedCredentials"),
            to("twice", &[("Authorization", &right), ("Authorization", &right)]).logged("RepeatedKey"),
            plain.logged("PlaintextRefused"),
        ];
        attack::all_refused(&test.cluster, &scene.target, &attacks).await;
        let stolen =
            attack::try_all(&test.cluster, &[to("the key itself", &[("Authorization", &right)])]).await;
        assert!(stolen[0].made.outcome.got_in(), "or the refusals prove nothing: {stolen:?}");
    });
}

#[test]
fn is_rotated_without_losing_a_call() {
    run(Sharing::Shared, async |test| {
        let scene = keyring::scene(test, &json!({"all": [{"type": "Basic"}]})).await;
        let gateway = scene.gateway(test).await;
        gateway.seen(test, "/").await;
        let old = keyring::held(test).await;
        let load = load::begin(test, vec![gateway.get("/")]).await;
        keyring::rotate(test, json!({})).await;
        let new = keyring::replaced(test, "password", &old["password"]).await;
        keyring::mounted(test, &gateway, &basic(&new["username"], &new["password"])).await;
        gateway.seen(test, "/").await;
        let totals = load.end().await;
        assert!(totals.lost.is_empty() && totals.got_in > 10, "{totals:?}");

        // Until the overlap is over, a gateway that reloads late still gets in, and the operator sees it.
        for held in [&new, &old] {
            let header = basic(&held["username"], &held["password"]);
            let attempt = keyring::https(&scene.target, None, &[("Authorization", &header)]);
            let tried = attack::try_all(&test.cluster, &[Attack::new("", attempt)]).await;
            assert!(tried[0].made.outcome.got_in(), "{tried:?}");
        }
        // Without one, the old is refused as soon as the new is handed over.
        keyring::rotate(test, json!({"overlap": "0s"})).await;
        keyring::replaced(test, "password", &new["password"]).await;
        let header = basic(&new["username"], &new["password"]);
        wait::until("the replaced credential to be refused", 20, async || {
            let attempt = keyring::https(&scene.target, None, &[("Authorization", &header)]);
            let tried = attack::try_all(&test.cluster, &[Attack::new("", attempt)]).await;
            let outcome = &tried[0].made.outcome;
            if outcome.status() == Some(401) { Ok(()) } else { Err(format!("{outcome:?}")) }
        })
        .await;
        let route: ApiRoute = test.cluster.get(&test.namespace, NAME).await;
        let status = route.status.unwrap_or_default();
        let credentials = status.gateways[0].credentials.as_ref().expect("credentials in status");
        assert_eq!(credentials.revision, 3);
    });
}

#[test]
fn takes_the_authors_own_credential_from_a_secret() {
    run(Sharing::Shared, async |test| {
        test.cluster.apply(&own(test, "correct horse")).await;
        let basic_lock = json!({"type": "Basic", "basic": {
            "headerName": "X-Backend-Authorization", "upstream": "Keep", "credentialsRef": {"name": "own"},
        }});
        let scene = keyring::scene(test, &json!({"all": [basic_lock]})).await;
        let gateway = scene.gateway(test).await;
        let seen = gateway.seen(test, "/").await;
        let kept = keyring::named(&seen, "x-backend-authorization");
        assert_eq!(kept, [basic("alice", "correct horse")], "{seen:?}");
        let bundle = test.cluster.secret(&test.namespace, &postern_config::layout::secret_name(NAME)).await;
        let bundle =
            String::from_utf8(bundle.expect("the lock's Secret")["bundle.json"].clone()).expect("JSON");
        assert!(
            bundle.contains("$pbkdf2-sha256$") && !bundle.contains("horse"),
            "verifiers alone are at the backend"
        );

        // A change is noticed and handed over.
        test.cluster.apply(&own(test, "battery staple")).await;
        keyring::replaced(test, "password", "correct horse").await;
        keyring::mounted(test, &gateway, &basic("alice", "battery staple")).await;
        wait::until("the gateway to use it", 20, async || {
            let seen = gateway.seen(test, "/").await;
            let now = basic("alice", "battery staple");
            if keyring::named(&seen, "x-backend-authorization") == [now] {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await;
        // One that is gone or faulty changes nothing, and is told.
        test.cluster.delete(&own(test, "")).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("ResolvedRefs", "False", "RefNotFound"))
            .await;
        gateway.seen(test, "/").await;
        attack::all_refused(
            &test.cluster,
            &scene.target,
            &[Attack::new("no credentials", keyring::https(&scene.target, None, &[]))
                .logged("NoCredentials")],
        )
        .await;
    });
}

#[test]
fn stays_shut_while_its_secret_is_missing() {
    run(Sharing::Shared, async |test| {
        let lock = json!({"type": "Basic", "basic": {"usersRef": {"name": "users"}}});
        let mut trust = lock::echo_trust(&test.namespace, NAME);
        keyring::with_locks(&mut trust, &json!({"all": [lock]}));
        let cluster = &test.cluster;
        let echo = postern_tests::workload::Echo::new(&test.namespace, NAME);
        cluster.apply_all(&[trust, scene::key(&test.namespace), echo.service()]).await;
        lock::trust_says(cluster, &test.namespace, NAME, ("Armed", "True", "")).await;
        echo.deploy(cluster).await;
        lock::trust_says(cluster, &test.namespace, NAME, ("ResolvedRefs", "False", "RefNotFound")).await;
        let target = echo.target(cluster).await;
        let alice = basic("alice", "secret");
        let attempt = || keyring::https(&target, None, &[("Authorization", &alice)]);
        attack::all_refused(cluster, &target, &[Attack::new("a user", attempt()).logged("WrongCredentials")])
            .await;

        // bcrypt of "secret", as `htpasswd -nbB alice secret` writes it.
        let users = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": test.namespace, "name": "users"},
            "stringData": {"auth": format!("alice:{BCRYPT}\n")},
        });
        cluster.apply(&users).await;
        lock::trust_says(cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let route = lock::route_says(cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        assert_eq!(route.status.unwrap_or_default().gateways[0].credentials, None, "nothing is handed over");
        let gateway = gateway::start(
            test,
            postern_tests::install::EDGE,
            &[gateway::Forward::all(&test.namespace, NAME)],
        )
        .await;
        let made = gateway.answered(test, gateway.request("GET", "/", &[("Authorization", &alice)])).await;
        assert_eq!(made.outcome.status(), Some(200), "users get in through the gateway: {made:?}");
        let made = gateway.call(test, gateway.get("/")).await;
        assert_eq!(made.outcome.status(), Some(401), "{made:?}");

        let mut weak = users.clone();
        weak["stringData"] = json!({"auth": "bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="});
        cluster.apply(&weak).await;
        lock::trust_says(cluster, &test.namespace, NAME, ("ResolvedRefs", "False", "InvalidSecret")).await;
        let made = gateway.call(test, gateway.request("GET", "/", &[("Authorization", &alice)])).await;
        assert_eq!(made.outcome.status(), Some(200), "what was valid before stays so: {made:?}");
    });
}

/// Of `secret`.
const BCRYPT: &str = "$2b$10$hOayfCb5tkKg890oJaiW1.hBxn.mNKI6bTOQhFeQU7bPtYXWTGFkq";

fn own(test: &Test, password: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
        "metadata": {"namespace": test.namespace, "name": "own"},
        "stringData": {"username": "alice", "password": password},
    })
}
