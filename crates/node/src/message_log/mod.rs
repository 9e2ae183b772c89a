//! The message log as the node uses it: what queues hold that must not be lost, or has no room in memory.
//!
//! ```text
//! publishes ─► Appending: one lock, a record a message ─► positions ─► queues ─► releases
//!                                 │
//!                                 └─► durable(): confirms may go
//! ```
//! An owner of the log is a queue, by its number. The bytes of a record are in [`payload`]; the log itself, its
//! files and its recovery are the crate `storage`. Deliberately absent: which messages are logged, which
//! publishers and queues decide.

mod cache;
mod pager;
mod payload;
mod telling;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use broker::message::{LogPosition, Message};
use broker::queue::{Incoming, NEVER_MS, Purged, Spill};
use broker::router::QueueId;
use parking_lot::Mutex;
use storage::disk::{Disk, Space, real::RealDisk};
use storage::{Append, Batch, Histogram, Log, OwnerEntry, OwnerId, ReadLimit, Running};

pub use cache::{CACHE_BYTES_DEFAULT, MessageCache};
pub(crate) use cache::{PageOut, Share};
pub(crate) use pager::Pager;
use telling::Telling;

pub use storage::{
    Damage, Durability, Options, RecoveredOwner, Recovery, Refused, StorageError, Usage, Waker,
};

/// A queue that takes a message.
#[derive(Debug, Clone, Copy)]
pub struct Taker {
    /// Which.
    pub queue: QueueId,
    /// When the message expires there; [`NEVER_MS`] if never.
    pub expires_at_ms: u64,
    /// Failed deliveries that it brings along.
    pub delivery_count: u32,
}

impl Taker {
    fn entry(&self) -> OwnerEntry {
        OwnerEntry {
            owner: owner(self.queue),
            expires_ms: match self.expires_at_ms {
                NEVER_MS => 0,
                // 0 would mean never.
                at_ms => at_ms.max(1),
            },
            delivery_count: self.delivery_count,
            priority: 0,
        }
    }
}

fn owner(queue: QueueId) -> OwnerId {
    OwnerId(queue.0)
}

/// See the module.
pub struct MessageLog {
    log: Log,
    running: Mutex<Option<Running>>,
    /// Messages up to here may have been delivered before, noted or not: the broker ended without a word.
    redelivered_up_to: LogPosition,
    /// Of each batch that was or will be appended and is not with its queues yet, a position below all its own; and
    /// how many such batches there are.
    in_flight: Mutex<BTreeMap<u64, u32>>,
    cache: MessageCache,
    pager: Pager,
    reader: Mutex<Option<JoinHandle<()>>>,
}

impl MessageLog {
    /// Opens the log of a data directory and starts its threads. Gives what it found, too.
    ///
    /// # Errors
    /// If the directory is in use or damaged, or the disk says no.
    pub fn open(
        data_dir: &Path,
        options: Options,
        redelivered_up_to: u64,
    ) -> Result<(Arc<MessageLog>, Recovery), StorageError> {
        let disk_error = |error| StorageError::Disk {
            file: storage::DIRECTORY.to_owned(),
            error,
        };
        let disk = RealDisk::open(&data_dir.join(storage::DIRECTORY)).map_err(disk_error)?;
        let mut told = Telling::default();
        let began = Instant::now();
        let mut tell = |progress| told.tell(progress, began.elapsed());
        let (log, recovery) = Log::open_with_progress(Arc::new(disk), options, &mut tell)?;
        let running = log.run().map_err(disk_error)?;
        let log = MessageLog::assemble(log, Some(running), &recovery, redelivered_up_to);
        Ok((log, recovery))
    }

    /// A log on a medium of the caller's, without threads: [`MessageLog::step`] writes.
    ///
    /// # Errors
    /// As [`MessageLog::open`].
    pub fn on_disk(
        disk: Arc<dyn Disk>,
        options: Options,
        redelivered_up_to: u64,
    ) -> Result<(Arc<MessageLog>, Recovery), StorageError> {
        let (log, recovery) = Log::open(disk, options)?;
        let log = MessageLog::assemble(log, None, &recovery, redelivered_up_to);
        Ok((log, recovery))
    }

    fn assemble(
        log: Log,
        running: Option<Running>,
        recovery: &Recovery,
        redelivered_up_to: u64,
    ) -> Arc<MessageLog> {
        log.on_damage(telling::say_damage);
        let redelivered_up_to = match recovery.clean {
            true => redelivered_up_to,
            false => recovery.last_position.0,
        };
        Arc::new(MessageLog {
            log,
            running: Mutex::new(running),
            redelivered_up_to: LogPosition(redelivered_up_to),
            in_flight: Mutex::default(),
            cache: MessageCache::new(CACHE_BYTES_DEFAULT),
            pager: Pager::default(),
            reader: Mutex::default(),
        })
    }

    /// Messages up to here are delivered as redelivered.
    pub fn redelivered_up_to(&self) -> LogPosition {
        self.redelivered_up_to
    }

