//! The publish path: checks, route, and the batch that is given to the queues at the end of the input.
//!
//! A channel remembers the route of its last exchange and routing key while the vhost's epoch and the
//! permissions stand still. In the steady state a message costs: one comparison of names, one scan of its
//! properties, one allocation, and a push onto the batch of each of its queues.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker::message::{LogPosition, Message};
use broker::queue::Incoming;
use broker::router::{
    Refusal as RouterRefusal, Routable, RouteScratch, further_keys, has_own_route,
};
use hashbrown::HashMap;
use metadata::identity::PermissionKind;
use node::alarms::Alarm;
use node::counters::{ExchangeCounters, Passed, SizeRun};
use node::flow::HOLD_MS;
use node::identities::ResourceKind;
use node::message_log::{Appending, InFlight, Refused, Taker};
use node::node::Node;
use node::queue_cell::QueueCell;
use node::replies::REPLY_TO;
use wire::amqp091::frame::{encode_body, encode_content_header};
use wire::amqp091::method::{BasicReturn, Method};
use wire::amqp091::properties::{Change, Properties, PropertyChanges};
use wire::amqp091::reply_code::ReplyCode;
use wire::amqp091::table::Table;

use super::channel::Mode;
use super::connection::Turn;
use super::fault::Fault;
use super::limits::{
    BATCH_BYTES_MAX, BATCH_ENTRIES_KEPT, BATCH_ENTRIES_KEPT_ALL, BATCH_TARGETS_KEPT,
};
use super::methods::Session;
use super::output::Promise;

mod traced;

use traced::TracedPublishes;

/// Confirms of one channel that are said once a promise is kept.
pub(crate) struct Unconfirmed {
    pub(crate) promise: Promise,
    pub(crate) channel: u16,
    /// When their publishes were read.
    pub(crate) since_ms: u64,
}

/// Where the publish under way goes, and what is remembered of the last one.
#[derive(Default)]
pub(crate) struct Publishing {
    exchange: String,
    routing_key: String,
    mandatory: bool,
    /// Properties of the publish under way, as they came.
    pub(crate) properties: Vec<u8>,
    /// Body frames so far, when there are several.
    pub(crate) body: Vec<u8>,
    route: Route,
    /// Of the exchange, and the epoch in which they were looked up.
    counters: Option<(u64, Arc<ExchangeCounters>)>,
}

/// Publishes to one exchange that its counters do not know of yet.
#[derive(Default)]
struct Counting {
    counters: Option<Arc<ExchangeCounters>>,
    published: u64,
    routed: u64,
    sizes: SizeRun,
}

impl Counting {
    /// Counts a publish to the exchange of `counters` that goes to so many queues.
    fn add(
        &mut self,
        counters: Option<&Arc<ExchangeCounters>>,
        queues: usize,
        body_bytes: usize,
        passed: &Arc<Passed>,
    ) {
        self.sizes.add(body_bytes as u64, passed);
        let Some(counters) = counters else { return };
        let same = |known: &Arc<ExchangeCounters>| Arc::ptr_eq(known, counters);
        if !self.counters.as_ref().is_some_and(same) {
            self.show(passed);
            self.counters = Some(Arc::clone(counters));
        }
        self.published += 1;
        self.routed += queues as u64;
    }

    /// Adds what was counted to the exchange's counters and the node's.
    fn show(&mut self, passed: &Passed) {
        self.sizes.show(passed);
        let published = std::mem::take(&mut self.published);
        let routed = std::mem::take(&mut self.routed);
        if let Some(counters) = self.counters.as_ref().filter(|_| published > 0) {
            counters.publish_in.fetch_add(published, Ordering::Relaxed);
            counters.publish_out.fetch_add(routed, Ordering::Relaxed);
            passed.routed.fetch_add(routed, Ordering::Relaxed);
        }
    }
}

#[derive(Default)]
struct Route {
    /// The epoch it was found in; 0 is no epoch.
    epoch: u64,
    /// The generation of permissions it was allowed in.
    permissions: u64,
    cells: Vec<Arc<QueueCell>>,
    /// The cells' places in the batch, while the batch's generation is `placed`.
    places: Vec<usize>,
    placed: u64,
}

