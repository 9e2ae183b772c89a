//! What a queue and its consumers were asked to be.
//!
//! Plain values: arguments of `queue.declare` and `basic.consume` and the keys of policies have been parsed
//! and merged by the caller. Deliberately absent: durability and exclusivity, which are the node's business.

use std::sync::Arc;

use crate::message::Message;

/// The priority that a quorum queue gives to a message without one (RabbitMQ 4.3).
pub const QUORUM_PRIORITY_DEFAULT: u8 = 4;
/// The highest priority of a quorum queue; what is above counts as this (RabbitMQ 4.3).
pub const QUORUM_PRIORITY_MAX: u8 = 31;
/// How often a quorum queue delivers a message before it gives it up, unless told (RabbitMQ 4.0 and later).
pub const DELIVERY_LIMIT_DEFAULT: u32 = 20;

/// Which of RabbitMQ's queue types a queue behaves as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueKind {
    /// `classic`: priorities when asked for, no delivery limit.
    #[default]
    Classic,
    /// `quorum`: 32 priorities, deliveries are counted and limited, consumers time out.
    Quorum,
}

/// What a full queue does with the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// Takes it and drops the one at its head (`drop-head`).
    #[default]
    DropHead,
    /// Refuses it (`reject-publish`).
    RejectPublish,
    /// Refuses it and dead-letters it (`reject-publish-dlx`).
    RejectPublishDeadLetter,
}

/// How a queue behaves: its arguments merged with its policies. May change while it lives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueOptions {
    /// Classic or quorum. Never changes.
    pub kind: QueueKind,
    /// Goes when its last consumer goes.
    pub auto_delete: bool,
    /// How long a message may stay; a message's own `expiration` counts if it is shorter.
    pub message_ttl_ms: Option<u64>,
    /// How long the queue may go without consumers, gets and declarations.
    pub expires_ms: Option<u64>,
    /// Where dead letters are published. None: what dies is dropped.
    pub dead_letter_exchange: Option<Arc<str>>,
    /// Routing key of dead letters. None: the keys they came with.
    pub dead_letter_routing_key: Option<Arc<str>>,
    /// The most ready messages it keeps.
    pub length_max: Option<u64>,
    /// The most body bytes of ready messages it keeps.
    pub bytes_max: Option<u64>,
    /// What happens beyond `length_max` and `bytes_max`.
    pub overflow: Overflow,
    /// Classic queues: the highest priority it tells apart. None: no priorities.
    pub priority_max: Option<u8>,
    /// Only one consumer is delivered to, the others wait to take over.
    pub single_active_consumer: bool,
    /// Quorum queues: deliveries that may fail before a message is dead-lettered. None: no limit.
    pub delivery_limit: Option<u32>,
    /// Quorum queues: how long a consumer may hold a message unsettled. A consumer's own timeout goes before it.
    pub consumer_timeout_ms: Option<u64>,
    /// Quorum queues: which requeued messages wait before they are ready again. None: all are ready at once.
    pub delayed_retry: Option<DelayedRetry>,
}

/// Which requeued messages a quorum queue delays (`x-delayed-retry-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelayedRetryKind {
    /// All of them.
    All,
    /// Those whose delivery failed, that is, those that count towards the delivery limit.
    Failed,
    /// Those that were merely returned.
    Returned,
}

/// Delay before a requeued message is ready again: `min_ms` times its delivery count, at most `max_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayedRetry {
    /// Which ones wait.
    pub kind: DelayedRetryKind,
    /// The shortest delay (`x-delayed-retry-min`).
    pub min_ms: u64,
    /// The longest delay (`x-delayed-retry-max`).
    pub max_ms: u64,
}

/// A consumer, unique in the node. The caller gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u64);

impl ConsumerId {
    /// Stands for `basic.get`, which delivers without a consumer.
    pub const NONE: ConsumerId = ConsumerId(u64::MAX);
}

/// How a consumer wants to be delivered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// Its id. [`ConsumerId::NONE`] is not allowed.
    pub id: ConsumerId,
    /// What it gets is settled by being delivered.
    pub no_ack: bool,
    /// It wants to be the only one. Means nothing to a quorum queue.
    pub exclusive: bool,
    /// The most unsettled messages it may hold; 0: no limit. Means nothing with `no_ack`.
    pub prefetch: u32,
    /// Consumers of higher priority are served first while they have credit (`x-priority`).
    pub priority: i64,
    /// Quorum queues: how long it may hold a message unsettled. None: what the queue says.
    pub timeout_ms: Option<u64>,
    /// The [`Gate`](super::Gate) is asked before each delivery (`basic.qos` with `global`). Means nothing with `no_ack`.
    pub shared_prefetch: bool,
}

impl ConsumerOptions {
    /// A consumer that acknowledges, without limits.
    pub fn new(id: ConsumerId) -> Self {
        ConsumerOptions {
            id,
            no_ack: false,
            exclusive: false,
            prefetch: 0,
            priority: 0,
            timeout_ms: None,
            shared_prefetch: false,
        }
    }
}

impl QueueOptions {
    /// The priority that a message has in such a queue.
    pub fn priority_of(&self, message: &Message) -> u8 {
        match (self.kind, self.priority_max) {
            (QueueKind::Classic, None) => 0,
            (QueueKind::Classic, Some(max)) => message.priority().unwrap_or(0).min(max),
            (QueueKind::Quorum, _) => message
                .priority()
                .unwrap_or(QUORUM_PRIORITY_DEFAULT)
                .min(QUORUM_PRIORITY_MAX),
        }
    }
}
