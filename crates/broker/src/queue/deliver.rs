//! Messages go out: consumers come, take turns, and go.

use super::effects::delivery_bytes;
use super::entry::Entry;
use super::options::{ConsumerId, ConsumerOptions};
use super::{ConsumeError, DeadReason, Delivery, DeliveryId, Effects, Gate, Queue, QueueKind};

impl Queue {
    /// A consumer comes.
    ///
    /// # Errors
    /// [`ConsumeError::ExclusiveInUse`]: RabbitMQ answers 403 ACCESS_REFUSED.
    pub fn add_consumer(
        &mut self,
        now_ms: u64,
        mut options: ConsumerOptions,
        gate: &mut dyn Gate,
        effects: &mut Effects,
    ) -> Result<(), ConsumeError> {
        // RabbitMQ's quorum queues know no exclusive consumers and let the wish pass.
        options.exclusive &= self.options.kind == QueueKind::Classic;
        let single = self.options.single_active_consumer;
        if self.roster.exclusive.is_some()
            || (options.exclusive && (single || self.roster.len() != 0))
        {
            return Err(ConsumeError::ExclusiveInUse);
        }
        self.expire_due(now_ms, effects);
        self.used_at_ms = now_ms;
        effects.active_changed |= self.roster.add(options);
        if self.options.kind == QueueKind::Quorum {
            effects.active_changed |= self.roster.prefer_priority();
        }
        self.assign(now_ms, gate, effects);
        Ok(())
    }

    /// A consumer goes. What it holds stays unacked until it is settled. Says whether there was such a consumer.
    pub fn cancel_consumer(
        &mut self,
        now_ms: u64,
        consumer: ConsumerId,
        gate: &mut dyn Gate,
        effects: &mut Effects,
    ) -> bool {
        let Some(changed) = self.roster.cancel(consumer) else {
            return false;
        };
        self.expire_due(now_ms, effects);
        self.used_at_ms = now_ms;
        effects.active_changed |= changed;
        if self.options.auto_delete && self.roster.len() == 0 && !self.gone {
            self.gone = true;
            effects.auto_delete = true;
        }
        self.assign(now_ms, gate, effects);
        true
    }

    /// Deliveries to this consumer of so many bytes (see [`delivery_bytes`]) have reached its socket.
    pub fn return_window(
        &mut self,
        now_ms: u64,
        consumer: ConsumerId,
        bytes: u64,
        gate: &mut dyn Gate,
        effects: &mut Effects,
    ) {
        let Some(place) = self.roster.find(consumer) else {
            return;
        };
        let window_bytes = &mut self.roster.consumer_mut(place).window_bytes;
        debug_assert!(bytes <= *window_bytes);
        *window_bytes = window_bytes.saturating_sub(bytes);
        self.roster.refresh(place);
        self.expire_due(now_ms, effects);
        self.assign(now_ms, gate, effects);
    }

    /// The gate may admit this consumer again.
    pub fn resume(
        &mut self,
        now_ms: u64,
        consumer: ConsumerId,
        gate: &mut dyn Gate,
        effects: &mut Effects,
    ) {
        let Some(place) = self.roster.find(consumer) else {
            return;
        };
        self.roster.open_gate(place);
        self.expire_due(now_ms, effects);
        self.assign(now_ms, gate, effects);
    }

    /// The consumer's channel asked for shared credit after the consumer came: the gate is asked from now on.
    pub fn share_prefetch(&mut self, consumer: ConsumerId) {
        if let Some(place) = self.roster.find(consumer) {
            self.roster.consumer_mut(place).options.shared_prefetch = true;
        }
    }

    /// `basic.get`: takes the next message, without a consumer. If it [is away](Self::is_front_away), there is none
    /// yet, and the queue asks for it.
    pub fn get(&mut self, now_ms: u64, no_ack: bool, effects: &mut Effects) -> Option<Delivery> {
        self.used_at_ms = now_ms;
        self.expire_due(now_ms, effects);
        let taken = self.take_front(now_ms, effects);
        self.asked = taken.is_none() && self.is_front_away();
        let Some((seq, entry)) = taken else {
            self.totals.get_empty += u64::from(!self.asked);
            return None;
        };
        self.totals.redeliver += u64::from(entry.redelivered);
        if no_ack {
            self.totals.get_no_ack += 1;
            effects.release(entry.position);
            return Some(self.settled_delivery(ConsumerId::NONE, entry));
        }
        self.totals.get += 1;
        let mut delivery = self.held_delivery(ConsumerId::NONE, &entry);
        let place = self.roster.getter();
        delivery.id = self.hold(now_ms, place, seq, entry);
        Some(delivery)
    }

