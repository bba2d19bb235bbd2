//! New keys, and the end of each direction.

use super::*;

#[test]
fn keys_are_renewed_when_the_caller_asks() {
    let mut pair = pair();
    for round in 0..50_u8 {
        pair.caller.refresh_traffic_keys().unwrap();
        let bytes = pair.sealed(&[round]);
        pair.wire.bring(&bytes);
        assert_eq!(ready(pair.read(10)).unwrap(), [round]);
        ready(pair.write(&[&[round]])).unwrap();
        let writes = pair.wire.taken();
        assert_eq!(writes.len(), 1);
        let sent = writes.concat();
        // The answer, and the content by the new key.
        assert_eq!(records_of(&sent), [HEADER + 5 + 17, HEADER + 1 + 17]);
        assert_eq!(hear(&mut pair.caller, &sent).unwrap(), [round]);
    }
}

#[test]
fn keys_are_renewed_before_they_are_used_up() {
    let mut pair = pair();
    pair.stream.records.limit(40);
    for round in 0..200_u8 {
        ready(pair.write(&[&[round]])).unwrap();
        assert_eq!(pair.heard().unwrap(), [round]);
    }
}

#[test]
fn each_direction_ends_by_itself() {
    let mut pair = pair();
    let last = pair.sealed(b"last");
    pair.caller.send_close_notify();
    let end = said(&mut pair.caller);
    pair.wire.bring(&[&last[..], &end, b"whatever follows"].concat());
    assert_eq!(ready(pair.read(100)).unwrap(), b"last");
    for _ in 0..2 {
        assert_eq!(ready(pair.read(100)).unwrap(), b"");
    }
    assert_eq!(pair.stream.buffered(), 0);
    ready(pair.write(&[b"an answer"])).unwrap();
    assert_eq!(pair.heard().unwrap(), b"an answer");
    assert!(!pair.caller.process_new_packets().unwrap().peer_has_closed());
    for _ in 0..2 {
        ready(pair.shutdown()).unwrap();
    }
    assert_eq!(records_of(&pair.wire.taken().concat()), [HEADER + 2 + 17], "one close_notify");
    assert_eq!(ready(pair.write(&[b"more"])).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn the_end_is_told_to_the_caller() {
    let mut pair = pair();
    ready(pair.write(&[b"all"])).unwrap();
    ready(pair.shutdown()).unwrap();
    assert_eq!(pair.heard().unwrap(), b"all");
    assert!(pair.caller.process_new_packets().unwrap().peer_has_closed());
    assert!(pair.wire.is_shut());
    // What still comes is read.
    let bytes = pair.sealed(b"late");
    pair.wire.bring(&bytes);
    assert_eq!(ready(pair.read(100)).unwrap(), b"late");
}

#[test]
fn an_end_without_close_notify_is_no_end() {
    for part in [0, 10] {
        let mut pair = pair();
        let bytes = pair.sealed(b"all of it, perhaps");
        pair.wire.bring(&bytes);
        pair.wire.bring(&bytes[..part]);
        pair.wire.end();
        assert_eq!(ready(pair.read(100)).unwrap(), b"all of it, perhaps");
        for _ in 0..2 {
            assert_eq!(ready(pair.read(100)).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
        assert_eq!(pair.stream.buffered(), 0);
    }
}
