//! The door: one handle to the node's message log, shared by all who use it.
//!
//! A caller takes a [`Batch`], pushes, and later asks [`Log::durable`] or is woken. Nothing it calls waits for
//! the disk but [`Log::read`]. Deliberately absent: threads (see [`crate::Running`]; without it the steps
//! are called by hand, as tests do) and recovery.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex};

use crate::append::Batch;
use crate::disk::{Disk, Space};
use crate::histogram::Histogram;
use crate::keeper::Keeper;
use crate::ledger::Ledger;
use crate::limits::{BUFFER_BYTES_MAX, LOG_FILE_BYTES, LOG_FILE_BYTES_MIN, LOG_FILES_MAX};
use crate::read::{IndexCache, ReadLimit, Stored};
use crate::recovery::{Progress, Recovery};
use crate::writer::Writer;
use crate::{Damage, LogPosition, OwnerId, Running, StorageError};

/// When a record counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When the medium has it: survives a loss of power.
    #[default]
    Fsync,
    /// When the operating system has it: survives the end of the process.
    Os,
}

/// A mistake made on purpose, to see that the tests would find it. Never set outside of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeliberateFault {
    /// None.
    #[default]
    None,
    /// Says "durable" before the sync.
    ConfirmBeforeSync,
    /// Does not sync the directory after a new log file.
    SkipNameSync,
}

/// How to run the log.
#[derive(Debug, Clone)]
pub struct Options {
    /// When a record counts as durable.
    pub durability: Durability,
    /// Size of a log file in bytes; other sizes follow from it.
    pub log_file_bytes: u64,
    /// Bytes that may wait for the writer before messages are refused.
    pub buffer_bytes_max: usize,
    /// For tests.
    pub deliberate_fault: DeliberateFault,
}

impl Options {
    pub(crate) fn reserve_bytes(&self) -> u64 {
        crate::limits::reserve_bytes(self.log_file_bytes)
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            durability: Durability::Fsync,
            log_file_bytes: LOG_FILE_BYTES,
            buffer_bytes_max: BUFFER_BYTES_MAX,
            deliberate_fault: DeliberateFault::None,
        }
    }
}

/// Called, once, from the writer's thread; it must not block and must not use the log.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

pub(crate) type SayDamage = Box<dyn Fn(&Damage) + Send + Sync>;

/// What the log takes, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Log files that have not retired.
    pub log_files: usize,
    /// Segment files.
    pub segments: usize,
    /// Their bytes.
    pub segment_bytes: u64,
    /// An estimate of what of that is alive.
    pub segment_bytes_live: u64,
    /// Those in which damage was met: see [`Log::damages`].
    pub segments_damaged: usize,
    /// Bytes waiting for the writer.
    pub waiting_bytes: usize,
    /// The newest position given.
    pub last_position: LogPosition,
    /// Whether the medium is full: what is appended waits for space.
    pub full: bool,
    /// Releases, since the open, of what its owner did not hold (any more). They do nothing; each is a mistake
    /// of the caller's.
    pub releases_not_alive: u64,
}

/// The node's message log. Clones are the same log.
#[derive(Clone)]
pub struct Log(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: Options,
    pub(crate) inner: Mutex<Inner>,
    /// With `inner`: there is something to write, or to stop for.
    pub(crate) writer_work: Condvar,
    /// With `inner`: there may be something to retire, or to stop for.
    pub(crate) keeper_work: Condvar,
    /// Everything up to here is as durable as the options say.
    pub(crate) durable: AtomicU64,
    failure: Mutex<Option<Arc<str>>>,
    /// See [`Log::on_damage`].
    pub(crate) say_damage: OnceLock<SayDamage>,
    wakers: Mutex<Vec<(LogPosition, Waker)>>,
    room_wakers: Mutex<Vec<Waker>>,
    pub(crate) full: AtomicBool,
    /// Only ever locked by who writes; never while `inner` is held.
    pub(crate) writer: Mutex<Writer>,
    /// Only ever locked by who retires; never while `inner` is held.
    pub(crate) keeper: Mutex<Keeper>,
    /// How long syncs took.
    pub(crate) syncs: Histogram,
    /// Retired log files that may be written over.
    pub(crate) spares: Mutex<Vec<u64>>,
    pub(crate) indexes: Mutex<IndexCache>,
}

