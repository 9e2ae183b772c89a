//! What a connection has to say, in order, and how far it may be said already.
//!
//! A *barrier* stands before a reply that promises something on disk (`queue.declare-ok` of a durable queue):
//! it and all behind it wait until the catalog's ticket is durable. The connection goes on meanwhile, so that
//! pipelined declarations share their commits.

use std::collections::VecDeque;

use node::catalog::Ticket;

/// See the module.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// Bytes of `bytes` that are written.
    written: usize,
    /// Offsets into `bytes` from which on a ticket must be durable; both ascend.
    barriers: VecDeque<(usize, Ticket)>,
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

    /// What is appended from now on waits for `ticket`.
    pub fn hold_until(&mut self, ticket: Ticket) {
        match self.barriers.back_mut() {
            Some((_, last)) if *last >= ticket => {}
            Some((offset, last)) if *offset == self.bytes.len() => *last = ticket,
            _ => self.barriers.push_back((self.bytes.len(), ticket)),
        }
    }

    /// The first ticket waited for.
    pub fn awaited(&self) -> Option<Ticket> {
        self.barriers.front().map(|(_, ticket)| *ticket)
    }

    /// What may be written now that everything up to `durable` is on disk.
    pub fn writable(&mut self, durable: Ticket) -> &[u8] {
        while self
            .barriers
            .front()
            .is_some_and(|(_, ticket)| *ticket <= durable)
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
