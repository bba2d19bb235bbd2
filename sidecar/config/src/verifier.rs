//! What a password or a secret value is checked by: the formats of [`crate::policy::Credential::verifier`], and
//! how much work a check may be.
//!
//! The bounds hold for what the operator writes and for what the sidecar reads alike, so that nothing gets into a
//! policy that would keep a sidecar busy for minutes, or that a stolen file gives away in minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use aws_lc_rs::{digest, pbkdf2 as lc};
use base64::Engine as _;
use base64::alphabet::BCRYPT;
use base64::engine::general_purpose::{NO_PAD, STANDARD_NO_PAD};
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

/// Iterations of PBKDF2 that [`pbkdf2`] writes.
pub const PBKDF2_ITERATIONS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();
/// Iterations of PBKDF2 that are accepted.
pub const PBKDF2_BOUNDS: RangeInclusive<u32> = 100_000..=2_000_000;
/// Costs of bcrypt that are accepted: from what `htpasswd -B` writes unasked, to about a second.
pub const BCRYPT_BOUNDS: RangeInclusive<u32> = 5..=14;
/// Rounds of SHA-crypt that are accepted: from what `openssl passwd -6` writes unasked, to about a second.
pub const SHA_CRYPT_BOUNDS: RangeInclusive<u32> = 5_000..=1_000_000;
/// Different passwords that one user may have among the users of one lock: two during a rotation, and some more
/// where several callers share a name.
pub const PASSWORDS_PER_USER: usize = 64;
/// What one check may take on one core, about, whoever the user is.
pub const MOST_WORK: Duration = Duration::from_secs(3);

const SALT_BYTES: RangeInclusive<usize> = 8..=64;
const HASH_BYTES: usize = 32;
const SHA_CRYPT_ALPHABET: &str = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// As bcrypt writes it; the last characters of salt and hash carry bits without meaning, which some tools set.
const BCRYPT_BASE64: GeneralPurpose =
    GeneralPurpose::new(&BCRYPT, GeneralPurposeConfig::with_decode_allow_trailing_bits(NO_PAD_CONFIG, true));
const NO_PAD_CONFIG: GeneralPurposeConfig = NO_PAD;

/// What is compared with what somebody presents.
#[derive(Clone, PartialEq, Eq)]
pub enum Verifier {
    /// SHA-256 of a secret that cannot be guessed: checked at once.
    Sha256([u8; 32]),
    /// A hash that is slow by intention.
    Slow(Slow),
}

/// A hash that is slow by intention.
#[derive(Clone, PartialEq, Eq)]
pub enum Slow {
    /// PBKDF2 with HMAC-SHA-256 (RFC 8018).
    Pbkdf2 {
        /// How often.
        iterations: NonZeroU32,
        /// 8–64 bytes.
        salt: Vec<u8>,
        /// 32 bytes.
        hash: [u8; HASH_BYTES],
    },
    /// bcrypt; it looks at the first 72 bytes of a password.
    Bcrypt {
        /// Base-2 logarithm of the rounds.
        cost: u32,
        /// Random.
        salt: [u8; 16],
        /// All that is kept of the 24 bytes.
        hash: [u8; 23],
    },
    /// SHA-crypt, as glibc's `crypt` has it.
    ShaCrypt {
        /// As written, in Modular Crypt Format.
        text: String,
        /// With SHA-512, else SHA-256.
        is_512: bool,
        /// How often.
        rounds: u32,
        /// Length of the salt in characters, 8–16.
        salt_length: usize,
    },
}

/// What a check costs: two checks of equal work take equally long for equally long passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// By iterations.
    Pbkdf2(NonZeroU32),
    /// By cost.
    Bcrypt(u32),
    /// By rounds and the salt's length.
    Sha256Crypt(u32, usize),
    /// By rounds and the salt's length.
    Sha512Crypt(u32, usize),
}

