//! The ready messages: highest priority first, then the order of arrival.
//!
//! All access goes through the few methods here and, for what is not in memory, in `behind`. Deliberately absent:
//! limits and reasons of death, which the queue knows.

use std::collections::VecDeque;

use super::cold::Range;
use super::entry::{Entry, NEVER_MS};
use super::level::Level;
use super::time_index::TimeIndex;

mod behind;

#[derive(Debug)]
pub(super) struct Ready {
    /// Highest priority first. A level stays when its messages have left; there are at most 256.
    levels: Vec<Level>,
    /// No level before this one has a message.
    top: usize,
    len: u64,
    bytes: u64,
    /// How many of them expire at all.
    timed: usize,
    /// How many of those the index names.
    indexed: usize,
    index: TimeIndex,
    /// No message in the heads expires before this; it may be earlier than the first one that does.
    deadline_ms: u64,
    /// Some messages are only in the log, or a recovered range is not sorted yet: what comes goes to the tails.
    paged: bool,
    /// How many are only in the log, those of `unsorted` among them.
    cold_len: u64,
    cold_bytes: u64,
    /// How many are in the tails.
    tail_len: u64,
    tail_bytes: u64,
    /// Recovered ranges whose messages' priorities are not known.
    unsorted: VecDeque<Range>,
}

impl Default for Ready {
    fn default() -> Self {
        Ready {
            levels: Vec::new(),
            top: 0,
            len: 0,
            bytes: 0,
            timed: 0,
            indexed: 0,
            index: TimeIndex::default(),
            deadline_ms: NEVER_MS,
            paged: false,
            cold_len: 0,
            cold_bytes: 0,
            tail_len: 0,
            tail_bytes: 0,
            unsorted: VecDeque::new(),
        }
    }
}

impl Ready {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// When [`Ready::pop_due`] should be asked next, at the latest; [`NEVER_MS`] if never.
    pub(super) fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    /// Takes a message that is later in order than all that ever were here.
    pub(super) fn push(&mut self, seq: u64, entry: Entry) {
        let (priority, expires_at_ms) = (entry.priority, entry.expires_at_ms);
        self.len += 1;
        self.bytes += entry.bytes();
        let place = self.level_of(priority);
        if self.paged && self.holds_back(place) {
            self.tail_len += 1;
            self.tail_bytes += entry.bytes();
            self.levels[place].push_tail(seq, entry);
            return;
        }
        self.timed += usize::from(entry.is_timed());
        let indexed = self.levels[place].push(seq, entry);
        self.note(indexed, (expires_at_ms, seq, priority));
    }

    /// Takes a message back that was popped before.
    pub(super) fn restore(&mut self, seq: u64, entry: Entry) {
        let (priority, expires_at_ms) = (entry.priority, entry.expires_at_ms);
        self.count_in(&entry);
        let place = self.level_of(priority);
        let indexed = self.levels[place].restore(seq, entry);
        self.note(indexed, (expires_at_ms, seq, priority));
    }

    /// The message that is next.
    pub(super) fn front(&self) -> Option<(u64, &Entry)> {
        if self.len == 0 {
            return None;
        }
        if !self.unsorted.is_empty() {
            return None;
        }
        let mut levels = self.levels[self.top..].iter();
        levels.find(|level| !level.is_empty())?.front()
    }

    /// Takes the message that is next, if it is in memory.
    pub(super) fn pop(&mut self) -> Option<(u64, Entry)> {
        if self.len == 0 || !self.unsorted.is_empty() {
            return None;
        }
        while self.levels[self.top].is_empty() {
            self.top += 1;
        }
        let (seq, entry) = self.levels[self.top].pop()?;
        self.count_out(&entry);
        Some((seq, entry))
    }

    /// Takes the message whose time came first, if any has come.
    pub(super) fn pop_due(&mut self, now_ms: u64) -> Option<(u64, Entry)> {
        while self.deadline_ms <= now_ms {
            let (deadline_ms, seq, priority, indexed) = self.earliest()?;
            self.deadline_ms = deadline_ms;
            if now_ms < deadline_ms {
                return None;
            }
            if indexed {
                self.index.pop();
            }
            let place = self.level_of(priority);
            // A seq may have been given anew since the index was told of it.
            let due = self.levels[place].find(seq);
            if due.is_some_and(|entry| entry.expires_at_ms == deadline_ms)
                && let Some(entry) = self.levels[place].remove(seq)
            {
                self.count_out(&entry);
                return Some((seq, entry));
            }
        }
        None
    }

