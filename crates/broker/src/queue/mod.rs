//! A queue: a state machine that is given messages, consumers and the time, and says what is to be done.
//!
//! ```text
//!              publish                 assign                    settle(ack)
//!   Incoming ──────────> Ready ───────────────────> Unacked ──────────────────> released
//!                          │  ^                        │
//!      expired, over limit │  └────────────────────────┤ settle(requeue): back to its own place
//!                          v                           v settle(dead letter)
//!                         Dead                        Dead
//! ```
//! No clock, no socket, no lock, no task: the caller passes the time in (milliseconds, never backwards) and acts on
//! the [`Effects`]. Two things always hold between calls: a message that is due is not delivered, and no message
//! is ready while a consumer could take it. Deliberately absent: names, bindings, disks, permissions.
//!
//! Where to start: [`Queue`] here, then `publish`, `deliver` and `settle`; the structures are `ready` (messages in
//! order), `unacked` (deliveries) and `roster` (consumers).

mod blocks;
mod cold;
mod deliver;
mod effects;
mod entry;
mod level;
mod options;
mod peek;
mod publish;
mod ready;
mod roster;
mod settle;
#[cfg(test)]
mod tests;
mod time_index;
mod timeouts;
mod unacked;

pub use cold::{
    Page, PageRequest, Purged, RANGE_BYTES_MAX, RANGE_MESSAGES_MAX, RESIDENT_OVERHEAD_BYTES, Spill,
};
pub use effects::{
    DELIVERY_OVERHEAD_BYTES, DELIVERY_WINDOW_BYTES, Dead, DeadReason, Delivery, DeliveryId,
    Effects, Gate, Incoming, OpenGate, Settlement, TimedOut, delivery_bytes,
};
pub use entry::NEVER_MS;
pub use options::{
    ConsumerId, ConsumerOptions, DELIVERY_LIMIT_DEFAULT, DelayedRetry, DelayedRetryKind, Overflow,
    QUORUM_PRIORITY_DEFAULT, QUORUM_PRIORITY_MAX, QueueKind, QueueOptions,
};
pub use timeouts::WORK_PER_CALL_MAX;

pub use peek::{MessageId, Peeked, Removed, Sight, Stretch};

use cold::Paging;
use entry::Entry;
use ready::Ready;
use roster::Roster;
use timeouts::Delayed;
use unacked::UnackedTable;

/// Why a consumer was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeError {
    /// Another one is exclusive, or this one wants to be and is not alone, or the queue has a single active consumer.
    #[error("in exclusive use")]
    ExclusiveInUse,
}

/// What passed a queue since it was made in this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueTotals {
    /// Messages that it took.
    pub publish: u64,
    /// Delivered to consumers, to be acknowledged.
    pub deliver: u64,
    /// Delivered to consumers for good.
    pub deliver_no_ack: u64,
    /// Taken by `basic.get`, to be acknowledged.
    pub get: u64,
    /// Taken by `basic.get` for good.
    pub get_no_ack: u64,
    /// `basic.get` that found nothing.
    pub get_empty: u64,
    /// Delivered or taken again.
    pub redeliver: u64,
    /// Acknowledged.
    pub ack: u64,
}

/// A queue. See the module's text.
#[derive(Debug)]
pub struct Queue {
    options: QueueOptions,
    /// Number of the next message in the order of arrival.
    next_seq: u64,
    ready: Ready,
    unacked: UnackedTable,
    roster: Roster,
    /// Requeued messages that are not ready yet (quorum queues with delayed retry).
    delayed: Delayed,
    /// Last consumer, get or declaration: what `x-expires` counts from.
    used_at_ms: u64,
    /// No consumer has held a message for too long before this.
    consumer_deadline_ms: u64,
    /// It was reported as expired or as to be deleted.
    gone: bool,
    /// Settlements that named no unacked message.
    stale_settlements: u64,
    totals: QueueTotals,
    /// The range that was asked for and has not come.
    paging: Option<Paging>,
    /// The number of the next request.
    next_page: u64,
    /// A `basic.get` waits for the front.
    asked: bool,
}

