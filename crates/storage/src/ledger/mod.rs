//! Who still holds what, and where it lies: the whole state of the log but the bytes.
//!
//! The same calls build it when messages come and go and when a log is replayed at open. It knows messages
//! one by one only in log files that have not retired; in segments it knows parts, each with the set of its
//! released positions. Pure: no disk, no lock, no thread.
//!
//! ```text
//! owner ── parts: [1..90 in segment 3] [91..205 in segment 7] ── log: 311, 312, 340 ..
//!                      └ released {1..17, 40}                       └ entries in log files 12 and 13
//! ```

mod delivered;
mod file_index;
mod snapshot;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;
use roaring::RoaringBitmap;

use crate::append::OwnerEntry;
use crate::segment::DirectoryEntry;
use crate::{Damage, OwnerId};
pub(crate) use delivered::DeliveredRuns;
pub(crate) use file_index::{FileIndex, Place, Shared};

type Owners = HashMap<OwnerId, Owner, foldhash::fast::FixedState>;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) owners: Owners,
    /// Log files that have not retired, oldest first; the last is the one that grows.
    pub(crate) files: VecDeque<FileIndex>,
    pub(crate) segments: BTreeMap<u64, Segment>,
    /// While the log is replayed at open. It may then release once more what a part does not even have any
    /// more, so parts only collect what is released, and [`Ledger::end_replay`] counts what is left.
    pub(crate) replaying: bool,
    /// Releases of what was not alive, since the open: passed over, and a mistake of the caller's.
    pub(crate) releases_not_alive: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Owner {
    /// In segments; ascending, never overlapping, each with at least one message alive.
    pub(crate) parts: Vec<Part>,
    /// Positions in log files. The front is alive; behind it may stand some that are not any more.
    log: VecDeque<u64>,
    /// How many of `log` are alive.
    pub(crate) log_live: u64,
    /// What those weigh.
    pub(crate) log_weight: u64,
    pub(crate) delivered: DeliveredRuns,
}

/// An owner's messages in one segment, from a first to a last position.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) segment: u64,
    /// Which part of the segment it is.
    pub(crate) index: u32,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) messages: u32,
    /// Exact if [`Part::is_exact`]; else at least 1, and counted anew when the index is next read.
    pub(crate) live: u32,
    pub(crate) weight: u64,
    /// Distances from `first` of its messages. `None` if it has every position in between, or if its index has
    /// not been read since the open: between its positions lie other owners', and some that died before.
    pub(crate) members: Option<Arc<RoaringBitmap>>,
    /// Distances from `first` of positions that are released.
    pub(crate) released: Option<Box<RoaringBitmap>>,
}

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) bytes: u64,
    pub(crate) footer_crc: u32,
    pub(crate) record_bytes: u64,
    /// Each of its parts, in the order of its directory.
    pub(crate) parts: Vec<Span>,
    pub(crate) messages: u64,
    pub(crate) live_messages: u64,
    /// Parts of which something is released.
    pub(crate) touched: RoaringBitmap,
    /// Parts of which everything is.
    pub(crate) dead: RoaringBitmap,
    /// Bytes of records that are alive, as the indexes told when they were last asked.
    pub(crate) live_bytes: u64,
    /// Releases since.
    pub(crate) changed: u64,
    /// What was first found wrong with it since the open: from then on it is left where it is, and not rewritten.
    pub(crate) damage: Option<Box<Damage>>,
}

/// Which part of a segment: whose, and from where to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) owner: OwnerId,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// A segment that was written, before the ledger knows it.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) footer_crc: u32,
    pub(crate) record_bytes: u64,
    pub(crate) parts: Vec<BuiltPart>,
}

#[derive(Debug)]
pub(crate) struct BuiltPart {
    pub(crate) owner: OwnerId,
    pub(crate) weight: u64,
    /// Ascending, at least one.
    pub(crate) positions: Vec<u64>,
}

/// Where the messages of a [`Built`] segment were before.
#[derive(Debug)]
pub(crate) enum Source {
    /// The oldest log file, whole.
    LogFile,
    /// These segments, whole.
    Segments(Vec<u64>),
}

