//! Why the router refuses, with the parts that RabbitMQ's sentence about it names.
//!
//! `text(vhost)` gives that sentence, as RabbitMQ 4.3 sends it behind the name of the reply code. Which code that
//! is depends on the protocol; `refusal()` says which of three kinds it is, and the protocol has a table.

use super::QueueType;
use crate::exchange::consistent_hash::{BINDING_WEIGHT_MAX, WeightError};
use crate::exchange::topic::MULTI_WORD_WILDCARDS_MAX;
use metadata::erlang::binary_term;
use metadata::topology::{Destination, Name};

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Something named is not there (AMQP: 404).
    NotFound,
    /// The default exchange or a predeclared one is not to be touched so (AMQP: 403).
    Forbidden,
    /// The request contradicts what is there, or itself (AMQP: 406).
    Precondition,
}

const DEFAULT_EXCHANGE_TEXT: &str = "operation not permitted on the default exchange";

/// Why a message was not routed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteError {
    /// There is no such exchange.
    NoExchange {
        /// The name asked for.
        exchange: String,
    },
    /// `CC` or `BCC` is there but no array.
    UnacceptableCc {
        /// `CC` or `BCC`.
        header: &'static str,
        /// What it is instead, in RabbitMQ's word.
        type_name: &'static str,
    },
}

impl RouteError {
    /// Which kind of refusal it is.
    pub fn refusal(&self) -> Refusal {
        match self {
            RouteError::NoExchange { .. } => Refusal::NotFound,
            RouteError::UnacceptableCc { .. } => Refusal::Precondition,
        }
    }

    /// RabbitMQ's sentence.
    pub fn text(&self, vhost: &str) -> String {
        match self {
            RouteError::NoExchange { exchange } => no_exchange(exchange, vhost),
            RouteError::UnacceptableCc { header, type_name } => {
                format!("invalid message: {{unacceptable_type_in_header,\"{header}\",{type_name}}}")
            }
        }
    }
}

/// Why an exchange was not declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeclareError {
    /// The default exchange is always there and never declared.
    DefaultExchange,
    /// A name starting `amq.` that is not predeclared.
    ReservedName {
        /// The name asked for.
        exchange: Name,
    },
    /// No such exchange type.
    UnknownType {
        /// The type asked for.
        kind: String,
    },
    /// It is there and differs.
    Inequivalent {
        /// The exchange.
        exchange: Name,
        /// What differs: `type`, `durable`, `auto_delete`, `internal` or `alternate-exchange`.
        argument: &'static str,
        /// What was asked for, as RabbitMQ words it, quotes included.
        received: String,
        /// What is there, likewise.
        current: String,
    },
    /// `alternate-exchange` is no string.
    AlternateType {
        /// The exchange.
        exchange: Name,
        /// What it is instead, in RabbitMQ's word.
        type_name: &'static str,
    },
    /// `hash-header` and `hash-property` together.
    HashOnBoth,
    /// A `hash-property` that is none of the three.
    UnsupportedProperty {
        /// Its value.
        value: String,
    },
    /// A `hash-header` that is no string.
    UnsupportedHeader {
        /// Its value as an Erlang term.
        value: String,
    },
    /// An `x-recent-history-length` that is no positive integer.
    HistoryLength {
        /// Its value as an Erlang term.
        value: String,
    },
    /// Arguments that no field table can hold.
    Arguments {
        /// What is wrong with them.
        reason: String,
    },
}

impl DeclareError {
    /// Which kind of refusal it is.
    pub fn refusal(&self) -> Refusal {
        match self {
            DeclareError::DefaultExchange | DeclareError::ReservedName { .. } => Refusal::Forbidden,
            _ => Refusal::Precondition,
        }
    }

