//! Random commands against the queue and against a model that is slow, and small enough to be believed.
//!
//! The model is one list of messages, each with its state, scanned from the start for every question. After each
//! command both must have brought about the same effects, in the same order. A failure prints its seed; run it
//! again with `LEVERET_SEED=<seed> cargo nextest run -p broker model`.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;

use super::super::*;
use super::script::{Budget, keyed_message};
use crate::message::{LogPosition, Message};

const SEEDS: u64 = 1000;
const STEPS: usize = 250;

/// A pseudo-random sequence (SplitMix64), the same for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.one_in(2).then(|| value(self))
    }
}

/// What a command brought about, in the queue's words and the model's.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// Consumer, message, redelivered, delivery count.
    deliveries: Vec<(ConsumerId, u64, bool, u32)>,
    rejected: Vec<u32>,
    dead: Vec<(u64, DeadReason)>,
    released: Vec<u64>,
    timed_out: Vec<(ConsumerId, Vec<u64>)>,
    active_changed: bool,
    auto_delete: bool,
    expired_queue: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Ready,
    Delayed {
        at_ms: u64,
    },
    Unacked {
        delivery: u64,
        consumer: usize,
        at_ms: u64,
        reported: bool,
    },
    Gone,
}

#[derive(Debug)]
struct ModelMessage {
    priority: u8,
    bytes: u64,
    weight: u64,
    expires_at_ms: Option<u64>,
    redelivered: bool,
    delivery_count: u32,
    state: State,
}

#[derive(Debug)]
struct ModelConsumer {
    options: ConsumerOptions,
    /// When it came, or could take a message again, or was served: who waits longest is next.
    waits_since: u64,
    able: bool,
    window_bytes: u64,
    gate_closed: bool,
    timed_out: bool,
    gone: bool,
}

struct Model {
    options: QueueOptions,
    /// A message's index is its seq, and its name.
    messages: Vec<ModelMessage>,
    consumers: Vec<ModelConsumer>,
    active: Option<usize>,
    quiescing: bool,
    tick: u64,
    deliveries: u64,
    used_at_ms: u64,
    gone: bool,
    out: Outcome,
}

const GETTER: usize = usize::MAX;

impl Model {
    fn new(options: QueueOptions) -> Self {
        Model {
            options,
            messages: Vec::new(),
            consumers: Vec::new(),
            active: None,
            quiescing: false,
            tick: 0,
            deliveries: 0,
            used_at_ms: 0,
            gone: false,
            out: Outcome::default(),
        }
    }

    fn count(&self, is: impl Fn(&State) -> bool) -> u64 {
        self.messages.iter().filter(|m| is(&m.state)).count() as u64
    }

    fn is_waiting(state: &State) -> bool {
        matches!(state, State::Ready | State::Delayed { .. })
    }

    fn ready_bytes(&self) -> u64 {
        self.messages
            .iter()
            .filter(|m| Self::is_waiting(&m.state))
            .map(|m| m.bytes)
            .sum()
    }

    fn held_by(&self, consumer: usize) -> u64 {
        self.count(|s| matches!(s, State::Unacked { consumer: c, .. } if *c == consumer))
    }

    fn bury(&mut self, seq: usize, reason: DeadReason) {
        self.messages[seq].state = State::Gone;
        match self.options.dead_letter_exchange {
            Some(_) => self.out.dead.push((seq as u64, reason)),
            None => self.release(seq),
        }
    }

    fn release(&mut self, seq: usize) {
        self.messages[seq].state = State::Gone;
        self.out.released.push(seq as u64);
    }

    fn is_due(&self, seq: usize, now_ms: u64) -> bool {
        self.messages[seq]
            .expires_at_ms
            .is_some_and(|at_ms| at_ms <= now_ms)
    }

    fn expire(&mut self, now_ms: u64) {
        let ready = |m: &ModelMessage| m.state == State::Ready;
        let all = 0..self.messages.len();
        let mut due: Vec<usize> = all
            .filter(|i| ready(&self.messages[*i]) && self.is_due(*i, now_ms))
            .collect();
        due.sort_by_key(|i| (self.messages[*i].expires_at_ms, *i));
        due.into_iter()
            .for_each(|i| self.bury(i, DeadReason::Expired));
    }

    fn head(&self) -> Option<usize> {
        let ready = (0..self.messages.len()).filter(|i| self.messages[*i].state == State::Ready);
        ready.min_by_key(|i| (std::cmp::Reverse(self.messages[*i].priority), *i))
    }

