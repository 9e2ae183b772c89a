//! `basic.consume`, `basic.cancel`, `basic.qos`, `basic.get`, and what queues tell their consumers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker::queue::{ConsumerId, ConsumerOptions, QueueKind, Settlement};
use broker::queue_arguments;
use metadata::identity::PermissionKind;
use metadata::topology::Name;
use node::identities::ResourceKind;
use node::mailbox::Event;
use node::queue_cell::{ConsumeRefusal, ConsumerInfo, Got, QueueCell, SharedPrefetch};
use node::refusal::Refusal;
use node::replies::{REPLY_TO, ReplyTarget};
use wire::amqp091::frame::{encode_body, encode_content_header};
use wire::amqp091::method::{
    BasicCancel, BasicCancelOk, BasicConsume, BasicConsumeOk, BasicGet, BasicGetOk, BasicQos,
    Method,
};
use wire::amqp091::reply_code::ReplyCode;
use wire::amqp091::table::FieldTable;

use super::connection::Turn;
use super::fault::Fault;
use super::methods::Session;
use super::unacked::Unacked;

/// Where a consumer's deliveries come from.
pub(crate) enum Source {
    /// A queue.
    Queue(Arc<QueueCell>),
    /// Direct reply-to.
    Replies(Arc<ReplyTarget>),
}

/// A consumer as its connection knows it.
pub(crate) struct Consumer {
    pub(crate) channel: u16,
    pub(crate) tag: Name,
    pub(crate) source: Source,
    pub(crate) no_ack: bool,
    /// Shares its channel's credit with the other consumers there.
    pub(crate) shared_prefetch: bool,
    /// How long it may hold a message unacked.
    pub(crate) timeout_ms: Option<u64>,
    /// Bytes encoded and not yet returned to the queue's window.
    pub(crate) owed_bytes: u64,
}

impl Session {
    pub(crate) fn consume(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        consume: &BasicConsume<'_>,
    ) -> Result<(), Fault> {
        let channel = self.channel(number)?;
        if channel.consumers.contains_key(consume.consumer_tag) {
            let text = format!("attempt to reuse consumer tag '{}'", consume.consumer_tag);
            return Err(Fault::connection(ReplyCode::NotAllowed, text));
        }
        let tag: Name = match consume.consumer_tag {
            "" => node::names::unique("amq.ctag").into(),
            tag => tag.into(),
        };
        if consume.queue == REPLY_TO {
            self.consume_replies(number, &tag, consume.no_ack)?;
            if !consume.nowait {
                let ok = BasicConsumeOk { consumer_tag: &tag };
                turn.say(number, &Method::BasicConsumeOk(ok));
            }
            return Ok(());
        }
        let name = self.queue_name(number, consume.queue)?;
        self.check(PermissionKind::Read, ResourceKind::Queue, &name)?;
        let channel = self.channel(number)?;
        if channel.consumers.len() >= self.node.settings.channel_consumers_max {
            let text = "maximum number of consumers per channel reached";
            return Err(Fault::connection(ReplyCode::NotAllowed, text));
        }
        self.add_consumer(turn, number, consume, &name, tag)
    }