impl Publishing {
    /// Where the next message goes. The remembered route stays if it goes where the last one went.
    pub(crate) fn address(&mut self, exchange: &str, routing_key: &str, mandatory: bool) {
        self.mandatory = mandatory;
        if self.exchange == exchange && self.routing_key == routing_key {
            return;
        }
        self.route.epoch = 0;
        if self.exchange != exchange {
            self.counters = None;
            self.exchange.clear();
            self.exchange.push_str(exchange);
        }
        self.routing_key.clear();
        self.routing_key.push_str(routing_key);
    }

    /// What is known of publishes to this address, if the last one went there and its route, found in that epoch and
    /// generation of permissions, holds for the next one.
    pub(crate) fn remembered(
        &self,
        exchange: &str,
        routing_key: &str,
        mandatory: bool,
        (epoch, permissions): (u64, u64),
    ) -> Option<Publishing> {
        let route = &self.route;
        let holds = self.exchange == exchange
            && self.routing_key == routing_key
            && (route.epoch, route.permissions) == (epoch, permissions)
            // Without a queue it may be for a reply address, or come back.
            && !route.cells.is_empty();
        holds.then(|| Publishing {
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
            mandatory,
            route: Route {
                cells: route.cells.clone(),
                placed: u64::MAX,
                places: Vec::new(),
                ..*route
            },
            counters: self.counters.clone(),
            ..Publishing::default()
        })
    }
}

/// A publish as its confirm knows it.
#[derive(Clone, Copy)]
struct Tag {
    channel: u16,
    /// Its confirm number; 0 when the channel wants no confirms.
    number: u64,
}

/// What one queue gets of a batch.
struct Target {
    cell: Arc<QueueCell>,
    /// It keeps persistent messages across a restart.
    survives: bool,
    /// Its own time to live, as of the flush under way.
    ttl_ms: Option<u64>,
    incoming: Vec<Incoming>,
    /// One for each of `incoming`.
    tags: Vec<Tag>,
}

/// Publishes that are not with their queues yet.
#[derive(Default)]
pub(crate) struct PublishBatch {
    /// Queues of this batch and of those before it.
    targets: Vec<Target>,
    places: HashMap<u64, usize>,
    /// Moves when places are given anew.
    generation: u64,
    /// The vhost's epoch when the last batch was given away: a queue that is gone is not held for longer.
    epoch: u64,
    /// Places of the targets that have messages, in the order of their first ones.
    filled: Vec<u32>,
    bytes: usize,
    /// Channels with confirms to say.
    confirming: Vec<u16>,
    /// What goes to the log first.
    logged: Logged,
    rejected: Vec<u32>,
    traced: TracedPublishes,
    counting: Counting,
    scratch: Scratch,
}

/// Messages of a batch that go to the log, one record each however many queues keep it.
#[derive(Default)]
struct Logged {
    /// The first of each message's `slots`; its end is the next one's first.
    firsts: Vec<u32>,
    /// Where the message stands: a target, and an index there.
    slots: Vec<(u32, u32)>,
    /// How many of the messages are in the log.
    done: usize,
    /// What must be durable for those that are.
    promise: Promise,
    /// While some are and their queues do not have them yet.
    in_flight: Option<InFlight>,
}

impl Logged {
    fn slots(&self, index: usize) -> &[(u32, u32)] {
        let first = self.firsts.get(index).map_or(0, |first| *first as usize);
        let end = self.firsts.get(index + 1).map(|next| *next as usize);
        let end = end.unwrap_or(self.slots.len());
        self.slots.get(first..end).unwrap_or_default()
    }

    fn clear(&mut self) {
        self.firsts.clear();
        self.slots.clear();
        self.firsts.shrink_to(BATCH_ENTRIES_KEPT);
        self.slots.shrink_to(BATCH_ENTRIES_KEPT);
        self.done = 0;
        self.promise = Promise::NONE;
        self.in_flight = None;
    }
}

#[derive(Default)]
struct Scratch {
    route: RouteScratch,
    cells: Vec<Arc<QueueCell>>,
    message: Vec<u8>,
}

impl PublishBatch {
    /// An empty batch whose random exchanges draw from `seed`: two connections do not draw alike.
    pub(crate) fn new(seed: u64) -> Self {
        let mut batch = PublishBatch::default();
        batch.scratch.route = RouteScratch::with_seed(seed);
        batch
    }