/// What to read next for an owner.
#[derive(Debug)]
pub(crate) enum ReadStep {
    Part(Part),
    /// In one log file.
    Log(u64, Vec<(u64, Place)>),
    End,
}

impl Ledger {
    fn file_of(&self, position: u64) -> Option<&FileIndex> {
        self.files.iter().rev().find(|file| file.first <= position)
    }

    /// A message took the next position in the newest log file.
    pub(crate) fn push_message(
        &mut self,
        owners: impl Iterator<Item = OwnerEntry> + Clone,
        place: Place,
    ) {
        let file = self
            .files
            .back_mut()
            .expect("there is always a file that grows");
        let position = file.end();
        file.push_message(owners.clone(), place);
        for entry in owners {
            let owner = self.owners.entry(entry.owner).or_default();
            owner.log.push_back(position);
            owner.log_live += 1;
            owner.log_weight += u64::from(place.weight);
        }
    }

    /// A record that is no message took the next position.
    pub(crate) fn push_note(&mut self) {
        let file = self
            .files
            .back_mut()
            .expect("there is always a file that grows");
        file.push_note();
    }

    /// Ends an owner's hold on messages. What it does not hold (any more) is passed over, and counted.
    pub(crate) fn release(&mut self, owner: OwnerId, positions: impl Iterator<Item = u64>) {
        let not_alive = self.release_alive(owner, positions);
        if !self.replaying {
            self.releases_not_alive += not_alive;
        }
    }

    /// Gives how many of the positions were not alive.
    fn release_alive(&mut self, owner: OwnerId, positions: impl Iterator<Item = u64>) -> u64 {
        let Some(state) = self.owners.get_mut(&owner) else {
            return positions.count() as u64;
        };
        let mut not_alive = 0;
        for position in positions {
            let file = self
                .files
                .iter_mut()
                .rev()
                .find(|file| file.first <= position);
            let Some(file) = file else {
                let alive = release_in_part(state, position, &mut self.segments, self.replaying);
                not_alive += u64::from(!alive);
                continue;
            };
            let Some(weight) = file.release(position, owner) else {
                not_alive += 1;
                continue;
            };
            state.log_live -= 1;
            state.log_weight -= u64::from(weight);
            if !state.delivered.is_empty() {
                state.delivered.remove(position, position);
            }
            if state.log.front() == Some(&position) {
                state.log.pop_front();
                while state
                    .log
                    .front()
                    .is_some_and(|front| !in_log(&self.files, *front, owner))
                {
                    state.log.pop_front();
                }
            }
        }
        not_alive
    }

    /// The same for runs out of a record, while it is replayed. A run costs what the owner has in it, whatever
    /// its length.
    pub(crate) fn release_runs(&mut self, owner: OwnerId, runs: impl Iterator<Item = (u64, u64)>) {
        debug_assert!(self.replaying);
        let mut in_log = Vec::new();
        let Some(state) = self.owners.get_mut(&owner) else {
            return;
        };
        for (first, last) in runs {
            let at = state.parts.partition_point(|part| part.last < first);
            for part in state.parts.iter_mut().skip(at) {
                if last < part.first {
                    break;
                }
                part.release_range(first, last);
            }
            if !state.delivered.is_empty() {
                state.delivered.remove(first, last);
            }
            let start = state.log.partition_point(|position| *position < first);
            let positions = state.log.iter().skip(start).copied();
            in_log.extend(positions.take_while(|position| *position <= last));
        }
        self.release(owner, in_log.into_iter());
    }

    pub(crate) fn note_delivered(
        &mut self,
        owner: OwnerId,
        count: u32,
        runs: impl Iterator<Item = (u64, u64)>,
    ) {
        if let Some(state) = self.owners.get_mut(&owner) {
            for (first, last) in runs {
                state.delivered.set(first, last, count);
            }
        }
    }

