//! One queue with its lock: carries out what the pure queue machine decides.
//!
//! ```text
//! publish(batch) ─► lock ─► broker::queue ─► effects ─┬─► deliveries: each consumer's mailbox, one wake-up a batch
//!                                                     ├─► rejected:   the publisher's confirms
//!                                                     ├─► next timer: the node's timers
//!                                                     └─► dead, auto-delete, expiry: an Aftermath for the caller,
//!                                                         who acts on it once the lock is released
//! ```

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use broker::message::{LogPosition, Message};
use broker::queue::{
    ConsumeError, ConsumerId, ConsumerOptions, Dead, Delivery, DeliveryId, Effects, Incoming,
    NEVER_MS, Page, Queue, QueueOptions, Settlement, Spill,
};
pub use broker::queue::{MessageId, Peeked, QueueTotals};
use broker::router::QueueId;
use metadata::policy::EffectivePolicy;
use metadata::topology::{Name, QueueSpec};
use parking_lot::Mutex;
use wire::amqp091::table::FieldTable;

use crate::catalog::Ticket;
use crate::connections::ConnectionId;
use crate::counters::Times;
use crate::flow::{Backlog, Flow};
use crate::links::Links;
use crate::mailbox::{Event, Mailbox};
use crate::message_log::{MessageLog, PageOut, RecoveredOwner, Share, Spiller};
use crate::refusal::{Refusal, RefusalKind};
use crate::timers::Timers;
use crate::vhost::Vhost;

mod ages;
mod peek;
mod policy;

use ages::Ages;
pub use peek::TakenOut;

pub(crate) use policy::policy_target;

/// Credit that the consumers of one channel share (`basic.qos` with global set).
#[derive(Debug)]
pub struct SharedPrefetch {
    limit: AtomicU32,
    used: AtomicU32,
}

impl SharedPrefetch {
    /// A channel's credit; 0 is no limit.
    /// `used` is what the channel's consumers hold already.
    pub fn new(limit: u32, used: u32) -> Arc<Self> {
        Arc::new(SharedPrefetch {
            limit: AtomicU32::new(limit),
            used: AtomicU32::new(used),
        })
    }

    /// Changes the limit; what is out already stays out.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::SeqCst);
    }

    pub(crate) fn take(&self) -> bool {
        let limit = self.limit.load(Ordering::SeqCst);
        let take = |used: u32| (limit == 0 || used < limit).then_some(used + 1);
        self.used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
            .is_ok()
    }

    /// Gives back credit for `count` settled messages.
    pub fn give_back(&self, count: u32) {
        let give = |used: u32| Some(used.saturating_sub(count));
        // The closure always gives a value, so the update cannot fail.
        let _ = self
            .used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, give);
    }
}

/// A consumer as it is listed.
#[derive(Debug, Clone)]
pub struct ConsumerInfo {
    /// Its tag on its channel.
    pub tag: Name,
    /// Its connection.
    pub connection: ConnectionId,
    /// Its connection's name, `127.0.0.1:1234 -> 127.0.0.1:5672`.
    pub connection_name: Name,
    /// Its channel's number.
    pub channel: u16,
    /// Settled on delivery.
    pub no_ack: bool,
    /// The only consumer the queue may have.
    pub exclusive: bool,
    /// Unacked messages it may have; 0 is no limit.
    pub prefetch: u32,
    /// Arguments of its `basic.consume`.
    pub arguments: FieldTable,
}

struct State {
    queue: Queue,
    effects: Effects,
    links: Links,
    /// Positions of the batch under way, of a queue that may refuse some.
    positions: Vec<LogPosition>,
    /// The moment for which the queue stands in the node's timers.
    scheduled_ms: u64,
    deleted: bool,
    share: Share,
    /// Connections that wait for a message which is on its way into memory.
    getters: Vec<Arc<Mailbox>>,
    flow: Flow,
    /// What is only in the log cannot be read.
    unreadable: bool,
    ages: Ages,
    /// Messages that left for consumers, each counted once.
    left: u64,
}

/// What is left to do once the queue's lock is released. See [`Vhost::conclude`].
#[derive(Debug, Default)]
#[must_use = "dead letters are lost and auto-delete queues stay unless Vhost::conclude gets it"]
pub struct Aftermath {
    /// Messages to dead-letter, oldest first.
    pub dead: Vec<Dead>,
    /// The last consumer went and the queue is auto-delete.
    pub auto_delete: bool,
    /// The queue was unused for its `x-expires`.
    pub expired: bool,
}

