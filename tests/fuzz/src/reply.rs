//! Answers as the sidecar writes them to a caller over HTTP/1.1, with hyper's server as the oracle: it writes the same
//! head, but for what is told of the connection, and the same body.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use postern_sidecar::forward::wire::written_answer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::request::Parts;

/// Requests to which answers differ.
const REQUESTS: [&str; 5] = [
    "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n",
    "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET / HTTP/1.0\r\nhost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
];
/// A time at which the answer is given.
const NOW: i64 = 784_111_777;

/// Two bytes choose the request and the body's kind; then come the status and headers, an empty line, and the body.
pub fn check(data: &[u8]) {
    let Some((request, response)) = parse(data) else { return };
    let ours = written_answer(request.as_bytes(), response.clone(), NOW)
        .unwrap_or_else(|| panic!("{response:?} is not written"));
    let theirs = oracle(request, response.clone());
    let (mut ours, mut theirs) = (split(&ours), split(&theirs));
    if request.starts_with("HEAD") {
        // hyper tells what GET would have had also where the application has not.
        (ours.1, theirs.1) = (Vec::new(), Vec::new());
    }
    assert_eq!(ours, theirs, "{request:?} {response:?}");
}

fn parse(data: &[u8]) -> Option<(&'static str, Response<Parts>)> {
    let [asked, kind, text @ ..] = data else { return None };
    let request = REQUESTS.get(usize::from(*asked) % REQUESTS.len())?;
    let end = text.windows(2).position(|it| it == b"\n\n")?;
    let (head, body) = (&text[..end], &text[end + 2..]);
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = StatusCode::from_bytes(lines.next()?).ok().filter(|it| (200..600).contains(&it.as_u16()))?;
    let mut headers = HeaderMap::new();
    for line in lines.take(50) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        // What the sidecar takes out before, or decides by itself.
        if ![CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE].contains(&name)
            && name.as_str() != "date"
        {
            headers.append(name, value);
        }
    }
    headers.insert(DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
    let body = Bytes::copy_from_slice(if kind % 3 == 0 { b"" } else { body });
    let is_told = kind % 3 != 2;
    let trailers = (!is_told).then(|| {
        headers.insert(TRAILER, HeaderValue::from_static("x-sum"));
        let pair = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        HeaderMap::from_iter([pair("x-sum", "7"), pair("y", "8")])
    });
    let mut response = Response::new(Parts::new(body, is_told, trailers));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Some((request, response))
}

/// Lines of the head in order but for those of the connection and the framing, whether a length or chunks are told, and
/// the body without its chunks' borders.
fn split(bytes: &[u8]) -> (Vec<String>, Vec<String>, Vec<u8>) {
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").expect("a head");
    // Where there is no usual phrase, hyper has one of its own.
    let head = String::from_utf8_lossy(&bytes[..end]).replacen(" <none>", " ", 1);
    let is_framing = |line: &str| {
        [CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|name| line.to_lowercase().starts_with(name.as_str()))
    };
    // HTTP/1.0 and 1.1 differ in what they say by themselves.
    let lines = head.lines().filter(|line| !line.starts_with("connection:"));
    let (framing, others): (Vec<&str>, Vec<&str>) = lines.partition(|line| is_framing(line));
    let owned = |lines: Vec<&str>| lines.into_iter().map(str::to_owned).collect();
    (owned(others), owned(framing), bytes[end + 4..].to_vec())
}

/// As hyper's server writes it.
fn oracle(request: &str, response: Response<Parts>) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let service = service_fn(move |_: Request<hyper::body::Incoming>| {
        let response = response.clone();
        async move { Ok::<_, Infallible>(response) }
    });
    runtime.block_on(async {
        let (mut caller, stream) = tokio::io::duplex(1 << 20);
        let mut builder = http1::Builder::new();
        let serving = builder.half_close(true).serve_connection(TokioIo::new(stream), service);
        let calling = async {
            caller.write_all(request.as_bytes()).await.unwrap();
            caller.shutdown().await.unwrap();
            let mut answer = Vec::new();
            let _ = caller.read_to_end(&mut answer).await;
            answer
        };
        tokio::join!(serving, calling).1
    })
}
