//! Sealing of records, at the end of whatever buffer they are sent from (RFC 8446, section 5.2).
//!
//! The key and the cipher are those that rustls uses itself; its own way to seal allocates each record.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, TlsProtocolId, TlsRecordSealingKey,
    UnboundKey,
};
use rustls::crypto::cipher::{self, Iv, OutboundChunks, make_tls13_aad};
use rustls::{ConnectionTrafficSecrets, ContentType, Error};

use super::records::{HEADER, PLAINTEXT};

/// Bytes that a tag takes, with each of the ciphers.
const TAG: usize = 16;

/// A key, and what makes a nonce of a record's number.
pub(super) struct Sealer {
    key: Key,
    iv: Iv,
}

enum Key {
    /// Refuses a number that isn't above the last.
    Gcm(TlsRecordSealingKey),
    ChaCha(LessSafeKey),
}

impl Sealer {
    /// # Errors
    /// If the cipher isn't known here.
    pub(super) fn new(secrets: ConnectionTrafficSecrets) -> Result<Self, Error> {
        let gcm = |algorithm, key: &[u8]| {
            TlsRecordSealingKey::new(algorithm, TlsProtocolId::TLS13, key).map(Key::Gcm)
        };
        let (key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (gcm(&AES_128_GCM, key.as_ref()), iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (gcm(&AES_256_GCM, key.as_ref()), iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_ref());
                (key.map(|key| Key::ChaCha(LessSafeKey::new(key))), iv)
            }
            _ => return Err(Error::General("the cipher is not known here".to_owned())),
        };
        Ok(Self { key: key.map_err(|_| Error::EncryptError)?, iv })
    }

    /// Appends record `number` to `to`, with at most [`PLAINTEXT`] bytes of content. A number is used once.
    ///
    /// # Errors
    /// If the cipher can't; nothing is appended.
    pub(super) fn seal(
        &mut self,
        number: u64,
        kind: ContentType,
        content: &OutboundChunks<'_>,
        to: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if content.len() > PLAINTEXT {
            return Err(Error::EncryptError);
        }
        let start = to.len();
        // What is authenticated besides the content is the record's header.
        let header = make_tls13_aad(content.len() + 1 + TAG);
        to.reserve(HEADER + content.len() + 1 + TAG);
        to.extend_from_slice(&header);
        content.copy_to_vec(to);
        to.push(kind.into());
        let plain = to.get_mut(start + HEADER..).unwrap_or_default();
        let nonce = Nonce::assume_unique_for_key(cipher::Nonce::new(&self.iv, number).0);
        let tag = match &mut self.key {
            Key::Gcm(key) => key.seal_in_place_separate_tag(nonce, Aad::from(header), plain),
            Key::ChaCha(key) => key.seal_in_place_separate_tag(nonce, Aad::from(header), plain),
        };
        let Ok(tag) = tag else {
            // Nobody is to see what could not be sealed.
            to.truncate(start);
            return Err(Error::EncryptError);
        };
        to.extend_from_slice(tag.as_ref());
        Ok(())
    }
}