/// What one lock guards: the ledger and the buffer.
pub(crate) struct Inner {
    pub(crate) ledger: Ledger,
    pub(crate) next_position: u64,
    /// Filled, or being filled, and not yet taken by the writer.
    pub(crate) pending: VecDeque<Chunk>,
    /// Taken by the writer. Readers may still need it.
    pub(crate) in_flight: Option<Arc<Vec<Chunk>>>,
    /// Bytes of both.
    pub(crate) waiting_bytes: usize,
    /// The newest log file, and where its next record goes.
    pub(crate) file: u64,
    pub(crate) file_bytes: u64,
    /// A file, and up to where it is known to be synced.
    pub(crate) synced: (u64, u64),
    /// The newest log file that the writer has begun: those before it are whole and synced.
    pub(crate) written_file: u64,
    /// Empty, with capacity.
    pub(crate) buffers: Vec<Vec<u8>>,
    pub(crate) failed: bool,
    /// There is room on the medium for what waits, and for notes: see [`crate::reserve`].
    pub(crate) reserved: bool,
    pub(crate) writer_waits: bool,
    pub(crate) stopping: bool,
}

/// Records to be written with one write, in one file, behind a mark.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) file: u64,
    pub(crate) offset: u64,
    /// The end of the file before: this chunk begins its own.
    pub(crate) previous_end: Option<u64>,
    pub(crate) first_position: u64,
    /// 0: there is only the mark.
    pub(crate) last_position: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Inner {
    pub(crate) fn new(ledger: Ledger, next_position: u64, file: u64, file_bytes: u64) -> Self {
        Inner {
            ledger,
            next_position,
            pending: VecDeque::new(),
            in_flight: None,
            waiting_bytes: 0,
            file,
            file_bytes,
            synced: (file, file_bytes),
            written_file: file,
            buffers: Vec::new(),
            failed: false,
            reserved: false,
            writer_waits: false,
            stopping: false,
        }
    }
}

impl Inner {
    /// Whether messages are taken now.
    pub(crate) fn has_room(&self, options: &Options) -> bool {
        self.reserved
            && self.waiting_bytes < options.buffer_bytes_max
            && self.ledger.files.len() < LOG_FILES_MAX
    }
}

impl Chunk {
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

impl Log {
    /// Opens the log in a directory, or makes one there. Changes nothing before it knows that it will succeed.
    ///
    /// # Errors
    /// Damage, with all that was found; or what the disk said.
    ///
    /// # Panics
    /// If a log file would be too small for its header and some records, or too large for its offsets.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<(Log, Recovery), StorageError> {
        Log::open_with_progress(disk, options, &mut |_| {})
    }

    /// The same, telling how far it has come after each file: for a line to whoever waits longer than a second.
    ///
    /// # Errors
    /// As [`Log::open`].
    ///
    /// # Panics
    /// As [`Log::open`].
    pub fn open_with_progress(
        disk: Arc<dyn Disk>,
        options: Options,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Log, Recovery), StorageError> {
        assert!(options.log_file_bytes >= LOG_FILE_BYTES_MIN);
        assert!(options.log_file_bytes <= 1 << 31);
        crate::recovery::open(disk, options, progress)
    }

    pub(crate) fn assemble(
        disk: Arc<dyn Disk>,
        options: Options,
        inner: Inner,
        writer: Writer,
        keeper: Keeper,
    ) -> Log {
        let durable = inner.last_position().0;
        Log(Arc::new(Shared {
            disk,
            options,
            inner: Mutex::new(inner),
            writer_work: Condvar::new(),
            keeper_work: Condvar::new(),
            durable: AtomicU64::new(durable),
            failure: Mutex::new(None),
            say_damage: OnceLock::new(),
            wakers: Mutex::new(Vec::new()),
            room_wakers: Mutex::new(Vec::new()),
            full: AtomicBool::new(false),
            writer: Mutex::new(writer),
            keeper: Mutex::new(keeper),
            syncs: Histogram::default(),
            spares: Mutex::new(Vec::new()),
            indexes: Mutex::new(IndexCache::default()),
        }))
    }