    /// Ends an owner's hold on everything before a position, but for `keep` (ascending runs).
    pub(crate) fn purge(&mut self, owner: OwnerId, before: u64, keep: &[(u64, u64)]) {
        let kept = |position: u64| {
            let index = keep.partition_point(|(_, last)| *last < position);
            keep.get(index).is_some_and(|(first, _)| *first <= position)
        };
        let Some(state) = self.owners.get(&owner) else {
            return;
        };
        let from_log: Vec<u64> = state
            .log
            .iter()
            .copied()
            .filter(|position| *position < before && !kept(*position))
            .collect();
        // Among them are some that were released before.
        self.release_alive(owner, from_log.into_iter());
        let Some(state) = self.owners.get_mut(&owner) else {
            return;
        };
        let segments = &mut self.segments;
        let replaying = self.replaying;
        state.parts.retain_mut(|part| {
            let was = part.live;
            let kept = part.keep_only(keep);
            if replaying {
                return true;
            }
            part.live = was.min(kept);
            if let Some(segment) = segments.get_mut(&part.segment) {
                segment.note_released(part.index, was - part.live, part.live == 0);
            }
            part.live > 0
        });
        if state.is_empty() {
            state.delivered.clear();
        }
    }

    /// The owner is gone with all it had.
    pub(crate) fn forget(&mut self, owner: OwnerId) {
        self.purge(owner, u64::MAX, &[]);
        self.owners.remove(&owner);
    }

    /// Whether the owner still holds the message.
    pub(crate) fn holds(&self, owner: OwnerId, position: u64) -> bool {
        if let Some(file) = self.file_of(position) {
            return file.find(position, owner).is_some();
        }
        let state = self.owners.get(&owner);
        let part = state.and_then(|state| state.part_of(position));
        part.is_some_and(|part| part.holds(position))
    }

    /// What to read for the owner from a position on, messages in log files up to `messages_max`.
    pub(crate) fn plan_read(&self, owner: OwnerId, from: u64, messages_max: usize) -> ReadStep {
        let Some(state) = self.owners.get(&owner) else {
            return ReadStep::End;
        };
        let part = state.parts.partition_point(|part| part.last < from);
        if let Some(part) = state.parts.get(part) {
            return ReadStep::Part(part.clone());
        }
        let start = state.log.partition_point(|position| *position < from);
        let mut places = Vec::new();
        let mut number = 0;
        for position in state.log.iter().skip(start) {
            if let Some(file) = self.file_of(*position)
                && let Some(place) = file.find(*position, owner)
            {
                if places.len() >= messages_max || number != 0 && number != file.number {
                    break;
                }
                number = file.number;
                places.push((*position, place));
            }
        }
        if places.is_empty() {
            ReadStep::End
        } else {
            ReadStep::Log(number, places)
        }
    }

    /// Learns that messages moved to new segments, and takes account of what was released meanwhile. The old
    /// log file or segments are forgotten.
    pub(crate) fn install(&mut self, source: &Source, built: Vec<Built>) {
        let mut parts = Vec::new();
        let mut segments = Vec::new();
        for built in built {
            let (segment, mut of_segment) = self.take_in(built);
            segments.push(segment);
            parts.append(&mut of_segment);
        }
        match source {
            Source::LogFile => {
                let retired = self.files.pop_front();
                let boundary = self.files.front().map_or(u64::MAX, |file| file.first);
                for (owner, _) in &parts {
                    if let Some(state) = self.owners.get_mut(owner) {
                        state.drop_log_before(boundary, retired.as_ref(), *owner);
                        state.pop_dead(&self.files, *owner);
                    }
                }
            }
            Source::Segments(numbers) => {
                for number in numbers {
                    let segment = self.segments.remove(number);
                    for span in segment.iter().flat_map(|segment| &segment.parts) {
                        if let Some(state) = self.owners.get_mut(&span.owner) {
                            state
                                .parts
                                .retain(|p| p.segment != *number || p.first != span.first);
                        }
                    }
                }
            }
        }
        self.segments.extend(segments);
        for (owner, part) in parts {
            if part.live > 0 {
                let state = self.owners.entry(owner).or_default();
                let at = state.parts.partition_point(|other| other.last < part.first);
                state.parts.insert(at, part);
            }
        }
    }

