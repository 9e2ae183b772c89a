//! Mending a directory that an open refuses: what is whole is kept, what is not is set aside.
//!
//! Everything that is alive in log files and in damaged segments goes to new segments; sound segments stay. The
//! files that this replaces are first given a second name in a folder, with the report beside them, so nothing
//! is deleted. Then come the new files, then the manifest that names them: until that moment the directory is as
//! it was, and a repair that was cut short is simply done again.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::disk::Disk;
use crate::disk::lenient::LenientDisk;
use crate::examine::{Depth, Examined, examine};
use crate::ledger::{Built, Shared as Fan};
use crate::limits::{FILE_NUMBER_REPAIRED_MAX, LOG_FILE_BYTES, LOG_FILE_BYTES_MIN};
use crate::log_file::{self, HEADER_BYTES, Header, Make, MakeError};
use crate::manifest::{self, Manifest, SegmentState};
use crate::rewrite::{self, Hold, Origin};
use crate::{
    Damage, LogPosition, OwnerId, RecoveredOwner, StorageError, TornTail, record, segment,
};

/// What the report is called in its folder.
pub const REPORT_NAME: &str = "report.txt";

/// What a repair found and did.
#[derive(Debug, Clone)]
pub struct Repaired {
    /// What was damaged.
    pub damages: Vec<Damage>,
    /// What is kept.
    pub owners: Vec<RecoveredOwner>,
    /// Files that were replaced, and lie in the folder now.
    pub set_aside: Vec<String>,
    /// Writes that nobody was told about ended here.
    pub torn: Option<TornTail>,
    /// There was no manifest to go by: messages may come back that their queues were done with.
    pub manifest_lost: bool,
}

/// Mends a directory, offline. `folder` is the name of a new folder in it, `report` writes the text that is kept
/// there. Gives `None`, and changes nothing, where nothing is damaged.
///
/// # Errors
/// What the disk said. The directory can still be repaired then.
pub fn repair(
    disk: Arc<dyn Disk>,
    folder: &str,
    report: &mut dyn FnMut(&Repaired) -> String,
) -> Result<Option<Repaired>, StorageError> {
    let disk = &LenientDisk::new(&*disk);
    let examined = examine(disk, Depth::Messages)?;
    if examined.damages.is_empty() {
        return Ok(None);
    }
    let names = disk
        .list()
        .map_err(|error| StorageError::disk("the directory", error))?;
    let replaced = |name: &&String| {
        log_file::number_of(name).is_some()
            || segment::number_of(name).is_some_and(|number| examined.salvaged.contains(&number))
    };
    let mut set_aside: Vec<String> = names.iter().filter(replaced).cloned().collect();
    set_aside.sort_unstable();
    let repaired = Repaired {
        damages: examined.damages.clone(),
        owners: examined.loaded.recovered_owners(),
        torn: examined.loaded.torn.clone(),
        manifest_lost: examined.loaded.guessed,
        set_aside,
    };
    let repair = Repair {
        disk,
        folder,
        examined: &examined,
        names: &names,
    };
    repair.set_aside(&repaired, &report(&repaired))?;
    repair.renew()?;
    repair.remove(&repaired)?;
    Ok(Some(repaired))
}

struct Repair<'a> {
    disk: &'a LenientDisk<'a>,
    folder: &'a str,
    examined: &'a Examined,
    names: &'a [String],
}

