//! Counters that somebody may look at: relaxed atomics, added to where things happen and never read by the broker
//! itself.
//!
//! What happens once a message is counted by the queue or channel that does it, in plain numbers, and added here
//! once a batch.

use std::sync::atomic::{AtomicU64, Ordering};

/// What came and went since the process started.
#[derive(Debug, Default)]
pub struct Churn {
    /// Connections that finished their handshake.
    pub connections_opened: AtomicU64,
    /// Those of them that are over.
    pub connections_closed: AtomicU64,
    /// Channels opened.
    pub channels_opened: AtomicU64,
    /// Channels closed, by whomever.
    pub channels_closed: AtomicU64,
    /// Declarations of queues that succeeded, of new ones and others.
    pub queues_declared: AtomicU64,
    /// Queues that are new.
    pub queues_created: AtomicU64,
    /// Queues that went.
    pub queues_deleted: AtomicU64,
    /// AMQP logins that succeeded.
    pub logins_succeeded: AtomicU64,
    /// AMQP logins that failed.
    pub logins_failed: AtomicU64,
}

/// Adds one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
