//! Messages come in: limits, deadlines, and straight to a consumer when one waits.

use super::entry::{Entry, NEVER_MS};
use super::options::{Overflow, QueueKind};
use super::timeouts::WORK_PER_CALL_MAX;
use super::{Dead, DeadReason, Effects, Gate, Incoming, Queue};
use crate::message::{LogPosition, Message};

impl Queue {
    /// Takes messages in their order. Those that a full queue refuses are named in `effects.rejected` by their index.
    pub fn publish(
        &mut self,
        now_ms: u64,
        batch: impl IntoIterator<Item = Incoming>,
        gate: &mut dyn Gate,
        effects: &mut Effects,
    ) {
        self.expire_due(now_ms, effects);
        let limited = self.options.length_max.is_some() || self.options.bytes_max.is_some();
        for (index, incoming) in batch.into_iter().enumerate() {
            if limited && self.refuses(&incoming.message) {
                effects.rejected.push(index as u32);
                self.refuse(incoming, effects);
                continue;
            }
            let seq = self.next_seq;
            self.next_seq += 1;
            self.totals.publish += 1;
            let uncertain = incoming.uncertain;
            let mut entry = self.entry(now_ms, incoming);
            // When nothing is ready and a consumer waits, the message need not pass through the ready messages.
            if self.ready.is_empty()
                && let Some(place) = self.roster.next(gate)
            {
                // RabbitMQ's classic queues let a dead letter that need not wait go out as if it were new.
                entry.redelivered &= uncertain || self.options.kind == QueueKind::Quorum;
                self.deliver(now_ms, place, seq, entry, effects);
            } else if entry.is_due(now_ms) {
                self.bury(entry, DeadReason::Expired, effects);
            } else {
                self.ready.push(seq, entry);
                if limited {
                    self.trim(now_ms, WORK_PER_CALL_MAX, effects);
                }
            }
        }
    }

    /// What the queue will know of a message that comes in now.
    pub(super) fn entry(&self, now_ms: u64, incoming: Incoming) -> Entry {
        let Incoming {
            message,
            position,
            redelivered,
            uncertain: _,
            delivery_count,
            expires_at_ms,
        } = incoming;
        let expires_at_ms = expires_at_ms.unwrap_or_else(|| {
            let ttl_ms = match (self.options.message_ttl_ms, message.expiration_ms()) {
                (None, None) => return NEVER_MS,
                (Some(ttl_ms), None) | (None, Some(ttl_ms)) => ttl_ms,
                (Some(queue_ms), Some(own_ms)) => queue_ms.min(own_ms),
            };
            now_ms.saturating_add(ttl_ms)
        });
        let priority = self.options.priority_of(&message);
        let bytes = message.body().len() as u32;
        Entry {
            message,
            expires_at_ms,
            position,
            delivery_count,
            acquired_count: delivery_count,
            bytes,
            priority,
            redelivered,
            indexed: false,
        }
    }

    /// Whether it refuses messages when it is full.
    pub fn may_refuse(&self) -> bool {
        self.options.overflow != Overflow::DropHead
    }

    /// Whether the queue is too full for this message. Asked before a consumer is looked for, as RabbitMQ does.
    fn refuses(&self, message: &Message) -> bool {
        if self.options.overflow == Overflow::DropHead {
            return false;
        }
        let bytes = self.ready_bytes() + message.body().len() as u64;
        self.options
            .length_max
            .is_some_and(|max| max < self.ready_len() + 1)
            || self.options.bytes_max.is_some_and(|max| max < bytes)
    }

    fn refuse(&self, incoming: Incoming, effects: &mut Effects) {
        let dead_letters = self.options.overflow == Overflow::RejectPublishDeadLetter;
        if dead_letters && self.options.dead_letter_exchange.is_some() {
            effects.dead.push(Dead {
                message: incoming.message,
                // What was refused was never the queue's to release.
                position: LogPosition::NONE,
                reason: DeadReason::MaxLength,
                delivery_count: incoming.delivery_count,
            });
        }
    }

    /// Drops messages at the head while there are too many, but no more than `work_max`.
    ///
    /// The head is where the next delivery would come from, so that with priorities the highest is dropped first;
    /// RabbitMQ does the same.
    pub(super) fn trim(&mut self, now_ms: u64, work_max: usize, effects: &mut Effects) {
        for _ in 0..work_max {
            if !self.is_over_limit() {
                return;
            }
            // If the head is not in memory, it is dropped when it comes.
            let Some((_, entry)) = self.ready.pop() else {
                return;
            };
            let reason = if entry.is_due(now_ms) {
                DeadReason::Expired
            } else {
                DeadReason::MaxLength
            };
            self.bury(entry, reason, effects);
        }
    }

    /// Whether there is something to drop, now.
    pub(super) fn has_to_drop(&self) -> bool {
        self.is_over_limit() && self.ready.front().is_some()
    }

    /// Whether it holds more than it may, and drops from its head.
    pub(super) fn is_over_limit(&self) -> bool {
        let options = &self.options;
        options.overflow == Overflow::DropHead
            && (options.length_max.is_some_and(|max| max < self.ready_len())
                || options
                    .bytes_max
                    .is_some_and(|max| max < self.ready_bytes()))
    }
}
