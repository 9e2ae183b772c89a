//! The writer: takes what waits, writes it, syncs once, says so.
//!
//! The longer a sync takes, the more the next one covers. After an error it never tries again, but for a full
//! medium: what could not be written is still here, and the same bytes go to the same place when there is room.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::disk::DiskFile;
use crate::error::{is_full, used_up};
use crate::limits::{BUFFER_BYTES_KEPT, MARKS_ROOM_BYTES, POSITION_MAX, SECTOR_BYTES};
use crate::log::{Chunk, DeliberateFault, Durability, Inner, Shared};
use crate::log_file::{self, Header, Make, MakeError};
use crate::{LogPosition, StorageError, record};

/// What the writer alone knows.
pub(crate) struct Writer {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) number: u64,
    /// Whether it has bytes that are not synced.
    dirty: bool,
    /// Taken, and not yet written because the medium was full.
    unfinished: Option<Arc<Vec<Chunk>>>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// There was nothing to do.
    Idle,
    Wrote,
    /// The medium is full; the same is tried at the next step.
    Full,
    Failed,
}

impl Writer {
    pub(crate) fn new(file: Arc<dyn DiskFile>, number: u64) -> Self {
        Writer {
            file,
            number,
            dirty: false,
            unfinished: None,
        }
    }
}

impl Shared {
    /// Writes everything that waits.
    pub(crate) fn write_step(&self) -> Step {
        let writer = &mut *self.writer.lock();
        if self.check_failure().is_err() {
            return Step::Failed;
        }
        let chunks = match writer.unfinished.take() {
            Some(chunks) => chunks,
            None => match self.inner.lock().take_pending() {
                Some(chunks) => chunks,
                None => return Step::Idle,
            },
        };
        let mut result = self.write_chunks(writer, &chunks);
        if let Err(MakeError::Again(error)) = &result
            && error.is_full()
            && self.give_up_reserve()
        {
            result = self.write_chunks(writer, &chunks);
        }
        match result {
            Ok(()) => {}
            Err(MakeError::Again(error)) if error.is_full() => {
                writer.unfinished = Some(chunks);
                self.full.store(true, Ordering::Relaxed);
                return Step::Full;
            }
            Err(MakeError::Again(error) | MakeError::Fatal(error)) => {
                self.fail(&error);
                return Step::Failed;
            }
        }
        self.full.store(false, Ordering::Relaxed);
        if self.options.deliberate_fault == DeliberateFault::ConfirmBeforeSync {
            self.publish_durable(&chunks);
        }
        let noted = chunks.iter().any(|chunk| chunk.last_position > 0);
        if noted && self.options.durability == Durability::Fsync {
            let begun = Instant::now();
            if let Err(error) = writer.file.sync() {
                self.fail(&StorageError::disk(log_file::name(writer.number), error));
                return Step::Failed;
            }
            self.syncs.add(begun.elapsed(), 1);
            writer.dirty = false;
        }
        self.finish(writer, chunks);
        Step::Wrote
    }

    fn write_chunks(&self, writer: &mut Writer, chunks: &[Chunk]) -> Result<(), MakeError> {
        for chunk in chunks {
            if POSITION_MAX <= chunk.last_position {
                let name = log_file::name(chunk.file);
                return Err(MakeError::Fatal(StorageError::disk(name, used_up())));
            }
            // A second try, after the medium was full: files before this one are done with.
            if chunk.file < writer.number {
                continue;
            }
            if let Some(previous_end) = chunk.previous_end
                && writer.number != chunk.file
            {
                self.begin_file(writer, chunk, previous_end)?;
            }
            debug_assert_eq!(writer.number, chunk.file);
            writer.dirty = true;
            writer
                .file
                .write_at(chunk.offset, &chunk.bytes)
                .map_err(|error| {
                    let full = is_full(&error);
                    let error = StorageError::disk(log_file::name(chunk.file), error);
                    if full {
                        MakeError::Again(error)
                    } else {
                        MakeError::Fatal(error)
                    }
                })?;
        }
        Ok(())
    }

