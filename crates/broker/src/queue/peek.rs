//! Looking into the ready messages, and taking out a single one: for operators, not for consumers.

use super::cold::Range;
use super::entry::{Entry, NEVER_MS};
use super::{Effects, Incoming, Queue, QueueOptions};
use crate::message::{LogPosition, Message};

/// Tells a ready message from all others, for as long as it is there: its log position or, without one, its place in
/// the order of arrival. One number, odd for positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageId(pub u64);

impl MessageId {
    fn of(sequence: u64, position: LogPosition) -> Self {
        match position.is_some() {
            true => MessageId(position.0 * 2 + 1),
            false => MessageId(sequence * 2),
        }
    }

    /// Where the log has it, if that is what tells it from others.
    pub fn position(self) -> Option<LogPosition> {
        (self.0 % 2 == 1).then_some(LogPosition(self.0 / 2))
    }
}

/// A ready message as it is seen from outside.
#[derive(Debug, Clone)]
pub struct Peeked {
    /// Which it is.
    pub id: MessageId,
    /// The message.
    pub message: Message,
    /// It may have been delivered before.
    pub redelivered: bool,
    /// How many deliveries failed before (quorum queues).
    pub delivery_count: u32,
    /// When it expires, if it does.
    pub expires_at_ms: Option<u64>,
}

fn peeked(sequence: u64, entry: &Entry) -> Peeked {
    Peeked {
        id: MessageId::of(sequence, entry.position),
        message: entry.message.clone(),
        redelivered: entry.redelivered,
        delivery_count: entry.delivery_count,
        expires_at_ms: (entry.expires_at_ms != NEVER_MS).then_some(entry.expires_at_ms),
    }
}

/// What is seen of a queue's ready messages.
#[derive(Debug)]
pub enum Sight {
    /// A message that is in memory.
    Here(Peeked),
    /// Some that are only in the log.
    Away(Stretch),
}

/// Messages that are only in the log, all those of one priority, or all, between two positions, but for a few.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// From here on.
    pub from: LogPosition,
    /// Nothing behind this.
    pub up_to: LogPosition,
    skip: u64,
    left: u64,
    /// With the options that decide on priorities.
    priority: Option<(u8, QueueOptions)>,
}

impl Stretch {
    /// What is seen of a message that the log has there; `None` if that one is not meant.
    pub fn peek(&mut self, incoming: Incoming) -> Option<Peeked> {
        let of_it = |(priority, options): &(u8, QueueOptions)| {
            options.priority_of(&incoming.message) == *priority
        };
        if self.left == 0
            || self.up_to < incoming.position
            || !self.priority.as_ref().is_none_or(of_it)
        {
            return None;
        }
        if 0 < self.skip {
            self.skip -= 1;
            return None;
        }
        self.left -= 1;
        Some(Peeked {
            id: MessageId::of(0, incoming.position),
            message: incoming.message,
            redelivered: incoming.redelivered,
            delivery_count: incoming.delivery_count,
            expires_at_ms: incoming.expires_at_ms.filter(|at_ms| *at_ms != NEVER_MS),
        })
    }

    /// Whether there is nothing more to be seen.
    pub fn is_over(&self) -> bool {
        self.left == 0
    }
}

/// What came of taking out a message.
#[derive(Debug)]
pub enum Removed {
    /// It is out.
    Message(Message),
    /// It is only in the log: [`Queue::remove_away`] takes it out, for whoever has read it.
    Away,
    /// It is on its way into memory, and can be taken out when it is there.
    Coming,
    /// It is not there, or not ready.
    Nothing,
}

impl Queue {
    /// Ready messages in the order in which they would be delivered, `count` of them at most behind the first `skip`.
    pub fn peek(&self, skip: u64, count: u64) -> Vec<Sight> {
        let mut seen = Seen {
            skip,
            left: count,
            sights: Vec::new(),
        };
        for range in self.ready.all_unsorted() {
            seen.range(range, None);
        }
        for level in self.ready.levels() {
            for (sequence, entry) in level.iter() {
                seen.entry(sequence, entry);
            }
            for range in &level.ranges {
                seen.range(range, Some((level.priority, self.options.clone())));
            }
            for (sequence, entry) in &level.tail {
                seen.entry(*sequence, entry);
            }
            if seen.left == 0 {
                break;
            }
        }
        seen.sights
    }

    /// A ready message; what is only in the log, may have gone from there.
    pub fn find(&self, id: MessageId) -> Option<Sight> {
        for level in self.ready.levels() {
            let tail = level
                .tail
                .iter()
                .map(|(sequence, entry)| (*sequence, entry));
            let mut here = level.iter().chain(tail);
            let found =
                here.find(|(sequence, entry)| MessageId::of(*sequence, entry.position) == id);
            if let Some((sequence, entry)) = found {
                return Some(Sight::Here(peeked(sequence, entry)));
            }
        }
        let position = id.position()?;
        let (priority, _) = self.ready.range_of(position)?;
        Some(Sight::Away(Stretch {
            from: position,
            up_to: position,
            skip: 0,
            left: 1,
            priority: priority.map(|priority| (priority, self.options.clone())),
        }))
    }

    /// Takes a ready message out, wherever it stands, and releases it.
    pub fn remove(&mut self, id: MessageId, effects: &mut Effects) -> Removed {
        let is_it = |sequence, entry: &Entry| MessageId::of(sequence, entry.position) == id;
        if let Some(entry) = self.ready.remove_where(is_it) {
            effects.release(entry.position);
            return Removed::Message(entry.message);
        }
        let range = id
            .position()
            .and_then(|position| self.ready.range_of(position));
        match range {
            // What is not sorted yet will be, and then it is known whose it is.
            Some((None, _)) => Removed::Coming,
            Some((_, range)) if range.requested => Removed::Coming,
            Some(_) => Removed::Away,
            None => Removed::Nothing,
        }
    }

    /// Takes out a message that is only in the log, as somebody has just read it there. Says whether it was one of
    /// this queue's ready ones.
    pub fn remove_away(&mut self, incoming: &Incoming, effects: &mut Effects) -> bool {
        let (position, bytes) = (incoming.position, incoming.message.body().len() as u64);
        let priority = self.options.priority_of(&incoming.message);
        let removed = self.ready.remove_of_range(position, priority, bytes);
        if removed {
            effects.release(position);
        }
        removed
    }
}

/// Collects what is seen.
struct Seen {
    skip: u64,
    left: u64,
    sights: Vec<Sight>,
}

impl Seen {
    fn entry(&mut self, sequence: u64, entry: &Entry) {
        if 0 < self.skip {
            self.skip -= 1;
        } else if 0 < self.left {
            self.left -= 1;
            self.sights.push(Sight::Here(peeked(sequence, entry)));
        }
    }

    fn range(&mut self, range: &Range, priority: Option<(u8, QueueOptions)>) {
        let skip = self.skip.min(range.messages);
        let left = self.left.min(range.messages - skip);
        self.skip -= skip;
        self.left -= left;
        if 0 < left {
            self.sights.push(Sight::Away(Stretch {
                from: LogPosition(range.first),
                up_to: LogPosition(range.last),
                skip,
                left,
                priority,
            }));
        }
    }
}
