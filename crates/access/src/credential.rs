//! What is kept of a password (RFC 5802: StoredKey and ServerKey).
//!
//! Owns: deriving credentials from passwords and from what AlterUserScramCredentials carries, checking a password.
//! Does not own: the exchange (`scram`), keeping credentials (`store`).
//! Invariants: neither a password nor a salted password outlives a call; Debug shows no key. As in Kafka, passwords are
//! the bytes of their UTF-8, without SASLprep.

use std::fmt;
use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2, rand};
use serde::{Deserialize, Serialize};

/// Fewest iterations that are taken, as in Kafka (RFC 7677 asks for as many).
pub const ITERATIONS_MIN: u32 = 4_096;
/// Most iterations that are taken, as in Kafka: whoever may set them decides what a wrong password costs the server.
pub const ITERATIONS_MAX: u32 = 16_384;
/// Longest salt that is taken, bytes.
const SALT_BYTES_MAX: usize = 1_024;
/// Length of salts made here, bytes.
const SALT_BYTES: usize = 20;

/// Which hash (KIP-554's ScramMechanism).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mechanism {
    Sha256,
    Sha512,
}

impl Mechanism {
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The name in SASL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// The mechanism of that SASL name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Kafka's number of it.
    pub fn code(self) -> i8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// What Kafka numbers so.
    pub fn from_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.code() == code)
    }

    pub(crate) fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.hmac_algorithm(), key), message).as_ref().to_vec()
    }

    pub(crate) fn hash(self, bytes: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, bytes).as_ref().to_vec()
    }

    fn hmac_algorithm(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    /// `Hi(password, salt, iterations)` of RFC 5802.
    fn salted(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        let (algorithm, length) = match self {
            Self::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, digest::SHA256_OUTPUT_LEN),
            Self::Sha512 => (pbkdf2::PBKDF2_HMAC_SHA512, digest::SHA512_OUTPUT_LEN),
        };
        let mut salted = vec![0; length];
        pbkdf2::derive(
            algorithm,
            NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN),
            salt,
            password,
            &mut salted,
        );
        salted
    }
}

/// A credential that is not taken; the texts are Kafka's as far as there are any.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error("Too few iterations: {0}, at least {ITERATIONS_MIN} are needed")]
    TooFewIterations(i64),
    #[error("Too many iterations: {0}, at most {ITERATIONS_MAX} are taken")]
    TooManyIterations(i64),
    #[error("a salt has 1 to {SALT_BYTES_MAX} bytes, not {0}")]
    Salt(usize),
    #[error("a salted password for {mechanism} has {expected} bytes, not {got}")]
    SaltedPassword { mechanism: &'static str, expected: usize, got: usize },
    #[error("a password must not be empty")]
    EmptyPassword,
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// What is kept of a password for one mechanism.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    #[serde(with = "as_base64")]
    pub(crate) salt: Vec<u8>,
    pub(crate) iterations: u32,
    #[serde(with = "as_base64")]
    pub(crate) stored_key: Vec<u8>,
    #[serde(with = "as_base64")]
    pub(crate) server_key: Vec<u8>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl Credential {
    /// From a password, with a new salt. Takes milliseconds of processor time.
    pub fn of_password(
        mechanism: Mechanism,
        password: &str,
        iterations: u32,
    ) -> Result<Self, CredentialError> {
        if password.is_empty() {
            return Err(CredentialError::EmptyPassword);
        }
        let salt = random_bytes::<SALT_BYTES>()?;
        check_iterations(iterations.into())?;
        let salted = mechanism.salted(password.as_bytes(), &salt, iterations);
        Self::of_salted(mechanism, iterations.into(), &salt, &salted)
    }

    /// From a password that the client has salted (AlterUserScramCredentials).
    pub fn of_salted(
        mechanism: Mechanism,
        iterations: i64,
        salt: &[u8],
        salted_password: &[u8],
    ) -> Result<Self, CredentialError> {
        let iterations = check_iterations(iterations)?;
        if salt.is_empty() || salt.len() > SALT_BYTES_MAX {
            return Err(CredentialError::Salt(salt.len()));
        }
        let expected = mechanism.hash(&[]).len();
        if salted_password.len() != expected {
            let (mechanism, got) = (mechanism.name(), salted_password.len());
            return Err(CredentialError::SaltedPassword { mechanism, expected, got });
        }
        let client_key = mechanism.hmac(salted_password, b"Client Key");
        Ok(Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: mechanism.hash(&client_key),
            server_key: mechanism.hmac(salted_password, b"Server Key"),
        })
    }

    /// What stands in for the credential of a user that does not exist: always the same for a name, and no password
    /// fits it.
    pub(crate) fn of_nobody(mechanism: Mechanism, secret: &[u8], user: &str) -> Self {
        let part = |what: &str| mechanism.hmac(secret, format!("{what} {user}").as_bytes());
        let salt = part("salt").into_iter().take(SALT_BYTES).collect();
        Self { salt, iterations: ITERATIONS_MIN, stored_key: part("stored"), server_key: part("server") }
    }

    /// Rounds of hashing.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Whether it was made from this password. Takes milliseconds of processor time.
    pub fn fits(&self, mechanism: Mechanism, password: &str) -> bool {
        let salted = mechanism.salted(password.as_bytes(), &self.salt, self.iterations);
        let client_key = mechanism.hmac(&salted, b"Client Key");
        same(&mechanism.hash(&client_key), &self.stored_key)
    }
}

