//! Segment files: what outlived its log file, by owner. docs/formats/segment.md.
//!
//! This file has the names and the fixed blocks; [`build`] writes a segment, [`file`] reads one.
//! Deliberately absent: which segments exist (the manifest) and what in them is alive (the ledger).

pub(crate) mod build;
pub(crate) mod file;

use crate::OwnerId;
use crate::bytes::{
    Cursor, crc32c_but, is_checksum, put_u32, put_u64, put_varint, set_u32, unzigzag, zigzag,
};
use crate::limits::{OWNER_MAX, POSITION_MAX};

pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const FOOTER_BYTES: usize = 64;
pub(crate) const DIRECTORY_ENTRY_BYTES: usize = 64;
const MAGIC: &[u8; 8] = b"LVRTSEG1";
const MAGIC_FOOTER: &[u8; 8] = b"LVRTSEGF";
const VERSION: u32 = 1;
const CRC_AT: usize = 12;

pub(crate) fn name(number: u64) -> String {
    format!("segment-{number:016x}")
}

/// The number in a segment's name.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    crate::log_file::number_behind("segment-", name)
}

pub(crate) fn encode_header(number: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(MAGIC);
    put_u32(&mut out, VERSION);
    put_u32(&mut out, 0);
    put_u64(&mut out, number);
    out.resize(HEADER_BYTES, 0);
    let crc = crc32c_but(&out, CRC_AT);
    set_u32(&mut out, CRC_AT, crc);
    out
}

pub(crate) fn check_header(bytes: &[u8], number: u64) -> bool {
    bytes == encode_header(number)
}

/// What a part's directory entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DirectoryEntry {
    pub(crate) owner: OwnerId,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) weight: u64,
    pub(crate) index_offset: u64,
    pub(crate) index_bytes: u32,
    /// How many of the messages are transient.
    pub(crate) transient: u32,
    pub(crate) messages: u32,
    pub(crate) index_crc: u32,
    pub(crate) record_bytes: u64,
}

impl DirectoryEntry {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for value in [
            self.owner.0,
            self.first,
            self.last,
            self.weight,
            self.index_offset,
        ] {
            put_u64(out, value);
        }
        put_u32(out, self.index_bytes);
        put_u32(out, self.transient);
        put_u32(out, self.messages);
        put_u32(out, self.index_crc);
        put_u64(out, self.record_bytes);
    }

    /// One entry; `None` if it says what no part can be.
    pub(crate) fn decode(cursor: &mut Cursor<'_>) -> Option<Self> {
        let entry = DirectoryEntry {
            owner: OwnerId(cursor.u64()?),
            first: cursor.u64()?,
            last: cursor.u64()?,
            weight: cursor.u64()?,
            index_offset: cursor.u64()?,
            index_bytes: cursor.u32()?,
            transient: cursor.u32()?,
            messages: cursor.u32()?,
            index_crc: cursor.u32()?,
            record_bytes: cursor.u64()?,
        };
        let span = entry.last.checked_sub(entry.first)?;
        let possible = entry.messages > 0
            && entry.transient <= entry.messages
            && u64::from(entry.messages) - 1 <= span
            && u32::try_from(span).is_ok()
            && entry.owner.0 <= OWNER_MAX
            && 0 < entry.first
            && entry.last < POSITION_MAX
            && entry.weight <= u64::from(entry.messages) * u64::from(u32::MAX);
        possible.then_some(entry)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) number: u64,
    pub(crate) records_end: u64,
    pub(crate) directory_offset: u64,
    pub(crate) parts: u32,
    pub(crate) directory_crc: u32,
    pub(crate) records: u64,
    pub(crate) file_bytes: u64,
}

impl Footer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        out.extend_from_slice(MAGIC_FOOTER);
        put_u32(&mut out, VERSION);
        put_u32(&mut out, 0);
        put_u64(&mut out, self.number);
        put_u64(&mut out, self.records_end);
        put_u64(&mut out, self.directory_offset);
        put_u32(&mut out, self.parts);
        put_u32(&mut out, self.directory_crc);
        put_u64(&mut out, self.records);
        put_u64(&mut out, self.file_bytes);
        let crc = crc32c_but(&out, CRC_AT);
        set_u32(&mut out, CRC_AT, crc);
        out
    }

    /// The footer and its checksum, by which the manifest knows it.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, u32)> {
        let mut cursor = Cursor(bytes);
        let magic = cursor.take(8)?;
        let version = cursor.u32()?;
        let crc = cursor.u32()?;
        if magic != MAGIC_FOOTER || version != VERSION {
            return None;
        }
        if !is_checksum(crc, crc32c_but(bytes, CRC_AT)) {
            return None;
        }
        let footer = Footer {
            number: cursor.u64()?,
            records_end: cursor.u64()?,
            directory_offset: cursor.u64()?,
            parts: cursor.u32()?,
            directory_crc: cursor.u32()?,
            records: cursor.u64()?,
            file_bytes: cursor.u64()?,
        };
        cursor.is_empty().then_some((footer, crc))
    }
}

/// Where a message of a part lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) position: u64,
    pub(crate) offset: u64,
    pub(crate) length: u32,
    pub(crate) weight: u32,
    pub(crate) transient: bool,
}

pub(crate) fn encode_index(out: &mut Vec<u8>, entries: &[IndexEntry]) {
    let mut position = entries.first().map_or(0, |entry| entry.position);
    let mut end = 0u64;
    for entry in entries {
        put_varint(out, entry.position - position);
        put_varint(out, zigzag(entry.offset as i64 - end as i64));
        put_varint(
            out,
            u64::from(entry.length / 8) << 1 | u64::from(entry.transient),
        );
        put_varint(out, u64::from(entry.weight));
        position = entry.position;
        end = entry.offset + u64::from(entry.length);
    }
}

/// The entries of a part, or `None` if the block does not hold just those. Every entry lies within the records.
pub(crate) fn decode_index(
    bytes: &[u8],
    part: &DirectoryEntry,
    records_end: u64,
) -> Option<Vec<IndexEntry>> {
    let mut cursor = Cursor(bytes);
    // Four bytes an entry is the least, so a damaged count asks for no memory that is not there.
    if (part.messages as usize) > bytes.len() / 4 {
        return None;
    }
    let mut entries = Vec::with_capacity(part.messages as usize);
    let mut position = part.first;
    let mut end = 0u64;
    for index in 0..part.messages {
        let step = cursor.varint()?;
        if (step == 0) != (index == 0) {
            return None;
        }
        position = position.checked_add(step)?;
        let offset = end.checked_add_signed(unzigzag(cursor.varint()?))?;
        let length_and_flag = cursor.varint()?;
        let length = u32::try_from((length_and_flag >> 1).checked_mul(8)?).ok()?;
        let weight = u32::try_from(cursor.varint()?).ok()?;
        end = offset.checked_add(u64::from(length))?;
        if offset < HEADER_BYTES as u64 || end > records_end || length == 0 {
            return None;
        }
        entries.push(IndexEntry {
            position,
            offset,
            length,
            weight,
            transient: length_and_flag & 1 != 0,
        });
    }
    (cursor.is_empty() && position == part.last).then_some(entries)
}
