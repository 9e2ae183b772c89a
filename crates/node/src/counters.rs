//! Counters that somebody may look at: relaxed atomics, added to where things happen and never read by the broker
//! itself.
//!
//! What happens once a message is counted by the queue or channel that does it, in plain numbers, and added here
//! once a batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker::queue::{DeadReason, QueueKind};

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

/// Upper ends of the buckets of [`Sizes`], in bytes; RabbitMQ's. What is larger is in one more.
pub const SIZES_BYTES: [u64; 8] = [
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
];

/// How many bodies that publishers sent were how large.
#[derive(Debug, Default)]
pub struct Sizes {
    buckets: [AtomicU64; SIZES_BYTES.len() + 1],
    sum_bytes: AtomicU64,
}

impl Sizes {
    /// How many there were in each bucket, and the bytes of all.
    pub fn counted(&self) -> ([u64; SIZES_BYTES.len() + 1], u64) {
        let buckets = std::array::from_fn(|at| self.buckets[at].load(Ordering::Relaxed));
        (buckets, self.sum_bytes.load(Ordering::Relaxed))
    }
}

/// Sizes that are not in their [`Sizes`] yet: publishes that follow one another are mostly in one bucket.
#[derive(Debug, Default)]
pub struct SizeRun {
    bucket: usize,
    /// The smallest size in the bucket, and how many sizes it has; none at first.
    first_bytes: u64,
    span_bytes: u64,
    count: u64,
    sum_bytes: u64,
}

impl SizeRun {
    /// Counts one, of a batch that goes to these counters.
    #[inline]
    pub fn add(&mut self, bytes: u64, passed: &Arc<Passed>) {
        if self.span_bytes <= bytes.wrapping_sub(self.first_bytes) {
            self.turn(bytes, passed);
        }
        self.count += 1;
        self.sum_bytes += bytes;
    }

    /// Moves to the bucket of this size.
    #[cold]
    #[inline(never)]
    fn turn(&mut self, bytes: u64, passed: &Passed) {
        self.show(passed);
        self.bucket = SIZES_BYTES.partition_point(|end_bytes| *end_bytes < bytes);
        let before = self.bucket.checked_sub(1);
        self.first_bytes = before.map_or(0, |before| SIZES_BYTES[before] + 1);
        let end_bytes = SIZES_BYTES.get(self.bucket).copied();
        self.span_bytes = end_bytes.map_or(u64::MAX, |end| end + 1) - self.first_bytes;
    }

    /// Adds what was counted to where others see it.
    pub fn show(&mut self, passed: &Passed) {
        let sizes = &passed.sizes;
        let count = std::mem::take(&mut self.count);
        let sum_bytes = std::mem::take(&mut self.sum_bytes);
        if count > 0 {
            sizes.buckets[self.bucket].fetch_add(count, Ordering::Relaxed);
            sizes.sum_bytes.fetch_add(sum_bytes, Ordering::Relaxed);
        }
    }
}

/// Messages that passed the node, by what no object of it keeps.
#[derive(Debug, Default)]
pub struct Passed {
    /// How large those were that publishers sent.
    pub sizes: Sizes,
    /// Given to queues, once for each, for publishers that are connections.
    pub routed: AtomicU64,
    /// Dead letters that found their exchange: of classic and of quorum queues, by [`DEAD_REASONS`].
    pub dead_lettered: [[AtomicU64; DEAD_REASONS.len()]; 2],
}

/// Why messages die, in the order of [`Passed::dead_lettered`].
pub const DEAD_REASONS: [DeadReason; 4] = [
    DeadReason::Rejected,
    DeadReason::Expired,
    DeadReason::MaxLength,
    DeadReason::DeliveryLimit,
];

impl Passed {
    /// A message of a queue of this kind died, and its letter found its exchange.
    pub(crate) fn count_dead(&self, kind: QueueKind, reason: DeadReason) {
        let of_kind = &self.dead_lettered[usize::from(kind == QueueKind::Quorum)];
        let at = DEAD_REASONS.iter().position(|known| *known == reason);
        if let Some(counter) = at.and_then(|at| of_kind.get(at)) {
            count(counter);
        }
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
    /// Of them, those whose publisher wants a confirm.
    publish_confirm,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_the_first_bucket_that_is_not_smaller() {
        let (passed, mut run) = (Arc::new(Passed::default()), SizeRun::default());
        let all = [
            0,
            100,
            101,
            1_000,
            99,
            1_000_000,
            50_000_001,
            100_000_001,
            u64::MAX / 2,
            1,
        ];
        for bytes in all {
            run.add(bytes, &passed);
        }
        run.show(&passed);
        run.show(&passed);
        let expected = ([4, 2, 0, 0, 1, 0, 0, 1, 2], all.iter().sum());
        assert_eq!(passed.sizes.counted(), expected);
        assert!(SIZES_BYTES.is_sorted());
    }
}
