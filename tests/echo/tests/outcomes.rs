//! Each way in which a try can end is told apart from the others.

use std::sync::Arc;

use postern_echo::attempt::{Attempt, Identity, Outcome, Payload, Tls};
use postern_echo::call;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

fn attempt(port: u16, tls: Option<Tls>, payload: Payload) -> Attempt {
    Attempt { address: "127.0.0.1".into(), port, tls, payload, timeout_ms: 1000 }
}

fn request(h2: bool, length: usize) -> Payload {
    let text = |text: &str| text.to_owned();
    Payload::Http {
        h2,
        method: text("GET"),
        path: text("/"),
        host: text("h"),
        headers: vec![],
        body: "x".repeat(length),
    }
}

fn bytes() -> Payload {
    Payload::Bytes { text: "hello\n".into() }
}

async fn made(attempt: Attempt) -> Outcome {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Box::pin(LocalSet::new().run_until(call::make(&attempt))).await.outcome
}

#[tokio::test]
async fn without_tls() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    assert_eq!(made(attempt(port, None, bytes())).await, Outcome::Refused);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = made(attempt(port, None, bytes())).await;
    assert_eq!(silent, Outcome::Timeout { during: "an answer".into() });
    // The connection above is still in the listener's queue.
    drop(listener.accept().await.unwrap());
    for answer in ["", "HTTP/1.1 204 No Content\r\n\r\n"] {
        for payload in [bytes(), request(false, 0)] {
            let http = matches!(payload, Payload::Http { .. });
            let (outcome, ()) = tokio::join!(made(attempt(port, None, payload)), async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                // It is read before closing, or the close would be a reset.
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            });
            match (answer, http) {
                ("", false) => assert_eq!(outcome, Outcome::ClosedWithoutData),
                ("", true) => {
                    assert!(matches!(outcome, Outcome::ClosedWithoutData | Outcome::Reset), "{outcome:?}");
                }
                (_, false) => assert_eq!(outcome.status(), Some(204)),
                (_, true) => assert!(outcome.got_in(), "{outcome:?}"),
            }
        }
    }
}

#[tokio::test]
async fn an_alert_for_the_client_certificate_is_seen_through_every_protocol() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ours = rcgen::generate_simple_self_signed(["ours".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["ours".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(ours.cert.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder(roots.into()).build().unwrap();
    let key = PrivateKeyDer::from_pem_slice(ours.signing_key.serialize_pem().as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13]);
    let builder = builder.with_client_cert_verifier(verifier);
    let mut config = builder.with_single_cert(vec![ours.cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            assert!(acceptor.accept(stream).await.is_err(), "no client of this test has a good certificate");
        }
    });
    // It bears our name, so the server looks no further than the signature.
    let forged = Identity { certificate: other.cert.pem(), key: other.signing_key.serialize_pem() };
    for payload in [bytes(), request(false, 65536), request(true, 65536)] {
        for (identity, alert) in [(None, "CertificateRequired"), (Some(forged.clone()), "DecryptError")] {
            let tls = Tls { identity, ..Tls::default() };
            let outcome = made(attempt(port, Some(tls), payload.clone())).await;
            assert_eq!(outcome, Outcome::TlsAlert { name: alert.into() }, "{payload:?}");
        }
    }
    let trusting_nobody =
        Tls { roots: Some(other.cert.pem()), server_name: Some("ours".into()), ..Tls::default() };
    let outcome = made(attempt(port, Some(trusting_nobody), bytes())).await;
    assert!(matches!(outcome, Outcome::TlsError { .. }), "{outcome:?}");
}
