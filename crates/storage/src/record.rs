//! Records of the log, to bytes and back: docs/formats/log.md.
//!
//! ```text
//! ┌───────┬────────┬──────────┬──────┬───────┬─────────┬───────┬──────────────┐
//! │crc u32│len  u32│position64│kind 8│flags 8│padding16│count32│ body, padding│
//! └───────┴────────┴──────────┴──────┴───────┴─────────┴───────┴──────────────┘
//! ```
//! A record is checked as a whole when it is decoded, its runs included, so that what applies it cannot fail.

use crate::append::{Append, OwnerEntry};
use crate::bytes::{Cursor, crc32c, is_checksum, put_u32, put_u64, put_varint, set_u32};
use crate::limits::{OWNER_MAX, POSITION_MAX, RECORD_BYTES_MAX};
use crate::{LogPosition, OwnerId};

pub(crate) const HEADER_BYTES: usize = 24;
/// A mark: header, file number, synced bytes.
pub(crate) const MARK_BYTES: usize = HEADER_BYTES + 16;
const OWNER_BYTES_SHORT: usize = 8;
const OWNER_BYTES_LONG: usize = 24;

const KIND_MESSAGE: u8 = 1;
const KIND_RELEASE: u8 = 2;
const KIND_DELIVERED: u8 = 3;
const KIND_PURGE: u8 = 4;
const KIND_FORGET: u8 = 5;
const KIND_MARK: u8 = 6;

const FLAG_TRANSIENT: u8 = 1;
const FLAG_OWNERS_LONG: u8 = 2;

/// What ties a record to its file. Injective over 32 bits, as the factor is odd.
pub(crate) fn salt(file_number: u64) -> u32 {
    (file_number as u32).wrapping_mul(0x9E37_79B1)
}

/// A decoded record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) position: LogPosition,
    /// Of the whole record, in bytes.
    pub(crate) length: u32,
    pub(crate) body: Body<'a>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Body<'a> {
    Message(Message<'a>),
    Release {
        owner: OwnerId,
        runs: Runs<'a>,
    },
    Delivered {
        owner: OwnerId,
        count: u32,
        runs: Runs<'a>,
    },
    Purge {
        owner: OwnerId,
        keep: Runs<'a>,
    },
    Forget {
        owner: OwnerId,
    },
    Mark {
        file: u64,
        synced_bytes: u64,
    },
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) transient: bool,
    pub(crate) weight: u32,
    long: bool,
    owners: &'a [u8],
    pub(crate) payload: &'a [u8],
}

impl<'a> Message<'a> {
    fn owner_bytes(&self) -> usize {
        if self.long {
            OWNER_BYTES_LONG
        } else {
            OWNER_BYTES_SHORT
        }
    }

    /// Whether no owner stands in it twice, which nobody writes.
    pub(crate) fn owners_differ(&self) -> bool {
        if self.owners.len() <= self.owner_bytes() {
            return true;
        }
        let mut owners: Vec<OwnerId> = self.owners().map(|entry| entry.owner).collect();
        owners.sort_unstable();
        owners.is_sorted_by(|a, b| a < b)
    }

    pub(crate) fn owners(&self) -> impl Iterator<Item = OwnerEntry> + Clone + use<'a> {
        let long = self.long;
        let width = self.owner_bytes();
        self.owners.chunks_exact(width).filter_map(move |bytes| {
            let mut cursor = Cursor(bytes);
            let owner = OwnerId(cursor.u64()?);
            if !long {
                return Some(OwnerEntry::plain(owner));
            }
            Some(OwnerEntry {
                owner,
                expires_ms: cursor.u64()?,
                delivery_count: cursor.u32()?,
                priority: cursor.u8()?,
            })
        })
    }
}

/// Ascending runs of positions, checked when the record was decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Runs<'a>(&'a [u8]);

impl<'a> Runs<'a> {
    fn check(bytes: &'a [u8], count: u32) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        let mut end = 0u64;
        for _ in 0..count {
            let first = end.checked_add(cursor.varint()?)?;
            let length = cursor.varint()?;
            end = first.checked_add(length)?;
            if length == 0 || first == 0 || end - 1 > POSITION_MAX {
                return None;
            }
        }
        cursor.is_empty().then_some(Runs(bytes))
    }

