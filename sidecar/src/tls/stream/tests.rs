//! The stream against rustls as the caller, on a wire that is cut as the test wants it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::rc::Rc;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

use super::super::handshake::{Failure, perform};
use super::*;

mod faults;

/// Both directions of a connection, in memory.
#[derive(Clone, Default)]
pub(super) struct Wire(Rc<RefCell<Ends>>);

struct Ends {
    /// What the caller has sent: one read each.
    inbound: VecDeque<Vec<u8>>,
    /// Whether nothing follows it.
    is_over: bool,
    /// What was sent to the caller: one write each.
    outbound: Vec<Vec<u8>>,
    /// Bytes that are taken until the next [`Wire::taken`].
    room: usize,
    is_shut: bool,
    reads: usize,
}

impl Default for Ends {
    fn default() -> Self {
        let (inbound, outbound) = (VecDeque::new(), Vec::new());
        Self { inbound, is_over: false, outbound, room: usize::MAX, is_shut: false, reads: 0 }
    }
}

impl Wire {
    pub(super) fn bring(&self, bytes: &[u8]) {
        self.0.borrow_mut().inbound.push_back(bytes.to_vec());
    }

    fn end(&self) {
        self.0.borrow_mut().is_over = true;
    }

    fn make_room(&self, room: usize) {
        self.0.borrow_mut().room = room;
    }

    /// The writes since it was asked last.
    fn taken(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.0.borrow_mut().outbound)
    }

    fn is_shut(&self) -> bool {
        self.0.borrow().is_shut
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ends = self.0.borrow_mut();
        ends.reads += 1;
        let Some(mut chunk) = ends.inbound.pop_front() else {
            return if ends.is_over { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        let rest = chunk.split_off(chunk.len().min(buffer.remaining()));
        buffer.put_slice(&chunk);
        if !rest.is_empty() {
            ends.inbound.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut ends = self.0.borrow_mut();
        let count = bytes.len().min(ends.room);
        if count == 0 {
            return Poll::Pending;
        }
        ends.room -= count;
        ends.outbound.push(bytes[..count].to_vec());
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.poll_write(context, &all)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().is_shut = true;
        Poll::Ready(Ok(()))
    }
}

/// A caller, the wire, and the stream at its other end.
pub(super) struct Pair {
    pub(super) caller: ClientConnection,
    pub(super) wire: Wire,
    pub(super) stream: TlsStream<Wire>,
}

#[derive(Debug)]
struct Anyone(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn configs() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&key).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let versions = &[&rustls::version::TLS13];
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    server.enable_secret_extraction = true;
    server.send_tls13_tickets = 0;
    server.alpn_protocols = vec![b"h2".to_vec()];
    let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec()];
    client.enable_secret_extraction = true;
    (Arc::new(client), Arc::new(server))
}

/// Performs a handshake in which what the caller sends is cut by `cut`; `ahead` follows its last flight at once.
fn shake(cut: impl Fn(Vec<u8>) -> Vec<Vec<u8>>, ahead: &[u8]) -> Pair {
    let (client, server) = configs();
    let mut caller = ClientConnection::new(client, "a".try_into().unwrap()).unwrap();
    let wire = Wire::default();
    let mut handshake = Box::pin(perform(server, wire.clone(), || ()));
    let mut context = Context::from_waker(std::task::Waker::noop());
    loop {
        if !caller.is_handshaking() {
            caller.writer().write_all(ahead).unwrap();
        }
        for piece in cut(said(&mut caller)) {
            wire.bring(&piece);
        }
        if let Poll::Ready(done) = handshake.as_mut().poll(&mut context) {
            let stream = done.map_err(|(failure, _)| failure).unwrap();
            wire.taken();
            return Pair { caller, wire, stream };
        }
        for bytes in wire.taken() {
            hear(&mut caller, &bytes).unwrap();
        }
    }
}

pub(super) fn pair() -> Pair {
    shake(|flight| vec![flight], b"")
}