    /// Bytes of its messages.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn place(&mut self, cell: &Arc<QueueCell>) -> usize {
        *self.places.entry(cell.id.0).or_insert_with(|| {
            let (incoming, tags) = (Vec::new(), Vec::new());
            self.targets.push(Target {
                cell: Arc::clone(cell),
                survives: cell.survives(),
                ttl_ms: None,
                incoming,
                tags,
            });
            self.targets.len() - 1
        })
    }

    /// A message that the log keeps for those of its queues that survive follows.
    fn begin_logged(&mut self) {
        let first = self.logged.slots.len() as u32;
        if self.logged.firsts.last() != Some(&first) {
            self.logged.firsts.push(first);
        }
    }

    fn push(&mut self, place: usize, message: Message, tag: Tag, logged: bool) {
        let Tag { channel, number } = tag;
        if let Some(target) = self.targets.get_mut(place) {
            if target.incoming.is_empty() {
                self.filled.push(place as u32);
            }
            if logged && target.survives {
                let slot = (place as u32, target.incoming.len() as u32);
                self.logged.slots.push(slot);
            }
            target
                .incoming
                .push(Incoming::new(message, LogPosition::NONE));
            target.tags.push(Tag { channel, number });
        }
    }

    /// The batch is given away. Forgets targets when there are many or one of them may be gone, and memory when there
    /// was much.
    fn trim(&mut self, epoch: u64) {
        self.bytes = 0;
        let moved = std::mem::replace(&mut self.epoch, epoch) != epoch;
        if moved || BATCH_TARGETS_KEPT < self.targets.len() {
            self.targets.clear();
            self.places.clear();
            self.generation += 1;
        }
        let share = BATCH_ENTRIES_KEPT_ALL / self.targets.len().max(1);
        let kept = share.min(BATCH_ENTRIES_KEPT);
        for place in self.filled.drain(..) {
            if let Some(target) = self.targets.get_mut(place as usize) {
                target.incoming.shrink_to(kept);
                target.tags.shrink_to(kept);
            }
        }
        self.filled.shrink_to(BATCH_ENTRIES_KEPT);
    }
}

/// A message on its way, with the queues it was routed to.
pub(crate) struct Routed {
    pub(crate) message: Message,
    pub(crate) cells: Vec<Arc<QueueCell>>,
    pub(crate) returned: bool,
}

impl Session {
    /// A publish is whole: `body` is its body, the rest is in the channel's `publishing`.
    pub(crate) fn publish(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        body: &[u8],
    ) -> Result<(), Fault> {
        let channel = self.channel(number)?;
        // Taken out so that the session can be borrowed; put back below.
        let mut publishing = std::mem::take(&mut channel.publishing);
        let raw = std::mem::take(&mut publishing.properties);
        let published = self.publish_whole(turn, number, &mut publishing, &raw, body);
        publishing.properties = raw;
        if let Some(channel) = self.channels.find(number) {
            channel.publishing = publishing;
        }
        published.map_err(|fault| fault.blame((60, 40)))?;
        let (messages, bytes) = &mut self.metered;
        *messages += 1;
        *bytes += body.len() as u64;
        if self.batch.bytes > BATCH_BYTES_MAX {
            self.flush(turn);
        }
        Ok(())
    }

    fn publish_whole(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        publishing: &mut Publishing,
        raw_properties: &[u8],
        body: &[u8],
    ) -> Result<(), Fault> {
        let original = Properties::validate(raw_properties)
            .map_err(|error| Fault::connection(ReplyCode::SyntaxError, error.to_string()))?;
        let sender_selects = has_own_route(&original);
        let epoch = self.vhost.epoch();
        let remembered = publishing.route.epoch == epoch
            && publishing.route.permissions == self.permissions_generation();
        if !remembered || sender_selects {
            self.check_publish(&publishing.exchange, &publishing.routing_key, &original)?;
        }
        self.check_user_id(original.user_id())?;
        let expiration_ms = parse_expiration(original.expiration())?;
        let rewritten = self.rewrite(number, &original)?;
        let properties = match &rewritten {
            Some(bytes) => Properties::validate(bytes).expect("we encoded them"),
            None => original,
        };
        let message = Message::new(
            &publishing.exchange,
            &publishing.routing_key,
            &properties,
            expiration_ms,
            body,
            &mut self.batch.scratch.message,
        );
        if !remembered || sender_selects {
            let cacheable = self.find_route(publishing, &original, &message)?;
            let keep = cacheable && !sender_selects;
            publishing.route.epoch = if keep { epoch } else { 0 };
        }
        self.accept(turn, number, publishing, message)
    }

