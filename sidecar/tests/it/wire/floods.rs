//! Callers that use up what they can, by their bytes, beside one that behaves.

use super::{house, raw};
use crate::support::house::counts;
use crate::support::prelude::*;
use crate::support::process::peak_kib;
use postern_sidecar::limits::Limits;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

const GET: &str = "GET /p HTTP/1.1\r\nhost: a\r\n\r\n";

async fn count(pod: &GuardedPod, code: &str) -> u64 {
    crate::support::house::denials(pod.metrics(), code).await
}

/// A part of a head may come while an earlier request is answered: its time runs from the end of that answer.
#[tokio::test]
async fn a_head_that_hides_behind_a_request_has_its_time_limit_too() {
    let limits = Limits { header: Duration::from_secs(1), ..Limits::default() };
    let (application, pod) = guarded(limits).await;
    let mut slow = Raw::open(&pod.http1(&pod.pki.gateway())).await;
    slow.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\nGET /p HTTP/1.1\r\nho").await;
    eventually("the first is on its way", async || application.hits() == 1).await;
    // Longer than a head may take: the answer is waited for, not the head.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(count(&pod, "HeadTimeout").await, 0);
    application.release(1);
    assert_eq!(slow.answer().await.status, 200);
    let start = Instant::now();
    slow.ended().await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    counts(pod.metrics(), "HeadTimeout", 1).await;
    assert_eq!(application.hits(), 1);
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_given_up() {
    let limits = Limits { header: Duration::from_secs(1), ..Limits::default() };
    let (application, pod) = guarded(limits).await;
    let mut slow = Raw::open(&pod.http1(&pod.pki.gateway())).await;
    let head = format!("GET /p HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(1000));
    let start = Instant::now();
    for byte in head.as_bytes() {
        // Never quiet, never done.
        if slow.stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        if start.elapsed() > Duration::from_secs(5) {
            break;
        }
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    counts(pod.metrics(), "HeadTimeout", 1).await;
    assert_eq!(application.hits(), 0);
}

/// What a caller sends ahead of the answers waits in its own socket.
#[tokio::test]
async fn requests_that_nobody_reads_the_answers_of_are_not_collected() {
    let body = vec![b'x'; 64 << 10];
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let answer = [head.into_bytes(), body].concat();
    let house = House::recording(Recorder::with(move |_| answer.clone()).await).await;
    let mut flood = raw(&house).await;
    let requests = GET.repeat(1000);
    let mut taken = 0;
    while taken < 200 {
        let write = flood.stream.write_all(requests.as_bytes());
        if !matches!(timeout(Duration::from_secs(2), write).await, Ok(Ok(()))) {
            break;
        }
        taken += 1;
    }
    assert!(taken < 200, "200,000 requests were taken before an answer was read");
    let mut good = raw(&house).await;
    good.send(GET).await;
    assert_eq!(good.answer().await.status, 200);
    let peak = peak_kib(house.sidecar.id());
    assert!(peak < 64 << 10, "{peak} KiB");
}

#[tokio::test]
async fn a_body_of_the_smallest_chunks_passes_in_little_memory() {
    let house = house().await;
    let mut caller = raw(&house).await;
    caller.send("POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    for _ in 0..5 {
        caller.send("1\r\nx\r\n".repeat(1000)).await;
    }
    caller.send("0\r\n\r\n").await;
    assert_eq!(caller.answer().await.status, 200);
    let got = house.application.got().concat();
    let (_, body) = got.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.matches('x').count(), 5_000);
    let peak = peak_kib(house.sidecar.id());
    assert!(peak < 64 << 10, "{peak} KiB");
}

/// A connection from an address of its own that sends the beginning of a `ClientHello` and then nothing.
async fn half_a_handshake(pod: &GuardedPod, last: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 1, last], 0).into()).unwrap();
    let mut stream = socket.connect(pod.callers()).await.unwrap();
    // It may be refused at once.
    let _ = stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await;
    stream
}

/// Handshakes in progress have a cap of their own, per source and together, and callers get in beside them.
#[tokio::test]
async fn handshakes_that_stall_leave_room_for_callers() {
    let limits = Limits { unproven: 60, unproven_per_source: 5, ..Limits::default() };
    let (_application, pod) = guarded(limits).await;
    let mut known = Raw::open(&pod.http1(&pod.pki.gateway())).await;
    let mut stalled = Vec::new();
    for round in 0..20 {
        for source in 1..=20 {
            stalled.push(half_a_handshake(&pod, source).await);
        }
        if round % 5 == 0 {
            // A new caller, and one that was there before.
            let mut new = Raw::open(&pod.http1(&pod.pki.gateway())).await;
            for caller in [&mut new, &mut known] {
                caller.send(GET).await;
                assert_eq!(caller.answer().await.status, 200, "round {round}");
            }
        }
    }
    eventually("most were refused, or made room", async || count(&pod, "TooManyConnections").await >= 300)
        .await;
}

/// Junk instead of a handshake, and a handshake that breaks off, are counted and cost nothing more.
#[tokio::test]
async fn junk_instead_of_a_handshake_is_refused() {
    let (application, pod) = guarded(Limits::default()).await;
    let junk: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0; 64],
        &[0xff; 64],
        &[22, 3, 1, 0xff, 0xff, 1, 0, 0, 0],
    ];
    for bytes in junk {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(pod.callers()).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.shutdown().await;
            let _ = timeout(LIMIT, stream.read_to_end(&mut rest)).await.expect("an end");
            assert!(rest.len() <= 7, "at most an alert: {rest:?}");
        }
    }
    eventually("they are counted", async || count(&pod, "PlaintextRefused").await >= 50).await;
    assert_eq!(application.hits(), 0);
    assert!(matches!(pod.http1(&pod.pki.gateway()).get("/").await, Attempt::Answered(200, _)));
}