    /// First and last position of each run.
    pub(crate) fn iter(self) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        let mut cursor = Cursor(self.0);
        let mut end = 0;
        std::iter::from_fn(move || {
            let first = end + cursor.varint()?;
            end = first + cursor.varint()?;
            Some((first, end - 1))
        })
    }
}

/// Decodes the record at the front of `bytes`. `None`: there is no whole record of that file here.
pub(crate) fn decode(bytes: &[u8], salt: u32) -> Option<Record<'_>> {
    let mut cursor = Cursor(bytes);
    let crc = cursor.u32()?;
    let length = cursor.u32()?;
    if !length_is_possible(length) {
        return None;
    }
    let whole = bytes.get(..length as usize)?;
    if !is_checksum(crc, crc32c(whole.get(4..)?) ^ salt) {
        return None;
    }
    let mut cursor = Cursor(whole.get(8..)?);
    let position = LogPosition(cursor.u64()?);
    let kind = cursor.u8()?;
    let flags = cursor.u8()?;
    let padding = usize::from(cursor.u16()?);
    let count = cursor.u32()?;
    if padding > 7 || !position_is_possible(position.0, kind) {
        return None;
    }
    let body_bytes = cursor.len().checked_sub(padding)?;
    let mut body = Cursor(cursor.take(body_bytes)?);
    Some(Record {
        position,
        length,
        body: decode_body(kind, flags, count, &mut body)?,
    })
}

/// The length that the bytes at the front claim, if a record could have it.
pub(crate) fn peek_length(bytes: &[u8]) -> Option<u32> {
    let mut cursor = Cursor(bytes);
    cursor.u32()?;
    cursor.u32().filter(|length| length_is_possible(*length))
}

/// Whose a damaged record may have been, if its header still looks like a message's.
/// `expected`: it has the position that was due, else nothing is guessed.
pub(crate) fn guess_owners(bytes: &[u8], expected: bool) -> Vec<OwnerId> {
    let guess = || {
        if !expected {
            return None;
        }
        let length = peek_length(bytes)? as usize;
        let mut cursor = Cursor(bytes.get(16..)?);
        let (kind, flags) = (cursor.u8()?, cursor.u8()?);
        cursor.u16()?;
        let count = cursor.u32()?;
        let mut body = Cursor(bytes.get(HEADER_BYTES..length)?);
        match decode_body(kind, flags, count, &mut body)? {
            Body::Message(message) => Some(message.owners().map(|entry| entry.owner).collect()),
            _ => None,
        }
    };
    guess().unwrap_or_default()
}

/// The position that the bytes at the front claim.
pub(crate) fn peek_position(bytes: &[u8]) -> Option<u64> {
    Cursor(bytes.get(8..)?).u64()
}

/// Whether a mark may begin here: cheap, and wrong only by chance.
pub(crate) fn may_be_mark(bytes: &[u8]) -> bool {
    peek_length(bytes) == Some(MARK_BYTES as u32) && bytes.get(16) == Some(&KIND_MARK)
}

/// Whether the header at the front is of a message.
pub(crate) fn may_be_message(bytes: &[u8]) -> bool {
    bytes.get(16) == Some(&KIND_MESSAGE)
}

fn length_is_possible(length: u32) -> bool {
    length.is_multiple_of(8) && (HEADER_BYTES as u32..=RECORD_BYTES_MAX).contains(&length)
}

/// A mark has the position that comes next, so that of any other record is one below the last.
fn position_is_possible(position: u64, kind: u8) -> bool {
    (1..POSITION_MAX + u64::from(kind == KIND_MARK)).contains(&position)
}

fn owner(body: &mut Cursor<'_>) -> Option<OwnerId> {
    body.u64().filter(|owner| *owner <= OWNER_MAX).map(OwnerId)
}

