//! What a connection has to say, in order, and how far it may be said already.
//!
//! A *barrier* stands before a reply that promises something on disk (`queue.declare-ok` of a durable queue,
//! `tx.commit-ok`): it and all behind it wait until the catalog's ticket and the log's position are durable. The connection goes on meanwhile, so that
//! pipelined declarations share their commits.

use std::collections::VecDeque;

use broker::message::LogPosition;
use node::catalog::Ticket;

/// How far the catalog and the message log must have come; or how far they have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// The catalog's.
    pub ticket: Ticket,
    /// The log's.
    pub position: LogPosition,
}

impl Default for Promise {
    fn default() -> Self {
        Promise::NONE
    }
}

impl Promise {
    /// Nothing is promised.
    pub const NONE: Promise = Promise {
        ticket: Ticket::NONE,
        position: LogPosition::NONE,
    };

    /// Both this and another.
    #[must_use]
    pub fn and(self, other: Promise) -> Promise {
        Promise {
            ticket: self.ticket.max(other.ticket),
            position: self.position.max(other.position),
        }
    }

    /// Whether it is kept once `durable` is.
    pub fn is_kept(self, durable: Promise) -> bool {
        self.ticket <= durable.ticket && self.position <= durable.position
    }
}

impl From<Ticket> for Promise {
    fn from(ticket: Ticket) -> Self {
        Promise {
            ticket,
            ..Promise::NONE
        }
    }
}

impl From<LogPosition> for Promise {
    fn from(position: LogPosition) -> Self {
        Promise {
            position,
            ..Promise::NONE
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// Bytes of `bytes` that are written.
    written: usize,
    /// Offsets into `bytes` from which on a promise must be kept; both ascend.
    barriers: VecDeque<(usize, Promise)>,
}

/// Memory an empty output keeps: what it needs under load, for it would only be asked for again.
const BYTES_KEPT: usize = 128 * 1024;

impl Output {
    /// Where frames are appended.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes not yet written, held back or not.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Whether all is written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is appended from now on waits for `promise`.
    pub fn hold_until(&mut self, promise: impl Into<Promise>) {
        let promise = promise.into();
        let bytes = self.bytes.len();
        match self.barriers.back_mut() {
            Some((_, last)) if promise.is_kept(*last) => {}
            Some((offset, last)) if *offset == bytes => *last = last.and(promise),
            Some((_, last)) => {
                let both = last.and(promise);
                self.barriers.push_back((bytes, both));
            }
            None => self.barriers.push_back((bytes, promise)),
        }
    }

    /// The first promise waited for.
    pub fn awaited(&self) -> Option<Promise> {
        self.barriers.front().map(|(_, promise)| *promise)
    }

    /// What may be written now that everything up to `durable` is on disk.
    pub fn writable(&mut self, durable: Promise) -> &[u8] {
        while self
            .barriers
            .front()
            .is_some_and(|(_, promise)| promise.is_kept(durable))
        {
            self.barriers.pop_front();
        }
        let end = self
            .barriers
            .front()
            .map_or(self.bytes.len(), |(offset, _)| *offset);
        self.bytes.get(self.written..end).unwrap_or_default()
    }

    /// The socket took `count` bytes of [`Output::writable`].
    pub fn advance(&mut self, count: usize) {
        self.written += count;
        assert!(
            self.written <= self.bytes.len(),
            "more written than there was"
        );
        if self.written >= BYTES_KEPT && self.written * 2 >= self.bytes.len() {
            self.forget_written();
        }
        if self.written == self.bytes.len() && self.barriers.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(BYTES_KEPT);
            self.written = 0;
        }
    }

    /// Moves what is unwritten to the front. Each byte is moved once at most for every byte written.
    fn forget_written(&mut self) {
        self.bytes.drain(..self.written);
        for (offset, _) in &mut self.barriers {
            *offset -= self.written;
        }
        self.written = 0;
    }

    /// Drops everything held back: what it promised will not come true.
    pub fn drop_held(&mut self) {
        if let Some((offset, _)) = self.barriers.front() {
            self.bytes.truncate(*offset);
        }
        self.barriers.clear();
    }

    /// Gives back memory, when there is nothing to write.
    pub fn shrink(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
            self.barriers = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests;
