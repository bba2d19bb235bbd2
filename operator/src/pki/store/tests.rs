use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// Secrets as an API server keeps them: versions, conflicts, and what others do in between.
#[derive(Clone, Default)]
pub(crate) struct Cluster {
    secrets: Arc<Mutex<BTreeMap<String, Value>>>,
    /// Put in place just before the next write, as another replica would.
    intruder: Arc<Mutex<Option<Value>>>,
}

impl Cluster {
    pub(crate) fn store(&self) -> Store {
        let cluster = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let cluster = cluster.clone();
            async move { Ok::<_, std::convert::Infallible>(cluster.answer(request).await) }
        });
        Store::new(kube::Client::new(service, "postern-system"), "postern-system")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let name = path
            .strip_prefix("/api/v1/namespaces/postern-system/secrets")
            .unwrap()
            .trim_matches('/')
            .to_owned();
        let method = request.method().as_str().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        if method != "GET"
            && let Some(intruder) = self.intruder.lock().unwrap().take()
        {
            self.put(intruder);
        }
        match method.as_str() {
            "GET" => {
                self.get(&name).map_or_else(|| failure(StatusCode::NOT_FOUND), |secret| success(&secret))
            }
            "POST" => {
                let secret: Value = serde_json::from_slice(&body).unwrap();
                if self.get(secret["metadata"]["name"].as_str().unwrap()).is_some() {
                    failure(StatusCode::CONFLICT)
                } else {
                    success(&self.put(secret))
                }
            }
            "PUT" => {
                let secret: Value = serde_json::from_slice(&body).unwrap();
                let current = self.get(&name).unwrap();
                if secret["metadata"]["resourceVersion"] == current["metadata"]["resourceVersion"] {
                    success(&self.put(secret))
                } else {
                    failure(StatusCode::CONFLICT)
                }
            }
            other => panic!("{other}"),
        }
    }

    fn get(&self, name: &str) -> Option<Value> {
        self.secrets.lock().unwrap().get(name).cloned()
    }

    fn put(&self, mut secret: Value) -> Value {
        let mut secrets = self.secrets.lock().unwrap();
        let name = secret["metadata"]["name"].as_str().unwrap().to_owned();
        let version = secrets.get(&name).map_or(1, |old| version(old) + 1);
        secret["metadata"]["resourceVersion"] = json!(version.to_string());
        secrets.insert(name, secret.clone());
        secret
    }

    pub(crate) fn edit(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut secret = self.get(name).unwrap();
        edit(&mut secret);
        self.put(secret);
    }
}

fn version(secret: &Value) -> u64 {
    secret["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn success(secret: &Value) -> Response<Body> {
    Response::new(Body::from(secret.to_string().into_bytes()))
}

fn failure(status: StatusCode) -> Response<Body> {
    let reason = if status == StatusCode::NOT_FOUND { "NotFound" } else { "Conflict" };
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status.as_u16(), "reason": reason});
    Response::builder().status(status).body(Body::from(body.to_string().into_bytes())).unwrap()
}

fn now() -> Timestamp {
    "2026-11-21T20:00:00Z".parse().unwrap()
}

fn webhook() -> LeafSpec {
    LeafSpec::server(["postern-webhook.postern-system.svc".to_owned()])
}

#[tokio::test]
async fn a_second_start_finds_what_the_first_has_made() {
    let cluster = Cluster::default();
    let first = cluster.store().authority(AuthorityKind::Callers, now()).await.unwrap();
    let second = cluster.store().authority(AuthorityKind::Callers, now()).await.unwrap();
    assert_eq!(first.id(), second.id());
    let backends = cluster.store().authority(AuthorityKind::Backends, now()).await.unwrap();
    assert_ne!(backends.id(), first.id());
    let key = cluster.store().signing_key().await.unwrap().verify_key();
    assert_eq!(cluster.store().signing_key().await.unwrap().verify_key(), key);
    for (name, secret) in cluster.secrets.lock().unwrap().iter() {
        assert_eq!(secret["metadata"]["labels"]["app.kubernetes.io/managed-by"], "postern", "{name}");
        assert_eq!(version(secret), 1, "{name} was written once");
    }
}

#[tokio::test]
async fn of_two_replicas_that_create_at_once_both_have_the_same() {
    let (cluster, other) = (Cluster::default(), Cluster::default());
    let theirs = other.store().authority(AuthorityKind::Callers, now()).await.unwrap();
    *cluster.intruder.lock().unwrap() = other.get(CALLERS_SECRET);
    let ours = cluster.store().authority(AuthorityKind::Callers, now()).await.unwrap();
    assert_eq!(ours.id(), theirs.id());

    let theirs = other.store().signing_key().await.unwrap();
    *cluster.intruder.lock().unwrap() = other.get(SIGNING_SECRET);
    assert_eq!(cluster.store().signing_key().await.unwrap().verify_key(), theirs.verify_key());
}

