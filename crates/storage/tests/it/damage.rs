//! Damage: each byte of a small directory flipped, each file cut at each length, each sector zeroed or unreadable.
//!
//! Whatever is done to the files, an open (and reading everything) finds what was there, or names the file. After a
//! repair the directory opens, and holds exactly what was whole: all messages but those whose own record was hit;
//! where the record of a release was hit, what it released is back. Nothing panics. `STORAGE_SEED` picks another
//! directory than those that are always looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use storage::disk::sim::{Chance, Fault, SimDisk};
use storage::{
    Append, Damage, FileKind, Log, LogPosition, Options, OwnerEntry, OwnerId, REPORT_NAME,
    StorageError, inspect, repair,
};

use crate::basics::ALL;

/// What an owner reads: payload, redelivered, delivery count, priority, expiry.
pub(crate) type Message = (Vec<u8>, bool, u32, u8, u64);
pub(crate) type State = BTreeMap<u64, BTreeMap<u64, Message>>;
type Files = BTreeMap<String, Vec<u8>>;

/// A call that changed something.
#[derive(Clone)]
pub(crate) enum Call {
    Push(Vec<(u64, Message)>),
    Release(u64, Vec<u64>),
    Delivered(u64, u32, Vec<u64>),
    Purge(u64, Vec<u64>),
    Forget(u64),
}

/// A directory, and the calls that made it.
struct Case {
    files: Files,
    calls: Vec<(u64, Call)>,
    extents: Vec<Extent>,
}

/// A record in a file.
struct Extent {
    file: String,
    start: usize,
    end: usize,
    position: u64,
    /// For a message: its owners there. Else the record is a note of this position, or a mark.
    owners: Option<Vec<u64>>,
    mark: bool,
}