    /// Gives ready messages to consumers until there are no more of the one or the other.
    pub(super) fn assign(&mut self, now_ms: u64, gate: &mut dyn Gate, effects: &mut Effects) {
        while self.roster.anyone_waits() {
            self.bury_due_front(now_ms, effects);
            if self.ready.front().is_none() {
                return;
            }
            let Some(place) = self.roster.next(gate) else {
                return;
            };
            let (seq, entry) = self.ready.pop().expect("it is not empty");
            self.deliver(now_ms, place, seq, entry, effects);
        }
    }

    /// Gives a message to the consumer whose turn it is.
    #[inline]
    pub(super) fn deliver(
        &mut self,
        now_ms: u64,
        place: u32,
        seq: u64,
        entry: Entry,
        effects: &mut Effects,
    ) {
        let consumer = self.roster.consumer_mut(place);
        consumer.window_bytes += delivery_bytes(&entry.message);
        let id = consumer.options.id;
        self.totals.redeliver += u64::from(entry.redelivered);
        if consumer.options.no_ack {
            self.totals.deliver_no_ack += 1;
            effects.release(entry.position);
            effects.deliveries.push(self.settled_delivery(id, entry));
        } else {
            self.totals.deliver += 1;
            let mut delivery = self.held_delivery(id, &entry);
            delivery.id = self.hold(now_ms, place, seq, entry);
            effects.deliveries.push(delivery);
        }
        self.roster.turn(place);
    }

    /// The next message, unless its time has come.
    fn take_front(&mut self, now_ms: u64, effects: &mut Effects) -> Option<(u64, Entry)> {
        self.bury_due_front(now_ms, effects);
        self.ready.pop()
    }

    /// No message that is due is delivered, even when more are due than one call clears.
    fn bury_due_front(&mut self, now_ms: u64, effects: &mut Effects) {
        while self
            .ready
            .front()
            .is_some_and(|(_, entry)| entry.is_due(now_ms))
        {
            let (_, entry) = self.ready.pop().expect("there is a front");
            self.bury(entry, DeadReason::Expired, effects);
        }
    }

    fn hold(&mut self, now_ms: u64, place: u32, seq: u64, entry: Entry) -> DeliveryId {
        let timeout_ms = self.timeout_ms(self.roster.consumer(place));
        let consumer = self.roster.consumer_mut(place);
        consumer.unacked_len += 1;
        let id = self
            .unacked
            .insert(now_ms, seq, entry, place, &mut consumer.unacked);
        if let Some(timeout_ms) = timeout_ms {
            let at_ms = now_ms.saturating_add(timeout_ms);
            self.consumer_deadline_ms = self.consumer_deadline_ms.min(at_ms);
        }
        id
    }

    /// A delivery that takes the message with it.
    fn settled_delivery(&self, consumer: ConsumerId, entry: Entry) -> Delivery {
        let (delivery_count, acquired_count) = self.counts(&entry);
        Delivery {
            consumer,
            id: DeliveryId::NONE,
            message: entry.message,
            position: entry.position,
            delivery_count,
            acquired_count,
            redelivered: entry.redelivered,
            no_ack: true,
        }
    }

    /// A delivery of a message that the queue holds until it is settled.
    fn held_delivery(&self, consumer: ConsumerId, entry: &Entry) -> Delivery {
        let (delivery_count, acquired_count) = self.counts(entry);
        Delivery {
            consumer,
            id: DeliveryId::NONE,
            message: entry.message.clone(),
            position: entry.position,
            delivery_count,
            acquired_count,
            redelivered: entry.redelivered,
            no_ack: false,
        }
    }

    /// What a delivery says of those before. Only quorum queues tell; a classic one merely passes on what a
    /// dead letter came with.
    fn counts(&self, entry: &Entry) -> (u32, u32) {
        match self.options.kind {
            QueueKind::Quorum => (entry.delivery_count, entry.acquired_count),
            QueueKind::Classic => (0, 0),
        }
    }
}