    fn could_take(&self, i: usize) -> bool {
        let ModelConsumer { options, .. } = &self.consumers[i];
        let active =
            !self.options.single_active_consumer || (self.active == Some(i) && !self.quiescing);
        let credit = options.no_ack
            || options.prefetch == 0
            || self.held_by(i) < u64::from(options.prefetch);
        let c = &self.consumers[i];
        let window = c.window_bytes < DELIVERY_WINDOW_BYTES;
        active && credit && window && !c.gate_closed && !c.timed_out && !c.gone
    }

    /// Whoever could not take a message and now can, waits from now on.
    fn look_around(&mut self) {
        for i in 0..self.consumers.len() {
            let able = self.could_take(i);
            if able && !self.consumers[i].able {
                self.tick += 1;
                self.consumers[i].waits_since = self.tick;
            }
            self.consumers[i].able = able;
        }
    }

    fn next_consumer(&mut self, gate: &mut Budget) -> Option<usize> {
        loop {
            let able = (0..self.consumers.len()).filter(|i| self.could_take(*i));
            let rank = |i: &usize| {
                let c = &self.consumers[*i];
                (std::cmp::Reverse(c.options.priority), c.waits_since)
            };
            let chosen = able.min_by_key(rank)?;
            let c = &mut self.consumers[chosen];
            if c.options.no_ack || !c.options.shared_prefetch || gate.admit(c.options.id) {
                return Some(chosen);
            }
            c.gate_closed = true;
            self.look_around();
        }
    }

    fn deliver(&mut self, now_ms: u64, seq: usize, consumer: usize) {
        let m = &self.messages[seq];
        let c = &mut self.consumers[consumer];
        let told = self.options.kind == QueueKind::Quorum;
        let (redelivered, count) = (m.redelivered, if told { m.delivery_count } else { 0 });
        self.out
            .deliveries
            .push((c.options.id, seq as u64, redelivered, count));
        self.tick += 1;
        c.waits_since = self.tick;
        c.window_bytes += m.weight;
        if c.options.no_ack {
            self.release(seq);
        } else {
            self.hold(now_ms, seq, consumer);
        }
        self.look_around();
    }

    fn hold(&mut self, at_ms: u64, seq: usize, consumer: usize) {
        let delivery = self.deliveries;
        self.deliveries += 1;
        self.messages[seq].state = State::Unacked {
            delivery,
            consumer,
            at_ms,
            reported: false,
        };
    }

    fn assign(&mut self, now_ms: u64, gate: &mut Budget) {
        while let Some(seq) = self.head() {
            let Some(consumer) = self.next_consumer(gate) else {
                return;
            };
            self.deliver(now_ms, seq, consumer);
        }
    }

    fn trim(&mut self) {
        let o = &self.options;
        let (length_max, bytes_max) = (o.length_max, o.bytes_max);
        while drops_head(&self.options)
            && (length_max.is_some_and(|max| max < self.count(Self::is_waiting))
                || bytes_max.is_some_and(|max| max < self.ready_bytes()))
        {
            let Some(head) = self.head() else { return };
            self.bury(head, DeadReason::MaxLength);
        }
    }

    fn publish(&mut self, now_ms: u64, batch: &[Message], gate: &mut Budget) {
        self.expire(now_ms);
        for (index, message) in batch.iter().enumerate() {
            let seq = self.messages.len();
            let own = message.priority();
            let ttl_ms = [self.options.message_ttl_ms, message.expiration_ms()];
            self.messages.push(ModelMessage {
                priority: match (self.options.kind, self.options.priority_max) {
                    (QueueKind::Quorum, _) => own.unwrap_or(4).min(31),
                    (_, None) => 0,
                    (_, Some(max)) => own.unwrap_or(0).min(max),
                },
                bytes: message.body().len() as u64,
                weight: delivery_bytes(message),
                expires_at_ms: ttl_ms
                    .into_iter()
                    .flatten()
                    .min()
                    .map(|ttl_ms| now_ms + ttl_ms),
                redelivered: false,
                delivery_count: 0,
                state: State::Gone,
            });
            let len = self.count(Self::is_waiting) + 1;
            let bytes = self.ready_bytes() + message.body().len() as u64;
            let too_long = self.options.length_max.is_some_and(|max| max < len);
            let too_large = self.options.bytes_max.is_some_and(|max| max < bytes);
            if !drops_head(&self.options) && (too_long || too_large) {
                self.out.rejected.push(index as u32);
                let dead = self.options.overflow == Overflow::RejectPublishDeadLetter;
                if dead && self.options.dead_letter_exchange.is_some() {
                    self.out.dead.push((seq as u64, DeadReason::MaxLength));
                }
            } else {
                self.messages[seq].state = State::Ready;
                self.assign(now_ms, gate);
                self.expire(now_ms);
                self.trim();
            }
        }
    }