    /// What RabbitMQ checks of a publish's address, in its order.
    fn check_publish(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: &Properties<'_>,
    ) -> Result<(), Fault> {
        let kind_and_internal = self.vhost.read(|topology| {
            let spec = topology.router.exchange(exchange);
            spec.map(|spec| (spec.kind == "topic", spec.internal))
        });
        self.check(PermissionKind::Write, ResourceKind::Exchange, exchange)?;
        let Some((is_topic, internal)) = kind_and_internal else {
            return Err(node::refusal::Refusal::no_exchange(exchange, &self.vhost.name).into());
        };
        if internal {
            let vhost = &self.vhost.name;
            let text =
                format!("cannot publish to internal exchange '{exchange}' in vhost '{vhost}'");
            return Err(Fault::access(text));
        }
        if is_topic {
            // A key of `CC` or `BCC` that is no UTF-8 is asked for as what stands for such characters.
            let text = |key| std::str::from_utf8(key).unwrap_or("\u{fffd}");
            let further = further_keys(properties).map(text);
            self.check_topics(exchange, std::iter::once(routing_key).chain(further))?;
        }
        Ok(())
    }

    /// New properties, where the broker changes them: BCC is taken out, and a `reply-to` of the direct
    /// reply-to pseudo-queue becomes this channel's reply address.
    fn rewrite(
        &mut self,
        number: u16,
        properties: &Properties<'_>,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let hidden = properties
            .headers()
            .is_some_and(|headers| headers.find("BCC").is_some());
        let wants_reply = properties.reply_to() == Some(REPLY_TO);
        if !hidden && !wants_reply {
            return Ok(None);
        }
        let mut changes = PropertyChanges::default();
        if wants_reply {
            let Some(reply) = &self.channel(number)?.reply_consumer else {
                return Err(Fault::precondition("fast reply consumer does not exist"));
            };
            changes.reply_to = Change::Set(&reply.name);
        }
        let mut headers = properties.headers().unwrap_or(Table::EMPTY).to_owned();
        if hidden {
            headers.remove("BCC");
            changes.headers = Change::Set(&headers);
        }
        Ok(Some(properties.rewrite(&changes)))
    }

    fn find_route(
        &mut self,
        publishing: &mut Publishing,
        properties: &Properties<'_>,
        message: &Message,
    ) -> Result<bool, Fault> {
        let permissions = self.permissions_generation();
        let Scratch {
            route: scratch,
            cells,
            ..
        } = &mut self.batch.scratch;
        let routable = Routable {
            exchange: &publishing.exchange,
            routing_key: &publishing.routing_key,
            properties: *properties,
            sender_selects: true,
        };
        cells.clear();
        self.vhost
            .route(&routable, scratch, cells)
            .map_err(|error| {
                let text = error.text(&self.vhost.name);
                match error.refusal() {
                    RouterRefusal::NotFound => Fault::channel(ReplyCode::NotFound, text),
                    _ => Fault::precondition(text),
                }
            })?;
        let epoch = self.vhost.epoch();
        if !matches!(&publishing.counters, Some((known, _)) if *known == epoch) {
            let counters = self.vhost.exchange_counters(&publishing.exchange);
            publishing.counters = Some((epoch, counters));
        }
        let route = &mut publishing.route;
        std::mem::swap(&mut route.cells, cells);
        // No place is right until they are looked up.
        route.placed = u64::MAX;
        route.permissions = permissions;
        if !scratch.history.is_empty() {
            let history = std::mem::take(&mut scratch.history);
            self.vhost.record_history(&history, message);
            return Ok(false);
        }
        Ok(scratch.cacheable)
    }

