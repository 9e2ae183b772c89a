//! Writing segments out of what is alive elsewhere: a retiring log file, or segments that became sparse.
//!
//! Records are copied as they are, checked on the way, with the salt of their new home. An owner with much gets a
//! segment of its own; what is small or shared goes together, each owner's lying side by side, fan-outs behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::keeper::Keeper;
use crate::ledger::{Built, Part, Segment, Source};
use crate::limits::{SEGMENTS_SMALL_MAX, segment_own_bytes, segment_small_bytes};
use crate::log::Shared;
use crate::record::{self, Body};
use crate::segment::build::Build;
use crate::segment::file::SegmentFile;
use crate::segment::{self, IndexEntry};
use crate::skipped::{is_unreadable, or_damaged, unreadable};
use crate::window::Window;
use crate::{Damage, LogPosition, OwnerId, StorageError};

/// That an owner holds a message, and where it lies until now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hold {
    pub(crate) position: u64,
    pub(crate) owner: OwnerId,
    pub(crate) offset: u64,
    pub(crate) length: u32,
    pub(crate) weight: u32,
    /// Which of the origins.
    pub(crate) origin: u32,
    /// Which part of the owner's in the new segment.
    pub(crate) group: u32,
    pub(crate) transient: bool,
    /// Several owners hold the very record.
    pub(crate) shared: bool,
}

/// A file that records come from.
pub(crate) struct Origin {
    name: String,
    window: Window,
    salt: u32,
}

impl Origin {
    pub(crate) fn new(name: String, file: Arc<dyn DiskFile>, salt: u32) -> Self {
        Origin {
            window: Window::new(name.clone(), file, u64::MAX),
            name,
            salt,
        }
    }

    /// Puts the record of a hold to `out`, made one of the file with this salt, in which just these owners hold
    /// it (ascending): a segment can be read again from its records alone.
    fn copy_record(
        &mut self,
        hold: &Hold,
        following: &[Hold],
        holders: &[OwnerId],
        salt: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), StorageError> {
        let place = (hold.origin, hold.offset);
        let following = following
            .iter()
            .filter(|next| (next.origin, next.offset) != place)
            .map_while(|next| (next.origin == hold.origin).then_some((next.offset, next.length)));
        let alone = std::iter::empty;
        let read = self.window.wanted(hold.offset, hold.length, following);
        if read.is_err() {
            // Which of them cannot be read shows when this one is read alone.
            let read = self.window.wanted(hold.offset, hold.length, alone());
            let error = read.err();
            error.map_or(Ok(()), |error| Err(self.unreadable(error, hold, holders)))?;
        }
        let bytes = self.window.wanted(hold.offset, hold.length, alone())?;
        let record = record::decode(bytes, self.salt)
            .filter(|record| record.position.0 == hold.position && record.length == hold.length);
        let copied = match record.map(|record| record.body) {
            Some(Body::Message(message)) if message.owners().count() == holders.len() => {
                out.extend_from_slice(bytes);
                record::resalt(out, self.salt, salt);
                message
                    .owners()
                    .all(|entry| holders.binary_search(&entry.owner).is_ok())
            }
            Some(Body::Message(message)) => {
                record::narrow(out, LogPosition(hold.position), salt, &message, holders)
            }
            _ => false,
        };
        if copied {
            return Ok(());
        }
        Err(self.damaged(hold, holders, "a message is damaged".to_owned()))
    }

    fn damaged(&self, hold: &Hold, holders: &[OwnerId], what: String) -> StorageError {
        StorageError::Damaged(vec![Damage {
            file: self.name.clone(),
            offset: hold.offset,
            what,
            owners: holders.to_vec(),
        }])
    }

    fn unreadable(&self, error: StorageError, hold: &Hold, holders: &[OwnerId]) -> StorageError {
        match error {
            StorageError::Disk { error, .. } if is_unreadable(&error) => {
                self.damaged(hold, holders, unreadable(&error))
            }
            other => other,
        }
    }
}

