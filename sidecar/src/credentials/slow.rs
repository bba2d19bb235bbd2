//! One check of a hash that is slow by intention.

use aws_lc_rs::pbkdf2;
use postern_config::verifier::Slow;
use sha_crypt::{PasswordVerifier, ShaCrypt};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of a password that bcrypt looks at.
const BCRYPT_BYTES: usize = 72;

/// Whether the password is the hash's. Takes from a millisecond to a second.
pub(super) fn is_right(slow: &Slow, password: &[u8]) -> bool {
    match slow {
        Slow::Pbkdf2 { iterations, salt, hash } => {
            pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, *iterations, salt, password, hash).is_ok()
        }
        Slow::Bcrypt { cost, salt, hash } => {
            // With the NUL at its end, as all that write `$2a$`, `$2b$` and `$2y$` do.
            let mut key = Zeroizing::new(Vec::with_capacity(BCRYPT_BYTES));
            key.extend(password.iter().copied().chain([0]).take(BCRYPT_BYTES));
            let found = Zeroizing::new(bcrypt::bcrypt(*cost, *salt, &key));
            found.get(..hash.len()).is_some_and(|found| found.ct_eq(hash).into())
        }
        Slow::ShaCrypt { text, .. } => ShaCrypt::default().verify_password(password, text.as_str()).is_ok(),
    }
}
