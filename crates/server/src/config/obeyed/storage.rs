//! What is kept on disk, and when.

use node::message_log::Durability;

use crate::config::key::{Applies::*, Key, key};

pub(super) static KEYS: &[Key] = &[key(
    "durability",
    Restart,
    "fsync",
    "Leveret's own: when a persistent message counts as kept, and is confirmed: `fsync`, once it survives a loss of \
         power, or `os`, once it survives the end of the process",
    |config, given| {
        config.settings.durability = match given.one_of(&["fsync", "os"])? {
            "os" => Durability::Os,
            _ => Durability::Fsync,
        };
        Ok(())
    },
)];
