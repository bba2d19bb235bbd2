use super::*;
use crate::pki::AuthorityKind;
use crate::pki::store::WEBHOOK_SECRET;
use crate::pki::store::tests::Cluster;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn start() -> Timestamp {
    "2026-11-21T20:00:00Z".parse().unwrap()
}

async fn own(cluster: &Cluster) -> OwnCertificates {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let store = cluster.store();
    let backends = Arc::new(store.authority(AuthorityKind::Backends, start()).await.unwrap());
    let callers = Arc::new(store.authority(AuthorityKind::Callers, start()).await.unwrap());
    OwnCertificates::new(
        store,
        (backends, callers),
        "postern-webhook",
        "postern-system",
        "cluster.local",
        "cluster",
    )
}

#[tokio::test]
async fn both_certificates_have_the_names_that_their_peers_look_for() {
    let cluster = Cluster::default();
    let mut own = own(&cluster).await;
    assert!(!own.serving().is_set() && !own.calling().is_set());
    own.refresh(start()).await.unwrap();
    assert!(own.serving().is_set() && own.calling().is_set());
    let expected = ["URI:spiffe://cluster/ns/postern-system/sa/postern-operator"];
    assert_eq!(own.called.as_ref().unwrap().names, expected);
    let served = own.store.webhook_certificate(&own.backends, &own.webhook, start()).await.unwrap();
    let expected =
        ["DNS:postern-webhook.postern-system.svc", "DNS:postern-webhook.postern-system.svc.cluster.local"];
    assert_eq!(served.info.names, expected);
}

#[tokio::test]
async fn both_are_renewed_when_due_and_the_other_replica_follows() {
    let cluster = Cluster::default();
    let (mut one, mut two) = (own(&cluster).await, own(&cluster).await);
    one.refresh(start()).await.unwrap();
    two.refresh(start()).await.unwrap();
    assert_eq!(one.served, two.served, "replicas present one certificate to the API server");
    assert_ne!(one.called, two.called, "and call sidecars with one each");

    let (served, called) = (one.served.clone(), one.called.clone());
    one.refresh(start() + DAY).await.unwrap();
    assert_eq!((&one.served, &one.called), (&served, &called), "not due");
    one.refresh(start() + 21 * DAY).await.unwrap();
    assert_ne!(one.served, served);
    assert_ne!(one.called, called);
    two.refresh(start() + 21 * DAY).await.unwrap();
    assert_eq!(one.served, two.served);
}

#[tokio::test]
async fn a_failure_leaves_what_was_presented() {
    let cluster = Cluster::default();
    let mut own = own(&cluster).await;
    own.refresh(start()).await.unwrap();
    let served = own.served.clone();
    cluster.edit(WEBHOOK_SECRET, |secret| secret["metadata"]["labels"] = serde_json::json!({}));
    own.refresh(start() + 21 * DAY).await.unwrap_err();
    assert_eq!(own.served, served);
    assert!(own.serving().is_set() && own.calling().is_set());
}
