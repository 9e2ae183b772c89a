//! The keeper: retires log files, unlinks segments that nobody needs, has sparse ones rewritten.
//!
//! Each step ends with a manifest, and only then are files given up. The order is always: new files synced, their
//! names synced, the ledger told and the manifest's contents taken under one lock, the log synced up to there,
//! the manifest written, old files gone. A step that fails on a full medium is tried again.

use std::sync::atomic::Ordering;

use crate::ledger::{Built, Shared as Fan, Source};
use crate::limits::RETIRE_ENTRIES_A_LOCK;
use crate::log::{Inner, Shared};
use crate::manifest::Manifest;
use crate::rewrite::{Hold, Origin};
use crate::{LogPosition, OwnerId, StorageError, log_file, record, segment};

/// What the keeper alone knows.
pub(crate) struct Keeper {
    sequence: u64,
    first_log: u64,
    pub(crate) next_segment: u64,
    /// Given up as soon as a manifest is written that does not name them.
    gone_logs: Vec<u64>,
    gone_segments: Vec<u64>,
}

impl Keeper {
    pub(crate) fn new(manifest: &Manifest) -> Self {
        Keeper {
            sequence: manifest.sequence,
            first_log: manifest.first_log,
            next_segment: manifest.next_segment,
            gone_logs: Vec::new(),
            gone_segments: Vec::new(),
        }
    }
}

impl Inner {
    /// Whether the oldest log file should retire: there are more than two, or the newest is half full. So what
    /// dies young has time to, and the next file is the retired one.
    pub(crate) fn retirement_due(&self, log_file_bytes: u64) -> bool {
        let files = self.ledger.files.len();
        let oldest = self.ledger.files.front();
        let whole = oldest.is_some_and(|file| file.number < self.written_file);
        whole && (files > 2 || self.file_bytes >= log_file_bytes / 2)
    }
}

impl Shared {
    pub(crate) fn keep_step(&self, idle: bool) -> Result<bool, StorageError> {
        let keeper = &mut *self.keeper.lock();
        self.check_failure()?;
        let mut result = self.keep(keeper, idle);
        if result.as_ref().is_err_and(StorageError::is_full) {
            self.full.store(true, Ordering::Relaxed);
            self.give_up_spare();
            self.give_up_reserve();
            result = self.keep(keeper, idle);
        }
        let restored = self.restore_reserve();
        let result = result.and_then(|worked| restored.map(|()| worked));
        // Without the damaged segment there may be something else to do.
        let result = result.or_else(|error| self.skip_damaged(error).map(|()| true));
        if let Err(error) = &result
            && !error.is_full()
        {
            self.fail(error);
        }
        result
    }

    fn keep(&self, keeper: &mut Keeper, idle: bool) -> Result<bool, StorageError> {
        if !keeper.gone_logs.is_empty() || !keeper.gone_segments.is_empty() {
            // The manifest could not be written last time.
            self.write_manifest(keeper, None)?;
            return Ok(true);
        }
        // First what gives room: a retirement may find none.
        let dropped = self.drop_dead(keeper)?;
        if self
            .inner
            .lock()
            .retirement_due(self.options.log_file_bytes)
        {
            self.retire(keeper)?;
            return Ok(true);
        }
        if dropped {
            return Ok(true);
        }
        self.rewrite_step(keeper, idle)
    }

    /// Moves what is alive of the oldest log file to segments.
    pub(crate) fn retire(&self, keeper: &mut Keeper) -> Result<(), StorageError> {
        let (number, holds) = self.collect_holds();
        let built = if holds.is_empty() {
            Vec::new()
        } else {
            let name = log_file::name(number);
            let file = self
                .disk
                .open(&name)
                .map_err(|error| StorageError::disk(&name, error))?;
            let origin = Origin::new(name, file, record::salt(number));
            self.build(keeper, vec![origin], holds)?
        };
        self.install(keeper, &Source::LogFile, built);
        keeper.gone_logs.push(number);
        keeper.first_log = number + 1;
        self.write_manifest(keeper, None)?;
        self.wake_room();
        Ok(())
    }

