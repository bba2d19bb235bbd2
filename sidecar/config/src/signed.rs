//! Ed25519 signatures (RFC 8032) with domain separation.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// What a signature is for; one kind of object can't be passed off as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// [`crate::bundle::Bundle`].
    Bundle,
    /// [`crate::record::PodRecord`].
    PodRecord,
    /// Salts of password hashes: what is signed is never shown, so that nobody foresees them.
    Salt,
}

impl Domain {
    const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Bundle => b"postern.dev/bundle/v1\0",
            Self::PodRecord => b"postern.dev/pod-record/v1\0",
            Self::Salt => b"postern.dev/salt/v1\0",
        }
    }

    fn message(self, payload: &[u8]) -> Vec<u8> {
        [self.prefix(), payload].concat()
    }
}

/// Why a signature, or a key, is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not base64, or not 64 bytes.
    #[error("is malformed")]
    Malformed,
    /// Well formed, but made by another key or over other bytes.
    #[error("was not made by the operator's key over these bytes")]
    Mismatch,
    /// A key that is no Ed25519 key.
    #[error("the key is not an Ed25519 key")]
    BadKey,
}

/// The operator's signing key.
pub struct Signer {
    pair: Ed25519KeyPair,
}

impl Signer {
    /// A new key as PKCS#8 (DER), to be kept in the operator's namespace.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn generate() -> Result<Zeroizing<Vec<u8>>, SignatureError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| SignatureError::BadKey)?;
        let document = pair.to_pkcs8().map_err(|_| SignatureError::BadKey)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// From PKCS#8 (DER).
    ///
    /// # Errors
    /// If the bytes are no Ed25519 key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, SignatureError> {
        Ok(Self { pair: Ed25519KeyPair::from_pkcs8(der).map_err(|_| SignatureError::BadKey)? })
    }

    /// The signature, standard base64.
    pub fn sign(&self, domain: Domain, payload: &[u8]) -> String {
        STANDARD.encode(self.pair.sign(&domain.message(payload)))
    }

    /// The key that checks what this one signs.
    pub fn verify_key(&self) -> VerifyKey {
        let mut bytes = [0; 32];
        // An Ed25519 public key is 32 bytes; copying by zip cannot go out of bounds.
        for (to, from) in bytes.iter_mut().zip(self.pair.public_key().as_ref()) {
            *to = *from;
        }
        VerifyKey(bytes)
    }
}

/// A public key, 32 bytes; written as unpadded URL-safe base64 (43 characters).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyKey([u8; 32]);

impl std::fmt::Display for VerifyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl std::str::FromStr for VerifyKey {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| SignatureError::BadKey)?;
        Ok(Self(bytes.try_into().map_err(|_| SignatureError::BadKey)?))
    }
}

/// Checks `signature` (standard base64) over `payload` against each of `keys`.
///
/// # Errors
/// [`SignatureError::Malformed`] or [`SignatureError::Mismatch`].
pub fn verify(
    domain: Domain,
    payload: &[u8],
    signature: &str,
    keys: &[VerifyKey],
) -> Result<(), SignatureError> {
    let signature = STANDARD.decode(signature.trim_ascii()).map_err(|_| SignatureError::Malformed)?;
    if signature.len() != 64 {
        return Err(SignatureError::Malformed);
    }
    let message = domain.message(payload);
    keys.iter()
        .any(|key| UnparsedPublicKey::new(&ED25519, key.0).verify(&message, &signature).is_ok())
        .then_some(())
        .ok_or(SignatureError::Mismatch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::from_pkcs8(&Signer::generate().unwrap()).unwrap()
    }

    #[test]
    fn a_signature_holds_for_its_bytes_domain_and_key_alone() {
        let (ours, other) = (signer(), signer());
        let signature = ours.sign(Domain::Bundle, b"payload");
        let keys = [other.verify_key(), ours.verify_key()];
        assert_eq!(verify(Domain::Bundle, b"payload", &signature, &keys), Ok(()));
        for (case, result) in [
            ("other bytes", verify(Domain::Bundle, b"payloae", &signature, &keys)),
            ("other domain", verify(Domain::PodRecord, b"payload", &signature, &keys)),
            ("other key", verify(Domain::Bundle, b"payload", &signature, &[other.verify_key()])),
            ("no key", verify(Domain::Bundle, b"payload", &signature, &[])),
        ] {
            assert_eq!(result, Err(SignatureError::Mismatch), "{case}");
        }
        assert_eq!(verify(Domain::Bundle, b"payload", "AAAA", &keys), Err(SignatureError::Malformed));
        assert_eq!(verify(Domain::Bundle, b"payload", "not base64!", &keys), Err(SignatureError::Malformed));
    }

    #[test]
    fn a_key_reads_back_as_written() {
        let key = signer().verify_key();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!("AAAA".parse::<VerifyKey>(), Err(SignatureError::BadKey));
    }
}
