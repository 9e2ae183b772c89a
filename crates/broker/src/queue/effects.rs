//! What a queue is given and what it gives back: incoming messages, deliveries, dead letters.
//!
//! The queue only ever pushes to [`Effects`]; the caller acts on them, clears them and uses them again, so that
//! nothing is allocated a message. Deliberately absent: what the caller does with them.

use super::options::ConsumerId;
use crate::message::{LogPosition, Message};

/// Bytes that a delivery weighs in a consumer's window beside those of its message: frames, methods, entries.
pub const DELIVERY_OVERHEAD_BYTES: u64 = 64;
/// Bytes of deliveries that a consumer may have been given and that have not reached its socket yet. The queue
/// gives it no more until they were returned, so that a consumer that does not read leaves its messages in the queue.
/// What is in the window should stay in a processor's cache on its way to the consumer's thread.
pub const DELIVERY_WINDOW_BYTES: u64 = 256 * 1024;

/// What a delivery of `message` takes from its consumer's window, and what must be returned to it.
pub fn delivery_bytes(message: &Message) -> u64 {
    message.bytes() as u64 + DELIVERY_OVERHEAD_BYTES
}

/// A message on its way into the queue.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The message.
    pub message: Message,
    /// Where the log has it.
    pub position: LogPosition,
    /// It may have been delivered before: recovery could not know better.
    pub redelivered: bool,
    /// What it was made of may have come here before the broker was killed: it says so however it is delivered.
    pub uncertain: bool,
    /// How many deliveries failed before, as recovery found it.
    pub delivery_count: u32,
    /// When it expires, as recovery found it or the log was told; [`NEVER_MS`](super::NEVER_MS) if never. None: counted
    /// from now.
    pub expires_at_ms: Option<u64>,
}

impl Incoming {
    /// A message that was just published.
    pub fn new(message: Message, position: LogPosition) -> Self {
        Incoming {
            message,
            position,
            redelivered: false,
            uncertain: false,
            delivery_count: 0,
            expires_at_ms: None,
        }
    }
}

/// Names one unacked message of one queue. A message that is delivered twice has two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliveryId {
    /// Which delivery of this queue it is: no two have the same number.
    pub seq: u64,
    /// Where the queue holds it.
    pub slot: u32,
}

impl DeliveryId {
    /// That of a delivery that needs no settlement.
    pub const NONE: DeliveryId = DeliveryId {
        seq: u64::MAX,
        slot: u32::MAX,
    };
}

/// One message for one consumer.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// To whom; [`ConsumerId::NONE`] when it answers a get.
    pub consumer: ConsumerId,
    /// How to settle it; [`DeliveryId::NONE`] with `no_ack`.
    pub id: DeliveryId,
    /// The message.
    pub message: Message,
    /// Where the log has it.
    pub position: LogPosition,
    /// How many deliveries failed before (quorum queues; the header `x-delivery-count` when over 0).
    pub delivery_count: u32,
    /// How many deliveries came back before, failed or not (quorum queues; the header `x-acquired-count` when over 0).
    pub acquired_count: u32,
    /// It may have been delivered before.
    pub redelivered: bool,
    /// It is settled already.
    pub no_ack: bool,
}

/// Why a message died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeadReason {
    /// A consumer refused it without requeueing.
    Rejected,
    /// Its time was up.
    Expired,
    /// The queue was full.
    MaxLength,
    /// It was returned too often.
    DeliveryLimit,
}

impl DeadReason {
    /// As it stands in `x-death`.
    pub fn as_str(self) -> &'static str {
        match self {
            DeadReason::Rejected => "rejected",
            DeadReason::Expired => "expired",
            DeadReason::MaxLength => "maxlen",
            DeadReason::DeliveryLimit => "delivery_limit",
        }
    }
}

/// A message that left the queue for its dead-letter exchange.
#[derive(Debug, Clone)]
pub struct Dead {
    /// The message.
    pub message: Message,
    /// Where the log has it: the caller releases it when the dead letter has arrived where it belongs.
    pub position: LogPosition,
    /// Why.
    pub reason: DeadReason,
    /// How many of its deliveries failed, the rejection that killed it among them. The dead letter brings the number
    /// along to the queues that it comes to, as RabbitMQ's do.
    pub delivery_count: u32,
}

/// A consumer that has held messages for too long. The caller cancels it and requeues them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedOut {
    /// Who; [`ConsumerId::NONE`] for messages that were fetched by `basic.get`.
    pub consumer: ConsumerId,
    /// What it has held for too long, oldest first.
    pub ids: Vec<DeliveryId>,
}

/// What is to be done. The queue pushes, the caller acts, clears and uses it again.
#[derive(Debug, Default)]
pub struct Effects {
    /// For consumers, in the order of delivery.
    pub deliveries: Vec<Delivery>,
    /// Indexes in the batch of messages that a full queue refused. Their positions are not in `released`.
    pub rejected: Vec<u32>,
    /// Dead letters, in the order of their death. Only of queues that have a dead-letter exchange: in others what
    /// dies is dropped and released.
    pub dead: Vec<Dead>,
    /// Left the queue for good.
    pub released: Vec<LogPosition>,
    /// A purge that takes messages which are only in the log; those in `released` come on top.
    pub purged: Option<super::Purged>,
    /// Came back and stay, with their new delivery counts. Only those of quorum queues whose count has changed.
    pub counted: Vec<(LogPosition, u32)>,
    /// Consumers that have held messages for too long.
    pub timed_out: Vec<TimedOut>,
    /// The single active consumer is another one (or none) now.
    pub active_changed: bool,
    /// The last consumer of an auto-delete queue has gone: delete it.
    pub auto_delete: bool,
    /// The queue was unused for as long as `x-expires` allows: delete it.
    pub expired_queue: bool,
}

impl Effects {
    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.deliveries.clear();
        self.rejected.clear();
        self.dead.clear();
        self.released.clear();
        self.purged = None;
        self.counted.clear();
        self.timed_out.clear();
        self.active_changed = false;
        self.auto_delete = false;
        self.expired_queue = false;
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
            && self.rejected.is_empty()
            && self.dead.is_empty()
            && self.released.is_empty()
            && self.purged.is_none()
            && self.counted.is_empty()
            && self.timed_out.is_empty()
            && !self.active_changed
            && !self.auto_delete
            && !self.expired_queue
    }

    pub(super) fn release(&mut self, position: LogPosition) {
        if position.is_some() {
            self.released.push(position);
        }
    }
}

/// Credit that consumers share across queues (`basic.qos` with `global`): a channel's.
pub trait Gate {
    /// Whether one more message may be delivered to this consumer. If so it is delivered, and counted. If not, the
    /// queue asks again only after [`Queue::resume`](super::Queue::resume).
    fn admit(&mut self, consumer: ConsumerId) -> bool;
}

/// A gate that is always open.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenGate;

impl Gate for OpenGate {
    fn admit(&mut self, _: ConsumerId) -> bool {
        true
    }
}

/// What becomes of an unacked message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Done with: `basic.ack`.
    Ack,
    /// Refused: `basic.reject` and `basic.nack` without requeue.
    DeadLetter {
        /// As with [`Settlement::Requeue`]: `basic.reject` counts and `basic.nack` does not.
        counted: bool,
    },
    /// Back to its place in the queue.
    Requeue {
        /// Whether it counts as a failed delivery; only a quorum queue tells its consumers. RabbitMQ 4.3 does for `basic.reject` and a lost
        /// channel, and does not for `basic.nack`, `basic.recover` and a consumer timeout.
        counted: bool,
    },
}
