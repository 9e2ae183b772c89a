//! The manifest: what exists besides the log. docs/formats/log.md.

use crate::bytes::{Cursor, crc32c_but, is_checksum, put_u32, put_u64, set_u32};
use crate::disk::Disk;
use crate::error::used_up;
use crate::limits::{FILE_NUMBER_MAX, MANIFEST_BYTES_MAX, OWNER_MAX, POSITION_MAX};
use crate::{OwnerId, StorageError};

pub(crate) const NAME: &str = "manifest";
pub(crate) const NAME_NEW: &str = "manifest.new";
const MAGIC: &[u8; 8] = b"LVRTMAN1";
const VERSION: u32 = 1;
const CRC_AT: usize = 12;
const LENGTH_AT: usize = 16;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) sequence: u64,
    pub(crate) first_log: u64,
    pub(crate) next_segment: u64,
    /// After a clean shutdown: the newest log file and its end.
    pub(crate) clean: Option<(u64, u64)>,
    pub(crate) segments: Vec<SegmentState>,
    pub(crate) delivered: Vec<OwnerDelivered>,
}

/// An owner's delivered messages: first and last position of each run, and the count.
pub(crate) type OwnerDelivered = (OwnerId, Vec<(u64, u64, u32)>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentState {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) footer_crc: u32,
    /// Parts of which something is released, in the order of the segment's directory.
    pub(crate) touched: Vec<Touched>,
}

/// What is released of a part. It names the part by its owner and first position, so that it can be obeyed even
/// where the segment's directory is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) owner: OwnerId,
    pub(crate) first: u64,
    /// Runs of positions, inclusive.
    pub(crate) runs: Vec<(u64, u64)>,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        put_u32(&mut out, VERSION);
        put_u32(&mut out, 0);
        put_u64(&mut out, 0);
        let (clean_log, clean_end) = self.clean.unwrap_or_default();
        for value in [
            self.sequence,
            self.first_log,
            self.next_segment,
            clean_log,
            clean_end,
        ] {
            put_u64(&mut out, value);
        }
        put_u64(&mut out, self.segments.len() as u64);
        for segment in &self.segments {
            put_u64(&mut out, segment.number);
            put_u64(&mut out, segment.bytes);
            put_u64(&mut out, u64::from(segment.footer_crc));
            put_u64(&mut out, segment.touched.len() as u64);
            for touched in &segment.touched {
                put_u64(&mut out, touched.owner.0);
                put_u64(&mut out, touched.first);
                put_u64(&mut out, touched.runs.len() as u64);
                for (start, end) in &touched.runs {
                    put_u64(&mut out, *start);
                    put_u64(&mut out, *end);
                }
            }
        }
        put_u64(&mut out, self.delivered.len() as u64);
        for (owner, runs) in &self.delivered {
            put_u64(&mut out, owner.0);
            put_u64(&mut out, runs.len() as u64);
            for (first, last, count) in runs {
                put_u64(&mut out, *first);
                put_u64(&mut out, *last);
                put_u64(&mut out, u64::from(*count));
            }
        }
        let length = out.len() as u64;
        if let Some(field) = out.get_mut(LENGTH_AT..LENGTH_AT + 8) {
            field.copy_from_slice(&length.to_le_bytes());
        }
        let crc = crc32c_but(&out, CRC_AT);
        set_u32(&mut out, CRC_AT, crc);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        let magic = cursor.take(8)?;
        let version = cursor.u32()?;
        let crc = cursor.u32()?;
        let length = cursor.u64()?;
        if magic != MAGIC
            || version != VERSION
            || length != bytes.len() as u64
            || !is_checksum(crc, crc32c_but(bytes, CRC_AT))
        {
            return None;
        }
        let mut manifest = Manifest {
            sequence: cursor.u64()?,
            first_log: cursor.u64()?,
            next_segment: cursor.u64()?,
            ..Manifest::default()
        };
        let clean = (cursor.u64()?, cursor.u64()?);
        manifest.clean = (clean.0 != 0).then_some(clean);
        if !manifest.numbers_are_possible() {
            return None;
        }
        for _ in 0..cursor.u64()? {
            let segment = decode_segment(&mut cursor)?;
            let before = manifest.segments.last().map(|before| before.number);
            let last = manifest.next_segment.checked_sub(1)?;
            if !follows(before, segment.number, last) {
                return None;
            }
            manifest.segments.push(segment);
        }
        for _ in 0..cursor.u64()? {
            let owner = decode_owner(&mut cursor)?;
            let before = manifest.delivered.last().map(|(before, _)| *before);
            if !follows(before, owner, OwnerId(OWNER_MAX)) {
                return None;
            }
            let mut runs: Vec<(u64, u64, u32)> = Vec::new();
            for _ in 0..cursor.u64()? {
                let before = runs.last().map(|(_, last, _)| *last);
                let (first, last) = decode_run(&mut cursor, before)?;
                runs.push((first, last, u32::try_from(cursor.u64()?).ok()?));
            }
            manifest.delivered.push((owner, runs));
        }
        cursor.is_empty().then_some(manifest)
    }

    /// Whether it can be read again.
    fn numbers_are_possible(&self) -> bool {
        let largest = self.sequence.max(self.first_log).max(self.next_segment);
        self.sequence > 0 && largest <= FILE_NUMBER_MAX
    }

    /// The manifest of a directory, or `None` if there is none.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Option<Self>, StorageError> {
        let failed = |error| StorageError::disk(NAME, error);
        let file = match disk.open(NAME) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let length = file.bytes().map_err(failed)?;
        if length > MANIFEST_BYTES_MAX {
            return Err(StorageError::damaged(NAME, 0, "it is impossibly long"));
        }
        let mut bytes = vec![0; length as usize];
        file.read_at(0, &mut bytes).map_err(failed)?;
        let manifest = Manifest::decode(&bytes);
        let manifest = manifest.ok_or_else(|| StorageError::damaged(NAME, 0, "it is damaged"))?;
        Ok(Some(manifest))
    }

    /// Puts this manifest in the place of the one before.
    pub(crate) fn write(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        let failed = |error| StorageError::disk(NAME_NEW, error);
        if !self.numbers_are_possible() {
            return Err(failed(used_up()));
        }
        let file = disk.create(NAME_NEW).map_err(failed)?;
        file.write_at(0, &self.encode()).map_err(failed)?;
        file.sync().map_err(failed)?;
        disk.rename(NAME_NEW, NAME).map_err(failed)?;
        disk.sync_names().map_err(failed)
    }
}

