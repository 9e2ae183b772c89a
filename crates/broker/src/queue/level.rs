//! The ready messages of one priority, in their order.
//!
//! ```text
//!   returned (requeued, sorted)      fresh (in the order of arrival)
//! ┌──────────────────────────┐ ┌─────────────────────────────────────┐
//! │ 3   7   8                │ │ 12  13  (hole)  15  16  (hole)  18  │ <- push
//! └──────────────────────────┘ └─────────────────────────────────────┘
//!   every seq here is lower than every seq there
//! ```
//! Messages leave `fresh` from its front, so that what comes back always belongs before it. Only expiry takes
//! from the middle, which leaves a hole; holes never outnumber messages for long. Deliberately absent: lengths
//! and bytes, which [`Ready`](super::ready::Ready) keeps for all levels together.

use std::collections::{BTreeMap, VecDeque};

use super::blocks::Blocks;
use super::cold::{self, Range};
use super::entry::{Entry, NEVER_MS};

/// Fewer holes than this are left alone.
const HOLES_KEPT: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Level {
    pub(super) priority: u8,
    returned: BTreeMap<u64, Entry>,
    /// The first and the last are never holes.
    fresh: Blocks<(u64, Option<Entry>)>,
    holes: usize,
    /// How many in `fresh` have a position.
    logged: usize,
    /// How many have left `fresh` at its front: place i of `fresh` was the place `passed + i` of all.
    passed: u64,
    /// Before this place (of all) no entry is both timed and not indexed.
    ordered_from: u64,
    /// The latest deadline among entries of `fresh` that are timed and not indexed, or later.
    ordered_last_ms: u64,
    /// What follows `fresh` and is only in the log.
    pub(super) ranges: VecDeque<Range>,
    /// What follows the ranges and is in memory, by position where it has one.
    pub(super) tail: VecDeque<(u64, Entry)>,
    /// Nothing in ranges and tail expires before this.
    pub(super) behind_deadline_ms: u64,
}