impl Aftermath {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.dead.is_empty() && !self.auto_delete && !self.expired
    }
}

/// Counts of a queue, taken in one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueCounts {
    /// Messages ready for delivery.
    pub ready: u64,
    /// Messages delivered and not settled.
    pub unacked: u64,
    /// Consumers.
    pub consumers: u32,
    /// Body bytes of the ready ones.
    pub ready_bytes: u64,
    /// Body bytes of the unacked ones.
    pub unacked_bytes: u64,
}

/// What a queue works with.
#[derive(Default)]
pub struct Around {
    /// Where it is.
    pub vhost: Weak<Vhost>,
    /// Where it asks to be woken.
    pub timers: Arc<Timers>,
    /// Where its messages are kept, if anywhere.
    pub log: Option<Arc<MessageLog>>,
    /// Where it tells how long messages waited.
    pub times: Arc<Times>,
}

/// One queue of a vhost.
pub struct QueueCell {
    /// Unique in the node, for good.
    pub id: QueueId,
    /// As declared.
    pub spec: QueueSpec,
    /// The connection that owns it, if it is exclusive.
    pub owner: Option<ConnectionId>,
    /// Where the queue dead-letters to and from which vhost.
    pub vhost: Weak<Vhost>,
    options: Mutex<Arc<QueueOptions>>,
    /// What `options` were made with; changes with them.
    policy: Mutex<Arc<EffectivePolicy>>,
    timers: Arc<Timers>,
    log: Option<Arc<MessageLog>>,
    times: Arc<Times>,
    /// When its declaration is on disk; set once, by who declared it.
    declared: OnceLock<Ticket>,
    state: Mutex<State>,
}

impl QueueCell {
    /// A new, empty queue.
    pub fn new(
        id: QueueId,
        spec: QueueSpec,
        options: QueueOptions,
        owner: Option<ConnectionId>,
        around: Around,
        now_ms: u64,
    ) -> Arc<Self> {
        let Around {
            vhost,
            timers,
            log,
            times,
        } = around;
        let state = State {
            queue: Queue::new(options.clone(), now_ms),
            effects: Effects::default(),
            links: Links::default(),
            positions: Vec::new(),
            scheduled_ms: u64::MAX,
            deleted: false,
            share: Share::default(),
            getters: Vec::new(),
            flow: Flow::default(),
            unreadable: false,
            ages: Ages::default(),
            left: 0,
        };
        let cell = Arc::new(QueueCell {
            id,
            spec,
            owner,
            vhost,
            options: Mutex::new(Arc::new(options)),
            policy: Mutex::default(),
            timers,
            log,
            times,
            declared: OnceLock::new(),
            state: Mutex::new(state),
        });
        let _nothing_happened_yet = cell.run(now_ms, |_| ());
        cell
    }

    /// The queue's options as they are now.
    pub fn options(&self) -> Arc<QueueOptions> {
        Arc::clone(&self.options.lock())
    }

    /// Whether persistent messages outlive the process here. An exclusive queue goes with its connection.
    pub fn survives(&self) -> bool {
        self.spec.durable && !self.spec.exclusive
    }

    /// When its declaration is on disk: its messages are not safe before.
    pub fn declared(&self) -> Ticket {
        self.declared.get().copied().unwrap_or(Ticket::NONE)
    }

    /// Says when its declaration is on disk.
    pub(crate) fn set_declared(&self, ticket: Ticket) {
        let _it_is_set_once = self.declared.set(ticket);
    }

    /// How long a message may stay, by the queue's own rule.
    pub fn ttl_ms(&self) -> Option<u64> {
        self.options.lock().message_ttl_ms
    }

    /// When a message that comes in now expires in a queue with this time to live; [`NEVER_MS`] if never.
    pub fn expires_at_ms(ttl_ms: Option<u64>, now_ms: u64, message: &Message) -> u64 {
        let own = message.expiration_ms();
        let ttl_ms = ttl_ms.into_iter().chain(own).min();
        ttl_ms.map_or(NEVER_MS, |ttl_ms| now_ms.saturating_add(ttl_ms))
    }

    /// Refuses another connection's exclusive queue, with RabbitMQ's words.
    pub fn check_owner(&self, connection: ConnectionId, vhost: &str) -> Result<(), Refusal> {
        if self.owner.is_none_or(|owner| owner == connection) {
            return Ok(());
        }
        Err(self.locked(vhost))
    }

