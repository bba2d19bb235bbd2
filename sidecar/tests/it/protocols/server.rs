//! Applications that speak what a test says: HTTP/1.1, HTTP/2 with prior knowledge, or either over TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What an application speaks.
#[derive(Clone)]
pub enum Speech {
    Http1,
    H2c,
    /// With what it offers by ALPN.
    Https(&'static [&'static [u8]]),
}

/// A running application.
pub struct Server {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub async fn start<B, F>(
        speech: Speech,
        answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        F: Future<Output = Response<B>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let tls = match &speech {
            Speech::Https(alpn) => Some(acceptor(alpn)),
            Speech::Http1 | Speech::H2c => None,
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, SeqCst);
                let (tls, answer) = (tls.clone(), answer.clone());
                let is_h2c = matches!(speech, Speech::H2c);
                tokio::spawn(async move {
                    let Some(tls) = tls else { return serve(stream, is_h2c, answer).await };
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    serve(stream, is_http2, answer).await;
                });
            }
        });
        Self { address, connections }
    }

    /// Connections that it accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

async fn serve<S, B, F>(
    stream: S,
    is_http2: bool,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    F: Future<Output = Response<B>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let io = TokioIo::new(stream);
    // A connection that breaks is what some tests are about.
    if is_http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.enable_connect_protocol().max_concurrent_streams(50);
        let _ = builder.serve_connection(io, service).await;
    } else {
        let _ = http1::Builder::new().serve_connection(io, service).with_upgrades().await;
    }
}

/// With a certificate that nobody has reason to trust.
fn acceptor(alpn: &[&[u8]]) -> TlsAcceptor {
    crate::support::install_provider();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}
