//! What is in a log's directory, for an operator: files, owners, damage. Changes nothing.

use std::collections::BTreeMap;

use crate::disk::Disk;
use crate::disk::lenient::LenientDisk;
use crate::examine::{Depth, examine};
use crate::recovery::load::Loaded;
use crate::{
    Damage, LogPosition, OwnerId, RecoveredOwner, StorageError, TornTail, log_file, manifest,
    segment,
};

/// A directory as it was found, every checksum of what is alive verified.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// All files, by name.
    pub files: Vec<InspectedFile>,
    /// Owners that hold something whole, ascending.
    pub owners: Vec<InspectedOwner>,
    /// What is damaged. An open refuses if there is any that it sees; it does not read messages in segments.
    pub damages: Vec<Damage>,
    /// Writes that nobody was told about end here: an open cuts them off.
    pub torn: Option<TornTail>,
    /// Whether the log was closed cleanly.
    pub clean: bool,
    /// The newest position.
    pub last_position: LogPosition,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Says which segments there are, and what of them is released.
    Manifest,
    /// A log file that has not retired.
    Log,
    /// A segment that the manifest names.
    Segment,
    /// Nothing names it: the next open removes or overwrites it.
    Leftover,
    /// Not one of the log's.
    Foreign,
}

/// A file of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedFile {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Its length in bytes.
    pub bytes: u64,
    /// What of that is in use: in a log file up to the end of its records, else all of it.
    pub used_bytes: u64,
    /// Messages alive in it that are whole; one that several owners hold counts for each.
    pub messages: u64,
    /// Whether anything in it is damaged.
    pub damaged: bool,
}

/// An owner with what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InspectedOwner {
    /// Whole messages, their weight, and where they lie.
    pub held: RecoveredOwner,
    /// How many of the messages lie in segments; the others lie in log files.
    pub messages_in_segments: u64,
    /// Damages that name it.
    pub damages: u64,
}

/// Reads a log's directory, offline, and verifies what is alive in it. A message whose queue is done with it is
/// not read.
///
/// # Errors
/// What the disk said. A sector that cannot be read is damage, not an error.
pub fn inspect(disk: &dyn Disk) -> Result<Inspection, StorageError> {
    let disk = &LenientDisk::new(disk);
    let examined = examine(disk, Depth::Messages)?;
    let loaded = &examined.loaded;
    let names = disk
        .list()
        .map_err(|error| StorageError::disk("the directory", error))?;
    let mut files = Vec::with_capacity(names.len());
    let messages = messages_of_files(loaded);
    let owners_of = |name: &str| loaded.leftovers.iter().any(|leftover| leftover == name);
    for name in names {
        let failed = |error| StorageError::disk(&name, error);
        let bytes = disk
            .open(&name)
            .and_then(|file| file.bytes())
            .map_err(failed)?;
        let number = log_file::number_of(&name);
        let end = loaded.log_ends.iter().find(|(log, _)| Some(*log) == number);
        let kind = match () {
            () if owners_of(&name) => FileKind::Leftover,
            () if name == manifest::NAME => FileKind::Manifest,
            () if number.is_some() => FileKind::Log,
            () if segment::number_of(&name).is_some() => FileKind::Segment,
            () => FileKind::Foreign,
        };
        files.push(InspectedFile {
            kind,
            bytes,
            used_bytes: end.map_or(bytes, |(_, end)| *end),
            messages: messages.get(&name).copied().unwrap_or(0),
            damaged: examined.damages.iter().any(|damage| damage.file == name),
            name,
        });
    }
    files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(Inspection {
        files,
        owners: owners(loaded, &examined.damages),
        torn: loaded.torn.clone(),
        clean: loaded.clean,
        last_position: LogPosition(loaded.next_position - 1),
        damages: examined.damages,
    })
}

fn messages_of_files(loaded: &Loaded) -> BTreeMap<String, u64> {
    let ledger = &loaded.ledger;
    let logs = ledger
        .files
        .iter()
        .map(|file| (log_file::name(file.number), file.live));
    let segments = ledger.segments.iter();
    let segments = segments.map(|(number, found)| (segment::name(*number), found.live_messages));
    let mut messages: BTreeMap<String, u64> = logs.chain(segments).collect();
    for (number, _) in loaded.salvaged.0.values().flat_map(BTreeMap::values) {
        *messages.entry(segment::name(*number)).or_default() += 1;
    }
    messages
}

fn owners(loaded: &Loaded, damages: &[Damage]) -> Vec<InspectedOwner> {
    let mut damaged: BTreeMap<OwnerId, u64> = BTreeMap::new();
    for owner in damages.iter().flat_map(|damage| &damage.owners) {
        *damaged.entry(*owner).or_default() += 1;
    }
    let owners = loaded.recovered_owners().into_iter();
    owners
        .map(|held| {
            let state = loaded.ledger.owners.get(&held.owner);
            InspectedOwner {
                held,
                messages_in_segments: held.messages - state.map_or(0, |state| state.log_live),
                damages: damaged.get(&held.owner).copied().unwrap_or(0),
            }
        })
        .collect()
}
