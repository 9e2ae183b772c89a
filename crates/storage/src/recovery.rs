//! Opening: manifest, footers of segments, then the log, and nothing is changed before all of it was sound.
//!
//! Messages are not read, but for the records of the few log files. The ledger comes out as it was, and goes on
//! in a new log file: what a torn tail left is never written over, so it can never be taken for a record later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::disk::Disk;
use crate::keeper::Keeper;
use crate::ledger::{FileIndex, Ledger, Part, Place, Segment};
use crate::log::{Inner, Log, Options};
use crate::log_file::{self, HEADER_BYTES, Header, Make, MakeError};
use crate::manifest::{self, Manifest, Released, SegmentState};
use crate::record::{Body, Record};
use crate::scan::{self, End};
use crate::segment::file::SegmentFile;
use crate::segment::{self, DirectoryEntry, IndexEntry};
use crate::writer::Writer;
use crate::{Damage, LogPosition, OwnerId, StorageError};

/// What an open found.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    /// Owners that hold something, ascending.
    pub owners: Vec<RecoveredOwner>,
    /// Whether the log was closed cleanly. If not, any message may have been delivered before, noted or not.
    pub clean: bool,
    /// Writes that nobody was told about were cut off here.
    pub torn: Option<TornTail>,
    /// The newest position that was recovered.
    pub last_position: LogPosition,
}

/// An owner as it was recovered: its messages lie between two positions and are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveredOwner {
    /// Whose.
    pub owner: OwnerId,
    /// How many messages.
    pub messages: u64,
    /// The sum of their weights.
    pub weight: u64,
    /// None lies before.
    pub first: LogPosition,
    /// None lies behind.
    pub last: LogPosition,
}

/// Where a torn tail was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The log file.
    pub file: String,
    /// The end of what is whole, in bytes.
    pub offset: u64,
}

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
    /// The newest log file that was begun, and its end.
    pub(crate) newest: Option<(u64, u64)>,
    /// Log file numbers and the ends of their records.
    pub(crate) log_ends: Vec<(u64, u64)>,
    pub(crate) weights: BTreeMap<OwnerId, u64>,
    /// Files that nothing names any more.
    pub(crate) leftovers: Vec<String>,
}

pub(crate) fn open(disk: Arc<dyn Disk>, options: Options) -> Result<(Log, Recovery), StorageError> {
    let mut loaded = load(&*disk)?;
    if !loaded.damages.is_empty() {
        return Err(StorageError::Damaged(loaded.damages));
    }
    let recovery = Recovery {
        owners: loaded.recovered_owners(),
        clean: loaded.clean,
        torn: loaded.torn.take(),
        last_position: LogPosition(loaded.next_position - 1),
    };
    let log = begin(disk, options, loaded)?;
    Ok((log, recovery))
}

/// Goes on from what was loaded: the first change on the disk.
pub(crate) fn begin(
    disk: Arc<dyn Disk>,
    options: Options,
    mut loaded: Loaded,
) -> Result<Log, StorageError> {
    for name in &loaded.leftovers {
        disk.remove(name)
            .map_err(|error| StorageError::disk(name, error))?;
    }
    if loaded.fresh {
        loaded.manifest.write(&*disk)?;
    }
    if let Some((number, _)) = loaded.newest {
        // What was read may so far be only in the system's cache, and the next header vouches for it.
        let name = log_file::name(number);
        let file = disk
            .open(&name)
            .map_err(|error| StorageError::disk(&name, error))?;
        file.sync()
            .map_err(|error| StorageError::disk(&name, error))?;
    }
    let (number, previous_end) = match loaded.newest {
        Some((newest, end)) => (newest + 1, end),
        None => (loaded.manifest.first_log, 0),
    };
    let make = Make {
        header: Header {
            number,
            first: LogPosition(loaded.next_position),
            previous_end,
        },
        bytes: options.log_file_bytes,
        spare: None,
        sync_names: true,
    };
    let file = log_file::make(&*disk, &make).map_err(|error| match error {
        MakeError::Again(error) | MakeError::Fatal(error) => error,
    })?;
    loaded
        .ledger
        .files
        .push_back(FileIndex::new(number, loaded.next_position));
    let inner = Inner::new(
        loaded.ledger,
        loaded.next_position,
        number,
        HEADER_BYTES as u64,
    );
    let keeper = Keeper::new(&loaded.manifest);
    Ok(Log::assemble(
        disk,
        options,
        inner,
        Writer::new(file, number),
        keeper,
    ))
}

