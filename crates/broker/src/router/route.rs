//! The way of a message: from an exchange and its routing keys to the queues that take it.
//!
//! Exchanges are walked breadth first, each once, so cycles of bindings and of alternate exchanges end. Queues are
//! gathered as slots, weeded of duplicates where more than one set of them was poured together, and given out as
//! ids. Everything that grows is in the scratch and is kept from message to message.

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use metadata::topology::Name;
use wire::amqp091::properties::Properties;
use wire::amqp091::table::{Array, Table, Value};

use super::{Exchange, QueueId, RouteError, Router};
use crate::exchange::arguments::{Side, push_header_value};
use crate::exchange::consistent_hash::HashOn;
use crate::exchange::headers::HeadersScratch;
use crate::exchange::recent_history::NO_STORE_HEADER;
use crate::exchange::topic::TopicScratch;
use crate::exchange::{ExchangeSlot, Kind, Sink, Target, random, stable_hash};

/// What of a message decides where it goes.
#[derive(Debug, Clone, Copy)]
pub struct Routable<'a> {
    /// The exchange it is published to; empty for the default one.
    pub exchange: &'a str,
    /// The routing key it is published with. Those in `CC` and `BCC` headers count as well.
    pub routing_key: &'a str,
    /// Its properties, for their headers.
    pub properties: Properties<'a>,
    /// Whether `CC` and `BCC` count. Not for a dead letter whose queue gave it a key.
    pub sender_selects: bool,
}

/// The result of `route`, and its working space.
#[derive(Debug, Default)]
pub struct RouteScratch {
    /// Where the message goes. No duplicates.
    pub queues: Vec<QueueId>,
    /// The `x-recent-history` exchanges that want it kept: `Router::record` is due for each.
    pub history: Vec<Name>,
    /// Whether another message with this exchange and routing key takes the same way, as long as the epoch stays
    /// and `has_own_route` is false of it.
    pub cacheable: bool,
    /// Random exchanges draw from it and leave the next seed. The caller sets it once.
    pub seed: u64,
    sink: Sink,
    /// Exchanges met, in the order in which they are walked.
    walk: Vec<ExchangeSlot>,
    /// The same as a set, once there is more than one.
    met: HashSet<ExchangeSlot, FixedState>,
    topic: TopicScratch,
    headers: HeadersScratch,
    headers_read: bool,
    bytes: Vec<u8>,
}

impl RouteScratch {
    /// Working space whose random draws follow from `seed`.
    pub fn with_seed(seed: u64) -> Self {
        RouteScratch {
            seed,
            ..RouteScratch::default()
        }
    }
}

/// Whether these properties send a message a way of its own, whatever is remembered of its exchange and routing
/// key: it has a `CC` or `BCC` header.
pub fn has_own_route(properties: &Properties<'_>) -> bool {
    let headers = properties.headers();
    headers.is_some_and(|table| table.iter().any(|(key, _)| key == "CC" || key == "BCC"))
}

/// The routing keys that `CC` and `BCC` headers give a message beside its own; none where they are no arrays, which
/// [`Router::route`] refuses.
pub fn further_keys<'a>(properties: &Properties<'a>) -> impl Iterator<Item = &'a [u8]> {
    let message = Routable {
        exchange: "",
        routing_key: "",
        properties: *properties,
        sender_selects: true,
    };
    let keys = Keys::read(&message).ok();
    keys.into_iter().flat_map(|keys| keys.iter().skip(1))
}

/// A message's routing keys: its own, then those of `CC`, then those of `BCC`.
#[derive(Clone, Copy)]
struct Keys<'a> {
    own: &'a str,
    cc: Option<Array<'a>>,
    bcc: Option<Array<'a>>,
}

