//! Flow control: a publisher that is ahead of a queue's consumers waits a moment for them.
//!
//! Without it a queue between a fast publisher and fast consumers is as long as chance has it: messages lie until they
//! are cold in the processor's caches, each takes tens of milliseconds, and memory goes up and down by hundreds of
//! megabytes, though nothing is gained. RabbitMQ holds publishers up by credit between its processes, and calls it
//! *flow*.
//!
//! The rule: a publish that leaves [`BACKLOG_BYTES_HIGH`] ready in a queue with consumers holds its connection up, which
//! reads nothing meanwhile, until no more than [`BACKLOG_BYTES_LOW`] is left, or for [`HOLD_MS`]. Consumers that take
//! longer than that are slow of themselves: then the queue does what queues are for, and nobody is held up for it until
//! its backlog was small once more.

use std::sync::Arc;

use crate::mailbox::Mailbox;

/// A backlog that consumers of a fast queue are given to work off.
pub const BACKLOG_BYTES_HIGH: u64 = 2 * 1024 * 1024;

/// What is left of it when publishers go on, so that consumers need not wait for them.
pub const BACKLOG_BYTES_LOW: u64 = 1024 * 1024;

/// How long a publisher waits at most.
pub const HOLD_MS: u64 = 10;

/// What a message takes besides its body, about.
const MESSAGE_BYTES: u64 = 128;

/// What waits in a queue, and for whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backlog {
    /// Messages ready for delivery.
    pub(crate) ready: u64,
    /// Bytes of their bodies.
    pub(crate) ready_bytes: u64,
    /// Whether the queue has consumers.
    pub(crate) is_consumed: bool,
}

impl Backlog {
    fn bytes(self) -> u64 {
        self.ready_bytes + self.ready * MESSAGE_BYTES
    }
}

/// Flow control of one queue. See the module.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// Connections that wait; each once.
    waiting: Vec<Arc<Mailbox>>,
    /// They waited in vain: none does until the backlog was small once.
    in_vain: bool,
}

impl Flow {
    /// Whether a connection that has just published is to wait until its mailbox is woken, or for [`HOLD_MS`].
    pub(crate) fn holds(&mut self, backlog: Backlog, publisher: &Arc<Mailbox>) -> bool {
        if self.in_vain || !backlog.is_consumed || backlog.bytes() <= BACKLOG_BYTES_HIGH {
            return false;
        }
        if !self.is_waiting(publisher) {
            self.waiting.push(Arc::clone(publisher));
        }
        true
    }

    /// Lets those go who waited, if the backlog is small now or there is nobody to work it off. After each change.
    pub(crate) fn follow(&mut self, backlog: Backlog) {
        if (self.waiting.is_empty() && !self.in_vain)
            || (backlog.is_consumed && BACKLOG_BYTES_LOW < backlog.bytes())
        {
            return;
        }
        self.in_vain = false;
        self.let_go();
    }

    /// Whether this connection still has to wait.
    pub(crate) fn is_waiting(&self, publisher: &Arc<Mailbox>) -> bool {
        let same = |other: &Arc<Mailbox>| Arc::ptr_eq(other, publisher);
        self.waiting.iter().any(same)
    }

    /// One waited for so long as anybody may.
    pub(crate) fn give_up(&mut self) {
        self.in_vain = true;
        self.let_go();
    }

    /// Lets all go who wait.
    pub(crate) fn let_go(&mut self) {
        self.waiting.drain(..).for_each(|mailbox| mailbox.wake());
    }
}

#[cfg(test)]
mod tests;