    fn settle(&mut self, now_ms: u64, ids: &[u64], outcome: Settlement, gate: &mut Budget) {
        self.expire(now_ms);
        for id in ids {
            let is_it = |m: &ModelMessage| matches!(m.state, State::Unacked { delivery, .. } if delivery == *id);
            let Some(seq) = self.messages.iter().position(is_it) else {
                continue;
            };
            self.messages[seq].state = State::Gone;
            match outcome {
                Settlement::Ack => self.release(seq),
                Settlement::DeadLetter { counted } => {
                    self.messages[seq].delivery_count += u32::from(counted);
                    self.bury(seq, DeadReason::Rejected);
                }
                Settlement::Requeue { counted } => self.requeue(now_ms, seq, counted),
            }
            self.elect(true);
            self.look_around();
        }
        let requeued = matches!(outcome, Settlement::Requeue { .. });
        let quorum = self.options.kind == QueueKind::Quorum;
        if requeued && !quorum {
            self.trim();
        }
        self.assign(now_ms, gate);
        if requeued && quorum {
            self.trim();
        }
    }

    fn requeue(&mut self, now_ms: u64, seq: usize, counted: bool) {
        let quorum = self.options.kind == QueueKind::Quorum;
        let m = &mut self.messages[seq];
        m.redelivered = true;
        m.delivery_count += u32::from(counted);
        let count = m.delivery_count;
        if quorum
            && self
                .options
                .delivery_limit
                .is_some_and(|limit| limit < count)
        {
            return self.bury(seq, DeadReason::DeliveryLimit);
        }
        if self.is_due(seq, now_ms) {
            return self.bury(seq, DeadReason::Expired);
        }
        self.messages[seq].state = match self.options.delayed_retry {
            Some(retry) if retry.kind == DelayedRetryKind::All || counted => {
                let delay_ms = (retry.min_ms * u64::from(count.max(1))).min(retry.max_ms);
                State::Delayed {
                    at_ms: now_ms + delay_ms,
                }
            }
            _ => State::Ready,
        };
    }

    /// Chooses the single active consumer. Only quorum queues prefer a higher priority to the one there is.
    fn elect(&mut self, settled: bool) {
        if !self.options.single_active_consumer {
            return;
        }
        let fit = (0..self.consumers.len())
            .filter(|i| !self.consumers[*i].gone && !self.consumers[*i].timed_out);
        let best = fit.max_by_key(|i| (self.consumers[*i].options.priority, std::cmp::Reverse(*i)));
        match (self.active, best) {
            (None, None) => (),
            (None, Some(_)) => {
                self.active = best;
                self.out.active_changed = true;
            }
            (Some(active), Some(best)) => {
                let (a, b) = (
                    &self.consumers[active].options,
                    &self.consumers[best].options,
                );
                let higher = self.options.kind == QueueKind::Quorum && a.priority < b.priority;
                if higher && self.held_by(active) == 0 && (self.quiescing || !settled) {
                    self.active = Some(best);
                    self.quiescing = false;
                    self.out.active_changed = true;
                } else if higher && !settled {
                    self.quiescing = true;
                }
            }
            (Some(_), None) => unreachable!("the active one is fit"),
        }
    }

    fn give_way(&mut self, consumer: usize) {
        if self.active == Some(consumer) {
            self.active = None;
            self.quiescing = false;
            self.out.active_changed = true;
            self.elect(false);
        }
    }

    fn add_consumer(
        &mut self,
        now_ms: u64,
        mut options: ConsumerOptions,
        gate: &mut Budget,
    ) -> bool {
        options.exclusive &= self.options.kind == QueueKind::Classic;
        let alive = || self.consumers.iter().filter(|c| !c.gone);
        let alone = alive().count() == 0 && !self.options.single_active_consumer;
        if alive().any(|c| c.options.exclusive) || (options.exclusive && !alone) {
            return false;
        }
        self.expire(now_ms);
        self.used_at_ms = now_ms;
        self.consumers.push(ModelConsumer {
            options,
            waits_since: 0,
            able: false,
            window_bytes: 0,
            gate_closed: false,
            timed_out: false,
            gone: false,
        });
        self.elect(false);
        self.look_around();
        self.assign(now_ms, gate);
        true
    }

    fn cancel(&mut self, now_ms: u64, consumer: usize, gate: &mut Budget) {
        if self.consumers[consumer].gone {
            return;
        }
        self.consumers[consumer].gone = true;
        self.expire(now_ms);
        self.used_at_ms = now_ms;
        self.give_way(consumer);
        if self.options.auto_delete && !self.gone && self.consumers.iter().all(|c| c.gone) {
            self.gone = true;
            self.out.auto_delete = true;
        }
        self.look_around();
        self.assign(now_ms, gate);
    }

