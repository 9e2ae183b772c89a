//! Consumers answer: done, refused, or back to the queue.

use super::entry::Entry;
use super::options::{DelayedRetryKind, QueueKind};
use super::timeouts::WORK_PER_CALL_MAX;
use super::{DeadReason, DeliveryId, Effects, Gate, Queue, Settlement};

impl Queue {
    /// Settles deliveries. Ids that name no unacked message (settled before, or gone with a deletion) do nothing, and
    /// are counted in [`Queue::stale_settlements`].
    pub fn settle(
        &mut self,
        now_ms: u64,
        ids: &[DeliveryId],
        outcome: Settlement,
        gate: &mut dyn Gate,
        effects: &mut Effects,
    ) {
        self.expire_due(now_ms, effects);
        for id in ids {
            let Some(place) = self.unacked.consumer_of(*id) else {
                self.stale_settlements += 1;
                continue;
            };
            let consumer = self.roster.consumer_mut(place);
            let unacked = self.unacked.remove(id.slot, &mut consumer.unacked);
            effects.active_changed |= self.roster.settled(place);
            match outcome {
                Settlement::Ack => {
                    self.totals.ack += 1;
                    effects.release(unacked.entry.position);
                }
                Settlement::DeadLetter { counted } => {
                    let mut entry = unacked.entry;
                    entry.delivery_count = entry.delivery_count.saturating_add(u32::from(counted));
                    self.bury(entry, DeadReason::Rejected, effects);
                }
                Settlement::Requeue { counted } => {
                    self.requeue(now_ms, unacked.seq, unacked.entry, counted, effects);
                }
            }
        }
        let requeued = matches!(outcome, Settlement::Requeue { .. });
        // As in RabbitMQ: classic queues drop what is too much before they deliver anew, quorum queues after.
        let drops_first = requeued && self.options.kind == QueueKind::Classic;
        if drops_first {
            self.trim(now_ms, WORK_PER_CALL_MAX, effects);
        }
        self.assign(now_ms, gate, effects);
        if requeued && !drops_first {
            self.trim(now_ms, WORK_PER_CALL_MAX, effects);
        }
    }

    /// Takes a message back to its place, unless it has come back too often or its time is up.
    fn requeue(
        &mut self,
        now_ms: u64,
        seq: u64,
        mut entry: Entry,
        counted: bool,
        effects: &mut Effects,
    ) {
        entry.redelivered = true;
        entry.delivery_count = entry.delivery_count.saturating_add(u32::from(counted));
        if self.options.kind == QueueKind::Quorum {
            entry.acquired_count = entry.acquired_count.saturating_add(1);
            if self
                .options
                .delivery_limit
                .is_some_and(|limit| limit < entry.delivery_count)
            {
                self.bury(entry, DeadReason::DeliveryLimit, effects);
                return;
            }
        }
        if entry.is_due(now_ms) {
            self.bury(entry, DeadReason::Expired, effects);
            return;
        }
        if counted && self.options.kind == QueueKind::Quorum && entry.position.is_some() {
            effects.counted.push((entry.position, entry.delivery_count));
        }
        match self.retry_at_ms(now_ms, counted, entry.delivery_count) {
            Some(at_ms) => self.delayed.push(at_ms, seq, entry),
            None => self.ready.restore(seq, entry),
        }
    }

    /// When a requeued message is ready again, if not at once.
    fn retry_at_ms(&self, now_ms: u64, counted: bool, delivery_count: u32) -> Option<u64> {
        let retry = self.options.delayed_retry?;
        let waits = match retry.kind {
            DelayedRetryKind::All => true,
            DelayedRetryKind::Failed => counted,
            DelayedRetryKind::Returned => !counted,
        };
        let delay_ms = retry
            .min_ms
            .saturating_mul(u64::from(delivery_count.max(1)));
        let at_ms = now_ms.saturating_add(delay_ms.min(retry.max_ms));
        (waits && now_ms < at_ms).then_some(at_ms)
    }
}
