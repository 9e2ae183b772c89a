//! `x-recent-history`: a fanout that remembers its latest messages for queues bound later.
//!
//! Routing only reads, so it names the exchanges that want the message kept, and the caller records it under its
//! write lock. What is kept lives in memory. Deliberately absent: delivery of the history, which the caller does
//! with what a new binding gives it.

use std::collections::VecDeque;

use super::fanout::Fanout;
use crate::message::Message;

/// How many messages are kept where `x-recent-history-length` does not say.
pub const RECENT_HISTORY_LENGTH: u64 = 20;

/// The header by which a publisher asks that its message not be kept, when it is a true bool.
pub(crate) const NO_STORE_HEADER: &str = "x-recent-history-no-store";

/// Destinations and memory of a recent-history exchange.
#[derive(Debug)]
pub(crate) struct RecentHistory {
    pub(crate) fanout: Fanout,
    length: u64,
    /// Oldest first; at most `length`.
    messages: VecDeque<Message>,
}

impl RecentHistory {
    /// # Panics
    /// If `length` is zero, which no declaration lets through.
    pub(crate) fn new(length: u64) -> Self {
        assert!(0 < length);
        RecentHistory {
            fanout: Fanout::default(),
            length,
            messages: VecDeque::new(),
        }
    }

    pub(crate) fn record(&mut self, message: &Message) {
        if self.length <= self.messages.len() as u64 {
            self.messages.pop_front();
        }
        self.messages.push_back(message.clone());
    }

    /// Oldest first.
    pub(crate) fn replay(&self) -> Vec<Message> {
        self.messages.iter().cloned().collect()
    }
}