/// Writes segments with these messages, numbered from `next_segment` on. On failure nothing of them is left.
pub(crate) fn build(
    disk: &dyn Disk,
    log_file_bytes: u64,
    next_segment: &mut u64,
    mut origins: Vec<Origin>,
    holds: Vec<Hold>,
) -> Result<Vec<Built>, StorageError> {
    let own_bytes = segment_own_bytes(log_file_bytes);
    let mut begun = Vec::new();
    let mut built = Vec::new();
    for holds in divide(holds, own_bytes) {
        let number = *next_segment;
        *next_segment += 1;
        begun.push(number);
        let result = Build::start(disk, number).and_then(|mut build| {
            copy(&mut build, &mut origins, &holds)?;
            build.finish()
        });
        match result {
            Ok(segment) => built.push(segment),
            Err(error) => {
                for number in begun {
                    // What is left of it is removed at the next open.
                    let _ = disk.remove(&segment::name(number));
                }
                return Err(error);
            }
        }
    }
    let named = disk.sync_names();
    named.map_err(|error| StorageError::disk("the directory", error))?;
    Ok(built)
}

impl Shared {
    pub(crate) fn build(
        &self,
        keeper: &mut Keeper,
        origins: Vec<Origin>,
        holds: Vec<Hold>,
    ) -> Result<Vec<Built>, StorageError> {
        let log_file_bytes = self.options.log_file_bytes;
        let next_segment = &mut keeper.next_segment;
        build(&*self.disk, log_file_bytes, next_segment, origins, holds)
    }

