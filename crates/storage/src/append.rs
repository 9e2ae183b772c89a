//! Putting records into the log: encoded into the writer's buffer under one lock a batch.
//!
//! The order of calls is the order of positions, of the file, and of recovery. Nothing here touches a disk;
//! the writer takes the buffer when it comes round.

use parking_lot::MutexGuard;

use crate::ledger::Place;
use crate::limits::{MARKS_ROOM_BYTES, RECORD_BYTES_MAX};
use crate::log::{Chunk, Inner, Shared};
use crate::record::{self, Note};
use crate::{LogPosition, OwnerId, ledger};

/// What a message is for one owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerEntry {
    /// Whose it is.
    pub owner: OwnerId,
    /// When it expires there, wall clock in milliseconds; 0: never. Kept, not acted upon.
    pub expires_ms: u64,
    /// Failed deliveries before it came here.
    pub delivery_count: u32,
    /// Its priority there.
    pub priority: u8,
}

impl OwnerEntry {
    /// An owner and nothing to say of it: eight bytes in the log.
    pub const fn plain(owner: OwnerId) -> Self {
        OwnerEntry {
            owner,
            expires_ms: 0,
            delivery_count: 0,
            priority: 0,
        }
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.expires_ms == 0 && self.delivery_count == 0 && self.priority == 0
    }
}

/// A message to be appended: one record, however many owners it has.
#[derive(Debug, Clone, Copy)]
pub struct Append<'a> {
    /// Who holds it: at least one, each once.
    pub owners: &'a [OwnerEntry],
    /// Forgotten at the next open: for messages that only left memory, and were not meant to survive.
    pub transient: bool,
    /// What the caller counts it as (its body's bytes): summed up for each owner at recovery.
    pub weight: u32,
    /// The bytes to keep, in parts that are laid behind each other.
    pub payload: &'a [&'a [u8]],
}

/// Why a message was not appended. Nothing of it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The writer, or the keeper, is behind, or the medium is full: wait for [`crate::Log::wake_when_room`] and try
    /// again.
    #[error("the message log is behind")]
    Behind,
    /// The log has failed and takes nothing any more: [`crate::Log::failure`] says why.
    #[error("the message log has failed")]
    Failed,
}

/// The log, taken for a batch of calls. Other threads wait while it lives, so it is kept short, and nothing else
/// is locked meanwhile. Dropping it wakes the writer.
pub struct Batch<'a> {
    shared: &'a Shared,
    inner: MutexGuard<'a, Inner>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        Batch {
            shared,
            inner: shared.inner.lock(),
        }
    }

    /// Appends a message and gives its position, the same for all its owners.
    ///
    /// # Errors
    /// [`Refused`]; what was pushed before stays pushed.
    ///
    /// # Panics
    /// If it has no owner, or record and owners together exceed [`RECORD_BYTES_MAX`].
    pub fn push(&mut self, message: &Append<'_>) -> Result<LogPosition, Refused> {
        let inner = &mut *self.inner;
        if inner.failed {
            return Err(Refused::Failed);
        }
        if !inner.has_room(&self.shared.options) {
            return Err(Refused::Behind);
        }
        assert!(!message.owners.is_empty(), "a message has an owner");
        let length = record::message_bytes(message);
        assert!(
            length <= RECORD_BYTES_MAX as usize,
            "a record has its limit"
        );
        inner.push_message(message, length, self.shared.options.log_file_bytes);
        Ok(inner.last_position())
    }

    /// The owner is done with these messages: acked, dropped, expired. Never refused. Gives the position whose
    /// durability is that of the release; until then a crash may bring the messages back. What the owner does
    /// not hold (any more) is passed over, and counted in [`crate::Usage::releases_not_alive`].
    pub fn release(&mut self, owner: OwnerId, positions: &[LogPosition]) -> LogPosition {
        let inner = &mut *self.inner;
        inner.ledger.release(owner, positions.iter().map(|p| p.0));
        self.note_sorted(positions, |positions| Note::Release { owner, positions })
    }

    /// These messages have been handed out before, and delivery failed so many times. For what is requeued
    /// with a count, and for what is unacked at a shutdown; not for each delivery: after a crash
    /// [`crate::Recovery::clean`] says that anything may have been delivered.
    pub fn note_delivered(
        &mut self,
        owner: OwnerId,
        delivery_count: u32,
        positions: &[LogPosition],
    ) -> LogPosition {
        let runs = positions.iter().map(|p| (p.0, p.0));
        self.inner
            .ledger
            .note_delivered(owner, delivery_count, runs);
        self.note_sorted(positions, |positions| Note::Delivered {
            owner,
            count: delivery_count,
            positions,
        })
    }

    /// The owner is done with everything that it has so far, but for `keep` (what is unacked).
    pub fn purge(&mut self, owner: OwnerId, keep: &[LogPosition]) -> LogPosition {
        let last = self.inner.last_position();
        self.purge_up_to(owner, last, keep)
    }

    /// The owner is done with everything that it has up to a position, but for `keep`.
    pub fn purge_up_to(
        &mut self,
        owner: OwnerId,
        up_to: LogPosition,
        keep: &[LogPosition],
    ) -> LogPosition {
        let mut keep = keep.to_vec();
        keep.retain(|position| position.0 > 0 && *position <= up_to);
        keep.sort_unstable();
        keep.dedup();
        let mut runs: Vec<(u64, u64)> = keep.iter().map(|p| (p.0, p.0)).collect();
        let inner = &mut *self.inner;
        let last = inner.last_position().0;
        let rest = (up_to.0 < last).then(|| (up_to.0 + 1, last));
        runs.extend(rest);
        inner.ledger.purge(owner, inner.next_position, &runs);
        let note = Note::Purge {
            owner,
            keep: &keep,
            rest,
        };
        inner.push_note(&note, self.shared.options.log_file_bytes)
    }

    /// The owner is gone for good, with everything it has. Its number must never come again.
    pub fn forget(&mut self, owner: OwnerId) -> LogPosition {
        let inner = &mut *self.inner;
        inner.ledger.forget(owner);
        inner.push_note(&Note::Forget { owner }, self.shared.options.log_file_bytes)
    }

    /// Encodes a note about positions in any order, in records of a bounded number of them.
    fn note_sorted<'p>(
        &mut self,
        positions: &'p [LogPosition],
        note: impl for<'n> Fn(&'n [LogPosition]) -> Note<'n>,
    ) -> LogPosition {
        const POSITIONS_A_RECORD: usize = 1 << 16;
        let sorted: std::borrow::Cow<'p, [LogPosition]> =
            if positions.first() != Some(&LogPosition(0)) && positions.is_sorted_by(|a, b| a < b) {
                positions.into()
            } else {
                let mut sorted = positions.to_vec();
                sorted.sort_unstable();
                sorted.dedup();
                sorted.retain(|position| position.0 > 0);
                sorted.into()
            };
        let inner = &mut *self.inner;
        for positions in sorted.chunks(POSITIONS_A_RECORD) {
            inner.push_note(&note(positions), self.shared.options.log_file_bytes);
        }
        inner.last_position()
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if self.inner.writer_waits && !self.inner.pending.is_empty() {
            self.inner.writer_waits = false;
            self.shared.writer_work.notify_one();
        }
    }
}