/// Whether a value comes behind the one before it, and is not above the largest.
fn follows<T: PartialOrd>(before: Option<T>, value: T, largest: T) -> bool {
    before.is_none_or(|before| before < value) && value <= largest
}

fn decode_owner(cursor: &mut Cursor<'_>) -> Option<OwnerId> {
    let owner = cursor.u64().map(OwnerId);
    owner.filter(|owner| owner.0 <= OWNER_MAX)
}

/// A run behind the last position of the one before.
fn decode_run(cursor: &mut Cursor<'_>, before: Option<u64>) -> Option<(u64, u64)> {
    let (first, last) = (cursor.u64()?, cursor.u64()?);
    let possible = follows(before, first, last) && last <= POSITION_MAX;
    possible.then_some((first, last))
}

fn decode_segment(cursor: &mut Cursor<'_>) -> Option<SegmentState> {
    let mut segment = SegmentState {
        number: cursor.u64()?,
        bytes: cursor.u64()?,
        footer_crc: u32::try_from(cursor.u64()?).ok()?,
        touched: Vec::new(),
    };
    for _ in 0..cursor.u64()? {
        let touched = decode_touched(cursor)?;
        let name = |touched: &Touched| (touched.owner, touched.first);
        let before = segment.touched.last().map(name);
        if !follows(before, name(&touched), (OwnerId(OWNER_MAX), POSITION_MAX)) {
            return None;
        }
        segment.touched.push(touched);
    }
    Some(segment)
}

/// Its runs ascend, and none begins before the part does. Where the part ends, its segment says.
fn decode_touched(cursor: &mut Cursor<'_>) -> Option<Touched> {
    let mut touched = Touched {
        owner: decode_owner(cursor)?,
        first: cursor.u64()?,
        runs: Vec::new(),
    };
    for _ in 0..cursor.u64()? {
        let before = touched.runs.last().map(|(_, last)| *last);
        let (first, last) = decode_run(cursor, before)?;
        if first < touched.first {
            return None;
        }
        touched.runs.push((first, last));
    }
    Some(touched)
}