fn check_iterations(iterations: i64) -> Result<u32, CredentialError> {
    if iterations < ITERATIONS_MIN.into() {
        return Err(CredentialError::TooFewIterations(iterations));
    }
    match u32::try_from(iterations) {
        Ok(n) if n <= ITERATIONS_MAX => Ok(n),
        _ => Err(CredentialError::TooManyIterations(iterations)),
    }
}

/// Compares in a time that does not depend on where two secrets differ: by their MACs, which the library does so.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"comparison");
    hmac::verify(&key, a, hmac::sign(&key, b).as_ref()).is_ok()
}

pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], CredentialError> {
    let mut bytes = [0; N];
    let random: &dyn rand::SecureRandom = &rand::SystemRandom::new();
    random.fill(&mut bytes).map_err(|_| CredentialError::NoRandomness)?;
    Ok(bytes)
}

mod as_base64 {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Engine, STANDARD};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_fit_their_own_credential() {
        for mechanism in Mechanism::ALL {
            let credential = Credential::of_password(mechanism, "pencil", 4_096).expect("credential");
            assert!(credential.fits(mechanism, "pencil"));
            assert!(!credential.fits(mechanism, "pencils") && !credential.fits(mechanism, ""));
            let other = Credential::of_password(mechanism, "pencil", 4_096).expect("credential");
            assert_ne!(credential, other, "two salts");
        }
    }

    #[test]
    fn iterations_salts_and_keys_have_bounds() {
        let of = |iterations, salt: usize, salted: usize| {
            Credential::of_salted(Mechanism::Sha256, iterations, &vec![1; salt], &vec![1; salted]).map(drop)
        };
        assert_eq!(of(4_096, 1, 32), Ok(()));
        assert_eq!(of(16_384, 1_024, 32), Ok(()));
        assert_eq!(of(4_095, 1, 32), Err(CredentialError::TooFewIterations(4_095)));
        assert_eq!(of(-1, 1, 32), Err(CredentialError::TooFewIterations(-1)));
        assert_eq!(of(16_385, 1, 32), Err(CredentialError::TooManyIterations(16_385)));
        assert_eq!(of(i64::MAX, 1, 32), Err(CredentialError::TooManyIterations(i64::MAX)));
        assert_eq!(of(4_096, 0, 32), Err(CredentialError::Salt(0)));
        assert_eq!(of(4_096, 1_025, 32), Err(CredentialError::Salt(1_025)));
        assert!(matches!(of(4_096, 1, 64), Err(CredentialError::SaltedPassword { .. })));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let credential = Credential::of_password(Mechanism::Sha256, "pencil", 4_096).expect("credential");
        assert_eq!(format!("{credential:?}"), "Credential { iterations: 4096, .. }");
    }

    #[test]
    fn nobody_is_always_the_same_nobody() {
        let nobody = |user| Credential::of_nobody(Mechanism::Sha512, b"secret", user);
        assert_eq!(nobody("a"), nobody("a"));
        assert_ne!(nobody("a").salt, nobody("b").salt);
        assert_eq!((nobody("a").salt.len(), nobody("a").iterations), (SALT_BYTES, ITERATIONS_MIN));
    }
}
