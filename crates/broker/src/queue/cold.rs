//! What of a long queue is not in memory: ranges of the log.
//!
//! ```text
//!   returned   fresh (head)        cold ranges                       tail
//!  ┌────────┐ ┌──────────┐ ┌───────────────┐┌───────────────┐ ┌─────────────┐
//!  │ 3  7   │ │ 12 13 15 │ │ 4,096 messages││ 900 messages  │ │ 9001 9002 ..│ <- push
//!  └────────┘ └──────────┘ └───────────────┘└───────────────┘ └─────────────┘
//!              <- page_in       page_out ->
//! ```
//! A range holds exactly the messages of its priority that the log has between its ends (docs/adr/0005). Deliberately
//! absent: who reads the log, and when memory is short, which the caller knows.

use std::collections::VecDeque;

use super::entry::{Entry, NEVER_MS};
use super::{DeadReason, Effects, Gate, Incoming, Queue};
use crate::message::{LogPosition, Message};

/// The most messages that one range of ours has, and the most that are asked for at once.
pub const RANGE_MESSAGES_MAX: u64 = 4096;
/// The most bytes of bodies that one range of ours has, and that are asked for at once.
pub const RANGE_BYTES_MAX: u64 = 1024 * 1024;
/// With fewer messages in its head, a queue that has consumers asks for more, if it may have so many.
const HEAD_MESSAGES_LOW: u64 = 1024;
/// The same in bytes of bodies.
const HEAD_BYTES_LOW: u64 = 512 * 1024;
/// The part of what a queue may have in memory below which its head is low.
const HEAD_LOW_PART: u64 = 8;
/// The part of it that is asked for at once. With the head that is low, and both parts again for what messages take
/// beside their bodies, it stays below the whole: what was just read is not given up at once.
const PAGE_PART: u64 = 4;
/// What a queue without consumers asks for: enough to know the next deadline and to answer a get.
const IDLE_MESSAGES: u64 = 8;
/// The same in bytes.
const IDLE_BYTES: u64 = 16 * 1024;
/// What a message takes in memory beside its body: entry, address, properties.
pub const RESIDENT_OVERHEAD_BYTES: u64 = 192;

/// Messages of one priority that are only in the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) first: u64,
    pub(super) last: u64,
    /// The place of its first message in the order of arrival.
    pub(super) seq: u64,
    pub(super) messages: u64,
    /// Of bodies.
    pub(super) bytes: u64,
    /// None of them expires earlier. [`NEVER_MS`], too, if that is not known.
    pub(super) deadline_ms: u64,
    /// It is being read, and must not change.
    pub(super) requested: bool,
}

impl Range {
    fn is_open(&self) -> bool {
        !self.requested && self.messages < RANGE_MESSAGES_MAX && self.bytes < RANGE_BYTES_MAX
    }

    fn of(seq: u64, entry: &Entry) -> Self {
        Range {
            first: entry.position.0,
            last: entry.position.0,
            seq,
            messages: 1,
            bytes: entry.bytes(),
            deadline_ms: entry.expires_at_ms,
            requested: false,
        }
    }
}

/// Puts a message behind the last range, or into it if it is open.
pub(super) fn append(ranges: &mut VecDeque<Range>, seq: u64, entry: &Entry) {
    match ranges.back_mut() {
        Some(range) if range.is_open() => {
            debug_assert!(range.last < entry.position.0, "positions rise");
            range.last = entry.position.0;
            range.messages += 1;
            range.bytes += entry.bytes();
            range.deadline_ms = range.deadline_ms.min(entry.expires_at_ms);
        }
        _ => ranges.push_back(Range::of(seq, entry)),
    }
}

/// A range that the queue wants in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// Names it when it is handed back.
    pub serial: u64,
    /// From here on.
    pub from: LogPosition,
    /// Nothing behind this.
    pub up_to: LogPosition,
    /// So many messages at most, at least one.
    pub messages_max: u64,
    /// So many bytes at most, one message apart.
    pub bytes_max: u64,
}

/// What the log has for a [`PageRequest`].
#[derive(Debug, Clone)]
pub struct Page {
    /// Of which request.
    pub serial: u64,
    /// The messages, in the order of positions, each with its deadline.
    pub messages: Vec<Incoming>,
    /// Where to go on; `None` if all up to the end of the request is here.
    pub next: Option<LogPosition>,
}

/// Everything up to a position is purged, but for some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// The last position of all.
    pub up_to: LogPosition,
    /// What is not purged, in any order: what is unacked.
    pub keep: Vec<LogPosition>,
}