    /// How long the syncs of commits took, since the open.
    pub fn syncs(&self) -> &Histogram {
        &self.0.syncs
    }

    /// Starts the threads that write and retire.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn run(&self) -> std::io::Result<Running> {
        Running::start(self.clone())
    }

    /// Takes the log for a batch of calls.
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(&self.0)
    }

    /// Everything up to this position is durable.
    pub fn durable(&self) -> LogPosition {
        LogPosition(self.0.durable.load(Ordering::Acquire))
    }

    /// Calls `waker` once when `position` is durable, or when the log fails: then [`Log::failure`] says so.
    /// Right away if it is already.
    pub fn wake_when_durable(&self, position: LogPosition, waker: Waker) {
        let mut wakers = self.0.wakers.lock();
        // The writer moves `durable` first and takes the wakers then, so one of us sees the other.
        if self.durable() >= position || self.0.failure.lock().is_some() {
            drop(wakers);
            waker();
        } else {
            wakers.push((position, waker));
        }
    }

    /// Calls `waker` once when there may be room again after [`crate::Refused::Behind`], or when the log fails.
    pub fn wake_when_room(&self, waker: Waker) {
        let mut wakers = self.0.room_wakers.lock();
        if self.0.has_room() {
            drop(wakers);
            waker();
        } else {
            wakers.push(waker);
        }
    }

    /// Why the log takes nothing any more, if so. What is durable can still be read.
    pub fn failure(&self) -> Option<Arc<str>> {
        self.0.failure.lock().clone()
    }

    /// Calls `say` once for each segment in which damage is met from now on, in whatever thread meets it: it must not
    /// block and must not use the log. Only the first call counts.
    pub fn on_damage(&self, say: impl Fn(&Damage) + Send + Sync + 'static) {
        // Whoever comes second is not heard, as documented.
        let _ = self.0.say_damage.set(Box::new(say));
    }

    /// The damage that was met in segments since the open, one each: they stay as they are until nothing that they
    /// hold is wanted any more. The log goes on without rewriting them.
    pub fn damages(&self) -> Vec<Damage> {
        let inner = self.0.inner.lock();
        let segments = inner.ledger.segments.values();
        segments
            .filter_map(|segment| segment.damage.as_deref().cloned())
            .collect()
    }

    /// Reads an owner's messages from a position on (inclusive), in the order of positions: those that it still
    /// holds. May wait for the disk. Gives the position to go on from, or `None` when there are no more now.
    ///
    /// # Errors
    /// Damage, or what the disk said. Messages before it have been visited.
    pub fn read(
        &self,
        owner: OwnerId,
        from: LogPosition,
        limit: ReadLimit,
        visit: &mut dyn FnMut(Stored<'_>),
    ) -> Result<Option<LogPosition>, StorageError> {
        self.0.read(owner, from, limit, visit)
    }

    /// How many messages an owner holds.
    pub fn messages(&self, owner: OwnerId) -> u64 {
        let inner = self.0.inner.lock();
        inner
            .ledger
            .owners
            .get(&owner)
            .map_or(0, |owner| owner.messages())
    }

    /// All owners that hold something, ascending: to forget those that the catalog does not know any more.
    pub fn owners(&self) -> Vec<OwnerId> {
        let inner = self.0.inner.lock();
        let owners = inner.ledger.owners.iter();
        let mut owners: Vec<OwnerId> = owners
            .filter(|(_, state)| !state.is_empty())
            .map(|(owner, _)| *owner)
            .collect();
        owners.sort_unstable();
        owners
    }

    /// What the medium has left, for the watermark below which publishers are blocked.
    ///
    /// # Errors
    /// What the disk said.
    pub fn space(&self) -> std::io::Result<Space> {
        self.0.disk.space()
    }

    /// The newest position given.
    pub fn last_position(&self) -> LogPosition {
        self.0.inner.lock().last_position()
    }

    /// What the log takes.
    pub fn usage(&self) -> Usage {
        let inner = self.0.inner.lock();
        let segments = inner.ledger.segments.values();
        Usage {
            log_files: inner.ledger.files.len(),
            segments: inner.ledger.segments.len(),
            segment_bytes: segments.clone().map(|segment| segment.bytes).sum(),
            segment_bytes_live: segments
                .clone()
                .map(|segment| segment.live_bytes_estimate())
                .sum(),
            segments_damaged: segments.filter(|segment| segment.damage.is_some()).count(),
            waiting_bytes: inner.waiting_bytes,
            last_position: inner.last_position(),
            full: !inner.reserved || self.0.full.load(Ordering::Relaxed),
            releases_not_alive: inner.ledger.releases_not_alive,
        }
    }

    /// Writes what waits. One step of the writer's thread, for who runs without threads.
    /// Gives whether there was anything.
    pub fn write_step(&self) -> bool {
        self.0.write_step() == crate::writer::Step::Wrote
    }

    /// Writes the mark that follows when the log falls idle. For who runs without threads.
    pub fn mark_idle(&self) {
        self.0.mark_idle();
    }

    /// Retires a log file, drops or rewrites segments: one step of the keeper's thread, for who runs without
    /// threads. `idle`: also look for what can be gained in segments that changed little. Gives whether there
    /// was anything to do.
    ///
    /// # Errors
    /// Damage to a log file, or the disk's error; on a full medium the step can be tried again. Damage to a segment
    /// is none: see [`Log::damages`].
    pub fn keep_step(&self, idle: bool) -> Result<bool, StorageError> {
        self.0.keep_step(idle)
    }

    /// Ends cleanly: everything is written and synced, and the manifest says where the log ends. For who runs
    /// without threads; else [`Running::stop`] does it.
    ///
    /// # Errors
    /// What the disk said, now or before.
    pub fn close(&self) -> Result<(), StorageError> {
        self.0.close()
    }

    /// Asserts what must always hold. For tests.
    ///
    /// # Panics
    /// If it does not.
    pub fn check_invariants(&self) {
        self.0.inner.lock().ledger.check_invariants();
    }
}