#[tokio::test]
async fn what_is_not_ours_is_left_alone() {
    for name in [CALLERS_SECRET, SIGNING_SECRET, WEBHOOK_SECRET] {
        let cluster = Cluster::default();
        let store = cluster.store();
        let backends = store.authority(AuthorityKind::Backends, now()).await.unwrap();
        cluster.put(json!({"metadata": {"name": name}, "data": {}}));
        let refused = match name {
            CALLERS_SECRET => store.authority(AuthorityKind::Callers, now()).await.err(),
            SIGNING_SECRET => store.signing_key().await.err(),
            _ => store.webhook_certificate(&backends, &webhook(), now()).await.err(),
        };
        assert!(matches!(refused, Some(StoreError::Foreign(full)) if full.ends_with(name)), "{name}");
        assert_eq!(version(&cluster.get(name).unwrap()), 1, "{name} was not written");
    }
}

#[tokio::test]
async fn a_damaged_authority_or_signing_key_is_named_and_left_alone() {
    let cluster = Cluster::default();
    let store = cluster.store();
    store.authority(AuthorityKind::Backends, now()).await.unwrap();
    store.signing_key().await.unwrap();
    cluster.edit(BACKENDS_SECRET, |secret| secret["data"]["tls.key"] = json!(""));
    cluster.edit(SIGNING_SECRET, |secret| secret["data"] = json!({}));
    let authority = store.authority(AuthorityKind::Backends, now()).await.unwrap_err().to_string();
    assert!(authority.starts_with("Secret postern-system/postern-backend-ca cannot be used"), "{authority}");
    let signing = store.signing_key().await.err().unwrap().to_string();
    assert!(signing.starts_with("Secret postern-system/postern-signing-key cannot be used"), "{signing}");
    for name in [BACKENDS_SECRET, SIGNING_SECRET] {
        assert_eq!(version(&cluster.get(name).unwrap()), 2, "{name} was not written");
    }
}

#[tokio::test]
async fn the_webhooks_certificate_is_renewed_when_due_and_not_before() {
    let cluster = Cluster::default();
    let store = cluster.store();
    let backends = store.authority(AuthorityKind::Backends, now()).await.unwrap();
    let day = Duration::from_secs(24 * 3600);
    let first = store.webhook_certificate(&backends, &webhook(), now()).await.unwrap();
    assert_eq!(first.issued, Some(RenewalReason::Unreadable));
    let again = store.webhook_certificate(&backends, &webhook(), now() + day).await.unwrap();
    assert_eq!((again.info.clone(), again.issued), (first.info.clone(), None));
    let renewed = store.webhook_certificate(&backends, &webhook(), now() + 21 * day).await.unwrap();
    assert_eq!(renewed.issued, Some(RenewalReason::Ageing));
    let picked_up =
        cluster.store().webhook_certificate(&backends, &webhook(), now() + 21 * day).await.unwrap();
    assert_eq!((picked_up.info, picked_up.issued), (renewed.info, None), "the other replica has it too");

    cluster.edit(WEBHOOK_SECRET, |secret| secret["data"]["tls.key"] = json!("AAAA"));
    let healed = store.webhook_certificate(&backends, &webhook(), now() + 21 * day).await.unwrap();
    assert_eq!(healed.issued, Some(RenewalReason::Unreadable));
    let other = Authority::generate(AuthorityKind::Backends, now()).unwrap();
    let replaced = store.webhook_certificate(&other, &webhook(), now() + 21 * day).await.unwrap();
    assert_eq!(replaced.issued, Some(RenewalReason::OtherAuthority));
}

#[tokio::test]
async fn of_two_replicas_that_renew_at_once_both_have_the_same() {
    let cluster = Cluster::default();
    let store = cluster.store();
    let backends = store.authority(AuthorityKind::Backends, now()).await.unwrap();
    let later = now() + Duration::from_secs(25 * 24 * 3600);
    store.webhook_certificate(&backends, &webhook(), now()).await.unwrap();
    let leaf = backends.issue(&webhook(), later).unwrap();
    let theirs = serde_json::to_value(tls_secret(WEBHOOK_SECRET, &leaf.cert_pem, &leaf.key_pem)).unwrap();
    *cluster.intruder.lock().unwrap() = Some(theirs);
    let ours = store.webhook_certificate(&backends, &webhook(), later).await.unwrap();
    assert_eq!((ours.info.sha256, ours.issued), (leaf.sha256, None));
}