    /// Closes the file that is full, for good, and makes the next one.
    fn begin_file(
        &self,
        writer: &mut Writer,
        chunk: &Chunk,
        previous_end: u64,
    ) -> Result<(), MakeError> {
        if writer.dirty {
            let result = writer.file.sync();
            result.map_err(|error| {
                MakeError::Fatal(StorageError::disk(log_file::name(writer.number), error))
            })?;
            writer.dirty = false;
        }
        let needed_bytes = chunk.end() + MARKS_ROOM_BYTES;
        let bytes = match self.inner.lock().reserved {
            true => needed_bytes.max(self.options.log_file_bytes),
            // The medium is full: no more than must be.
            false => needed_bytes,
        };
        let make = Make {
            header: Header {
                number: chunk.file,
                first: LogPosition(chunk.first_position),
                previous_end,
                bytes,
            },
            spare: self.spares.lock().pop(),
            sync_names: self.options.deliberate_fault != DeliberateFault::SkipNameSync,
        };
        let file = log_file::make(&*self.disk, &make)?;
        log_file::mark_next(&*writer.file, writer.number, previous_end, &make.header)?;
        writer.file = file;
        writer.number = chunk.file;
        Ok(())
    }

    fn publish_durable(&self, chunks: &[Chunk]) {
        let last = chunks.iter().map(|chunk| chunk.last_position).max();
        if let Some(last) = last.filter(|last| *last > 0) {
            self.durable.store(last, Ordering::Release);
            self.wake_durable();
        }
    }

    fn finish(&self, writer: &Writer, chunks: Arc<Vec<Chunk>>) {
        let end = chunks.last().map(Chunk::end);
        let mut inner = self.inner.lock();
        inner.in_flight = None;
        inner.written_file = writer.number;
        inner.waiting_bytes -= chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>();
        if let Some(end) = end.filter(|_| !writer.dirty) {
            inner.synced = (writer.number, end);
        }
        let due = inner.retirement_due(self.options.log_file_bytes);
        drop(inner);
        self.publish_durable(&chunks);
        self.wake_room();
        // A reader may still be at it, then the buffers are simply freed.
        if let Ok(chunks) = Arc::try_unwrap(chunks) {
            let mut inner = self.inner.lock();
            for mut chunk in chunks {
                if chunk.bytes.capacity() <= BUFFER_BYTES_KEPT && inner.buffers.len() < 2 {
                    chunk.bytes.clear();
                    inner.buffers.push(chunk.bytes);
                }
            }
        }
        if due {
            self.keeper_work.notify_one();
        }
    }

    /// Writes a mark behind what is synced, so that damage to it is told from a torn tail.
    pub(crate) fn mark_idle(&self) {
        let mut inner = self.inner.lock();
        let synced = (inner.file, inner.file_bytes);
        if inner.waiting_bytes > 0 || inner.synced != synced || inner.failed {
            return;
        }
        let sector = SECTOR_BYTES as u64;
        let other_sector = inner.file_bytes.next_multiple_of(sector);
        inner.open_chunk(None);
        while inner.file_bytes < other_sector + record::MARK_BYTES as u64 {
            inner.repeat_mark();
        }
        drop(inner);
        self.write_step();
    }

    /// Makes everything durable that was pushed so far, whatever the options say.
    pub(crate) fn sync_all(&self) -> Result<(), StorageError> {
        let target = self.inner.lock().last_position();
        // A mark that found the medium full waits too, and no position tells of it.
        while self.durable.load(Ordering::Acquire) < target.0
            || self.inner.lock().in_flight.is_some()
        {
            match self.write_step() {
                Step::Wrote | Step::Idle => {}
                Step::Full => {
                    let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
                    return Err(StorageError::disk("log", error));
                }
                Step::Failed => {
                    self.check_failure()?;
                }
            }
        }
        let writer = &mut *self.writer.lock();
        self.check_failure()?;
        if writer.dirty {
            let result = writer.file.sync();
            result.map_err(|error| {
                self.fail(&StorageError::disk(log_file::name(writer.number), error))
            })?;
            writer.dirty = false;
        }
        Ok(())
    }
}

impl Inner {
    fn take_pending(&mut self) -> Option<Arc<Vec<Chunk>>> {
        if self.pending.is_empty() {
            return None;
        }
        let chunks: Arc<Vec<Chunk>> = Arc::new(self.pending.drain(..).collect());
        self.in_flight = Some(Arc::clone(&chunks));
        Some(chunks)
    }
}