impl Shared {
    fn has_room(&self) -> bool {
        let inner = self.inner.lock();
        inner.failed || inner.has_room(&self.options)
    }

    /// Wakes those who wait for a position up to this one.
    pub(crate) fn wake_durable(&self) {
        let durable = LogPosition(self.durable.load(Ordering::Acquire));
        let mut due = Vec::new();
        let mut wakers = self.wakers.lock();
        let failed = self.failure.lock().is_some();
        wakers.retain(|(position, waker)| {
            let wait = *position > durable && !failed;
            if !wait {
                due.push(Arc::clone(waker));
            }
            wait
        });
        drop(wakers);
        for waker in due {
            waker();
        }
    }

    /// Wakes those who were told that the log is behind, if it is not any more.
    pub(crate) fn wake_room(&self) {
        let mut wakers = self.room_wakers.lock();
        if wakers.is_empty() || !self.has_room() {
            return;
        }
        let due = std::mem::take(&mut *wakers);
        drop(wakers);
        for waker in due {
            waker();
        }
    }

    /// Closes the log for good: nothing that follows a failed write or sync can be trusted.
    pub(crate) fn fail(&self, why: &StorageError) -> StorageError {
        let text: Arc<str> = {
            let mut failure = self.failure.lock();
            Arc::clone(failure.get_or_insert_with(|| why.to_string().into()))
        };
        self.inner.lock().failed = true;
        self.wake_durable();
        self.wake_room();
        self.keeper_work.notify_all();
        StorageError::Failed(text)
    }

    pub(crate) fn check_failure(&self) -> Result<(), StorageError> {
        match &*self.failure.lock() {
            Some(text) => Err(StorageError::Failed(Arc::clone(text))),
            None => Ok(()),
        }
    }
}
