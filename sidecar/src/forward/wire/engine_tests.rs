//! The engine as an oracle: whatever passes here it takes, and reads as it was read here.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Bounds;
use super::scanner::Scanner;

const BOUNDS: Bounds = Bounds { head: 4 << 10, target: 100, headers: 20 };

/// What is put together, whole or with something wrong in it.
const PIECES: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    b"POST /p?q HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nabcd",
    b"POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n",
    b"PUT /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1;e=\"v\"\r\na\r\n00\r\n\r\n",
    b"GET http://a:1/x HTTP/1.1\r\nHost: a:1\r\nx: \xe9\ty\r\n\r\n",
    b"DELETE /p HTTP/1.0\r\nconnection: keep-alive\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
];

/// What is put in, or in another byte's place.
const CHANGES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"#",
    b"?",
    b"/",
    b"\"",
    b"<",
    b"\x7f",
    b"\x80",
    b"0",
    b"9",
    b"+",
    b"-",
    b"_",
    b"f",
    b"%",
    b"content-length: 3\r\n",
    b"transfer-encoding: chunked\r\n",
    b"host: b\r\n",
    b"transfer-encoding: gzip\r\n",
    b"\r\n\r\n",
    b"HTTP/1.1",
    b"connection: close\r\n",
    b"expect: 100-continue\r\n",
];

/// A small generator (Marsaglia's xorshift), so that every run is the same.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

fn messages(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=random.below(3) {
        bytes.extend_from_slice(PIECES[random.below(PIECES.len())]);
    }
    for _ in 0..random.below(3) {
        let (at, change) = (random.below(bytes.len()), CHANGES[random.below(CHANGES.len())]);
        match random.below(3) {
            0 => drop(bytes.splice(at..at, change.iter().copied())),
            1 => drop(bytes.splice(at..=at, change.iter().copied())),
            _ => drop(bytes.remove(at)),
        }
    }
    bytes
}

/// Statuses that the engine gave, and the bodies that it read.
async fn engine(bytes: &[u8]) -> (String, Vec<Vec<u8>>) {
    let (mut caller, stream) = tokio::io::duplex(64 << 10);
    let bodies = Rc::new(RefCell::new(Vec::new()));
    let read = Rc::clone(&bodies);
    let service = service_fn(move |request: Request<Incoming>| {
        let read = Rc::clone(&read);
        async move {
            let body = request.into_body().collect().await;
            read.borrow_mut().push(body.map_or(b"broken".to_vec(), |body| body.to_bytes().to_vec()));
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let serving = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(stream), service);
    let calling = async {
        caller.write_all(bytes).await.unwrap();
        caller.shutdown().await.unwrap();
        let mut answers = String::new();
        let _ = caller.read_to_string(&mut answers).await;
        answers
    };
    let (_, answers) = tokio::join!(serving, calling);
    (answers, bodies.take())
}

#[tokio::test]
async fn the_engine_reads_what_passes_as_it_was_read_here() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut passed, mut refused) = (0, 0);
    for _ in 0..4_000 {
        let bytes = messages(&mut random);
        let mut scanner = Scanner::new(BOUNDS);
        let scan = scanner.scan(&bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // Only what passed may be read, as in operation; a part of a body may be missing at its end.
        let (answers, bodies) = engine(&bytes[..scan.passed]).await;
        assert!(
            !answers.contains(" 400 ") && !answers.contains(" 431 "),
            "the engine refuses {text:?}: {answers}"
        );
        let in_head = scan.fault.as_ref().is_none_or(|fault| fault.in_head);
        let closes = text.to_lowercase().contains("connection: close") || text.contains("HTTP/1.0");
        if !closes {
            assert_eq!(bodies.len() as u64, scanner.heads(), "{text:?}: {bodies:?}");
        }
        match scan.fault {
            None => passed += 1,
            Some(_) => refused += 1,
        }
        if in_head && scan.passed == bytes.len() && !closes && scanner.is_between() {
            assert!(!bodies.iter().any(|body| body == b"broken"), "{text:?}: {bodies:?}");
        }
    }
    assert!(passed > 800 && refused > 800, "{passed} passed, {refused} refused");
}