fn decode_body<'a>(kind: u8, flags: u8, count: u32, body: &mut Cursor<'a>) -> Option<Body<'a>> {
    if kind != KIND_MESSAGE && flags != 0 {
        return None;
    }
    Some(match kind {
        KIND_MESSAGE => {
            if flags & !(FLAG_TRANSIENT | FLAG_OWNERS_LONG) != 0 {
                return None;
            }
            let long = flags & FLAG_OWNERS_LONG != 0;
            let width = if long {
                OWNER_BYTES_LONG
            } else {
                OWNER_BYTES_SHORT
            };
            let weight = body.u32()?;
            let message = Message {
                transient: flags & FLAG_TRANSIENT != 0,
                weight,
                long,
                owners: body.take((count as usize).checked_mul(width)?)?,
                payload: body.0,
            };
            if count == 0 || message.owners().any(|entry| entry.owner.0 > OWNER_MAX) {
                return None;
            }
            Body::Message(message)
        }
        KIND_RELEASE => Body::Release {
            owner: owner(body)?,
            runs: Runs::check(body.0, count)?,
        },
        KIND_DELIVERED => Body::Delivered {
            owner: owner(body)?,
            count: body.u32()?,
            runs: Runs::check(body.0, count)?,
        },
        KIND_PURGE => Body::Purge {
            owner: owner(body)?,
            keep: Runs::check(body.0, count)?,
        },
        KIND_FORGET => Body::Forget {
            owner: owner(body)?,
        },
        KIND_MARK => Body::Mark {
            file: body.u64()?,
            synced_bytes: body.u64()?,
        },
        _ => return None,
    })
}

/// The length that [`encode_message`] will give the record.
pub(crate) fn message_bytes(message: &Append<'_>) -> usize {
    let payload: usize = message.payload.iter().map(|part| part.len()).sum();
    let owners = message.owners.len() * owner_bytes(message.owners);
    (HEADER_BYTES + 4 + owners + payload).next_multiple_of(8)
}

fn owner_bytes(owners: &[OwnerEntry]) -> usize {
    if owners.iter().all(OwnerEntry::is_plain) {
        OWNER_BYTES_SHORT
    } else {
        OWNER_BYTES_LONG
    }
}

/// Appends a message's record to `out`: one copy of the payload, one checksum over it.
pub(crate) fn encode_message(
    out: &mut Vec<u8>,
    position: LogPosition,
    salt: u32,
    message: &Append<'_>,
) {
    let width = owner_bytes(message.owners);
    let mut flags = 0;
    if message.transient {
        flags |= FLAG_TRANSIENT;
    }
    if width == OWNER_BYTES_LONG {
        flags |= FLAG_OWNERS_LONG;
    }
    let start = begin(
        out,
        position,
        KIND_MESSAGE,
        flags,
        message.owners.len() as u32,
    );
    put_u32(out, message.weight);
    for entry in message.owners {
        put_u64(out, entry.owner.0);
        if width == OWNER_BYTES_LONG {
            put_u64(out, entry.expires_ms);
            put_u32(out, entry.delivery_count);
            out.extend_from_slice(&[entry.priority, 0, 0, 0]);
        }
    }
    for part in message.payload {
        out.extend_from_slice(part);
    }
    finish(out, start, salt);
}

/// Appends a message's record with only some of its owners, ascending. Gives whether all of those were among them.
pub(crate) fn narrow(
    out: &mut Vec<u8>,
    position: LogPosition,
    salt: u32,
    message: &Message<'_>,
    holders: &[OwnerId],
) -> bool {
    let mut flags = 0;
    if message.transient {
        flags |= FLAG_TRANSIENT;
    }
    if message.long {
        flags |= FLAG_OWNERS_LONG;
    }
    let start = begin(out, position, KIND_MESSAGE, flags, holders.len() as u32);
    put_u32(out, message.weight);
    let mut found = 0;
    let entries = message.owners.chunks_exact(message.owner_bytes());
    for (entry, bytes) in message.owners().zip(entries) {
        if holders.binary_search(&entry.owner).is_ok() {
            out.extend_from_slice(bytes);
            found += 1;
        }
    }
    out.extend_from_slice(message.payload);
    finish(out, start, salt);
    found == holders.len()
}

/// What a record other than a message says, to be encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Note<'a> {
    Release {
        owner: OwnerId,
        positions: &'a [LogPosition],
    },
    Delivered {
        owner: OwnerId,
        count: u32,
        positions: &'a [LogPosition],
    },
    Purge {
        owner: OwnerId,
        keep: &'a [LogPosition],
        /// First and last position of what is kept behind those.
        rest: Option<(u64, u64)>,
    },
    Forget {
        owner: OwnerId,
    },
    Mark {
        file: u64,
        synced_bytes: u64,
    },
}

