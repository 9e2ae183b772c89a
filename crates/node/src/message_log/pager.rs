//! Reads what queues want back from the log: a thread of its own, for it may wait for the disk.
//!
//! Each queue has one request at most, so there are never more of them than queues. Deliberately absent: what a queue
//! does with what it gets.

use std::collections::VecDeque;
use std::sync::Arc;

use broker::queue::{Page, PageRequest};
use parking_lot::{Condvar, Mutex};
use storage::ReadLimit;

use super::MessageLog;
use crate::queue_cell::QueueCell;

enum Job {
    Page(Arc<QueueCell>, PageRequest),
    /// Queues that are to give up memory.
    Relieve(Vec<Arc<QueueCell>>),
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// A relief is among them, or under way.
    relieving: bool,
    stopping: bool,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Pager {
    state: Mutex<State>,
    work: Condvar,
}

impl Pager {
    /// Has a range read for a queue.
    pub(crate) fn ask(&self, cell: Arc<QueueCell>, request: PageRequest) {
        self.state.lock().jobs.push_back(Job::Page(cell, request));
        self.work.notify_one();
    }

    /// Has these queues give up memory, unless that is still under way.
    pub(crate) fn relieve(&self, cells: impl FnOnce() -> Vec<Arc<QueueCell>>) {
        if std::mem::replace(&mut self.state.lock().relieving, true) {
            return;
        }
        let cells = cells();
        self.state.lock().jobs.push_back(Job::Relieve(cells));
        self.work.notify_one();
    }

    /// Does one job, if there is one.
    pub(crate) fn step(&self, log: &MessageLog, now_ms: u64) -> bool {
        let job = self.state.lock().jobs.pop_front();
        match job {
            None => return false,
            Some(Job::Page(cell, request)) => serve(log, now_ms, &cell, &request),
            Some(Job::Relieve(cells)) => {
                for cell in cells {
                    if !log.cache().is_pressed() {
                        break;
                    }
                    cell.relieve(now_ms);
                }
                self.state.lock().relieving = false;
            }
        }
        true
    }

    /// Does jobs until [`Pager::stop`].
    pub(crate) fn run(&self, log: &MessageLog, now_ms: impl Fn() -> u64) {
        loop {
            while self.step(log, now_ms()) {
                if self.state.lock().stopping {
                    return;
                }
            }
            let mut state = self.state.lock();
            while state.jobs.is_empty() && !state.stopping {
                self.work.wait(&mut state);
            }
            if state.stopping {
                return;
            }
        }
    }

    pub(crate) fn stop(&self) {
        let jobs = {
            let mut state = self.state.lock();
            state.stopping = true;
            std::mem::take(&mut state.jobs)
        };
        self.work.notify_all();
        drop(jobs);
    }
}

fn serve(log: &MessageLog, now_ms: u64, cell: &Arc<QueueCell>, request: &PageRequest) {
    let mut messages = Vec::new();
    let limit = ReadLimit {
        messages: request.messages_max as usize,
        bytes: request.bytes_max as usize,
    };
    let read = log.read(cell.id, request.from, limit, &mut |incoming| {
        if incoming.position <= request.up_to {
            messages.push(incoming);
        }
    });
    let aftermath = match read {
        Ok(next) => cell.page_in(
            now_ms,
            Page {
                serial: request.serial,
                messages,
                next: next.filter(|next| *next <= request.up_to),
            },
        ),
        Err(error) => {
            let queue = &*cell.spec.name;
            tracing::error!(
                queue,
                "messages cannot be read, and stay where they are: {error}"
            );
            cell.page_failed();
            return;
        }
    };
    if let Some(vhost) = cell.vhost.upgrade() {
        vhost.conclude(now_ms, cell, aftermath);
    }
}
