//! The stream against rustls as the caller, on a wire that is cut as the test wants it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::rc::Rc;
use std::sync::Arc;

use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CipherSuite, ClientConfig, ClientConnection, DistinguishedName, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};

use super::super::handshake::{Failure, perform};
use super::super::{Admission, server_config};
use super::*;
use crate::authorize::door::ClientCertificate;
use crate::identify::{Caller, Refusal};
use crate::unverified;

mod ends;
mod faults;
mod passing;
mod random;

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

/// Nobody is asked for a certificate.
#[derive(Debug)]
struct Nobody;

impl Admission for Nobody {
    fn admit(&self, _: &[CertificateDer<'_>], _: UnixTime) -> Result<Arc<Caller>, Box<Refusal>> {
        unreachable!("no certificate was asked for")
    }

    fn hints(&self) -> Vec<DistinguishedName> {
        Vec::new()
    }
}

/// For all ciphers, or for one.
fn configs(cipher: Option<CipherSuite>) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| cipher.is_none_or(|cipher| suite.suite() == cipher));
    let provider = Arc::new(provider);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&key).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let certified = CertifiedKey::from_der(vec![certificate.der().clone()], key, &provider).unwrap();
    let certificate = Arc::new(SingleCertAndKey::from(certified));
    let server =
        server_config(&provider, certificate, Arc::new(Nobody), ClientCertificate::Unwanted, &[b"h2"]);
    let mut client = unverified::config_with(provider).unwrap();
    client.alpn_protocols = vec![b"h2".to_vec()];
    client.enable_secret_extraction = true;
    (Arc::new(client), server.unwrap())
}

/// Performs a handshake in which what the caller sends is cut by `cut`; `ahead` follows its last flight at once.
fn shake(cipher: Option<CipherSuite>, cut: impl Fn(Vec<u8>) -> Vec<Vec<u8>>, ahead: &[u8]) -> Pair {
    let (client, server) = configs(cipher);
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
    shake(None, |flight| vec![flight], b"")
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
    (0..=250_u8).cycle().take(length).collect()
}
