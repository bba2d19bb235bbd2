//! Where a route lets its gateway tell of its own client's certificate, the application reads of both; what the client
//! itself writes about it is dropped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_echo::attempt::{Attempt, Identity, Outcome, Tls};
use postern_tests::forge::{self, Leaf};
use postern_tests::gateway::{self, Forward, Gateway};
use postern_tests::run::random_name;
use postern_tests::scene::{self, NAME, Scene};
use postern_tests::{Sharing, Test, attack, install, lock, run};
use serde_json::json;

/// Where the gateway speaks TLS to its clients.
const HTTPS: u16 = 8443;
/// Where it finds whom of them it believes.
const CLIENT_CA: &str = "/etc/clients/ca.crt";

const FORGED: &[(&str, &str)] = &[
    ("X-Forwarded-Client-Cert", "URI=spiffe://forged"),
    ("Client-Cert", ":Zm9yZ2Vk:"),
    ("Client-Cert-Chain", ":Zm9yZ2Vk:"),
];

#[test]
fn a_gateway_tells_of_its_client_where_the_route_lets_it() {
    run(Sharing::Shared, async |test| {
        let mut key = scene::key(&test.namespace);
        key["spec"]["forwardedCertificate"] = json!("Append");
        let trust = lock::echo_trust(&test.namespace, NAME);
        Scene::guarded_by(test, &test.namespace, &trust, &key).await;
        let client = forge::self_signed(&Leaf::client("spiffe://clients/acme"));
        let gateway = gateway_for(test, &client).await;
        let own = scene::identity(&test.cluster, &test.namespace, install::EDGE.0, NAME).await;

        let (forwarded, certificate) = told(test, with_tls(&gateway, Some(client.clone()))).await;
        let percent_encoded = client.certificate.trim().replace(' ', "%20");
        let first_line = percent_encoded.lines().next().expect("PEM");
        let elements: Vec<&str> = forwarded.split(',').collect();
        assert_eq!(elements.len(), 2, "{forwarded}");
        assert!(elements[0].starts_with(&format!("Cert=\"{first_line}%0A")), "{forwarded}");
        assert!(elements[1].contains(&own), "the gateway's own comes last: {forwarded}");
        let (_, der) = x509_parser::pem::parse_x509_pem(client.certificate.as_bytes()).expect("PEM");
        assert_eq!(certificate, Some(format!(":{}:", STANDARD.encode(der.contents))));

        // Without a certificate there is only the gateway's to tell of, and one that it doesn't know it refuses itself.
        let (forwarded, certificate) = told(test, with_tls(&gateway, None)).await;
        assert!(forwarded.contains(&own) && !forwarded.contains("Cert="), "{forwarded}");
        assert_eq!(certificate, None);
        let unknown = forge::self_signed(&Leaf::client("spiffe://clients/unknown"));
        let made = gateway.call(test, with_tls(&gateway, Some(unknown))).await;
        assert!(matches!(made.outcome, Outcome::Http { status: 400, .. }), "{:?}", made.outcome);
    });
}

fn with_tls(gateway: &Gateway, identity: Option<Identity>) -> Attempt {
    let tls = Tls { identity, alpn: vec!["http/1.1".to_owned()], ..Tls::default() };
    Attempt { port: HTTPS, tls: Some(tls), ..gateway.request("GET", "/", FORGED) }
}

/// `X-Forwarded-Client-Cert` and `Client-Cert`, as the application sees them.
async fn told(test: &Test, attempt: Attempt) -> (String, Option<String>) {
    let made = attack::try_all(&test.cluster, &[attack::Attack::new("", attempt)]).await.remove(0).made;
    let seen = gateway::seen(&made);
    assert!(!format!("{seen:?}").contains("forged"), "{seen:?}");
    assert!(!format!("{seen:?}").contains("Zm9yZ2Vk"), "{seen:?}");
    let named = |wanted: &str| {
        let mut values = seen
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.clone());
        let only = values.next();
        assert_eq!(values.next(), None, "{wanted} once: {seen:?}");
        only
    };
    (named("x-forwarded-client-cert").expect("the gateway's own"), named("client-cert"))
}

/// A gateway that asks its clients for a certificate.
async fn gateway_for(test: &Test, client: &Identity) -> Gateway {
    let name = random_name("gateway");
    let forward = Forward::all(&test.namespace, NAME);
    let mount = format!(
        "/etc/postern/{}",
        gateway::output_name(install::EDGE.0, &(test.namespace.clone(), NAME.to_owned()))
    );
    let extra = format!(
        "    listen {HTTPS} ssl; listen [::]:{HTTPS} ssl;
    ssl_certificate {mount}/tls.crt;
    ssl_certificate_key {mount}/tls.key;
    ssl_verify_client optional;
    ssl_client_certificate {CLIENT_CA};"
    );
    let [mut configuration, mut pod] = gateway::objects(install::EDGE, &name, &[forward], &extra);
    configuration["data"]["ca.crt"] = json!(client.certificate);
    let mounts = pod["spec"]["containers"][0]["volumeMounts"].as_array_mut().expect("mounts");
    mounts.push(json!({"name": "configuration", "mountPath": CLIENT_CA, "subPath": "ca.crt"}));
    gateway::start_of(test, &[configuration, pod]).await
}