    /// That it is somebody else's, or exclusive otherwise than asked for.
    pub fn locked(&self, vhost: &str) -> Refusal {
        let text = format!(
            "cannot obtain exclusive access to locked queue '{}' in vhost '{vhost}'. It could be \
             originally declared on another connection or the exclusive property value does not \
             match that of the original declaration.",
            self.spec.name
        );
        Refusal::new(RefusalKind::ResourceLocked, text)
    }

    /// Does `action` under the lock, then carries out what the queue decided.
    fn run<R>(
        self: &Arc<Self>,
        now_ms: u64,
        action: impl FnOnce(&mut State) -> R,
    ) -> (R, Aftermath) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let result = action(state);
        if let Some(log) = &self.log {
            self.mind_memory(log, now_ms, state);
        }
        state.flow.follow(state.backlog());
        self.note_times(now_ms, state);
        let aftermath = self.carry_out(state);
        (result, aftermath)
    }

    /// Counts how long what left for consumers had waited: once a batch, as its last message.
    fn note_times(&self, now_ms: u64, state: &mut State) {
        let queue = &state.queue;
        let waited_ms = (state.ages).note(now_ms, queue.arrived_len(), queue.ready_len());
        let totals = queue.totals();
        let sent = totals.deliver + totals.deliver_no_ack + totals.get + totals.get_no_ack;
        let left = sent.saturating_sub(totals.redeliver);
        if let Some(waited_ms) = waited_ms
            && state.left < left
        {
            let waited = Duration::from_millis(waited_ms);
            self.times.in_queue.add(waited, left - state.left);
        }
        state.left = state.left.max(left);
    }

    /// For how long the message that is next to leave has waited, in milliseconds; `None`: none waits.
    pub fn oldest_ms(&self, now_ms: u64) -> Option<u64> {
        let state = self.state.lock();
        state.ages.oldest_ms(now_ms, state.queue.ready_len())
    }

    /// Gives up memory if the queue has too much, and asks for what it wants back.
    fn mind_memory(self: &Arc<Self>, log: &Arc<MessageLog>, now_ms: u64, state: &mut State) {
        let cache = log.cache();
        let served = state.queue.consumer_len() > 0;
        let resident_bytes = state.queue.resident_bytes();
        if let Some(PageOut { keep_bytes, spill }) =
            cache.report(&mut state.share, resident_bytes, served)
        {
            let settled = log.settled();
            let mut spiller = Spiller::new(log, self.id);
            let spill = spill.then_some(&mut spiller as &mut dyn Spill);
            let State { queue, effects, .. } = state;
            queue.page_out(settled, keep_bytes, spill, effects);
            cache.done(&mut state.share, state.queue.resident_bytes());
        }
        if state.queue.is_paged()
            && !state.deleted
            && let Some(request) = (state.queue).poll_page(now_ms, cache.allowance_bytes(served))
        {
            log.pager().ask(Arc::clone(self), request);
        }
    }

    fn carry_out(self: &Arc<Self>, state: &mut State) -> Aftermath {
        state.links.deliver(&mut state.effects.deliveries);
        for timed_out in state.effects.timed_out.drain(..) {
            let consumer = timed_out.consumer;
            state
                .links
                .notify(consumer, Event::ConsumerTimedOut { consumer });
        }
        if let Some(next_ms) = state.queue.poll_timeout()
            && next_ms < state.scheduled_ms
            && !state.deleted
        {
            let before_ms = std::mem::replace(&mut state.scheduled_ms, next_ms);
            self.timers
                .schedule(before_ms, next_ms, self.id, Arc::downgrade(self));
        }
        let aftermath = Aftermath {
            dead: std::mem::take(&mut state.effects.dead),
            auto_delete: state.effects.auto_delete && !state.deleted,
            expired: state.effects.expired_queue && !state.deleted,
        };
        if let Some(log) = &self.log {
            if !state.effects.counted.is_empty() {
                note_counts(log, self.id, &mut state.effects.counted);
            }
            if let Some(purged) = &state.effects.purged {
                log.purge(self.id, purged);
            }
            if !state.effects.released.is_empty() {
                log.release(self.id, &state.effects.released);
            }
        }
        state.effects.clear();
        aftermath
    }

    /// Takes a batch. `rejected` gets the indexes of those that the queue's overflow rule refused. A deleted
    /// queue swallows all, as if it had taken them just before it went.
    pub fn publish(
        self: &Arc<Self>,
        now_ms: u64,
        batch: &mut Vec<Incoming>,
        rejected: &mut Vec<u32>,
    ) -> Aftermath {
        let ((), aftermath) = self.run(now_ms, |state| state.take(now_ms, batch, rejected));
        aftermath
    }

    /// The same, and whether `publisher` is to wait for the consumers: see [`crate::flow`].
    pub fn publish_from(
        self: &Arc<Self>,
        now_ms: u64,
        batch: &mut Vec<Incoming>,
        rejected: &mut Vec<u32>,
        publisher: Option<&Arc<Mailbox>>,
    ) -> (bool, Aftermath) {
        self.run(now_ms, |state| {
            state.take(now_ms, batch, rejected);
            publisher.is_some_and(|publisher| {
                !state.deleted && state.flow.holds(state.backlog(), publisher)
            })
        })
    }

    /// Whether this publisher is to wait still.
    pub fn holds_up(&self, publisher: &Arc<Mailbox>) -> bool {
        self.state.lock().flow.is_waiting(publisher)
    }

    /// A publisher has waited for as long as it may.
    pub fn waited_in_vain(&self) {
        self.state.lock().flow.give_up();
    }

    /// Takes back what it held before a restart: it stays in the log until it is wanted.
    pub fn recover(self: &Arc<Self>, now_ms: u64, recovered: &RecoveredOwner) {
        let (first, last) = (recovered.first.0, recovered.last.0);
        let ((), aftermath) = self.run(now_ms, |state| {
            let (first, last) = (LogPosition(first), LogPosition(last));
            let queue = &mut state.queue;
            queue.recover(first, last, recovered.messages, recovered.weight);
        });
        debug_assert!(aftermath.is_empty(), "nothing moves");
    }

    /// Takes what it wanted back.
    pub(crate) fn page_in(self: &Arc<Self>, now_ms: u64, page: Page) -> Aftermath {
        let ((), aftermath) = self.run(now_ms, |state| {
            let State {
                queue,
                effects,
                links,
                getters,
                deleted,
                ..
            } = state;
            if !*deleted {
                queue.page_in(now_ms, page, links, effects);
            }
            getters.drain(..).for_each(|mailbox| mailbox.wake());
        });
        aftermath
    }

    /// What it wanted cannot be read. It stays in the log; consumers get nothing that is behind it.
    pub(crate) fn page_failed(&self) {
        let mut state = self.state.lock();
        state.unreadable = true;
        state.getters.drain(..).for_each(|mailbox| mailbox.wake());
    }

    /// Memory is short: gives up what it can.
    pub(crate) fn relieve(self: &Arc<Self>, now_ms: u64) {
        let ((), aftermath) = self.run(now_ms, |state| {
            if let Some(log) = &self.log {
                log.cache().ask(&mut state.share);
            }
        });
        debug_assert!(aftermath.is_empty(), "nothing moves");
    }

    /// Says in the log which of its messages have been delivered, for the next start.
    pub fn note_delivered(&self) {
        let Some(log) = &self.log else { return };
        let mut state = self.state.lock();
        let mut delivered = std::mem::take(&mut state.positions);
        delivered.clear();
        let mut counted: Vec<(LogPosition, u32)> = Vec::new();
        state.queue.delivered(|position, delivery_count| {
            if delivery_count > 0 {
                counted.push((position, delivery_count));
            } else if log.redelivered_up_to() < position {
                delivered.push(position);
            }
        });
        log.note_delivered(self.id, 0, &delivered);
        note_counts(log, self.id, &mut counted);
    }

    /// Settles unacked messages.
    pub fn settle(
        self: &Arc<Self>,
        now_ms: u64,
        ids: &[DeliveryId],
        settlement: Settlement,
    ) -> Aftermath {
        let ((), aftermath) = self.run(now_ms, |state| {
            let State {
                queue,
                effects,
                links,
                ..
            } = state;
            queue.settle(now_ms, ids, settlement, links, effects);
        });
        aftermath
    }

    /// Adds a consumer; its deliveries go to `mailbox` from now on.
    pub fn consume(
        self: &Arc<Self>,
        now_ms: u64,
        options: ConsumerOptions,
        mailbox: Arc<Mailbox>,
        shared: Option<Arc<SharedPrefetch>>,
        info: ConsumerInfo,
    ) -> (Result<(), ConsumeRefusal>, Aftermath) {
        self.run(now_ms, |state| {
            if state.deleted {
                return Err(ConsumeRefusal::Gone);
            }
            let consumer = options.id;
            let State {
                queue,
                effects,
                links,
                ..
            } = state;
            links.insert(consumer, mailbox, shared, info);
            match queue.add_consumer(now_ms, options, links, effects) {
                Ok(()) => Ok(()),
                Err(ConsumeError::ExclusiveInUse) => {
                    links.remove(consumer);
                    Err(ConsumeRefusal::ExclusiveInUse)
                }
            }
        })
    }

    /// Removes a consumer; what it holds unacked stays unacked.
    pub fn cancel(self: &Arc<Self>, now_ms: u64, consumer: ConsumerId) -> Aftermath {
        let ((), aftermath) = self.run(now_ms, |state| {
            let State {
                queue,
                effects,
                links,
                ..
            } = state;
            queue.cancel_consumer(now_ms, consumer, links, effects);
            // What the queue handed out before is in the mailbox; nothing more will be.
            state.links.deliver(&mut state.effects.deliveries);
            state.links.remove(consumer);
        });
        aftermath
    }

    /// `bytes` of the consumer's deliveries reached its connection's output.
    pub fn return_window(
        self: &Arc<Self>,
        now_ms: u64,
        consumer: ConsumerId,
        bytes: u64,
    ) -> Aftermath {
        let ((), aftermath) = self.run(now_ms, |state| {
            let State {
                queue,
                effects,
                links,
                ..
            } = state;
            queue.return_window(now_ms, consumer, bytes, links, effects);
        });
        aftermath
    }

    /// The consumer's channel asked for shared credit after the consumer came.
    pub fn share_prefetch(self: &Arc<Self>, consumer: ConsumerId, shared: Arc<SharedPrefetch>) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        {
            state.links.share(consumer, shared);
            state.queue.share_prefetch(consumer);
        }
    }

    /// The consumer's channel has shared credit again.
    pub fn resume(self: &Arc<Self>, now_ms: u64, consumer: ConsumerId) -> Aftermath {
        let ((), aftermath) = self.run(now_ms, |state| {
            let State {
                queue,
                effects,
                links,
                ..
            } = state;
            queue.resume(now_ms, consumer, links, effects);
        });
        aftermath
    }

    /// `basic.get`: the next message and how many are ready behind it. `mailbox` is woken when one that is not in
    /// memory is there.
    pub fn get(
        self: &Arc<Self>,
        now_ms: u64,
        no_ack: bool,
        mailbox: &Arc<Mailbox>,
    ) -> (Got, Aftermath) {
        self.run(now_ms, |state| {
            match state.queue.get(now_ms, no_ack, &mut state.effects) {
                Some(delivery) => Got::Message(Box::new(delivery), state.queue.ready_len()),
                None if state.queue.is_front_away() && !state.unreadable => {
                    let waits = |other: &Arc<Mailbox>| Arc::ptr_eq(other, mailbox);
                    if !state.getters.iter().any(waits) {
                        state.getters.push(Arc::clone(mailbox));
                    }
                    Got::Away
                }
                None => Got::Nothing,
            }
        })
    }

    /// Drops all ready messages; how many.
    pub fn purge(self: &Arc<Self>, now_ms: u64) -> u64 {
        let (count, aftermath) = self.run(now_ms, |state| {
            state.queue.purge(now_ms, &mut state.effects)
        });
        debug_assert!(aftermath.dead.is_empty(), "a purge dead-letters nothing");
        count
    }

    /// A redeclare: `x-expires` starts anew.
    pub fn touch(self: &Arc<Self>, now_ms: u64) {
        let _an_expiry_cannot_come_of_it = self.run(now_ms, |state| state.queue.touch(now_ms));
    }

    /// Its time has come.
    pub fn handle_timeout(self: &Arc<Self>, now_ms: u64) -> Aftermath {
        let ((), aftermath) = self.run(now_ms, |state| {
            state.scheduled_ms = u64::MAX;
            if !state.deleted {
                let State {
                    queue,
                    effects,
                    links,
                    ..
                } = state;
                queue.handle_timeout(now_ms, links, effects);
            }
        });
        aftermath
    }

    /// Ends the queue if `condition` holds of its counts: drops its messages, tells its consumers. The
    /// number of ready messages dropped, or the counts that broke the condition. `None`: it was gone already.
    pub fn close(
        self: &Arc<Self>,
        condition: impl FnOnce(&QueueCounts) -> bool,
    ) -> Option<Result<u64, QueueCounts>> {
        let mut state = self.state.lock();
        if state.deleted {
            return None;
        }
        let counts = state.counts();
        if !condition(&counts) {
            return Some(Err(counts));
        }
        state.deleted = true;
        self.timers.cancel(state.scheduled_ms, self.id);
        let State {
            queue,
            effects,
            links,
            share,
            getters,
            flow,
            ..
        } = &mut *state;
        let paged = queue.is_paged();
        queue.drain_all(effects);
        if let Some(log) = &self.log {
            if self.survives() || paged || !effects.released.is_empty() {
                log.forget(self.id);
            }
            log.cache().leave(share);
        }
        effects.clear();
        getters.drain(..).for_each(|mailbox| mailbox.wake());
        flow.let_go();
        links.cancel_all();
        Some(Ok(counts.ready))
    }

    /// Whether the queue is gone.
    pub fn is_deleted(&self) -> bool {
        self.state.lock().deleted
    }

    /// What passed it, and its counts, in one moment.
    pub fn totals(&self) -> (QueueTotals, QueueCounts) {
        let state = self.state.lock();
        (state.queue.totals(), state.counts())
    }

    /// Whether some of its messages are only in the log.
    pub fn is_paged(&self) -> bool {
        self.state.lock().queue.is_paged()
    }

    /// Its counts now.
    pub fn counts(&self) -> QueueCounts {
        self.state.lock().counts()
    }

    /// Its consumers, in the order they came, and whether each is active.
    pub fn consumers(&self) -> Vec<(ConsumerInfo, bool)> {
        let state = self.state.lock();
        let active = state.queue.active_consumer();
        let single = state.queue.options().single_active_consumer;
        let is_active = |consumer| !single || active == Some(consumer);
        let listed = state.links.list();
        listed
            .map(|(consumer, info)| (info.clone(), is_active(consumer)))
            .collect()
    }
}

