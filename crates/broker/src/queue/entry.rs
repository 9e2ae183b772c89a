//! What a queue knows of a message beside the message itself: what differs from queue to queue.

use crate::message::{LogPosition, Message};

/// The deadline of a message that never expires.
pub const NEVER_MS: u64 = u64::MAX;

/// One message in this queue. Its number in the order of arrival (`seq`) stands beside it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) message: Message,
    /// [`NEVER_MS`]: it does not expire.
    pub(super) expires_at_ms: u64,
    pub(super) position: LogPosition,
    /// Failed deliveries. Only quorum queues count them.
    pub(super) delivery_count: u32,
    /// Deliveries that came back, failed or not. Only quorum queues count them.
    pub(super) acquired_count: u32,
    /// What it counts towards `bytes_max` and the statistics: its body, as in RabbitMQ. It stands here because
    /// asking the message would cost a look into memory that may not be near.
    pub(super) bytes: u32,
    pub(super) priority: u8,
    pub(super) redelivered: bool,
    /// The time index names it. While it is ready this never changes.
    pub(super) indexed: bool,
}

/// A backlog has one of these a message; the message itself is shared.
const _: () = assert!(std::mem::size_of::<Option<Entry>>() == 40);

impl Entry {
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.bytes)
    }

    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.expires_at_ms <= now_ms
    }

    pub(super) fn is_timed(&self) -> bool {
        self.expires_at_ms != NEVER_MS
    }
}