    fn add_consumer(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        consume: &BasicConsume<'_>,
        name: &Name,
        tag: Name,
    ) -> Result<(), Fault> {
        let cell = self.vhost.open_queue(name, self.entry.id)?;
        let arguments = consume.arguments.to_owned();
        let wishes = queue_arguments::parse_consumer(&arguments, &cell.spec, &self.vhost.name)
            .map_err(|error| Fault::precondition(error.to_string()))?;
        let id = self.node.next_consumer_id();
        let timeouts = self.node.settings.consumer_timeout_ms;
        let default_timeout_ms = timeouts.of(cell.options().kind);
        let channel = self.channel(number)?;
        let shared = channel.shared_prefetch.clone();
        let prefetch = channel.prefetch;
        let options = ConsumerOptions {
            id,
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            prefetch,
            priority: wishes.priority,
            timeout_ms: wishes
                .timeout_ms
                .or(cell.options().consumer_timeout_ms)
                .or(default_timeout_ms),
            shared_prefetch: shared.is_some(),
        };
        let info = self.consumer_info(number, consume, &tag, prefetch, arguments);
        let shared_prefetch = shared.is_some();
        let mailbox = Arc::clone(&self.entry.mailbox);
        let (added, aftermath) = cell.consume(turn.now_ms, options, mailbox, shared, info);
        let vhost = Arc::clone(&self.vhost);
        match added {
            Ok(()) => {}
            Err(ConsumeRefusal::Gone) => return Err(Refusal::no_queue(name, &vhost.name).into()),
            Err(ConsumeRefusal::ExclusiveInUse) => {
                let vhost = &vhost.name;
                let text = format!("queue '{name}' in vhost '{vhost}' in exclusive use");
                return Err(Fault::access(text));
            }
        }
        self.channel(number)?.consumers.insert(Arc::clone(&tag), id);
        if !consume.nowait {
            turn.say(
                number,
                &Method::BasicConsumeOk(BasicConsumeOk { consumer_tag: &tag }),
            );
        }
        vhost.conclude(turn.now_ms, &cell, aftermath);
        let consumer = Consumer {
            channel: number,
            tag,
            source: Source::Queue(cell),
            no_ack: consume.no_ack,
            shared_prefetch,
            timeout_ms: options.timeout_ms,
            owed_bytes: 0,
        };
        self.consumers.insert(id, consumer);
        Ok(())
    }

    fn consumer_info(
        &self,
        number: u16,
        consume: &BasicConsume<'_>,
        tag: &Name,
        prefetch: u32,
        arguments: FieldTable,
    ) -> ConsumerInfo {
        ConsumerInfo {
            tag: Arc::clone(tag),
            connection: self.entry.id,
            connection_name: Arc::clone(&self.entry.name),
            channel: number,
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            prefetch,
            arguments,
        }
    }

    pub(crate) fn cancel(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        cancel: &BasicCancel<'_>,
    ) -> Result<(), Fault> {
        let channel = self.channel(number)?;
        if let Some(id) = channel.consumers.remove(cancel.consumer_tag) {
            let reply = channel.reply_consumer.take_if(|reply| reply.consumer == id);
            if let Some(reply) = reply {
                self.close_reply_consumer(&reply);
            }
            self.stop_consumer(turn, id);
            // What the queue handed out before comes before the answer.
            self.deliver_all(turn);
            self.consumers.remove(&id);
        }
        if !cancel.nowait {
            let ok = BasicCancelOk {
                consumer_tag: cancel.consumer_tag,
            };
            turn.say(number, &Method::BasicCancelOk(ok));
        }
        Ok(())
    }

    /// Takes a consumer off its queue.
    pub(crate) fn stop_consumer(&mut self, turn: &mut Turn<'_>, id: ConsumerId) {
        let Some(Consumer {
            source: Source::Queue(cell),
            ..
        }) = self.consumers.get(&id)
        else {
            return;
        };
        let cell = Arc::clone(cell);
        let aftermath = cell.cancel(turn.now_ms, id);
        self.vhost.conclude(turn.now_ms, &cell, aftermath);
    }

    /// A queue's news for one of its consumers.
    pub(crate) fn handle_consumer_event(
        &mut self,
        turn: &mut Turn<'_>,
        event: Event,
        understands_cancel: bool,
    ) {
        match event {
            Event::ConsumerCancelled(id) => {
                self.deliver_all(turn);
                self.drop_consumer(turn, id, understands_cancel);
            }
            Event::ConsumerTimedOut { consumer: id } => {
                self.time_out(turn, id, understands_cancel);
            }
            Event::Close { .. } | Event::AlarmsChanged => {}
        }
    }

