//! Exchange types: what each does with a message, its bindings and its arguments.
//!
//! A `Kind` holds one exchange's bindings in the form in which its type matches them, and is told of each binding
//! that comes and goes. It knows slots, not names: the router keeps those, and walks from exchange to exchange.
//! Deliberately absent: who may do what, durability, and alternate exchanges (the router's).

pub(crate) mod arguments;
pub(crate) mod consistent_hash;
pub(crate) mod counted_set;
pub(crate) mod direct;
pub(crate) mod fanout;
pub(crate) mod headers;
pub(crate) mod modulus_hash;
pub(crate) mod random;
pub(crate) mod recent_history;
pub(crate) mod stable_hash;
pub(crate) mod topic;

use metadata::topology::{Destination, ExchangeSpec, Name};
use wire::amqp091::table::{Table, Value};

use crate::router::{DeclareError, InvalidBinding, QueueType};
use arguments::term;
use consistent_hash::{ConsistentHash, HashOn};
use counted_set::CountedSet;
use direct::Direct;
use fanout::Fanout;
use headers::Headers;
use modulus_hash::ModulusHash;
use recent_history::RecentHistory;
use topic::Topic;

pub use consistent_hash::BINDING_WEIGHT_MAX;
pub use recent_history::RECENT_HISTORY_LENGTH;
pub use topic::MULTI_WORD_WILDCARDS_MAX;

/// Every exchange type there is, as declarations name them, in the order of the alphabet.
pub const EXCHANGE_TYPES: [&str; 9] = [
    "direct",
    "fanout",
    "headers",
    "topic",
    "x-consistent-hash",
    "x-local-random",
    "x-modulus-hash",
    "x-random",
    "x-recent-history",
];

/// Hash maps whose order is never observed. The hash is the same in every run, which keeps runs repeatable.
pub(crate) type FixedMap<K, V> = hashbrown::HashMap<K, V, foldhash::fast::FixedState>;

/// An exchange's place in the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ExchangeSlot(pub(crate) u32);

/// A queue's place in the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct QueueSlot(pub(crate) u32);

/// A binding's place in the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BindingSlot(pub(crate) u32);

/// What a binding leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    Queue(QueueSlot),
    Exchange(ExchangeSlot),
}

/// Takes what matched.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    pub(crate) queues: Vec<QueueSlot>,
    pub(crate) exchanges: Vec<ExchangeSlot>,
    /// How many sets were poured in. One set has no duplicates, so up to one there is nothing to weed out.
    pub(crate) sets: usize,
}

impl Sink {
    pub(crate) fn clear(&mut self) {
        self.queues.clear();
        self.exchanges.clear();
        self.sets = 0;
    }

    pub(crate) fn push(&mut self, target: Target) {
        self.sets += 1;
        match target {
            Target::Queue(queue) => self.queues.push(queue),
            Target::Exchange(exchange) => self.exchanges.push(exchange),
        }
    }

    pub(crate) fn take(&mut self, targets: &CountedSet<Target>) {
        if targets.is_empty() {
            return;
        }
        self.sets += 1;
        for target in targets.iter() {
            match target {
                Target::Queue(queue) => self.queues.push(queue),
                Target::Exchange(exchange) => self.exchanges.push(exchange),
            }
        }
    }
}

/// One binding, as its exchange's type is told of it.
pub(crate) struct Edge<'a> {
    pub(crate) slot: BindingSlot,
    pub(crate) routing_key: &'a Name,
    pub(crate) arguments: Table<'a>,
    pub(crate) target: Target,
    pub(crate) destination: &'a Destination,
}

/// An exchange's type with its bindings, indexed as that type matches them.
#[derive(Debug)]
pub(crate) enum Kind {
    /// The exchange without a name: routes to the queue that the routing key names.
    Default,
    Direct(Direct),
    Fanout(Fanout),
    Topic(Topic),
    Headers(Headers),
    ConsistentHash(ConsistentHash),
    ModulusHash(ModulusHash),
    RecentHistory(RecentHistory),
    Random,
    LocalRandom,
}

impl Kind {
    /// Whether there is such a type.
    pub(crate) fn check_type(kind: &str) -> Result<(), DeclareError> {
        match EXCHANGE_TYPES.binary_search(&kind) {
            Ok(_) => Ok(()),
            Err(_) => Err(DeclareError::UnknownType {
                kind: kind.to_owned(),
            }),
        }
    }

    /// The empty index of a new exchange, its type's arguments checked.
    pub(crate) fn new(spec: &ExchangeSpec, arguments: Table<'_>) -> Result<Self, DeclareError> {
        Ok(match spec.kind.as_str() {
            "direct" => Kind::Direct(Direct::default()),
            "fanout" => Kind::Fanout(Fanout::default()),
            "topic" => Kind::Topic(Topic::default()),
            "headers" => Kind::Headers(Headers::default()),
            "x-consistent-hash" => Kind::ConsistentHash(ConsistentHash::new(hash_on(arguments)?)),
            "x-modulus-hash" => Kind::ModulusHash(ModulusHash::default()),
            "x-recent-history" => {
                Kind::RecentHistory(RecentHistory::new(history_length(arguments)?))
            }
            "x-random" => Kind::Random,
            "x-local-random" => Kind::LocalRandom,
            kind => {
                return Err(DeclareError::UnknownType {
                    kind: kind.to_owned(),
                });
            }
        })
    }

