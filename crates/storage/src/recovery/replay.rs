//! Replaying the log files that have not retired: the only messages that an open reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::TornTail;
use super::load::Loaded;
use crate::disk::{Disk, DiskFile};
use crate::ledger::{FileIndex, Ledger, Place};
use crate::limits::LOG_FILE_LENGTH_MAX;
use crate::log_file::{self, HEADER_BYTES, Header};
use crate::record::{Body, Record};
use crate::salvage::Salvaged;
use crate::scan::{self, End};
use crate::{LogPosition, StorageError};

/// A log file that is there.
struct Found {
    number: u64,
    /// Or what is wrong with it.
    header: Result<Header, &'static str>,
    file: Arc<dyn DiskFile>,
    bytes: u64,
}

impl Found {
    fn open(disk: &dyn Disk, number: u64) -> Result<Self, StorageError> {
        let name = log_file::name(number);
        let failed = |error| StorageError::disk(&name, error);
        let file = disk.open(&name).map_err(failed)?;
        let bytes = file.bytes().map_err(failed)?;
        let mut head = vec![0; HEADER_BYTES.min(bytes as usize)];
        file.read_at(0, &mut head).map_err(failed)?;
        let header = Header::decode(&head).and_then(|header| {
            if header.number == number {
                Ok(header)
            } else {
                Err("it is another file")
            }
        });
        Ok(Found {
            number,
            header,
            file,
            bytes,
        })
    }

    /// What is wrong with it, if anything is that shows without reading on.
    fn sound(&self) -> Result<(), &'static str> {
        if self.bytes < self.header?.bytes {
            return Err("it is cut off");
        }
        if self.bytes > LOG_FILE_LENGTH_MAX {
            return Err("it is impossibly long");
        }
        Ok(())
    }
}

impl Loaded {
    pub(super) fn load_logs(
        &mut self,
        disk: &dyn Disk,
        logs: &BTreeSet<u64>,
        file_done: &mut dyn FnMut(),
    ) -> Result<(), StorageError> {
        let first_log = self.manifest.first_log;
        let mut files = Vec::new();
        let mut not_begun = None;
        for number in logs.range(first_log..) {
            let found = Found::open(disk, *number)?;
            if let Err(what) = found.sound() {
                let newest = logs.last() == Some(number);
                if newest && !scan::has_mark(*number, Arc::clone(&found.file))? {
                    not_begun = Some((what, found));
                    continue;
                }
                let offset = found.header.map_or(0, |_| found.bytes);
                self.damaged(log_file::name(*number), offset, what);
            }
            files.push(found);
        }
        // The first file of a directory is made right after its manifest; any other is there before a manifest
        // names it, and before its predecessor says that it is.
        let mut due = first_log;
        let mut next_begun = !self.fresh && self.manifest.sequence > 1;
        for (index, found) in files.iter().enumerate() {
            if due < found.number {
                self.damaged(log_file::name(due), 0, "it is missing");
            }
            let next = files.get(index + 1);
            let next = next.filter(|next| next.number == found.number + 1);
            let end = match (next.map(|next| &next.header), self.manifest.clean) {
                (Some(Ok(next)), _) => End::At(next.previous_end),
                (_, Some((clean, end))) if clean == found.number => End::At(end),
                _ => End::Open,
            };
            next_begun = self.load_log(found, end)?;
            file_done();
            due = found.number + 1;
        }
        if next_begun {
            let what = not_begun.as_ref().map_or("it is missing", |(what, _)| what);
            self.damaged(log_file::name(due), 0, what);
            if let Some((_, found)) = not_begun.filter(|(_, found)| found.number == due) {
                // All its marks are lost, and yet there may be records.
                self.load_log(&found, End::Open)?;
            }
        }
        Ok(())
    }

    /// Gives whether it says that the next file was begun.
    fn load_log(&mut self, found: &Found, end: End) -> Result<bool, StorageError> {
        let number = found.number;
        let mut first = match &found.header {
            Ok(header) => Some(header.first),
            // What came before says where it begins, if there was anything.
            Err(_) => (!self.ledger.files.is_empty()).then_some(LogPosition(self.next_position)),
        };
        if let Ok(header) = &found.header {
            let first_file = number == self.manifest.first_log;
            if !first_file && header.first.0 != self.next_position && self.damages.is_empty() {
                let what = "it does not go on where the one before ended";
                self.damaged(log_file::name(number), 16, what);
            }
            // Where a file before is damaged, more may have been recovered than this one knows of.
            first = first.max(Some(LogPosition(self.next_position)).filter(|_| !first_file));
        }
        self.next_position = first.map_or(self.next_position, |first| first.0);
        let index = FileIndex::new(number, self.next_position);
        self.ledger.files.push_back(index);
        let mut known = first.is_some();
        let (ledger, salvaged) = (&mut self.ledger, &mut self.salvaged);
        let mut apply = |record: &Record<'_>, offset: u64| {
            if !std::mem::replace(&mut known, true)
                && let Some(file) = ledger.files.back_mut()
            {
                file.first = record.position.0;
            }
            apply(ledger, salvaged, record, offset);
        };
        let file = Arc::clone(&found.file);
        let mut scanned = scan::scan(number, first, file, end, &mut apply)?;
        let found = self.ledger.files.back().filter(|_| known);
        self.log_first = self.log_first.or(found.map(|file| file.first));
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
        Ok(scanned.next_begun)
    }

    pub(super) fn apply_delivered(&mut self) {
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
}

fn apply(ledger: &mut Ledger, salvaged: &mut Salvaged, record: &Record<'_>, offset: u64) {
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
        Body::Release { owner, runs } => {
            ledger.release_runs(owner, runs.iter());
            salvaged.release_runs(owner, runs.iter());
        }
        Body::Delivered { owner, count, runs } => ledger.note_delivered(owner, count, runs.iter()),
        Body::Purge { owner, keep } => {
            let keep: Vec<(u64, u64)> = keep.iter().collect();
            ledger.purge(owner, record.position.0, &keep);
            salvaged.purge(owner, &keep);
        }
        Body::Forget { owner } => {
            ledger.forget(owner);
            salvaged.forget(owner);
        }
        Body::Mark { .. } => return,
    }
    ledger.push_note();
}
