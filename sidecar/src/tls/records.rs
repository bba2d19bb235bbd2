//! The records of a connection of TLS 1.3 whose handshake is over (RFC 8446, section 5).
//!
//! The handshake is rustls' alone, and so are the opening of a record and the secrets that follow on a key update.
//! What stands here is the order of things: which record is next, what may be in it, when keys change. rustls'
//! own connection copies each record through queues of its own, and keeps buffers and state of the handshake for
//! as long as the connection lives.

use rustls::crypto::cipher::{InboundOpaqueMessage, MessageDecrypter, OutboundChunks};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, Error, ExtractedSecrets, InvalidMessage,
    PeerMisbehaved, ProtocolVersion, SupportedCipherSuite, Tls13CipherSuite,
};

use super::seal::Sealer;

/// Bytes of a record's header: type, version, length.
pub(super) const HEADER: usize = 5;
/// Most bytes of plaintext in a record (RFC 8446, section 5.1).
pub(super) const PLAINTEXT: usize = 1 << 14;
/// Most bytes of a whole record: with the header, the inner type, padding and the tag (RFC 8446, section 5.2).
pub(super) const RECORD: usize = HEADER + PLAINTEXT + 256;

/// The version that all of them tell (RFC 8446, section 5.1): that of TLS 1.2.
const VERSION: [u8; 2] = [3, 3];

/// Records without content that may follow one another.
const EMPTY: u8 = 32;
/// Key updates that may follow one another without content between them: each costs work.
const KEY_UPDATES: u8 = 32;
/// Alerts `user_canceled` that are passed over.
const WARNINGS: u8 = 4;
/// Sequence numbers that are left when keys are renewed: for what one write seals, and the renewal itself.
const RESERVE: u64 = 16;

/// Handshake type `key_update` (RFC 8446, section 4.6.3), three bytes of length, and the one that asks for an answer
/// or doesn't: nothing else of the handshake may come after it.
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];
const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// Keys of both directions, and what comes next in each.
pub(super) struct Records {
    opener: Box<dyn MessageDecrypter>,
    sealer: Sealer,
    opened: u64,
    sealed: u64,
    /// Records that may be sealed with one key.
    most: u64,
    suite: &'static Tls13CipherSuite,
    secrets: Box<KernelConnection<ServerConnectionData>>,
    /// The caller has asked for new keys of this side.
    owes_key_update: bool,
    empty: u8,
    key_updates: u8,
    warnings: u8,
}

/// What a record held.
#[derive(Debug, PartialEq)]
pub(super) enum Opened<'a> {
    /// Content; it stands right after the header, where its ciphertext stood.
    Content(&'a [u8]),
    /// Something between the two ends, which has been dealt with.
    Nothing,
    /// The caller sends nothing more.
    CloseNotify,
}

/// Why nothing more can be read.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) error: Error,
    /// What the caller is told; nothing if it said that it ended the connection.
    pub(super) alert: Option<AlertDescription>,
}

impl Fault {
    fn new(alert: AlertDescription, error: impl Into<Error>) -> Self {
        Self { error: error.into(), alert: Some(alert) }
    }
}

/// Length of the record at the start of `bytes`, header included; none if it has not come whole.
///
/// # Errors
/// If no record of this connection can begin like that.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    let Some([kind, version @ .., high, low]) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    if ContentType::from(*kind) != ContentType::ApplicationData {
        // Everything is sealed by now, and what is sealed has this type on the outside.
        let error = match ContentType::from(*kind) {
            ContentType::Unknown(_) => Error::InvalidMessage(InvalidMessage::InvalidContentType),
            got => Error::InappropriateMessage {
                expect_types: vec![ContentType::ApplicationData],
                got_type: got,
            },
        };
        return Err(Fault::new(AlertDescription::UnexpectedMessage, error));
    }
    // It is sealed with the content, but rustls takes it for what it should be.
    if *version != VERSION {
        return Err(Fault::new(AlertDescription::DecodeError, InvalidMessage::UnknownProtocolVersion));
    }
    let whole = HEADER + usize::from(u16::from_be_bytes([*high, *low]));
    if whole > RECORD {
        return Err(Fault::new(AlertDescription::RecordOverflow, Error::PeerSentOversizedRecord));
    }
    Ok((bytes.len() >= whole).then_some(whole))
}

impl Records {
    /// Takes over from a handshake that is complete and has nothing left to send.
    ///
    /// # Errors
    /// If it isn't, or wasn't of TLS 1.3, or its configuration keeps the secrets.
    pub(super) fn after(handshake: UnbufferedServerConnection) -> Result<Self, Error> {
        let (ExtractedSecrets { tx: (sealed, tx), rx: (opened, rx) }, secrets) =
            handshake.dangerous_into_kernel_connection()?;
        let SupportedCipherSuite::Tls13(suite) = secrets.negotiated_cipher_suite() else {
            return Err(Error::General("this is not TLS 1.3".to_owned()));
        };
        Ok(Self {
            opener: opener(suite, rx)?,
            sealer: Sealer::new(tx)?,
            opened,
            sealed,
            most: suite.common.confidentiality_limit,
            suite,
            secrets: Box::new(secrets),
            owes_key_update: false,
            empty: EMPTY,
            key_updates: KEY_UPDATES,
            warnings: WARNINGS,
        })
    }

