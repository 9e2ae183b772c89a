//! Reading a directory as it is: manifest, footers and directories of segments; then the log is replayed.
//!
//! Nothing is changed, and damage is collected, so that all of it can be told at once.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;

use super::{Progress, RecoveredOwner, TornTail};
use crate::disk::Disk;
use crate::ledger::{Ledger, Part, Segment, Span};
use crate::manifest::{self, Manifest, SegmentState};
use crate::salvage::{self, Salvaged};
use crate::segment::file::SegmentFile;
use crate::segment::{self, DirectoryEntry, IndexEntry};
use crate::{Damage, LogPosition, OwnerId, StorageError, log_file};

/// A directory as it was read, sound or not.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) manifest: Manifest,
    /// There is nothing here yet.
    pub(crate) fresh: bool,
    pub(crate) ledger: Ledger,
    pub(crate) damages: Vec<Damage>,
    pub(crate) torn: Option<TornTail>,
    pub(crate) clean: bool,
    pub(crate) next_position: u64,
    /// The first position that the log has; `None` where no log file can tell.
    pub(crate) log_first: Option<u64>,
    /// The newest log file that was begun, and its end.
    pub(crate) newest: Option<(u64, u64)>,
    /// Log file numbers and the ends of their records.
    pub(crate) log_ends: Vec<(u64, u64)>,
    pub(crate) weights: BTreeMap<OwnerId, u64>,
    /// There was no manifest to go by.
    pub(crate) guessed: bool,
    /// What is alive in segments that were to be read from their records.
    pub(crate) salvaged: Salvaged,
    /// The holes in those, by segment.
    pub(crate) holes: BTreeMap<u64, Vec<(u64, u64)>>,
    /// Files that nothing names any more.
    pub(crate) leftovers: Vec<String>,
}