    fn get(&mut self, now_ms: u64, no_ack: bool) -> Option<u64> {
        self.used_at_ms = now_ms;
        self.expire(now_ms);
        let seq = self.head()?;
        match no_ack {
            true => self.release(seq),
            false => self.hold(now_ms, seq, GETTER),
        }
        Some(seq as u64)
    }

    fn handle_timeout(&mut self, now_ms: u64, gate: &mut Budget) {
        self.expire(now_ms);
        let mut late: Vec<(u64, usize)> = Vec::new();
        for (i, m) in self.messages.iter().enumerate() {
            if let State::Delayed { at_ms } = m.state
                && at_ms <= now_ms
            {
                late.push((at_ms, i));
            }
        }
        late.sort();
        for (_, seq) in late {
            match self.is_due(seq, now_ms) {
                true => self.bury(seq, DeadReason::Expired),
                false => self.messages[seq].state = State::Ready,
            }
        }
        self.assign(now_ms, gate);
        self.trim();
        self.time_out(now_ms);
        self.assign(now_ms, gate);
        if let Some(expires_ms) = self.options.expires_ms
            && !self.gone
            && self.consumers.iter().all(|c| c.gone)
            && self.used_at_ms + expires_ms <= now_ms
        {
            self.gone = true;
            self.out.expired_queue = true;
        }
    }

    fn time_out(&mut self, now_ms: u64) {
        for i in (0..self.consumers.len()).chain([GETTER]) {
            let own = self.consumers.get(i).and_then(|c| c.options.timeout_ms);
            let Some(timeout_ms) = own.or(self.options.consumer_timeout_ms) else {
                continue;
            };
            let mut late = Vec::new();
            for (seq, m) in self.messages.iter_mut().enumerate() {
                if let State::Unacked {
                    delivery,
                    consumer,
                    at_ms,
                    reported,
                } = &mut m.state
                    && *consumer == i
                    && !*reported
                    && *at_ms + timeout_ms <= now_ms
                {
                    *reported = true;
                    late.push((*delivery, seq as u64));
                }
            }
            late.sort();
            if late.is_empty() {
                continue;
            }
            let id = self
                .consumers
                .get(i)
                .map_or(ConsumerId::NONE, |c| c.options.id);
            self.out
                .timed_out
                .push((id, late.into_iter().map(|(_, seq)| seq).collect()));
            if i != GETTER {
                self.consumers[i].timed_out = true;
                self.give_way(i);
                self.look_around();
            }
        }
    }
}

fn drops_head(options: &QueueOptions) -> bool {
    options.overflow == Overflow::DropHead
}

/// Both side by side.
struct Pair {
    /// What is long goes to the store, and comes back.
    paged: bool,
    /// It may have consumers.
    consumed: bool,
    store: Store,
    queue: Queue,
    model: Model,
    now_ms: u64,
    gates: (Budget, Budget),
    effects: Effects,
    /// All delivery ids ever: the queue's and the model's number of it.
    ids: Vec<(DeliveryId, u64)>,
    random: Random,
    log: Vec<String>,
}

fn random_options(random: &mut Random) -> QueueOptions {
    let quorum = random.one_in(2);
    let retry = |r: &mut Random| DelayedRetry {
        kind: if r.one_in(2) {
            DelayedRetryKind::All
        } else {
            DelayedRetryKind::Failed
        },
        min_ms: 1 + r.below(20),
        max_ms: 1 + r.below(50),
    };
    QueueOptions {
        kind: if quorum {
            QueueKind::Quorum
        } else {
            QueueKind::Classic
        },
        auto_delete: random.one_in(4),
        message_ttl_ms: random.maybe(|r| r.below(40)),
        expires_ms: random.maybe(|r| 1 + r.below(60)),
        dead_letter_exchange: random.maybe(|_| "dlx".into()),
        length_max: if random.one_in(3) {
            Some(random.below(12))
        } else {
            None
        },
        bytes_max: if random.one_in(4) {
            Some(random.below(60))
        } else {
            None
        },
        overflow: match random.below(4) {
            0 => Overflow::RejectPublish,
            1 => Overflow::RejectPublishDeadLetter,
            _ => Overflow::DropHead,
        },
        priority_max: random.maybe(|r| r.below(4) as u8),
        single_active_consumer: random.one_in(3),
        delivery_limit: random.maybe(|r| r.below(3) as u32),
        consumer_timeout_ms: if random.one_in(2) {
            Some(1 + random.below(60))
        } else {
            None
        },
        delayed_retry: if quorum && random.one_in(3) {
            Some(retry(random))
        } else {
            None
        },
        ..QueueOptions::default()
    }
}