/// What the caller has to send.
fn said(caller: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while caller.wants_write() {
        caller.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn hear(caller: &mut ClientConnection, mut bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut heard = Vec::new();
    while !bytes.is_empty() {
        caller.read_tls(&mut bytes).unwrap();
        let state = caller.process_new_packets()?;
        let mut content = vec![0; state.plaintext_bytes_to_read()];
        caller.reader().read_exact(&mut content).unwrap();
        heard.extend_from_slice(&content);
    }
    Ok(heard)
}

impl Pair {
    /// What the caller sends for `content`.
    pub(super) fn sealed(&mut self, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        // rustls keeps no more than 64 KiB.
        for part in content.chunks(1 << 15) {
            self.caller.writer().write_all(part).unwrap();
            bytes.extend(said(&mut self.caller));
        }
        bytes
    }

    /// Reads with a buffer of `room` bytes.
    pub(super) fn read(&mut self, room: usize) -> Poll<io::Result<Vec<u8>>> {
        let mut bytes = vec![0; room];
        let mut buffer = ReadBuf::new(&mut bytes);
        let mut context = Context::from_waker(std::task::Waker::noop());
        let read = Pin::new(&mut self.stream).poll_read(&mut context, &mut buffer);
        read.map_ok(|()| buffer.filled().to_vec())
    }

    /// Reads until nothing more is there, with buffers of `room` bytes.
    fn read_all(&mut self, room: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while let Poll::Ready(read) = self.read(room) {
            let read = read.unwrap();
            assert!(!read.is_empty(), "an end that nobody sent");
            all.extend(read);
        }
        all
    }

    pub(super) fn write(&mut self, slices: &[&[u8]]) -> Poll<io::Result<usize>> {
        let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        let mut context = Context::from_waker(std::task::Waker::noop());
        Pin::new(&mut self.stream).poll_write_vectored(&mut context, &slices)
    }

    fn flush(&mut self) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(&mut Context::from_waker(std::task::Waker::noop()))
    }

    pub(super) fn shutdown(&mut self) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(&mut Context::from_waker(std::task::Waker::noop()))
    }

    /// What the caller understands of what was sent since it was asked last.
    pub(super) fn heard(&mut self) -> Result<Vec<u8>, Error> {
        hear(&mut self.caller, &self.wire.taken().concat())
    }
}

fn ready<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(ready) => ready,
        Poll::Pending => panic!("it waits"),
    }
}

/// Lengths of the records in `bytes`, headers included.
fn records_of(mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [_, _, _, high, low, ..] = bytes {
        let length = HEADER + usize::from(u16::from_be_bytes([*high, *low]));
        lengths.push(length);
        bytes = &bytes[length..];
    }
    lengths
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn a_handshake_may_come_in_any_pieces() {
    for size in [1, 2, 5, 7, 100, 1 << 20] {
        let mut pair = shake(|flight| flight.chunks(size).map(<[u8]>::to_vec).collect(), b"early bird");
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
fn a_handshake_that_fails_tells_why() {
    let perform = |bytes: &[u8]| {
        let wire = Wire::default();
        wire.bring(bytes);
        wire.end();
        let mut handshake = Box::pin(perform(configs().1, wire.clone(), || ()));
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
    let endless: Vec<u8> =
        [1, 0, 0xff, 0xf0].into_iter().chain([7; 80 << 10]).flat_map(|byte| [22, 3, 1, 0, 1, byte]).collect();
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
fn keys_are_renewed_when_the_caller_asks() {
    let mut pair = pair();
    for round in 0..50_u8 {
        pair.caller.refresh_traffic_keys().unwrap();
        let bytes = pair.sealed(&[round]);
        pair.wire.bring(&bytes);
        assert_eq!(ready(pair.read(10)).unwrap(), [round]);
        ready(pair.write(&[&[round]])).unwrap();
        let sent = pair.wire.taken().concat();
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

#[test]
fn a_growing_buffer_grows_by_what_comes() {
    let mut pair = pair();
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut buffer = BytesMut::new();
    assert!(pair.stream.poll_read_into(&mut context, &mut buffer, 1 << 16).is_pending());
    assert_eq!(buffer.capacity(), 0);
    let bytes = [pair.sealed(&pattern(500)), pair.sealed(&pattern(700))].concat();
    pair.wire.bring(&bytes);
    ready(pair.stream.poll_read_into(&mut context, &mut buffer, 1 << 16)).unwrap();
    assert_eq!(buffer, [pattern(500), pattern(700)].concat());
    assert!(buffer.capacity() < 3000);
    let bytes = pair.sealed(b"0123456789");
    pair.wire.bring(&bytes);
    for digits in ["0123", "4567", "89"] {
        let mut buffer = BytesMut::new();
        ready(pair.stream.poll_read_into(&mut context, &mut buffer, 4)).unwrap();
        assert_eq!(buffer, digits);
    }
    assert_eq!(pair.stream.buffered(), 0);
}
