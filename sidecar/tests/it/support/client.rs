//! A caller, with or without a key, as careful or as careless as a test wants it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Authority, Leaf};

pub type Body = BoxBody<Bytes, Infallible>;

/// A caller that verifies the server, and presents a certificate if it has one.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    roots: Arc<RootCertStore>,
    /// The name that TLS is asked for.
    name: ServerName<'static>,
}

/// The name in the server's certificate.
fn server_name() -> ServerName<'static> {
    ServerName::try_from("orders.shop.svc").unwrap()
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// An HTTP status, and the body.
    Answered(u16, String),
    /// A TLS alert.
    Alert(rustls::AlertDescription),
    /// The connection ended without an answer.
    Closed,
}

impl Client {
    pub fn new(address: SocketAddr, servers: &Authority, leaf: Option<&Leaf>, alpn: &[&[u8]]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(servers.pem.as_bytes()).unwrap()).unwrap();
        let roots = Arc::new(roots);
        let builder = ClientConfig::builder().with_root_certificates(Arc::clone(&roots));
        let mut config = match leaf {
            Some(leaf) => {
                // Whatever it is: a certificate that is none, or another's key, is the sidecar's to notice.
                let key = any_supported_type(&leaf.private_key()).unwrap();
                let shown = CertifiedKey::new(vec![leaf.certificate.clone()], key);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Self { address, config: Arc::new(config), roots, name: server_name() }
    }

    /// Asks for another name in the handshake, and takes the server's certificate all the same.
    pub fn asking_for(mut self, name: &str) -> Self {
        let usual = WebPkiServerVerifier::builder(Arc::clone(&self.roots)).build().unwrap();
        let mut config = (*self.config).clone();
        config.dangerous().set_certificate_verifier(Arc::new(WhateverWasAsked(usual)));
        self.config = Arc::new(config);
        self.name = ServerName::try_from(name.to_owned()).unwrap();
        self
    }

    pub fn http1(address: SocketAddr, servers: &Authority, leaf: &Leaf) -> Self {
        Self::new(address, servers, Some(leaf), &[b"http/1.1"])
    }

    pub fn http2(address: SocketAddr, servers: &Authority, leaf: &Leaf) -> Self {
        Self::new(address, servers, Some(leaf), &[b"h2"])
    }

    pub async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), stream).await
    }

    /// Sends bytes and reads to the end, or to the end of an HTTP/1.1 answer with a length.
    pub async fn attempt(&self, bytes: &[u8]) -> Attempt {
        match tokio::time::timeout(super::LIMIT, self.exchange(bytes))
            .await
            .unwrap_or_else(|_| panic!("no end: {}", String::from_utf8_lossy(bytes)))
        {
            Ok(attempt) => attempt,
            Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::AlertReceived(alert)) => Attempt::Alert(*alert),
                _ => Attempt::Closed,
            },
        }
    }

    /// `GET` of a path.
    pub async fn get(&self, path: &str) -> Attempt {
        let head = format!("GET {path} HTTP/1.1\r\nhost: api.example.com\r\nconnection: close\r\n\r\n");
        self.attempt(head.as_bytes()).await
    }

    async fn exchange(&self, bytes: &[u8]) -> io::Result<Attempt> {
        let mut stream = self.connect().await?;
        stream.write_all(bytes).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer).await {
            // Whoever got a whole answer doesn't mind how the connection ended.
            Err(error) if read_answer(&answer) == Attempt::Closed => Err(error),
            _ => Ok(read_answer(&answer)),
        }
    }

    /// A connection for many requests.
    pub async fn open_http1(&self) -> http1::SendRequest<Body> {
        let stream = TokioIo::new(self.connect().await.unwrap());
        let (sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// A connection for many requests at a time.
    pub async fn open_http2(&self) -> http2::SendRequest<Body> {
        let stream = TokioIo::new(self.connect().await.unwrap());
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

/// Verifies the server by its own name, not by the one that it was asked for.
#[derive(Debug)]
struct WhateverWasAsked(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for WhateverWasAsked {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.0.verify_server_cert(end_entity, intermediates, &server_name(), ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn read_answer(bytes: &[u8]) -> Attempt {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Attempt::Closed };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.map_or(Attempt::Closed, |status| Attempt::Answered(status, body.to_owned()))
}

/// A request without a body, in origin form for HTTP/1.1.
pub fn get(path: &str) -> Request<Body> {
    Request::get(path).header("host", "api.example.com").body(Empty::new().boxed()).unwrap()
}

/// A request without a body for HTTP/2.
pub fn get2(path: &str) -> Request<Body> {
    Request::get(format!("https://api.example.com{path}")).body(Empty::new().boxed()).unwrap()
}

/// Status and whole body.
pub async fn read(response: Response<Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// Sends plaintext to an address; what comes back until the end.
pub async fn plaintext(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may be closed before all is written.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}
