//! Writing a segment: records as they come, then index, directory, footer.
//!
//! Written in large blocks, and synced; nobody knows of it before that. Records arrive in the order
//! in which they shall lie; each says whose it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{DirectoryEntry, Footer, HEADER_BYTES, IndexEntry, encode_header, encode_index, name};
use crate::bytes::crc32c;
use crate::disk::{Disk, DiskFile};
use crate::ledger::{Built, BuiltPart};
use crate::limits::READ_BLOCK_BYTES;
use crate::{OwnerId, StorageError};

/// A segment that is being written.
pub(crate) struct Build {
    number: u64,
    file: Arc<dyn DiskFile>,
    /// What is not written yet, from `written` on.
    buffer: Vec<u8>,
    written: u64,
    records: u64,
    /// By owner and group: parts that must stay apart have different groups, rising with their positions.
    parts: BTreeMap<(OwnerId, u32), Vec<IndexEntry>>,
}

impl Build {
    pub(crate) fn start(disk: &dyn Disk, number: u64) -> Result<Self, StorageError> {
        let create = disk.create(&name(number));
        let file = create.map_err(|error| StorageError::disk(name(number), error))?;
        Ok(Build {
            number,
            file,
            buffer: encode_header(number),
            written: 0,
            records: 0,
            parts: BTreeMap::new(),
        })
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes so far, records and header.
    pub(crate) fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Puts a record, already salted for this segment. Gives its offset.
    pub(crate) fn put_record(&mut self, record: &[u8]) -> Result<u64, StorageError> {
        let offset = self.bytes();
        self.buffer.extend_from_slice(record);
        self.records += 1;
        if self.buffer.len() >= READ_BLOCK_BYTES {
            self.flush()?;
        }
        Ok(offset)
    }

    /// Says that the owner holds a record that was put.
    pub(crate) fn put_holder(&mut self, owner: OwnerId, group: u32, entry: IndexEntry) {
        self.parts.entry((owner, group)).or_default().push(entry);
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        let result = self.file.write_at(self.written, &self.buffer);
        result.map_err(|error| StorageError::disk(name(self.number), error))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what belongs behind the records, and syncs.
    pub(crate) fn finish(mut self) -> Result<Built, StorageError> {
        let records_end = self.bytes();
        let mut directory = Vec::new();
        let mut built_parts = Vec::with_capacity(self.parts.len());
        for ((owner, _), mut entries) in std::mem::take(&mut self.parts) {
            entries.sort_unstable_by_key(|entry| entry.position);
            let index_offset = self.bytes();
            let mut index = Vec::new();
            encode_index(&mut index, &entries);
            let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
                continue;
            };
            let entry = DirectoryEntry {
                owner,
                first: first.position,
                last: last.position,
                weight: entries.iter().map(|entry| u64::from(entry.weight)).sum(),
                index_offset,
                index_bytes: index.len() as u32,
                transient: entries.iter().filter(|entry| entry.transient).count() as u32,
                messages: entries.len() as u32,
                index_crc: crc32c(&index),
                record_bytes: entries.iter().map(|entry| u64::from(entry.length)).sum(),
            };
            assert!(
                u32::try_from(entry.last - entry.first).is_ok(),
                "a part has its span"
            );
            entry.encode(&mut directory);
            self.buffer.extend_from_slice(&index);
            built_parts.push(BuiltPart {
                owner,
                weight: entry.weight,
                positions: entries.iter().map(|entry| entry.position).collect(),
            });
            if self.buffer.len() >= READ_BLOCK_BYTES {
                self.flush()?;
            }
        }
        let directory_offset = self.bytes();
        self.buffer.extend_from_slice(&directory);
        let footer = Footer {
            number: self.number,
            records_end,
            directory_offset,
            parts: built_parts.len() as u32,
            directory_crc: crc32c(&directory),
            records: self.records,
            file_bytes: self.bytes() + super::FOOTER_BYTES as u64,
        };
        let footer_bytes = footer.encode();
        self.buffer.extend_from_slice(&footer_bytes);
        self.flush()?;
        let result = self.file.sync();
        result.map_err(|error| StorageError::disk(name(self.number), error))?;
        let (_, footer_crc) = Footer::decode(&footer_bytes).expect("it was just encoded");
        Ok(Built {
            number: self.number,
            bytes: footer.file_bytes,
            footer_crc,
            record_bytes: records_end - HEADER_BYTES as u64,
            parts: built_parts,
        })
    }
}