    /// Everything that is alive in the oldest log file, a bounded number of entries under one taking of the lock.
    fn collect_holds(&self) -> (u64, Vec<Hold>) {
        let mut holds = Vec::new();
        let mut from = 0;
        loop {
            let inner = self.inner.lock();
            let Some(file) = inner.ledger.files.front() else {
                return (0, holds);
            };
            let visit = |position, owner: OwnerId, place: crate::ledger::Place, fan: Fan| {
                holds.push(Hold {
                    position,
                    owner,
                    offset: u64::from(place.offset),
                    length: place.length,
                    weight: place.weight,
                    origin: 0,
                    group: 0,
                    transient: place.transient,
                    shared: fan == Fan::Yes,
                });
            };
            match file.visit_live(from, RETIRE_ENTRIES_A_LOCK, visit) {
                Some(next) => from = next,
                None => return (file.number, holds),
            }
        }
    }

    pub(crate) fn install(&self, keeper: &mut Keeper, source: &Source, built: Vec<Built>) {
        self.inner.lock().ledger.install(source, built);
        if let Source::Segments(numbers) = source {
            keeper.gone_segments.extend(numbers);
        }
    }

    /// Takes segments in which nothing is alive out of the manifest, and unlinks them.
    fn drop_dead(&self, keeper: &mut Keeper) -> Result<bool, StorageError> {
        {
            let segments = &mut self.inner.lock().ledger.segments;
            segments.retain(|number, segment| {
                if segment.live_messages == 0 {
                    keeper.gone_segments.push(*number);
                }
                segment.live_messages > 0
            });
        }
        if keeper.gone_segments.is_empty() {
            return Ok(false);
        }
        self.write_manifest(keeper, None)?;
        Ok(true)
    }

    /// Writes the manifest as things are now, and gives up the files that it does not name.
    pub(crate) fn write_manifest(
        &self,
        keeper: &mut Keeper,
        clean: Option<(u64, u64)>,
    ) -> Result<(), StorageError> {
        let mut manifest = self.inner.lock().ledger.prune_delivered().snapshot();
        // It must not know of a release that the log could still lose.
        self.sync_all()?;
        manifest.sequence = keeper.sequence + 1;
        manifest.first_log = keeper.first_log;
        manifest.next_segment = keeper.next_segment;
        manifest.clean = clean;
        manifest.write(&*self.disk)?;
        keeper.sequence += 1;
        for number in std::mem::take(&mut keeper.gone_segments) {
            self.indexes.lock().forget(number);
            match self.disk.remove(&segment::name(number)) {
                // Somebody took it away before; that nobody needs it any more, the manifest says.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => {
                    removed.map_err(|error| StorageError::disk(segment::name(number), error))?
                }
            }
        }
        for number in std::mem::take(&mut keeper.gone_logs) {
            self.give_up_log(number)?;
        }
        self.full.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// A retired log file is kept to be written over, unless there is one already or its size is unusual.
    fn give_up_log(&self, number: u64) -> Result<(), StorageError> {
        let name = log_file::name(number);
        let bytes = self.disk.open(&name).and_then(|file| file.bytes());
        let spares = &mut *self.spares.lock();
        if spares.is_empty() && bytes.is_ok_and(|bytes| bytes == self.options.log_file_bytes) {
            spares.push(number);
            return Ok(());
        }
        self.remove(&name)
    }

    /// What could be written over is room, too.
    fn give_up_spare(&self) {
        let spares = &mut *self.spares.lock();
        spares.retain(|number| self.remove(&log_file::name(*number)).is_err());
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.disk
            .remove(name)
            .map_err(|error| StorageError::disk(name, error))
    }

    pub(crate) fn close(&self) -> Result<(), StorageError> {
        let keeper = &mut *self.keeper.lock();
        self.sync_all()?;
        let (clean, target) = {
            let inner = self.inner.lock();
            ((inner.file, inner.file_bytes), inner.last_position())
        };
        let result = self.write_manifest(keeper, Some(clean));
        debug_assert!(LogPosition(self.durable.load(Ordering::Acquire)) >= target);
        // Nothing may come behind what the manifest calls the end.
        self.inner.lock().failed = true;
        result.inspect_err(|error| {
            self.fail(error);
        })
    }
}