    /// Forgets a consumer that its queue gave up, and tells the client if it understands.
    fn drop_consumer(&mut self, turn: &mut Turn<'_>, id: ConsumerId, tell: bool) {
        let Some(consumer) = self.consumers.remove(&id) else {
            return;
        };
        let Some(channel) = self.channels.find(consumer.channel) else {
            return;
        };
        channel.consumers.remove(&consumer.tag);
        channel.publish_counts();
        if tell {
            let cancel = BasicCancel {
                consumer_tag: &consumer.tag,
                nowait: true,
            };
            turn.say(consumer.channel, &Method::BasicCancel(cancel));
        }
    }

    /// A consumer held a message too long. RabbitMQ 4.3 cancels it where the client understands that, and
    /// closes the channel where not; its unacked messages go back either way.
    fn time_out(&mut self, turn: &mut Turn<'_>, id: ConsumerId, tell: bool) {
        self.flush(turn);
        let Some(consumer) = self.consumers.get(&id) else {
            return;
        };
        let (number, tag) = (consumer.channel, Arc::clone(&consumer.tag));
        let timeout_ms = consumer.timeout_ms.unwrap_or_default();
        tracing::warn!(
            connection = &*self.entry.name,
            channel = number,
            consumer = &*tag,
            "consumer timed out: a delivery was not acknowledged for {timeout_ms} ms"
        );
        if !tell {
            let text = format!(
                "delivery acknowledgement on channel {number} timed out. Timeout value used: \
                 {timeout_ms} ms. This timeout value can be configured, see consumers doc guide to \
                 learn more"
            );
            self.close_channel(turn, number, &Fault::precondition(text));
            return;
        }
        self.stop_consumer(turn, id);
        self.requeue_arrivals(turn, |arrived| arrived == id);
        if let Some(channel) = self.channels.find(number) {
            let taken = channel.unacked.take_of(id);
            self.settle_entries(number, taken, Settlement::Requeue { counted: false });
            self.flush_settlements(turn);
        }
        self.drop_consumer(turn, id, true);
    }

    pub(crate) fn qos(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        qos: &BasicQos,
    ) -> Result<(), Fault> {
        if qos.prefetch_size != 0 {
            let text = format!("prefetch_size!=0 ({})", qos.prefetch_size);
            return Err(Fault::connection(ReplyCode::NotImplemented, text));
        }
        let channel = self.channel(number)?;
        let limit = u32::from(qos.prefetch_count);
        if !qos.global {
            channel.prefetch = limit;
            channel.entry.prefetch.store(limit, Ordering::Relaxed);
            turn.say(number, &Method::BasicQosOk);
            return Ok(());
        }
        channel
            .entry
            .prefetch_global
            .store(limit, Ordering::Relaxed);
        match &channel.shared_prefetch {
            Some(shared) => shared.set_limit(limit),
            None if limit > 0 => {
                // What was assigned before is counted once it is unacked, not while it lies in the mailbox.
                self.deliver_all(turn);
                self.share_prefetch(number, limit)?;
            }
            None => {}
        }
        turn.say(number, &Method::BasicQosOk);
        self.resume_shared(turn, number);
        Ok(())
    }

    /// From now on the channel's consumers share their credit, those that are there already too, with what they
    /// hold.
    fn share_prefetch(&mut self, number: u16, limit: u32) -> Result<(), Fault> {
        let channel = self.channel(number)?;
        let shared = SharedPrefetch::new(limit, channel.unacked.held_by_consumers());
        channel.shared_prefetch = Some(Arc::clone(&shared));
        for id in channel.consumer_ids() {
            let Some(consumer) = self.consumers.get_mut(&id) else {
                continue;
            };
            if let (false, Source::Queue(cell)) = (consumer.no_ack, &consumer.source) {
                cell.share_prefetch(id, Arc::clone(&shared));
                consumer.shared_prefetch = true;
            }
        }
        Ok(())
    }

