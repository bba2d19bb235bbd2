//! HTTP/2 by its frames: what breaks the protocol ends the connection (RFC 9113), before the application hears of it.

use super::{house, open, post};
use crate::support::h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, PUSH_PROMISE, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, frame, get_with,
};
use crate::support::prelude::*;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;

/// A flag of HEADERS and DATA.
const PADDED: u8 = 8;

#[tokio::test]
async fn frames_that_break_the_protocol_end_the_connection() {
    let house = house().await;
    let head = get_with(&[]);
    let unfinished = frame(HEADERS, END_STREAM, 1, &head);
    let posted = frame(HEADERS, END_HEADERS, 1, &post(&[]));
    let whole = |stream: u32| frame(HEADERS, END_STREAM | END_HEADERS, stream, &head);
    let cases = [
        ("a frame larger than allowed", frame(DATA, 0, 0, &vec![0; (16 << 10) + 1]), FRAME_SIZE_ERROR),
        ("settings of five bytes", frame(SETTINGS, 0, 0, &[0; 5]), PROTOCOL_ERROR),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[]), PROTOCOL_ERROR),
        ("settings that are acknowledged and given", frame(SETTINGS, 1, 0, &[0; 6]), PROTOCOL_ERROR),
        ("a first window beyond all", frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]), PROTOCOL_ERROR),
        ("frames of one byte at most", frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]), PROTOCOL_ERROR),
        ("push, perhaps", frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]), PROTOCOL_ERROR),
        ("a ping of seven bytes", frame(PING, 0, 0, &[0; 7]), PROTOCOL_ERROR),
        ("a ping of a stream", frame(PING, 0, 1, &[0; 8]), PROTOCOL_ERROR),
        ("a window of nothing more", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), PROTOCOL_ERROR),
        (
            "a window that overflows",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            FLOW_CONTROL_ERROR,
        ),
        ("a window of three bytes", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), PROTOCOL_ERROR),
        ("a window of a stream that never was", frame(WINDOW_UPDATE, 0, 5, &[0, 0, 0, 1]), PROTOCOL_ERROR),
        ("a head of no stream", frame(HEADERS, END_HEADERS, 0, &head), PROTOCOL_ERROR),
        ("a head of the server's stream", whole(2), PROTOCOL_ERROR),
        ("data of no stream", frame(DATA, 0, 0, b"x"), PROTOCOL_ERROR),
        ("data of a stream that never was", frame(DATA, 0, 1, b"x"), PROTOCOL_ERROR),
        ("a reset of a stream that never was", frame(RST_STREAM, 0, 1, &[0; 4]), PROTOCOL_ERROR),
        (
            "a reset of three bytes",
            [posted.clone(), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
            PROTOCOL_ERROR,
        ),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &head), PROTOCOL_ERROR),
        ("a ping within a head", [unfinished.clone(), frame(PING, 0, 0, &[0; 8])].concat(), PROTOCOL_ERROR),
        ("another head within a head", [unfinished.clone(), whole(3)].concat(), PROTOCOL_ERROR),
        (
            "another stream's continuation",
            [unfinished, frame(CONTINUATION, END_HEADERS, 3, &[])].concat(),
            PROTOCOL_ERROR,
        ),
        (
            "a promise",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], &head[..]].concat()),
            PROTOCOL_ERROR,
        ),
        ("more padding than frame", [posted, frame(DATA, PADDED, 1, &[9, 0])].concat(), PROTOCOL_ERROR),
        (
            "a field that nobody told",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff, 0x7f]),
            PROTOCOL_ERROR,
        ),
        (
            "a field without an end",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0, 5, b'x']),
            PROTOCOL_ERROR,
        ),
        (
            "a table larger than agreed",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[&[0x3f, 0xe2, 0x7f], &head[..]].concat()),
            PROTOCOL_ERROR,
        ),
        ("a head that waits for itself", frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]), PROTOCOL_ERROR),
    ];
    let mut wrong = Vec::new();
    for (case, bytes, error) in cases {
        let before = house.denials("Http2Refused").await;
        let mut caller = open(&house).await;
        caller.write(&bytes).await.unwrap();
        let ended = async {
            while let Some(frame) = caller.next().await {
                if matches!(frame.kind, GOAWAY | RST_STREAM) && frame.error() != 0 {
                    return Some(frame.error());
                }
            }
            None
        };
        let told = tokio::time::timeout(Duration::from_secs(5), ended).await;
        if told != Ok(Some(error)) {
            wrong.push(format!("{case}: {told:?}, not {error}"));
            continue;
        }
        eventually(case, async || house.denials("Http2Refused").await > before).await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let got = house.application.got().concat();
    assert!(!got.contains("GET"), "{got}");
}

/// What comes for a stream that has ended is the caller's fault, not a new request.
#[tokio::test]
async fn a_stream_is_used_once() {
    let house = house().await;
    for stream in [1, 3] {
        let mut caller = open(&house).await;
        caller.request(3, &get_with(&[])).await;
        assert_eq!(caller.outcome(3).await, Ok("ok".to_owned()));
        house.application.forget();
        caller.request(stream, &get_with(&[("x-again", "1")])).await;
        let error = caller.goodbye().await;
        assert!([PROTOCOL_ERROR, STREAM_CLOSED].contains(&error), "{stream}: {error}");
        assert!(!house.application.got().concat().contains("x-again"));
    }
}