    /// Writes what waits, in a log without threads.
    pub fn step(&self) {
        self.log.write_step();
    }

    /// Starts the thread that reads for queues.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start_reader(
        self: &Arc<Self>,
        now_ms: impl Fn() -> u64 + Send + 'static,
    ) -> std::io::Result<()> {
        let log = Arc::clone(self);
        let reader = std::thread::Builder::new()
            .name("log-reader".to_owned())
            .spawn(move || log.pager.run(&log, now_ms))?;
        *self.reader.lock() = Some(reader);
        Ok(())
    }

    /// Reads for one queue, in a log without threads. Gives whether any waited.
    pub fn read_step(&self, now_ms: u64) -> bool {
        self.pager.step(self, now_ms)
    }

    /// How much memory messages may take, and do.
    pub fn cache(&self) -> &MessageCache {
        &self.cache
    }

    pub(crate) fn pager(&self) -> &Pager {
        &self.pager
    }

    // ---- into the log ----

    /// Takes the log for a batch of messages. No other lock is taken while it is held.
    pub fn begin(self: &Arc<Self>) -> Appending<'_> {
        let below = self.log.durable().0;
        *self.in_flight.lock().entry(below).or_default() += 1;
        Appending {
            in_flight: InFlight {
                log: Arc::clone(self),
                below,
            },
            batch: self.log.batch(),
            entries: Vec::new(),
        }
    }

    /// A queue is done with messages; what is not in the log is passed over.
    pub fn release(&self, queue: QueueId, positions: &[LogPosition]) {
        let positions = positions.iter().filter(|position| position.is_some());
        let positions: Vec<_> = positions.map(|p| storage::LogPosition(p.0)).collect();
        if !positions.is_empty() {
            self.log.batch().release(owner(queue), &positions);
        }
    }

    /// A queue is purged.
    pub fn purge(&self, queue: QueueId, purged: &Purged) {
        let keep = purged.keep.iter().map(|p| storage::LogPosition(p.0));
        let keep: Vec<_> = keep.collect();
        let up_to = storage::LogPosition(purged.up_to.0);
        self.log.batch().purge_up_to(owner(queue), up_to, &keep);
    }

    /// A queue is gone with all it had.
    pub fn forget(&self, queue: QueueId) {
        self.log.batch().forget(owner(queue));
    }

    /// These messages of a queue have been delivered, and delivery has failed so many times.
    pub fn note_delivered(&self, queue: QueueId, delivery_count: u32, positions: &[LogPosition]) {
        let positions: Vec<_> = positions
            .iter()
            .map(|p| storage::LogPosition(p.0))
            .collect();
        if !positions.is_empty() {
            let mut batch = self.log.batch();
            batch.note_delivered(owner(queue), delivery_count, &positions);
        }
    }

    /// Everything up to this position is in the log and with its queue.
    pub fn settled(&self) -> LogPosition {
        // In this order: a batch that is appended after the first line is above what that line gave.
        let last = self.log.last_position().0;
        let first = self
            .in_flight
            .lock()
            .first_key_value()
            .map(|(below, _)| *below);
        LogPosition(first.map_or(last, |below| below.min(last)))
    }

    // ---- what the log says ----

    /// Everything up to here is as durable as the settings want it.
    pub fn durable(&self) -> LogPosition {
        LogPosition(self.log.durable().0)
    }

    /// The newest position given.
    pub fn last_position(&self) -> LogPosition {
        LogPosition(self.log.last_position().0)
    }

    /// Calls `waker` once, when `position` is durable or never will be.
    pub fn wake_when_durable(&self, position: LogPosition, waker: Waker) {
        let position = storage::LogPosition(position.0);
        self.log.wake_when_durable(position, waker);
    }

    /// Calls `waker` once, when there may be room again after [`Refused::Behind`].
    pub fn wake_when_room(&self, waker: Waker) {
        self.log.wake_when_room(waker);
    }

    /// Why the log takes nothing any more, if so.
    pub fn failure(&self) -> Option<Arc<str>> {
        self.log.failure()
    }

    /// Damage that was met since the start, and goes on existing. The log goes on around it.
    pub fn damages(&self) -> Vec<Damage> {
        self.log.damages()
    }

    /// How many messages a queue has in the log.
    pub fn messages(&self, queue: QueueId) -> u64 {
        self.log.messages(owner(queue))
    }

    /// What it takes on the medium.
    pub fn usage(&self) -> Usage {
        self.log.usage()
    }

    /// How long the syncs of its commits took.
    pub fn syncs(&self) -> &Histogram {
        self.log.syncs()
    }

    /// Bytes that it takes on the medium, about.
    pub fn bytes(&self) -> u64 {
        let usage = self.log.usage();
        let file_bytes = Options::default().log_file_bytes;
        usage.segment_bytes + usage.log_files as u64 * file_bytes
    }

    /// What the medium has left.
    ///
    /// # Errors
    /// What the disk says.
    pub fn space(&self) -> std::io::Result<Space> {
        self.log.space()
    }

    // ---- out of the log ----

    /// Reads a queue's messages from a position on, in their order. May wait for the disk. Gives the position to go
    /// on from, `None` at the end.
    ///
    /// # Errors
    /// Damage, or what the disk says.
    pub fn read(
        &self,
        queue: QueueId,
        from: LogPosition,
        limit: ReadLimit,
        visit: &mut dyn FnMut(Incoming),
    ) -> Result<Option<LogPosition>, StorageError> {
        let from = storage::LogPosition(from.0);
        let next = self.log.read(owner(queue), from, limit, &mut |stored| {
            let position = LogPosition(stored.position.0);
            let Some(message) = payload::message(stored.payload) else {
                tracing::error!(
                    queue = queue.0,
                    position = position.0,
                    "a record holds no message"
                );
                return;
            };
            visit(Incoming {
                message,
                position,
                redelivered: stored.redelivered
                    || stored.delivery_count > 0
                    || position <= self.redelivered_up_to,
                uncertain: false,
                delivery_count: stored.delivery_count,
                expires_at_ms: Some(match stored.expires_ms {
                    0 => NEVER_MS,
                    at_ms => at_ms,
                }),
            });
        })?;
        Ok(next.map(|position| LogPosition(position.0)))
    }

    /// Forgets queues that `is_known` does not know: they were deleted, or were never whole.
    pub fn forget_unknown(&self, is_known: impl Fn(QueueId) -> bool) {
        let unknown = self.log.owners().into_iter();
        let unknown: Vec<_> = unknown
            .filter(|owner| !is_known(QueueId(owner.0)))
            .collect();
        let mut batch = self.log.batch();
        for owner in unknown {
            batch.forget(owner);
        }
    }

    /// Writes everything and says that this end was clean.
    ///
    /// # Errors
    /// What the disk says, now or before.
    pub fn stop(&self) -> Result<(), StorageError> {
        self.pager.stop();
        if let Some(reader) = self.reader.lock().take() {
            // A thread that panicked has said so itself.
            let _ = reader.join();
        }
        match self.running.lock().take() {
            Some(running) => running.stop(),
            None => self.log.close(),
        }
    }
}

