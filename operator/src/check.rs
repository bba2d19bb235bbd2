//! What the chart's hooks ask: whether Postern may be uninstalled, and whether an installation works.

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, Config, ResourceExt};
use postern_crds::BackendTrust;
use serde_json::{Value, json};

use crate::apply::is_terminating;
use crate::armed::{is_refusal_by, unguarded_pod};
use crate::pki::store::BACKENDS_SECRET;
use crate::render::admission::object_name;
use crate::resolve::backend::some_of;
use crate::resolve::selectors::Selector;
use crate::webhook::server::PATH;

/// Why not.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Locks exist.
    #[error(
        "there are still locks, and without Postern their pods could neither be replaced nor be given keys: BackendTrust \
         {0}. Delete each (annotate it with postern.dev/unlock=true first) and restart its pods, then uninstall; or \
         leave them as they are and uninstall with --no-hooks"
    )]
    Locked(String),
    /// The cluster doesn't tell.
    #[error("{what} cannot be read: {source}")]
    Unreadable {
        /// Of what kind.
        what: &'static str,
        /// Why.
        source: Box<kube::Error>,
    },
    /// The CA's Secret is not one.
    #[error(
        "Secret {BACKENDS_SECRET} holds no certificate, so the webhook cannot be verified; see the operator's log"
    )]
    NoAuthority,
    /// The webhook is not reached.
    #[error("the webhook does not answer at {url}: {source}; see whether the operator's pods are Ready")]
    Webhook {
        /// Where it was asked.
        url: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// It answers otherwise than it should.
    #[error("the webhook did not let a pod pass that no lock selects: {0}")]
    Answer(Value),
    /// The policy is not in force.
    #[error("an unguarded pod would start behind {0}: see the condition Armed of that BackendTrust")]
    Open(String),
}

async fn locks(client: &Client) -> Result<Vec<BackendTrust>, CheckError> {
    let locks = Api::<BackendTrust>::all(client.clone()).list(&ListParams::default()).await;
    let unreadable = |source| CheckError::Unreadable { what: "the BackendTrusts", source: Box::new(source) };
    Ok(locks.map_err(unreadable)?.items)
}

fn title(lock: &BackendTrust) -> String {
    format!("{}/{}", lock.namespace().unwrap_or_default(), lock.name_any())
}

/// Whether nothing is locked any more.
///
/// # Errors
/// [`CheckError::Locked`] with the locks' names; or they can't be read.
pub async fn uninstall(client: &Client) -> Result<(), CheckError> {
    let titles: Vec<_> = locks(client).await?.iter().map(title).collect();
    if titles.is_empty() { Ok(()) } else { Err(CheckError::Locked(some_of(&titles))) }
}

/// Whether the webhook of the operator in `namespace` answers by its Service, with a certificate that the API server
/// believes, and whether the API server refuses an unguarded pod for every lock that says so.
///
/// # Errors
/// What doesn't work.
pub async fn install(client: &Client, namespace: &str) -> Result<(), CheckError> {
    let unreadable =
        |source| CheckError::Unreadable { what: "the Secret postern-backend-ca", source: Box::new(source) };
    let secret = Api::<Secret>::namespaced(client.clone(), namespace).get(BACKENDS_SECRET).await;
    let authority = secret.map_err(unreadable)?.data.and_then(|mut data| data.remove("tls.crt"));
    let authority = authority.ok_or(CheckError::NoAuthority)?.0;
    let roots = rustls_pem(&authority);
    if roots.is_empty() {
        return Err(CheckError::NoAuthority);
    }
    webhook(namespace, roots).await?;
    let locks = locks(client).await?;
    for lock in locks.iter().filter(|lock| is_armed(lock)) {
        refuses(client, lock, &locks).await?;
    }
    Ok(())
}

fn rustls_pem(pem: &[u8]) -> Vec<Vec<u8>> {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    CertificateDer::pem_slice_iter(pem).flatten().map(|certificate| certificate.to_vec()).collect()
}

async fn webhook(namespace: &str, roots: Vec<Vec<u8>>) -> Result<(), CheckError> {
    let url = format!("https://postern-webhook.{namespace}.svc{PATH}");
    let failed = |source: kube::Error| CheckError::Webhook { url: url.clone(), source: Box::new(source) };
    let base = format!("https://postern-webhook.{namespace}.svc");
    let uri =
        base.parse().map_err(|error: http::uri::InvalidUri| failed(kube::Error::HttpError(error.into())))?;
    let mut config = Config::new(uri);
    config.root_cert = Some(roots);
    let client = Client::try_from(config).map_err(failed)?;
    // No lock can be in the operator's own namespace.
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "check", "operation": "CREATE", "dryRun": true, "namespace": namespace, "userInfo": {},
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "object": {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "check-"},
                       "spec": {"containers": []}},
        },
    });
    let request = http::Request::post(PATH)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(review.to_string().into_bytes())
        .map_err(|error| failed(kube::Error::HttpError(error)))?;
    let answer: Value = client.request(request).await.map_err(failed)?;
    if answer.pointer("/response/allowed") == Some(&Value::Bool(true)) {
        Ok(())
    } else {
        Err(CheckError::Answer(answer))
    }
}

fn is_armed(lock: &BackendTrust) -> bool {
    let conditions = lock.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|one| one.type_ == "Armed" && one.status == "True")
}

/// `locks`: all of them, since another one of the namespace may select the pod too and be the one that refuses.
async fn refuses(client: &Client, lock: &BackendTrust, locks: &[BackendTrust]) -> Result<(), CheckError> {
    let Ok(selector) = Selector::new(lock.spec.pod_selector.clone()) else { return Ok(()) };
    let Some(labels) = selector.example_labels(&[]) else { return Ok(()) };
    let namespace = lock.namespace().unwrap_or_default();
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    let neighbours = locks.iter().filter(|other| other.metadata.namespace == lock.metadata.namespace);
    let mut policies = neighbours.map(|other| object_name(&namespace, &other.name_any()));
    let params = PostParams { dry_run: true, ..PostParams::default() };
    match pods.create(&params, &unguarded_pod(&labels, "postern.dev/unguarded")).await {
        Err(kube::Error::Api(status)) if policies.any(|policy| is_refusal_by(&status, &policy)) => Ok(()),
        // In a namespace that ends nothing starts any more.
        Err(kube::Error::Api(status)) if status.code == 404 || is_terminating(&status) => Ok(()),
        _ => Err(CheckError::Open(title(lock))),
    }
}
