//! What stands behind the heads: ranges that are only in the log, and tails.

use std::collections::VecDeque;

use super::super::Effects;
use super::super::cold::{self, Keep, RESIDENT_OVERHEAD_BYTES, Range, Spill};
use super::super::entry::{Entry, NEVER_MS};
use super::Ready;
use crate::message::LogPosition;

/// So much of a recovered range comes into memory while it is sorted.
const SORTED_RESIDENT_BYTES: u64 = 256 * 1024;

impl Ready {
    /// Whether anything stands behind the heads, or may.
    pub(in super::super) fn is_paged(&self) -> bool {
        self.paged
    }

    /// Bytes of memory that heads and tails take.
    pub(in super::super) fn resident_bytes(&self) -> u64 {
        self.bytes - self.cold_bytes + (self.len - self.cold_len) * RESIDENT_OVERHEAD_BYTES
    }

    pub(in super::super) fn levels_len(&self) -> usize {
        self.levels.len()
    }

    pub(in super::super) fn priority_at(&self, place: usize) -> u8 {
        self.levels[place].priority
    }

    /// Whether what comes must stand behind something that is not in memory.
    pub(super) fn holds_back(&self, place: usize) -> bool {
        !self.unsorted.is_empty() || !self.levels[place].ranges.is_empty()
    }

    /// The last position that is only in the log.
    pub(in super::super) fn cold_end(&self) -> Option<u64> {
        let ranges = self.levels.iter().filter_map(|level| level.ranges.back());
        ranges
            .chain(self.unsorted.back())
            .map(|range| range.last)
            .max()
    }

    fn count_cold(&mut self, range: &Range) {
        self.paged = true;
        self.len += range.messages;
        self.bytes += range.bytes;
        self.cold_len += range.messages;
        self.cold_bytes += range.bytes;
    }

    /// Takes a range that was recovered.
    pub(in super::super) fn put_range(&mut self, priority: u8, range: Range) {
        self.count_cold(&range);
        let place = self.level_of(priority);
        self.levels[place].ranges.push_back(range);
    }

    /// The same, of messages whose priorities are not known.
    pub(in super::super) fn put_unsorted(&mut self, range: Range) {
        self.count_cold(&range);
        self.unsorted.push_back(range);
    }

    pub(in super::super) fn unsorted(&self) -> Option<&Range> {
        self.unsorted.front()
    }

    // ---- what is wanted ----

    /// The next range of the priority that is next, if less than this is before it.
    pub(in super::super) fn head_wanted(
        &mut self,
        messages_low: u64,
        bytes_low: u64,
    ) -> Option<(u8, &mut Range)> {
        let heads = self.len - self.cold_len - self.tail_len;
        let head_bytes = self.bytes - self.cold_bytes - self.tail_bytes;
        let level = self.levels.iter_mut().find(|level| !level.is_empty())?;
        let low = heads < messages_low && head_bytes < bytes_low;
        if !low && level.front().is_some() {
            return None;
        }
        let priority = level.priority;
        level.ranges.front_mut().map(|range| (priority, range))
    }

    /// A range in which something is due.
    pub(in super::super) fn due_range(&mut self, now_ms: u64) -> Option<(u8, &mut Range)> {
        let levels = self.levels.iter_mut();
        let mut due = levels.filter(|level| level.behind_deadline_ms <= now_ms);
        due.find_map(|level| {
            let priority = level.priority;
            let mut ranges = level.ranges.iter_mut();
            let range = ranges.find(|range| range.deadline_ms <= now_ms)?;
            Some((priority, range))
        })
    }

    /// When something behind the heads is due; [`NEVER_MS`] if never.
    pub(in super::super) fn behind_deadline_ms(&self) -> u64 {
        if !self.paged {
            return NEVER_MS;
        }
        let levels = self.levels.iter();
        let deadlines = levels.map(|level| level.behind_deadline_ms);
        deadlines.min().unwrap_or(NEVER_MS)
    }

