//! What passes, however it is cut.

use super::*;

#[test]
fn a_handshake_may_come_in_any_pieces() {
    for size in [1, 2, 5, 7, 100, 1 << 20] {
        let mut pair = shake(None, |flight| flight.chunks(size).map(<[u8]>::to_vec).collect(), b"early bird");
        assert_eq!(pair.stream.alpn_protocol(), Some(&b"h2"[..]));
        assert!(pair.stream.key_exchange_group().is_some());
        assert!(!pair.stream.has_certificate());
        assert_eq!(pair.read_all(64), b"early bird", "in pieces of {size}");
        assert_eq!(ready(pair.write(&[b"pong"])).unwrap(), 4);
        assert_eq!(pair.heard().unwrap(), b"pong");
        assert_eq!(pair.stream.buffered(), 0);
    }
}

#[test]
fn each_cipher_passes_both_ways() {
    let all = rustls::crypto::aws_lc_rs::default_provider().cipher_suites;
    let ciphers: Vec<_> =
        all.iter().filter(|suite| suite.tls13().is_some()).map(rustls::SupportedCipherSuite::suite).collect();
    assert_eq!(ciphers.len(), 3);
    for cipher in ciphers {
        let mut pair = shake(Some(cipher), |flight| vec![flight], b"");
        for round in 0..3 {
            let bytes = pair.sealed(&pattern(1000 + round));
            pair.wire.bring(&bytes);
            assert_eq!(ready(pair.read(2000)).unwrap(), pattern(1000 + round), "{cipher:?}");
            ready(pair.write(&[&pattern(500), &pattern(20_000)])).unwrap();
            assert_eq!(pair.heard().unwrap(), [pattern(500), pattern(20_000)].concat(), "{cipher:?}");
            pair.caller.refresh_traffic_keys().unwrap();
        }
    }
}

#[test]
fn the_cipher_that_costs_least_is_taken() {
    let suite = pair().caller.negotiated_cipher_suite().unwrap();
    assert_eq!(suite.suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
}

#[test]
fn a_handshake_that_fails_tells_why() {
    let perform = |bytes: &[u8]| {
        let wire = Wire::default();
        wire.bring(bytes);
        wire.end();
        let mut handshake = Box::pin(perform(configs(None).1, wire.clone(), || ()));
        let done = handshake.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()));
        let Poll::Ready(Err((failure, _))) = done else { panic!("it came to something") };
        (failure, wire.taken().concat())
    };
    let (failure, alert) = perform(b"GET / HTTP/1.1\r\n\r\n");
    assert!(matches!(
        failure,
        Failure::Tls(Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType))
    ));
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, AlertDescription::DecodeError.into()]);
    assert!(matches!(perform(&[]), (Failure::Closed, alert) if alert.is_empty()));
    assert!(matches!(perform(&[22, 3, 1, 0]), (Failure::Closed, alert) if alert.is_empty()));
    // A message that never ends, of records that each hold one byte of it.
    let endless: Vec<u8> = [1, 0, 0xff, 0xf0]
        .into_iter()
        .chain(vec![7; 80 << 10])
        .flat_map(|byte| [22, 3, 1, 0, 1, byte])
        .collect();
    assert!(matches!(perform(&endless), (Failure::Tls(_), _)));
}

#[test]
fn a_record_may_be_cut_anywhere() {
    let mut pair = pair();
    let content = pattern(300);
    for at in 1..pair.sealed(&content).len() {
        // The first one went to nobody, so each takes a connection of its own.
        if at == 1 {
            pair = self::pair();
        }
        let record = pair.sealed(&content);
        pair.wire.bring(&record[..at]);
        assert!(pair.read(1000).is_pending());
        assert_eq!(pair.stream.buffered(), at, "a part is kept in no more memory than it needs");
        pair.wire.bring(&record[at..]);
        assert_eq!(ready(pair.read(1000)).unwrap(), content, "cut at {at}");
        assert_eq!(pair.stream.buffered(), 0);
    }
}

#[test]
fn many_records_may_come_at_once() {
    for room in [1, 7, 64, 5000, 1 << 20] {
        let mut pair = pair();
        let (mut sent, mut bytes) = (Vec::new(), Vec::new());
        for length in 1..100 {
            sent.extend(pattern(length));
            bytes.extend(pair.sealed(&pattern(length)));
        }
        let (whole, part) = bytes.split_at(bytes.len() - 3);
        pair.wire.bring(whole);
        let mut got = pair.read_all(room);
        assert!(pair.stream.buffered() <= 200, "only the last is kept: {}", pair.stream.buffered());
        pair.wire.bring(part);
        got.extend(pair.read_all(room));
        assert!(got == sent, "with room for {room}");
        assert_eq!(pair.stream.buffered(), 0);
        let reads = pair.wire.0.borrow().reads;
        let room_for = if room < 64 { 20 } else { 200 };
        assert!(reads < room_for, "{reads} reads with room for {room}");
    }
}