    /// Whether a binding is one that this type takes. `queue` is the type of the destination, if it is a queue.
    pub(crate) fn check_binding(
        &self,
        routing_key: &str,
        arguments: Table<'_>,
        queue: Option<QueueType>,
    ) -> Result<(), InvalidBinding> {
        match self {
            Kind::Topic(_) => {
                let wildcards = topic::multi_word_wildcards(routing_key);
                if MULTI_WORD_WILDCARDS_MAX < wildcards {
                    return Err(InvalidBinding::TopicWildcards {
                        routing_key: routing_key.to_owned(),
                        wildcards,
                    });
                }
            }
            Kind::Headers(_) => {
                if let Err(value) = headers::MatchMode::of(arguments) {
                    let shown = term(&value);
                    return Err(match value {
                        Value::LongStr(_) => InvalidBinding::MatchValue { value: shown },
                        other => InvalidBinding::MatchType {
                            type_name: other.type_name(),
                            value: shown,
                        },
                    });
                }
            }
            Kind::ConsistentHash(_) => {
                let weight = consistent_hash::parse_weight(routing_key);
                weight.map_err(|error| InvalidBinding::weight(error, routing_key))?;
            }
            Kind::LocalRandom if !routing_key.is_empty() => {
                return Err(InvalidBinding::LocalRandomKey {
                    routing_key: routing_key.to_owned(),
                });
            }
            Kind::LocalRandom => match queue {
                Some(QueueType::Classic) => {}
                Some(queue_type) => return Err(InvalidBinding::LocalRandomQueue { queue_type }),
                None => return Err(InvalidBinding::LocalRandomDestination),
            },
            _ => {}
        }
        Ok(())
    }

    /// Takes in a binding that was checked and is not there yet.
    pub(crate) fn insert(&mut self, edge: &Edge<'_>) {
        match self {
            Kind::Default | Kind::Random | Kind::LocalRandom => {}
            Kind::Direct(direct) => direct.insert(edge.routing_key, edge.target),
            Kind::Fanout(fanout) => fanout.insert(edge.target),
            Kind::Topic(topic) => topic.insert(edge.routing_key, edge.target),
            Kind::Headers(headers) => headers.insert(edge.slot, edge.arguments, edge.target),
            Kind::ConsistentHash(hash) => {
                let weight = consistent_hash::parse_weight(edge.routing_key);
                let weight = weight.expect("the binding was checked");
                hash.insert(
                    edge.slot,
                    weight,
                    edge.target,
                    destination_seed(edge.destination),
                );
            }
            Kind::ModulusHash(hash) => hash.insert(edge.destination.clone(), edge.target),
            Kind::RecentHistory(history) => history.fanout.insert(edge.target),
        }
    }

    /// Forgets a binding.
    pub(crate) fn remove(
        &mut self,
        slot: BindingSlot,
        routing_key: &str,
        target: Target,
        destination: &Destination,
    ) {
        match self {
            Kind::Default | Kind::Random | Kind::LocalRandom => {}
            Kind::Direct(direct) => direct.remove(routing_key, target),
            Kind::Fanout(fanout) => fanout.remove(target),
            Kind::Topic(topic) => topic.remove(routing_key, target),
            Kind::Headers(headers) => headers.remove(slot),
            Kind::ConsistentHash(hash) => hash.remove(slot, target),
            Kind::ModulusHash(hash) => hash.remove(destination),
            Kind::RecentHistory(history) => history.fanout.remove(target),
        }
    }
}

/// A name's seed in a hash exchange: a queue and an exchange of one name differ.
fn destination_seed(destination: &Destination) -> u64 {
    match destination {
        Destination::Queue(name) => stable_hash::hash(name.as_bytes()),
        Destination::Exchange(name) => !stable_hash::hash(name.as_bytes()),
    }
}

fn hash_on(arguments: Table<'_>) -> Result<HashOn, DeclareError> {
    let header = arguments.find("hash-header");
    let property = arguments.find("hash-property");
    let text = |value: &Value<'_>| value.as_str().map(str::to_owned);
    match (header, property) {
        (None, None) => Ok(HashOn::RoutingKey),
        (Some(_), Some(_)) => Err(DeclareError::HashOnBoth),
        (Some(header), None) => {
            // RabbitMQ 4.3 closes the connection with an internal error; a refusal is kinder.
            let unsupported = || DeclareError::UnsupportedHeader {
                value: term(&header),
            };
            text(&header).map(HashOn::Header).ok_or_else(unsupported)
        }
        (None, Some(property)) => match text(&property).as_deref() {
            Some("message_id") => Ok(HashOn::MessageId),
            Some("correlation_id") => Ok(HashOn::CorrelationId),
            Some("timestamp") => Ok(HashOn::Timestamp),
            Some(other) => Err(DeclareError::UnsupportedProperty {
                value: other.to_owned(),
            }),
            None => Err(DeclareError::UnsupportedProperty {
                value: term(&property),
            }),
        },
    }
}

fn history_length(arguments: Table<'_>) -> Result<u64, DeclareError> {
    let Some(value) = arguments.find("x-recent-history-length") else {
        return Ok(RECENT_HISTORY_LENGTH);
    };
    // Signed integers alone, as RabbitMQ has it.
    let length = match value {
        Value::I8(_) | Value::I16(_) | Value::I32(_) | Value::I64(_) => value.as_integer(),
        _ => None,
    };
    match length.and_then(|length| u64::try_from(length).ok()) {
        Some(length) if 0 < length => Ok(length),
        _ => Err(DeclareError::HistoryLength {
            value: term(&value),
        }),
    }
}