    /// Puts a routed message where the channel's mode wants it.
    pub(crate) fn accept(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        publishing: &mut Publishing,
        message: Message,
    ) -> Result<(), Fault> {
        let to_reply = publishing.exchange.is_empty()
            && publishing.route.cells.is_empty()
            && self.deliver_reply(&publishing.routing_key, &message);
        let returned = publishing.mandatory && publishing.route.cells.is_empty() && !to_reply;
        let counters = publishing.counters.as_ref().map(|(_, counters)| counters);
        let queues = publishing.route.cells.len();
        let passed = &self.node.passed;
        (self.batch.counting).add(counters, queues, message.body_bytes(), passed);
        let Some(channel) = self.channels.find(number) else {
            return Ok(());
        };
        channel.totals.publish += 1;
        let lost = publishing.route.cells.is_empty() && !returned && !to_reply;
        channel.totals.return_unroutable += u64::from(returned);
        channel.totals.drop_unroutable += u64::from(lost);
        let confirm = match &mut channel.mode {
            Mode::Transaction(transaction) => {
                let cells = publishing.route.cells.clone();
                return transaction.publish(Routed {
                    message,
                    cells,
                    returned,
                });
            }
            Mode::Confirm(confirms) => {
                if !std::mem::replace(&mut channel.to_confirm, true) {
                    self.batch.confirming.push(number);
                }
                confirms.next()
            }
            Mode::Plain => 0,
        };
        if returned {
            return_message(turn, number, &message, self.tuned.frame_bytes_max);
        }
        let tag = Tag {
            channel: number,
            number: confirm,
        };
        self.enter(&mut publishing.route, tag, message);
        Ok(())
    }

    /// Puts a message into the batch, once for each queue of its route.
    fn enter(&mut self, route: &mut Route, tag: Tag, message: Message) {
        self.batch.bytes += message.bytes();
        if route.placed != self.batch.generation {
            let places = route.cells.iter().map(|cell| self.batch.place(cell));
            route.places.clear();
            route.places.extend(places);
            route.placed = self.batch.generation;
        }
        let Some((last, others)) = route.places.split_last() else {
            return self.trace_unroutable(message);
        };
        let logged = message.persistent() && self.node.log.is_some();
        if logged {
            self.batch.begin_logged();
        }
        for place in others {
            self.batch.push(*place, message.clone(), tag, logged);
        }
        self.batch.push(*last, message, tag, logged);
    }

    /// Puts messages of a transaction into the batch.
    pub(crate) fn publish_routed(&mut self, turn: &mut Turn<'_>, number: u16, routed: Routed) {
        if routed.returned {
            return_message(turn, number, &routed.message, self.tuned.frame_bytes_max);
        }
        self.batch.bytes += routed.message.bytes();
        let logged = routed.message.persistent() && self.node.log.is_some();
        if logged {
            self.batch.begin_logged();
        }
        let tag = Tag {
            channel: number,
            number: 0,
        };
        for cell in &routed.cells {
            let place = self.batch.place(cell);
            self.batch.push(place, routed.message.clone(), tag, logged);
        }
        if self.batch.bytes > BATCH_BYTES_MAX {
            self.flush(turn);
        }
    }

    /// Gives the batch's publishes to the log and to their queues and says the confirms that need not wait.
    /// `false`: the log is behind, and the batch waits until it has room.
    pub(crate) fn flush_publishes(&mut self, turn: &mut Turn<'_>) -> bool {
        if let Some(tracer) = self.node.tracer() {
            self.batch.begin_traces(tracer, turn.now_ms);
        }
        if !self.batch.logged.slots.is_empty() && !self.log_publishes(turn.now_ms) {
            return false;
        }
        let mut rejected = std::mem::take(&mut self.batch.rejected);
        // Who consumes, too, is not held up: it would keep back its own acks.
        let publisher = (self.consumers.is_empty()).then_some(&self.entry.mailbox);
        for place in &self.batch.filled {
            let Some(target) = self.batch.targets.get_mut(*place as usize) else {
                continue;
            };
            if target.incoming.is_empty() {
                // All of it was refused.
                continue;
            }
            let (held_up, aftermath) = target.cell.publish_from(
                turn.now_ms,
                &mut target.incoming,
                &mut rejected,
                publisher,
            );
            if held_up {
                let cell = Arc::clone(&target.cell);
                self.flow.get_or_insert((cell, turn.now_ms + HOLD_MS));
                self.entry.in_flow.store(true, Ordering::Relaxed);
            }
            if !self.batch.traced.is_empty() {
                self.batch.traced.note_refused(*place, &rejected);
            }
            for index in rejected.drain(..) {
                let Some(tag) = target.tags.get(index as usize) else {
                    continue;
                };
                let channel = self.channels.find(tag.channel);
                if let Some(Mode::Confirm(confirms)) = channel.map(|channel| &mut channel.mode) {
                    confirms.reject(tag.number);
                }
            }
            target.tags.clear();
            self.vhost.conclude(turn.now_ms, &target.cell, aftermath);
        }
        self.batch.rejected = rejected;
        if !self.batch.traced.is_empty() {
            self.batch.end_traces(self.node.tracer(), &self.vhost);
        }
        self.batch.counting.show(&self.node.passed);
        self.batch.trim(self.vhost.epoch());
        let promise = self.batch.logged.promise;
        self.batch.logged.clear();
        self.say_confirms(turn, promise);
        true
    }

