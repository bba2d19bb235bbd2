//! The applications that the tests probe, on loopback.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// Requests as they arrived: path with query, and headers.
type Seen = Arc<Mutex<Vec<(String, HeaderMap)>>>;

/// A server that ends with this.
pub(super) struct Application {
    /// Where it listens.
    pub(super) address: SocketAddr,
    seen: Seen,
    _task: AbortOnDropHandle<()>,
}

impl Application {
    async fn serving<F>(serve: impl Fn(TcpStream, Seen) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let log = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&log)));
            }
        });
        Self { address, seen, _task: AbortOnDropHandle::new(task) }
    }

    /// HTTP/1.1; see [`answer`] for its paths.
    pub(super) async fn http() -> Self {
        Self::serving(http1).await
    }

    /// The same under TLS, with a certificate that nobody trusts.
    pub(super) async fn https() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["app.example".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::serving(move |stream, seen| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    http1(stream, seen).await;
                }
            }
        })
        .await
    }

    /// Reads once, writes `bytes` and closes.
    pub(super) async fn raw(bytes: &'static [u8]) -> Self {
        Self::serving(move |mut stream, _| async move {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(bytes).await;
        })
        .await
    }

    /// HTTP/2 without TLS; answers everything with `answer`.
    pub(super) async fn http2(answer: fn() -> Response<BoxBody<Bytes, Infallible>>) -> Self {
        Self::serving(move |stream, seen| async move {
            let service = service_fn(move |request: Request<_>| {
                let seen = Arc::clone(&seen);
                async move {
                    note(&seen, &request);
                    Ok::<_, Infallible>(answer())
                }
            });
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        })
        .await
    }

    /// The paths that were asked for.
    pub(super) fn paths(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }

    /// The headers of request `index`.
    pub(super) fn headers(&self, index: usize) -> HeaderMap {
        self.seen.lock().unwrap()[index].1.clone()
    }
}

async fn http1(stream: impl AsyncRead + AsyncWrite + Unpin, seen: Seen) {
    let service = service_fn(|request: Request<_>| {
        note(&seen, &request);
        let uri = request.uri().clone();
        async move { Ok::<_, Infallible>(answer(uri.path(), uri.query().unwrap_or_default()).await) }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn note<B>(seen: &Seen, request: &Request<B>) {
    let path = request.uri().path_and_query().unwrap().to_string();
    seen.lock().unwrap().push((path, request.headers().clone()));
}

/// `/status/<code>` answers with it, `/to/<code>?<location>` with a redirect, `/slow` never, `/big` with a
/// mebibyte.
async fn answer(path: &str, query: &str) -> Response<Full<Bytes>> {
    let status = |code: &str| Response::builder().status(code).body(Full::from("body")).unwrap();
    if let Some(code) = path.strip_prefix("/status/") {
        return status(code);
    }
    if let Some(code) = path.strip_prefix("/to/") {
        let mut response = status(code);
        response.headers_mut().insert("location", HeaderValue::from_str(query).unwrap());
        return response;
    }
    match path {
        "/slow" => pending().await,
        "/big" => Response::new(Full::from(vec![b'x'; 1 << 20])),
        _ => status("404"),
    }
}

/// A gRPC answer: one message, then the status as a trailer.
pub(super) fn grpc(message: &'static [u8], status: &'static str) -> Response<BoxBody<Bytes, Infallible>> {
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.parse().unwrap())]);
    let body = Full::from(message).with_trailers(async move { Some(Ok(trailers)) }).boxed();
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}
