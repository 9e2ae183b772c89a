//! One channel: what only its own conversation touches.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker::queue::ConsumerId;
use hashbrown::HashMap;
use metadata::topology::Name;
use node::connections::ChannelEntry;
use node::counters::MessageTotals;
use node::queue_cell::SharedPrefetch;

use super::answers::Allowed;
use super::confirms::Confirms;
use super::publish::Publishing;
use super::reply_to::ReplyConsumer;
use super::transactions::Transaction;
use super::unacked::UnackedTags;

/// How far the content of a publish has come.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Assembly {
    /// No publish under way.
    #[default]
    Idle,
    /// `basic.publish` was read; its content header comes next.
    Header,
    /// The header was read; this much of the body is still to come.
    Body {
        /// Bytes still to come.
        missing: u64,
    },
}

/// What acknowledges publishes on this channel.
#[derive(Default)]
pub(crate) enum Mode {
    /// Nothing.
    #[default]
    Plain,
    /// Confirms.
    Confirm(Confirms),
    /// Publishes and acks wait for `tx.commit`.
    Transaction(Transaction),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Channel {
    /// We closed it and wait for `channel.close-ok`; all else on its number is thrown away.
    pub(crate) closing: bool,
    pub(crate) assembly: Assembly,
    pub(crate) publishing: Publishing,
    pub(crate) mode: Mode,
    /// Set while the batch under way has publishes of this channel to confirm.
    pub(crate) to_confirm: bool,
    pub(crate) unacked: UnackedTags,
    /// The last delivery tag given.
    pub(crate) delivery_tag: u64,
    pub(crate) consumers: HashMap<Name, ConsumerId>,
    /// For consumers to come; 0 is no limit.
    pub(crate) prefetch: u32,
    /// Credit that all consumers of the channel share, once `basic.qos` asked for it.
    pub(crate) shared_prefetch: Option<Arc<SharedPrefetch>>,
    /// The queue meant by an empty name: the one declared last.
    pub(crate) last_queue: Option<Name>,
    pub(crate) reply_consumer: Option<ReplyConsumer>,
    /// What an authority elsewhere allowed.
    pub(crate) allowed: Option<Box<Allowed>>,
    pub(crate) entry: Arc<ChannelEntry>,
    /// What passed it; shown to others with the other counts.
    pub(crate) totals: MessageTotals,
}

impl Channel {
    /// Writes the counts where listings read them.
    pub(crate) fn publish_counts(&mut self) {
        let entry = &self.entry;
        let (unacked, consumers) = (self.unacked.len() as u64, self.consumers.len() as u32);
        entry.unacked.store(unacked, Ordering::Relaxed);
        entry.consumers.store(consumers, Ordering::Relaxed);
        if let Mode::Confirm(confirms) = &self.mode {
            self.totals.publish_confirm = confirms.published();
            self.totals.confirm = confirms.answered();
            let unconfirmed = confirms.pending();
            entry.unconfirmed.store(unconfirmed, Ordering::Relaxed);
        }
        entry.messages.show(&self.totals);
    }

    /// Its consumers, the oldest first: ids ascend with age.
    pub(crate) fn consumer_ids(&self) -> Vec<ConsumerId> {
        let mut ids: Vec<ConsumerId> = self.consumers.values().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// The channel's transaction, if it is in that mode.
    pub(crate) fn transaction(&mut self) -> Option<&mut Transaction> {
        match &mut self.mode {
            Mode::Transaction(transaction) => Some(transaction),
            _ => None,
        }
    }
}

/// The channels of a connection, by number. Clients count from 1, so a vector serves.
#[derive(Default)]
pub(crate) struct Channels(Vec<Option<Box<Channel>>>);

impl Channels {
    /// The channel with this number.
    pub(crate) fn find(&mut self, number: u16) -> Option<&mut Channel> {
        self.0.get_mut(usize::from(number))?.as_deref_mut()
    }

    /// The same, to be read.
    pub(crate) fn look(&self, number: u16) -> Option<&Channel> {
        self.0.get(usize::from(number))?.as_deref()
    }

    /// Forgets what an authority elsewhere allowed.
    pub(crate) fn forget_allowed(&mut self) {
        for channel in self.0.iter_mut().flatten() {
            channel.allowed = None;
        }
    }

    /// Opens a channel on a free number.
    pub(crate) fn insert(&mut self, number: u16, channel: Channel) {
        let index = usize::from(number);
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.0.get_mut(index) {
            *slot = Some(Box::new(channel));
        }
    }

    /// Frees a number.
    pub(crate) fn remove(&mut self, number: u16) -> Option<Box<Channel>> {
        let removed = self.0.get_mut(usize::from(number))?.take();
        while self.0.last().is_some_and(Option::is_none) {
            self.0.pop();
        }
        removed
    }

    /// The numbers in use.
    pub(crate) fn numbers(&self) -> Vec<u16> {
        let used = self
            .0
            .iter()
            .enumerate()
            .filter(|(_, channel)| channel.is_some());
        used.map(|(number, _)| number as u16).collect()
    }

    /// Channels in use.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().flatten().count()
    }
}
