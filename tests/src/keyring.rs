//! What a gateway holds beside its certificate, and requests that carry it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use postern_crds::ApiRoute;
use postern_echo::attempt::{Attempt, Identity, Payload};
use postern_echo::serve::Seen;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::attack::Attack;
use crate::gateway::Gateway;
use crate::scene::{self, NAME, Scene};
use crate::workload::{HTTP, Target};
use crate::{Test, gateway, install, lock, wait};

/// A guarded application with these locks before every port but the TCP one.
pub async fn scene(test: &Test, locks: &Value) -> Scene {
    let mut trust = lock::echo_trust(&test.namespace, NAME);
    with_locks(&mut trust, locks);
    Scene::guarded_by(test, &test.namespace, &trust, &scene::key(&test.namespace)).await
}

/// Puts these locks before every port but the TCP one.
pub fn with_locks(trust: &mut Value, locks: &Value) {
    trust["spec"]["locks"] = locks.clone();
    let mutual_tls = json!({"all": [{"type": "MutualTLS"}]});
    trust["spec"]["ports"] = json!([{"port": "tcp", "protocol": "TCP", "locks": mutual_tls}]);
}

/// The values of a header that the application saw.
pub fn named<'a>(seen: &'a Seen, name: &str) -> Vec<&'a str> {
    let same = |other: &str| other.eq_ignore_ascii_case(name);
    seen.headers.iter().filter(|(other, _)| same(other)).map(|(_, value)| value.as_str()).collect()
}

/// Waits until the gateway has a configuration with this text in it. Its owner's loop then reloads it.
pub async fn mounted(test: &Test, gateway: &Gateway, wanted: &str) {
    gateway.refresh(test).await;
    let route = (test.namespace.clone(), NAME.to_owned());
    let path = format!("/etc/postern/{}/location.conf", gateway::output_name(install::EDGE.0, &route));
    wait::until("the gateway's newest configuration", 90, async || {
        let command = ["cat", path.as_str()];
        let there = test.cluster.try_exec(&gateway.namespace, &gateway.pod, "nginx", &command, None).await?;
        if there.contains(wanted) { Ok(()) } else { Err("it is an older one".to_owned()) }
    })
    .await;
}

/// The Secret of gateway `edge` for the test's route, as text.
pub async fn held(test: &Test) -> BTreeMap<String, String> {
    let route = (test.namespace.clone(), NAME.to_owned());
    let name = gateway::output_name(install::EDGE.0, &route);
    let data = test.cluster.secret(install::EDGE.1, &name).await.expect("the gateway's Secret");
    data.into_iter().map(|(key, bytes)| (key, String::from_utf8(bytes).expect("text"))).collect()
}

/// The same, once `key` in it is another one.
pub async fn replaced(test: &Test, key: &str, old: &str) -> BTreeMap<String, String> {
    wait::until(&format!("another {key} in the gateway's Secret"), lock::LIMIT, async || {
        let held = held(test).await;
        match held.get(key) {
            Some(value) if value != old => Ok(held),
            _ => Err("it is the old one".to_owned()),
        }
    })
    .await
}

/// Basic credentials (RFC 7617).
pub fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// A request straight to the pod, over TLS with or without a certificate, with these headers.
pub fn https(target: &Target, identity: Option<Identity>, headers: &[(&str, &str)]) -> Attempt {
    with(Attack::https("", target.address(), HTTP, identity).attempt, headers)
}

/// A request straight to the pod, without TLS.
pub fn http(target: &Target, headers: &[(&str, &str)]) -> Attempt {
    with(Attack::http("", target.address(), HTTP).attempt, headers)
}

fn with(mut attempt: Attempt, more: &[(&str, &str)]) -> Attempt {
    if let Payload::Http { headers, .. } = &mut attempt.payload {
        headers.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    }
    attempt
}

/// Asks for a rotation of the key.
pub async fn rotate(test: &Test, more: Value) {
    rotate_by::<ApiRoute>(test, more).await;
}

/// Asks for a rotation by the lock or by its route. Times in resources have whole seconds, and what was made within this
/// one counts as newer.
pub async fn rotate_by<K>(test: &Test, more: Value)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let now = Timestamp::now();
    let mut rotation = more;
    rotation["requestedAt"] = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
    wait::until("the next second", 3, async || {
        if Timestamp::now().as_second() > now.as_second() {
            Ok(())
        } else {
            Err("it is still this one".to_owned())
        }
    })
    .await;
    let patch = json!({"spec": {"rotation": rotation}});
    test.cluster.try_patch::<K>(&test.namespace, NAME, patch).await.expect("the rotation is asked for");
}