impl Queue {
    /// An empty queue.
    pub fn new(options: QueueOptions, now_ms: u64) -> Self {
        let mut roster = Roster::default();
        roster.set_single_active(options.single_active_consumer);
        Queue {
            options,
            next_seq: 0,
            ready: Ready::default(),
            unacked: UnackedTable::default(),
            roster,
            delayed: Delayed::default(),
            used_at_ms: now_ms,
            consumer_deadline_ms: entry::NEVER_MS,
            gone: false,
            stale_settlements: 0,
            totals: QueueTotals::default(),
            paging: None,
            next_page: 0,
            asked: false,
        }
    }

    /// How it behaves.
    pub fn options(&self) -> &QueueOptions {
        &self.options
    }

    /// Changes how it behaves, as a policy does. Messages keep the deadline they came with; limits hold at once.
    /// Its kind, its priorities and single active consumer cannot change. Another `expires_ms` counts from now, as in
    /// RabbitMQ, whose timer starts anew.
    pub fn set_options(
        &mut self,
        now_ms: u64,
        options: QueueOptions,
        gate: &mut dyn Gate,
        effects: &mut Effects,
    ) {
        assert_eq!(
            options.kind, self.options.kind,
            "the kind of a queue never changes"
        );
        if options.expires_ms != self.options.expires_ms {
            self.used_at_ms = now_ms;
        }
        self.options = QueueOptions {
            priority_max: self.options.priority_max,
            single_active_consumer: self.options.single_active_consumer,
            ..options
        };
        self.consumer_deadline_ms = now_ms;
        self.handle_timeout(now_ms, gate, effects);
    }

    /// Drops all ready messages. Says how many there were; the unacked stay.
    pub fn purge(&mut self, now_ms: u64, effects: &mut Effects) -> u64 {
        self.expire_due(now_ms, effects);
        let len = self.ready.len() + self.delayed.len();
        effects.purged = self.purged();
        // What is released by name is not purged besides.
        let up_to = effects.purged.as_ref().map(|purged| purged.up_to);
        let mut release = |entry: Entry| {
            if up_to.is_none_or(|up_to| up_to < entry.position) {
                effects.release(entry.position);
            }
        };
        self.ready.drain(&mut release);
        self.delayed.drain(&mut release);
        self.paging = None;
        len
    }

    /// Drops everything, because the queue is deleted. Says how many messages were ready; what of them was only in the
    /// log is for the caller to forget.
    pub fn drain_all(&mut self, effects: &mut Effects) -> u64 {
        let len = self.ready.len() + self.delayed.len();
        self.ready.drain(|entry| effects.release(entry.position));
        self.delayed.drain(|entry| effects.release(entry.position));
        self.paging = None;
        for unacked in self.unacked.drain() {
            effects.release(unacked.entry.position);
        }
        self.roster = Roster::default();
        self.roster
            .set_single_active(self.options.single_active_consumer);
        len
    }

    /// It was declared or read: `x-expires` starts anew.
    pub fn touch(&mut self, now_ms: u64) {
        self.used_at_ms = now_ms;
    }

    /// Messages that came so far, those that it was given back after a restart included.
    pub fn arrived_len(&self) -> u64 {
        self.next_seq
    }

    /// Messages that wait for a consumer, those of a delayed retry among them.
    pub fn ready_len(&self) -> u64 {
        self.ready.len() + self.delayed.len()
    }

    /// Bytes of their bodies.
    pub fn ready_bytes(&self) -> u64 {
        self.ready.bytes() + self.delayed.bytes()
    }

    /// Messages that were delivered and not settled.
    pub fn unacked_len(&self) -> u64 {
        self.unacked.len()
    }