/// Reads a directory without changing anything. Damage is collected; only the disk's own errors end it.
/// `salvage`: segments of which only the records are to be believed.
pub(crate) fn load(
    disk: &dyn Disk,
    salvage: &BTreeSet<u64>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Loaded, StorageError> {
    let names = disk
        .list()
        .map_err(|error| StorageError::disk("the directory", error))?;
    let logs: BTreeSet<u64> = names
        .iter()
        .filter_map(|name| log_file::number_of(name))
        .collect();
    let mut loaded = Loaded {
        next_position: 1,
        ..Loaded::default()
    };
    loaded.ledger.replaying = true;
    let manifest = match Manifest::read(disk) {
        Err(StorageError::Damaged(damages)) => {
            loaded.damages = damages;
            None
        }
        result => result?,
    };
    let segments_there = names.iter().filter_map(|name| segment::number_of(name));
    loaded.manifest = match manifest {
        Some(manifest) => manifest,
        None => {
            let segments: Vec<u64> = segments_there.clone().collect();
            loaded.fresh = segments.is_empty() && logs.is_empty() && loaded.damages.is_empty();
            loaded.guessed = true;
            loaded.guess_manifest(&segments, &logs)
        }
    };
    let log_files = logs.range(loaded.manifest.first_log..).count();
    let mut done = Progress {
        files_done: 0,
        files: loaded.manifest.segments.len() + log_files,
    };
    let mut file_done = || {
        done.files_done += 1;
        progress(done);
    };
    loaded.load_segments(disk, salvage, &mut file_done)?;
    loaded.load_logs(disk, &logs, &mut file_done)?;
    if let Some(first) = loaded.log_first {
        // What lies behind is the leaving of a step that was cut short.
        loaded.salvaged.cut(first);
    }
    loaded.name_conflicts();
    loaded.pass_segments();
    loaded.apply_delivered();
    loaded.count(disk)?;
    loaded.leftovers = loaded.unnamed(&names);
    Ok(loaded)
}

impl Loaded {
    /// Files that the manifest and the log do not know.
    fn unnamed(&self, names: &[String]) -> Vec<String> {
        let manifest = &self.manifest;
        let segments: BTreeSet<u64> = manifest.segments.iter().map(|s| s.number).collect();
        let newest = self.newest.map(|(newest, _)| newest);
        let unnamed = names.iter().filter(|name| {
            segment::number_of(name).is_some_and(|number| !segments.contains(&number))
                || log_file::number_of(name).is_some_and(|number| {
                    number < manifest.first_log || newest.is_none_or(|newest| newest < number)
                })
                || *name == manifest::NAME_NEW
        });
        unnamed.cloned().collect()
    }

    /// Without a manifest everything that is there counts, and nothing is known to be released but what the log
    /// says. Of log files that is the newest run without a gap: before a gap lies one kept to be written over.
    fn guess_manifest(&mut self, segments: &[u64], logs: &BTreeSet<u64>) -> Manifest {
        if !self.fresh && self.damages.is_empty() {
            let damage = StorageError::damaged(manifest::NAME, 0, "it is missing");
            if let StorageError::Damaged(mut damages) = damage {
                self.damages.append(&mut damages);
            }
        }
        let newest = logs.last().copied().unwrap_or(1);
        let before = logs.iter().rev().zip((0..=newest).rev());
        let first_log = before
            .take_while(|(number, due)| *number == due)
            .last()
            .map_or(1, |(number, _)| *number);
        Manifest {
            sequence: 1,
            first_log,
            next_segment: segments.iter().max().map_or(1, |newest| newest + 1),
            clean: None,
            segments: segments
                .iter()
                .map(|number| SegmentState {
                    number: *number,
                    bytes: 0,
                    footer_crc: 0,
                    touched: Vec::new(),
                })
                .collect(),
            delivered: Vec::new(),
        }
    }

    /// Segments that cannot all be right, because they hold the same positions, or what the log has too. A guessed
    /// manifest names such: the leavings of a step that was cut short. Any other names none, unless it is damaged.
    pub(crate) fn conflicts(&self) -> BTreeSet<u64> {
        let mut found = BTreeSet::new();
        let log_first = self.log_first.unwrap_or(u64::MAX);
        for (owner, state) in &self.ledger.owners {
            let mut before: Option<&Part> = None;
            let salvaged = self.salvaged.0.get(owner);
            for part in &state.parts {
                if let Some(before) = before.filter(|before| part.first <= before.last) {
                    found.extend([before.segment, part.segment]);
                }
                let held = salvaged.and_then(|held| held.range(part.first..=part.last).next());
                if held.is_some() || log_first <= part.last {
                    found.insert(part.segment);
                }
                before = Some(part)
                    .filter(|_| before.is_none_or(|b| b.last < part.last))
                    .or(before);
            }
        }
        found
    }

    fn name_conflicts(&mut self) {
        if !self.guessed {
            for number in self.conflicts() {
                let what = "it holds what another segment, or the log, holds too";
                self.damaged(segment::name(number), 0, what);
            }
        }
    }

    /// The next position lies behind all that are held, even where the log files that would say so are lost.
    fn pass_segments(&mut self) {
        let parts = self.ledger.owners.values();
        let parts = parts.filter_map(|state| state.parts.iter().map(|part| part.last).max());
        let held = self.salvaged.0.values();
        let held = held.filter_map(|held| held.last_key_value().map(|(position, _)| *position));
        let last = parts.chain(held).max().unwrap_or(0);
        self.next_position = self.next_position.max(last + 1);
    }

    fn salvage_segment(
        &mut self,
        disk: &dyn Disk,
        state: &SegmentState,
    ) -> Result<(), StorageError> {
        let records = salvage::read_records(disk, state.number)?;
        self.salvaged.add(state.number, &records, state);
        let mut holes = records.holes;
        // Where the footer says how far the records go, what is missing at their end shows too.
        let file = SegmentFile::open(disk, state.number);
        if let Ok(file) = file
            && records.end < file.footer.records_end
        {
            holes.push((records.end, file.footer.records_end));
        }
        self.holes.insert(state.number, holes);
        for (owner, _) in &records.holds {
            self.ledger.owners.entry(*owner).or_default();
        }
        Ok(())
    }

    fn load_segments(
        &mut self,
        disk: &dyn Disk,
        salvage: &BTreeSet<u64>,
        file_done: &mut dyn FnMut(),
    ) -> Result<(), StorageError> {
        for state in self.manifest.segments.clone().iter().rev() {
            let result = if salvage.contains(&state.number) {
                self.salvage_segment(disk, state)
            } else {
                self.load_segment(disk, state)
            };
            match result {
                Ok(()) => {}
                Err(StorageError::Damaged(mut damages)) => self.damages.append(&mut damages),
                Err(StorageError::Disk { error, file })
                    if error.kind() == std::io::ErrorKind::NotFound =>
                {
                    self.damages.push(Damage {
                        file,
                        offset: 0,
                        what: "it is missing".to_owned(),
                        owners: Vec::new(),
                    });
                }
                Err(error) => return Err(error),
            }
            file_done();
        }
        for owner in self.ledger.owners.values_mut() {
            owner.parts.sort_unstable_by_key(|part| part.first);
        }
        Ok(())
    }

    fn load_segment(&mut self, disk: &dyn Disk, state: &SegmentState) -> Result<(), StorageError> {
        let file = SegmentFile::open(disk, state.number)?;
        let expected = (state.bytes, state.footer_crc);
        if state.bytes > 0 && (file.footer.file_bytes, file.footer_crc) != expected {
            let name = segment::name(state.number);
            return Err(StorageError::damaged(
                name,
                0,
                "it is not the one that the manifest names",
            ));
        }
        let directory = file.directory()?;
        let alien = || {
            let what = "the manifest releases what no part of it has";
            StorageError::damaged(segment::name(state.number), 0, what)
        };
        let mut touched: BTreeMap<(OwnerId, u64), &[(u64, u64)]> = state
            .touched
            .iter()
            .map(|touched| ((touched.owner, touched.first), &touched.runs[..]))
            .collect();
        let record_bytes = file.footer.records_end - segment::HEADER_BYTES as u64;
        let mut segment = Segment::new(file.footer.file_bytes, file.footer_crc, record_bytes);
        for (index, entry) in directory.iter().enumerate() {
            let index = index as u32;
            segment.parts.push(Span {
                owner: entry.owner,
                first: entry.first,
                last: entry.last,
            });
            segment.messages += u64::from(entry.messages);
            let released = match touched.remove(&(entry.owner, entry.first)) {
                Some([all]) if *all == (entry.first, entry.last) => continue,
                Some(runs) => Some(released_set(entry, runs).ok_or_else(alien)?),
                None if entry.transient > 0 => Some(RoaringBitmap::new()),
                None => None,
            };
            let mut part = Part::whole(state.number, index, entry);
            part.released = released.map(Box::new);
            self.ledger
                .owners
                .entry(entry.owner)
                .or_default()
                .parts
                .push(part);
        }
        if !touched.is_empty() {
            return Err(alien());
        }
        self.ledger.segments.insert(state.number, segment);
        Ok(())
    }

    /// Counts and sums up what is alive: of parts of which something is released the indexes tell.
    fn count(&mut self, disk: &dyn Disk) -> Result<(), StorageError> {
        let mut touched: Vec<(u64, u32, OwnerId, u64)> = Vec::new();
        for (owner, state) in &self.ledger.owners {
            let weight = self.weights.entry(*owner).or_default();
            *weight = weight.saturating_add(state.log_weight);
            for part in &state.parts {
                if part.released.is_some() {
                    touched.push((part.segment, part.index, *owner, part.first));
                } else {
                    *weight = weight.saturating_add(part.weight);
                }
            }
        }
        touched.sort_unstable();
        for parts in touched.chunk_by(|a, b| a.0 == b.0) {
            let Some((segment, ..)) = parts.first() else {
                continue;
            };
            let file = SegmentFile::open(disk, *segment)?;
            for (_, _, owner, first) in parts {
                let found = self.ledger.owners.get(owner);
                let parts = found.map_or(&[][..], |state| &state.parts);
                let Some(part) = find_part(parts, *segment, *first).and_then(|at| parts.get(at))
                else {
                    continue;
                };
                match file.index_of(part) {
                    Ok(entries) => self.count_part(*owner, (*segment, *first), &entries),
                    Err(StorageError::Damaged(mut damages)) => self.damages.append(&mut damages),
                    Err(error) => return Err(error),
                }
            }
        }
        self.ledger.end_replay();
        Ok(())
    }

    fn count_part(&mut self, owner: OwnerId, (segment, first): (u64, u64), entries: &[IndexEntry]) {
        let state = self.ledger.owners.get_mut(&owner);
        let parts = state.map_or(&mut [][..], |state| &mut state.parts);
        let found = find_part(parts, segment, first);
        let Some(part) = found.and_then(|at| parts.get_mut(at)) else {
            return;
        };
        let transient = entries.iter().filter(|entry| entry.transient);
        if let Some(released) = &mut part.released {
            released.extend(transient.map(|entry| (entry.position - part.first) as u32));
        }
        let weight = self.weights.entry(owner).or_default();
        let mut live = 0;
        for entry in entries.iter().filter(|entry| part.holds(entry.position)) {
            live += 1;
            *weight = weight.saturating_add(u64::from(entry.weight));
        }
        part.live = live;
        *part = part
            .clone()
            .with_members(entries.iter().map(|entry| entry.position));
    }

    pub(super) fn damaged(&mut self, file: String, offset: u64, what: &str) {
        self.damages.push(Damage {
            file,
            offset,
            what: what.to_owned(),
            owners: Vec::new(),
        });
    }

    pub(crate) fn recovered_owners(&self) -> Vec<RecoveredOwner> {
        let mut owners: Vec<RecoveredOwner> = self
            .ledger
            .owners
            .iter()
            .filter_map(|(owner, state)| {
                Some(RecoveredOwner {
                    owner: *owner,
                    messages: state.messages(),
                    weight: self.weights.get(owner).copied().unwrap_or(0),
                    first: LogPosition(state.first()?),
                    last: LogPosition(state.last()?),
                })
            })
            .filter(|owner| owner.messages > 0)
            .collect();
        for (owner, held) in &self.salvaged.0 {
            let Some(((first, _), (last, _))) = held.first_key_value().zip(held.last_key_value())
            else {
                continue;
            };
            let weights = held.values().map(|(_, entry)| u64::from(entry.weight));
            let salvaged = RecoveredOwner {
                owner: *owner,
                messages: held.len() as u64,
                weight: weights.sum(),
                first: LogPosition(*first),
                last: LogPosition(*last),
            };
            match owners.iter_mut().find(|found| found.owner == *owner) {
                Some(found) => {
                    found.messages += salvaged.messages;
                    found.weight = found.weight.saturating_add(salvaged.weight);
                    found.first = found.first.min(salvaged.first);
                    found.last = found.last.max(salvaged.last);
                }
                None => owners.push(salvaged),
            }
        }
        owners.sort_unstable_by_key(|owner| owner.owner);
        owners
    }
}

/// Where among an owner's parts, sorted by their first positions, one of a segment is.
fn find_part(parts: &[Part], segment: u64, first: u64) -> Option<usize> {
    let at = parts.partition_point(|part| part.first < first);
    let same = parts.iter().skip(at);
    let mut same = same.take_while(|part| part.first == first);
    Some(at + same.position(|part| part.segment == segment)?)
}

fn released_set(entry: &DirectoryEntry, runs: &[(u64, u64)]) -> Option<RoaringBitmap> {
    let mut released = RoaringBitmap::new();
    for (first, last) in runs {
        if *first < entry.first || entry.last < *last {
            return None;
        }
        let distance = |position: u64| (position - entry.first) as u32;
        released.insert_range(distance(*first)..=distance(*last));
    }
    Some(released)
}
