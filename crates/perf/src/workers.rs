//! Threads that carry the load, each with a runtime of its own; and the word to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::Result;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, watch};

use crate::meter::Meter;

/// Says to all that they should come to an end.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    said: Arc<AtomicBool>,
    receiver: watch::Receiver<bool>,
}

impl Stop {
    /// Whether it was said. Cheap: it may be asked at every block.
    pub(crate) fn is_said(&self) -> bool {
        self.said.load(Ordering::Relaxed)
    }

    /// Waits until it is said.
    pub(crate) async fn wait(&mut self) {
        // Whoever could say it being gone is as good.
        let _ = self.receiver.wait_for(|said| *said).await;
    }
}

/// The one who says it.
#[derive(Debug)]
pub(crate) struct Stopper {
    said: Arc<AtomicBool>,
    sender: watch::Sender<bool>,
}

impl Stopper {
    /// Nobody has said it yet.
    pub(crate) fn new() -> Stopper {
        Stopper {
            said: Arc::default(),
            sender: watch::Sender::new(false),
        }
    }

    /// For one who listens.
    pub(crate) fn stop(&self) -> Stop {
        Stop {
            said: Arc::clone(&self.said),
            receiver: self.sender.subscribe(),
        }
    }

    /// Says it.
    pub(crate) fn say(&self) {
        self.said.store(true, Ordering::Relaxed);
        self.sender.send_replace(true);
    }
}

struct Worker {
    handle: Handle,
    meter: Arc<Meter>,
    end: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

/// See the module.
pub(crate) struct Workers {
    workers: Vec<Worker>,
    next: AtomicUsize,
    started: Instant,
}

impl Workers {
    /// Starts `count` threads.
    pub(crate) fn start(count: usize) -> Result<Workers> {
        let workers: Result<Vec<Worker>> = (0..count.max(1)).map(Worker::start).collect();
        Ok(Workers {
            workers: workers?,
            next: AtomicUsize::new(0),
            started: Instant::now(),
        })
    }

    /// The next thread in turn, and its meter.
    pub(crate) fn choose(&self) -> (&Handle, Arc<Meter>) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let worker = &self.workers[turn % self.workers.len()];
        (&worker.handle, Arc::clone(&worker.meter))
    }

    /// When they were started.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// All meters.
    pub(crate) fn meters(&self) -> impl Iterator<Item = &Meter> {
        self.workers.iter().map(|worker| &*worker.meter)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.end.notify_one();
            if let Some(thread) = worker.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

impl Worker {
    fn start(index: usize) -> Result<Worker> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let end = Arc::new(Notify::new());
        let ended = Arc::clone(&end);
        let thread = std::thread::Builder::new()
            .name(format!("perf-{index}"))
            .spawn(move || runtime.block_on(ended.notified()))?;
        Ok(Worker {
            handle,
            meter: Arc::default(),
            end,
            thread: Some(thread),
        })
    }
}
