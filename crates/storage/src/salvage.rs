//! Reading a segment from its records alone, when index, directory or footer are lost.
//!
//! A record names just the owners that held it when the segment was written, so with the releases that the
//! manifest and the log know of nothing is missing but what is damaged. Deliberately absent: writing anything.

use std::collections::BTreeMap;

use crate::disk::Disk;
use crate::manifest::SegmentState;
use crate::record::{self, Body};
use crate::segment::{self, HEADER_BYTES, IndexEntry};
use crate::window::Window;
use crate::{OwnerId, StorageError};

/// A segment's whole records.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// Each once for each of its holders.
    pub(crate) holds: Vec<(OwnerId, IndexEntry)>,
    /// Bytes between whole records that are not one: from, and up to.
    pub(crate) holes: Vec<(u64, u64)>,
    /// Behind the last whole record.
    pub(crate) end: u64,
}

/// Reads all records of a segment that are whole.
pub(crate) fn read_records(disk: &dyn Disk, number: u64) -> Result<Records, StorageError> {
    let name = segment::name(number);
    let failed = |error| StorageError::disk(&name, error);
    let file = disk.open(&name).map_err(failed)?;
    let bytes = file.bytes().map_err(failed)?;
    let mut window = Window::new(name.clone(), file, bytes);
    let salt = record::salt(number);
    let mut records = Records {
        end: HEADER_BYTES as u64,
        ..Records::default()
    };
    let mut offset = records.end;
    while offset < bytes {
        let head = window.ahead(offset, record::HEADER_BYTES)?;
        let length = record::peek_length(head).filter(|_| record::may_be_message(head));
        let length = length.filter(|length| u64::from(*length) <= bytes - offset);
        let whole = match length {
            Some(length) => record::decode(window.ahead(offset, length as usize)?, salt),
            None => None,
        };
        let whole = whole.and_then(|record| match record.body {
            Body::Message(message) if message.owners_differ() => Some((record, message)),
            _ => None,
        });
        let Some((record, message)) = whole else {
            offset += 8;
            continue;
        };
        if records.end < offset {
            records.holes.push((records.end, offset));
        }
        let entry = IndexEntry {
            position: record.position.0,
            offset,
            length: record.length,
            weight: message.weight,
            transient: message.transient,
        };
        let owners = message.owners();
        records
            .holds
            .extend(owners.map(|owner| (owner.owner, entry)));
        offset += u64::from(record.length);
        records.end = offset;
    }
    Ok(records)
}

/// What is alive in segments that were read from their records: by owner and position, the segment and the place.
#[derive(Debug, Default)]
pub(crate) struct Salvaged(pub(crate) BTreeMap<OwnerId, BTreeMap<u64, (u64, IndexEntry)>>);

impl Salvaged {
    /// Takes in a segment's records, but for what the manifest says is released, and transient ones. Where a
    /// message is there already it stays what it is.
    pub(crate) fn add(&mut self, number: u64, records: &Records, state: &SegmentState) {
        let mut released: BTreeMap<OwnerId, Vec<(u64, u64)>> = BTreeMap::new();
        for touched in &state.touched {
            let runs = released.entry(touched.owner).or_default();
            runs.extend_from_slice(&touched.runs);
        }
        for runs in released.values_mut() {
            runs.sort_unstable();
        }
        for (owner, entry) in &records.holds {
            let runs = released.get(owner).map_or(&[][..], Vec::as_slice);
            if !entry.transient && !within(runs, entry.position) {
                let held = self.0.entry(*owner).or_default();
                held.entry(entry.position).or_insert((number, *entry));
            }
        }
    }

    pub(crate) fn release_runs(&mut self, owner: OwnerId, runs: impl Iterator<Item = (u64, u64)>) {
        let Some(held) = self.0.get_mut(&owner) else {
            return;
        };
        for (first, last) in runs {
            while let Some((position, _)) = held.range(first..=last).next() {
                let position = *position;
                held.remove(&position);
            }
        }
    }

    /// All of it lies before any record of the log.
    pub(crate) fn purge(&mut self, owner: OwnerId, keep: &[(u64, u64)]) {
        if let Some(held) = self.0.get_mut(&owner) {
            held.retain(|position, _| within(keep, *position));
        }
    }

    pub(crate) fn forget(&mut self, owner: OwnerId) {
        self.0.remove(&owner);
    }

    /// Leaves only what lies before a position.
    pub(crate) fn cut(&mut self, before: u64) {
        for held in self.0.values_mut() {
            held.split_off(&before);
        }
    }
}

/// Whether a position is in one of these ascending runs.
fn within(runs: &[(u64, u64)], position: u64) -> bool {
    let at = runs.partition_point(|(_, last)| *last < position);
    runs.get(at).is_some_and(|(first, _)| *first <= position)
}