/// Keeps messages that have no position, because there is no memory for them.
pub trait Spill {
    /// Appends a message for this queue and gives its position, or `None` when there is no room now. `outlives`:
    /// it has been promised to outlive the process.
    fn spill(
        &mut self,
        message: &Message,
        expires_at_ms: u64,
        outlives: bool,
    ) -> Option<LogPosition>;
}

/// How much of a head stays in memory: so many bytes, or this many messages if those are more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    pub(super) bytes: u64,
    pub(super) messages: u64,
}

/// Why a range was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// It is the next one of this priority.
    Head(u8),
    /// Something in it is due: the range of this priority with this first position.
    Due(u8, u64),
    /// Its priorities are not known yet.
    Unsorted,
}

/// The request under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paging {
    serial: u64,
    target: Target,
}

impl Queue {
    /// Takes back what it held before a restart, as a range: so many messages between two positions. They are
    /// before all that come later.
    pub fn recover(&mut self, first: LogPosition, last: LogPosition, messages: u64, bytes: u64) {
        let range = Range {
            first: first.0,
            last: last.0,
            seq: self.next_seq,
            messages,
            bytes,
            deadline_ms: NEVER_MS,
            requested: false,
        };
        self.next_seq += messages;
        if self.has_priorities() {
            self.ready.put_unsorted(range);
        } else {
            self.ready.put_range(0, range);
        }
    }

    /// Bytes of memory that its ready messages take.
    pub fn resident_bytes(&self) -> u64 {
        self.ready.resident_bytes()
    }

    /// Whether some of its messages are only in the log.
    pub fn is_paged(&self) -> bool {
        self.ready.is_paged()
    }

    /// Whether the next message is ready, and not in memory.
    pub fn is_front_away(&self) -> bool {
        !self.ready.is_empty() && self.ready.front().is_none()
    }

    /// Whether somebody wants messages of this queue, if only to drop them.
    fn is_waited_for(&self) -> bool {
        self.roster.len() > 0 || self.asked || self.is_over_limit()
    }

    /// The range that the queue wants next. One at a time: there is none until the last one was handed back.
    /// `bytes_max`: so much of its messages it may have in memory. If that is nothing, it asks for what somebody waits
    /// for, and no more.
    pub fn poll_page(&mut self, now_ms: u64, bytes_max: u64) -> Option<PageRequest> {
        if !self.ready.is_paged() || self.paging.is_some() {
            return None;
        }
        let served = self.is_waited_for();
        let (target, range) = self.wanted(now_ms, bytes_max)?;
        let serial = self.next_page;
        self.next_page += 1;
        self.paging = Some(Paging { serial, target });
        let part = (bytes_max / PAGE_PART).max(1);
        let (messages_max, bytes_max) = match target {
            // None of it stays in memory, or little.
            Target::Due(..) | Target::Unsorted => (RANGE_MESSAGES_MAX, RANGE_BYTES_MAX),
            Target::Head(_) if served => (RANGE_MESSAGES_MAX, RANGE_BYTES_MAX.min(part)),
            Target::Head(_) => (IDLE_MESSAGES, IDLE_BYTES.min(part)),
        };
        Some(PageRequest {
            serial,
            from: LogPosition(range.first),
            up_to: LogPosition(range.last),
            messages_max: messages_max.min(bytes_max.div_ceil(RESIDENT_OVERHEAD_BYTES)),
            bytes_max,
        })
    }

    fn wanted(&mut self, now_ms: u64, bytes_max: u64) -> Option<(Target, Range)> {
        if let Some(range) = self.ready.unsorted() {
            return Some((Target::Unsorted, *range));
        }
        let bytes_low = (bytes_max / HEAD_LOW_PART).clamp(1, HEAD_BYTES_LOW);
        let (low_messages, low_bytes) = match (self.is_waited_for(), bytes_max) {
            (true, _) => {
                let messages_low = bytes_low.div_ceil(RESIDENT_OVERHEAD_BYTES);
                (messages_low.min(HEAD_MESSAGES_LOW), bytes_low)
            }
            (false, 0) => (0, 0),
            (false, _) => (1, 1),
        };
        if 0 < low_messages
            && let Some((priority, range)) = self.ready.head_wanted(low_messages, low_bytes)
        {
            range.requested = true;
            return Some((Target::Head(priority), *range));
        }
        let (priority, range) = self.ready.due_range(now_ms)?;
        range.requested = true;
        Some((Target::Due(priority, range.first), *range))
    }