    /// Takes what is due out of the tails.
    pub(in super::super) fn take_due_of_tails(&mut self, now_ms: u64) -> Vec<Entry> {
        let mut dead = Vec::new();
        for level in &mut self.levels {
            dead.append(&mut level.take_due_of_tail(now_ms));
        }
        dead.iter().for_each(|entry| self.count_tail_out(entry));
        dead
    }

    pub(super) fn count_tail_out(&mut self, entry: &Entry) {
        self.len -= 1;
        self.bytes -= entry.bytes();
        self.tail_len -= 1;
        self.tail_bytes -= entry.bytes();
    }

    // ---- single messages ----

    /// Recovered ranges whose messages' priorities are not known.
    pub(in super::super) fn all_unsorted(&self) -> impl Iterator<Item = &Range> {
        self.unsorted.iter()
    }

    /// The range that may hold a position, with its priority if that is known. In ranges of several priorities, the
    /// first of them.
    pub(in super::super) fn range_of(&self, position: LogPosition) -> Option<(Option<u8>, &Range)> {
        let levels = self.levels.iter();
        let known = levels.flat_map(|level| {
            let ranges = level.ranges.iter();
            ranges.map(|range| (Some(level.priority), range))
        });
        let mut all = known.chain(self.unsorted.iter().map(|range| (None, range)));
        all.find(|(_, range)| range.first <= position.0 && position.0 <= range.last)
    }

    /// A message of a range is gone from the log. `priority` is its own. Says whether there was such a range, and it
    /// was not being read.
    pub(in super::super) fn remove_of_range(
        &mut self,
        position: LogPosition,
        priority: u8,
        bytes: u64,
    ) -> bool {
        let holds = |range: &Range| {
            range.first <= position.0 && position.0 <= range.last && !range.requested
        };
        let Some(place) = self.levels.iter().position(|l| l.priority == priority) else {
            return false;
        };
        let ranges = &mut self.levels[place].ranges;
        let Some(at) = ranges.iter().position(holds) else {
            return false;
        };
        let bytes = bytes.min(ranges[at].bytes);
        ranges[at].messages -= 1;
        ranges[at].bytes -= bytes;
        if ranges[at].messages == 0 {
            ranges.remove(at);
        }
        self.len -= 1;
        self.bytes -= bytes;
        self.cold_len -= 1;
        self.cold_bytes -= bytes;
        self.levels[place].find_behind_deadline();
        self.close_gap(place);
        true
    }

    // ---- in ----

    /// The next messages of a priority were read: they come into its head, but for what is due, which is given back.
    /// `next`: where its first range goes on.
    pub(in super::super) fn take_head(
        &mut self,
        now_ms: u64,
        priority: u8,
        entries: Vec<Entry>,
        next: Option<u64>,
    ) -> Vec<Entry> {
        let place = self.level_of(priority);
        let Some(mut range) = self.levels[place].ranges.pop_front() else {
            return Vec::new();
        };
        let mut dead = Vec::new();
        for entry in entries {
            self.uncool(&mut range, &entry);
            let seq = range.seq;
            range.seq += 1;
            if entry.is_due(now_ms) {
                self.len -= 1;
                self.bytes -= entry.bytes();
                dead.push(entry);
            } else {
                self.push_head(place, seq, entry);
            }
        }
        match next {
            Some(next) if 0 < range.messages => {
                range.first = next;
                range.requested = false;
                self.levels[place].ranges.push_front(range);
            }
            _ => self.lose(&range),
        }
        self.levels[place].find_behind_deadline();
        self.close_gap(place);
        dead
    }