    fn take_in(&self, built: Built) -> ((u64, Segment), Vec<(OwnerId, Part)>) {
        let mut segment = Segment::new(built.bytes, built.footer_crc, built.record_bytes);
        let mut parts = Vec::with_capacity(built.parts.len());
        for (index, built_part) in built.parts.iter().enumerate() {
            let owner = built_part.owner;
            let first = built_part.positions.first().copied().unwrap_or(0);
            let mut released = RoaringBitmap::new();
            for position in &built_part.positions {
                if !self.holds(owner, *position) {
                    released.insert((position - first) as u32);
                }
            }
            let messages = built_part.positions.len() as u32;
            let gone = released.len() as u32;
            let part = Part {
                segment: built.number,
                index: index as u32,
                first,
                last: built_part.positions.last().copied().unwrap_or(0),
                messages,
                live: messages - gone,
                weight: built_part.weight,
                members: None,
                released: (gone > 0).then(|| Box::new(released)),
            };
            let part = part.with_members(built_part.positions.iter().copied());
            segment.parts.push(Span {
                owner,
                first,
                last: part.last,
            });
            segment.messages += u64::from(messages);
            segment.live_messages += u64::from(messages);
            segment.note_released(part.index, gone, part.live == 0);
            parts.push((owner, part));
        }
        ((built.number, segment), parts)
    }

    /// Learns from a part's index which positions it has, and counts what is alive of it anew.
    pub(crate) fn learn_members(
        &mut self,
        owner: OwnerId,
        (segment, first): (u64, u64),
        positions: impl Iterator<Item = u64>,
    ) {
        let Some(state) = self.owners.get_mut(&owner) else {
            return;
        };
        let at = state.parts.partition_point(|part| part.first < first);
        let part = state.parts.get_mut(at);
        let Some(part) =
            part.filter(|part| (part.segment, part.first) == (segment, first) && !part.is_exact())
        else {
            return;
        };
        *part = part.clone().with_members(positions);
        let (before, live) = (part.live, part.count_live());
        part.live = live;
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.live_messages += u64::from(live);
            segment.live_messages -= u64::from(before);
            if live == 0 {
                segment.dead.insert(part.index);
            }
        }
        if live == 0 {
            state.parts.remove(at);
        }
    }

    /// Ends the replay, every part's `live` being right now: parts with nothing alive go, and segments count.
    pub(crate) fn end_replay(&mut self) {
        self.replaying = false;
        for state in self.owners.values_mut() {
            state.parts.retain(|part| part.live > 0);
        }
        for (number, segment) in &mut self.segments {
            for index in 0..segment.parts.len() {
                let span = segment.parts.get(index);
                let part = span.and_then(|span| part_at(&self.owners, *number, span));
                segment.live_messages += u64::from(part.map_or(0, |part| part.live));
                if part.is_none_or(|part| part.released.is_some()) {
                    segment.touched.insert(index as u32);
                }
                if part.is_none() {
                    segment.dead.insert(index as u32);
                }
            }
            segment.changed = segment.messages - segment.live_messages;
        }
    }

    /// A part, if anything of it is alive.
    pub(crate) fn part_at(&self, segment: u64, span: &Span) -> Option<&Part> {
        part_at(&self.owners, segment, span)
    }

    /// Asserts what must always hold. For tests; it visits everything.
    pub(crate) fn check_invariants(&self) {
        let mut live_of_segments: BTreeMap<u64, u64> = BTreeMap::new();
        let mut live_in_log = 0;
        for (owner, state) in &self.owners {
            assert!(state.parts.is_sorted_by(|a, b| a.last < b.first));
            for part in &state.parts {
                assert!(0 < part.live && part.live <= part.messages && part.first <= part.last);
                assert!(self.segments.contains_key(&part.segment));
                assert!(!part.is_exact() || part.live == part.count_live());
                *live_of_segments.entry(part.segment).or_default() += u64::from(part.live);
            }
            let live = state
                .log
                .iter()
                .filter(|p| in_log(&self.files, **p, *owner));
            assert_eq!(live.count() as u64, state.log_live);
            live_in_log += state.log_live;
            if let (Some(part), Some(front)) = (state.parts.last(), state.log.front()) {
                assert!(part.last < *front);
            }
        }
        for (number, segment) in &self.segments {
            let live = live_of_segments.get(number).copied().unwrap_or(0);
            assert_eq!(live, segment.live_messages, "segment {number}");
        }
        let files: u64 = self.files.iter().map(|file| file.live).sum();
        assert_eq!(files, live_in_log);
    }
}

