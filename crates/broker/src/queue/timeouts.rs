//! What happens only because time passes: expiry, delayed retries, slow consumers, unused queues.
//!
//! One call does a bounded amount of work; [`Queue::poll_timeout`] then asks for the next call at once.

use std::collections::BTreeMap;

use super::entry::{Entry, NEVER_MS};
use super::options::ConsumerId;
use super::roster::Consumer;
use super::{DeadReason, Effects, Gate, Queue, TimedOut};

/// The most messages that expire, or are dropped because a limit has sunk, in one call.
pub const WORK_PER_CALL_MAX: usize = 4096;

/// Requeued messages that wait for the time of their retry.
#[derive(Debug, Default)]
pub(super) struct Delayed {
    /// By the time when they are ready again, seq, and priority: seqs are unique in a priority.
    entries: BTreeMap<(u64, u64, u8), Entry>,
    bytes: u64,
}

impl Delayed {
    pub(super) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn push(&mut self, at_ms: u64, seq: u64, entry: Entry) {
        self.bytes += entry.bytes();
        let before = self.entries.insert((at_ms, seq, entry.priority), entry);
        debug_assert!(before.is_none());
    }

    pub(super) fn drain(&mut self, mut take: impl FnMut(Entry)) {
        self.bytes = 0;
        std::mem::take(&mut self.entries)
            .into_values()
            .for_each(&mut take);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    fn next_ms(&self) -> u64 {
        self.entries
            .first_key_value()
            .map_or(NEVER_MS, |((at_ms, ..), _)| *at_ms)
    }

    fn pop_due(&mut self, now_ms: u64) -> Option<(u64, Entry)> {
        if now_ms < self.next_ms() {
            return None;
        }
        let ((_, seq, _), entry) = self.entries.pop_first()?;
        self.bytes -= entry.bytes();
        Some((seq, entry))
    }
}

impl Queue {
    /// When [`Queue::handle_timeout`] wants to be called, in the caller's milliseconds: a time that has passed
    /// means at once. It may turn out that there was nothing to do.
    pub fn poll_timeout(&self) -> Option<u64> {
        if self.has_to_drop() {
            return Some(0);
        }
        let unused_ms = self.unused_at_ms().unwrap_or(NEVER_MS);
        let at_ms = self.ready.deadline_ms().min(self.consumer_deadline_ms);
        let at_ms = at_ms.min(self.delayed.next_ms()).min(unused_ms);
        // While a range is on its way, what is due behind the head has to wait for it.
        let behind_ms = match self.paging {
            None => self.ready.behind_deadline_ms(),
            Some(_) => NEVER_MS,
        };
        let at_ms = at_ms.min(behind_ms);
        (at_ms != NEVER_MS).then_some(at_ms)
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now_ms: u64, gate: &mut dyn Gate, effects: &mut Effects) {
        self.expire_due(now_ms, effects);
        self.end_delays(now_ms, effects);
        self.assign(now_ms, gate, effects);
        self.trim(now_ms, WORK_PER_CALL_MAX, effects);
        if self.consumer_deadline_ms <= now_ms {
            self.time_consumers_out(now_ms, effects);
            self.assign(now_ms, gate, effects);
        }
        if self.unused_at_ms().is_some_and(|at_ms| at_ms <= now_ms) {
            self.gone = true;
            effects.expired_queue = true;
        }
    }

    /// Buries messages whose time has come, in the order of their deadlines.
    pub(super) fn expire_due(&mut self, now_ms: u64, effects: &mut Effects) {
        if self.ready.is_paged() {
            for entry in self.ready.take_due_of_tails(now_ms) {
                self.bury(entry, DeadReason::Expired, effects);
            }
        }
        if now_ms < self.ready.deadline_ms() {
            return;
        }
        for _ in 0..WORK_PER_CALL_MAX {
            let Some((_, entry)) = self.ready.pop_due(now_ms) else {
                return;
            };
            self.bury(entry, DeadReason::Expired, effects);
        }
    }

    fn end_delays(&mut self, now_ms: u64, effects: &mut Effects) {
        for _ in 0..WORK_PER_CALL_MAX {
            let Some((seq, entry)) = self.delayed.pop_due(now_ms) else {
                return;
            };
            if entry.is_due(now_ms) {
                self.bury(entry, DeadReason::Expired, effects);
            } else {
                self.ready.restore(seq, entry);
            }
        }
    }

    /// When the queue will have been unused for too long, if nobody uses it before.
    fn unused_at_ms(&self) -> Option<u64> {
        let expires_ms = self
            .options
            .expires_ms
            .filter(|_| self.roster.len() == 0 && !self.gone)?;
        Some(self.used_at_ms.saturating_add(expires_ms))
    }

    /// How long a consumer may hold a message.
    pub(super) fn timeout_ms(&self, consumer: &Consumer) -> Option<u64> {
        consumer
            .options
            .timeout_ms
            .or(self.options.consumer_timeout_ms)
    }

    /// When the consumer in that place will have held a message for too long, unless it settles it before.
    pub(super) fn held_until_ms(&self, place: u32) -> Option<u64> {
        let consumer = self.roster.consumer(place);
        let timeout_ms = self.timeout_ms(consumer)?;
        let (_, oldest) = self.unacked.oldest(consumer.unacked)?;
        Some(oldest.delivered_at_ms.saturating_add(timeout_ms))
    }

    /// Reports what consumers have held for too long. They are delivered to no more: the caller cancels them.
    fn time_consumers_out(&mut self, now_ms: u64, effects: &mut Effects) {
        let places: Vec<u32> = self.roster.iter().map(|(place, _)| place).collect();
        self.consumer_deadline_ms = NEVER_MS;
        for place in places {
            let consumer = self.roster.consumer(place);
            let Some(timeout_ms) = self.timeout_ms(consumer) else {
                continue;
            };
            let is_late = |at_ms: u64| at_ms.saturating_add(timeout_ms) <= now_ms;
            let ids = self.unacked.report_while(consumer.unacked, is_late);
            if let Some(at_ms) = self.held_until_ms(place) {
                self.consumer_deadline_ms = self.consumer_deadline_ms.min(at_ms);
            }
            if !ids.is_empty() {
                let consumer = self.roster.consumer(place).options.id;
                if consumer != ConsumerId::NONE {
                    effects.active_changed |= self.roster.time_out(place);
                }
                effects.timed_out.push(TimedOut { consumer, ids });
            }
        }
    }
}