impl Note<'_> {
    /// No record of it is longer than this.
    pub(crate) fn bytes_max(&self) -> usize {
        let positions = match self {
            Note::Release { positions, .. } | Note::Delivered { positions, .. } => positions.len(),
            Note::Purge { keep, .. } => keep.len() + 1,
            Note::Forget { .. } | Note::Mark { .. } => 0,
        };
        (HEADER_BYTES + 16 + positions * 20).next_multiple_of(8)
    }
}

/// Appends the record of a note to `out`. Positions must ascend.
pub(crate) fn encode_note(out: &mut Vec<u8>, position: LogPosition, salt: u32, note: &Note<'_>) {
    match *note {
        Note::Release { owner, positions } => {
            let start = begin(out, position, KIND_RELEASE, 0, 0);
            put_u64(out, owner.0);
            put_runs(out, start, positions, None);
            finish(out, start, salt);
        }
        Note::Delivered {
            owner,
            count,
            positions,
        } => {
            let start = begin(out, position, KIND_DELIVERED, 0, 0);
            put_u64(out, owner.0);
            put_u32(out, count);
            put_runs(out, start, positions, None);
            finish(out, start, salt);
        }
        Note::Purge { owner, keep, rest } => {
            let start = begin(out, position, KIND_PURGE, 0, 0);
            put_u64(out, owner.0);
            put_runs(out, start, keep, rest);
            finish(out, start, salt);
        }
        Note::Forget { owner } => {
            let start = begin(out, position, KIND_FORGET, 0, 0);
            put_u64(out, owner.0);
            finish(out, start, salt);
        }
        Note::Mark { file, synced_bytes } => {
            let start = begin(out, position, KIND_MARK, 0, 0);
            put_u64(out, file);
            put_u64(out, synced_bytes);
            finish(out, start, salt);
        }
    }
}

/// Puts the header, with checksum, length and padding still to come, and gives the record's start.
fn begin(out: &mut Vec<u8>, position: LogPosition, kind: u8, flags: u8, count: u32) -> usize {
    let start = out.len();
    let mut header = [0; HEADER_BYTES];
    let (_, rest) = header.split_at_mut(8);
    let (position_field, rest) = rest.split_at_mut(8);
    position_field.copy_from_slice(&position.0.to_le_bytes());
    let (kinds, count_field) = rest.split_at_mut(4);
    kinds.copy_from_slice(&[kind, flags, 0, 0]);
    count_field.copy_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&header);
    start
}

fn put_runs(out: &mut Vec<u8>, start: usize, positions: &[LogPosition], rest: Option<(u64, u64)>) {
    let mut runs = 0u32;
    let mut end = 0u64;
    let mut positions = positions.iter().peekable();
    while let Some(first) = positions.next() {
        assert!(first.0 >= end && first.0 > 0, "positions ascend");
        let mut length = 1;
        while positions
            .next_if(|next| next.0 == first.0 + length)
            .is_some()
        {
            length += 1;
        }
        put_varint(out, first.0 - end);
        put_varint(out, length);
        end = first.0 + length;
        runs += 1;
    }
    if let Some((first, last)) = rest {
        assert!(end <= first && first <= last, "positions ascend");
        put_varint(out, first - end);
        put_varint(out, last + 1 - first);
        runs += 1;
    }
    set_u32(out, start + 20, runs);
}

fn finish(out: &mut Vec<u8>, start: usize, salt: u32) {
    let length = (out.len() - start).next_multiple_of(8);
    let padding = start + length - out.len();
    out.resize(start + length, 0);
    assert!(
        length <= RECORD_BYTES_MAX as usize,
        "a record has its limit"
    );
    let record = out.get_mut(start..).unwrap_or_default();
    set_u32(record, 4, length as u32);
    if let Some(field) = record.get_mut(18) {
        *field = padding as u8;
    }
    let crc = crc32c(record.get(4..).unwrap_or_default()) ^ salt;
    set_u32(record, 0, crc);
}

