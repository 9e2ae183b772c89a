//! Every limit of a running broker, with its name and RabbitMQ's default.

use broker::queue::QueueKind;

use crate::identities::IdentitySettings;

/// Limits and defaults of a node. Sizes are in bytes, times in the unit their name ends with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node's name as clients and tools see it.
    pub cluster_name: String,
    /// Highest channel number a client may use; 0 is no limit.
    pub channel_max: u16,
    /// Largest frame, its 8 bytes of frame around the payload included.
    pub frame_bytes_max: u32,
    /// Heartbeat interval offered to clients, in seconds; 0 is off.
    pub heartbeat_s: u16,
    /// A client that has not opened its connection after this long is dropped.
    pub handshake_timeout_ms: u64,
    /// Largest body. A larger one is refused with 406.
    pub message_bytes_max: u64,
    /// Connections of the whole node; more are refused.
    pub connections_max: usize,
    /// Consumers of one channel; more are refused with 530.
    pub channel_consumers_max: usize,
    /// An unacked message older than this goes back to its queue, unless queue or consumer say otherwise.
    pub consumer_timeout_ms: ConsumerTimeouts,
    /// Who may log in from where, and what a new data directory begins with.
    pub identities: IdentitySettings,
    /// Login of clients that use the ANONYMOUS mechanism: name and password. `None` refuses them.
    pub anonymous_login: Option<(String, String)>,
    /// Part of the machine's memory at which publishers are blocked, in thousandths.
    pub memory_watermark_permille: u32,
}

/// For how long a consumer may hold a message where neither its queue nor itself says; `None`: for ever.
///
/// RabbitMQ 4.3 times consumers of quorum queues out after 30 minutes and leaves those of classic queues alone;
/// releases before it time out both. So classic queues follow only a time that somebody has set (COMPAT.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerTimeouts {
    /// On classic queues.
    pub classic: Option<u64>,
    /// On quorum queues.
    pub quorum: Option<u64>,
}

impl ConsumerTimeouts {
    /// The same for every queue: what `consumer_timeout` sets.
    pub fn all(timeout_ms: Option<u64>) -> Self {
        ConsumerTimeouts {
            classic: timeout_ms,
            quorum: timeout_ms,
        }
    }

    /// That of a queue of this type.
    pub fn of(self, kind: QueueKind) -> Option<u64> {
        match kind {
            QueueKind::Classic => self.classic,
            QueueKind::Quorum => self.quorum,
        }
    }
}

impl Default for ConsumerTimeouts {
    fn default() -> Self {
        ConsumerTimeouts {
            classic: None,
            quorum: Some(30 * 60 * 1000),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            cluster_name: "leveret@localhost".into(),
            channel_max: 2047,
            frame_bytes_max: 131_072,
            heartbeat_s: 60,
            handshake_timeout_ms: 10_000,
            message_bytes_max: 16 * 1024 * 1024,
            connections_max: 1_000_000,
            channel_consumers_max: 1_000_000,
            consumer_timeout_ms: ConsumerTimeouts::default(),
            identities: IdentitySettings::default(),
            anonymous_login: Some(("guest".into(), "guest".into())),
            memory_watermark_permille: 600,
        }
    }
}