/// A verifier that is not used. The text of a verifier is never quoted: it may be a password by mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// Nothing there.
    #[error("there is no hash; write one with `htpasswd -B` or `openssl passwd -6`")]
    Empty,
    /// A scheme that is broken, or no hash at all.
    #[error(
        "{0}; replace it by one that `htpasswd -B` (bcrypt) or `openssl passwd -6` (SHA-512-crypt) writes"
    )]
    Weak(&'static str),
    /// Neither known nor known to be weak.
    #[error(
        "this kind of hash is not known here; use bcrypt (`htpasswd -B`), SHA-crypt (`openssl passwd -6`) or \
         $pbkdf2-sha256$"
    )]
    Unknown,
    /// Of a known kind, but broken.
    #[error("the {kind} hash is damaged ({part}); copy it whole, or write it anew")]
    Malformed {
        /// Of what kind.
        kind: &'static str,
        /// What of it.
        part: &'static str,
    },
    /// Too little work for an attacker, or too much for the sidecar.
    #[error("{kind} with {what} {found} is not accepted, {least} to {most} is; write the hash anew")]
    OutOfBounds {
        /// Of what kind.
        kind: &'static str,
        /// What is counted.
        what: &'static str,
        /// As written.
        found: u64,
        /// From.
        least: u32,
        /// To.
        most: u32,
    },
}

/// Users who cannot stand behind one lock together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// One verifier.
    #[error("user {user:?}: {error}")]
    Verifier {
        /// Whose.
        user: String,
        /// Why.
        error: VerifierError,
    },
    /// Too many entries for one name.
    #[error(
        "user {0:?} has more than {PASSWORDS_PER_USER} different passwords; give callers names of their own"
    )]
    TooManyPasswords(String),
    /// Since every check does the work of all kinds of hashes that are there, they add up.
    #[error(
        "to check one password would take about {seconds} s, since every check does the same work whoever the user \
         is; use one kind of hash with one, lower cost for all users of a lock, and names of their own for callers"
    )]
    TooMuchWork {
        /// About.
        seconds: u64,
    },
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(_) => f.write_str("Sha256(…)"),
            Self::Slow(slow) => slow.fmt(f),
        }
    }
}

impl fmt::Debug for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}(…)", self.work())
    }
}

impl Verifier {
    /// Reads any format of [`crate::policy::Credential::verifier`].
    ///
    /// # Errors
    /// [`VerifierError`].
    pub fn parse(text: &str) -> Result<Self, VerifierError> {
        if let Some(digits) = text.strip_prefix("sha256:") {
            let mut digest = [0; 32];
            let is_canonical = !digits.bytes().any(|byte| byte.is_ascii_uppercase());
            return match hex::decode_to_slice(digits, &mut digest) {
                Ok(()) if is_canonical => Ok(Self::Sha256(digest)),
                _ => Err(VerifierError::Malformed { kind: "SHA-256", part: "not 64 lower-case hex digits" }),
            };
        }
        Slow::parse(text).map(Self::Slow)
    }
}

impl Slow {
    /// Reads a slow hash.
    ///
    /// # Errors
    /// [`VerifierError`].
    pub fn parse(text: &str) -> Result<Self, VerifierError> {
        let fields: Vec<&str> = text.split('$').collect();
        match fields.as_slice() {
            [""] => Err(VerifierError::Empty),
            ["", "pbkdf2-sha256", rest @ ..] => Self::pbkdf2(rest),
            ["", "2a" | "2b" | "2y", rest @ ..] => Self::bcrypt(rest),
            ["", "5", rest @ ..] => Self::sha_crypt(text, false, rest),
            ["", "6", rest @ ..] => Self::sha_crypt(text, true, rest),
            ["", "2x", ..] => Err(VerifierError::Weak("$2x$ marks bcrypt hashes made by a faulty version")),
            ["", "apr1", ..] => Err(VerifierError::Weak("$apr1$ is MD5, which is guessed fast")),
            ["", "1", ..] => Err(VerifierError::Weak("$1$ is MD5, which is guessed fast")),
            ["", ..] => Err(VerifierError::Unknown),
            [plain] if plain.starts_with("{SHA}") || plain.starts_with("{SSHA}") => {
                Err(VerifierError::Weak("{SHA} is a single round of SHA-1, which is guessed fast"))
            }
            [plain] if plain.len() == 13 && plain.chars().all(|it| SHA_CRYPT_ALPHABET.contains(it)) => {
                Err(VerifierError::Weak(
                    "this is DES crypt, which ends a password after 8 characters and is broken",
                ))
            }
            _ => Err(VerifierError::Weak("this is no hash, but perhaps a password in plain text")),
        }
    }

