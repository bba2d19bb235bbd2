//! An application that costs next to nothing: `/N` is answered with N bytes, whatever was sent.

use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::http1::{content_length, head_end};

const LARGEST: usize = 1 << 20;

/// Serves on an address until the program ends. It must be called on a local set.
pub(crate) fn serve(address: SocketAddr) -> Result<()> {
    let listener = std::net::TcpListener::bind(address);
    serve_on(listener.with_context(|| format!("the application listens on {address}"))?)
}

/// The same with a listener that may belong to another network namespace.
pub(crate) fn serve_on(listener: std::net::TcpListener) -> Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let body = Bytes::from(vec![b'x'; LARGEST]);
    tokio::task::spawn_local(async move {
        let known = Rc::new(body);
        while let Ok((stream, _)) = listener.accept().await {
            let body = Rc::clone(&known);
            tokio::task::spawn_local(async move {
                // A proxy that closes a connection says nothing that matters here.
                let _ = connection(stream, &body).await;
            });
        }
    });
    Ok(())
}

async fn connection(mut stream: TcpStream, body: &[u8]) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Vec::new();
    let mut answer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = head_end(&input) {
                break end;
            }
            // Nothing is kept while a connection is idle: ten thousand of them are measured.
            if input.is_empty() {
                stream.readable().await?;
                input.reserve(8 << 10);
            }
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        };
        let head = input.get(..end).context("a head that ends before it does")?;
        let size = size_of(head).min(LARGEST);
        let mut left = content_length(head).unwrap_or(0);
        let chunked = left == 0 && memmem::find(head, b"chunked").is_some();
        let here = input.len() - end;
        if chunked {
            while !input.ends_with(b"0\r\n\r\n") {
                let keep = input.len().saturating_sub(8);
                input.drain(..keep);
                if stream.read_buf(&mut input).await? == 0 {
                    return Ok(());
                }
            }
            input.clear();
        } else if here >= left {
            input.drain(..end + left);
        } else {
            left -= here;
            input.clear();
            input.reserve(64 << 10);
            while left > 0 {
                let read = stream.read_buf(&mut input).await?;
                if read == 0 {
                    return Ok(());
                }
                left = left.saturating_sub(read);
                input.clear();
            }
        }
        answer.clear();
        answer.extend_from_slice(
            format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {size}\r\n\r\n")
                .as_bytes(),
        );
        answer.extend_from_slice(body.get(..size).unwrap_or_default());
        stream.write_all(&answer).await?;
        if input.is_empty() {
            input = Vec::new();
        }
        if answer.capacity() > 4096 {
            answer = Vec::new();
        }
    }
}

/// The number in the request's target.
fn size_of(head: &[u8]) -> usize {
    let digits =
        head.iter().skip_while(|&&byte| byte != b'/').skip(1).take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |size, digit| size * 10 + usize::from(digit - b'0'))
}