    /// A range was read because something in it was due, which is given back; the rest stays a range.
    pub(in super::super) fn take_due(
        &mut self,
        now_ms: u64,
        (priority, first): (u8, u64),
        entries: Vec<Entry>,
        next: Option<u64>,
    ) -> Vec<Entry> {
        let place = self.level_of(priority);
        let ranges = &mut self.levels[place].ranges;
        let Some(at) = ranges.iter().position(|range| range.first == first) else {
            return Vec::new();
        };
        let mut range = ranges.remove(at).expect("it was just found");
        let mut rest: VecDeque<Range> = VecDeque::new();
        let mut dead = Vec::new();
        for entry in entries {
            self.uncool(&mut range, &entry);
            let seq = range.seq;
            range.seq += 1;
            if entry.is_due(now_ms) {
                self.len -= 1;
                self.bytes -= entry.bytes();
                dead.push(entry);
            } else {
                self.cold_len += 1;
                self.cold_bytes += entry.bytes();
                cold::append(&mut rest, seq, &entry);
            }
        }
        match next {
            Some(next) if 0 < range.messages => {
                range.first = next;
                range.requested = false;
                rest.push_back(range);
            }
            _ => self.lose(&range),
        }
        let ranges = &mut self.levels[place].ranges;
        for (offset, range) in rest.into_iter().enumerate() {
            ranges.insert(at + offset, range);
        }
        self.levels[place].find_behind_deadline();
        self.close_gap(place);
        dead.sort_by_key(|entry| entry.expires_at_ms);
        dead
    }

    /// Messages of the first unsorted range were read: each goes to its priority, in memory while there is little.
    pub(in super::super) fn sort(
        &mut self,
        now_ms: u64,
        entries: Vec<Entry>,
        next: Option<u64>,
    ) -> Vec<Entry> {
        let Some(mut range) = self.unsorted.pop_front() else {
            return Vec::new();
        };
        let mut dead = Vec::new();
        for entry in entries {
            self.uncool(&mut range, &entry);
            let seq = range.seq;
            range.seq += 1;
            let place = self.level_of(entry.priority);
            if entry.is_due(now_ms) {
                self.len -= 1;
                self.bytes -= entry.bytes();
                dead.push(entry);
            } else if self.levels[place].ranges.is_empty()
                && self.resident_bytes() < SORTED_RESIDENT_BYTES
            {
                self.push_head(place, seq, entry);
            } else {
                self.cold_len += 1;
                self.cold_bytes += entry.bytes();
                let level = &mut self.levels[place];
                level.behind_deadline_ms = level.behind_deadline_ms.min(entry.expires_at_ms);
                cold::append(&mut level.ranges, seq, &entry);
            }
        }
        match next {
            Some(next) if 0 < range.messages => {
                range.first = next;
                self.unsorted.push_front(range);
            }
            _ => self.lose(&range),
        }
        for place in 0..self.levels.len() {
            self.close_gap(place);
        }
        self.top = 0;
        dead
    }

    /// A message of a range is in memory. What the log has beyond what it said that it has counts from here on.
    fn uncool(&mut self, range: &mut Range, entry: &Entry) {
        let (messages, bytes) = (range.messages.min(1), range.bytes.min(entry.bytes()));
        range.messages -= messages;
        range.bytes -= bytes;
        self.cold_len -= messages;
        self.cold_bytes -= bytes;
        self.len += 1 - messages;
        self.bytes += entry.bytes() - bytes;
    }

    /// The log has no more of a range. It should have had all.
    fn lose(&mut self, range: &Range) {
        debug_assert_eq!(
            (range.messages, range.bytes),
            (0, 0),
            "the log has them all"
        );
        self.len -= range.messages;
        self.bytes -= range.bytes;
        self.cold_len -= range.messages;
        self.cold_bytes -= range.bytes;
    }

    fn push_head(&mut self, place: usize, seq: u64, entry: Entry) {
        let member = (entry.expires_at_ms, seq, entry.priority);
        self.timed += usize::from(entry.is_timed());
        let indexed = self.levels[place].push(seq, entry);
        self.note(indexed, member);
        self.top = self.top.min(place);
    }

    /// What stands in a tail behind nothing comes into the head.
    fn close_gap(&mut self, place: usize) {
        if !self.holds_back(place) {
            for (seq, entry) in std::mem::take(&mut self.levels[place].tail) {
                self.tail_len -= 1;
                self.tail_bytes -= entry.bytes();
                self.push_head(place, seq, entry);
            }
            self.levels[place].behind_deadline_ms = NEVER_MS;
        }
        self.paged = 0 < self.cold_len || !self.unsorted.is_empty();
    }

    // ---- out ----

