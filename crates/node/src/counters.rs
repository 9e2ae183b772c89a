//! Counters that somebody may look at: relaxed atomics, added to where things happen and never read by the broker
//! itself.
//!
//! What happens once a message is counted by the queue or channel that does it, in plain numbers, and added here
//! once a batch.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
}

pub use storage::{BUCKETS_US, Counted, Histogram};

/// How long messages took, in all of the node. Whole milliseconds: the clock that rules are given.
#[derive(Debug, Default)]
pub struct Times {
    /// From a queue's taking a message to its first leaving for a consumer. A batch counts as its last message does.
    pub in_queue: Histogram,
    /// From reading a publish to having its confirm ready for the socket. A batch counts as one.
    pub to_confirm: Histogram,
}

impl Times {
    /// So many publishes were confirmed, so many milliseconds after they were read.
    pub fn confirmed(&self, took_ms: u64, count: u64) {
        self.to_confirm.add(Duration::from_millis(took_ms), count);
    }
}

/// Adds one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Messages that passed a channel, or all channels of a vhost: what RabbitMQ's `message_stats` say of it.
macro_rules! message_counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counted by a channel in plain numbers, shown to others once a batch.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct MessageTotals {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// [`MessageTotals`] as others may read them while they grow.
        #[derive(Debug, Default)]
        pub struct MessageCounters {
            $($name: AtomicU64,)*
        }

        impl MessageTotals {
            /// Adds what another counted.
            pub fn add(&mut self, other: &MessageTotals) {
                $(self.$name += other.$name;)*
            }
        }

        impl MessageCounters {
            /// Shows these totals in place of those before.
            pub fn show(&self, totals: &MessageTotals) {
                $(self.$name.store(totals.$name, Ordering::Relaxed);)*
            }

            /// Adds what somebody counted who is gone now.
            pub fn add(&self, totals: &MessageTotals) {
                $(self.$name.fetch_add(totals.$name, Ordering::Relaxed);)*
            }

            /// What they stand at.
            pub fn totals(&self) -> MessageTotals {
                MessageTotals {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                }
            }
        }
    };
}

message_counters! {
    /// Published.
    publish,
    /// Confirmed to their publisher.
    confirm,
    /// Mandatory, routed to no queue, and returned.
    return_unroutable,
    /// Routed to no queue and dropped.
    drop_unroutable,
    /// Taken by `basic.get`, to be acknowledged.
    get,
    /// Taken by `basic.get` for good.
    get_no_ack,
    /// `basic.get` that found nothing.
    get_empty,
    /// Delivered to consumers, to be acknowledged.
    deliver,
    /// Delivered to consumers for good.
    deliver_no_ack,
    /// Delivered or taken again.
    redeliver,
    /// Acknowledged.
    ack,
}

/// Messages that passed an exchange.
#[derive(Debug, Default)]
pub struct ExchangeCounters {
    /// Published to it.
    pub publish_in: AtomicU64,
    /// Put into queues, once for each.
    pub publish_out: AtomicU64,
}

/// Octets and packets of one socket.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes read and used.
    pub received_bytes: AtomicU64,
    /// Times that something was read.
    pub received: AtomicU64,
    /// Bytes written.
    pub sent_bytes: AtomicU64,
    /// Times that something was written.
    pub sent: AtomicU64,
}

/// Adds to a counter that only its caller writes: no other addition can be lost.
pub fn grow(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}
