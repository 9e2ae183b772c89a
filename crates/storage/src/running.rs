//! The two threads of a running log: one writes, one retires.
//!
//! They only call steps that tests call by hand. Deliberately absent: any state of their own.

use std::thread::JoinHandle;
use std::time::Duration;

use crate::writer::Step;
use crate::{Log, StorageError};

/// After this long without work the writer marks where the log ends.
const IDLE_MARK: Duration = Duration::from_millis(50);
/// How long a full medium is left alone before the next try.
const FULL_RETRY: Duration = Duration::from_millis(200);
/// How often the keeper looks round though nobody called it.
const KEEP_ROUND: Duration = Duration::from_secs(1);

/// Threads at work on a log. Dropping it ends them, without the manifest's word that the end was clean.
pub struct Running {
    log: Log,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(log: Log) -> std::io::Result<Running> {
        let mut running = Running {
            log: log.clone(),
            threads: Vec::new(),
        };
        let writer = log.clone();
        let spawn = |name: &str| std::thread::Builder::new().name(name.to_owned());
        running
            .threads
            .push(spawn("log-writer").spawn(move || write(&writer))?);
        running
            .threads
            .push(spawn("log-keeper").spawn(move || keep(&log))?);
        Ok(running)
    }

    /// Writes and syncs everything, ends the threads, and notes in the manifest that the end was clean.
    ///
    /// # Errors
    /// What the disk said, now or before.
    pub fn stop(mut self) -> Result<(), StorageError> {
        self.join();
        self.log.close()
    }

    fn join(&mut self) {
        self.log.0.inner.lock().stopping = true;
        self.log.0.writer_work.notify_all();
        self.log.0.keeper_work.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.join();
    }
}

fn write(log: &Log) {
    let shared = &log.0;
    loop {
        let step = shared.write_step();
        let mut inner = shared.inner.lock();
        if inner.stopping && step != Step::Wrote {
            return;
        }
        match step {
            Step::Wrote => {}
            Step::Idle => {
                if !inner.pending.is_empty() {
                    continue;
                }
                inner.writer_waits = true;
                let timed_out = shared
                    .writer_work
                    .wait_for(&mut inner, IDLE_MARK)
                    .timed_out();
                inner.writer_waits = false;
                let idle = timed_out && inner.pending.is_empty();
                drop(inner);
                if idle {
                    shared.mark_idle();
                    wait_for_work(log);
                }
            }
            Step::Full => {
                shared.writer_work.wait_for(&mut inner, FULL_RETRY);
            }
            Step::Failed => return,
        }
    }
}

fn wait_for_work(log: &Log) {
    let mut inner = log.0.inner.lock();
    while inner.pending.is_empty() && !inner.stopping && !inner.failed {
        inner.writer_waits = true;
        log.0.writer_work.wait(&mut inner);
    }
    inner.writer_waits = false;
}

fn keep(log: &Log) {
    let shared = &log.0;
    let mut idle = false;
    loop {
        // A step that failed, on a full medium or on damage, is tried again in the next round.
        let worked = shared.keep_step(idle).unwrap_or(false);
        let mut inner = shared.inner.lock();
        if inner.stopping || inner.failed {
            return;
        }
        if !worked {
            idle = shared
                .keeper_work
                .wait_for(&mut inner, KEEP_ROUND)
                .timed_out();
        }
    }
}
