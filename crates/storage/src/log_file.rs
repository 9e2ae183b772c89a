//! A log file's name and header, and how one comes to be: docs/formats/log.md.

use std::sync::Arc;

use crate::bytes::{Cursor, crc32c_but, is_checksum, put_u32, put_u64, set_u32};
use crate::disk::{Disk, DiskFile};
use crate::error::used_up;
use crate::limits::{FILE_NUMBER_MAX, POSITION_MAX, SECTOR_BYTES};
use crate::record::{self, Note};
use crate::{LogPosition, StorageError};

/// One sector, so that a header is whole or not there.
pub(crate) const HEADER_BYTES: usize = SECTOR_BYTES;
const MAGIC: &[u8; 8] = b"LVRTLOG1";
const VERSION: u32 = 1;
const CRC_AT: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) number: u64,
    pub(crate) first: LogPosition,
    /// Where the file before ends; 0 in the first file of a directory.
    pub(crate) previous_end: u64,
    /// What the file was made to hold, synced with the header: a shorter one was cut off.
    pub(crate) bytes: u64,
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        put_u32(&mut out, VERSION);
        put_u32(&mut out, 0);
        put_u64(&mut out, self.number);
        put_u64(&mut out, self.first.0);
        put_u64(&mut out, self.previous_end);
        put_u64(&mut out, self.bytes);
        out.resize(HEADER_BYTES, 0);
        let crc = crc32c_but(&out, CRC_AT);
        set_u32(&mut out, CRC_AT, crc);
        out
    }

    fn is_possible(&self) -> bool {
        self.number <= FILE_NUMBER_MAX && (1..=POSITION_MAX).contains(&self.first.0)
    }

    /// What is wrong with it, in words, if it is no whole header of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let bytes = bytes
            .get(..HEADER_BYTES)
            .ok_or("it is shorter than a header")?;
        let mut cursor = Cursor(bytes);
        if cursor.take(8) != Some(MAGIC) {
            return Err("its header is damaged (no log file's)");
        }
        let version = cursor.u32();
        let crc = cursor.u32().unwrap_or(0);
        if !is_checksum(crc, crc32c_but(bytes, CRC_AT)) {
            return Err("its header is damaged (checksum)");
        }
        if version != Some(VERSION) {
            return Err("it was written by another version");
        }
        let header = || {
            Some(Header {
                number: cursor.u64()?,
                first: LogPosition(cursor.u64()?),
                previous_end: cursor.u64()?,
                bytes: cursor.u64()?,
            })
        };
        let mut header = header;
        header()
            .filter(Header::is_possible)
            .ok_or("its header says what cannot be")
    }
}

pub(crate) fn name(number: u64) -> String {
    format!("log-{number:016x}")
}

/// The number in a log file's name.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    number_behind("log-", name)
}

pub(crate) fn number_behind(prefix: &str, name: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    let ours = digits.len() == 16 && format!("{number:016x}") == digits;
    (ours && number <= FILE_NUMBER_MAX).then_some(number)
}

/// How a log file is made.
pub(crate) struct Make {
    pub(crate) header: Header,
    /// A retired log file to write over.
    pub(crate) spare: Option<u64>,
    /// Off only for a deliberate fault.
    pub(crate) sync_names: bool,
}

/// A log file could not be made.
pub(crate) enum MakeError {
    /// Nothing is lost, and it may be tried again.
    Again(StorageError),
    /// A sync failed: nothing may be trusted any more.
    Fatal(StorageError),
}

/// Writes into a file that is full, behind its last record, that the next one was begun: from then on it cannot be
/// missing, or be cut to nothing, without this being seen.
pub(crate) fn mark_next(
    file: &dyn DiskFile,
    number: u64,
    end: u64,
    next: &Header,
) -> Result<(), MakeError> {
    let note = Note::Mark {
        file: next.number,
        synced_bytes: HEADER_BYTES as u64,
    };
    let mut bytes = Vec::with_capacity(record::MARK_BYTES);
    record::encode_note(&mut bytes, next.first, record::salt(number), &note);
    let failed = |error| StorageError::disk(name(number), error);
    file.write_at(end, &bytes)
        .map_err(|error| MakeError::Again(failed(error)))?;
    file.sync().map_err(|error| MakeError::Fatal(failed(error)))
}

/// The same on a medium that may have no room for a whole log file: then it takes what it needs as it grows, and
/// consumers can make room.
pub(crate) fn make_in_any_case(
    disk: &dyn Disk,
    wanted: &mut Make,
) -> Result<Arc<dyn DiskFile>, MakeError> {
    match make(disk, wanted) {
        Err(MakeError::Again(error)) if error.is_full() => {
            wanted.header.bytes = HEADER_BYTES as u64;
            make(disk, wanted)
        }
        made => made,
    }
}

/// Makes a log file, durable with its header and name.
pub(crate) fn make(disk: &dyn Disk, make: &Make) -> Result<Arc<dyn DiskFile>, MakeError> {
    let name = name(make.header.number);
    let again = |error| MakeError::Again(StorageError::disk(&name, error));
    let fatal = |error| MakeError::Fatal(StorageError::disk(&name, error));
    if !make.header.is_possible() {
        return Err(fatal(used_up()));
    }
    let recycled = make
        .spare
        .and_then(|spare| disk.rename(&self::name(spare), &name).ok())
        .and_then(|()| disk.open(&name).ok());
    let file = match recycled {
        Some(file) => file,
        None => disk.create(&name).map_err(again)?,
    };
    if file.bytes().map_err(again)? < make.header.bytes {
        file.reserve(make.header.bytes).map_err(again)?;
    }
    file.write_at(0, &make.header.encode()).map_err(again)?;
    file.sync().map_err(fatal)?;
    if make.sync_names {
        disk.sync_names().map_err(fatal)?;
    }
    Ok(file)
}
