//! What a connection has to say, in order, and how far it may be said already.
//!
//! A *barrier* stands before a reply that promises something on disk (`queue.declare-ok` of a durable queue,
//! `tx.commit-ok`): it and all behind it wait until the catalog's ticket and the log's position are durable. The connection goes on meanwhile, so that
//! pipelined declarations share their commits.
//!
//! A long body is not copied into the output: it stays where it is, and the output knows before which of its own bytes
//! it is to be written.
//!
//! ```text
//! bytes  ┌──────────────────┬─┬──────────────────┬─┬────────────┐
//!        │ ...  frame heads │E│ ...  frame heads │E│ ...        │   E: the frame's end
//!        └──────────────────┴─┴──────────────────┴─┴────────────┘
//! bodies                    ▲ body               ▲ body
//! ```

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

use broker::message::{LogPosition, Message};
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
    /// Bodies that are not copied; their places ascend.
    bodies: VecDeque<Body>,
    /// Bytes of `bodies` that are not written.
    body_bytes: usize,
}

/// A part of a message's body that is written from where it is.
#[derive(Debug)]
struct Body {
    /// Its last byte comes before this one of `Output::bytes`, which is its frame's end.
    place: usize,
    message: Message,
    /// What of the body is not written yet; never empty.
    rest: Range<usize>,
}

impl Body {
    fn rest(&self) -> &[u8] {
        self.message
            .body()
            .get(self.rest.clone())
            .unwrap_or_default()
    }
}

/// Memory an empty output keeps: what it needs under load, for it would only be asked for again.
const BYTES_KEPT: usize = 128 * 1024;

impl Output {
    /// Where frames are appended.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends a part of a message's body without copying it. Its frame's end must follow in the buffer.
    pub fn push_body(&mut self, message: &Message, part: Range<usize>) {
        debug_assert!(part.end <= message.body().len());
        if part.is_empty() {
            return;
        }
        self.body_bytes += part.len();
        self.bodies.push_back(Body {
            place: self.bytes.len(),
            message: message.clone(),
            rest: part,
        });
    }

    /// Bytes not yet written, held back or not.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.written + self.body_bytes
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

    /// Whether something may be held back.
    pub fn has_barriers(&self) -> bool {
        !self.barriers.is_empty()
    }

    /// The first promise that is not kept although everything up to `durable` is on disk: what is behind it waits.
    pub fn awaited(&mut self, durable: Promise) -> Option<Promise> {
        self.free_end(durable);
        self.barriers.front().map(|(_, promise)| *promise)
    }

    /// What may be written now that everything up to `durable` is on disk: the first piece of it that is in one place.
    pub fn writable(&mut self, durable: Promise) -> &[u8] {
        let end = self.free_end(durable);
        match self.bodies.front() {
            Some(body) if body.place == self.written => body.rest(),
            Some(body) => self.free(body.place.min(end)),
            None => self.free(end),
        }
    }

    /// Whether [`Output::writable_pieces`] has more to tell than [`Output::writable`].
    pub fn is_in_pieces(&self) -> bool {
        !self.bodies.is_empty()
    }

    /// The pieces of what may be written, in their order, as many as there is room for in `pieces`; how many.
    pub fn writable_pieces<'a>(
        &'a mut self,
        durable: Promise,
        pieces: &mut [IoSlice<'a>],
    ) -> usize {
        let end = self.free_end(durable);
        let (mut start, mut count) = (self.written, 0);
        let mut places = pieces.iter_mut();
        let mut put = |piece: &'a [u8]| {
            if piece.is_empty() {
                return true;
            }
            let Some(place) = places.next() else {
                return false;
            };
            *place = IoSlice::new(piece);
            count += 1;
            true
        };
        for body in self.bodies.iter().take_while(|body| body.place < end) {
            let before = self.bytes.get(start..body.place).unwrap_or_default();
            if !put(before) || !put(body.rest()) {
                return count;
            }
            start = body.place;
        }
        put(self.bytes.get(start..end).unwrap_or_default());
        count
    }

    /// Where in `bytes` the first barrier stands that holds once everything up to `durable` is on disk.
    fn free_end(&mut self, durable: Promise) -> usize {
        while self
            .barriers
            .front()
            .is_some_and(|(_, promise)| promise.is_kept(durable))
        {
            self.barriers.pop_front();
        }
        self.barriers
            .front()
            .map_or(self.bytes.len(), |(offset, _)| *offset)
    }

    fn free(&self, end: usize) -> &[u8] {
        self.bytes.get(self.written..end).unwrap_or_default()
    }

    /// The socket took `count` bytes of what is writable.
    pub fn advance(&mut self, mut count: usize) {
        while let Some(body) = self.bodies.front_mut() {
            let before = count.min(body.place - self.written);
            self.written += before;
            let taken = (count - before).min(body.rest.len());
            body.rest.start += taken;
            self.body_bytes -= taken;
            count -= before + taken;
            if !body.rest.is_empty() {
                break;
            }
            self.bodies.pop_front();
        }
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
        for body in &mut self.bodies {
            body.place -= self.written;
        }
        self.written = 0;
    }

    /// Drops everything held back: what it promised will not come true.
    pub fn drop_held(&mut self) {
        if let Some((offset, _)) = self.barriers.front() {
            self.bytes.truncate(*offset);
            while let Some(body) = self.bodies.pop_back_if(|body| *offset < body.place) {
                self.body_bytes -= body.rest.len();
            }
        }
        self.barriers.clear();
    }

    /// Gives back memory, when there is nothing to write.
    pub fn shrink(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
            self.barriers = VecDeque::new();
            self.bodies = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests;