    /// RabbitMQ's sentence.
    pub fn text(&self, vhost: &str) -> String {
        match self {
            DeclareError::DefaultExchange => DEFAULT_EXCHANGE_TEXT.into(),
            DeclareError::ReservedName { exchange } => {
                format!("exchange name '{exchange}' contains reserved prefix 'amq.*'")
            }
            // RabbitMQ says "invalid" of a name that happens to be an atom somewhere in it: of "" always.
            DeclareError::UnknownType { kind } if kind.is_empty() => {
                "invalid exchange type ''".into()
            }
            DeclareError::UnknownType { kind } => format!("unknown exchange type '{kind}'"),
            DeclareError::Inequivalent {
                exchange,
                argument,
                received,
                current,
            } => format!(
                "inequivalent arg '{argument}' for exchange '{exchange}' in vhost '{vhost}': \
                 received {received} but current is {current}"
            ),
            DeclareError::AlternateType {
                exchange,
                type_name,
            } => format!(
                "invalid type '{type_name}' for arg 'alternate-exchange' in exchange '{exchange}' \
                 in vhost '{vhost}'"
            ),
            DeclareError::HashOnBoth => {
                "hash-header and hash-property are mutually exclusive".into()
            }
            DeclareError::UnsupportedProperty { value } => format!("Unsupported property: {value}"),
            DeclareError::UnsupportedHeader { value } => format!("Unsupported header: {value}"),
            DeclareError::HistoryLength { value } => format!(
                "Invalid argument {value}, 'x-recent-history-length' must be a positive integer"
            ),
            DeclareError::Arguments { reason } => format!("invalid arguments: {reason}"),
        }
    }
}

/// Why an exchange was not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeleteError {
    /// The default exchange stays.
    DefaultExchange,
    /// Predeclared exchanges stay.
    SystemExchange {
        /// The exchange.
        exchange: String,
    },
    /// It is not there. AMQP 0-9-1 clients of RabbitMQ are told that it was deleted; its HTTP API says 404.
    NotFound {
        /// The exchange.
        exchange: String,
    },
    /// It was to be deleted only if unused, and has bindings as a source.
    InUse {
        /// The exchange.
        exchange: String,
    },
}

impl DeleteError {
    /// Which kind of refusal it is.
    pub fn refusal(&self) -> Refusal {
        match self {
            DeleteError::DefaultExchange | DeleteError::SystemExchange { .. } => Refusal::Forbidden,
            DeleteError::NotFound { .. } => Refusal::NotFound,
            DeleteError::InUse { .. } => Refusal::Precondition,
        }
    }

    /// RabbitMQ's sentence.
    pub fn text(&self, vhost: &str) -> String {
        match self {
            DeleteError::DefaultExchange => DEFAULT_EXCHANGE_TEXT.into(),
            DeleteError::SystemExchange { exchange } => {
                format!("deletion of system exchange '{exchange}' in vhost '{vhost}' not allowed")
            }
            DeleteError::NotFound { exchange } => no_exchange(exchange, vhost),
            DeleteError::InUse { exchange } => {
                format!("exchange '{exchange}' in vhost '{vhost}' in use")
            }
        }
    }
}

/// Why a binding was not made or unmade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindError {
    /// The default exchange has the bindings it has.
    DefaultExchange,
    /// The source is not there.
    NoSource {
        /// Its name.
        exchange: Name,
    },
    /// The source is there, the destination is not.
    NoDestination {
        /// Its name.
        destination: Destination,
    },
    /// The source's type does not take such a binding.
    Invalid(InvalidBinding),
}

impl BindError {
    /// Which kind of refusal it is.
    pub fn refusal(&self) -> Refusal {
        match self {
            BindError::DefaultExchange => Refusal::Forbidden,
            BindError::NoSource { .. } | BindError::NoDestination { .. } => Refusal::NotFound,
            BindError::Invalid(_) => Refusal::Precondition,
        }
    }

    /// RabbitMQ's sentence.
    pub fn text(&self, vhost: &str) -> String {
        match self {
            BindError::DefaultExchange => DEFAULT_EXCHANGE_TEXT.into(),
            BindError::NoSource { exchange } => no_exchange(exchange, vhost),
            BindError::NoDestination { destination } => match destination {
                Destination::Queue(queue) => format!("no queue '{queue}' in vhost '{vhost}'"),
                Destination::Exchange(exchange) => no_exchange(exchange, vhost),
            },
            BindError::Invalid(invalid) => invalid.text(),
        }
    }
}