    /// Says the confirms of a batch that is with its queues, or keeps them until `promise` is kept.
    fn say_confirms(&mut self, turn: &mut Turn<'_>, promise: Promise) {
        if self.batch.confirming.is_empty() {
            return;
        }
        let durable = durable(&self.node);
        while let Some(number) = self.batch.confirming.pop() {
            let Some(channel) = self.channels.find(number) else {
                continue;
            };
            channel.to_confirm = false;
            if let Mode::Confirm(confirms) = &mut channel.mode {
                confirms.promise(promise);
                let before = confirms.answered();
                confirms.answer(durable, number, turn.output.buffer());
                let at_once = confirms.answered() - before;
                if at_once > 0 {
                    self.node.times.confirmed(0, at_once);
                }
                if let Some(promise) = confirms.awaited() {
                    self.unconfirmed.push_back(Unconfirmed {
                        promise,
                        channel: number,
                        since_ms: turn.now_ms,
                    });
                }
            }
        }
    }

    /// Says the confirms that waited for what is durable.
    pub(crate) fn answer_confirms(&mut self, turn: &mut Turn<'_>, durable: Promise) {
        let failed = self
            .node
            .log
            .as_ref()
            .is_some_and(|log| log.failure().is_some());
        while let Some(unconfirmed) = self
            .unconfirmed
            .pop_front_if(|unconfirmed| failed || unconfirmed.promise.is_kept(durable))
        {
            let number = unconfirmed.channel;
            let channel = self.channels.find(number);
            if let Some(Mode::Confirm(confirms)) = channel.map(|channel| &mut channel.mode) {
                let out = turn.output.buffer();
                if failed {
                    confirms.refuse_waiting(durable, number, out);
                } else {
                    let before = confirms.answered();
                    confirms.answer(durable, number, out);
                    let took_ms = turn.now_ms.saturating_sub(unconfirmed.since_ms);
                    let count = confirms.answered() - before;
                    self.node.times.confirmed(took_ms, count);
                }
            }
        }
    }

    /// Puts into the log what is to be kept. `false`: it is behind, and this connection is woken when it has room.
    fn log_publishes(&mut self, now_ms: u64) -> bool {
        let node = Arc::clone(&self.node);
        let Some(log) = &node.log else { return true };
        for place in &self.batch.filled {
            if let Some(target) = self.batch.targets.get_mut(*place as usize)
                && target.survives
            {
                target.ttl_ms = target.cell.ttl_ms();
                let declared = Promise::from(target.cell.declared());
                self.batch.logged.promise = self.batch.logged.promise.and(declared);
            }
        }
        let mut appending = log.begin();
        let appended = append(&mut appending, now_ms, &mut self.batch);
        let in_flight = appending.end();
        self.batch.logged.in_flight.get_or_insert(in_flight);
        match appended {
            Ok(()) => true,
            Err(Refused::Behind) => {
                self.waits_for_room = true;
                let mailbox = Arc::clone(&self.entry.mailbox);
                log.wake_when_room(Arc::new(move || mailbox.wake()));
                false
            }
            Err(Refused::Failed) => {
                self.refuse_unlogged();
                true
            }
        }
    }

    /// The log has failed: what it does not have is not given to queues. Publishers with confirms are told so, others
    /// are closed.
    fn refuse_unlogged(&mut self) {
        let batch = &mut self.batch;
        let mut refused: Vec<(u32, u32)> = Vec::new();
        for index in batch.logged.done..batch.logged.firsts.len() {
            refused.extend(batch.logged.slots(index));
        }
        // From the back, so that those before keep their places.
        refused.sort_unstable();
        for (place, index) in refused.into_iter().rev() {
            let Some(target) = batch.targets.get_mut(place as usize) else {
                continue;
            };
            target.incoming.remove(index as usize);
            let tag = target.tags.remove(index as usize);
            let channel = self.channels.find(tag.channel);
            match channel.map(|channel| &mut channel.mode) {
                Some(Mode::Confirm(confirms)) if tag.number > 0 => confirms.reject(tag.number),
                _ => self.failed = true,
            }
        }
    }

