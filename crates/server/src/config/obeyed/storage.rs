//! What is kept on disk, when, and how much of it in memory.

use node::message_log::Durability;
use node::settings::DiskFreeLimit;

use crate::config::key::{Applies::*, Key, key};

pub(super) static KEYS: &[Key] = &[
    key(
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
    ),
    key(
        "disk_free_limit.absolute",
        Live,
        "",
        "free space of the data directory's disk below which publishers are blocked; unless set, 1 GiB or 5 % of the \
         disk, whichever is less",
        |config, given| {
            config.settings.disk_free_limit = DiskFreeLimit::Bytes(given.bytes()?);
            Ok(())
        },
    ),
    key(
        "disk_free_limit.relative",
        Live,
        "",
        "the same as a part of the machine's memory, as in RabbitMQ: `1.0` is as much as there is memory",
        |config, given| {
            config.settings.disk_free_limit = DiskFreeLimit::OfMemory(given.permille(1000.0)?);
            Ok(())
        },
    ),
    key(
        "memory.message_cache",
        Restart,
        "",
        "Leveret's own: memory that waiting messages may take before they are kept on disk only; unless set, an eighth \
         of the machine's or the control group's memory",
        |config, given| {
            config.settings.message_cache_bytes = Some(given.bytes()?);
            Ok(())
        },
    ),
];
