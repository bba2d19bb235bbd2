//! Floods over HTTP/2, beside a caller that behaves.

use super::{house, open, post};
use crate::support::h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, fields, frame, get_with,
};
use crate::support::prelude::*;
use crate::support::process::peak_kib;

const ENHANCE_YOUR_CALM: u32 = 11;

/// CVE-2023-44487.
#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let house = house().await;
    let mut caller = open(&house).await;
    caller
        .flood(100_000, |n| {
            let head = frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &get_with(&[]));
            [head, frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8])].concat()
        })
        .await;
    assert_eq!(caller.goodbye().await, ENHANCE_YOUR_CALM);
    let reached = house.application.got().concat().matches("GET /p").count();
    assert!(reached < 500, "{reached} requests reached the application");
    let line = house.sidecar.refused("Http2Refused").await;
    assert!(line["reason"].as_str().unwrap().contains("ENHANCE_YOUR_CALM"), "{line}");
}

/// CVE-2024-27316.
#[tokio::test]
async fn continuations_without_an_end_end_the_connection() {
    let house = house().await;
    for size in [16 << 10, 100, 0] {
        let mut caller = open(&house).await;
        caller.send(HEADERS, END_STREAM, 1, &get_with(&[])).await;
        let piece = fields(&vec![("x", "yyyyyyyyyyyyyyyyyyyyyyyyyyyyy"); size / 33]);
        caller.flood(300_000, |_| frame(CONTINUATION, 0, 1, &piece)).await;
        assert_ne!(caller.goodbye().await, 0, "{size}");
    }
    assert!(house.application.got().concat().is_empty());
    let peak = peak_kib(house.sidecar.id());
    assert!(peak < 64 << 10, "{peak} KiB");
    house.sidecar.refused("Http2Refused").await;
}

/// CVE-2025-8671: the caller has the sidecar reset the streams.
#[tokio::test]
async fn streams_that_the_sidecar_is_made_to_reset_end_the_connection() {
    let house = house().await;
    for (case, wrong) in [
        ("a window of nothing more", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("a window that overflows", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        ("data after the end", frame(DATA, END_STREAM, 0, b"x")),
    ] {
        let mut caller = open(&house).await;
        caller
            .flood(100_000, |n| {
                let stream = 2 * n + 1;
                let mut wrong = wrong.clone();
                wrong[5..9].copy_from_slice(&stream.to_be_bytes());
                [frame(HEADERS, END_STREAM | END_HEADERS, stream, &get_with(&[])), wrong].concat()
            })
            .await;
        assert_ne!(caller.goodbye().await, 0, "{case}");
        let reached = house.application.got().concat().matches("GET /p").count();
        assert!(reached < 1000, "{case}: {reached} requests reached the application");
        house.application.forget();
    }
}

/// Frames that ask for an answer, or for work, and never for a request. They may be taken, as slowly as they are
/// answered; they may cost neither memory nor others.
#[tokio::test]
async fn floods_of_small_frames_harm_nobody_else() {
    let house = house().await;
    let mut good = open(&house).await;
    let mut stream = 1;
    for (case, piece) in [
        ("settings", frame(SETTINGS, 0, 0, &[])),
        ("settings with values", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])),
        ("pings", frame(PING, 0, 0, &[7; 8])),
        ("priorities", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        ("windows", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("unknown frames", frame(0xbe, 0, 0, &[0; 100])),
    ] {
        let batch = piece.repeat(500);
        let mut caller = open(&house).await;
        caller.flood(200, |_| batch.clone()).await;
        let start = Instant::now();
        good.request(stream, &get_with(&[])).await;
        assert_eq!(good.outcome(stream).await, Ok("ok".to_owned()), "{case}");
        assert!(start.elapsed() < Duration::from_secs(2), "{case}: {:?}", start.elapsed());
        stream += 2;
    }
    let mut caller = open(&house).await;
    caller.send(HEADERS, END_HEADERS, 1, &post(&[])).await;
    let empty = frame(DATA, 0, 1, &[]).repeat(500);
    caller.flood(200, |_| empty.clone()).await;
    good.request(stream, &get_with(&[])).await;
    assert_eq!(good.outcome(stream).await, Ok("ok".to_owned()));
    let peak = peak_kib(house.sidecar.id());
    assert!(peak < 64 << 10, "{peak} KiB");
}

/// A caller that takes no answers keeps the application's to itself, not in the sidecar's memory.
#[tokio::test]
async fn answers_that_nobody_takes_are_not_collected() {
    let body = vec![b'x'; 8 << 20];
    let answer =
        [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes(), body].concat();
    let house = House::recording(Recorder::with(move |_| answer.clone()).await).await;
    let mut caller = open(&house).await;
    for n in 0..100 {
        caller.request(2 * n + 1, &get_with(&[])).await;
    }
    eventually("all have reached the application", async || {
        house.application.got().concat().matches("GET /p").count() == 100
    })
    .await;
    let mut other = open(&house).await;
    other.request(1, &get_with(&[])).await;
    other.next_of(HEADERS, 1).await;
    let peak = peak_kib(house.sidecar.id());
    assert!(peak < 64 << 10, "{peak} KiB for 100 answers of 8 MiB");
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    let house = House::build(&[]).await;
    let mut caller = open(&house).await;
    let slow = fields(&[GET[0], GET[1], GET[2], (":path", "/slow")]);
    for n in 0..110 {
        caller.request(2 * n + 1, &slow).await;
    }
    let refused = caller.next_of(RST_STREAM, 201).await;
    assert_eq!(refused.error(), 7, "REFUSED_STREAM");
    eventually("the others are on their way", async || house.application.hits() == 100).await;
    house.sidecar.refused("Http2Refused").await;
}

/// A window that opens by one byte at a time makes the smallest frames of the largest answers: the sidecar keeps none
/// of them for later.
#[tokio::test]
async fn windows_that_open_by_a_byte_cost_no_memory() {
    let body = vec![b'x'; 1 << 20];
    let answer =
        [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes(), body].concat();
    let house = House::recording(Recorder::with(move |_| answer.clone()).await).await;
    let mut caller = open(&house).await;
    // SETTINGS_INITIAL_WINDOW_SIZE.
    caller.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).await;
    for n in 0..100 {
        caller.request(2 * n + 1, &get_with(&[])).await;
    }
    eventually("all have reached the application", async || {
        house.application.got().concat().matches("GET /p").count() == 100
    })
    .await;
    let round: Vec<u8> = (0..100).flat_map(|n| frame(WINDOW_UPDATE, 0, 2 * n + 1, &[0, 0, 0, 1])).collect();
    caller.flood(200, |_| round.clone()).await;
    let mut other = open(&house).await;
    other.request(1, &get_with(&[])).await;
    other.next_of(HEADERS, 1).await;
    let peak = peak_kib(house.sidecar.id());
    assert!(peak < 64 << 10, "{peak} KiB");
}
