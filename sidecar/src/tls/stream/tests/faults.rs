//! What no proper caller sends.

use rustls::crypto::cipher::{MessageEncrypter, OutboundPlainMessage};
use rustls::{
    ConnectionTrafficSecrets, ContentType, InvalidMessage, PeerMisbehaved, ProtocolVersion,
    SupportedCipherSuite,
};

use super::*;

/// Seals anything by the caller's key, and reads what is answered.
struct Forger {
    sealer: Box<dyn MessageEncrypter>,
    sealed: u64,
    opener: Box<dyn rustls::crypto::cipher::MessageDecrypter>,
    wire: Wire,
    stream: TlsStream<Wire>,
}

fn forger() -> Forger {
    let Pair { caller, wire, stream } = pair();
    let Some(SupportedCipherSuite::Tls13(suite)) = caller.negotiated_cipher_suite() else { panic!() };
    let secrets = caller.dangerous_extract_secrets().unwrap();
    let parts = |secrets| match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => panic!(),
    };
    let ((key, iv), (their_key, their_iv)) = (parts(secrets.tx.1), parts(secrets.rx.1));
    let sealer = suite.aead_alg.encrypter(key, iv);
    let opener = suite.aead_alg.decrypter(their_key, their_iv);
    Forger { sealer, sealed: 0, opener, wire, stream }
}

impl Forger {
    fn seal(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ: ContentType::from(kind),
            version: ProtocolVersion::TLSv1_2,
            payload: content.into(),
        };
        self.sealed += 1;
        self.sealer.encrypt(message, self.sealed - 1).unwrap().encode()
    }

    fn read(&mut self) -> Poll<io::Result<Vec<u8>>> {
        let mut bytes = [0; 100];
        let mut buffer = ReadBuf::new(&mut bytes);
        let mut context = Context::from_waker(std::task::Waker::noop());
        let read = Pin::new(&mut self.stream).poll_read(&mut context, &mut buffer);
        read.map_ok(|()| buffer.filled().to_vec())
    }

    /// Sends `bytes`, which aren't taken: the error, and the alert.
    fn refused(mut self, bytes: &[u8]) -> (Error, Option<AlertDescription>) {
        // What came before counts, even when it came with it.
        let before = self.seal(23, b"before");
        self.refused_after(&[before, bytes.to_vec()].concat())
    }

    fn refused_after(mut self, bytes: &[u8]) -> (Error, Option<AlertDescription>) {
        self.wire.bring(bytes);
        assert_eq!(ready(self.read()).unwrap(), b"before");
        for _ in 0..2 {
            let error = ready(self.read()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        assert_eq!(self.stream.buffered(), 0);
        let Reading::Failed(error) = &self.stream.reading else { panic!() };
        let error = Error::clone(error);
        // Nothing else may be said.
        let mut context = Context::from_waker(std::task::Waker::noop());
        let written = Pin::new(&mut self.stream).poll_write(&mut context, b"more");
        assert_eq!(ready(written).unwrap_err().kind(), io::ErrorKind::InvalidData);
        ready(Pin::new(&mut self.stream).poll_shutdown(&mut context)).unwrap();
        assert!(self.wire.is_shut());
        let mut sent = self.wire.taken().concat();
        if sent.is_empty() {
            return (error, None);
        }
        let sealed = &mut sent[HEADER..];
        let message = rustls::crypto::cipher::InboundOpaqueMessage::new(
            ContentType::ApplicationData,
            ProtocolVersion::TLSv1_2,
            sealed,
        );
        let alert = self.opener.decrypt(message, 0).unwrap();
        assert_eq!(alert.typ, ContentType::Alert);
        let &[2, description] = alert.payload else { panic!("{:?}", alert.payload) };
        (error, Some(description.into()))
    }

    /// Sends a record of this kind and content, which isn't taken.
    fn refuses(mut self, kind: u8, content: &[u8]) -> (Error, Option<AlertDescription>) {
        let before = self.seal(23, b"before");
        let record = self.seal(kind, content);
        self.refused_after(&[before, record].concat())
    }
}

#[test]
fn what_was_tampered_with_ends_the_connection() {
    for at in [HEADER, HEADER + 3, HEADER + 12, HEADER + 21] {
        let mut forger = forger();
        let before = forger.seal(23, b"before");
        let mut record = forger.seal(23, b"abcde");
        record[at] ^= 1;
        let refused = forger.refused_after(&[before, record].concat());
        assert_eq!(refused, (Error::DecryptError, Some(AlertDescription::BadRecordMac)), "at {at}");
    }
    // Again, or out of turn.
    let mut forger = forger();
    let before = forger.seal(23, b"before");
    let refused = forger.refused_after(&[&before[..], &before].concat());
    assert_eq!(refused, (Error::DecryptError, Some(AlertDescription::BadRecordMac)));
}

#[test]
fn what_is_no_record_ends_the_connection() {
    use AlertDescription::{DecodeError, RecordOverflow, UnexpectedMessage};
    let (error, alert) = forger().refused(b"GET / HTTP/1.1\r\n");
    assert_eq!(
        (error, alert),
        (Error::InvalidMessage(InvalidMessage::InvalidContentType), Some(UnexpectedMessage))
    );
    for kind in [20, 21, 22, 24] {
        let (error, alert) = forger().refused(&[kind, 3, 3, 0, 2, 2, 0]);
        assert!(matches!(error, Error::InappropriateMessage { .. }), "{kind}: {error:?}");
        assert_eq!(alert, Some(UnexpectedMessage), "in the clear: {kind}");
    }
    for version in [[2, 3], [3, 1], [3, 4]] {
        let (_, alert) = forger().refused(&[23, version[0], version[1], 0, 40]);
        assert_eq!(alert, Some(DecodeError), "{version:?}");
    }
    let [high, low] = u16::try_from(RECORD - HEADER + 1).unwrap().to_be_bytes();
    let refused = forger().refused(&[23, 3, 3, high, low]);
    assert_eq!(refused, (Error::PeerSentOversizedRecord, Some(RecordOverflow)));
    // Too short for a tag.
    let refused = forger().refused(&[23, 3, 3, 0, 3, 1, 2, 3]);
    assert_eq!(refused, (Error::DecryptError, Some(AlertDescription::BadRecordMac)));
    let (error, alert) = forger().refuses(23, &vec![7; PLAINTEXT + 1]);
    assert_eq!((error, alert), (Error::PeerSentOversizedRecord, Some(RecordOverflow)));
}

#[test]
fn what_does_not_belong_after_a_handshake_ends_the_connection() {
    use AlertDescription::{IllegalParameter, UnexpectedMessage};
    // A change_cipher_spec, a type that there isn't, and none at all.
    for (kind, content) in [(20, &[1][..]), (99, b"what"), (0, b"")] {
        let (error, alert) = forger().refuses(kind, content);
        assert_eq!(alert, Some(UnexpectedMessage), "{kind}: {error:?}");
    }
    // A ticket, half a key update, one that something follows, and two of them.
    for content in [
        &[4, 0, 0, 1, 0][..],
        &[24, 0, 0],
        &[24, 0, 0, 1],
        &[24, 0, 0, 1, 0, 4],
        &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0],
        &[],
    ] {
        let (error, alert) = forger().refuses(22, content);
        assert_eq!(
            (error, alert),
            (Error::PeerMisbehaved(PeerMisbehaved::KeyEpochWithPendingFragment), Some(UnexpectedMessage)),
            "{content:?}"
        );
    }
    let (error, alert) = forger().refuses(22, &[24, 0, 0, 1, 2]);
    assert_eq!(
        (error, alert),
        (Error::InvalidMessage(InvalidMessage::InvalidKeyUpdate), Some(IllegalParameter))
    );
}

