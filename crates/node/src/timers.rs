//! When queues next want to be woken: message TTLs, queue expiry, consumer timeouts.
//!
//! One ordered set for the node. A queue stands in it at most once, at the earliest moment it asked for; a
//! queue that no longer needs the moment is woken for nothing once, which is cheaper than taking it out. A
//! deleted queue is taken out at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use broker::router::QueueId;
use parking_lot::Mutex;

use crate::queue_cell::QueueCell;

/// Called when a deadline earlier than all others is set, so that the driver's timer is moved forward.
pub type WakeTimer = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    deadlines: BTreeMap<(u64, QueueId), Weak<QueueCell>>,
    wake: Option<WakeTimer>,
    /// Somebody wants the timers to run, whatever the deadlines.
    at_once: bool,
    /// No deadline counts: what would come of it has no room.
    held: bool,
}

/// See the module.
#[derive(Default)]
pub struct Timers(Mutex<State>);

impl Timers {
    /// Sets what to call when the earliest deadline moves forward.
    pub fn on_earlier(&self, wake: WakeTimer) {
        self.0.lock().wake = Some(wake);
    }

    /// Takes a queue out that stands at `deadline_ms`.
    pub fn cancel(&self, deadline_ms: u64, id: QueueId) {
        self.0.lock().deadlines.remove(&(deadline_ms, id));
    }

    /// Wakes `cell` at `deadline_ms`, and no longer at `before_ms`.
    pub fn schedule(&self, before_ms: u64, deadline_ms: u64, id: QueueId, cell: Weak<QueueCell>) {
        let wake = {
            let mut state = self.0.lock();
            let earliest = state.deadlines.first_key_value().map(|(key, _)| key.0);
            state.deadlines.remove(&(before_ms, id));
            state.deadlines.insert((deadline_ms, id), cell);
            match earliest {
                Some(earliest) if earliest <= deadline_ms => None,
                _ => state.wake.clone(),
            }
        };
        if let Some(wake) = wake {
            wake();
        }
    }

    /// Whether deadlines are passed over until further notice.
    pub(crate) fn hold(&self, held: bool) {
        self.0.lock().held = held;
    }

    /// Has the timers run at once.
    pub fn wake_now(&self) {
        let wake = {
            let mut state = self.0.lock();
            state.at_once = true;
            state.wake.clone()
        };
        if let Some(wake) = wake {
            wake();
        }
    }

    /// Queues that stand in it.
    pub fn len(&self) -> usize {
        self.0.lock().deadlines.len()
    }

    /// Whether no queue stands in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The earliest deadline, in milliseconds.
    pub fn next_ms(&self) -> Option<u64> {
        let state = self.0.lock();
        if state.at_once {
            return Some(0);
        }
        if state.held {
            return None;
        }
        state.deadlines.first_key_value().map(|(key, _)| key.0)
    }

    /// Takes the queues whose time has come.
    pub fn take_due(&self, now_ms: u64) -> Vec<Arc<QueueCell>> {
        let mut state = self.0.lock();
        state.at_once = false;
        let held = state.held;
        let mut due = Vec::new();
        while let Some(entry) = state.deadlines.first_entry() {
            if held || entry.key().0 > now_ms {
                break;
            }
            if let Some(cell) = entry.remove().upgrade() {
                due.push(cell);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests;
