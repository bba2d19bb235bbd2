use std::sync::Mutex;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};

use super::*;
use crate::pki::{Authority, AuthorityKind, LeafSpec};
use crate::webhook::review::tests::{request, reviewer};

const NAME: &str = "postern-webhook.postern-system.svc";

struct Running {
    address: SocketAddr,
    authority: Authority,
    key: Arc<CurrentKey>,
    seen: Arc<Mutex<Vec<Verdict>>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn start() -> Running {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let authority = Authority::generate(AuthorityKind::Backends, jiff::Timestamp::now()).unwrap();
    let key = Arc::new(CurrentKey::default());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let observer: Observer = Arc::new(move |verdict| told.lock().unwrap().push(verdict));
    let address = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(address, Arc::clone(&key), reviewer(), observer).await.unwrap();
    let address = server.local_addr().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(server.run(stop.clone()));
    Running { address, authority, key, seen, stop, task }
}

impl Running {
    /// Presents a new certificate; its hash.
    fn present(&self) -> String {
        let spec = LeafSpec::server([NAME.to_owned()]);
        let leaf = self.authority.issue(&spec, jiff::Timestamp::now()).unwrap();
        self.key.set(&leaf.cert_pem, &leaf.key_pem).unwrap();
        leaf.sha256
    }

    /// One TLS connection: the hash of the server's certificate, and the connection.
    async fn connect(&self) -> std::io::Result<(String, tokio_rustls::client::TlsStream<TcpStream>)> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.cert_pem().as_bytes()).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = TcpStream::connect(self.address).await?;
        let stream = connector.connect(ServerName::try_from(NAME).unwrap(), stream).await?;
        let der = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        let hash = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der));
        Ok((hash, stream))
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let (_, stream) = self.connect().await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::post(path)
            .header("host", NAME)
            .header("content-type", "application/json")
            .body(Full::<bytes::Bytes>::from(body.to_string()))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}

#[tokio::test]
async fn a_review_is_answered_with_its_patch() {
    let running = start().await;
    running.present();
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                        "request": request("orders", "someone", false, "CREATE")});
    let (status, answer) = running.post(PATH, review).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    let response = &answer["response"];
    assert_eq!((&response["uid"], &response["allowed"]), (&json!("u1"), &json!(true)));
    assert_eq!(response["patchType"], "JSONPatch");
    // Go reads bytes from an array of numbers as from base64.
    let patch: Vec<u8> = serde_json::from_value(response["patch"].clone()).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut pod = request("orders", "someone", false, "CREATE")["object"].clone();
    json_patch::patch(&mut pod, &patch).unwrap();
    assert_eq!(pod["spec"]["initContainers"][1]["name"], "postern-sidecar");
    assert_eq!(*running.seen.lock().unwrap(), [Verdict::Injected]);
}

#[tokio::test]
async fn what_is_no_review_is_refused() {
    let running = start().await;
    running.present();
    let (status, _) =
        running.post(PATH, json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = running.post(PATH, json!([1])).await;
    assert!(status.is_client_error(), "{status}");
    let (status, _) = running.post("/elsewhere", json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(running.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_new_certificate_is_presented_without_a_restart() {
    let running = start().await;
    running.connect().await.expect_err("there is no certificate yet");
    let first = running.present();
    let (seen, _open) = running.connect().await.unwrap();
    assert_eq!(seen, first);
    let second = running.present();
    assert_ne!(first, second);
    assert_eq!(running.connect().await.unwrap().0, second);
}

#[tokio::test]
async fn stopping_ends_idle_connections() {
    let running = start().await;
    running.present();
    let (_, _idle) = running.connect().await.unwrap();
    running.stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), running.task).await.unwrap().unwrap();
}