/// What a log has of a message.
#[derive(Clone)]
struct Logged {
    message: Message,
    expires_at_ms: u64,
    delivery_count: u32,
}

/// A log that the queue pages to and from. The model knows nothing of it.
#[derive(Default)]
struct Store {
    messages: BTreeMap<u64, Logged>,
    /// Names of messages by their positions, of those that have them.
    names: BTreeMap<u64, u64>,
    next: u64,
}

/// Keeps messages that have no position, by the name in their body.
struct Spilling<'s>(&'s mut Store);

impl Spill for Spilling<'_> {
    fn spill(&mut self, message: &Message, expires_at_ms: u64, _: bool) -> Option<LogPosition> {
        let store = &mut *self.0;
        store.next += 1;
        let name = name_in(message);
        store.names.insert(store.next, name);
        let logged = Logged {
            message: message.clone(),
            expires_at_ms,
            delivery_count: 0,
        };
        store.messages.insert(store.next, logged);
        Some(LogPosition(store.next))
    }
}

/// The number in a message's routing key.
fn name_in(message: &Message) -> u64 {
    message.routing_key().parse().expect("a number")
}

impl Store {
    fn read(&self, request: &PageRequest, most: usize) -> Page {
        let range = request.from.0..=request.up_to.0;
        let mut messages = Vec::new();
        let mut next = None;
        for (position, logged) in self.messages.range(range) {
            if messages.len() == most.min(request.messages_max as usize) {
                next = Some(LogPosition(*position));
                break;
            }
            messages.push(Incoming {
                expires_at_ms: Some(logged.expires_at_ms),
                delivery_count: logged.delivery_count,
                ..Incoming::new(logged.message.clone(), LogPosition(*position))
            });
        }
        Page {
            serial: request.serial,
            messages,
            next,
        }
    }

    fn forget(&mut self, effects: &Effects) {
        for (position, count) in &effects.counted {
            if let Some(logged) = self.messages.get_mut(&position.0) {
                logged.delivery_count = *count;
            }
        }
        let dead = effects.dead.iter().map(|dead| dead.position);
        for position in effects.released.iter().copied().chain(dead) {
            self.messages.remove(&position.0);
        }
    }
}

impl Pair {
    fn new(seed: u64, paged: bool) -> Self {
        let mut random = Random(seed);
        let mut options = random_options(&mut random);
        // A consumer that waits for the head gets what a queue with its head at hand would drop: such queues have a
        // limit or consumers here, not both.
        let consumed = !(paged && drops_head(&options) && random.one_in(2));
        if paged && consumed && drops_head(&options) {
            options.length_max = None;
            options.bytes_max = None;
        }
        Pair {
            consumed,
            paged,
            store: Store::default(),
            queue: Queue::new(options.clone(), 0),
            model: Model::new(options.clone()),
            now_ms: 0,
            gates: (Budget(0), Budget(0)),
            effects: Effects::default(),
            ids: Vec::new(),
            random,
            log: vec![format!("{options:?}")],
        }
    }

    fn step(&mut self) {
        match self.random.below(16) {
            0..=4 => self.publish(),
            5..=8 => self.settle(),
            9 if self.consumed => self.add_consumer(),
            10 if self.random.one_in(3) => self.cancel(),
            11 => self.get(),
            12 if self.random.one_in(6) => self.purge(),
            13 => self.return_window(),
            14 => self.resume(),
            15 if self.random.one_in(4) => self.change_options(),
            _ => self.pass_time(),
        }
        if self.paged {
            self.page();
        }
        self.compare();
    }

    /// As a policy does.
    fn change_options(&mut self) {
        let old = &self.model.options;
        let mut new = random_options(&mut self.random);
        new.kind = old.kind;
        new.priority_max = old.priority_max;
        new.single_active_consumer = old.single_active_consumer;
        if self.paged {
            // What a new limit drops while the head is away depends on what comes back first.
            new.length_max = old.length_max;
            new.bytes_max = old.bytes_max;
            new.overflow = old.overflow;
        }
        self.log.push(format!("{} {new:?}", self.now_ms));
        if new.expires_ms != old.expires_ms {
            self.model.used_at_ms = self.now_ms;
        }
        self.model.options = new.clone();
        self.model.handle_timeout(self.now_ms, &mut self.gates.1);
        let (gate, effects) = (&mut self.gates.0, &mut self.effects);
        self.queue.set_options(self.now_ms, new, gate, effects);
    }