/// Puts a queue's messages into the log that have no position there, for want of memory.
pub(crate) struct Spiller<'a> {
    log: &'a MessageLog,
    queue: QueueId,
}

impl<'a> Spiller<'a> {
    pub(crate) fn new(log: &'a MessageLog, queue: QueueId) -> Self {
        Spiller { log, queue }
    }
}

impl Spill for Spiller<'_> {
    fn spill(
        &mut self,
        message: &Message,
        expires_at_ms: u64,
        outlives: bool,
    ) -> Option<LogPosition> {
        let taker = Taker {
            queue: self.queue,
            expires_at_ms,
            delivery_count: 0,
        };
        let mut batch = self.log.log.batch();
        let position = push(&mut batch, &[taker.entry()], message, !outlives);
        position.ok()
    }
}

fn push(
    batch: &mut Batch<'_>,
    owners: &[OwnerEntry],
    message: &Message,
    transient: bool,
) -> Result<LogPosition, Refused> {
    let (form, bytes) = message.stored();
    let position = batch.push(&Append {
        owners,
        transient,
        weight: message.body().len() as u32,
        payload: &[&payload::head(message.origin(), form), bytes],
    })?;
    Ok(LogPosition(position.0))
}

/// The log, taken for a batch of messages. See [`MessageLog::begin`].
pub struct Appending<'a> {
    // Before the other: the batch ends first.
    batch: Batch<'a>,
    in_flight: InFlight,
    entries: Vec<OwnerEntry>,
}

impl Appending<'_> {
    /// Appends a message for all the queues that take it: one record.
    ///
    /// # Errors
    /// [`Refused`]; what was pushed before stays.
    pub fn push(
        &mut self,
        message: &Message,
        takers: impl IntoIterator<Item = Taker>,
    ) -> Result<LogPosition, Refused> {
        self.entries.clear();
        self.entries
            .extend(takers.into_iter().map(|taker| taker.entry()));
        push(&mut self.batch, &self.entries, message, false)
    }

    /// A queue is done with a message.
    pub fn release(&mut self, queue: QueueId, position: LogPosition) {
        if position.is_some() {
            self.batch
                .release(owner(queue), &[storage::LogPosition(position.0)]);
        }
    }

    /// Lets go of the log. What it gives must live until the messages are with their queues.
    pub fn end(self) -> InFlight {
        self.in_flight
    }
}

/// Messages that have a position and are on their way to their queues.
#[must_use = "it must live until the messages are with their queues"]
pub struct InFlight {
    log: Arc<MessageLog>,
    below: u64,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut in_flight = self.log.in_flight.lock();
        if let Some(batches) = in_flight.get_mut(&self.below) {
            *batches -= 1;
            if *batches == 0 {
                in_flight.remove(&self.below);
            }
        }
    }
}