    fn pbkdf2(fields: &[&str]) -> Result<Self, VerifierError> {
        let damaged = |part| VerifierError::Malformed { kind: "PBKDF2", part };
        let [iterations, salt, hash] = fields else { return Err(damaged("not of four parts")) };
        let iterations = iterations.strip_prefix("i=").ok_or_else(|| damaged("no i=<iterations>"))?;
        let iterations = number(iterations).ok_or_else(|| damaged("the iterations are no number"))?;
        let iterations = bounded("PBKDF2", "iterations", iterations, &PBKDF2_BOUNDS)?;
        let iterations = NonZeroU32::new(iterations).ok_or_else(|| damaged("no iterations"))?;
        let salt = STANDARD_NO_PAD.decode(salt).map_err(|_| damaged("the salt is not unpadded base64"))?;
        if !SALT_BYTES.contains(&salt.len()) {
            return Err(damaged("the salt is not of 8 to 64 bytes"));
        }
        let hash = STANDARD_NO_PAD.decode(hash).map_err(|_| damaged("the hash is not unpadded base64"))?;
        let hash = hash.try_into().map_err(|_| damaged("the hash is not of 32 bytes"))?;
        Ok(Self::Pbkdf2 { iterations, salt, hash })
    }

    fn bcrypt(fields: &[&str]) -> Result<Self, VerifierError> {
        let damaged = |part| VerifierError::Malformed { kind: "bcrypt", part };
        let [cost, rest] = fields else { return Err(damaged("not of three parts")) };
        let cost =
            number(cost).filter(|_| cost.len() == 2).ok_or_else(|| damaged("no cost of two digits"))?;
        let cost = bounded("bcrypt", "cost", cost, &BCRYPT_BOUNDS)?;
        let (salt, hash) =
            rest.split_at_checked(22).ok_or_else(|| damaged("shorter or longer than it should be"))?;
        let decode = |text: &str| BCRYPT_BASE64.decode(text).ok();
        let salt = decode(salt).and_then(|it| it.try_into().ok()).ok_or_else(|| damaged("the salt"))?;
        let hash = decode(hash).and_then(|it| it.try_into().ok()).ok_or_else(|| damaged("the hash"))?;
        Ok(Self::Bcrypt { cost, salt, hash })
    }

    fn sha_crypt(text: &str, is_512: bool, fields: &[&str]) -> Result<Self, VerifierError> {
        let kind = if is_512 { "SHA-512-crypt" } else { "SHA-256-crypt" };
        let damaged = |part| VerifierError::Malformed { kind, part };
        let (rounds, salt, hash) = match fields {
            [rounds, salt, hash] => {
                let rounds = rounds.strip_prefix("rounds=").and_then(number);
                (rounds.ok_or_else(|| damaged("no rounds=<number>"))?, salt, hash)
            }
            [salt, hash] => (u64::from(*SHA_CRYPT_BOUNDS.start()), salt, hash),
            _ => return Err(damaged("not of three or four parts")),
        };
        let rounds = bounded(kind, "rounds", rounds, &SHA_CRYPT_BOUNDS)?;
        let is_known = |text: &str| text.chars().all(|it| SHA_CRYPT_ALPHABET.contains(it));
        if !(8..=16).contains(&salt.len()) || !is_known(salt) {
            return Err(damaged("the salt is not of 8 to 16 characters of its alphabet"));
        }
        if hash.len() != if is_512 { 86 } else { 43 } || !is_known(hash) {
            return Err(damaged(
                "the hash is not of 43 (SHA-256) or 86 (SHA-512) characters of its alphabet",
            ));
        }
        Ok(Self::ShaCrypt { text: text.to_owned(), is_512, rounds, salt_length: salt.len() })
    }

    /// What it costs to check.
    pub fn work(&self) -> Work {
        match self {
            Self::Pbkdf2 { iterations, .. } => Work::Pbkdf2(*iterations),
            Self::Bcrypt { cost, .. } => Work::Bcrypt(*cost),
            Self::ShaCrypt { is_512: false, rounds, salt_length, .. } => {
                Work::Sha256Crypt(*rounds, *salt_length)
            }
            Self::ShaCrypt { is_512: true, rounds, salt_length, .. } => {
                Work::Sha512Crypt(*rounds, *salt_length)
            }
        }
    }
}