    /// Opens a whole record, in place.
    ///
    /// # Errors
    /// [`Fault`]; nothing may be opened any more.
    pub(super) fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<Opened<'a>, Fault> {
        let sealed = record.get_mut(HEADER..).unwrap_or_default();
        let message =
            InboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, sealed);
        let message = self.opener.decrypt(message, self.opened).map_err(|error| {
            let alert = match &error {
                Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
                Error::DecryptError => AlertDescription::BadRecordMac,
                _ => AlertDescription::UnexpectedMessage,
            };
            Fault::new(alert, error)
        })?;
        // As many records as there are numbers outlive any connection.
        self.opened = self.opened.saturating_add(1);
        let content = message.payload;
        match message.typ {
            ContentType::ApplicationData if content.is_empty() => {
                self.empty = self.empty.checked_sub(1).ok_or_else(|| {
                    Fault::new(AlertDescription::UnexpectedMessage, PeerMisbehaved::TooManyEmptyFragments)
                })?;
                Ok(Opened::Nothing)
            }
            ContentType::ApplicationData => {
                (self.empty, self.key_updates) = (EMPTY, KEY_UPDATES);
                Ok(Opened::Content(content))
            }
            ContentType::Alert => self.alerted(content),
            ContentType::Handshake => self.updated(content),
            got_type => {
                let expect_types =
                    vec![ContentType::ApplicationData, ContentType::Handshake, ContentType::Alert];
                let error = Error::InappropriateMessage { expect_types, got_type };
                Err(Fault::new(AlertDescription::UnexpectedMessage, error))
            }
        }
    }

    fn alerted(&mut self, content: &[u8]) -> Result<Opened<'static>, Fault> {
        let &[level, description] = content else {
            let error = InvalidMessage::TrailingData("Alert");
            return Err(Fault::new(AlertDescription::DecodeError, error));
        };
        match AlertDescription::from(description) {
            AlertDescription::CloseNotify => Ok(Opened::CloseNotify),
            AlertDescription::UserCanceled if level == WARNING => {
                self.warnings = self.warnings.checked_sub(1).ok_or_else(|| {
                    let error = PeerMisbehaved::TooManyWarningAlertsReceived;
                    Fault::new(AlertDescription::UnexpectedMessage, error)
                })?;
                Ok(Opened::Nothing)
            }
            // Whatever level it is said to have, it ends the connection (RFC 8446, section 6.2).
            other => Err(Fault { error: Error::AlertReceived(other), alert: None }),
        }
    }

    fn updated(&mut self, content: &[u8]) -> Result<Opened<'static>, Fault> {
        // Keys change between two records, so a message that does it fills one: neither cut in pieces nor followed
        // by another.
        let Some((&KEY_UPDATE, &[asks])) = content.split_first_chunk() else {
            let error = PeerMisbehaved::KeyEpochWithPendingFragment;
            return Err(Fault::new(AlertDescription::UnexpectedMessage, error));
        };
        if asks > 1 {
            let error = InvalidMessage::InvalidKeyUpdate;
            return Err(Fault::new(AlertDescription::IllegalParameter, error));
        }
        self.key_updates = self.key_updates.checked_sub(1).ok_or_else(|| {
            Fault::new(AlertDescription::UnexpectedMessage, PeerMisbehaved::TooManyKeyUpdateRequests)
        })?;
        let internal = |error| Fault::new(AlertDescription::InternalError, error);
        let (opened, secrets) = self.secrets.update_rx_secret().map_err(internal)?;
        self.opener = opener(self.suite, secrets).map_err(internal)?;
        self.opened = opened;
        // Several requests have one answer, before the next content.
        self.owes_key_update |= asks == 1;
        Ok(Opened::Nothing)
    }

    /// Changes this side's keys if they are used up or the caller wants it, and appends the record that says so, which
    /// is to be sent before any other.
    ///
    /// # Errors
    /// If no key can be made; nothing may be sealed any more.
    pub(super) fn renew(&mut self, to: &mut Vec<u8>) -> Result<(), Error> {
        if !self.owes_key_update && self.sealed.saturating_add(RESERVE) < self.most {
            return Ok(());
        }
        let [kind, a, b, c] = KEY_UPDATE;
        self.seal(ContentType::Handshake, &OutboundChunks::Single(&[kind, a, b, c, 0]), to)?;
        let (sealed, secrets) = self.secrets.update_tx_secret()?;
        self.sealer = Sealer::new(secrets)?;
        self.sealed = sealed;
        self.owes_key_update = false;
        Ok(())
    }

    /// Appends a record of at most [`PLAINTEXT`] bytes of content.
    ///
    /// # Errors
    /// If the cipher can't, or the key is used up; nothing may be sealed any more.
    pub(super) fn content(&mut self, content: &OutboundChunks<'_>, to: &mut Vec<u8>) -> Result<(), Error> {
        self.seal(ContentType::ApplicationData, content, to)
    }

    /// Appends the record with an alert.
    ///
    /// # Errors
    /// As [`Self::content`].
    pub(super) fn alert(&mut self, description: AlertDescription, to: &mut Vec<u8>) -> Result<(), Error> {
        let level = if description == AlertDescription::CloseNotify { WARNING } else { FATAL };
        self.seal(ContentType::Alert, &OutboundChunks::Single(&[level, description.into()]), to)
    }

    fn seal(
        &mut self,
        kind: ContentType,
        content: &OutboundChunks<'_>,
        to: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if self.sealed >= self.most {
            return Err(Error::EncryptError);
        }
        let number = self.sealed;
        // A number is never used twice, not even after a failure.
        self.sealed = number.saturating_add(1);
        self.sealer.seal(number, kind, content, to)
    }

    /// Lets keys be used up soon.
    #[cfg(test)]
    pub(super) fn limit(&mut self, most: u64) {
        self.most = most;
    }
}

fn opener(
    suite: &Tls13CipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Result<Box<dyn MessageDecrypter>, Error> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => Ok(suite.aead_alg.decrypter(key, iv)),
        _ => Err(Error::General("the cipher is not known here".to_owned())),
    }
}