fn in_log(files: &VecDeque<FileIndex>, position: u64, owner: OwnerId) -> bool {
    let file = files.iter().rev().find(|file| file.first <= position);
    file.is_some_and(|file| file.find(position, owner).is_some())
}

fn part_at<'a>(owners: &'a Owners, segment: u64, span: &Span) -> Option<&'a Part> {
    let parts = &owners.get(&span.owner)?.parts;
    let at = parts.partition_point(|part| part.first < span.first);
    // Where it is gone, the owner's next part may lie in the same segment.
    let part = parts.get(at);
    part.filter(|part| part.segment == segment && part.first == span.first)
}

fn release_in_part(
    state: &mut Owner,
    position: u64,
    segments: &mut BTreeMap<u64, Segment>,
    replaying: bool,
) -> bool {
    let index = state.parts.partition_point(|part| part.last < position);
    let Some(part) = state.parts.get_mut(index) else {
        return false;
    };
    let new = part.release(position);
    if new && !state.delivered.is_empty() {
        state.delivered.remove(position, position);
    }
    if !new || replaying {
        return new;
    }
    // What may not have been a message of the part must not end it.
    let counted = u32::from(part.live > 1 || part.is_exact());
    part.live -= counted;
    if let Some(segment) = segments.get_mut(&part.segment) {
        segment.note_released(part.index, counted, part.live == 0);
        if counted == 0 {
            segment.touched.insert(part.index);
            segment.changed += 1;
        }
    }
    if part.live == 0 {
        state.parts.remove(index);
    }
    true
}

impl Owner {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.log_live == 0
    }

    pub(crate) fn messages(&self) -> u64 {
        let parts = self.parts.iter().map(|part| u64::from(part.live));
        self.log_live + parts.sum::<u64>()
    }

    /// A position from which on all its messages lie.
    pub(crate) fn first(&self) -> Option<u64> {
        let part = self.parts.first().map(|part| part.first);
        part.or_else(|| self.log.front().copied())
    }

    /// A position up to which all its messages lie.
    pub(crate) fn last(&self) -> Option<u64> {
        let part = self.parts.last().map(|part| part.last);
        self.log.back().copied().or(part)
    }

    fn part_of(&self, position: u64) -> Option<&Part> {
        let index = self.parts.partition_point(|part| part.last < position);
        self.parts.get(index)
    }

    fn drop_log_before(&mut self, boundary: u64, retired: Option<&FileIndex>, owner: OwnerId) {
        while let Some(front) = self.log.front().filter(|front| **front < boundary) {
            if let Some(place) = retired.and_then(|file| file.find(*front, owner)) {
                self.log_live -= 1;
                self.log_weight -= u64::from(place.weight);
            }
            self.log.pop_front();
        }
        if self.log.is_empty() {
            self.log.shrink_to(64);
        }
    }

    /// After a retirement the front may be one that is not alive any more.
    fn pop_dead(&mut self, files: &VecDeque<FileIndex>, owner: OwnerId) {
        while self
            .log
            .front()
            .is_some_and(|front| !in_log(files, *front, owner))
        {
            self.log.pop_front();
        }
    }
}

impl Part {
    /// A part of which nothing is released.
    pub(crate) fn whole(segment: u64, index: u32, entry: &DirectoryEntry) -> Self {
        Part {
            segment,
            index,
            first: entry.first,
            last: entry.last,
            messages: entry.messages,
            live: entry.messages,
            weight: entry.weight,
            members: None,
            released: None,
        }
    }

    /// Knows the positions of its messages from here on; that costs nothing where there are no others between.
    pub(crate) fn with_members(mut self, positions: impl Iterator<Item = u64>) -> Self {
        if !self.is_dense() {
            let first = self.first;
            let mut members: RoaringBitmap = positions.map(|p| (p - first) as u32).collect();
            members.optimize();
            self.members = Some(Arc::new(members));
        }
        self
    }

    fn is_dense(&self) -> bool {
        u64::from(self.messages) == self.last - self.first + 1
    }

