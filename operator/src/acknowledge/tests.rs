use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::pki::{Authority, AuthorityKind, LeafSpec};

const LOADED: &str = r#"{"configHash":"sha256:1","sequence":7,"version":"0.1.0"}"#;

fn key() -> LockKey {
    LockKey { namespace: "shop".to_owned(), name: "orders".to_owned() }
}

fn authority(kind: AuthorityKind) -> Authority {
    // Installed by whichever test is first.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    Authority::generate(kind, Timestamp::now()).unwrap()
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.cert_pem().as_bytes()).unwrap()).unwrap();
    roots
}

/// A sidecar's admin port that knows `callers`, is known as `name` to `backends`, and answers with `response`.
async fn sidecar(backends: &Authority, callers: &Authority, name: &str, response: String) -> u16 {
    let leaf = backends.issue(&LeafSpec::server([name.to_owned()]), Timestamp::now()).unwrap();
    let shown = Arc::new(CurrentKey::default());
    shown.set(&leaf.cert_pem, &leaf.key_pem).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots(callers))).build().unwrap();
    let tls = ServerConfig::builder().with_client_cert_verifier(verifier).with_cert_resolver(shown);
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut tls) = acceptor.accept(tcp).await else { continue };
            let mut request = [0; 1024];
            let length = tls.read(&mut request).await.unwrap_or(0);
            assert!(request[..length].starts_with(b"GET /v1/loaded HTTP/1.1\r\n"));
            tls.write_all(response.as_bytes()).await.unwrap();
            tls.shutdown().await.unwrap();
        }
    });
    port
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn asker(backends: &Authority, callers: &Authority, port: u16) -> Asker {
    let leaf = callers.issue(&LeafSpec::client("spiffe://example.org/operator"), Timestamp::now()).unwrap();
    let identity = Arc::new(CurrentKey::default());
    identity.set(&leaf.cert_pem, &leaf.key_pem).unwrap();
    Asker { port, ..Asker::new(backends.cert_pem(), identity).unwrap() }
}

async fn asked(name: &str, response: String) -> Result<Loaded, AskError> {
    let (backends, callers) = (authority(AuthorityKind::Backends), authority(AuthorityKind::Callers));
    let port = sidecar(&backends, &callers, name, response).await;
    asker(&backends, &callers, port).ask(&key(), [127, 0, 0, 1].into()).await
}

#[tokio::test]
async fn the_sidecar_of_the_lock_is_believed() {
    let loaded = asked("orders.shop.lock.postern.internal", answer("200 OK", LOADED)).await.unwrap();
    assert_eq!(loaded.config_hash.as_deref(), Some("sha256:1"));
}

#[tokio::test]
async fn the_sidecar_of_another_lock_is_not() {
    let told = asked("carts.shop.lock.postern.internal", answer("200 OK", LOADED)).await;
    assert!(matches!(told, Err(AskError::Handshake(_))), "{told:?}");
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_believed() {
    let (backends, callers) = (authority(AuthorityKind::Backends), authority(AuthorityKind::Callers));
    let name = "orders.shop.lock.postern.internal";
    let port = sidecar(&callers, &callers, name, answer("200 OK", LOADED)).await;
    let told = asker(&backends, &callers, port).ask(&key(), [127, 0, 0, 1].into()).await;
    assert!(matches!(told, Err(AskError::Handshake(_))), "{told:?}");
}

#[tokio::test]
async fn anything_but_an_answer_is_said_in_words() {
    let name = "orders.shop.lock.postern.internal";
    let told = asked(name, answer("403 Forbidden", "")).await;
    assert!(matches!(told, Err(AskError::Status(http::StatusCode::FORBIDDEN))), "{told:?}");
    let told = asked(name, answer("200 OK", "perhaps")).await;
    assert!(matches!(told, Err(AskError::Answer(_))), "{told:?}");
    let told = asked(name, answer("200 OK", &" ".repeat(MAX_ANSWER + 1))).await;
    assert!(matches!(told, Err(AskError::Answer(_))), "{told:?}");
    let told = asked(name, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned()).await;
    assert!(matches!(told, Err(AskError::Answer(_) | AskError::Http(_))), "{told:?}");
}

#[tokio::test]
async fn nobody_there_is_said_in_words() {
    let (backends, callers) = (authority(AuthorityKind::Backends), authority(AuthorityKind::Callers));
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let told = asker(&backends, &callers, free).ask(&key(), [127, 0, 0, 1].into()).await;
    assert!(matches!(told, Err(AskError::Connect(_))), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_after_a_while() {
    let (backends, callers) = (authority(AuthorityKind::Backends), authority(AuthorityKind::Callers));
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let told = asker(&backends, &callers, port).ask(&key(), [127, 0, 0, 1].into()).await;
    assert!(matches!(told, Err(AskError::Timeout)), "{told:?}");
}

fn pod(restarts: i32, started: bool) -> LeanPod {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "shop", "uid": "u"},
        "status": {"phase": "Running", "podIPs": [{"ip": "127.0.0.1"}], "initContainerStatuses": [
            {"name": "postern-sidecar", "restartCount": restarts, "started": started,
             "image": "", "imageID": "", "ready": true}]},
    }))
    .unwrap();
    LeanPod::new(&pod, Injection::plain("orders", true))
}

