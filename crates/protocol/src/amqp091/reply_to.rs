//! Direct reply-to on the requester's and the replier's side. See `node::replies`.

use std::sync::Arc;

use broker::message::Message;
use broker::queue::ConsumerId;
use metadata::topology::Name;
use node::replies::{REPLY_TO, Replies};

use super::consume::{Consumer, Source};
use super::fault::Fault;
use super::methods::Session;

/// A channel's consumer of replies.
pub(crate) struct ReplyConsumer {
    pub(crate) consumer: ConsumerId,
    /// The address that requests of this channel carry.
    pub(crate) name: Arc<str>,
}

impl Session {
    /// `basic.consume` of the pseudo-queue: one on a channel, without acknowledgement.
    pub(crate) fn consume_replies(
        &mut self,
        number: u16,
        tag: &Name,
        no_ack: bool,
    ) -> Result<(), Fault> {
        let id = self.node.next_consumer_id();
        let channel = self.channel(number)?;
        if !no_ack {
            return Err(Fault::precondition("reply consumer cannot acknowledge"));
        }
        if channel.reply_consumer.is_some() {
            return Err(Fault::precondition("reply consumer already set"));
        }
        let token = node::names::token();
        let mailbox = Arc::clone(&self.entry.mailbox);
        let (name, target) = self.node.replies.open(&token, id, mailbox);
        let channel = self.channel(number)?;
        channel.reply_consumer = Some(ReplyConsumer { consumer: id, name });
        channel.consumers.insert(Arc::clone(tag), id);
        let consumer = Consumer {
            channel: number,
            tag: Arc::clone(tag),
            source: Source::Replies(target),
            no_ack: true,
            shared_prefetch: false,
            timeout_ms: None,
            owed_bytes: 0,
        };
        self.consumers.insert(id, consumer);
        Ok(())
    }

    /// The address is no longer good.
    pub(crate) fn close_reply_consumer(&mut self, reply: &ReplyConsumer) {
        self.node.replies.close(&reply.name);
    }

    /// Gives a message to the reply address that `routing_key` is; whether it has the form of one.
    pub(crate) fn deliver_reply(&self, routing_key: &str, message: &Message) -> bool {
        if let Some(target) = self.node.replies.find(routing_key) {
            target.deliver(message);
        }
        Replies::is_address(routing_key)
    }

    /// Whether a passive declare of `name` finds a reply address: repliers ask whether the requester is there.
    pub(crate) fn is_reply_address(&self, name: &str) -> bool {
        name == REPLY_TO || self.node.replies.find(name).is_some()
    }
}