    /// Looks for what can be gained in segments; does one thing.
    pub(crate) fn rewrite_step(
        &self,
        keeper: &mut Keeper,
        idle: bool,
    ) -> Result<bool, StorageError> {
        let segments = &self
            .inner
            .lock()
            .ledger
            .segments
            .iter()
            .filter(|(_, segment)| segment.damage.is_none())
            .map(Sparse::of)
            .collect::<Vec<_>>();
        let asked = segments.iter().find(|segment| {
            segment.changed > 0 && (idle || segment.changed * 16 >= segment.messages)
        });
        if let Some(segment) = asked {
            let number = segment.number;
            let evaluated = self.evaluate(number);
            evaluated.map_err(|error| or_damaged(error, std::iter::once(number)))?;
            return Ok(true);
        }
        let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
        let live: u64 = segments.iter().map(|segment| segment.live_bytes).sum();
        if bytes > 2 * live {
            // Indexes count in what is taken and not in what lives: a segment of tiny messages is mostly index,
            // and is left alone unless there is something to gain.
            let sparse = segments
                .iter()
                .filter(|segment| segment.bytes > 2 * segment.live_bytes)
                .filter(|segment| {
                    segment.record_bytes >= segment.live_bytes + segment.live_bytes / 4
                })
                .max_by_key(|segment| segment.record_bytes - segment.live_bytes);
            if let Some(segment) = sparse {
                self.rewrite(keeper, vec![segment.number])?;
                return Ok(true);
            }
        }
        let small_bytes = segment_small_bytes(self.options.log_file_bytes);
        let small: Vec<u64> = segments
            .iter()
            .filter(|segment| segment.record_bytes < small_bytes)
            .map(|segment| segment.number)
            .collect();
        if small.len() > SEGMENTS_SMALL_MAX {
            self.rewrite(keeper, small)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Asks a segment's indexes how many bytes of it are alive.
    fn evaluate(&self, number: u64) -> Result<(), StorageError> {
        let (parts, changed) = {
            let inner = self.inner.lock();
            let changed = inner.ledger.segments.get(&number).map_or(0, |s| s.changed);
            (inner.ledger.parts_of(number), changed)
        };
        let file = SegmentFile::open(&*self.disk, number)?;
        let mut records = BTreeMap::new();
        let mut single = 0;
        let several = parts.len() > 1;
        for (owner, part) in &parts {
            let entries = file.index_of(part)?;
            if !part.is_exact() {
                let members = entries.iter().map(|entry| entry.position);
                let ledger = &mut self.inner.lock().ledger;
                ledger.learn_members(*owner, (number, part.first), members);
            }
            for entry in entries {
                if !part.holds(entry.position) {
                    continue;
                }
                // Only a segment with several parts can have a record that several hold.
                if several {
                    records.insert(entry.offset, entry.length);
                } else {
                    single += u64::from(entry.length);
                }
            }
        }
        let live = single
            + records
                .values()
                .map(|length| u64::from(*length))
                .sum::<u64>();
        let mut inner = self.inner.lock();
        if let Some(segment) = inner.ledger.segments.get_mut(&number) {
            segment.live_bytes = live;
            segment.changed -= changed;
        }
        Ok(())
    }

    /// Moves what is alive of these segments to new ones.
    pub(crate) fn rewrite(
        &self,
        keeper: &mut Keeper,
        numbers: Vec<u64>,
    ) -> Result<(), StorageError> {
        let sources = numbers.iter().copied();
        let (origins, holds) = self
            .collect_parts(&numbers)
            .map_err(|error| or_damaged(error, sources))?;
        let built = if holds.is_empty() {
            Vec::new()
        } else {
            self.build(keeper, origins, holds)?
        };
        self.install(keeper, &Source::Segments(numbers), built);
        self.write_manifest(keeper, None)
    }

    /// What is alive of these segments, and where it is read from.
    fn collect_parts(&self, numbers: &[u64]) -> Result<(Vec<Origin>, Vec<Hold>), StorageError> {
        let parts = self.inner.lock().ledger.grouped_parts(numbers);
        let mut files = Vec::new();
        let mut origins = Vec::new();
        for number in numbers {
            let file = SegmentFile::open(&*self.disk, *number)?;
            let name = segment::name(*number);
            origins.push(Origin::new(
                name,
                Arc::clone(&file.file),
                record::salt(*number),
            ));
            files.push(file);
        }
        let mut holds = Vec::new();
        for (owner, group, part) in parts {
            let found = files
                .iter()
                .enumerate()
                .find(|(_, file)| file.number == part.segment);
            let Some((origin, file)) = found else {
                continue;
            };
            for entry in file.index_of(&part)? {
                if part.holds(entry.position) {
                    holds.push(Hold {
                        position: entry.position,
                        owner,
                        offset: entry.offset,
                        length: entry.length,
                        weight: entry.weight,
                        origin: origin as u32,
                        group,
                        transient: entry.transient,
                        shared: false,
                    });
                }
            }
        }
        note_shared(&mut holds);
        Ok((origins, holds))
    }
}

/// Finds out which records several owners hold.
pub(crate) fn note_shared(holds: &mut [Hold]) {
    holds.sort_unstable_by_key(|hold| (hold.origin, hold.offset));
    for same in holds.chunk_by_mut(|a, b| (a.origin, a.offset) == (b.origin, b.offset)) {
        let shared = same.len() > 1;
        same.iter_mut().for_each(|hold| hold.shared = shared);
    }
}

/// A segment as the choice of what to rewrite sees it.
struct Sparse {
    number: u64,
    bytes: u64,
    record_bytes: u64,
    live_bytes: u64,
    messages: u64,
    changed: u64,
}

impl Sparse {
    fn of((number, segment): (&u64, &Segment)) -> Self {
        Sparse {
            number: *number,
            bytes: segment.bytes,
            record_bytes: segment.record_bytes,
            live_bytes: segment.live_bytes_estimate(),
            messages: segment.messages,
            changed: segment.changed,
        }
    }
}

/// Divides what is to be written among segments, each in the order in which it shall lie.
fn divide(mut holds: Vec<Hold>, own_bytes: u64) -> Vec<Vec<Hold>> {
    let mut sums: BTreeMap<OwnerId, (u64, u64)> = BTreeMap::new();
    for hold in &holds {
        let (single, shared) = sums.entry(hold.owner).or_default();
        let sum = if hold.shared { shared } else { single };
        *sum += u64::from(hold.length);
    }
    // A segment of one's own means one's own copy of what is shared, which must not cost more than the rest.
    let own: BTreeSet<OwnerId> = sums
        .iter()
        .filter(|(_, (single, shared))| *single >= own_bytes && shared <= single)
        .map(|(owner, _)| *owner)
        .collect();
    holds.sort_unstable_by_key(|hold| {
        if own.contains(&hold.owner) {
            (0, hold.owner.0, 0, hold.position)
        } else if hold.shared {
            // The same record's holders come together.
            (2, u64::from(hold.origin), hold.offset, hold.owner.0)
        } else {
            (1, hold.owner.0, 0, hold.position)
        }
    });
    let owner_of = |hold: &Hold| own.contains(&hold.owner).then_some(hold.owner);
    holds
        .chunk_by(|a, b| owner_of(a) == owner_of(b))
        .map(<[Hold]>::to_vec)
        .collect()
}

fn copy(build: &mut Build, origins: &mut [Origin], holds: &[Hold]) -> Result<(), StorageError> {
    let salt = record::salt(build.number());
    let mut record_bytes = Vec::new();
    // Where the last record was, and is now: those who share it follow each other.
    let mut copied: Option<((u32, u64), (u64, u32))> = None;
    let mut rest = holds;
    while let Some((hold, following)) = rest.split_first() {
        rest = following;
        let place = (hold.origin, hold.offset);
        let (offset, length) = match copied {
            Some((before, written)) if before == place => written,
            _ => {
                let origin = origins
                    .get_mut(hold.origin as usize)
                    .expect("a hold names one of the origins");
                let sharing = following
                    .iter()
                    .take_while(|next| (next.origin, next.offset) == place);
                let sharing = std::iter::once(hold).chain(sharing);
                let holders: Vec<OwnerId> = sharing.clone().map(|hold| hold.owner).collect();
                if sharing.clone().any(|other| other.position != hold.position) {
                    let what = "two messages lie in one place".to_owned();
                    return Err(origin.damaged(hold, &holders, what));
                }
                record_bytes.clear();
                origin.copy_record(hold, following, &holders, salt, &mut record_bytes)?;
                let written = (build.put_record(&record_bytes)?, record_bytes.len() as u32);
                copied = Some((place, written));
                written
            }
        };
        let entry = IndexEntry {
            position: hold.position,
            offset,
            length,
            weight: hold.weight,
            transient: hold.transient,
        };
        build.put_holder(hold.owner, hold.group, entry);
    }
    Ok(())
}

impl crate::ledger::Ledger {
    /// The parts of a segment in which something is alive.
    fn parts_of(&self, number: u64) -> Vec<(OwnerId, Part)> {
        let segment = self.segments.get(&number);
        let parts = segment.into_iter().flat_map(|segment| &segment.parts);
        parts
            .filter_map(|span| Some((span.owner, self.part_at(number, span)?.clone())))
            .collect()
    }

    /// The parts of several segments, each with the number of the part that it becomes: neighbours become one.
    fn grouped_parts(&self, numbers: &[u64]) -> Vec<(OwnerId, u32, Part)> {
        let mut owners: BTreeSet<OwnerId> = BTreeSet::new();
        for number in numbers {
            let segment = self.segments.get(number);
            owners.extend(
                segment
                    .iter()
                    .flat_map(|segment| &segment.parts)
                    .map(|span| span.owner),
            );
        }
        let mut grouped = Vec::new();
        for owner in owners {
            let mut group = 0;
            let mut group_first: Option<u64> = None;
            let state = self.owners.get(&owner);
            for part in state.into_iter().flat_map(|state| &state.parts) {
                if !numbers.contains(&part.segment) {
                    group_first = None;
                    continue;
                }
                let first = group_first.filter(|first| u32::try_from(part.last - first).is_ok());
                if first.is_none() {
                    group += 1;
                    group_first = Some(part.first);
                }
                grouped.push((owner, group, part.clone()));
            }
        }
        grouped
    }
}