    /// Lets the consumers of a channel ask for shared credit again, the oldest first.
    pub(crate) fn resume_shared(&mut self, turn: &mut Turn<'_>, number: u16) {
        let Some(channel) = self.channels.find(number) else {
            return;
        };
        for id in channel.consumer_ids() {
            let Some(consumer) = self.consumers.get(&id) else {
                continue;
            };
            if let (true, Source::Queue(cell)) = (consumer.shared_prefetch, &consumer.source) {
                let cell = Arc::clone(cell);
                let aftermath = cell.resume(turn.now_ms, id);
                self.vhost.conclude(turn.now_ms, &cell, aftermath);
            }
        }
    }

    pub(crate) fn get(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        get: &BasicGet<'_>,
    ) -> Result<(), Fault> {
        let name = self.queue_name(number, get.queue)?;
        self.check(PermissionKind::Read, ResourceKind::Queue, &name)?;
        let cell = self.vhost.open_queue(&name, self.entry.id)?;
        check_get(&cell, &self.vhost.name)?;
        let (got, aftermath) = cell.get(turn.now_ms, get.no_ack, &self.entry.mailbox);
        self.vhost.conclude(turn.now_ms, &cell, aftermath);
        let (delivery, ready) = match got {
            Got::Message(delivery, ready) => (delivery, ready),
            Got::Nothing => {
                self.channel(number)?.totals.get_empty += 1;
                turn.say(number, &Method::BasicGetEmpty);
                return Ok(());
            }
            Got::Away => {
                self.waits_for_page = true;
                return Ok(());
            }
        };
        let totals = &mut self.channel(number)?.totals;
        match get.no_ack {
            true => totals.get_no_ack += 1,
            false => totals.get += 1,
        };
        let frame_bytes_max = self.tuned.frame_bytes_max;
        let channel = self.channel(number)?;
        channel.delivery_tag += 1;
        channel.totals.redeliver += u64::from(delivery.redelivered);
        let message = &delivery.message;
        let ok = BasicGetOk {
            delivery_tag: channel.delivery_tag,
            redelivered: delivery.redelivered,
            exchange: message.exchange(),
            routing_key: message.routing_key(),
            message_count: u32::try_from(ready).unwrap_or(u32::MAX),
        };
        turn.say(number, &Method::BasicGetOk(ok));
        let counted = super::deliver::counted_properties(&delivery);
        let properties = counted.as_deref().unwrap_or(message.properties());
        let (out, body) = (turn.output.buffer(), message.body());
        encode_content_header(out, number, 60, body.len() as u64, properties);
        encode_body(out, number, body, frame_bytes_max);
        let tag = channel.delivery_tag;
        if let Some(tracer) = self.node.tracer() {
            let deliveries = std::slice::from_ref(&*delivery);
            (self.traced_deliveries).deliver(tracer, &self.vhost, &cell, deliveries, tag);
        }
        if !get.no_ack {
            let channel = self.channel(number)?;
            let (consumer, id) = (ConsumerId::NONE, delivery.id);
            channel.unacked.push(Unacked {
                tag,
                cell,
                consumer,
                id,
            });
        }
        Ok(())
    }
}

/// A quorum queue with a single active consumer is not for `basic.get` (RabbitMQ 4.3).
fn check_get(cell: &QueueCell, vhost: &str) -> Result<(), Fault> {
    let options = cell.options();
    if options.kind != QueueKind::Quorum || !options.single_active_consumer {
        return Ok(());
    }
    let name = &cell.spec.name;
    let text = format!(
        "cannot obtain access to locked queue '{name}' in vhost '{vhost}'. basic.get operations are \
         not supported by <<\"quorum\">> queues with single active consumer"
    );
    Err(Fault::channel(ReplyCode::ResourceLocked, text))
}
