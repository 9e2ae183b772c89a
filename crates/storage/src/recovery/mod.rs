//! Opening: manifest, footers of segments, then the log, and nothing is changed before all of it was sound.
//!
//! Messages are not read, but for the records of the few log files. The ledger comes out as it was, and goes on
//! in a new log file: what a torn tail left is never written over, so it can never be taken for a record later.

pub(crate) mod load;
mod replay;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::disk::Disk;
use crate::disk::lenient::LenientDisk;
use crate::examine::{Depth, examine};
use crate::keeper::Keeper;
use crate::ledger::FileIndex;
use crate::log::{Inner, Log, Options};
use crate::log_file::{self, HEADER_BYTES, Header, Make, MakeError};
use crate::reserve;
use crate::writer::Writer;
use crate::{LogPosition, OwnerId, StorageError};
use load::{Loaded, load};

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

/// How far an open has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Files that have been read.
    pub files_done: usize,
    /// Files that there are to read.
    pub files: usize,
}

/// Where a torn tail was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The log file.
    pub file: String,
    /// The end of what is whole, in bytes.
    pub offset: u64,
}

pub(crate) fn open(
    disk: Arc<dyn Disk>,
    options: Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Log, Recovery), StorageError> {
    let mut loaded = load(&*disk, &BTreeSet::new(), progress)?;
    if !loaded.damages.is_empty() {
        // Once more, to say whose messages are hit.
        let examined = examine(&LenientDisk::new(&*disk), Depth::Open)?;
        return Err(StorageError::Damaged(examined.damages));
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
    let mut newest = None;
    if let Some((number, end)) = loaded.newest {
        // What was read may so far be only in the system's cache, and the next header vouches for it.
        let name = log_file::name(number);
        let synced = disk.open(&name).and_then(|file| {
            file.sync()?;
            Ok(file)
        });
        let file = synced.map_err(|error| StorageError::disk(&name, error))?;
        newest = Some((file, number, end));
    }
    let (number, previous_end) = match loaded.newest {
        Some((newest, end)) => (newest + 1, end),
        None => (loaded.manifest.first_log, 0),
    };
    let mut make = Make {
        header: Header {
            number,
            first: LogPosition(loaded.next_position),
            previous_end,
            bytes: options.log_file_bytes,
        },
        spare: None,
        sync_names: true,
    };
    let reserved = reserve::make(&*disk, options.reserve_bytes())?;
    let begun = log_file::make_in_any_case(&*disk, &mut make).and_then(|file| {
        if let Some((newest, number, end)) = newest {
            log_file::mark_next(&*newest, number, end, &make.header)?;
        }
        Ok(file)
    });
    let file = begun.map_err(|error| match error {
        MakeError::Again(error) | MakeError::Fatal(error) => error,
    })?;
    if loaded.manifest.sequence == 1 {
        // From now on a directory without its log file is damaged, and not one whose making was cut short.
        loaded.manifest.sequence += 1;
        loaded.manifest.write(&*disk)?;
    }
    loaded
        .ledger
        .files
        .push_back(FileIndex::new(number, loaded.next_position));
    let mut inner = Inner::new(
        loaded.ledger,
        loaded.next_position,
        number,
        HEADER_BYTES as u64,
    );
    inner.reserved = reserved;
    let keeper = Keeper::new(&loaded.manifest);
    let writer = Writer::new(file, number);
    Ok(Log::assemble(disk, options, inner, writer, keeper))
}
