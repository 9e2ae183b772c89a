//! The catalog: what the broker has been told, on disk.
//!
//! Vhosts, exchanges, queues, bindings, users and permissions live in an embedded transactional store, one
//! file in the data directory. Changes are queued by whoever makes them and committed by one thread, all
//! that are waiting in one transaction, so that one fsync covers them. A [`Ticket`] says which commit to wait
//! for. After a failed commit the catalog is poisoned: nothing that was not durable will ever be, and
//! everyone who waits is told. Deliberately absent: any reading after the start (the node has it all in
//! memory), and retries of a failed fsync.

mod change;
mod offline;
mod place;
mod record;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;

pub use change::{Change, Stored, StoredQueue};
pub use offline::{HoldFor, OfflineHold, hold_offline, read_offline};
pub use place::{CATALOG_FILE, CatalogError, LOCK_FILE};

use store::Store;

/// Changes that may wait for the writer; whoever writes the next one waits.
pub const CHANGES_QUEUED_MAX: usize = 65_536;
/// Changes that one commit takes at most, so that a flood of them is not one long commit.
pub const CHANGES_PER_COMMIT_MAX: usize = 4_096;

/// Says which changes must be durable: this one and all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

impl Ticket {
    /// Of nothing written: always durable.
    pub const NONE: Ticket = Ticket(0);
}

/// What is called when a ticket is durable, or never will be.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The open catalog.
pub struct Catalog {
    shared: Arc<Shared>,
    /// None where the caller of `write` commits.
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    store: Store,
    queue: Mutex<Queue>,
    /// There is something to commit, or the writer is to end.
    work: Condvar,
    /// The queue is shorter than it was.
    room: Condvar,
    /// The last ticket that is on the medium.
    durable: AtomicU64,
    /// By ticket, and a number that keeps two with one ticket apart. Empty once `failure` is set.
    waiters: Mutex<Waiters>,
    /// Commits are done by whoever writes.
    direct: bool,
}

#[derive(Default)]
struct Queue {
    changes: VecDeque<Change>,
    /// The last ticket given out.
    written: u64,
    /// The ticket of the last change in `changes`; those before it have the numbers below. Falls behind
    /// `written` once changes are dropped.
    queued: u64,
    closing: bool,
    failed: bool,
}

#[derive(Default)]
struct Waiters {
    waiting: BTreeMap<(u64, u64), Wake>,
    number: u64,
    failure: Option<Arc<str>>,
}

impl Catalog {
    /// Opens the catalog of a data directory, making both if need be, and reads all of it. The directory is
    /// locked until the catalog is dropped.
    ///
    /// # Errors
    /// If the directory is in use or cannot be written, or the file is damaged or too new.
    pub fn open(data_dir: &Path) -> Result<(Catalog, Stored), CatalogError> {
        let (store, stored) = Store::open(data_dir)?;
        Ok((Catalog::start(store), stored))
    }

    /// A catalog that is gone with the process. Whoever writes also commits, so that every ticket is durable
    /// when `write` returns and tests are the same each time.
    pub fn in_memory() -> (Catalog, Stored) {
        Catalog::direct(InMemoryBackend::new()).expect("an empty store in memory can be opened")
    }

    /// A catalog on a medium of the caller's, committed by whoever writes.
    fn direct(backend: impl StorageBackend) -> Result<(Catalog, Stored), CatalogError> {
        let (store, stored) = Store::with_backend(backend)?;
        let shared = Arc::new(Shared::new(store, true));
        Ok((
            Catalog {
                shared,
                writer: Mutex::new(None),
            },
            stored,
        ))
    }

    /// A catalog on a medium of the caller's, committed by a thread as on disk.
    ///
    /// # Errors
    /// As [`Catalog::open`], those about the directory apart.
    pub fn with_backend(backend: impl StorageBackend) -> Result<(Catalog, Stored), CatalogError> {
        let (store, stored) = Store::with_backend(backend)?;
        Ok((Catalog::start(store), stored))
    }

    fn start(store: Store) -> Catalog {
        let shared = Arc::new(Shared::new(store, false));
        let run = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("catalog".to_owned())
            .spawn(move || run.commit_until_closed())
            .expect("a thread can be started as the broker starts");
        Catalog {
            shared,
            writer: Mutex::new(Some(writer)),
        }
    }

    /// Queues a change and returns at once, or when there is room again if [`CHANGES_QUEUED_MAX`] others
    /// wait. Changes become durable in the order in which they were written.
    pub fn write(&self, change: Change) -> Ticket {
        self.shared.write(change)
    }

    /// Of the last change written: whoever finds something declared by another waits for this one, since the
    /// declaration may not be on the medium yet. [`Ticket::NONE`] if all of it is.
    pub fn last_ticket(&self) -> Ticket {
        let written = self.shared.queue.lock().written;
        if written <= self.durable().0 {
            Ticket::NONE
        } else {
            Ticket(written)
        }
    }

