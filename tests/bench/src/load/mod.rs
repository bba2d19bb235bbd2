//! Callers: HTTP/1.1 written by hand, so that they cost little, and HTTP/2 by hyper.

mod closed;
mod ends;
mod http1;
mod http2;
mod open;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) use closed::{Measured, closed_loop, handshakes};
pub(crate) use ends::Ends;
pub(crate) use http1::Http1;
pub(crate) use http2::Http2;
pub(crate) use open::open_loop;

use crate::pki::{Offer, SERVER};

/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_secs(20);

/// Where a caller connects to, and how.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

/// One request, again and again.
#[derive(Clone)]
pub(crate) struct Asked {
    /// How many bytes are sent.
    pub(crate) up: Bytes,
    /// How many bytes come back.
    pub(crate) down: usize,
    /// Further headers: names and values.
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Asked {
    /// A GET.
    pub(crate) fn get(down: usize) -> Self {
        Self { up: Bytes::new(), down, headers: Vec::new() }
    }

    /// A POST.
    pub(crate) fn post(up: usize) -> Self {
        Self { up: Bytes::from(vec![b'y'; up]), down: 2, headers: Vec::new() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    fn method(&self) -> &'static str {
        if self.up.is_empty() { "GET" } else { "POST" }
    }
}

/// A connection on which requests follow each other.
pub(crate) enum Caller {
    /// HTTP/1.1
    Http1(Box<Http1>),
    /// A stream of HTTP/2
    Http2(Box<Http2>),
}

impl Caller {
    /// One request and its whole answer.
    pub(crate) async fn once(&mut self) -> Result<()> {
        match self {
            Self::Http1(caller) => caller.once().await,
            Self::Http2(caller) => caller.once().await,
        }
    }

    /// Gives back what a connection that waits doesn't need.
    pub(crate) fn rest(&mut self) {
        if let Self::Http1(caller) = self {
            caller.rest();
        }
    }
}

impl Way {
    async fn tcp(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.address)
            .await
            .with_context(|| format!("connecting to {}", self.address))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A connection whose handshake is done.
    pub(crate) async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(SERVER)?;
        let stream = self.tcp().await?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await;
        stream.with_context(|| format!("the handshake with {}", self.address))
    }

    /// A whole handshake, and the end of the connection: the other side has checked the certificate by then.
    pub(crate) async fn handshake(&self) -> Result<()> {
        let mut stream = self.connect().await?;
        stream.shutdown().await?;
        let mut byte = [0];
        match stream.read(&mut byte).await {
            // nginx ends a connection without a word; who refuses the certificate says so.
            Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
                return Err(error).context("the caller's certificate was not taken");
            }
            _ => {}
        }
        Ok(())
    }

    /// Callers by what is offered: connections with so many requests at a time on each, where it is HTTP/2.
    pub(crate) async fn callers(
        &self,
        offer: Offer,
        count: usize,
        streams: usize,
        asked: &Asked,
    ) -> Result<Vec<Caller>> {
        match offer {
            Offer::Http2 => self.http2(count, streams, asked).await,
            _ => self.http1(count, asked).await,
        }
    }

    /// Callers by HTTP/1.1, or of bytes that look like it.
    pub(crate) async fn http1(&self, count: usize, asked: &Asked) -> Result<Vec<Caller>> {
        let mut callers = Vec::with_capacity(count);
        for _ in 0..count {
            callers.push(Caller::Http1(Box::new(Http1::new(self.connect().await?, asked))));
        }
        Ok(callers)
    }

    async fn http2(&self, count: usize, streams: usize, asked: &Asked) -> Result<Vec<Caller>> {
        let mut callers = Vec::with_capacity(count * streams);
        for _ in 0..count {
            let caller = Http2::new(self.connect().await?, asked).await?;
            callers.extend((0..streams).map(|_| Caller::Http2(Box::new(caller.clone()))));
        }
        Ok(callers)
    }

    /// Waits until the other side answers a request, and says how it failed if it never does.
    pub(crate) async fn answers(&self, asked: &Asked) -> Result<()> {
        let begin = std::time::Instant::now();
        loop {
            let attempt = async {
                let stream = self.connect().await?;
                Http1::new(stream, asked).once().await
            };
            match tokio::time::timeout(LIMIT, attempt).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) if begin.elapsed() > LIMIT => return Err(error),
                Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(_) => bail!("no answer from {} within {LIMIT:?}", self.address),
            }
        }
    }
}