#[tokio::test]
async fn a_pod_is_asked_until_it_has_what_is_wanted_and_again_after_a_restart() {
    let (backends, callers) = (authority(AuthorityKind::Backends), authority(AuthorityKind::Callers));
    let name = "orders.shop.lock.postern.internal";
    let port = sidecar(&backends, &callers, name, answer("200 OK", LOADED)).await;
    let (answers, asker, it) = (Answers::default(), asker(&backends, &callers, port), pod(0, true));
    assert!(answers.must_ask(&it, &key(), "sha256:1", FRESH));
    answers.ask(&asker, &key(), vec![&it]).await;
    assert!(!answers.must_ask(&it, &key(), "sha256:1", FRESH));
    assert!(answers.must_ask(&it, &key(), "sha256:2", FRESH));
    assert!(answers.must_ask(&pod(1, true), &key(), "sha256:1", FRESH));
    assert_eq!(answers.loaded(&pod(1, true)), None);
    assert!(!answers.must_ask(&pod(0, false), &key(), "sha256:2", FRESH), "it has not started");
    answers.retain(&key(), &[]);
    assert_eq!(answers.loaded(&it), None);
}

#[tokio::test]
async fn a_pod_that_goes_is_asked_once_more_where_it_counts_whom_it_let_through() {
    const AUDITED: Duration = Duration::from_secs(30);
    let (backends, callers) = (authority(AuthorityKind::Backends), authority(AuthorityKind::Callers));
    let name = "orders.shop.lock.postern.internal";
    let port = sidecar(&backends, &callers, name, answer("200 OK", LOADED)).await;
    let (answers, asker, it) = (Answers::default(), asker(&backends, &callers, port), pod(0, true));
    let going = {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "shop", "uid": "u", "deletionTimestamp": "2026-11-21T20:00:00Z"},
            "status": {"phase": "Running", "podIPs": [{"ip": "127.0.0.1"}], "initContainerStatuses": [
                {"name": "postern-sidecar", "restartCount": 0, "started": true, "image": "", "imageID": "", "ready": true}]},
        }))
        .unwrap();
        LeanPod::new(&pod, Injection::plain("orders", true))
    };
    answers.ask(&asker, &key(), vec![&it]).await;
    assert!(answers.must_ask(&going, &key(), "sha256:1", AUDITED), "it may have let others through since");
    assert!(!answers.must_ask(&going, &key(), "sha256:2", FRESH), "what it has loaded is of no interest");
    answers.ask(&asker, &key(), vec![&going]).await;
    assert!(!answers.must_ask(&going, &key(), "sha256:2", AUDITED));
    assert!(answers.loaded(&going).is_some());
}

/// A pod without a redirect whose application listens where the test does.
fn listening_pod(ports: &[u16], ready: bool) -> LeanPod {
    let ports: Vec<_> = ports.iter().map(|port| json!({"containerPort": port})).collect();
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "shop", "uid": "u"},
        "spec": {"containers": [{"name": "app", "ports": ports}]},
        "status": {"phase": "Running", "podIPs": [{"ip": "127.0.0.1"}],
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
            "initContainerStatuses": [{"name": "postern-sidecar", "restartCount": 0, "started": true,
                                       "image": "", "imageID": "", "ready": true}]},
    }))
    .unwrap();
    let trust = "orders".to_owned();
    let shape = crate::injection::shape::Shape::listener();
    LeanPod::new(&pod, Injection::For { trust, current_image: true, shape, privileges: None })
}

/// A port that neither accepts nor refuses, as behind a policy that drops packets: its queue is full.
struct Silent {
    port: u16,
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Silent {
    async fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        let limit = Duration::from_millis(300);
        while let Ok(Ok(stream)) = tokio::time::timeout(limit, TcpStream::connect(address)).await {
            queued.push(stream);
        }
        Self { port: address.port(), _listener: listener, _queued: queued }
    }
}

#[tokio::test]
async fn the_ports_of_an_application_without_a_redirect_are_dialled_once_it_is_ready() {
    let (backends, callers) = (authority(AuthorityKind::Backends), authority(AuthorityKind::Callers));
    let name = "orders.shop.lock.postern.internal";
    let port = sidecar(&backends, &callers, name, answer("200 OK", LOADED)).await;
    let asker = asker(&backends, &callers, port);
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = application.local_addr().unwrap().port();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let silent = Silent::new().await;
    for (case, pod, exposed, again) in [
        ("not ready", listening_pod(&[open], false), None, true),
        ("it answers", listening_pod(&[closed, open], true), Some(vec![open]), true),
        ("it refuses", listening_pod(&[closed], true), Some(vec![]), false),
        ("behind a redirect", pod(0, true), None, false),
        ("it lets nothing through", listening_pod(&[silent.port], true), Some(vec![]), false),
        ("beside one that answers", listening_pod(&[silent.port, open], true), Some(vec![open]), true),
    ] {
        let answers = Answers::default();
        answers.ask(&asker, &key(), vec![&pod]).await;
        assert_eq!(answers.exposed(&pod), exposed, "{case}");
        assert_eq!(answers.must_ask(&pod, &key(), "sha256:1", FRESH), again, "{case}");
    }
    // Nothing is concluded from the silence of a pod whose sidecar can't be asked either.
    let unreached = self::asker(&backends, &callers, closed);
    for ports in [[closed], [silent.port], [open]] {
        let (answers, pod) = (Answers::default(), listening_pod(&ports, true));
        answers.ask(&unreached, &key(), vec![&pod]).await;
        assert_eq!(answers.exposed(&pod), None);
        assert!(answers.must_ask(&pod, &key(), "sha256:1", FRESH));
    }
}