impl Work {
    /// What it takes on one core, about; only good for bounds.
    pub fn estimate(self) -> Duration {
        let (times, nanoseconds) = match self {
            Self::Pbkdf2(iterations) => (iterations.get(), 300),
            Self::Bcrypt(cost) => (1_u32.checked_shl(cost).unwrap_or(u32::MAX), 60_000),
            Self::Sha256Crypt(rounds, _) | Self::Sha512Crypt(rounds, _) => (rounds, 800),
        };
        Duration::from_nanos(u64::from(times) * nanoseconds)
    }

    /// A verifier that is as much work, which no password fits.
    pub fn dummy(self) -> Slow {
        match self {
            Self::Pbkdf2(iterations) => Slow::Pbkdf2 { iterations, salt: vec![0; 16], hash: [0; HASH_BYTES] },
            Self::Bcrypt(cost) => Slow::Bcrypt { cost, salt: [0; 16], hash: [0; 23] },
            Self::Sha256Crypt(rounds, salt) => dummy_sha_crypt(false, rounds, salt),
            Self::Sha512Crypt(rounds, salt) => dummy_sha_crypt(true, rounds, salt),
        }
    }
}

fn dummy_sha_crypt(is_512: bool, rounds: u32, salt_length: usize) -> Slow {
    let (number, length) = if is_512 { (6, 86) } else { (5, 43) };
    let text = format!("${number}$rounds={rounds}${}${}", ".".repeat(salt_length), ".".repeat(length));
    Slow::ShaCrypt { text, is_512, rounds, salt_length }
}

/// The work that every check among these users does, so that no answer's time tells who exists: for each kind as
/// many checks as the user with the most hashes of this kind needs.
///
/// # Errors
/// [`SetError`] if it is too much, or a verifier is not valid.
pub fn work_of<'a>(
    users: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<BTreeMap<Work, usize>, SetError> {
    let mut by_user = BTreeMap::<&str, BTreeSet<&str>>::new();
    for (user, verifier) in users {
        by_user.entry(user).or_default().insert(verifier);
    }
    let mut most = BTreeMap::<Work, usize>::new();
    for (user, verifiers) in by_user {
        if verifiers.len() > PASSWORDS_PER_USER {
            return Err(SetError::TooManyPasswords(user.to_owned()));
        }
        let mut own = BTreeMap::<Work, usize>::new();
        for verifier in verifiers {
            let parsed = Verifier::parse(verifier)
                .map_err(|error| SetError::Verifier { user: user.to_owned(), error })?;
            if let Verifier::Slow(slow) = parsed {
                *own.entry(slow.work()).or_default() += 1;
            }
        }
        for (work, count) in own {
            let most = most.entry(work).or_default();
            *most = count.max(*most);
        }
    }
    let total = most.iter().fold(Duration::ZERO, |sum, (work, count)| {
        sum.saturating_add(work.estimate().saturating_mul(u32::try_from(*count).unwrap_or(u32::MAX)))
    });
    if total > MOST_WORK {
        return Err(SetError::TooMuchWork { seconds: total.as_secs().saturating_add(1) });
    }
    Ok(most)
}

/// A verifier for a secret that cannot be guessed: at least 128 random bits.
pub fn sha256(secret: &[u8]) -> String {
    format!("sha256:{}", hex::encode(digest::digest(&digest::SHA256, secret)))
}

/// A verifier for a password that a person has chosen, with [`PBKDF2_ITERATIONS`]. `salt`: 8–64 bytes, unlike any
/// other password's.
pub fn pbkdf2(password: &[u8], salt: &[u8]) -> String {
    let mut hash = [0; HASH_BYTES];
    lc::derive(lc::PBKDF2_HMAC_SHA256, PBKDF2_ITERATIONS, salt, password, &mut hash);
    let encode = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
    format!("$pbkdf2-sha256$i={PBKDF2_ITERATIONS}${}${}", encode(salt), encode(&hash))
}

fn number(digits: &str) -> Option<u64> {
    let is_plain = (1..=10).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit());
    if is_plain { digits.parse().ok() } else { None }
}

fn bounded(
    kind: &'static str,
    what: &'static str,
    found: u64,
    bounds: &RangeInclusive<u32>,
) -> Result<u32, VerifierError> {
    u32::try_from(found).ok().filter(|found| bounds.contains(found)).ok_or(VerifierError::OutOfBounds {
        kind,
        what,
        found,
        least: *bounds.start(),
        most: *bounds.end(),
    })
}

#[cfg(test)]
mod tests;