/// Writes down delivery counts, those that are equal together.
fn note_counts(log: &MessageLog, queue: QueueId, counted: &mut [(LogPosition, u32)]) {
    counted.sort_unstable_by_key(|(position, count)| (*count, *position));
    for same in counted.chunk_by(|a, b| a.1 == b.1) {
        let positions: Vec<LogPosition> = same.iter().map(|(position, _)| *position).collect();
        log.note_delivered(queue, same[0].1, &positions);
    }
}

/// What `basic.get` got.
#[derive(Debug)]
pub enum Got {
    /// A message, and how many are ready behind it.
    Message(Box<Delivery>, u64),
    /// The queue is empty.
    Nothing,
    /// There is one, and it is on its way into memory: ask again when the mailbox is woken.
    Away,
}

/// Why a consumer was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumeRefusal {
    /// An exclusive consumer is there, or this one wants to be and others are there.
    ExclusiveInUse,
    /// The queue is gone.
    Gone,
}

impl State {
    /// Takes a batch. What the queue refuses is in `rejected`, by index.
    fn take(&mut self, now_ms: u64, batch: &mut Vec<Incoming>, rejected: &mut Vec<u32>) {
        let State {
            queue,
            effects,
            links,
            positions,
            ..
        } = self;
        if self.deleted {
            effects
                .released
                .extend(batch.drain(..).map(|incoming| incoming.position));
            return;
        }
        if queue.may_refuse() {
            positions.clear();
            positions.extend(batch.iter().map(|incoming| incoming.position));
        }
        queue.publish(now_ms, batch.drain(..), links, effects);
        // What was refused was appended for it, and is not its own.
        let refused = effects.rejected.iter();
        effects
            .released
            .extend(refused.filter_map(|index| positions.get(*index as usize)));
        rejected.append(&mut effects.rejected);
    }

    fn backlog(&self) -> Backlog {
        Backlog {
            ready: self.queue.ready_len(),
            ready_bytes: self.queue.ready_bytes(),
            is_consumed: 0 < self.queue.consumer_len(),
        }
    }

    fn counts(&self) -> QueueCounts {
        QueueCounts {
            ready: self.queue.ready_len(),
            unacked: self.queue.unacked_len(),
            consumers: self.queue.consumer_len() as u32,
            ready_bytes: self.queue.ready_bytes(),
            unacked_bytes: self.queue.unacked_bytes(),
        }
    }
}

#[cfg(test)]
mod tests;
