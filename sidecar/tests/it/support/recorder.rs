//! An application that is nothing but a socket: it keeps the bytes it got and sends what it was told to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::eventually;

/// What came over each connection, in the order in which they came.
pub struct Recorder {
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
}

/// What came over one connection.
#[derive(Default)]
struct Got {
    bytes: Vec<u8>,
    /// Where the request begins that is not whole yet.
    whole: usize,
    /// Where that begins which the test has not forgotten.
    remembered: usize,
}

/// What most answers of a [`Recorder`] are.
pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Requests come one at a time.
fn is_whole(new: &str) -> bool {
    let Some((head, body)) = new.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    match length {
        Some(length) => body.len() >= length.parse().unwrap(),
        None if head.contains("transfer-encoding: chunked") => {
            body.ends_with("END\r\n") || (body.contains("0\r\n") && body.ends_with("\r\n\r\n"))
        }
        None => true,
    }
}

impl Recorder {
    /// Answers with `answer` whenever a whole request has come, or `END`.
    pub async fn answering(answer: &'static [u8]) -> Self {
        Self::with(move |_| answer.to_vec()).await
    }

    /// Answers the `n`th request of each connection, counted from 0, with `answer(n)`; closes at an empty answer.
    pub async fn with(answer: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let (shared, answer) = (Arc::clone(&got), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let index = {
                    let mut all = shared.lock().unwrap();
                    all.push(Got::default());
                    all.len() - 1
                };
                let (got, answer) = (Arc::clone(&shared), Arc::clone(&answer));
                tokio::spawn(async move {
                    let (mut chunk, mut count) = ([0; 8192], 0);
                    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
                        let is_whole = {
                            let got = &mut got.lock().unwrap()[index];
                            got.bytes.extend_from_slice(&chunk[..read]);
                            let is_whole = is_whole(&String::from_utf8_lossy(&got.bytes[got.whole..]));
                            if is_whole {
                                got.whole = got.bytes.len();
                            }
                            is_whole
                        };
                        if is_whole {
                            let answer = answer(count);
                            count += 1;
                            if answer.is_empty() || stream.write_all(&answer).await.is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        });
        Self { address, got }
    }

    /// All that came, one text per connection.
    pub fn got(&self) -> Vec<String> {
        let text = |got: &Got| String::from_utf8_lossy(&got.bytes[got.remembered..]).into_owned();
        self.got.lock().unwrap().iter().map(text).collect()
    }

    /// Forgets what came.
    pub fn forget(&self) {
        self.got.lock().unwrap().iter_mut().for_each(|got| got.remembered = got.bytes.len());
    }

    /// The only request that came since the last time, without the headers that the sidecar writes into each.
    pub async fn one(&self) -> String {
        eventually("a request reached the application", async || self.got().concat().contains("\r\n\r\n"))
            .await;
        let all = self.got().concat();
        self.forget();
        let ours = ["x-forwarded-client-cert: By=", "client-cert: :", "x-forwarded-for: 127.0.0.1\r\n"];
        let ours = |line: &str| {
            ours.iter().any(|start| line.starts_with(start))
                || line == "x-forwarded-proto: https\r\n"
                || (line.starts_with("x-request-id: ") && line.len() == "x-request-id: \r\n".len() + 32)
        };
        all.split_inclusive("\r\n").filter(|line| !ours(line)).collect()
    }
}
