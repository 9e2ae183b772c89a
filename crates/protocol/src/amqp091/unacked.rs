//! A channel's unacked deliveries, by delivery tag.
//!
//! Tags ascend, so a deque sorted by tag serves: acks usually come from the front. One settled in the middle
//! leaves a hole; holes at the front are dropped at once and the deque is packed when they are the majority,
//! so that it never holds more than twice the unacked.

use std::collections::VecDeque;
use std::sync::Arc;

use broker::queue::{ConsumerId, DeliveryId};
use node::queue_cell::QueueCell;

/// One unacked delivery.
#[derive(Clone)]
pub(crate) struct Unacked {
    /// Its delivery tag on this channel.
    pub(crate) tag: u64,
    /// Its queue.
    pub(crate) cell: Arc<QueueCell>,
    /// Its consumer; [`ConsumerId::NONE`] for `basic.get`.
    pub(crate) consumer: ConsumerId,
    /// Its name in its queue.
    pub(crate) id: DeliveryId,
}

/// See the module.
#[derive(Default)]
pub(crate) struct UnackedTags {
    entries: VecDeque<(u64, Option<Unacked>)>,
    live: usize,
}

impl UnackedTags {
    /// Unacked deliveries.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Those that consumers hold, without what `basic.get` fetched.
    pub(crate) fn held_by_consumers(&self) -> u32 {
        let live = self.entries.iter().filter_map(|(_, entry)| entry.as_ref());
        live.filter(|unacked| unacked.consumer != ConsumerId::NONE)
            .count() as u32
    }

    /// Adds a delivery; its tag is higher than all before.
    pub(crate) fn push(&mut self, unacked: Unacked) {
        debug_assert!(
            self.entries
                .back()
                .is_none_or(|(tag, _)| *tag < unacked.tag)
        );
        self.live += 1;
        self.entries.push_back((unacked.tag, Some(unacked)));
    }

    /// Takes the delivery with this tag.
    pub(crate) fn take(&mut self, tag: u64) -> Option<Unacked> {
        let index = match self.entries.front() {
            Some((front, _)) if *front == tag => 0,
            _ => self
                .entries
                .binary_search_by_key(&tag, |(tag, _)| *tag)
                .ok()?,
        };
        let taken = self.entries.get_mut(index)?.1.take()?;
        self.live -= 1;
        while self
            .entries
            .front()
            .is_some_and(|(_, entry)| entry.is_none())
        {
            self.entries.pop_front();
        }
        if self.entries.len() > 2 * self.live + 16 {
            self.entries.retain(|(_, entry)| entry.is_some());
        }
        Some(taken)
    }

    /// Takes all with tags up to and including `tag`, oldest first. `None` if `tag` itself is not unacked
    /// (RabbitMQ refuses it then, with nothing settled).
    pub(crate) fn take_up_to(&mut self, tag: u64, mut each: impl FnMut(Unacked)) -> Option<()> {
        let last = self
            .entries
            .binary_search_by_key(&tag, |(tag, _)| *tag)
            .ok()?;
        self.entries.get(last)?.1.as_ref()?;
        for (_, entry) in self.entries.drain(..=last) {
            if let Some(unacked) = entry {
                self.live -= 1;
                each(unacked);
            }
        }
        Some(())
    }

    /// Takes all, oldest first.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Unacked> {
        self.live = 0;
        std::mem::take(&mut self.entries)
            .into_iter()
            .filter_map(|(_, entry)| entry)
    }

    /// Takes those of one consumer, oldest first.
    pub(crate) fn take_of(&mut self, consumer: ConsumerId) -> Vec<Unacked> {
        let mut taken = Vec::new();
        for (_, entry) in &mut self.entries {
            taken.extend(entry.take_if(|unacked| unacked.consumer == consumer));
        }
        self.live -= taken.len();
        self.entries.retain(|(_, entry)| entry.is_some());
        taken
    }

    /// Puts back deliveries that were taken: a transaction was rolled back.
    pub(crate) fn put_back(&mut self, back: Vec<Unacked>) {
        let mut all: Vec<Unacked> = self.take_all().chain(back).collect();
        all.sort_by_key(|unacked| unacked.tag);
        all.into_iter().for_each(|unacked| self.push(unacked));
    }
}

#[cfg(test)]
mod tests;
