//! Limits of connections, channels, messages and memory.

use node::settings::ConsumerTimeouts;

use crate::config::key::{Applies::*, Key, key};

pub(super) static KEYS: &[Key] = &[
    key(
        "heartbeat",
        Live,
        "60",
        "heartbeat interval offered to clients, in seconds; 0 is off",
        |config, given| {
            config.settings.heartbeat_s = given.integer(0, u16::MAX)?;
            Ok(())
        },
    ),
    key(
        "frame_max",
        Live,
        "131072",
        "largest frame offered to clients, in bytes; 0 is no limit",
        |config, given| {
            config.settings.frame_bytes_max = match u32::try_from(given.bytes()?) {
                Ok(bytes) if bytes == 0 || 8192 <= bytes => bytes,
                _ => return Err("expected 0, or a size from 8192 to 4294967295".into()),
            };
            Ok(())
        },
    ),
    key(
        "max_channels_per_connection",
        Live,
        "2047",
        "channels that a connection may open; 0 is no limit",
        |config, given| {
            config.settings.channel_max = given.integer(0, u16::MAX)?;
            Ok(())
        },
    ),
    key(
        "max_connections",
        Live,
        "1000000",
        "connections of the whole node, or `infinity`",
        |config, given| {
            config.settings.connections_max = given.limit(usize::MAX)?;
            Ok(())
        },
    ),
    key(
        "consumer_max_per_channel",
        Live,
        "1000000",
        "consumers of one channel, or `infinity`",
        |config, given| {
            config.settings.channel_consumers_max = given.limit(usize::MAX)?;
            Ok(())
        },
    ),
    key(
        "max_message_size",
        Live,
        "16777216",
        "largest message body, in bytes; at most 512 MiB",
        |config, given| {
            config.settings.message_bytes_max = given.integer(1, 512 * 1024 * 1024)?;
            Ok(())
        },
    ),
    key(
        "handshake_timeout",
        Live,
        "10000",
        "how long a client may take to open its connection, in milliseconds",
        |config, given| {
            config.settings.handshake_timeout_ms = given.limit(FOREVER_MS)?;
            Ok(())
        },
    ),
    key(
        "consumer_timeout",
        Live,
        "",
        "how long a delivery may stay unacked, in milliseconds, 0 for ever; unless set, 30 minutes on quorum queues \
         and for ever on classic ones",
        |config, given| {
            let timeout_ms = given.integer(0, u64::MAX)?;
            config.settings.consumer_timeout_ms =
                ConsumerTimeouts::all((timeout_ms > 0).then_some(timeout_ms));
            Ok(())
        },
    ),
    key(
        "cluster_name",
        Restart,
        "leveret@localhost",
        "the node's name as clients and tools see it",
        |config, given| {
            config.settings.cluster_name = given.text();
            Ok(())
        },
    ),
    key(
        "vm_memory_high_watermark.relative",
        Live,
        "0.6",
        "part of the machine's memory at which publishers are blocked",
        |config, given| {
            config.settings.memory_watermark_permille = given.permille(1.0)?;
            config.settings.memory_watermark_bytes = None;
            Ok(())
        },
    ),
    key(
        "vm_memory_high_watermark.absolute",
        Live,
        "",
        "memory at which publishers are blocked; a relative watermark wins over it",
        |config, given| {
            config.settings.memory_watermark_bytes = Some(given.bytes()?);
            Ok(())
        },
    ),
    key(
        "total_memory_available_override_value",
        Live,
        "",
        "the machine's memory, where the system does not know it or should not be believed",
        |config, given| {
            config.settings.memory_total_bytes = Some(given.bytes()?);
            Ok(())
        },
    ),
    key(
        "data_dir",
        Restart,
        "leveret-data",
        "Leveret's own: where the data is kept",
        |config, given| {
            config.data_dir = Some(given.path());
            Ok(())
        },
    ),
];

/// A timeout that never comes: a thousand years.
const FOREVER_MS: u64 = 1000 * 60 * 60 * 24 * 365 * 1000;