/// Reads a directory without changing anything. Damage is collected; only the disk's own errors end it.
pub(crate) fn load(disk: &dyn Disk) -> Result<Loaded, StorageError> {
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
            loaded.guess_manifest(&segments, &logs)
        }
    };
    loaded.load_segments(disk)?;
    loaded.load_logs(disk, &logs)?;
    loaded.apply_delivered();
    loaded.count(disk)?;
    let manifest = &loaded.manifest;
    let named = |number: u64| {
        manifest
            .segments
            .iter()
            .any(|segment| segment.number == number)
    };
    loaded.leftovers = names
        .iter()
        .filter(|name| {
            segment::number_of(name).is_some_and(|number| !named(number))
                || log_file::number_of(name).is_some_and(|number| {
                    number < manifest.first_log
                        || loaded.newest.is_none_or(|(newest, _)| newest < number)
                })
                || *name == manifest::NAME_NEW
        })
        .cloned()
        .collect();
    Ok(loaded)
}

impl Loaded {
    /// Without a manifest everything that is there counts, and nothing is known to be released.
    fn guess_manifest(&mut self, segments: &[u64], logs: &BTreeSet<u64>) -> Manifest {
        if !self.fresh && self.damages.is_empty() {
            let damage = StorageError::damaged(manifest::NAME, 0, "it is missing");
            if let StorageError::Damaged(mut damages) = damage {
                self.damages.append(&mut damages);
            }
        }
        Manifest {
            sequence: 1,
            first_log: logs.first().copied().unwrap_or(1),
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

    fn load_segments(&mut self, disk: &dyn Disk) -> Result<(), StorageError> {
        for state in self.manifest.segments.clone() {
            match self.load_segment(disk, &state) {
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
        let touched: BTreeMap<u32, &Released> = state
            .touched
            .iter()
            .map(|(part, released)| (*part, released))
            .collect();
        let record_bytes = file.footer.records_end - segment::HEADER_BYTES as u64;
        let mut segment = Segment::new(file.footer.file_bytes, file.footer_crc, record_bytes);
        for (index, entry) in directory.iter().enumerate() {
            let index = index as u32;
            segment.parts.push((entry.owner, entry.first));
            segment.messages += u64::from(entry.messages);
            let released = match touched.get(&index) {
                Some(Released::All) => continue,
                Some(Released::Runs(runs)) => Some(released_set(entry, runs)?),
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
        self.ledger.segments.insert(state.number, segment);
        Ok(())
    }

    /// Counts and sums up what is alive: of parts of which something is released the indexes tell.
    fn count(&mut self, disk: &dyn Disk) -> Result<(), StorageError> {
        let mut touched: Vec<(u64, u32, OwnerId, u64)> = Vec::new();
        for (owner, state) in &self.ledger.owners {
            let weight = self.weights.entry(*owner).or_default();
            *weight += state.log_weight;
            for part in &state.parts {
                if part.released.is_some() {
                    touched.push((part.segment, part.index, *owner, part.first));
                } else {
                    *weight += part.weight;
                }
            }
        }
        touched.sort_unstable();
        for parts in touched.chunk_by(|a, b| a.0 == b.0) {
            let Some((segment, ..)) = parts.first() else {
                continue;
            };
            let file = SegmentFile::open(disk, *segment)?;
            for (_, index, owner, first) in parts {
                match file
                    .directory_entry(*index)
                    .and_then(|entry| file.index(&entry))
                {
                    Ok(entries) => self.count_part(*owner, *first, &entries),
                    Err(StorageError::Damaged(mut damages)) => self.damages.append(&mut damages),
                    Err(error) => return Err(error),
                }
            }
        }
        self.ledger.end_replay();
        Ok(())
    }

    fn count_part(&mut self, owner: OwnerId, first: u64, entries: &[IndexEntry]) {
        let state = self.ledger.owners.get_mut(&owner);
        let parts = state.map_or(&mut [][..], |state| &mut state.parts);
        let Some(part) = parts.iter_mut().find(|part| part.first == first) else {
            return;
        };
        let transient = entries.iter().filter(|entry| entry.transient);
        if let Some(released) = &mut part.released {
            released.extend(transient.map(|entry| (entry.position - first) as u32));
        }
        let weight = self.weights.entry(owner).or_default();
        let mut live = 0;
        for entry in entries.iter().filter(|entry| part.holds(entry.position)) {
            live += 1;
            *weight += u64::from(entry.weight);
        }
        part.live = live;
        *part = part
            .clone()
            .with_members(entries.iter().map(|entry| entry.position));
    }

    fn load_logs(&mut self, disk: &dyn Disk, logs: &BTreeSet<u64>) -> Result<(), StorageError> {
        let first_log = self.manifest.first_log;
        let mut headers = BTreeMap::new();
        for number in logs.range(first_log..) {
            let name = log_file::name(*number);
            let file = disk
                .open(&name)
                .map_err(|error| StorageError::disk(&name, error))?;
            let bytes = file
                .bytes()
                .map_err(|error| StorageError::disk(&name, error))?;
            let mut head = vec![0; HEADER_BYTES.min(bytes as usize)];
            file.read_at(0, &mut head)
                .map_err(|error| StorageError::disk(&name, error))?;
            let header = Header::decode(&head).and_then(|header| {
                if header.number == *number {
                    Ok(header)
                } else {
                    Err("it is another file")
                }
            });
            match header {
                Ok(header) => {
                    headers.insert(*number, (header, file));
                }
                Err(what) => {
                    let newest = logs.last() == Some(number);
                    if newest && !scan::has_mark(*number, Arc::clone(&file))? {
                        continue;
                    }
                    self.damaged(name, 0, what);
                }
            }
        }
        let Some(newest) = headers.keys().last().copied() else {
            // The first file of a directory is made right after its manifest; any other is there before a
            // manifest names it.
            if !self.fresh && self.manifest.sequence > 1 && self.damages.is_empty() {
                self.damaged(log_file::name(first_log), 0, "it is missing");
            }
            return Ok(());
        };
        for number in first_log..=newest {
            let Some((header, file)) = headers.get(&number) else {
                if !logs.contains(&number) {
                    self.damaged(log_file::name(number), 0, "it is missing");
                }
                continue;
            };
            let end = match headers.get(&(number + 1)) {
                Some((next, _)) => End::At(next.previous_end),
                None => match self.manifest.clean {
                    Some((clean, end)) if clean == number => End::At(end),
                    _ => End::Open,
                },
            };
            self.load_log(header, Arc::clone(file), end)?;
        }
        Ok(())
    }

    fn load_log(
        &mut self,
        header: &Header,
        file: Arc<dyn crate::disk::DiskFile>,
        end: End,
    ) -> Result<(), StorageError> {
        let number = header.number;
        let first_file = number == self.manifest.first_log;
        if !first_file && header.first.0 != self.next_position && self.damages.is_empty() {
            self.damaged(
                log_file::name(number),
                16,
                "it does not go on where the one before ended",
            );
        }
        self.next_position = header.first.0.max(self.next_position);
        self.ledger
            .files
            .push_back(FileIndex::new(number, self.next_position));
        let ledger = &mut self.ledger;
        let mut scanned = scan::scan(number, header.first, file, end, &mut |record, offset| {
            apply(ledger, record, offset);
        })?;
        self.next_position = self.next_position.max(scanned.next);
        self.damages.append(&mut scanned.damages);
        if scanned.torn {
            self.torn = Some(TornTail {
                file: log_file::name(number),
                offset: scanned.end,
            });
        }
        self.newest = Some((number, scanned.end));
        self.log_ends.push((number, scanned.end));
        self.clean = self.manifest.clean == self.newest;
        Ok(())
    }

    fn apply_delivered(&mut self) {
        // Notes in the log are newer than those in the manifest.
        for (owner, runs) in std::mem::take(&mut self.manifest.delivered) {
            if let Some(state) = self.ledger.owners.get_mut(&owner) {
                let newer = std::mem::take(&mut state.delivered);
                for (first, last, count) in runs {
                    state.delivered.set(first, last, count);
                }
                for (first, last, count) in newer.iter() {
                    state.delivered.set(first, last, count);
                }
            }
        }
    }

    fn damaged(&mut self, file: String, offset: u64, what: &str) {
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
        owners.sort_unstable_by_key(|owner| owner.owner);
        owners
    }
}

fn released_set(
    entry: &DirectoryEntry,
    runs: &[(u64, u64)],
) -> Result<RoaringBitmap, StorageError> {
    let mut released = RoaringBitmap::new();
    for (first, last) in runs {
        if *first < entry.first || entry.last < *last {
            let what = "it releases what no part has";
            return Err(StorageError::damaged(manifest::NAME, 0, what));
        }
        let distance = |position: u64| (position - entry.first) as u32;
        released.insert_range(distance(*first)..=distance(*last));
    }
    Ok(released)
}

fn apply(ledger: &mut Ledger, record: &Record<'_>, offset: u64) {
    // Behind damage positions may be missing; the index has one entry for each.
    while ledger
        .files
        .back()
        .is_some_and(|file| file.end() < record.position.0)
    {
        ledger.push_note();
    }
    match record.body {
        Body::Message(message) if !message.transient => {
            let place = Place {
                offset: offset as u32,
                length: record.length,
                weight: message.weight,
                transient: false,
            };
            ledger.push_message(message.owners(), place);
            return;
        }
        Body::Message(_) => {}
        Body::Release { owner, runs } => ledger.release_runs(owner, runs.iter()),
        Body::Delivered { owner, count, runs } => ledger.note_delivered(owner, count, runs.iter()),
        Body::Purge { owner, keep } => {
            let keep: Vec<(u64, u64)> = keep.iter().collect();
            ledger.purge(owner, record.position.0, &keep);
        }
        Body::Forget { owner } => ledger.forget(owner),
        Body::Mark { .. } => return,
    }
    ledger.push_note();
}