impl Inner {
    /// The newest position given.
    pub(crate) fn last_position(&self) -> LogPosition {
        LogPosition(self.next_position - 1)
    }

    fn push_message(&mut self, message: &Append<'_>, length: usize, file_bytes_max: u64) {
        let position = LogPosition(self.next_position);
        let chunk = self.chunk_for(length, file_bytes_max);
        let offset = chunk.end();
        let salt = record::salt(chunk.file);
        record::encode_message(&mut chunk.bytes, position, salt, message);
        debug_assert_eq!(chunk.end(), offset + length as u64);
        let place = Place {
            offset: offset as u32,
            length: length as u32,
            weight: message.weight,
            transient: message.transient,
        };
        self.ledger
            .push_message(message.owners.iter().copied(), place);
        self.pushed(length);
    }

    pub(crate) fn push_note(&mut self, note: &Note<'_>, file_bytes_max: u64) -> LogPosition {
        if self.failed {
            return self.last_position();
        }
        let position = LogPosition(self.next_position);
        let chunk = self.chunk_for(note.bytes_max(), file_bytes_max);
        let before = chunk.bytes.len();
        let salt = record::salt(chunk.file);
        record::encode_note(&mut chunk.bytes, position, salt, note);
        let length = chunk.bytes.len() - before;
        self.ledger.push_note();
        self.pushed(length);
        position
    }

    fn pushed(&mut self, length: usize) {
        if let Some(chunk) = self.pending.back_mut() {
            chunk.last_position = self.next_position;
        }
        self.next_position += 1;
        self.file_bytes += length as u64;
        self.waiting_bytes += length;
    }

    /// The chunk that a record of this length goes into: the newest one, or a new one with its mark, in the next
    /// file if this one is full.
    pub(crate) fn chunk_for(&mut self, length: usize, file_bytes_max: u64) -> &mut Chunk {
        let open = self.pending.back().is_some();
        let mark = if open { 0 } else { record::MARK_BYTES };
        let needed = (mark + length) as u64 + MARKS_ROOM_BYTES;
        let full = self.file_bytes + needed > file_bytes_max;
        // A file takes at least one record, whatever its length.
        let begun = self
            .ledger
            .files
            .back()
            .is_some_and(|file| file.end() > file.first);
        if full && begun {
            let previous_end = self.file_bytes;
            self.file += 1;
            self.ledger
                .files
                .push_back(ledger::FileIndex::new(self.file, self.next_position));
            self.file_bytes = crate::log_file::HEADER_BYTES as u64;
            self.open_chunk(Some(previous_end));
        } else if !open {
            self.open_chunk(None);
        }
        self.pending.back_mut().expect("a chunk was just opened")
    }

    /// Puts the mark of an open chunk that has nothing else once more.
    pub(crate) fn repeat_mark(&mut self) {
        if let Some(chunk) = self.pending.back_mut() {
            let mark = chunk.bytes.len() - record::MARK_BYTES;
            chunk.bytes.extend_from_within(mark..);
            self.file_bytes += record::MARK_BYTES as u64;
            self.waiting_bytes += record::MARK_BYTES;
        }
    }

    /// Opens a chunk with its mark. `previous_end`: it begins its file.
    pub(crate) fn open_chunk(&mut self, previous_end: Option<u64>) {
        let (synced_file, synced_bytes) = self.synced;
        let note = Note::Mark {
            file: self.file,
            synced_bytes: if synced_file == self.file {
                synced_bytes
            } else {
                0
            },
        };
        let mut bytes = self.buffers.pop().unwrap_or_default();
        let position = LogPosition(self.next_position);
        record::encode_note(&mut bytes, position, record::salt(self.file), &note);
        debug_assert_eq!(bytes.len(), record::MARK_BYTES);
        let chunk = Chunk {
            file: self.file,
            offset: self.file_bytes,
            previous_end,
            first_position: self.next_position,
            last_position: 0,
            bytes,
        };
        self.file_bytes += record::MARK_BYTES as u64;
        self.waiting_bytes += record::MARK_BYTES;
        self.pending.push_back(chunk);
    }
}