    /// The last change that is on the medium, with all before it.
    pub fn durable(&self) -> Ticket {
        Ticket(self.shared.durable.load(Ordering::Acquire))
    }

    /// Calls `wake` once: when the ticket is durable (from this very call if it is), or when the catalog has
    /// failed, which the callee sees in [`Catalog::failure`]. It must not block: the writer calls it.
    pub fn wake_when_durable(&self, ticket: Ticket, wake: Wake) {
        if self.durable() < ticket {
            let mut waiters = self.shared.waiters.lock();
            // Looked at again under the lock that the writer takes after it has moved `durable`.
            if waiters.failure.is_none() && self.durable() < ticket {
                waiters.number += 1;
                let number = waiters.number;
                waiters.waiting.insert((ticket.0, number), wake);
                return;
            }
        }
        wake();
    }

    /// Why nothing more becomes durable, once a commit has failed or the catalog was closed.
    pub fn failure(&self) -> Option<Arc<str>> {
        self.shared.waiters.lock().failure.clone()
    }

    /// Commits what is queued and ends the writer. What is written afterwards is dropped.
    pub fn close(&self) {
        {
            let mut queue = self.shared.queue.lock();
            queue.closing = true;
            self.shared.work.notify_one();
            self.shared.room.notify_all();
        }
        if let Some(writer) = self.writer.lock().take() {
            // A panic of the writer has already poisoned the catalog.
            let _ = writer.join();
        }
        self.shared.fail("the catalog is closed");
    }
}

impl Drop for Catalog {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog")
            .field("durable", &self.durable())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn new(store: Store, direct: bool) -> Shared {
        Shared {
            store,
            queue: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            durable: AtomicU64::new(0),
            waiters: Mutex::default(),
            direct,
        }
    }

    fn write(&self, change: Change) -> Ticket {
        let mut queue = self.queue.lock();
        while queue.changes.len() >= CHANGES_QUEUED_MAX && !queue.failed && !queue.closing {
            self.room.wait(&mut queue);
        }
        queue.written += 1;
        let ticket = queue.written;
        if queue.failed || queue.closing {
            return Ticket(ticket);
        }
        if self.direct {
            // Under the lock, which keeps the order.
            let result = self.store.commit(std::slice::from_ref(&change));
            queue.failed = result.is_err();
            drop(queue);
            self.finish(ticket, result);
        } else {
            queue.changes.push_back(change);
            queue.queued = ticket;
            self.work.notify_one();
        }
        Ticket(ticket)
    }

    /// The writer's thread.
    fn commit_until_closed(&self) {
        let _guard = FailOnPanic(self);
        let mut batch = Vec::new();
        while let Some(last) = self.take_batch(&mut batch) {
            let result = self.store.commit(&batch);
            batch.clear();
            let failed = result.is_err();
            self.finish(last, result);
            if failed {
                return;
            }
        }
    }

    /// Waits for changes and takes them; says which ticket the last of them has. None when closed and empty.
    fn take_batch(&self, batch: &mut Vec<Change>) -> Option<u64> {
        let mut queue = self.queue.lock();
        while queue.changes.is_empty() {
            if queue.closing || queue.failed {
                return None;
            }
            self.work.wait(&mut queue);
        }
        let count = queue.changes.len().min(CHANGES_PER_COMMIT_MAX);
        batch.extend(queue.changes.drain(..count));
        let left = queue.changes.len() as u64;
        self.room.notify_all();
        Some(queue.queued - left)
    }

    /// Publishes the outcome of a commit up to `last`.
    fn finish(&self, last: u64, result: Result<(), redb::Error>) {
        match result {
            Ok(()) => {
                self.durable.store(last, Ordering::Release);
                let ready = {
                    let mut waiters = self.waiters.lock();
                    let later = waiters.waiting.split_off(&(last + 1, 0));
                    std::mem::replace(&mut waiters.waiting, later)
                };
                for wake in ready.into_values() {
                    wake();
                }
            }
            Err(error) => {
                let text = format!("cannot write the catalog: {error}");
                tracing::error!("{text}; no further change of topology or users will be kept");
                self.fail(&text);
            }
        }
    }

    /// Poisons the catalog, unless it is already, and wakes everyone.
    fn fail(&self, why: &str) {
        {
            let mut queue = self.queue.lock();
            queue.failed = true;
            queue.changes.clear();
            self.room.notify_all();
        }
        let waiting = {
            let mut waiters = self.waiters.lock();
            waiters.failure.get_or_insert_with(|| Arc::from(why));
            std::mem::take(&mut waiters.waiting)
        };
        for wake in waiting.into_values() {
            wake();
        }
    }
}

struct FailOnPanic<'a>(&'a Shared);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the catalog's writer has panicked");
        }
    }
}