impl<'a> Keys<'a> {
    fn read(message: &Routable<'a>) -> Result<Self, RouteError> {
        let mut keys = Keys {
            own: message.routing_key,
            cc: None,
            bcc: None,
        };
        let headers = message.properties.headers();
        let Some(headers) = headers.filter(|_| message.sender_selects) else {
            return Ok(keys);
        };
        let (mut cc, mut bcc) = (None, None);
        for (key, value) in headers.iter() {
            match key {
                "CC" if cc.is_none() => cc = Some(value),
                "BCC" if bcc.is_none() => bcc = Some(value),
                _ => {}
            }
        }
        keys.cc = array("CC", cc)?;
        keys.bcc = array("BCC", bcc)?;
        Ok(keys)
    }

    fn is_alone(&self) -> bool {
        self.cc.is_none() && self.bcc.is_none()
    }

    fn iter(self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let others = self
            .cc
            .into_iter()
            .chain(self.bcc)
            .flat_map(|array| array.iter());
        // What is no string among them is passed over, as RabbitMQ does.
        let others = others.filter_map(|value| match value {
            Value::LongStr(key) => Some(key),
            _ => None,
        });
        std::iter::once(self.own.as_bytes()).chain(others)
    }
}

fn array<'a>(
    header: &'static str,
    value: Option<Value<'a>>,
) -> Result<Option<Array<'a>>, RouteError> {
    match value {
        None => Ok(None),
        Some(Value::Array(array)) => Ok(Some(array)),
        Some(other) => Err(RouteError::UnacceptableCc {
            header,
            type_name: other.type_name(),
        }),
    }
}

impl Router {
    /// Finds the queues of a message, into `scratch.queues`. Whether a publisher may use the exchange (it may be
    /// internal) has been asked before: dead letters and bindings may.
    ///
    /// # Errors
    /// If the exchange is not there, or `CC` or `BCC` is no array. The scratch then holds no queues.
    pub fn route(
        &self,
        message: &Routable<'_>,
        scratch: &mut RouteScratch,
    ) -> Result<(), RouteError> {
        scratch.queues.clear();
        scratch.history.clear();
        scratch.sink.clear();
        scratch.walk.clear();
        if !scratch.met.is_empty() {
            scratch.met.clear();
        }
        scratch.headers_read = false;
        let Some(start) = self.exchange_slot(message.exchange) else {
            return Err(RouteError::NoExchange {
                exchange: message.exchange.to_owned(),
            });
        };
        let keys = Keys::read(message)?;
        scratch.cacheable = keys.is_alone();
        scratch.walk.push(start);
        let mut next = 0;
        while let Some(&slot) = scratch.walk.get(next) {
            next += 1;
            self.route_through(self.at(slot), message, &keys, scratch);
        }
        if 1 < scratch.sink.sets {
            scratch.sink.queues.sort_unstable();
            scratch.sink.queues.dedup();
        }
        let slots = scratch.sink.queues.iter();
        scratch
            .queues
            .extend(slots.map(|slot| self.queues[slot.0 as usize].facts.id));
        Ok(())
    }

    /// Takes one exchange's matches, or its alternate where there are none.
    fn route_through(
        &self,
        exchange: &Exchange,
        message: &Routable<'_>,
        keys: &Keys<'_>,
        scratch: &mut RouteScratch,
    ) {
        let queues_before = scratch.sink.queues.len();
        scratch.sink.exchanges.clear();
        self.matches(exchange, message, keys, scratch);
        let nothing =
            scratch.sink.queues.len() == queues_before && scratch.sink.exchanges.is_empty();
        let alternate = exchange
            .alternate
            .as_ref()
            .or(exchange.policy_alternate.as_ref());
        if nothing && let Some(alternate) = alternate {
            scratch.sink.exchanges.extend(self.exchange_slot(alternate));
        }
        if scratch.sink.exchanges.is_empty() {
            return;
        }
        if scratch.met.is_empty() {
            scratch.met.extend(scratch.walk.iter().copied());
        }
        for &found in &scratch.sink.exchanges {
            if scratch.met.insert(found) {
                scratch.walk.push(found);
            }
        }
    }

