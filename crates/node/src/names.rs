//! Names that the broker gives: server-named queues, consumer tags, reply addresses.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Where the draws of random exchanges begin.
pub fn seed() -> u64 {
    rand::random()
}

/// Length of a [`token`].
pub const TOKEN_CHARACTERS: usize = 22;

/// 128 random bits in 22 characters of the URL-safe base64 alphabet, the form that RabbitMQ uses.
pub fn token() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
}

/// A new name: `amq.gen-`, or another prefix, and a [`token`].
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", token())
}
