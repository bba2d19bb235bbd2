//! A caller by HTTP/2.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::Asked;
use crate::pki::SERVER;

/// A handle of one connection; clones share it.
#[derive(Clone)]
pub(crate) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    request: hyper::http::request::Parts,
    body: Bytes,
    down: usize,
}

impl Http2 {
    pub(crate) async fn new(stream: TlsStream<TcpStream>, asked: &Asked) -> Result<Self> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(2 << 20)
            .initial_connection_window_size(16 << 20)
            .handshake(TokioIo::new(stream))
            .await
            .context("the beginning of HTTP/2")?;
        tokio::spawn(connection);
        let mut request = hyper::Request::builder()
            .method(asked.method())
            .uri(format!("https://{SERVER}/{}", asked.down))
            .header("user-agent", "bench");
        for (name, value) in &asked.headers {
            request = request.header(*name, value);
        }
        let (request, ()) = request.body(())?.into_parts();
        Ok(Self { sender, request, body: asked.up.clone(), down: asked.down })
    }

    /// One request and its whole answer.
    pub(crate) async fn once(&mut self) -> Result<()> {
        let request = hyper::Request::from_parts(self.request.clone(), Full::new(self.body.clone()));
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let mut body = answer.into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame?.data_ref().map_or(0, Bytes::len);
        }
        if status != 200 || length != self.down {
            bail!("not the application's answer: {status} with {length} bytes");
        }
        Ok(())
    }
}