    fn publish(&mut self) {
        let mut batch = Vec::new();
        let limited =
            self.model.options.length_max.is_some() || self.model.options.bytes_max.is_some();
        // What is dropped while the head is away is dropped when it is back: of a batch, that may be something else.
        let most = if self.paged && limited { 1 } else { 6 };
        for _ in 0..=self.random.below(most) {
            let r = &mut self.random;
            let large = r.one_in(400);
            let ttl_ms = if r.one_in(3) { Some(r.below(50)) } else { None };
            let priority = r.maybe(|r| r.below(6) as u8);
            let size = if large { 600_000 } else { r.below(12) as usize };
            let name = self.model.messages.len() + batch.len();
            batch.push(keyed_message(&name.to_string(), ttl_ms, priority, size));
        }
        self.log.push(format!(
            "{} publish {:?}",
            self.now_ms,
            batch
                .iter()
                .map(|m| (m.expiration_ms(), m.priority()))
                .collect::<Vec<_>>()
        ));
        let first = self.model.messages.len() as u64;
        let incoming: Vec<Incoming> = batch
            .iter()
            .enumerate()
            .map(|(i, message)| self.incoming(message, first + i as u64))
            .collect();
        self.queue.publish(
            self.now_ms,
            incoming.clone(),
            &mut self.gates.0,
            &mut self.effects,
        );
        for index in &self.effects.rejected {
            let refused = incoming[*index as usize].position;
            self.store.messages.remove(&refused.0);
        }
        self.model.publish(self.now_ms, &batch, &mut self.gates.1);
    }

    /// The message on its way to the queue. With paging, some have no position.
    fn incoming(&mut self, message: &Message, name: u64) -> Incoming {
        if !self.paged {
            return Incoming::new(message.clone(), LogPosition(1 + name));
        }
        if self.random.one_in(4) {
            return Incoming::new(message.clone(), LogPosition::NONE);
        }
        let ttl_ms = [self.model.options.message_ttl_ms, message.expiration_ms()];
        let ttl_ms = ttl_ms.into_iter().flatten().min();
        let expires_at_ms = ttl_ms.map_or(NEVER_MS, |ttl_ms| self.now_ms + ttl_ms);
        let position = Spilling(&mut self.store).spill(message, expires_at_ms, true);
        Incoming {
            expires_at_ms: Some(expires_at_ms),
            ..Incoming::new(message.clone(), position.expect("it has room"))
        }
    }

    /// Sends what is long to the store, sometimes, and brings back what the queue asks for.
    fn page(&mut self) {
        let Pair {
            queue,
            store,
            effects,
            random,
            ..
        } = self;
        store.forget(effects);
        if random.one_in(2) {
            let keep_bytes = random.below(6) * 200;
            let settled = store.next - random.below(3).min(store.next);
            let before = effects.released.len();
            let spills = random.one_in(2);
            let mut spilling = Spilling(store);
            let spill = spills.then_some(&mut spilling as &mut dyn Spill);
            queue.page_out(LogPosition(settled), keep_bytes, spill, effects);
            // What got a new position is not gone.
            for position in effects.released.drain(before..) {
                store.messages.remove(&position.0);
            }
            queue.check_invariants();
        }
        self.bring_back();
    }

    fn bring_back(&mut self) {
        let bytes_max = [0, 1, 2_000, 64 << 10, 8 << 20][self.random.below(5) as usize];
        while let Some(request) = self.queue.poll_page(self.now_ms, bytes_max) {
            let most = 1 + self.random.below(5) as usize;
            let page = self.store.read(&request, most);
            self.queue
                .page_in(self.now_ms, page, &mut self.gates.0, &mut self.effects);
            self.queue.check_invariants();
            self.store.forget(&self.effects);
        }
    }

    fn settle(&mut self) {
        let r = &mut self.random;
        let outcome = match r.below(8) {
            0..=3 => Settlement::Ack,
            4 => Settlement::DeadLetter {
                counted: r.one_in(2),
            },
            _ => Settlement::Requeue {
                counted: r.one_in(2),
            },
        };
        let mut chosen = Vec::new();
        for _ in 0..r.below(8) {
            let recent = (self.ids.len() as u64).min(30);
            if recent != 0 {
                chosen.push(self.ids[self.ids.len() - 1 - r.below(recent) as usize]);
            }
        }
        self.log
            .push(format!("{} settle {:?} {outcome:?}", self.now_ms, chosen));
        let (ids, numbers): (Vec<_>, Vec<_>) = chosen.into_iter().unzip();
        self.queue.settle(
            self.now_ms,
            &ids,
            outcome,
            &mut self.gates.0,
            &mut self.effects,
        );
        self.model
            .settle(self.now_ms, &numbers, outcome, &mut self.gates.1);
    }