/// What an exchange's type has against a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidBinding {
    /// topic: too many words `#`.
    TopicWildcards {
        /// The binding key.
        routing_key: String,
        /// How many it has.
        wildcards: usize,
    },
    /// headers: `x-match` is none of the four.
    MatchValue {
        /// Its value as an Erlang term.
        value: String,
    },
    /// headers: `x-match` is no string.
    MatchType {
        /// What it is instead, in RabbitMQ's word.
        type_name: &'static str,
        /// Its value as an Erlang term.
        value: String,
    },
    /// x-consistent-hash: the routing key is no integer.
    WeightNotInteger {
        /// The routing key.
        routing_key: String,
    },
    /// x-consistent-hash: the weight is below one.
    WeightNotPositive,
    /// x-consistent-hash: the weight is above [`BINDING_WEIGHT_MAX`](crate::exchange::BINDING_WEIGHT_MAX).
    WeightTooLarge,
    /// x-local-random: the routing key is not empty.
    LocalRandomKey {
        /// The routing key.
        routing_key: String,
    },
    /// x-local-random: the queue is not a classic one.
    LocalRandomQueue {
        /// What it is instead.
        queue_type: QueueType,
    },
    /// x-local-random: the destination is an exchange.
    LocalRandomDestination,
    /// Arguments that no field table can hold.
    Arguments {
        /// What is wrong with them.
        reason: String,
    },
}

impl InvalidBinding {
    pub(crate) fn weight(error: WeightError, routing_key: &str) -> Self {
        match error {
            WeightError::NotInteger => InvalidBinding::WeightNotInteger {
                routing_key: routing_key.to_owned(),
            },
            WeightError::NotPositive => InvalidBinding::WeightNotPositive,
            WeightError::TooLarge => InvalidBinding::WeightTooLarge,
        }
    }

    /// RabbitMQ's sentence.
    pub fn text(&self) -> String {
        match self {
            InvalidBinding::TopicWildcards {
                routing_key,
                wildcards,
            } => format!(
                "Topic binding key '{routing_key}' uses {wildcards} '#' wildcards, \
                 at most {MULTI_WORD_WILDCARDS_MAX} are allowed"
            ),
            InvalidBinding::MatchValue { value } => format!(
                "Invalid x-match field value {value}; \
                 expected all, any, all-with-x, or any-with-x"
            ),
            InvalidBinding::MatchType { type_name, value } => {
                format!("Invalid x-match field type {type_name} (value {value}); expected longstr")
            }
            InvalidBinding::WeightNotInteger { routing_key } => {
                let shown = binary_term(routing_key.as_bytes());
                format!("The binding key must be an integer: {shown}")
            }
            InvalidBinding::WeightNotPositive => "The binding key must be greater than 0".into(),
            InvalidBinding::WeightTooLarge => {
                format!("The binding key must not exceed {BINDING_WEIGHT_MAX}")
            }
            InvalidBinding::LocalRandomKey { routing_key } => {
                format!("Non empty binding '{routing_key}' key not permitted")
            }
            InvalidBinding::LocalRandomQueue { queue_type } => {
                let module = match queue_type {
                    QueueType::Classic => "rabbit_classic_queue",
                    QueueType::Quorum => "rabbit_quorum_queue",
                    QueueType::Stream => "rabbit_stream_queue",
                };
                format!("Queue type {module} not valid for this exchange type")
            }
            InvalidBinding::LocalRandomDestination => "Destination not found".into(),
            InvalidBinding::Arguments { reason } => format!("invalid arguments: {reason}"),
        }
    }
}

fn no_exchange(exchange: &str, vhost: &str) -> String {
    format!("no exchange '{exchange}' in vhost '{vhost}'")
}