    /// Hands back what [`Queue::poll_page`] asked for. What was purged meanwhile is passed over.
    pub fn page_in(&mut self, now_ms: u64, page: Page, gate: &mut dyn Gate, effects: &mut Effects) {
        let Some(paging) = self.paging.take_if(|paging| paging.serial == page.serial) else {
            return;
        };
        match paging.target {
            Target::Head(priority) => self.take_head(now_ms, priority, page, effects),
            Target::Due(priority, first) => self.take_due(now_ms, (priority, first), page, effects),
            Target::Unsorted => self.sort(now_ms, page, effects),
        }
        self.expire_due(now_ms, effects);
        // A consumer that has waited gets what may be too much by now.
        self.assign(now_ms, gate, effects);
        self.trim(now_ms, super::WORK_PER_CALL_MAX, effects);
    }

    /// The next messages of a priority come into its head.
    fn take_head(&mut self, now_ms: u64, priority: u8, page: Page, effects: &mut Effects) {
        let entries = self.entries(now_ms, priority, page.messages);
        let dead = self
            .ready
            .take_head(now_ms, priority, entries, page.next.map(|next| next.0));
        self.bury_all(dead, effects);
    }

    /// What is due of a range dies; the rest stays a range.
    fn take_due(&mut self, now_ms: u64, range: (u8, u64), page: Page, effects: &mut Effects) {
        let entries = self.entries(now_ms, range.0, page.messages);
        let dead = self
            .ready
            .take_due(now_ms, range, entries, page.next.map(|next| next.0));
        self.bury_all(dead, effects);
    }

    /// Messages of a recovered range go to their priorities.
    fn sort(&mut self, now_ms: u64, page: Page, effects: &mut Effects) {
        let entries: Vec<Entry> = page
            .messages
            .into_iter()
            .map(|incoming| self.entry(now_ms, incoming))
            .collect();
        let dead = self
            .ready
            .sort(now_ms, entries, page.next.map(|next| next.0));
        self.bury_all(dead, effects);
    }

    fn entries(&self, now_ms: u64, priority: u8, messages: Vec<Incoming>) -> Vec<Entry> {
        let entries = messages.into_iter();
        let entries = entries.map(|incoming| self.entry(now_ms, incoming));
        entries.filter(|entry| entry.priority == priority).collect()
    }

    fn bury_all(&mut self, dead: Vec<Entry>, effects: &mut Effects) {
        for entry in dead {
            self.bury(entry, DeadReason::Expired, effects);
        }
    }

    /// Turns messages into ranges until no more than `keep_bytes` of them are in memory, as far as that can be:
    /// everything up to `settled` must be with its queue. `spill`: what has no position is to get one.
    pub fn page_out(
        &mut self,
        settled: LogPosition,
        keep_bytes: u64,
        mut spill: Option<&mut dyn Spill>,
        effects: &mut Effects,
    ) {
        for place in (0..self.ready.levels_len()).rev() {
            if self.ready.resident_bytes() <= keep_bytes {
                return;
            }
            let priority = self.ready.priority_at(place);
            // What was delivered stands before the head, and may come back there.
            let unacked = self.unacked.iter().map(|unacked| &unacked.entry);
            let away = unacked.chain(self.delayed.iter());
            let before = away.filter(|entry| entry.priority == priority);
            let before = before.map(|entry| entry.position.0).max().unwrap_or(0);
            let keep = Keep {
                bytes: keep_bytes / HEAD_LOW_PART,
                messages: u64::from(self.is_waited_for()),
            };
            self.ready.divide(place, keep, before, spill.is_some());
            if let Some(spill) = &mut spill {
                self.ready.spill(place, before, *spill, effects);
            }
            let excess = self.ready.resident_bytes().saturating_sub(keep_bytes);
            self.ready.make_ranges(place, settled.0, excess);
        }
    }

    /// What a purge takes besides what is in memory.
    pub(super) fn purged(&self) -> Option<Purged> {
        let up_to = LogPosition(self.ready.cold_end()?);
        let keep = self.unacked.iter().map(|unacked| unacked.entry.position);
        let keep = keep.filter(|position| position.is_some() && *position <= up_to);
        Some(Purged {
            up_to,
            keep: keep.collect(),
        })
    }

    fn has_priorities(&self) -> bool {
        self.options.kind == super::QueueKind::Quorum || self.options.priority_max.is_some()
    }
}