    fn add_consumer(&mut self) {
        let id = ConsumerId(self.model.consumers.len() as u64);
        let r = &mut self.random;
        let options = ConsumerOptions {
            id,
            no_ack: r.one_in(3),
            exclusive: r.one_in(12),
            prefetch: r.below(4) as u32,
            priority: r.below(3) as i64,
            timeout_ms: None,
            shared_prefetch: r.one_in(4),
        };
        self.log.push(format!("{} {options:?}", self.now_ms));
        let added =
            self.queue
                .add_consumer(self.now_ms, options, &mut self.gates.0, &mut self.effects);
        assert_eq!(
            added.is_ok(),
            self.model
                .add_consumer(self.now_ms, options, &mut self.gates.1)
        );
    }

    fn any_consumer(&mut self) -> Option<usize> {
        let len = self.model.consumers.len() as u64;
        (len != 0).then(|| (len - 1 - self.random.below(len.min(5))) as usize)
    }

    fn cancel(&mut self) {
        let Some(i) = self.any_consumer() else { return };
        self.log.push(format!("{} cancel {i}", self.now_ms));
        let id = ConsumerId(i as u64);
        self.queue
            .cancel_consumer(self.now_ms, id, &mut self.gates.0, &mut self.effects);
        self.model.cancel(self.now_ms, i, &mut self.gates.1);
    }

    fn get(&mut self) {
        let no_ack = self.random.one_in(2);
        self.log.push(format!("{} get", self.now_ms));
        let mut delivery = self.queue.get(self.now_ms, no_ack, &mut self.effects);
        while delivery.is_none() && self.queue.is_front_away() {
            self.store.forget(&self.effects);
            self.bring_back();
            delivery = self.queue.get(self.now_ms, no_ack, &mut self.effects);
        }
        let number = self.model.deliveries;
        let expected = self.model.get(self.now_ms, no_ack);
        assert_eq!(delivery.as_ref().map(|d| name_in(&d.message)), expected);
        if let Some(delivery) = delivery.filter(|_| !no_ack) {
            self.ids.push((delivery.id, number));
        }
    }

    fn purge(&mut self) {
        self.log.push(format!("{} purge", self.now_ms));
        let len = self.queue.purge(self.now_ms, &mut self.effects);
        self.model.expire(self.now_ms);
        assert_eq!(len, self.model.count(Model::is_waiting));
        for seq in 0..self.model.messages.len() {
            if Model::is_waiting(&self.model.messages[seq].state) {
                self.model.release(seq);
            }
        }
        self.model.out.released.sort();
        self.effects.released.sort();
        if let Some(Purged { up_to, keep }) = self.effects.purged.take() {
            let purged = self.store.messages.range(..=up_to.0);
            let purged = purged.map(|(position, _)| LogPosition(*position));
            let purged: Vec<_> = purged.filter(|p| !keep.contains(p)).collect();
            self.effects.released.extend(purged);
        }
    }

    fn return_window(&mut self) {
        let Some(i) = self
            .any_consumer()
            .filter(|i| !self.model.consumers[*i].gone)
        else {
            return;
        };
        self.log.push(format!("{} window {i}", self.now_ms));
        let bytes = std::mem::take(&mut self.model.consumers[i].window_bytes);
        let id = ConsumerId(i as u64);
        self.queue
            .return_window(self.now_ms, id, bytes, &mut self.gates.0, &mut self.effects);
        self.model.expire(self.now_ms);
        self.model.look_around();
        self.model.assign(self.now_ms, &mut self.gates.1);
    }

    fn resume(&mut self) {
        let Some(i) = self
            .any_consumer()
            .filter(|i| !self.model.consumers[*i].gone)
        else {
            return;
        };
        let budget = self.random.below(4) as u32;
        self.log
            .push(format!("{} resume {i} with {budget}", self.now_ms));
        self.gates = (Budget(budget), Budget(budget));
        let id = ConsumerId(i as u64);
        self.queue
            .resume(self.now_ms, id, &mut self.gates.0, &mut self.effects);
        self.model.consumers[i].gate_closed = false;
        self.model.expire(self.now_ms);
        self.model.look_around();
        self.model.assign(self.now_ms, &mut self.gates.1);
    }

    /// Time never passes a deadline unseen: what was asked for is called in time.
    fn pass_time(&mut self) {
        self.now_ms += self.random.below(15);
        self.log.push(format!("{} time", self.now_ms));
        let asked = self.queue.poll_timeout();
        self.model.handle_timeout(self.now_ms, &mut self.gates.1);
        if asked.is_some_and(|at_ms| at_ms <= self.now_ms) {
            self.queue
                .handle_timeout(self.now_ms, &mut self.gates.0, &mut self.effects);
        }
        if self.paged {
            self.store.forget(&self.effects);
            self.bring_back();
        }
        assert!(
            self.queue
                .poll_timeout()
                .is_none_or(|at_ms| self.now_ms < at_ms)
        );
    }

