//! Reading a segment: footer and directory at open, indexes and records when they are wanted.

use std::sync::Arc;

use super::{
    DIRECTORY_ENTRY_BYTES, DirectoryEntry, FOOTER_BYTES, Footer, HEADER_BYTES, IndexEntry,
    check_header, decode_index, name,
};
use crate::bytes::{Cursor, crc32c, is_checksum};
use crate::disk::{Disk, DiskFile};
use crate::ledger::Part;
use crate::limits::SEGMENT_PARTS_MAX;
use crate::{Damage, OwnerId, StorageError};

/// An open segment.
pub(crate) struct SegmentFile {
    pub(crate) number: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) footer: Footer,
    pub(crate) footer_crc: u32,
}

impl SegmentFile {
    /// Opens it and checks header and footer.
    pub(crate) fn open(disk: &dyn Disk, number: u64) -> Result<Self, StorageError> {
        let name = name(number);
        let failed = |error| StorageError::disk(&name, error);
        let file = disk.open(&name).map_err(failed)?;
        let bytes = file.bytes().map_err(failed)?;
        let Some(footer_offset) = bytes.checked_sub((HEADER_BYTES + FOOTER_BYTES) as u64) else {
            return Err(StorageError::damaged(name, bytes, "it is cut off"));
        };
        let footer_offset = footer_offset + HEADER_BYTES as u64;
        let mut header = [0; HEADER_BYTES];
        file.read_at(0, &mut header).map_err(failed)?;
        if !check_header(&header, number) {
            return Err(StorageError::damaged(name, 0, "its header is damaged"));
        }
        let mut footer = [0; FOOTER_BYTES];
        file.read_at(footer_offset, &mut footer).map_err(failed)?;
        let decoded = Footer::decode(&footer).filter(|(footer, _)| {
            let directory = u64::from(footer.parts) * DIRECTORY_ENTRY_BYTES as u64;
            footer.number == number
                && footer.file_bytes == bytes
                && footer.parts <= SEGMENT_PARTS_MAX
                && HEADER_BYTES as u64 <= footer.records_end
                && footer.records_end <= footer.directory_offset
                && footer.directory_offset.checked_add(directory) == Some(footer_offset)
        });
        let Some((footer, footer_crc)) = decoded else {
            return Err(StorageError::damaged(
                name,
                footer_offset,
                "its footer is damaged",
            ));
        };
        Ok(SegmentFile {
            number,
            file,
            footer,
            footer_crc,
        })
    }

    pub(crate) fn read(&self, offset: u64, bytes: usize) -> Result<Vec<u8>, StorageError> {
        let mut buffer = vec![0; bytes];
        let result = self.file.read_at(offset, &mut buffer);
        result.map_err(|error| StorageError::disk(name(self.number), error))?;
        Ok(buffer)
    }

    pub(crate) fn directory(&self) -> Result<Vec<DirectoryEntry>, StorageError> {
        let offset = self.footer.directory_offset;
        let damaged =
            || StorageError::damaged(name(self.number), offset, "its directory is damaged");
        let bytes = self.read(offset, self.footer.parts as usize * DIRECTORY_ENTRY_BYTES)?;
        if !is_checksum(self.footer.directory_crc, crc32c(&bytes)) {
            return Err(damaged());
        }
        let mut cursor = Cursor(&bytes);
        let mut entries = Vec::with_capacity(self.footer.parts as usize);
        let mut index_end = self.footer.records_end;
        while !cursor.is_empty() {
            let entry = DirectoryEntry::decode(&mut cursor).ok_or_else(damaged)?;
            // Index blocks lie behind each other, so none of them can claim more than the file has.
            if entry.index_offset != index_end {
                return Err(damaged());
            }
            index_end = index_end
                .checked_add(u64::from(entry.index_bytes))
                .ok_or_else(damaged)?;
            entries.push(entry);
        }
        let sorted = entries
            .is_sorted_by(|a, b| a.owner < b.owner || a.owner == b.owner && a.last < b.first);
        if !sorted || index_end != offset {
            return Err(damaged());
        }
        Ok(entries)
    }

    fn index(&self, part: &DirectoryEntry) -> Result<Vec<IndexEntry>, StorageError> {
        let bytes = self.read(part.index_offset, part.index_bytes as usize)?;
        let decoded = if is_checksum(part.index_crc, crc32c(&bytes)) {
            decode_index(&bytes, part, self.footer.records_end)
        } else {
            None
        };
        decoded.ok_or_else(|| {
            self.damage(
                part.index_offset,
                "the index of a part is damaged",
                part.owner,
            )
        })
    }

    /// The index of a part that the ledger knows from this segment's directory.
    pub(crate) fn index_of(&self, part: &Part) -> Result<Vec<IndexEntry>, StorageError> {
        let place = u64::from(part.index) * DIRECTORY_ENTRY_BYTES as u64;
        let offset = self.footer.directory_offset.saturating_add(place);
        // The directory's checksum was checked with the whole of it at open, the index block has its own; and the
        // entry must say what it said then.
        let bytes = self.read(offset, DIRECTORY_ENTRY_BYTES)?;
        let entry = DirectoryEntry::decode(&mut Cursor(&bytes));
        let entry = entry.filter(|entry| {
            let end = entry.index_offset.checked_add(u64::from(entry.index_bytes));
            end.is_some_and(|end| end <= self.footer.directory_offset)
                && (entry.first, entry.last, entry.messages)
                    == (part.first, part.last, part.messages)
        });
        let entry = entry.ok_or_else(|| {
            StorageError::damaged(name(self.number), offset, "its directory is damaged")
        })?;
        self.index(&entry)
    }

    pub(crate) fn damage(&self, offset: u64, what: &str, owner: OwnerId) -> StorageError {
        StorageError::Damaged(vec![Damage {
            file: name(self.number),
            offset,
            what: what.to_owned(),
            owners: vec![owner],
        }])
    }
}