impl Level {
    pub(super) fn new(priority: u8) -> Self {
        Level {
            priority,
            behind_deadline_ms: NEVER_MS,
            ..Level::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty()
            && self.returned.is_empty()
            && self.ranges.is_empty()
            && self.tail.is_empty()
    }

    /// Takes the next message behind the ranges. Publishers may come in another order than their positions have;
    /// places in the order of arrival are then given anew.
    pub(super) fn push_tail(&mut self, seq: u64, entry: Entry) {
        self.behind_deadline_ms = self.behind_deadline_ms.min(entry.expires_at_ms);
        let position = entry.position;
        self.tail.push_back((seq, entry));
        if !position.is_some() {
            return;
        }
        let mut at = self.tail.len() - 1;
        while 0 < at && position < self.tail[at - 1].1.position {
            let (before, behind) = (self.tail[at - 1].0, self.tail[at].0);
            self.tail.swap(at - 1, at);
            self.tail[at - 1].0 = before;
            self.tail[at].0 = behind;
            at -= 1;
        }
    }

    /// Takes the newest of `fresh`.
    pub(super) fn pop_back(&mut self) -> Option<(u64, Entry)> {
        let (seq, entry) = self.fresh.pop_back()?;
        let entry = entry.expect("the last place is never a hole");
        self.logged -= usize::from(entry.position.is_some());
        self.trim_holes();
        Some((seq, entry))
    }

    /// Whether the log has any of `fresh`.
    pub(super) fn is_logged(&self) -> bool {
        0 < self.logged
    }

    /// Bytes of bodies, and messages, that come before the ranges.
    pub(super) fn head(&self) -> (u64, u64) {
        let returned = self.returned.values();
        let fresh = self.fresh.iter().filter_map(|(_, entry)| entry.as_ref());
        let bytes = returned.chain(fresh).map(Entry::bytes).sum();
        let messages = self.returned.len() + self.fresh.len() - self.holes;
        (bytes, messages as u64)
    }

    /// The highest position before the ranges.
    pub(super) fn head_end(&self) -> u64 {
        let fresh = self.fresh.iter().filter_map(|(_, entry)| entry.as_ref());
        let all = self.returned.values().chain(fresh);
        all.map(|entry| entry.position.0).max().unwrap_or(0)
    }

    /// Puts what the front of the tail has into ranges: settled positions, about so many bytes. Gives how many
    /// messages, and bytes of their bodies.
    pub(super) fn make_ranges(&mut self, settled: u64, excess_bytes: u64) -> (u64, u64) {
        let (mut messages, mut bytes, mut resident) = (0, 0, 0);
        let mut end = self
            .ranges
            .back()
            .map_or(0, |range| range.last)
            .max(self.head_end());
        while let Some((seq, entry)) = self.tail.front()
            && end < entry.position.0
            && entry.position.0 <= settled
            && resident < excess_bytes
        {
            end = entry.position.0;
            cold::append(&mut self.ranges, *seq, entry);
            messages += 1;
            bytes += entry.bytes();
            resident += entry.bytes() + cold::RESIDENT_OVERHEAD_BYTES;
            self.tail.pop_front();
        }
        (messages, bytes)
    }

    /// Takes what is due out of the tail.
    pub(super) fn take_due_of_tail(&mut self, now_ms: u64) -> Vec<Entry> {
        let mut dead = Vec::new();
        if now_ms < self.behind_deadline_ms {
            return dead;
        }
        let tail = std::mem::take(&mut self.tail);
        for (seq, entry) in tail {
            if entry.is_due(now_ms) {
                dead.push(entry);
            } else {
                self.tail.push_back((seq, entry));
            }
        }
        dead.sort_by_key(|entry| entry.expires_at_ms);
        self.find_behind_deadline();
        dead
    }

    /// Looks for the earliest deadline in ranges and tail.
    pub(super) fn find_behind_deadline(&mut self) {
        let ranges = self.ranges.iter().map(|range| range.deadline_ms);
        let tail = self.tail.iter().map(|(_, entry)| entry.expires_at_ms);
        self.behind_deadline_ms = ranges.chain(tail).min().unwrap_or(NEVER_MS);
    }

    /// Takes the next message at the end. Says whether the time index must name it: deadlines that rise from message
    /// to message, as those from a queue's own time to live do, need no index.
    pub(super) fn push(&mut self, seq: u64, mut entry: Entry) -> bool {
        debug_assert!(self.fresh.back().is_none_or(|(last, _)| *last < seq));
        if self.fresh.is_empty() {
            self.ordered_last_ms = 0;
        }
        entry.indexed = entry.is_timed() && entry.expires_at_ms < self.ordered_last_ms;
        if entry.is_timed() && !entry.indexed {
            self.ordered_last_ms = entry.expires_at_ms;
        }
        let indexed = entry.indexed;
        self.logged += usize::from(entry.position.is_some());
        self.fresh.push_back((seq, Some(entry)));
        indexed
    }

    /// Takes a message back to where it was. The time index must name it if it is timed.
    pub(super) fn restore(&mut self, seq: u64, mut entry: Entry) -> bool {
        debug_assert!(self.fresh.front().is_none_or(|(first, _)| seq < *first));
        entry.indexed = entry.is_timed();
        let indexed = entry.indexed;
        self.returned.insert(seq, entry);
        indexed
    }

    pub(super) fn front(&self) -> Option<(u64, &Entry)> {
        if let Some((seq, entry)) = self.returned.first_key_value() {
            return Some((*seq, entry));
        }
        let (seq, entry) = self.fresh.front()?;
        Some((
            *seq,
            entry.as_ref().expect("the first place is never a hole"),
        ))
    }

    pub(super) fn pop(&mut self) -> Option<(u64, Entry)> {
        if !self.returned.is_empty() {
            return self.returned.pop_first();
        }
        let (seq, entry) = self.fresh.pop_front()?;
        let entry = entry.expect("the first place is never a hole");
        self.logged -= usize::from(entry.position.is_some());
        self.passed += 1;
        if self.holes > 0 {
            self.trim_holes();
            self.bound_holes();
        }
        Some((seq, entry))
    }

    pub(super) fn find(&self, seq: u64) -> Option<&Entry> {
        if let Some(entry) = self.returned.get(&seq) {
            return Some(entry);
        }
        let place = self.place_of(seq)?;
        self.fresh.value(place)?.1.as_ref()
    }

    /// Takes a message out wherever it stands.
    pub(super) fn remove(&mut self, seq: u64) -> Option<Entry> {
        if let Some(entry) = self.returned.remove(&seq) {
            return Some(entry);
        }
        let place = self.place_of(seq)?;
        let entry = self.fresh.value_mut(place)?.1.take()?;
        self.logged -= usize::from(entry.position.is_some());
        self.holes += 1;
        self.trim_holes();
        self.bound_holes();
        Some(entry)
    }

    /// The earliest of the deadlines that the time index does not know.
    pub(super) fn ordered_deadline(&mut self) -> Option<(u64, u64)> {
        let mut place = self.ordered_from.saturating_sub(self.passed) as usize;
        let found = loop {
            match self.fresh.value(place) {
                None => break None,
                Some((seq, Some(entry))) if entry.is_timed() && !entry.indexed => {
                    break Some((entry.expires_at_ms, *seq));
                }
                Some(_) => place += 1,
            }
        };
        self.ordered_from = self.passed + place as u64;
        found
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Entry)> {
        let returned = self.returned.iter().map(|(seq, entry)| (*seq, entry));
        returned.chain(
            self.fresh
                .iter()
                .filter_map(|(seq, e)| e.as_ref().map(|e| (*seq, e))),
        )
    }

    fn check_behind(&self) {
        assert!(self.tail.iter().is_sorted_by(|a, b| a.0 < b.0));
        let mut end = self.head_end();
        let mut seq = self.fresh.back().map_or(0, |(seq, _)| seq + 1);
        for range in &self.ranges {
            assert!(0 < range.messages && range.first <= range.last);
            assert!(end < range.first, "ranges follow each other and the head");
            assert!(seq <= range.seq);
            assert!(self.behind_deadline_ms <= range.deadline_ms);
            (end, seq) = (range.last, range.seq + range.messages);
        }
        for (tail_seq, entry) in &self.tail {
            assert!(seq <= *tail_seq);
            assert!(self.behind_deadline_ms <= entry.expires_at_ms);
        }
    }

    fn place_of(&self, seq: u64) -> Option<usize> {
        self.fresh.index_of_key(seq, |(seq, _)| *seq)
    }

    fn trim_holes(&mut self) {
        while let Some((_, None)) = self.fresh.front() {
            self.fresh.pop_front();
            self.passed += 1;
            self.holes -= 1;
        }
        while let Some((_, None)) = self.fresh.back() {
            self.fresh.pop_back();
            self.holes -= 1;
        }
        self.ordered_from = self.ordered_from.min(self.passed + self.fresh.len() as u64);
    }

    /// Holes come from expiry, and become too many also because the messages around them leave.
    fn bound_holes(&mut self) {
        if HOLES_KEPT < self.holes && self.fresh.len() < self.holes * 2 {
            self.fresh.retain(|(_, entry)| entry.is_some());
            self.holes = 0;
            self.ordered_from = self.passed;
        }
    }

    /// # Panics
    /// If something that must hold does not.
    pub(super) fn check_invariants(&self) {
        let seqs: Vec<u64> = self.fresh.iter().map(|(seq, _)| *seq).collect();
        assert!(seqs.is_sorted_by(|a, b| a < b), "fresh is in order");
        if let (Some((last, _)), Some(first)) = (self.returned.last_key_value(), seqs.first()) {
            assert!(last < first, "what came back stands before what never left");
        }
        assert!(
            self.fresh.front().is_none_or(|(_, e)| e.is_some()),
            "no hole in front"
        );
        assert!(
            self.fresh.back().is_none_or(|(_, e)| e.is_some()),
            "no hole at the end"
        );
        let holes = self.fresh.iter().filter(|(_, e)| e.is_none()).count();
        assert_eq!(holes, self.holes, "holes are counted");
        let entries = self.fresh.iter().filter_map(|(_, entry)| entry.as_ref());
        let logged = entries.filter(|entry| entry.position.is_some()).count();
        assert_eq!(logged, self.logged, "positions are counted");
        assert!(
            holes <= HOLES_KEPT || holes * 2 <= self.fresh.len(),
            "holes are bounded"
        );
        let start = self.ordered_from.saturating_sub(self.passed) as usize;
        let mut last_ms = 0;
        for (place, (_, entry)) in self.fresh.iter().enumerate() {
            let Some(entry) = entry.as_ref().filter(|e| e.is_timed() && !e.indexed) else {
                continue;
            };
            assert!(
                start <= place,
                "the search for deadlines starts early enough"
            );
            assert!(
                last_ms <= entry.expires_at_ms,
                "deadlines without index rise"
            );
            last_ms = entry.expires_at_ms;
        }
        assert!(
            last_ms <= self.ordered_last_ms,
            "the latest deadline is known"
        );
        assert!(self.returned.values().all(|e| e.indexed == e.is_timed()));
        assert!(self.iter().all(|(_, e)| e.priority == self.priority));
        self.check_behind();
    }
}