    fn compare(&mut self) {
        self.queue.check_invariants();
        let paged = self.paged;
        let names = &self.store.names;
        let name = |position: LogPosition| match paged {
            true => names[&position.0],
            false => position.0 - 1,
        };
        let effects = std::mem::take(&mut self.effects);
        let expected = std::mem::take(&mut self.model.out);
        let held: Vec<_> = effects.deliveries.iter().filter(|d| !d.no_ack).collect();
        let first = self.model.deliveries - held.len() as u64;
        self.ids
            .extend(held.iter().map(|delivery| delivery.id).zip(first..));
        let by_id = |id: &DeliveryId| {
            let (_, number) = self.ids.iter().rev().find(|(i, _)| i == id).expect("known");
            let held = |m: &ModelMessage| matches!(m.state, State::Unacked { delivery, .. } if delivery == *number);
            self.model.messages.iter().position(held).expect("held") as u64
        };
        let mut timed_out: Vec<_> = effects
            .timed_out
            .iter()
            .map(|t| (t.consumer, t.ids.iter().map(by_id).collect::<Vec<_>>()))
            .collect();
        let mut outcome = Outcome {
            deliveries: effects
                .deliveries
                .iter()
                .map(|d| {
                    (
                        d.consumer,
                        name_in(&d.message),
                        d.redelivered,
                        d.delivery_count,
                    )
                })
                .collect(),
            rejected: effects.rejected.clone(),
            dead: effects
                .dead
                .iter()
                .map(|d| (name_in(&d.message), d.reason))
                .collect(),
            released: effects.released.iter().map(|p| name(*p)).collect(),
            timed_out: Vec::new(),
            active_changed: effects.active_changed,
            auto_delete: effects.auto_delete,
            expired_queue: effects.expired_queue,
        };
        timed_out.sort();
        outcome.timed_out = timed_out;
        let mut expected = expected;
        expected.timed_out.sort();
        if paged {
            // What is transient is released by no one, and what comes of ranges comes later.
            let named: BTreeSet<u64> = outcome.released.iter().copied().collect();
            let known = |name: &u64| named.contains(name) || !names.values().any(|n| n == name);
            assert!(
                expected.released.iter().all(known),
                "what is done with is released"
            );
            expected.released.retain(|name| named.contains(name));
            expected.released.sort_unstable();
            outcome.released.sort_unstable();
            expected.dead.sort_unstable();
            outcome.dead.sort_unstable();
        }
        if !effects.rejected.is_empty() {
            // The dead letters of refused messages carry no position.
            expected
                .dead
                .retain(|(_, reason)| *reason != DeadReason::MaxLength);
            outcome
                .dead
                .retain(|(_, reason)| *reason != DeadReason::MaxLength);
        }
        self.log.push(format!("    -> {expected:?}"));
        assert_eq!(outcome, expected, "queue and model");
        assert_eq!(self.queue.ready_len(), self.model.count(Model::is_waiting));
        assert_eq!(self.queue.ready_bytes(), self.model.ready_bytes());
        let unacked = self.model.count(|s| matches!(s, State::Unacked { .. }));
        assert_eq!(self.queue.unacked_len(), unacked);
        let active = self
            .model
            .active
            .map(|i| self.model.consumers[i].options.id);
        assert_eq!(self.queue.active_consumer(), active);
    }
}

fn run(seed: u64, paged: bool) {
    let mut pair = Pair::new(seed, paged);
    let steps = AssertUnwindSafe(|| (0..STEPS).for_each(|_| pair.step()));
    if std::panic::catch_unwind(steps).is_err() {
        let last = pair.log.len().saturating_sub(12);
        let log = [&pair.log[..1], &pair.log[last.max(1)..]]
            .concat()
            .join("\n");
        panic!("{log}\nLEVERET_SEED={seed}");
    }
}

#[test]
fn queue_and_model_agree() {
    run_all(false);
}

/// The model does not know of paging, and must see nothing of it.
#[test]
fn paging_changes_nothing() {
    run_all(true);
}

fn run_all(paged: bool) {
    match std::env::var("LEVERET_SEED") {
        Ok(seed) => run(seed.parse().expect("LEVERET_SEED is a number"), paged),
        Err(_) => (0..SEEDS).for_each(|seed| run(seed, paged)),
    }
}