    /// Takes a message out of the heads or tails.
    pub(super) fn remove_where(&mut self, is_it: impl Fn(u64, &Entry) -> bool) -> Option<Entry> {
        for place in 0..self.levels.len() {
            let level = &mut self.levels[place];
            let seq = level.iter().find(|(seq, entry)| is_it(*seq, entry));
            if let Some(seq) = seq.map(|(seq, _)| seq) {
                let entry = level.remove(seq)?;
                self.count_out(&entry);
                return Some(entry);
            }
            let found = level
                .tail
                .iter()
                .position(|(seq, entry)| is_it(*seq, entry));
            if let Some((_, entry)) = found.and_then(|at| level.tail.remove(at)) {
                self.count_tail_out(&entry);
                return Some(entry);
            }
        }
        None
    }

    /// Highest priority first.
    pub(super) fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Takes all, in no particular order.
    pub(super) fn drain(&mut self, mut take: impl FnMut(Entry)) {
        for level in &mut self.levels {
            while let Some((_, entry)) = level.pop() {
                take(entry);
            }
            level.ranges.clear();
            level.behind_deadline_ms = NEVER_MS;
            std::mem::take(&mut level.tail)
                .into_iter()
                .for_each(|(_, entry)| take(entry));
        }
        self.index.clear();
        *self = Ready {
            levels: std::mem::take(&mut self.levels),
            ..Ready::default()
        };
    }

    /// Those in the heads, in the order in which they would be delivered.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.levels.iter().flat_map(Level::iter)
    }

    /// The earliest deadline, whose it is, and whether it stands in the index (where it may be stale).
    fn earliest(&mut self) -> Option<(u64, u64, u8, bool)> {
        let mut earliest = self
            .index
            .first()
            .map(|(ms, seq, priority)| (ms, seq, priority, true));
        if self.indexed < self.timed {
            for level in &mut self.levels {
                let Some((ms, seq)) = level.ordered_deadline() else {
                    continue;
                };
                if earliest.is_none_or(|(e_ms, e_seq, ..)| (ms, seq) < (e_ms, e_seq)) {
                    earliest = Some((ms, seq, level.priority, false));
                }
            }
        }
        if earliest.is_none() {
            self.deadline_ms = NEVER_MS;
        }
        earliest
    }

    fn note(&mut self, indexed: bool, member: (u64, u64, u8)) {
        self.deadline_ms = self.deadline_ms.min(member.0);
        if indexed {
            self.indexed += 1;
            self.index.push(member);
        }
    }

    fn count_in(&mut self, entry: &Entry) {
        self.len += 1;
        self.bytes += entry.bytes();
        self.timed += usize::from(entry.is_timed());
    }

    fn count_out(&mut self, entry: &Entry) {
        self.len -= 1;
        self.bytes -= entry.bytes();
        self.leave_head(entry);
    }

    /// A message is no longer among those whose deadlines are looked after.
    fn leave_head(&mut self, entry: &Entry) {
        if !entry.is_timed() {
            return;
        }
        self.timed -= 1;
        if entry.indexed {
            self.indexed -= 1;
            if self.index.is_stale(self.indexed) {
                let levels = &self.levels;
                self.index.rebuild(|(at_ms, seq, priority)| {
                    let level = levels.iter().find(|level| level.priority == priority);
                    let entry = level.and_then(|level| level.find(seq));
                    entry.is_some_and(|entry| entry.indexed && entry.expires_at_ms == at_ms)
                });
            }
        }
    }

    /// The place of the level of that priority, which is made if there is none.
    fn level_of(&mut self, priority: u8) -> usize {
        let place = self
            .levels
            .partition_point(|level| priority < level.priority);
        if self
            .levels
            .get(place)
            .is_none_or(|level| level.priority != priority)
        {
            self.levels.insert(place, Level::new(priority));
        }
        self.top = self.top.min(place);
        place
    }

    /// # Panics
    /// If something that must hold does not.
    pub(super) fn check_invariants(&self) {
        assert!(self.levels.is_sorted_by(|a, b| b.priority < a.priority));
        assert!(
            self.levels.iter().take(self.top).all(Level::is_empty),
            "top is not too late"
        );
        self.levels.iter().for_each(Level::check_invariants);
        self.check_behind();
        let heads = self.iter().count() as u64;
        assert_eq!(self.len, heads + self.cold_len + self.tail_len);
        let heads = self.iter().map(|(_, e)| e.bytes()).sum::<u64>();
        assert_eq!(self.bytes, heads + self.cold_bytes + self.tail_bytes);
        assert_eq!(
            self.timed,
            self.iter().filter(|(_, e)| e.is_timed()).count()
        );
        assert_eq!(self.indexed, self.iter().filter(|(_, e)| e.indexed).count());
        assert!(
            !self.index.is_stale(self.indexed),
            "stale members of the index are bounded"
        );
        assert!(self.index.len() >= self.indexed);
        for (seq, entry) in self.iter() {
            assert!(
                self.deadline_ms <= entry.expires_at_ms,
                "no deadline is missed"
            );
            if entry.indexed {
                assert!(
                    self.index
                        .contains((entry.expires_at_ms, seq, entry.priority))
                );
            }
        }
    }
}