    /// Bytes of their bodies.
    pub fn unacked_bytes(&self) -> u64 {
        self.unacked.bytes()
    }

    /// Consumers that were not cancelled.
    pub fn consumer_len(&self) -> usize {
        self.roster.len()
    }

    /// Them, by id.
    pub fn consumers(&self) -> impl Iterator<Item = ConsumerId> {
        self.roster.ids()
    }

    /// Whether one of them is exclusive.
    pub fn has_exclusive_consumer(&self) -> bool {
        self.roster.exclusive.is_some()
    }

    /// The single active consumer, if the queue has that argument and a consumer.
    pub fn active_consumer(&self) -> Option<ConsumerId> {
        self.roster.active()
    }

    /// The unacked messages that a consumer holds, oldest first; [`ConsumerId::NONE`] has none here.
    pub fn unacked_of(&self, consumer: ConsumerId) -> Vec<DeliveryId> {
        let Some(place) = self.roster.find(consumer) else {
            return Vec::new();
        };
        let list = self.unacked.list(self.roster.consumer(place).unacked);
        list.map(|(slot, unacked)| DeliveryId {
            seq: unacked.serial,
            slot,
        })
        .collect()
    }

    /// How many settlements named no unacked message: settled twice, or purged with the queue.
    pub fn stale_settlements(&self) -> u64 {
        self.stale_settlements
    }

    /// What passed it.
    pub fn totals(&self) -> QueueTotals {
        self.totals
    }

    /// Calls `visit` with position and delivery count of everything in the log that has been delivered and may be again.
    pub fn delivered(&self, mut visit: impl FnMut(crate::message::LogPosition, u32)) {
        let ready = self.ready.iter().map(|(_, entry)| entry);
        let ready = ready.chain(self.delayed.iter());
        let ready = ready.filter(|entry| entry.redelivered);
        for entry in ready.chain(self.unacked.iter().map(|unacked| &unacked.entry)) {
            if entry.position.is_some() {
                visit(entry.position, entry.delivery_count);
            }
        }
    }

    /// The message that would be delivered next.
    pub fn front(&self) -> Option<&crate::message::Message> {
        self.ready.front().map(|(_, entry)| &entry.message)
    }

    /// A message dies: it becomes a dead letter if the queue sends them anywhere.
    fn bury(&self, entry: Entry, reason: DeadReason, effects: &mut Effects) {
        if self.options.dead_letter_exchange.is_some() {
            let Entry {
                message,
                position,
                delivery_count,
                ..
            } = entry;
            effects.dead.push(Dead {
                message,
                position,
                reason,
                delivery_count,
            });
        } else {
            effects.release(entry.position);
        }
    }

    /// Checks what must hold between calls.
    ///
    /// # Panics
    /// If it does not.
    pub fn check_invariants(&self) {
        self.ready.check_invariants();
        self.roster.check_invariants();
        assert!(
            self.ready.front().is_none() || !self.roster.anyone_waits(),
            "no message is ready while a consumer could take it"
        );
        let mut len = 0;
        for (place, consumer) in self.roster.iter() {
            let held: Vec<_> = self.unacked.list(consumer.unacked).collect();
            assert_eq!(held.len(), consumer.unacked_len as usize);
            assert!(held.iter().all(|(_, unacked)| unacked.consumer == place));
            assert!(held.is_sorted_by_key(|(_, unacked)| unacked.delivered_at_ms));
            len += held.len();
            if let Some(at_ms) = self.held_until_ms(place) {
                assert!(self.consumer_deadline_ms <= at_ms, "no timeout is missed");
            }
        }
        assert_eq!(
            len as u64,
            self.unacked.len(),
            "every unacked message is in a list"
        );
        let bytes: u64 = self
            .unacked
            .iter()
            .map(|unacked| unacked.entry.bytes())
            .sum();
        assert_eq!(bytes, self.unacked.bytes());
    }
}