/// Makes a copied record one of another file, without reading its bytes again.
pub(crate) fn resalt(record: &mut [u8], from: u32, to: u32) {
    if let Some(crc) = Cursor(record).u32() {
        set_u32(record, 0, crc ^ from ^ to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(numbers: &[u64]) -> Vec<LogPosition> {
        numbers.iter().copied().map(LogPosition).collect()
    }

    #[test]
    fn a_message_comes_back_whole() {
        for expires_ms in [0, 77] {
            let owners = [
                OwnerEntry::plain(OwnerId(3)),
                OwnerEntry {
                    owner: OwnerId(9),
                    expires_ms,
                    delivery_count: 0,
                    priority: 0,
                },
            ];
            let message = Append {
                owners: &owners,
                transient: true,
                weight: 5,
                payload: &[b"head", b"body!"],
            };
            let mut out = b"before".to_vec();
            encode_message(&mut out, LogPosition(8), salt(4), &message);
            let bytes = &out[6..];
            assert_eq!(bytes.len(), message_bytes(&message));
            let record = decode(bytes, salt(4)).unwrap();
            assert_eq!(record.position, LogPosition(8));
            let Body::Message(decoded) = record.body else {
                panic!("not a message");
            };
            assert_eq!(decoded.payload, b"headbody!");
            assert!(decoded.transient);
            assert_eq!(decoded.weight, 5);
            assert!(decoded.owners().eq(owners));
            assert!(decode(bytes, salt(5)).is_none(), "another file's salt");
            let mut copy = bytes.to_vec();
            resalt(&mut copy, salt(4), salt(5));
            assert!(decode(&copy, salt(5)).is_some());
        }
    }

    #[test]
    fn runs_are_coalesced() {
        let released = positions(&[1, 2, 3, 900, 902, 903]);
        let note = Note::Release {
            owner: OwnerId(1),
            positions: &released,
        };
        let mut out = Vec::new();
        encode_note(&mut out, LogPosition(1000), 0, &note);
        assert!(out.len() <= note.bytes_max());
        let Some(Record {
            body: Body::Release { owner, runs },
            ..
        }) = decode(&out, 0)
        else {
            panic!("not a release");
        };
        assert_eq!(owner, OwnerId(1));
        assert!(runs.iter().eq([(1, 3), (900, 900), (902, 903)]));
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_seen() {
        let mut out = Vec::new();
        let note = Note::Purge {
            owner: OwnerId(1),
            keep: &positions(&[5]),
            rest: Some((9, 12)),
        };
        encode_note(&mut out, LogPosition(6), salt(1), &note);
        for bit in 0..out.len() * 8 {
            out[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&out, salt(1)).is_none(), "bit {bit}");
            out[bit / 8] ^= 1 << (bit % 8);
        }
        for end in 0..out.len() {
            assert!(decode(&out[..end], salt(1)).is_none());
        }
    }

    #[test]
    fn what_no_record_can_say_is_refused() {
        let reads = |position, note: &Note<'_>| {
            let mut out = Vec::new();
            encode_note(&mut out, LogPosition(position), salt(1), note);
            decode(&out, salt(1)).is_some()
        };
        let mark = Note::Mark {
            file: 1,
            synced_bytes: 0,
        };
        let forget = |owner| Note::Forget {
            owner: OwnerId(owner),
        };
        for (position, as_mark, as_other) in [
            (0, false, false),
            (1, true, true),
            (POSITION_MAX - 1, true, true),
            (POSITION_MAX, true, false),
            (POSITION_MAX + 1, false, false),
            (u64::MAX, false, false),
        ] {
            assert_eq!(reads(position, &mark), as_mark, "{position}");
            assert_eq!(reads(position, &forget(1)), as_other, "{position}");
        }
        assert!(reads(1, &forget(OWNER_MAX)) && !reads(1, &forget(OWNER_MAX + 1)));
        for (last, possible) in [(POSITION_MAX, true), (POSITION_MAX + 1, false)] {
            let note = Note::Release {
                owner: OwnerId(1),
                positions: &positions(&[7, last]),
            };
            assert_eq!(reads(1, &note), possible, "{last}");
        }
    }
}
