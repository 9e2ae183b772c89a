//! Replaying the log files that have not retired: the only messages that an open reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::TornTail;
use super::load::Loaded;
use crate::StorageError;
use crate::disk::Disk;
use crate::ledger::{FileIndex, Ledger, Place};
use crate::log_file::{self, HEADER_BYTES, Header};
use crate::record::{Body, Record};
use crate::scan::{self, End};

impl Loaded {
    pub(super) fn load_logs(
        &mut self,
        disk: &dyn Disk,
        logs: &BTreeSet<u64>,
    ) -> Result<(), StorageError> {
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
