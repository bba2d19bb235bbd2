//! A certificate that is not the key opens nothing, however well it is made.

use postern_echo::attempt::{Attempt, Identity, Outcome, Payload};
use postern_tests::attack::{self, Attack};
use postern_tests::forge::{self, Authority, Leaf};
use postern_tests::scene::{self, NAME, Scene};
use postern_tests::workload::{Echo, HTTP, SECURE, TCP, Target};
use postern_tests::{Sharing, Test, install, lock, run};
use rcgen::ExtendedKeyUsagePurpose;

/// What is presented, and the code that the sidecar must log.
type Forgery = (&'static str, Option<Identity>, &'static str);

#[test]
fn whatever_it_says_and_whoever_signed_it() {
    run(Sharing::Shared, async |test| {
        let echo = Echo::new(&test.namespace, NAME);
        echo.deploy(&test.cluster).await;
        let target = echo.target(&test.cluster).await;
        // The application's own TLS asks for no certificate, so all of these reach it.
        attack::all_get_in(&test.cluster, &target, &over_http(&forgeries(test).await, &target, SECURE)).await;

        test.cluster.apply(&lock::echo_trust(&test.namespace, NAME)).await;
        lock::keyed(&test.cluster, &scene::key(&test.namespace)).await;
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let target = echo.target(&test.cluster).await;
        let mut forgeries = forgeries(test).await;
        let secret = postern_config::layout::secret_name(NAME);
        let servers = forge::stolen(&test.cluster, &test.namespace, &secret).await;
        forgeries.push(("the backend's own certificate", Some(servers), "ServerAuthority"));
        let attacks = over_http(&forgeries, &target, HTTP);
        let tried = attack::all_refused(&test.cluster, &target, &attacks).await;
        for one in &tried {
            let expected = if one.attack.code == Some("NoRoute") { "HTTP 403" } else { "TLS alert" };
            let seen = one.made.outcome.brief();
            assert!(seen.starts_with(expected), "{}: expected {expected}, not {seen}", one.attack.name);
        }
        // Where the key itself gets in, made by the same hand.
        let scene = Scene { echo, target };
        let key = scene.with_certificate(scene.key(&test.cluster).await);
        let made = attack::try_all(&test.cluster, &[Attack::new("the key", key)]).await.remove(0).made;
        assert!(made.outcome.got_in(), "{:?}", made.outcome);
    });
}

#[test]
fn on_a_tcp_port_as_well() {
    run(Sharing::Shared, async |test| {
        let mut key = scene::key(&test.namespace);
        key["spec"]["backendRef"]["port"] = TCP.into();
        let trust = lock::echo_trust(&test.namespace, NAME);
        let scene = Scene::guarded_by(test, &test.namespace, &trust, &key).await;
        let bytes = Payload::Bytes { text: "hello\n".to_owned() };
        let attacks: Vec<Attack> = over_http(&forgeries(test).await, &scene.target, TCP)
            .into_iter()
            .map(|attack| Attack { attempt: Attempt { payload: bytes.clone(), ..attack.attempt }, ..attack })
            .collect();
        attack::all_refused(&test.cluster, &scene.target, &attacks).await;
        let mut with_key = scene.with_certificate(scene.key(&test.cluster).await);
        with_key.payload = bytes;
        with_key.port = TCP;
        let made = attack::try_all(&test.cluster, &[Attack::new("the key", with_key)]).await.remove(0).made;
        assert!(matches!(made.outcome, Outcome::Bytes { .. }), "{:?}", made.outcome);
    });
}

fn over_http(forgeries: &[Forgery], target: &Target, port: u16) -> Vec<Attack> {
    let attack = |(name, identity, code): &Forgery| {
        Attack::https(*name, target.address(), port, identity.clone()).logged(code)
    };
    forgeries.iter().map(attack).collect()
}

async fn forgeries(test: &Test) -> Vec<Forgery> {
    let cluster = &test.cluster;
    let right = scene::identity(cluster, &test.namespace, install::EDGE.0, NAME).await;
    let other_gateway = scene::identity(cluster, &test.namespace, install::OTHER.0, NAME).await;
    let other_route = scene::identity(cluster, "elsewhere", install::EDGE.0, NAME).await;
    let leaf = Leaf::client(&right);
    let client = Authority::client(cluster).await;
    let backend = Authority::backend(cluster).await;
    let impostor = Authority::impostor(cluster, "postern-client-ca").await;
    let expired = Leaf { from_days: -60, until_days: -1, ..leaf.clone() };
    let early = Leaf { from_days: 2, ..leaf.clone() };
    let for_servers = Leaf { usage: ExtendedKeyUsagePurpose::ServerAuth, ..leaf.clone() };
    let authority = Leaf { authority: true, ..leaf.clone() };
    vec![
        ("no certificate", None, "NoCertificate"),
        ("a self-signed certificate", Some(forge::self_signed(&leaf)), "SelfSigned"),
        ("another authority's", Some(Authority::unknown().issue(&leaf)), "UnknownIssuer"),
        ("another authority's that copies our names", Some(impostor.issue(&leaf)), "ForgedIssuer"),
        ("our authority's for backends", Some(backend.issue(&leaf)), "ServerAuthority"),
        ("an expired one", Some(client.issue(&expired)), "Expired"),
        ("one that is not valid yet", Some(client.issue(&early)), "NotYetValid"),
        ("one for servers", Some(client.issue(&for_servers)), "NotForClients"),
        ("an authority's own", Some(client.issue(&authority)), "AuthorityAsClient"),
        ("the right names on a key that was never handed out", Some(client.issue(&leaf)), "KeyNotPinned"),
        ("a gateway's without a route", Some(client.issue(&Leaf::client(&other_gateway))), "NoRoute"),
        ("another route's", Some(client.issue(&Leaf::client(&other_route))), "NoRoute"),
    ]
}