impl Repair<'_> {
    fn set_aside(&self, repaired: &Repaired, report: &str) -> Result<(), StorageError> {
        let failed = |error| StorageError::disk(self.folder, error);
        self.disk.make_folder(self.folder).map_err(failed)?;
        let report_name = format!("{}/{REPORT_NAME}", self.folder);
        let file = self.disk.create(&report_name).map_err(failed)?;
        file.write_at(0, report.as_bytes()).map_err(failed)?;
        file.sync().map_err(failed)?;
        let manifest = self.names.iter().filter(|name| *name == manifest::NAME);
        for name in repaired.set_aside.iter().chain(manifest) {
            let aside = format!("{}/{name}", self.folder);
            self.disk.link(name, &aside).map_err(failed)?;
        }
        self.disk.sync_names().map_err(failed)
    }

    /// Writes what is whole anew, and the manifest that makes it count.
    fn renew(&self) -> Result<(), StorageError> {
        let loaded = &self.examined.loaded;
        let mut manifest = Manifest {
            sequence: number_after([loaded.manifest.sequence]),
            ..loaded.ledger.snapshot()
        };
        // No number that a file has or had is given again.
        let names = self.names.iter();
        let segments = names.filter_map(|name| segment::number_of(name));
        let next_segment = loaded.manifest.next_segment.saturating_sub(1);
        manifest.next_segment = number_after(segments.chain([next_segment]));
        for (origin, holds) in self.holds()? {
            let next = &mut manifest.next_segment;
            let built = rewrite::build(self.disk, LOG_FILE_BYTES, next, vec![origin], holds)?;
            manifest.segments.extend(built.iter().map(state_of));
        }
        let names = self.names.iter();
        let logs = names.filter_map(|name| log_file::number_of(name));
        manifest.first_log = number_after(logs.chain([loaded.manifest.first_log]));
        let newest = manifest.first_log - 1;
        let end = loaded.log_ends.iter().find(|(number, _)| *number == newest);
        let make = Make {
            header: Header {
                number: manifest.first_log,
                first: LogPosition(loaded.next_position),
                // If this is cut short, the next repair reads the file before up to here once more.
                previous_end: end.map_or(HEADER_BYTES as u64, |(_, end)| *end),
                // It stays empty: the open goes on in the next one.
                bytes: LOG_FILE_BYTES_MIN,
            },
            spare: None,
            sync_names: true,
        };
        log_file::make(self.disk, &make).map_err(|error| match error {
            MakeError::Again(error) | MakeError::Fatal(error) => error,
        })?;
        manifest.write(self.disk)
    }

    /// All that is alive in files that are replaced, by file, divided so that no owner's parts overlap.
    fn holds(&self) -> Result<Vec<(Origin, Vec<Hold>)>, StorageError> {
        let loaded = &self.examined.loaded;
        let mut sources: Vec<(Origin, Vec<Hold>)> = Vec::new();
        for file in &loaded.ledger.files {
            let mut holds = Vec::new();
            let _ = file.visit_live(file.first, usize::MAX, |position, owner, place, fan| {
                holds.push(Hold {
                    position,
                    owner,
                    offset: u64::from(place.offset),
                    length: place.length,
                    weight: place.weight,
                    origin: 0,
                    group: 0,
                    transient: place.transient,
                    shared: fan == Fan::Yes,
                });
            });
            if !holds.is_empty() {
                let name = log_file::name(file.number);
                sources.push((self.origin(name, record::salt(file.number))?, holds));
            }
        }
        for number in &self.examined.salvaged {
            let mut holds = Vec::new();
            for (owner, held) in &loaded.salvaged.0 {
                let own = held.values().filter(|(segment, _)| segment == number);
                holds.extend(own.map(|(_, entry)| Hold {
                    position: entry.position,
                    owner: *owner,
                    offset: entry.offset,
                    length: entry.length,
                    weight: entry.weight,
                    origin: 0,
                    group: 0,
                    transient: entry.transient,
                    shared: false,
                }));
            }
            if !holds.is_empty() {
                rewrite::note_shared(&mut holds);
                let name = segment::name(*number);
                sources.push((self.origin(name, record::salt(*number))?, holds));
            }
        }
        self.group(&mut sources);
        Ok(sources)
    }

    fn origin(&self, name: String, salt: u32) -> Result<Origin, StorageError> {
        let file = self.disk.open(&name);
        let file = file.map_err(|error| StorageError::disk(&name, error))?;
        Ok(Origin::new(name, file, salt))
    }

    /// An owner's holds become a new part wherever another file's, or a part that stays, comes between.
    fn group(&self, sources: &mut [(Origin, Vec<Hold>)]) {
        // Owner, position, and which source it comes from: `usize::MAX` for a part that stays.
        let mut all: Vec<(OwnerId, u64, usize)> = Vec::new();
        for (owner, state) in &self.examined.loaded.ledger.owners {
            all.extend(
                state
                    .parts
                    .iter()
                    .map(|part| (*owner, part.first, usize::MAX)),
            );
        }
        for (source, (_, holds)) in sources.iter().enumerate() {
            all.extend(holds.iter().map(|hold| (hold.owner, hold.position, source)));
        }
        all.sort_unstable();
        for (source, (_, holds)) in sources.iter_mut().enumerate() {
            holds.sort_unstable_by_key(|hold| (hold.owner, hold.position));
            let mut own = holds.iter_mut();
            let mut group = 0;
            let mut group_first = 0;
            let mut before = None;
            for (owner, position, from) in &all {
                if *from == source
                    && let Some(hold) = own.next()
                {
                    let joins = before == Some((*owner, source))
                        && u32::try_from(position - group_first).is_ok();
                    if !joins {
                        group += 1;
                        group_first = *position;
                    }
                    hold.group = group;
                }
                before = Some((*owner, *from));
            }
        }
    }

    /// Takes away what the manifest does not name any more: it has its name in the folder.
    fn remove(&self, repaired: &Repaired) -> Result<(), StorageError> {
        let left: BTreeSet<&String> = repaired
            .set_aside
            .iter()
            .chain(&self.examined.loaded.leftovers)
            // What was the next manifest once became the manifest.
            .filter(|name| self.names.contains(name) && *name != manifest::NAME_NEW)
            .collect();
        for name in left {
            let result = self.disk.remove(name);
            result.map_err(|error| StorageError::disk(name, error))?;
        }
        let synced = self.disk.sync_names();
        synced.map_err(|error| StorageError::disk("the directory", error))
    }
}

/// The number behind those that are taken.
fn number_after(taken: impl IntoIterator<Item = u64>) -> u64 {
    let possible = |number: &u64| *number <= FILE_NUMBER_REPAIRED_MAX;
    let newest = taken.into_iter().filter(possible).max();
    newest.map_or(1, |newest| newest + 1)
}

fn state_of(built: &Built) -> SegmentState {
    SegmentState {
        number: built.number,
        bytes: built.bytes,
        footer_crc: built.footer_crc,
        touched: Vec::new(),
    }
}
