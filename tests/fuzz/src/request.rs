//! Requests as the sidecar writes them to an application, with hyper as the oracle: its client writes the same bytes, and
//! its server reads what was meant.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use postern_sidecar::forward::wire::written;
use tokio::io::AsyncReadExt as _;

/// A body in parts of three bytes, of a length that is told or not, with trailers in the latter case.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    left: Bytes,
    is_told: bool,
    trailers: Option<HeaderMap>,
}

impl Parts {
    pub(crate) const fn new(left: Bytes, is_told: bool, trailers: Option<HeaderMap>) -> Self {
        Self { left, is_told, trailers }
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let count = self.left.len().min(3);
        Poll::Ready(Some(Ok(Frame::data(self.left.split_to(count)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_told { SizeHint::with_exact(self.left.len() as u64) } else { SizeHint::default() }
    }
}

/// One byte chooses the body's kind; then come method, target and headers, an empty line, and the body.
pub fn check(data: &[u8]) {
    let Some(request) = request(data) else { return };
    let ours = written(request.clone()).unwrap_or_else(|| panic!("{request:?} is not written"));
    let theirs = oracle(request.clone());
    assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs), "{request:?}");
}

fn request(data: &[u8]) -> Option<Request<Parts>> {
    let (choice, text) = data.split_first()?;
    let end = text.windows(2).position(|it| it == b"\n\n")?;
    let (head, body) = (&text[..end], &text[end + 2..]);
    let mut words = head.splitn(3, |byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok().filter(|method| *method != Method::CONNECT)?;
    let uri = Uri::try_from(words.next()?)
        .ok()
        .filter(|uri| uri.path().starts_with('/') && uri.host().is_none())?;
    let body = Bytes::copy_from_slice(if choice % 3 == 0 { b"" } else { body });
    let is_told = choice % 3 != 2;
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_static("a"));
    for line in words.next().unwrap_or_default().split(|byte| *byte == b'\n').take(50) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        // What the sidecar takes out before, or decides by itself.
        if ![CONTENT_LENGTH, TRANSFER_ENCODING, HOST].contains(&name)
            && name.as_str() != "connection"
            && name.as_str() != "expect"
        {
            headers.append(name, value);
        }
    }
    let mut trailers = None;
    if is_told {
        if !body.is_empty() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
    } else {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        trailers = Some(HeaderMap::from_iter([
            (HeaderName::from_static("x-sum"), HeaderValue::from_static("7")),
            (HeaderName::from_static("y"), HeaderValue::from_static("8")),
        ]));
    }
    let mut request = Request::new(Parts { left: body, is_told, trailers });
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
    Some(request)
}

/// As hyper's client writes it.
fn oracle(request: Request<Parts>) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (mut sender, connection) = http1::handshake(TokioIo::new(near)).await.unwrap();
        let serving = tokio::spawn(connection);
        let asking = tokio::spawn(async move { sender.send_request(request).await.map(|_| ()) });
        // It has written all that there is once it waits for the answer.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        serving.abort();
        let _ = serving.await;
        asking.abort();
        let mut bytes = Vec::new();
        far.read_to_end(&mut bytes).await.unwrap();
        bytes
    })
}
