//! The header that carries a user's name and password (RFC 7617).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_config::htpasswd::NAME_BYTES;
use zeroize::Zeroizing;

use crate::fields::{Fields, Repeated};

/// Bytes that a password may have. The work of SHA-crypt grows with it.
const PASSWORD_BYTES: usize = 512;
/// Characters that name, colon and password may have in base64.
const ENCODED: usize = (NAME_BYTES + 1 + PASSWORD_BYTES).div_ceil(3) * 4;
const SCHEME: &str = "basic";

/// A name and a password that somebody presents; wiped when dropped.
pub struct Presented {
    bytes: Zeroizing<Vec<u8>>,
    colon: usize,
}

/// Why a header is not Basic credentials. The text is for the caller too and repeats nothing of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BasicError {
    /// Two readers might take different ones.
    #[error("the header with the credentials is there more than once")]
    Repeated,
    /// Bearer, say.
    #[error("the header with the credentials is not of the scheme Basic")]
    OtherScheme,
    /// RFC 4648 section 4, with padding.
    #[error("the credentials are not base64")]
    NotBase64,
    /// No end of the name.
    #[error("the credentials have no colon after the user's name")]
    NoColon,
    /// RFC 7617 section 2.
    #[error("the credentials have a control character in them")]
    ControlCharacter,
    /// More than any accepted credentials can have.
    #[error("the user's name is longer than 255 bytes or the password longer than 512")]
    TooLong,
}

impl Presented {
    /// From the field of a request that has this name, in lower case; none if it is not there.
    ///
    /// # Errors
    /// [`BasicError`].
    pub fn from_fields(fields: &Fields, name: &str) -> Result<Option<Self>, BasicError> {
        match fields.only_named(name) {
            Ok(value) => value.map(Self::parse).transpose(),
            Err(Repeated) => Err(BasicError::Repeated),
        }
    }

    /// From the value of the header: `Basic` in any case, a space or more, base64 of name, colon and password.
    ///
    /// # Errors
    /// [`BasicError`].
    pub fn parse(value: &[u8]) -> Result<Self, BasicError> {
        let (scheme, rest) = value.split_at_checked(SCHEME.len()).ok_or(BasicError::OtherScheme)?;
        let encoded = rest.trim_ascii_start();
        if !scheme.eq_ignore_ascii_case(SCHEME.as_bytes()) || rest.first() != Some(&b' ') {
            return Err(BasicError::OtherScheme);
        }
        if encoded.len() > ENCODED {
            return Err(BasicError::TooLong);
        }
        // Of full size from the start: a vector that grows would leave copies behind.
        let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(encoded.len())]);
        let length = STANDARD.decode_slice(encoded, &mut bytes).map_err(|_| BasicError::NotBase64)?;
        bytes.truncate(length);
        let colon = bytes.iter().position(|byte| *byte == b':').ok_or(BasicError::NoColon)?;
        if bytes.iter().any(u8::is_ascii_control) {
            return Err(BasicError::ControlCharacter);
        }
        if colon > NAME_BYTES || bytes.len() - colon > PASSWORD_BYTES {
            return Err(BasicError::TooLong);
        }
        Ok(Self { bytes, colon })
    }

    /// The name, of any bytes but control characters and colons. Text from outside: escape and clip it for a log.
    pub fn username(&self) -> &[u8] {
        self.bytes.get(..self.colon).unwrap_or_default()
    }

    /// The password.
    pub(super) fn password(&self) -> &[u8] {
        self.bytes.get(self.colon + 1..).unwrap_or_default()
    }
}

impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Presented(…)")
    }
}