    fn matches(
        &self,
        exchange: &Exchange,
        message: &Routable<'_>,
        keys: &Keys<'_>,
        scratch: &mut RouteScratch,
    ) {
        let RouteScratch { sink, .. } = scratch;
        match &exchange.kind {
            Kind::Default => keys.iter().for_each(|key| self.default_route(key, sink)),
            Kind::Direct(direct) => keys.iter().for_each(|key| direct.route(key, sink)),
            Kind::Fanout(fanout) => fanout.route(sink),
            Kind::Topic(topic) => {
                keys.iter()
                    .for_each(|key| topic.route(key, &mut scratch.topic, sink));
            }
            Kind::Headers(headers) => {
                if !scratch.headers_read {
                    scratch.headers.read(message.properties.headers());
                    scratch.headers_read = true;
                }
                headers.route(&scratch.headers, sink);
                scratch.cacheable = false;
            }
            Kind::ConsistentHash(hash) => {
                scratch.cacheable &= hash.hash_on == HashOn::RoutingKey;
                scratch.bytes.clear();
                hashed_bytes(&hash.hash_on, message, &mut scratch.bytes);
                hash.route(stable_hash::hash(&scratch.bytes), sink);
            }
            Kind::ModulusHash(hash) => {
                scratch.bytes.clear();
                for key in keys.iter() {
                    // Keys from CC may be longer than 255, but no frame is longer than this counts.
                    scratch
                        .bytes
                        .extend_from_slice(&(key.len() as u32).to_be_bytes());
                    scratch.bytes.extend_from_slice(key);
                }
                hash.route(stable_hash::hash(&scratch.bytes), sink);
            }
            Kind::RecentHistory(history) => {
                history.fanout.route(sink);
                if wants_history(message.properties.headers()) {
                    scratch.history.push(exchange.spec.name.clone());
                }
                scratch.cacheable = false;
            }
            Kind::Random | Kind::LocalRandom => {
                scratch.cacheable = false;
                if !exchange.outgoing.is_empty() {
                    let index = random::draw_index(&mut scratch.seed, exchange.outgoing.len());
                    let binding = exchange.outgoing[index];
                    sink.push(self.bindings[binding.0 as usize].target);
                }
            }
        }
    }

    fn default_route(&self, key: &[u8], sink: &mut Sink) {
        let Ok(name) = std::str::from_utf8(key) else {
            return;
        };
        if let Some(&queue) = self.queue_slots.get(name) {
            sink.push(Target::Queue(queue));
        }
    }
}

fn wants_history(headers: Option<Table<'_>>) -> bool {
    let no_store = headers.and_then(|headers| headers.find(NO_STORE_HEADER));
    !matches!(no_store, Some(Value::Bool(true)))
}

/// What a consistent-hash exchange hashes. What is missing is nothing, the same for all messages that miss it; of
/// an array the first item counts (RabbitMQ 4.3).
fn hashed_bytes(hash_on: &HashOn, message: &Routable<'_>, out: &mut Vec<u8>) {
    let properties = &message.properties;
    match hash_on {
        HashOn::RoutingKey => out.extend_from_slice(message.routing_key.as_bytes()),
        HashOn::MessageId => out.extend(properties.message_id().unwrap_or_default().bytes()),
        HashOn::CorrelationId => {
            out.extend(properties.correlation_id().unwrap_or_default().bytes())
        }
        HashOn::Timestamp => {
            if let Some(seconds) = properties.timestamp() {
                out.extend_from_slice(&seconds.to_be_bytes());
            }
        }
        HashOn::Header(name) => {
            let headers = properties.headers().unwrap_or(Table::EMPTY);
            // Of equal keys the last counts, as in header matching.
            let value = headers.iter().filter(|&(key, _)| key == name).last();
            match value {
                None => {}
                Some((_, Value::Array(array))) => {
                    if let Some(first) = array.iter().next() {
                        push_header_value(out, &first, Side::Message);
                    }
                }
                Some((_, value)) => push_header_value(out, &value, Side::Message),
            }
        }
    }
}