#[test]
fn long_bodies_pass_both_ways() {
    let body = pattern(1 << 20);
    for (piece, room) in [(1 << 20, 8192), (1000, 1 << 16), (20_001, 16_384), (1 << 20, 1 << 16)] {
        let mut pair = pair();
        for part in pair.sealed(&body).chunks(piece) {
            pair.wire.bring(part);
        }
        assert!(pair.read_all(room) == body, "in, by {piece} and {room}");
        assert_eq!(pair.stream.buffered(), 0);
        let mut left = &body[..];
        while !left.is_empty() {
            let count = ready(pair.write(&[&left[..left.len().min(room)]])).unwrap();
            left = &left[count..];
        }
        assert!(pair.heard().unwrap() == body, "out, by {room}");
        assert_eq!(pair.stream.buffered(), 0);
    }
}

#[test]
fn what_is_written_together_is_one_record_and_one_write() {
    let mut pair = pair();
    let (head, body) = (pattern(150), pattern(1024));
    assert_eq!(ready(pair.write(&[&head, &[], &body])).unwrap(), 1174);
    let writes = pair.wire.taken();
    assert_eq!(writes.len(), 1);
    assert_eq!(records_of(&writes[0]), [HEADER + 1174 + 1 + 16]);
    assert_eq!(hear(&mut pair.caller, &writes[0]).unwrap(), [head, body].concat());
    // More than a record holds: as many as are needed, in one write.
    let long = pattern(40_000);
    assert_eq!(ready(pair.write(&[&long[..3], &long[3..]])).unwrap(), 40_000);
    let writes = pair.wire.taken();
    assert_eq!((writes.len(), records_of(&writes[0]).len()), (1, 3));
    assert_eq!(hear(&mut pair.caller, &writes[0]).unwrap(), long);
    // More slices than are gathered at once.
    let many = vec![&b"ab"[..]; 100];
    assert_eq!(ready(pair.write(&many)).unwrap(), 2 * SLICES);
    assert_eq!(ready(pair.write(&[&[]])).unwrap(), 0);
    assert_eq!(pair.heard().unwrap(), b"ab".repeat(SLICES));
}

#[test]
fn a_caller_who_does_not_read_holds_little() {
    for room in [0, 1, 100, PLAINTEXT + 50, 2 * RECORD] {
        let mut pair = pair();
        let body = pattern(1 << 20);
        pair.wire.make_room(room);
        let first = ready(pair.write(&[&body])).unwrap();
        assert_eq!(first, WRITE * PLAINTEXT);
        assert!(pair.write(&[&body[first..]]).is_pending(), "nothing more is taken, with room for {room}");
        assert!(pair.flush().is_pending());
        assert!(pair.shutdown().is_pending() && !pair.wire.is_shut());
        assert!(pair.stream.buffered() <= 2 * WRITE * RECORD, "{}", pair.stream.buffered());
        pair.wire.make_room(usize::MAX);
        ready(pair.shutdown()).unwrap();
        assert!(pair.heard().unwrap() == body[..first]);
        assert!(pair.wire.is_shut());
        assert_eq!(pair.stream.buffered(), 0);
    }
}

#[test]
fn what_one_read_brings_comes_as_there_is_room() {
    let mut pair = pair();
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut read = |pair: &mut Pair, room| {
        let mut space = vec![0; room];
        let mut buffer = ReadBuf::new(&mut space);
        let polled = Pin::new(&mut pair.stream).poll_read(&mut context, &mut buffer);
        polled.map(|read| read.map(|()| buffer.filled().to_vec()))
    };
    assert!(read(&mut pair, 1 << 16).is_pending());
    let bytes = [pair.sealed(&pattern(500)), pair.sealed(&pattern(700))].concat();
    pair.wire.bring(&bytes);
    assert_eq!(ready(read(&mut pair, 1 << 16)).unwrap(), [pattern(500), pattern(700)].concat());
    let bytes = pair.sealed(b"0123456789");
    pair.wire.bring(&bytes);
    for digits in ["0123", "4567", "89"] {
        assert_eq!(ready(read(&mut pair, 4)).unwrap(), digits.as_bytes());
    }
    assert_eq!(pair.stream.buffered(), 0);
}