#[test]
fn alerts_end_the_connection_but_one() {
    for (level, description) in [(2, 40), (2, 80), (1, 40), (2, 90), (2, 20)] {
        let refused = forger().refuses(21, &[level, description]);
        assert_eq!(refused, (Error::AlertReceived(description.into()), None));
    }
    for content in [&[][..], &[2], &[1, 0, 0]] {
        let (_, alert) = forger().refuses(21, content);
        assert_eq!(alert, Some(AlertDescription::DecodeError));
    }
    let mut forger = forger();
    for _ in 0..4 {
        let canceled = forger.seal(21, &[1, 90]);
        forger.wire.bring(&canceled);
        assert!(forger.read().is_pending());
    }
    let (error, _) = forger.refuses(21, &[1, 90]);
    assert_eq!(error, Error::PeerMisbehaved(PeerMisbehaved::TooManyWarningAlertsReceived));
}

#[test]
fn a_caller_cannot_keep_us_busy_with_nothing() {
    let mut forger = forger();
    let mut refused = |kind, content: &[u8], most: usize| {
        for _ in 0..2 {
            // Content between them starts the count anew.
            for _ in 0..most {
                let record = forger.seal(kind, content);
                forger.wire.bring(&record);
                assert!(forger.read().is_pending());
            }
            let before = forger.seal(23, b"content");
            forger.wire.bring(&before);
            assert_eq!(ready(forger.read()).unwrap(), b"content");
        }
        let mut flood = forger.seal(23, b"before");
        for _ in 0..=most {
            flood.extend(forger.seal(kind, content));
        }
        flood
    };
    let flood = refused(23, b"", 32);
    let (error, alert) = forger.refused_after(&flood);
    assert_eq!(error, Error::PeerMisbehaved(PeerMisbehaved::TooManyEmptyFragments));
    assert_eq!(alert, Some(AlertDescription::UnexpectedMessage));
}

#[test]
fn key_updates_without_content_are_counted() {
    let mut pair = pair();
    let mut flood = Vec::new();
    for _ in 0..33 {
        pair.caller.refresh_traffic_keys().unwrap();
        flood.extend(said(&mut pair.caller));
    }
    pair.wire.bring(&flood);
    let error = ready(pair.read(10)).unwrap_err();
    assert!(error.to_string().contains("TooManyKeyUpdateRequests"), "{error}");
    assert!(pair.heard().unwrap_err().to_string().contains("UnexpectedMessage"));
}
