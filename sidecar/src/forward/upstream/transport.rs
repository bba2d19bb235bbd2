//! The bytes of a connection to the application.

use std::cell::OnceCell;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::authorize::{Code, Denial};
use crate::limits::Limits;
use crate::unverified;

thread_local! {
    /// Made once per worker, at the first connection to an application that speaks TLS.
    static CONFIG: OnceCell<ClientConfig> = const { OnceCell::new() };
}

/// Plain, or TLS that ends at the application.
pub(in crate::forward) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// TLS to an application that speaks it. Its certificate is not verified: it is reached inside its own pod,
    /// as the kubelet's probes reach it, and mostly it holds a certificate of its own making.
    pub(super) async fn tls(
        stream: TcpStream,
        address: SocketAddr,
        alpn: &[&[u8]],
        limits: &Limits,
    ) -> Result<Self, Denial> {
        let failed = |reason: String| Denial::new(Code::ApplicationFailed, reason);
        let mut config =
            config().map_err(|error| failed(format!("TLS to the application cannot be set up ({error})")))?;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // An address stands in no server name indication (RFC 6066 section 3), so the application shows its
        // default certificate.
        let name = ServerName::from(address.ip());
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
        match timeout(limits.connect, handshake).await {
            Ok(Ok(stream)) => Ok(Self::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(failed(format!(
                "no TLS handshake with the application's port {} ({error})",
                address.port()
            ))),
            Err(_) => Err(Denial::new(
                Code::ApplicationTimeout,
                format!("the application's port {} completed no TLS handshake in time", address.port()),
            )),
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether the application chose HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2"))
    }
}

fn config() -> Result<ClientConfig, rustls::Error> {
    CONFIG.with(|cell| {
        if let Some(config) = cell.get() {
            return Ok(config.clone());
        }
        let mut config = unverified::config()?;
        // What one caller left behind in a session must not reach another.
        config.resumption = Resumption::disabled();
        Ok(cell.get_or_init(|| config).clone())
    })
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
