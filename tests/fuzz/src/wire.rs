//! Requests over HTTP/1.1 as the sidecar reads them, with hyper's server as the oracle: what hyper refuses is refused, and
//! what is accepted is read as hyper reads it, however the bytes come.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use postern_sidecar::forward::wire::{Asking, read_requests};
use postern_sidecar::limits::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What came of a request's body: its bytes and trailers, if it was whole.
type Body = Option<(Bytes, HeaderMap)>;

/// A caller sends these bytes and then listens only.
pub fn check(data: &[u8]) {
    let limits = Limits::default();
    let (whole, denial) = read_requests(&limits, [data]);
    for size in [1, 7] {
        let (cut, again) = read_requests(&limits, data.chunks(size));
        assert_eq!(again.map(|it| it.code), denial.as_ref().map(|it| it.code), "in pieces of {size}");
        assert_eq!(cut.len(), whole.len(), "in pieces of {size}");
        for (cut, whole) in cut.iter().zip(&whole) {
            assert_eq!(
                (&cut.trailers, cut.is_whole),
                (&whole.trailers, whole.is_whole),
                "in pieces of {size}"
            );
            // Of what breaks off, some may have been taken before that was seen.
            assert!(!whole.is_whole || cut.body == whole.body, "in pieces of {size}");
        }
    }
    if let Some(denial) = &denial {
        assert!(!denial.reason.is_empty());
    }
    for request in &whole {
        let count = |name: HeaderName| request.head.headers().get_all(name).iter().count();
        assert!(count(CONTENT_LENGTH) + count(TRANSFER_ENCODING) <= 1 && count(HOST) <= 1, "{request:?}");
    }
    compare(data, &whole);
}

/// Up to the first request after which hyper takes none: after another protocol, or the last one.
fn compare(data: &[u8], ours: &[Asking]) {
    let is_last = |request: &Asking| !request.keeps || request.head.headers().contains_key(UPGRADE);
    let last = ours.iter().position(is_last).map_or(ours.len(), |at| at + 1);
    if last == 0 {
        return;
    }
    let theirs = oracle(data);
    for (number, ours) in ours.iter().take(last).enumerate() {
        let Some((head, body)) = theirs.get(number) else {
            panic!("hyper reads {} requests, and not {ours:?}", theirs.len())
        };
        assert_eq!(
            (ours.head.method(), ours.head.uri(), ours.head.version(), ours.head.headers()),
            (head.method(), head.uri(), head.version(), head.headers())
        );
        if ours.is_whole {
            let Some((bytes, trailers)) = body else { panic!("hyper refuses the body of {ours:?}") };
            assert_eq!(
                (&ours.body[..], ours.trailers.clone().unwrap_or_default()),
                (&bytes[..], trailers.clone())
            );
        }
    }
}

/// As hyper's server reads it.
fn oracle(data: &[u8]) -> Vec<(Request<()>, Body)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let requests = Rc::new(RefCell::new(Vec::new()));
    let read = Rc::clone(&requests);
    let service = service_fn(move |request: Request<Incoming>| {
        let read = Rc::clone(&read);
        async move {
            let (parts, body) = request.into_parts();
            let collected = body.collect().await.ok().map(|all| {
                let trailers = all.trailers().cloned().unwrap_or_default();
                (all.to_bytes(), trailers)
            });
            read.borrow_mut().push((Request::from_parts(parts, ()), collected));
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    runtime.block_on(async {
        let (mut caller, stream) = tokio::io::duplex(1 << 20);
        let mut builder = http1::Builder::new();
        builder.half_close(true).max_headers(300);
        let serving = builder.serve_connection(TokioIo::new(stream), service);
        let calling = async {
            let _ = caller.write_all(data).await;
            let _ = caller.shutdown().await;
            let _ = caller.read_to_end(&mut Vec::new()).await;
        };
        let _ = tokio::join!(serving, calling);
    });
    requests.take()
}
