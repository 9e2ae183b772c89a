//! Password hashes in RabbitMQ's form.
//!
//! ```text
//! ┌──────────────┬───────────────────────────┐
//! │ salt, 4 bytes│ H(salt ‖ password)        │   in base64 wherever it is text
//! └──────────────┴───────────────────────────┘
//! ```
//! That is what definitions files and `rabbitmqctl hash_password` carry, so users move between brokers with
//! their passwords. Deliberately absent: a slow hash (every connection of every client pays for it, and
//! RabbitMQ has none) and the random numbers that salts are drawn from.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// Bytes of salt before the digest.
pub const SALT_BYTES: usize = 4;

/// The hash functions that RabbitMQ ships.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashingAlgorithm {
    /// `rabbit_password_hashing_sha256`, what new passwords are hashed with.
    Sha256,
    /// `rabbit_password_hashing_sha512`.
    Sha512,
    /// `rabbit_password_hashing_md5`, from before 3.6: verified for imported users, not to be made anew.
    Md5,
}

impl HashingAlgorithm {
    /// What new passwords are hashed with.
    pub const DEFAULT: HashingAlgorithm = HashingAlgorithm::Sha256;

    /// RabbitMQ's name for it, as definitions carry it.
    pub fn name(self) -> &'static str {
        match self {
            HashingAlgorithm::Sha256 => "rabbit_password_hashing_sha256",
            HashingAlgorithm::Sha512 => "rabbit_password_hashing_sha512",
            HashingAlgorithm::Md5 => "rabbit_password_hashing_md5",
        }
    }

    /// The algorithm of a name as definitions carry it, or none where no such is known.
    pub fn parse(name: &str) -> Option<HashingAlgorithm> {
        [
            HashingAlgorithm::Sha256,
            HashingAlgorithm::Sha512,
            HashingAlgorithm::Md5,
        ]
        .into_iter()
        .find(|algorithm| algorithm.name() == name)
    }

    fn digest(self, salt: &[u8], password: &[u8]) -> Vec<u8> {
        fn run<D: Digest>(salt: &[u8], password: &[u8]) -> Vec<u8> {
            D::new()
                .chain_update(salt)
                .chain_update(password)
                .finalize()
                .to_vec()
        }
        match self {
            HashingAlgorithm::Sha256 => run::<Sha256>(salt, password),
            HashingAlgorithm::Sha512 => run::<Sha512>(salt, password),
            HashingAlgorithm::Md5 => run::<Md5>(salt, password),
        }
    }
}

/// A salt and a digest, or nothing for a user without a password.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PasswordHash(Vec<u8>);

impl PasswordHash {
    /// Of a user that cannot log in with a password.
    pub const NONE: PasswordHash = PasswordHash(Vec::new());

    /// Hashes a password under a salt that the caller drew at random.
    pub fn salted(
        algorithm: HashingAlgorithm,
        salt: [u8; SALT_BYTES],
        password: &[u8],
    ) -> PasswordHash {
        let mut bytes = salt.to_vec();
        bytes.extend(algorithm.digest(&salt, password));
        PasswordHash(bytes)
    }

    /// Takes the bytes as they were stored; what cannot be a hash verifies no password.
    pub fn from_bytes(bytes: Vec<u8>) -> PasswordHash {
        PasswordHash(bytes)
    }

    /// Reads the text form that definitions and `hash_password` use.
    ///
    /// # Errors
    /// If the text is not base64.
    pub fn from_base64(text: &str) -> Result<PasswordHash, PasswordHashError> {
        STANDARD
            .decode(text)
            .map(PasswordHash)
            .map_err(|_| PasswordHashError)
    }

    /// The text form that definitions and `hash_password` use.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }

    /// Salt and digest.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is no password at all.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `password` gives this hash. The comparison takes the same time wherever they differ.
    pub fn verify(&self, algorithm: HashingAlgorithm, password: &[u8]) -> bool {
        let Some((salt, digest)) = self.0.split_at_checked(SALT_BYTES) else {
            return false;
        };
        algorithm.digest(salt, password).ct_eq(digest).into()
    }
}

/// Shows that there is a hash and never which: debug output ends in logs.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_none() {
            "PasswordHash(none)"
        } else {
            "PasswordHash(..)"
        })
    }
}

/// A password hash that is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a password hash must be base64")]
pub struct PasswordHashError;

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by `rabbitmqctl hash_password` 4.3 (and by its md5 and sha512 modules) for the password.
    const VECTORS: [(HashingAlgorithm, &str, &str); 4] = [
        (
            HashingAlgorithm::Sha256,
            "secret",
            "0lu5L0qn9USYdcuaS/AiadTLqg1yThFCSHe/l/dPbLpv7foK",
        ),
        (
            HashingAlgorithm::Sha256,
            "pässwörd with spaces",
            "1oEIW/ffRmf1ya57I6k7GLtR9oUXVz1k+OkULxJnrYpELIGJ",
        ),
        (
            HashingAlgorithm::Sha512,
            "secret",
            "N5tBqUxO4efPR61Pn3tJpu1kAJ7Ciflx1hBtj+XAZyZP7tR/wPs8YTm+MYlgOzbHA780dYOjjqb/nEZE2iCkvFK1xOQ=",
        ),
        (
            HashingAlgorithm::Md5,
            "secret",
            "DMFwZSpkRsskwEwKwikoggUQKpc=",
        ),
    ];

    #[test]
    fn hashes_made_by_rabbitmq_verify_here() {
        for (algorithm, password, text) in VECTORS {
            let hash = PasswordHash::from_base64(text).unwrap();
            assert!(
                hash.verify(algorithm, password.as_bytes()),
                "{algorithm:?} {password}"
            );
            assert!(!hash.verify(algorithm, b"Secret"), "{algorithm:?}");
            assert!(!hash.verify(algorithm, b""), "{algorithm:?}");
            assert_eq!(hash.to_base64(), text);
            let salt = hash.as_bytes()[..SALT_BYTES].try_into().unwrap();
            assert_eq!(
                PasswordHash::salted(algorithm, salt, password.as_bytes()),
                hash
            );
        }
    }

    #[test]
    fn what_is_no_hash_verifies_nothing() {
        for bytes in [vec![], vec![1], vec![1, 2, 3, 4], vec![0; 40]] {
            let hash = PasswordHash::from_bytes(bytes);
            assert!(!hash.verify(HashingAlgorithm::Sha256, b""));
            assert!(!hash.verify(HashingAlgorithm::Sha256, b"secret"));
        }
        assert_eq!(
            PasswordHash::from_base64("not base64!"),
            Err(PasswordHashError)
        );
    }

    #[test]
    fn algorithms_go_by_rabbitmqs_names() {
        for algorithm in [
            HashingAlgorithm::Sha256,
            HashingAlgorithm::Sha512,
            HashingAlgorithm::Md5,
        ] {
            assert_eq!(HashingAlgorithm::parse(algorithm.name()), Some(algorithm));
        }
        assert_eq!(
            HashingAlgorithm::parse("rabbit_password_hashing_sha1"),
            None
        );
    }

    #[test]
    fn debug_output_hides_the_hash() {
        let hash = PasswordHash::salted(HashingAlgorithm::Sha256, [7; 4], b"secret");
        assert_eq!(format!("{hash:?}"), "PasswordHash(..)");
    }
}
