//! Looking into the ready messages, and taking out a single one: for operators, not for consumers.

use super::entry::{Entry, NEVER_MS};
use super::{Effects, Queue};
use crate::message::Message;

/// A ready message as it is seen from outside.
#[derive(Debug, Clone)]
pub struct Peeked {
    /// Its place in the order of arrival, which it keeps.
    pub sequence: u64,
    /// The message.
    pub message: Message,
    /// It may have been delivered before.
    pub redelivered: bool,
    /// How many deliveries failed before (quorum queues).
    pub delivery_count: u32,
    /// When it expires, if it does.
    pub expires_at_ms: Option<u64>,
}

fn peeked((sequence, entry): (u64, &Entry)) -> Peeked {
    Peeked {
        sequence,
        message: entry.message.clone(),
        redelivered: entry.redelivered,
        delivery_count: entry.delivery_count,
        expires_at_ms: (entry.expires_at_ms != NEVER_MS).then_some(entry.expires_at_ms),
    }
}

impl Queue {
    /// The ready messages in the order in which they would be delivered.
    pub fn peek(&self) -> impl Iterator<Item = Peeked> {
        self.ready.iter().map(peeked)
    }

    /// Takes a ready message out, wherever it stands, and releases it; `None` if there is no such.
    pub fn remove(&mut self, sequence: u64, effects: &mut Effects) -> Option<Message> {
        let entry = self.ready.remove(sequence)?;
        effects.release(entry.position);
        Some(entry.message)
    }
}
