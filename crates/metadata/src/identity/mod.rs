//! Who may do what: vhosts, users, their passwords and their permissions.
//!
//! The records and the rules on one record at a time. Start at [`User`] and [`Permissions`]. Deliberately
//! absent: the set of all users (the node holds it), and any way to draw a salt.

mod password;
mod pattern;
mod permission;

pub use password::{HashingAlgorithm, PasswordHash, PasswordHashError, SALT_BYTES};
pub use pattern::{PATTERN_BYTES_MAX, Pattern, PatternError};
pub use permission::{
    PermissionKind, Permissions, TopicAction, TopicPattern, TopicPermissions, TopicVariables,
};

use crate::topology::Name;

/// The most tags a user may carry (RabbitMQ 4.4 has the same limit).
pub const USER_TAGS_MAX: usize = 32;

/// The tag that may publish under another user's name.
pub const TAG_IMPERSONATOR: &str = "impersonator";
/// The tag that may do everything in the management API.
pub const TAG_ADMINISTRATOR: &str = "administrator";

/// Someone who may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: Name,
    /// The salted hash of the password, empty for a user that has none.
    pub password_hash: PasswordHash,
    /// How `password_hash` was made.
    pub hashing_algorithm: HashingAlgorithm,
    /// `administrator`, `monitoring` and the like, in the order they were given.
    pub tags: Vec<String>,
}

impl User {
    /// Whether the user carries a tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|t| t == tag)
    }

    /// Whether `password` is this user's. Takes the same time wherever the hashes differ.
    ///
    /// An empty password is never right, not even where an imported hash says so: RabbitMQ refuses blank
    /// passwords before it looks at the hash.
    pub fn verify_password(&self, password: &[u8]) -> bool {
        !password.is_empty() && self.password_hash.verify(self.hashing_algorithm, password)
    }
}

/// A virtual host as it was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VhostSpec {
    /// Its name, `/` for example.
    pub name: Name,
    /// What it is for, in its owner's words.
    pub description: String,
    /// Free words, kept in order.
    pub tags: Vec<String>,
    /// `classic`, `quorum` or `stream`: what a queue declared without `x-queue-type` becomes.
    pub default_queue_type: Option<String>,
    /// Whether messages are copied to `amq.rabbitmq.trace`.
    pub tracing: bool,
    /// Whether deleting it is refused.
    pub protected_from_deletion: bool,
}

impl VhostSpec {
    /// A vhost with nothing but a name.
    pub fn named(name: impl Into<Name>) -> VhostSpec {
        VhostSpec {
            name: name.into(),
            description: String::new(),
            tags: Vec::new(),
            default_queue_type: None,
            tracing: false,
            protected_from_deletion: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_password_is_refused_even_if_its_hash_is_stored() {
        let user = User {
            name: "ann".into(),
            password_hash: PasswordHash::salted(HashingAlgorithm::Sha256, [1, 2, 3, 4], b""),
            hashing_algorithm: HashingAlgorithm::Sha256,
            tags: vec!["monitoring".to_owned()],
        };
        assert!(!user.verify_password(b""));
        assert!(user.has_tag("monitoring"));
        assert!(!user.has_tag("monitor"));
    }
}
