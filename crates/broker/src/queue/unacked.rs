//! Deliveries that wait for their settlement, each linked into its consumer's list in the order of delivery.
//!
//! The place of a delivery is part of its id, so that settling needs no search. A place is used again, hence
//! each delivery also has a number; an id whose number is another does nothing.

use slab::Slab;

use super::effects::DeliveryId;
use super::entry::Entry;

/// No delivery, no consumer.
pub(super) const NO_SLOT: u32 = u32::MAX;
/// A smaller table is not given back to the allocator when it is empty.
const PLACES_KEPT: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Unacked {
    /// Number of the delivery.
    pub(super) serial: u64,
    /// The message's place in the order of arrival.
    pub(super) seq: u64,
    pub(super) entry: Entry,
    pub(super) delivered_at_ms: u64,
    /// Whose it is: a place in the roster.
    pub(super) consumer: u32,
    /// Neighbours in the consumer's list.
    before: u32,
    after: u32,
    /// It was reported to the caller as held for too long.
    pub(super) reported: bool,
}

/// First and last unacked delivery of a consumer.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    pub(super) first: u32,
    last: u32,
}

impl Default for List {
    fn default() -> Self {
        List {
            first: NO_SLOT,
            last: NO_SLOT,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct UnackedTable {
    places: Slab<Unacked>,
    bytes: u64,
    next_serial: u64,
}

impl UnackedTable {
    pub(super) fn len(&self) -> u64 {
        self.places.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes a message that was just delivered, at the end of its consumer's list.
    pub(super) fn insert(
        &mut self,
        now_ms: u64,
        seq: u64,
        entry: Entry,
        consumer: u32,
        list: &mut List,
    ) -> DeliveryId {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.bytes += entry.bytes();
        let slot = self.places.insert(Unacked {
            serial,
            seq,
            entry,
            delivered_at_ms: now_ms,
            consumer,
            before: list.last,
            after: NO_SLOT,
            reported: false,
        }) as u32;
        match list.last {
            NO_SLOT => list.first = slot,
            last => self.places[last as usize].after = slot,
        }
        list.last = slot;
        DeliveryId { seq: serial, slot }
    }

    /// Whose the delivery is, if it still waits.
    pub(super) fn consumer_of(&self, id: DeliveryId) -> Option<u32> {
        let unacked = self.places.get(id.slot as usize)?;
        (unacked.serial == id.seq).then_some(unacked.consumer)
    }

    /// Takes the delivery in that place out of the table and out of its consumer's list.
    pub(super) fn remove(&mut self, slot: u32, list: &mut List) -> Unacked {
        let unacked = self.places.remove(slot as usize);
        match unacked.before {
            NO_SLOT => list.first = unacked.after,
            before => self.places[before as usize].after = unacked.after,
        }
        match unacked.after {
            NO_SLOT => list.last = unacked.before,
            after => self.places[after as usize].before = unacked.before,
        }
        self.bytes -= unacked.entry.bytes();
        if self.places.is_empty() && PLACES_KEPT < self.places.capacity() {
            self.places = Slab::new();
        }
        unacked
    }

    /// The oldest of a list that was not reported, and its place.
    pub(super) fn oldest(&self, list: List) -> Option<(u32, &Unacked)> {
        self.list(list).find(|(_, unacked)| !unacked.reported)
    }

    /// Reports those of a list, oldest first, whose time of delivery `is_late`. Each is reported once.
    pub(super) fn report_while(
        &mut self,
        list: List,
        is_late: impl Fn(u64) -> bool,
    ) -> Vec<DeliveryId> {
        let mut ids = Vec::new();
        let mut next = list.first;
        while let Some(unacked) = self.places.get_mut(next as usize) {
            if !is_late(unacked.delivered_at_ms) {
                break;
            }
            if !unacked.reported {
                unacked.reported = true;
                ids.push(DeliveryId {
                    seq: unacked.serial,
                    slot: next,
                });
            }
            next = unacked.after;
        }
        ids
    }

    /// The deliveries of a list, oldest first.
    pub(super) fn list(&self, list: List) -> impl Iterator<Item = (u32, &Unacked)> {
        let mut next = list.first;
        std::iter::from_fn(move || {
            let unacked = self.places.get(next as usize)?;
            let slot = std::mem::replace(&mut next, unacked.after);
            Some((slot, unacked))
        })
    }

    /// Takes all, in no particular order. The lists must be forgotten.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Unacked> {
        self.bytes = 0;
        std::mem::take(&mut self.places)
            .into_iter()
            .map(|(_, unacked)| unacked)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Unacked> {
        self.places.iter().map(|(_, unacked)| unacked)
    }
}