    /// Cuts a head off behind what it keeps: the rest is the tail. `before`: the highest position that was delivered
    /// and may come back. `spills`: messages without a position can get one.
    pub(in super::super) fn divide(&mut self, place: usize, keep: Keep, before: u64, spills: bool) {
        // Without any position nothing would come of it.
        if self.holds_back(place) || !(spills || self.levels[place].is_logged()) {
            return;
        }
        let (mut bytes, mut messages) = self.levels[place].head();
        bytes += messages * RESIDENT_OVERHEAD_BYTES;
        let mut cut: Vec<(u64, Entry)> = Vec::new();
        while keep.bytes < bytes
            && keep.messages < messages
            && let Some((seq, entry)) = self.levels[place].pop_back()
        {
            bytes -= (entry.bytes() + RESIDENT_OVERHEAD_BYTES).min(bytes);
            messages -= 1;
            self.leave_head(&entry);
            cut.push((seq, entry));
        }
        // Nor if what has one stays in the head.
        let possible = spills || cut.iter().any(|(_, entry)| entry.position.is_some());
        let head_end = self.levels[place].head_end().max(before);
        for (seq, mut entry) in cut.into_iter().rev() {
            entry.indexed = false;
            if possible {
                self.tail_len += 1;
                self.tail_bytes += entry.bytes();
                self.levels[place].push_tail(seq, entry);
            } else {
                self.push_head(place, seq, entry);
            }
        }
        // What came to the queue before another that the log has behind it belongs to the head.
        while let Some((seq, entry)) = self.levels[place]
            .tail
            .pop_front_if(|(_, entry)| entry.position.is_some() && entry.position.0 <= head_end)
        {
            self.tail_len -= 1;
            self.tail_bytes -= entry.bytes();
            self.push_head(place, seq, entry);
        }
        self.paged = true;
    }

    /// Gives positions to what has none in a tail, and new ones to what stands behind it, so that they rise.
    pub(in super::super) fn spill(
        &mut self,
        place: usize,
        before: u64,
        spill: &mut dyn Spill,
        effects: &mut Effects,
    ) {
        let level = &mut self.levels[place];
        let ranges_end = level.ranges.back().map_or(0, |range| range.last);
        let mut end = level.head_end().max(ranges_end).max(before);
        for (_, entry) in &mut level.tail {
            if end < entry.position.0 {
                end = entry.position.0;
                continue;
            }
            let outlives = entry.position.is_some();
            let Some(position) = spill.spill(&entry.message, entry.expires_at_ms, outlives) else {
                return;
            };
            effects.release(std::mem::replace(&mut entry.position, position));
            end = position.0;
        }
    }

    /// Puts the front of a tail into ranges.
    pub(in super::super) fn make_ranges(&mut self, place: usize, settled: u64, excess_bytes: u64) {
        let (messages, bytes) = self.levels[place].make_ranges(settled, excess_bytes);
        self.tail_len -= messages;
        self.tail_bytes -= bytes;
        self.cold_len += messages;
        self.cold_bytes += bytes;
        self.close_gap(place);
    }

    /// # Panics
    /// If something that must hold does not.
    pub(super) fn check_behind(&self) {
        let ranges = || self.levels.iter().flat_map(|level| &level.ranges);
        let all = || ranges().chain(&self.unsorted);
        assert_eq!(
            self.cold_len,
            all().map(|range| range.messages).sum::<u64>()
        );
        assert_eq!(self.cold_bytes, all().map(|range| range.bytes).sum::<u64>());
        let tails = || self.levels.iter().flat_map(|level| &level.tail);
        assert_eq!(self.tail_len, tails().count() as u64);
        assert_eq!(
            self.tail_bytes,
            tails().map(|(_, e)| e.bytes()).sum::<u64>()
        );
        assert_eq!(self.paged, 0 < self.cold_len || !self.unsorted.is_empty());
        for (place, level) in self.levels.iter().enumerate() {
            assert!(
                self.holds_back(place) || level.tail.is_empty(),
                "a tail stands behind something"
            );
        }
    }
}