    /// Whether it is known which positions it has.
    pub(crate) fn is_exact(&self) -> bool {
        self.members.is_some() || self.is_dense()
    }

    fn has(&self, distance: u32) -> bool {
        self.members
            .as_ref()
            .is_none_or(|set| set.contains(distance))
    }

    fn count_live(&self) -> u32 {
        let released = self.released.as_deref();
        let gone = match &self.members {
            Some(members) => released.map_or(0, |set| set.intersection_len(members)),
            None => released.map_or(0, RoaringBitmap::len),
        };
        self.messages - gone as u32
    }

    pub(crate) fn holds(&self, position: u64) -> bool {
        if position < self.first || self.last < position {
            return false;
        }
        let distance = (position - self.first) as u32;
        let released = self.released.as_ref();
        self.has(distance) && !released.is_some_and(|set| set.contains(distance))
    }

    /// Runs of released positions, inclusive. Positions between that are not its own do not divide a run.
    pub(crate) fn released_runs(&self) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        let Some(released) = &self.released else {
            return runs;
        };
        let Some(members) = &self.members else {
            for distance in released.iter() {
                let position = self.first + u64::from(distance);
                match runs.last_mut() {
                    Some((_, last)) if *last + 1 == position => *last = position,
                    _ => runs.push((position, position)),
                }
            }
            return runs;
        };
        let mut joined = false;
        for distance in members.iter() {
            let position = self.first + u64::from(distance);
            let gone = released.contains(distance);
            match runs.last_mut() {
                Some((_, last)) if gone && joined => *last = position,
                _ if gone => runs.push((position, position)),
                _ => {}
            }
            joined = gone;
        }
        runs
    }

    fn release(&mut self, position: u64) -> bool {
        if position < self.first || self.last < position {
            return false;
        }
        let distance = (position - self.first) as u32;
        self.has(distance) && self.released.get_or_insert_default().insert(distance)
    }

    fn release_range(&mut self, first: u64, last: u64) {
        if self.last < first || last < self.first {
            return;
        }
        let first = first.max(self.first) - self.first;
        let last = last.min(self.last) - self.first;
        let released = self.released.get_or_insert_default();
        released.insert_range(first as u32..=last as u32);
    }

    /// Releases all but the kept ones. Gives how many those are.
    fn keep_only(&mut self, keep: &[(u64, u64)]) -> u32 {
        let mut kept = RoaringBitmap::new();
        let start = keep.partition_point(|(_, last)| *last < self.first);
        for (first, last) in keep.iter().skip(start) {
            if *first > self.last {
                break;
            }
            let first = first.max(&self.first) - self.first;
            let last = last.min(&self.last) - self.first;
            kept.insert_range(first as u32..=last as u32);
        }
        if let Some(members) = &self.members {
            kept &= &**members;
        }
        if let Some(released) = &self.released {
            kept -= &**released;
        }
        let kept_len = kept.len() as u32;
        let mut released = RoaringBitmap::new();
        released.insert_range(0..=(self.last - self.first) as u32);
        released -= kept;
        released.optimize();
        self.released = Some(Box::new(released));
        kept_len
    }
}

impl Segment {
    pub(crate) fn new(bytes: u64, footer_crc: u32, record_bytes: u64) -> Self {
        Segment {
            bytes,
            footer_crc,
            record_bytes,
            parts: Vec::new(),
            messages: 0,
            live_messages: 0,
            touched: RoaringBitmap::new(),
            dead: RoaringBitmap::new(),
            live_bytes: record_bytes,
            changed: 0,
            damage: None,
        }
    }

    pub(crate) fn note_released(&mut self, part: u32, messages: u32, dead: bool) {
        if messages == 0 {
            return;
        }
        self.live_messages -= u64::from(messages);
        self.changed += u64::from(messages);
        self.touched.insert(part);
        if dead {
            self.dead.insert(part);
        }
    }

    /// What is alive in bytes, going by numbers since the indexes were last asked.
    pub(crate) fn live_bytes_estimate(&self) -> u64 {
        if self.live_messages == 0 {
            return 0;
        }
        let before = self.live_messages + self.changed;
        (u128::from(self.live_bytes) * u128::from(self.live_messages) / u128::from(before)) as u64
    }
}
