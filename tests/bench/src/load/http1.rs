//! A caller by HTTP/1.1 that keeps its connection.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::Asked;
use crate::http1::{content_length, head_end};
use crate::pki::SERVER;

/// One connection.
pub(crate) struct Http1 {
    stream: TlsStream<TcpStream>,
    head: Bytes,
    body: Bytes,
    down: usize,
    input: Vec<u8>,
}

impl Http1 {
    pub(crate) fn new(stream: TlsStream<TcpStream>, asked: &Asked) -> Self {
        let mut head =
            format!("{} /{} HTTP/1.1\r\nhost: {SERVER}\r\nuser-agent: bench\r\n", asked.method(), asked.down);
        for (name, value) in &asked.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !asked.up.is_empty() {
            let _ = write!(head, "content-length: {}\r\n", asked.up.len());
        }
        head.push_str("\r\n");
        Self { stream, head: head.into(), body: asked.up.clone(), down: asked.down, input: Vec::new() }
    }

    /// One request and its whole answer.
    pub(crate) async fn once(&mut self) -> Result<()> {
        self.stream.write_all(&self.head).await?;
        if !self.body.is_empty() {
            self.stream.write_all(&self.body).await?;
        }
        self.stream.flush().await?;
        self.input.clear();
        self.input.reserve(8 << 10);
        let end = loop {
            if let Some(end) = head_end(&self.input) {
                break end;
            }
            self.fill().await?;
        };
        let head = self.input.get(..end).context("a head that ends before it does")?;
        let length = content_length(head).context("an answer without a length")?;
        if !head.starts_with(b"HTTP/1.1 200") || length != self.down {
            bail!("not the application's answer: {}", String::from_utf8_lossy(&self.input));
        }
        let mut left = (end + length).saturating_sub(self.input.len());
        while left > 0 {
            self.input.clear();
            self.input.reserve(64 << 10);
            self.fill().await?;
            left = left.saturating_sub(self.input.len());
        }
        Ok(())
    }

    /// What is no longer needed on a connection that waits.
    pub(crate) fn rest(&mut self) {
        self.input = Vec::new();
    }

    /// What is left of it for a caller that sends nothing any more.
    pub(crate) fn into_socket(self) -> Result<std::net::TcpStream> {
        Ok(self.stream.into_inner().0.into_std()?)
    }

    async fn fill(&mut self) -> Result<()> {
        if self.stream.read_buf(&mut self.input).await? == 0 {
            bail!("the connection ended before the answer");
        }
        Ok(())
    }
}