fn options() -> Options {
    Options {
        log_file_bytes: 4096,
        ..Options::default()
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// Reads where records lie, as docs/formats says.
fn extents(files: &Files) -> Vec<Extent> {
    let mut out = Vec::new();
    for (name, bytes) in files {
        let (mut at, end) = if name.starts_with("log-") {
            (512, bytes.len())
        } else if name.starts_with("segment-") {
            (64, u64_at(bytes, bytes.len() - 64 + 24) as usize)
        } else {
            continue;
        };
        // A file that was written over holds, behind its own records, older ones.
        let mut next = u64_at(bytes, 24);
        while at + 24 <= end {
            let length = u32_at(bytes, at + 4);
            let position = u64_at(bytes, at + 8);
            if length < 24 || at + length > end || name.starts_with("log-") && position < next {
                break;
            }
            next = position;
            let (kind, flags) = (bytes[at + 16], bytes[at + 17]);
            let width = if flags & 2 == 0 { 8 } else { 24 };
            let owners = (0..u32_at(bytes, at + 20))
                .map(|n| at + 28 + n * width)
                .map(|at| u64_at(bytes, at));
            out.push(Extent {
                file: name.clone(),
                start: at,
                end: at + length,
                position,
                owners: if kind == 1 {
                    Some(owners.collect())
                } else {
                    None
                },
                mark: kind == 6,
            });
            at += length;
        }
    }
    out
}

pub(crate) fn held(state: &State, owner: u64) -> Vec<u64> {
    state
        .get(&owner)
        .map(|held| held.keys().copied().collect())
        .unwrap_or_default()
}

/// What the calls make, without some of them, and without some holds.
pub(crate) fn state_of(
    calls: &[(u64, Call)],
    skip: &BTreeSet<u64>,
    lost: &BTreeSet<(u64, u64)>,
) -> State {
    let mut state = State::new();
    for (position, call) in calls
        .iter()
        .filter(|(position, _)| !skip.contains(position))
    {
        match call {
            Call::Push(holds) => {
                for (owner, message) in holds {
                    if !lost.contains(&(*owner, *position)) {
                        let held = state.entry(*owner).or_default();
                        held.insert(*position, message.clone());
                    }
                }
            }
            Call::Release(owner, positions) => {
                for position in positions {
                    state.entry(*owner).or_default().remove(position);
                }
            }
            Call::Delivered(owner, count, positions) => {
                for position in positions {
                    if let Some(held) = state.entry(*owner).or_default().get_mut(position) {
                        (held.1, held.2) = (true, *count);
                    }
                }
            }
            Call::Purge(owner, keep) => {
                let held = state.entry(*owner).or_default();
                held.retain(|position, _| keep.contains(position));
            }
            Call::Forget(owner) => {
                state.remove(owner);
            }
        }
    }
    state.retain(|_, held| !held.is_empty());
    state
}

struct Builder {
    log: Log,
    chance: Chance,
    calls: Vec<(u64, Call)>,
}

impl Builder {
    fn state(&self) -> State {
        state_of(&self.calls, &BTreeSet::new(), &BTreeSet::new())
    }

    fn push(&mut self, owners: &[u64]) {
        let transient = self.chance.one_in(12);
        let long = self.chance.one_in(3);
        let bytes = 10 + self.chance.below(90);
        let payload: Vec<u8> = (0..bytes).map(|_| self.chance.next_u64() as u8).collect();
        let entries: Vec<OwnerEntry> = owners
            .iter()
            .map(|owner| OwnerEntry {
                owner: OwnerId(*owner),
                expires_ms: u64::from(long) * 1_700_000_000_000,
                delivery_count: u32::from(long) * 2,
                priority: u8::from(long) * 7,
            })
            .collect();
        let append = Append {
            owners: &entries,
            transient,
            weight: payload.len() as u32,
            payload: &[&payload],
        };
        let position = self.log.batch().push(&append).expect("there is room");
        let holds = entries.iter().map(|entry| {
            let message = (
                payload.clone(),
                false,
                entry.delivery_count,
                entry.priority,
                entry.expires_ms,
            );
            (entry.owner.0, message)
        });
        // An open forgets transient ones, and that is how the directory is looked at.
        let holds = if transient {
            Vec::new()
        } else {
            holds.collect()
        };
        self.calls.push((position.0, Call::Push(holds)));
    }

    fn some(&mut self, owner: u64) -> Vec<LogPosition> {
        let held = held(&self.state(), owner);
        let some = held.into_iter().filter(|_| self.chance.one_in(3));
        some.map(LogPosition).collect()
    }

    fn note(&mut self) {
        let owner = 1 + self.chance.below(4);
        let some = self.some(owner);
        let positions: Vec<u64> = some.iter().map(|p| p.0).collect();
        if some.is_empty() {
            return;
        }
        let mut batch = self.log.batch();
        let (position, call) = match self.chance.below(8) {
            0 => {
                let position = batch.purge(OwnerId(owner), &some);
                (position, Call::Purge(owner, positions))
            }
            1 | 2 => {
                let position = batch.note_delivered(OwnerId(owner), 3, &some);
                (position, Call::Delivered(owner, 3, positions))
            }
            _ => {
                let position = batch.release(OwnerId(owner), &some);
                (position, Call::Release(owner, positions))
            }
        };
        drop(batch);
        self.calls.push((position.0, call));
    }
}

/// A directory with a manifest that knows of releases, segments of one owner's and of several, fan-outs, and log
/// files with notes on all of them; nobody closed it, but it fell idle.
fn case(seed: u64) -> Case {
    let disk = SimDisk::new(seed);
    let (log, _) = Log::open(Arc::new(disk.clone()), options()).unwrap();
    let mut builder = Builder {
        log: log.clone(),
        chance: Chance::new(seed),
        calls: Vec::new(),
    };
    for round in 0..90 {
        match builder.chance.below(8) {
            0 => builder.push(&[1, 2, 3]),
            1 => builder.push(&[2, 4]),
            2 => builder.note(),
            n => builder.push(&[1 + n % 4]),
        }
        if builder.chance.one_in(3) {
            log.write_step();
        }
        if round < 80 && builder.chance.one_in(4) {
            log.write_step();
            log.keep_step(builder.chance.one_in(2)).unwrap();
        }
    }
    if seed.is_multiple_of(2) {
        let position = builder.log.batch().forget(OwnerId(4));
        builder.calls.push((position.0, Call::Forget(4)));
    }
    log.write_step();
    log.mark_idle();
    let files: Files = disk
        .list_names()
        .into_iter()
        .map(|name| (name.clone(), disk.contents(&name).unwrap()))
        .collect();
    let extents = extents(&files);
    Case {
        files,
        calls: builder.calls,
        extents,
    }
}

fn disk_of(files: &Files) -> SimDisk {
    let disk = SimDisk::new(1);
    for (name, bytes) in files {
        disk.put(name, bytes);
    }
    disk
}

/// What all owners read. `Err`: damage that was found while reading.
pub(crate) fn read_all(log: &Log) -> Result<State, StorageError> {
    let mut state = State::new();
    for owner in log.owners() {
        let held = state.entry(owner.0).or_default();
        log.read(owner, LogPosition(0), ALL, &mut |stored| {
            let message = (
                stored.payload.to_vec(),
                stored.redelivered,
                stored.delivery_count,
                stored.priority,
                stored.expires_ms,
            );
            held.insert(stored.position.0, message);
        })?;
    }
    Ok(state)
}

fn open_and_read(disk: &SimDisk) -> Result<State, StorageError> {
    let (log, _) = Log::open(Arc::new(disk.clone()), options())?;
    log.check_invariants();
    read_all(&log)
}

fn repair_sim(disk: &SimDisk, folder: &str) -> Option<storage::Repaired> {
    let shared = Arc::new(disk.clone());
    repair(shared, folder, &mut |repaired| format!("{repaired:?}")).expect("it can be repaired")
}

impl Case {
    fn full(&self) -> State {
        state_of(&self.calls, &BTreeSet::new(), &BTreeSet::new())
    }

    /// Every byte of a file, but of what is set aside behind the last record of a log file only some.
    fn places(&self, name: &str, bytes: usize) -> Vec<usize> {
        let own = self.extents.iter().filter(|extent| extent.file == name);
        let end = own.map(|extent| extent.end).max().unwrap_or(0);
        let used = if name.starts_with("log-") {
            end.max(512) + 64
        } else {
            bytes
        };
        let behind = (used..bytes).step_by(61);
        (0..used.min(bytes)).chain(behind).collect()
    }

    /// Whether this is just what is whole when these bytes of a file are not what they were. Where the record of a
    /// release was hit, what it released may be back, unless the manifest or a later segment knew of it.
    fn check_whole(
        &self,
        state: &State,
        file: &str,
        hit: impl Fn(usize, usize) -> bool,
        what: &str,
    ) {
        let mut skip = BTreeSet::new();
        let mut lost = BTreeSet::new();
        for extent in &self.extents {
            if extent.file != file || extent.mark || !hit(extent.start, extent.end) {
                continue;
            }
            match &extent.owners {
                Some(owners) => lost.extend(owners.iter().map(|owner| (*owner, extent.position))),
                None => {
                    skip.insert(extent.position);
                }
            }
        }
        let least = state_of(&self.calls, &BTreeSet::new(), &lost);
        let most = state_of(&self.calls, &skip, &lost);
        let find = |state: &State, owner, position| -> Option<Message> {
            state.get(&owner)?.get(&position).cloned()
        };
        for (owner, held) in &least {
            for position in held.keys() {
                let found = find(state, *owner, *position);
                assert!(found.is_some(), "{what}: {owner} lost {position}");
            }
        }
        for (owner, held) in state {
            for (position, message) in held {
                let found = find(&most, *owner, *position);
                let mut found = found.unwrap_or_else(|| panic!("{what}: {owner} has {position}"));
                // Of two notes that were hit the manifest may have known one.
                if (message.1, message.2) == (true, 3) {
                    (found.1, found.2) = (true, 3);
                }
                assert_eq!(*message, found, "{what}: {owner} has {position}");
            }
        }
    }

    /// Looks at a directory in which one file was changed. `hit` says of a range of it whether it was.
    fn check(&self, disk: &SimDisk, file: &str, hit: impl Fn(usize, usize) -> bool, what: &str) {
        let full = self.full();
        let before = snapshot(disk);
        let copy = disk_like(disk, &before);
        let opened = open_and_read(&copy);
        if Log::open(Arc::new(disk_like(disk, &before)), options()).is_err() {
            assert_eq!(
                copy.operations(),
                0,
                "{what}: an open that fails changes nothing"
            );
        }
        let damaged = match opened {
            Ok(state) => {
                assert_eq!(state, full, "{what}: something changed in silence");
                false
            }
            Err(StorageError::Damaged(damages)) => {
                assert!(names(&damages, file), "{what}: {damages:?}");
                true
            }
            Err(StorageError::Disk { file: named, .. }) => {
                assert_eq!(named, file, "{what}");
                true
            }
            Err(error) => panic!("{what}: {error}"),
        };
        let inspection = inspect(disk).expect("it can be inspected");
        assert_eq!(snapshot(disk), before, "{what}: inspecting changes nothing");
        // An open does not meet damage in what nobody reads.
        assert!(!damaged || !inspection.damages.is_empty(), "{what}");
        // A sector that cannot be read is damage even if nothing alive stands there.
        let lenient = !disk.spoiled().is_empty();
        let sound = inspection.damages.is_empty();
        assert!(sound != damaged || lenient, "{what}: {inspection:?}");
        let Some(repaired) = repair_sim(disk, "aside") else {
            assert!(!damaged, "{what}");
            assert_eq!(snapshot(disk), before, "{what}: nothing to repair");
            return;
        };
        assert!(names(&repaired.damages, file), "{what}: {repaired:?}");
        let report = format!("aside/{REPORT_NAME}");
        assert!(disk.contents(&report).is_some(), "{what}");
        assert!(
            repair_sim(disk, "again").is_none(),
            "{what}: it is sound after a repair"
        );
        for (name, bytes) in &before {
            let aside = disk.contents(&format!("aside/{name}"));
            let kept = disk.contents(name).as_ref() == Some(bytes) || aside.as_ref() == Some(bytes);
            assert!(kept || name == "manifest.new", "{what}: {name} is gone");
        }
        let state = open_and_read(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
        if file == "manifest" {
            self.check_without_manifest(&state, what);
        } else {
            self.check_whole(&state, file, hit, what);
        }
    }

    /// Of what only the manifest knew to be released, something may be back, as it was; nothing is missing.
    fn check_without_manifest(&self, state: &State, what: &str) {
        for (owner, held) in &self.full() {
            for (position, message) in held {
                let found = state.get(owner).and_then(|held| held.get(position));
                let found = found.unwrap_or_else(|| panic!("{what}: {owner} lost {position}"));
                assert_eq!(found.0, message.0, "{what}");
            }
        }
        let pushed: BTreeMap<(u64, u64), &Message> = self
            .calls
            .iter()
            .filter_map(|(position, call)| match call {
                Call::Push(holds) => Some((position, holds)),
                _ => None,
            })
            .flat_map(|(position, holds)| holds.iter().map(|(o, m)| ((*o, *position), m)))
            .collect();
        for (owner, held) in state {
            for (position, message) in held {
                let found = pushed
                    .get(&(*owner, *position))
                    .expect("it was pushed once");
                assert_eq!(found.0, message.0, "{what}");
            }
        }
    }
}

fn names(damages: &[Damage], file: &str) -> bool {
    !damages.is_empty() && damages.iter().all(|damage| damage.file == file)
}

fn snapshot(disk: &SimDisk) -> Files {
    let names = disk.list_names().into_iter();
    names
        .map(|name| (name.clone(), disk.contents(&name).unwrap()))
        .collect()
}

/// The same files, and the same sectors that cannot be read.
fn disk_like(disk: &SimDisk, files: &Files) -> SimDisk {
    let other = disk_of(files);
    for (name, sector) in disk.spoiled() {
        other.spoil(&name, sector);
    }
    other
}

fn cases() -> Vec<Case> {
    let seed = std::env::var("STORAGE_SEED").ok();
    let seeds = match seed.and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => vec![1, 2],
    };
    let cases: Vec<Case> = seeds.into_iter().map(case).collect();
    for case in &cases {
        let inspection = inspect(&disk_of(&case.files)).unwrap();
        assert_eq!(inspection.damages, []);
        assert!(inspection.torn.is_none());
        let kind = |kind| inspection.files.iter().filter(|f| f.kind == kind).count();
        assert!(kind(FileKind::Segment) > 1 && kind(FileKind::Log) > 1);
        assert_eq!(open_and_read(&disk_of(&case.files)).unwrap(), case.full());
        let messages: u64 = inspection.owners.iter().map(|o| o.held.messages).sum();
        let full = case.full();
        assert_eq!(messages as usize, full.values().map(BTreeMap::len).sum());
    }
    cases
}

/// All files but those that nothing names.
fn named_files(case: &Case) -> Vec<(String, Vec<u8>)> {
    let inspection = inspect(&disk_of(&case.files)).unwrap();
    let files = inspection.files.iter();
    let named = files.filter(|file| file.kind != FileKind::Leftover);
    named
        .map(|file| (file.name.clone(), case.files[&file.name].clone()))
        .collect()
}

#[test]
fn any_flipped_byte_is_named_or_harmless() {
    for case in cases().into_iter().take(1) {
        for (name, mut bytes) in named_files(&case) {
            for at in case.places(&name, bytes.len()) {
                let flip = [0xFF, 1, 0x80, 0x20][at % 4];
                bytes[at] ^= flip;
                let disk = disk_of(&case.files);
                disk.put(&name, &bytes);
                let hit = |start, end| (start..end).contains(&at);
                case.check(&disk, &name, hit, &format!("{name} byte {at} ^ {flip}"));
                bytes[at] ^= flip;
            }
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_named_or_harmless() {
    for case in cases().into_iter().take(1) {
        for (name, bytes) in named_files(&case) {
            for length in case.places(&name, bytes.len()) {
                let disk = disk_of(&case.files);
                disk.put(&name, &bytes[..length]);
                let what = format!("{name} cut to {length}");
                case.check(&disk, &name, |_, end| length < end, &what);
            }
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    for case in cases() {
        for (name, _) in named_files(&case) {
            let disk = disk_of(&case.files);
            storage::disk::Disk::remove(&disk, &name).unwrap();
            case.check(&disk, &name, |_, _| true, &format!("{name} is gone"));
        }
    }
}

#[test]
fn a_zeroed_or_unreadable_sector_is_named_or_harmless() {
    for case in cases() {
        for (name, bytes) in named_files(&case) {
            for sector in 0..bytes.len().div_ceil(512) {
                let from = sector * 512;
                let to = (from + 512).min(bytes.len());
                let mut zeroed = bytes.clone();
                zeroed[from..to].fill(0);
                let disk = disk_of(&case.files);
                disk.put(&name, &zeroed);
                let hit = |start: usize, end: usize| start < to && from < end;
                case.check(&disk, &name, hit, &format!("{name} sector {sector} zeroed"));
                let disk = disk_of(&case.files);
                disk.spoil(&name, sector as u64);
                let what = format!("{name} sector {sector} unreadable");
                case.check(&disk, &name, hit, &what);
            }
        }
    }
}

#[test]
fn a_repair_that_is_cut_short_is_done_again() {
    for case in cases() {
        for (name, mut bytes) in named_files(&case) {
            let at = bytes.len() / 3;
            bytes[at] ^= 0x10;
            let mut operation = 0;
            loop {
                let disk = disk_of(&case.files);
                disk.put(&name, &bytes);
                let fault = [Fault::PowerCut, Fault::Io, Fault::Full][operation as usize % 3];
                disk.plan(disk.operations() + operation, fault);
                let result = repair(Arc::new(disk.clone()), "first", &mut |_| {
                    "report".to_owned()
                });
                disk.plan_nothing();
                if result.is_ok() {
                    break;
                }
                disk.power_off();
                disk.power_on();
                repair_sim(&disk, "second");
                let what = format!("{name} byte {at}, {fault:?} at operation {operation}");
                let state = open_and_read(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
                if name == "manifest" {
                    case.check_without_manifest(&state, &what);
                } else {
                    let hit = |start, end| (start..end).contains(&at);
                    case.check_whole(&state, &name, hit, &what);
                }
                operation += 1;
            }
        }
    }
}