    /// Why the connection must end: something of it could not be kept.
    pub(crate) fn take_failure(&mut self) -> Option<Fault> {
        if !std::mem::take(&mut self.failed) {
            return None;
        }
        self.node.set_alarm(Alarm::MessageLog, true);
        let why = self.node.log.as_ref().and_then(|log| log.failure());
        let why = why.unwrap_or_default();
        let text = format!("the message log cannot be written: {why}");
        Some(Fault::connection(ReplyCode::InternalError, text))
    }
}

/// How far catalog and log have come.
pub(crate) fn durable(node: &Node) -> Promise {
    Promise {
        ticket: node.catalog.durable(),
        position: node
            .log
            .as_ref()
            .map_or(LogPosition::NONE, |log| log.durable()),
    }
}

/// Appends what is not yet in the log, in the order of publishing.
fn append(
    appending: &mut Appending<'_>,
    now_ms: u64,
    batch: &mut PublishBatch,
) -> Result<(), Refused> {
    let PublishBatch {
        targets, logged, ..
    } = batch;
    while logged.done < logged.firsts.len() {
        let slots = logged.slots(logged.done);
        let message = slots.first().and_then(|(place, index)| {
            let target = targets.get(*place as usize)?;
            Some(target.incoming.get(*index as usize)?.message.clone())
        });
        // A message of which no queue survives was announced, and has no slot.
        if let Some(message) = message {
            let takers = slots.iter().filter_map(|(place, _)| {
                let target = targets.get(*place as usize)?;
                Some(Taker {
                    queue: target.cell.id,
                    expires_at_ms: QueueCell::expires_at_ms(target.ttl_ms, now_ms, &message),
                    delivery_count: 0,
                })
            });
            let position = appending.push(&message, takers)?;
            for (place, index) in slots {
                let Some(target) = targets.get_mut(*place as usize) else {
                    continue;
                };
                let at_ms = QueueCell::expires_at_ms(target.ttl_ms, now_ms, &message);
                if let Some(incoming) = target.incoming.get_mut(*index as usize) {
                    incoming.position = position;
                    incoming.expires_at_ms = Some(at_ms);
                }
            }
            logged.promise = logged.promise.and(position.into());
        }
        logged.done += 1;
    }
    Ok(())
}

/// `basic.return` of a mandatory message that no queue took (AMQP 0-9-1, 1.8.3.3; reply code 312).
fn return_message(turn: &mut Turn<'_>, number: u16, message: &Message, frame_bytes_max: u32) {
    let method = BasicReturn {
        reply_code: ReplyCode::NoRoute.code(),
        reply_text: ReplyCode::NoRoute.name(),
        exchange: message.exchange(),
        routing_key: message.routing_key(),
    };
    turn.say(number, &Method::BasicReturn(method));
    let (out, body) = (turn.output.buffer(), message.body());
    encode_content_header(out, number, 60, body.len() as u64, message.properties());
    encode_body(out, number, body, frame_bytes_max);
}

/// `expiration` is a decimal number of milliseconds in a short string; RabbitMQ's words for what is not.
pub(crate) fn parse_expiration(expiration: Option<&str>) -> Result<Option<u64>, Fault> {
    /// RabbitMQ's bound of a timer: ten years, in ms.
    const EXPIRATION_MS_MAX: u64 = 315_360_000_000;
    let Some(text) = expiration else {
        return Ok(None);
    };
    let invalid = |reason: String| {
        Err(Fault::precondition(format!(
            "invalid expiration '{text}': {reason}"
        )))
    };
    match text.parse::<i128>() {
        Ok(value) if value < 0 => invalid(format!("{{value_negative,{value}}}")),
        Ok(value) if i128::from(EXPIRATION_MS_MAX) < value => {
            invalid(format!("{{value_too_large,{value}}}"))
        }
        Ok(value) => Ok(Some(value as u64)),
        Err(_) => {
            let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            match text.get(digits..) {
                Some(rest) if 0 < digits => invalid(format!("{{leftover_string,{rest:?}}}")),
                _ => invalid("no_integer".into()),
            }
        }
    }
}
