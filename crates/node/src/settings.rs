//! Every limit of a running broker, with its name and RabbitMQ's default.

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
    pub consumer_timeout_ms: Option<u64>,
    /// Who may log in from where, and what a new data directory begins with.
    pub identities: IdentitySettings,
    /// Login of clients that use the ANONYMOUS mechanism: name and password. `None` refuses them.
    pub anonymous_login: Option<(String, String)>,
    /// Part of the machine's memory at which publishers are blocked, in thousandths.
    pub memory_watermark_permille: u32,
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
            consumer_timeout_ms: Some(30 * 60 * 1000),
            identities: IdentitySettings::default(),
            anonymous_login: Some(("guest".into(), "guest".into())),
            memory_watermark_permille: 600,
        }
    }
}
