//! A caller that writes HTTP/2 frames by hand (RFC 9113), proper ones or not.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::{Client, LIMIT};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const PUSH_PROMISE: u8 = 5;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// One frame, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error of `RST_STREAM` and GOAWAY (RFC 9113 section 7).
    pub fn error(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A connection on which the preface and empty SETTINGS have been sent.
pub struct H2 {
    pub stream: TlsStream<TcpStream>,
    rest: Vec<u8>,
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as literals that nobody is to remember (RFC 7541 section 6.2.2), in the order given.
pub fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in list {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

fn text(block: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    if length < 127 {
        block.push(u8::try_from(length).unwrap());
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push(u8::try_from(length % 128).unwrap() | 128);
            length /= 128;
        }
        block.push(u8::try_from(length).unwrap());
    }
    block.extend_from_slice(text.as_bytes());
}

/// The pseudo-headers of a `GET`.
pub const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/p")];

/// `GET` with more fields.
pub fn get_with(more: &[(&str, &str)]) -> Vec<u8> {
    fields(&[&GET, more].concat())
}

impl H2 {
    pub async fn open(client: &Client) -> Self {
        let mut stream = client.connect().await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut h2 = Self { stream, rest: Vec::new() };
        h2.send(SETTINGS, 0, 0, &[]).await;
        h2
    }

    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.write(&frame(kind, flags, stream, payload)).await.unwrap();
    }

    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// A head, or trailers, in frames of the usual largest size; the flags are those beside `END_HEADERS`.
    pub async fn head(&mut self, flags: u8, stream: u32, block: &[u8]) {
        let pieces: Vec<&[u8]> = block.chunks(16 << 10).collect();
        for (index, piece) in pieces.iter().enumerate() {
            let end = if index + 1 == pieces.len() { END_HEADERS } else { 0 };
            match index {
                0 => self.send(HEADERS, flags | end, stream, piece).await,
                _ => self.send(CONTINUATION, end, stream, piece).await,
            }
        }
    }

    /// A whole head without a body.
    pub async fn request(&mut self, stream: u32, block: &[u8]) {
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, block).await;
    }

    /// The next frame; none at the end.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((header, rest)) = self.rest.split_at_checked(9) {
                let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
                if let Some(payload) = rest.get(..length) {
                    let frame = Frame {
                        kind: header[3],
                        flags: header[4],
                        stream: u32::from_be_bytes(header[5..9].try_into().unwrap()),
                        payload: payload.to_vec(),
                    };
                    self.rest.drain(..9 + length);
                    return Some(frame);
                }
            }
            let mut chunk = [0; 4096];
            let read = timeout(LIMIT, self.stream.read(&mut chunk)).await.expect("another frame or the end");
            match read {
                Ok(count @ 1..) => self.rest.extend_from_slice(&chunk[..count]),
                _ => return None,
            }
        }
    }

    /// The next frame of a kind, for a stream.
    pub async fn next_of(&mut self, kind: u8, stream: u32) -> Frame {
        loop {
            let frame = self.next().await.unwrap_or_else(|| panic!("the end, before a frame {kind}"));
            if (frame.kind, frame.stream) == (kind, stream) {
                return frame;
            }
        }
    }

    /// The body of an answer, or the error with which the stream or the connection ends.
    pub async fn outcome(&mut self, stream: u32) -> Result<String, u32> {
        let mut body = Vec::new();
        while let Some(frame) = self.next().await {
            match frame.kind {
                GOAWAY if frame.error() != 0 => return Err(frame.error()),
                RST_STREAM if frame.stream == stream => return Err(frame.error()),
                DATA if frame.stream == stream => body.extend_from_slice(&frame.payload),
                _ => {}
            }
            let ends = matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0;
            if ends && frame.stream == stream {
                return Ok(String::from_utf8(body).unwrap());
            }
        }
        panic!("the end, before an answer")
    }

    /// Status and code of a problem document.
    pub async fn refused(&mut self, stream: u32) -> (u16, String) {
        let body = self.outcome(stream).await.unwrap_or_else(|error| panic!("reset with {error}"));
        let problem: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("no problem: {body:?}"));
        (
            problem["status"].as_u64().unwrap().try_into().unwrap(),
            problem["code"].as_str().unwrap().to_owned(),
        )
    }

    /// Writes `piece(n)` for n from 0, without an end and without reading beside, until the other side closes, or
    /// takes no more for a while. How many could be written says little: the kernel keeps some megabytes for a reader
    /// that is late.
    pub async fn flood(&mut self, most: u32, piece: impl Fn(u32) -> Vec<u8>) {
        for count in 0..most {
            let bytes = piece(count);
            match timeout(Duration::from_secs(2), self.write(&bytes)).await {
                Ok(Ok(())) => {}
                _ => return,
            }
        }
    }

    /// The error with which the connection is ended.
    pub async fn goodbye(&mut self) -> u32 {
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY && frame.error() != 0 {
                return frame.error();
            }
        }
        panic!("closed without a word")
    }
}
