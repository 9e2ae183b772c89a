//! Direct reply-to: replies go straight to the requester's channel, without a queue.
//!
//! A requester consumes from `amq.rabbitmq.reply-to`; its requests carry a `reply-to` of
//! `amq.rabbitmq.reply-to.TOKEN`, and what is published to that name through the default exchange is put into
//! the requester's mailbox. The token is random, so that it cannot be guessed. As in RabbitMQ, replies are
//! delivered at most once: one to a requester that is gone, or that does not read, is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use broker::message::{LogPosition, Message};
use broker::queue::{ConsumerId, Delivery, DeliveryId, delivery_bytes};
use hashbrown::HashMap;
use parking_lot::RwLock;

use crate::mailbox::Mailbox;

/// What a requester may leave unread before further replies to it are dropped.
pub const REPLY_BACKLOG_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The pseudo-queue a requester consumes from; with a dot and a token, the name of a reply address.
pub const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// A channel that awaits replies.
pub struct ReplyTarget {
    consumer: ConsumerId,
    mailbox: Arc<Mailbox>,
    backlog_bytes: AtomicU64,
}

impl ReplyTarget {
    /// Puts a reply into the requester's mailbox, or drops it when too much lies there unread.
    pub fn deliver(&self, message: &Message) {
        let bytes = delivery_bytes(message);
        if self.backlog_bytes.fetch_add(bytes, Ordering::Relaxed) > REPLY_BACKLOG_BYTES_MAX {
            self.backlog_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return;
        }
        self.mailbox.deliver(&mut vec![Delivery {
            consumer: self.consumer,
            id: DeliveryId::NONE,
            message: message.clone(),
            redelivered: false,
            delivery_count: 0,
            acquired_count: 0,
            no_ack: true,
            position: LogPosition::NONE,
        }]);
    }

    /// The requester encoded replies that weigh this much (`broker::queue::delivery_bytes`).
    pub fn taken(&self, bytes: u64) {
        self.backlog_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The node's reply addresses.
#[derive(Default)]
pub struct Replies(RwLock<HashMap<Box<str>, Arc<ReplyTarget>>>);

impl Replies {
    /// Opens a reply address. Its name is [`REPLY_TO`], a dot, and `token`.
    pub fn open(
        &self,
        token: &str,
        consumer: ConsumerId,
        mailbox: Arc<Mailbox>,
    ) -> (Arc<str>, Arc<ReplyTarget>) {
        let name = format!("{REPLY_TO}.{token}");
        let target = Arc::new(ReplyTarget {
            consumer,
            mailbox,
            backlog_bytes: AtomicU64::new(0),
        });
        self.0
            .write()
            .insert(name.clone().into_boxed_str(), Arc::clone(&target));
        (name.into(), target)
    }

    /// Closes a reply address.
    pub fn close(&self, name: &str) {
        self.0.write().remove(name);
    }

    /// Whether `name` could be an address, open or closed. To one of these RabbitMQ counts every message as
    /// routed: replies are delivered at most once.
    pub fn is_address(name: &str) -> bool {
        let token = name
            .strip_prefix(REPLY_TO)
            .and_then(|rest| rest.strip_prefix('.'));
        token.is_some_and(|token| token.len() == crate::names::TOKEN_CHARACTERS)
    }

    /// The channel that waits behind `name`, if it is an address and still open.
    pub fn find(&self, name: &str) -> Option<Arc<ReplyTarget>> {
        if !name.starts_with(REPLY_TO) {
            return None;
        }
        self.0.read().get(name).cloned()
    }
}
