//! A caller that writes bytes, and takes answers apart.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::{Client, LIMIT};

/// One answer of HTTP/1.1, as its bytes say.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    pub status: u16,
    /// Lower-case, without the status line.
    pub head: String,
    pub body: String,
}

impl RawAnswer {
    /// The code of a problem document.
    pub fn code(&self) -> String {
        let problem: Value =
            serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no problem document: {self:?}"));
        assert_eq!(problem["status"], self.status, "{self:?}");
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        problem["code"].as_str().unwrap().to_owned()
    }
}

/// A connection with nothing between the test and TLS.
pub struct Raw {
    pub stream: TlsStream<TcpStream>,
    /// Read, and not taken apart yet.
    rest: Vec<u8>,
}

impl Raw {
    pub async fn open(client: &Client) -> Self {
        Self { stream: client.connect().await.unwrap(), rest: Vec::new() }
    }

    /// Each call is a TLS record of its own.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next answer, framed by its length or in chunks.
    pub async fn answer(&mut self) -> RawAnswer {
        let head = self.until(b"\r\n\r\n").await;
        let (line, head) = head.split_once("\r\n").unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let head = head.to_lowercase();
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let mut body = Vec::new();
        if let Some(length) = value("content-length: ") {
            body = self.exactly(length.parse().unwrap()).await;
        } else if value("transfer-encoding: ").is_some() {
            loop {
                let line = self.until(b"\r\n").await;
                let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
                if size == 0 {
                    while self.until(b"\r\n").await != "\r\n" {}
                    break;
                }
                body.extend(self.exactly(size).await);
                assert_eq!(self.exactly(2).await, b"\r\n");
            }
        }
        RawAnswer { status, head, body: String::from_utf8(body).unwrap() }
    }

    /// Waits for the end of the connection: nothing more may come before it.
    pub async fn ended(mut self) {
        let mut rest = std::mem::take(&mut self.rest);
        // How it ends is of no interest: the other side may be gone before our last bytes came.
        let _ = timeout(LIMIT, self.stream.read_to_end(&mut rest)).await.expect("the end of the connection");
        assert_eq!(String::from_utf8_lossy(&rest), "", "after the last answer");
    }

    /// Whether nothing comes for a while.
    pub async fn is_quiet(&mut self) -> bool {
        let mut byte = [0; 1];
        self.rest.is_empty()
            && timeout(Duration::from_millis(200), self.stream.read(&mut byte)).await.is_err()
    }

    async fn until(&mut self, end: &[u8]) -> String {
        loop {
            if let Some(at) = self.rest.windows(end.len()).position(|window| window == end) {
                return String::from_utf8(self.rest.drain(..at + end.len()).collect()).unwrap();
            }
            self.more().await;
        }
    }

    async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.rest.len() < count {
            self.more().await;
        }
        self.rest.drain(..count).collect()
    }

    async fn more(&mut self) {
        let mut chunk = [0; 4096];
        let read =
            timeout(LIMIT, self.stream.read(&mut chunk)).await.expect("more of an answer").unwrap_or(0);
        assert!(read > 0, "the end, after {:?}", String::from_utf8_lossy(&self.rest));
        self.rest.extend_from_slice(&chunk[..read]);
    }
}
