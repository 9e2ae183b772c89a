//! The `x-` arguments of `queue.declare` and `basic.consume`: checked, read, and compared on a redeclaration.
//!
//! Which arguments a queue type knows, what values they take, in which order they are looked at, and what is said
//! about wrong ones are RabbitMQ 4.3's (its `declare_args` and each type's capabilities; every text was compared with
//! a running broker). Deliberately absent: permissions, names and owners of queues, which are the node's business.

use std::fmt;
use std::sync::Arc;

use metadata::topology::{Name, QueueSpec};
use wire::amqp091::table::{FieldTable, FieldValue};

use crate::exchange::arguments::{term, text};
use crate::queue::{
    DELIVERY_LIMIT_DEFAULT, DelayedRetry, DelayedRetryKind, Overflow, QueueKind, QueueOptions,
};

mod equivalence;
mod policy;
mod rules;
#[cfg(test)]
mod tests;

pub use equivalence::check_equivalence;
pub use policy::parse_with_policy;

/// The argument that names a queue's type.
pub const QUEUE_TYPE: &str = "x-queue-type";

/// Why arguments were refused. Its text is RabbitMQ's; the reply code is 406 PRECONDITION_FAILED.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgumentError {
    queue: Name,
    vhost: String,
    fault: Fault,
}

/// What is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    /// The value is unacceptable; `reason` is an Erlang term.
    Value {
        argument: &'static str,
        reason: String,
    },
    /// `x-dead-letter-exchange` is no name.
    Type {
        argument: &'static str,
        type_name: &'static str,
    },
    /// Another queue type knows it, this one does not.
    NotForType { argument: String, kind: QueueKind },
    /// The queue type cannot be what was asked for.
    Property { property: &'static str },
    /// Streams are not there.
    Stream,
    /// The queue is there and differs.
    Inequivalent {
        argument: &'static str,
        received: String,
        current: String,
    },
}

impl std::error::Error for ArgumentError {}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = format!("queue '{}' in vhost '{}'", self.queue, self.vhost);
        match &self.fault {
            Fault::Value { argument, reason } => {
                write!(f, "invalid arg '{argument}' for {queue}: {reason}")
            }
            Fault::Type {
                argument,
                type_name,
            } => {
                write!(
                    f,
                    "invalid type '{type_name}' for arg '{argument}' in {queue}"
                )
            }
            Fault::NotForType { argument, kind } => {
                let module = match kind {
                    QueueKind::Classic => "rabbit_classic_queue",
                    QueueKind::Quorum => "rabbit_quorum_queue",
                };
                write!(
                    f,
                    "invalid arg '{argument}' for {queue} of queue type {module}"
                )
            }
            Fault::Property { property } => write!(f, "invalid property '{property}' for {queue}"),
            Fault::Stream => write!(f, "{queue}: queue type 'stream' is not supported"),
            Fault::Inequivalent {
                argument,
                received,
                current,
            } => write!(
                f,
                "inequivalent arg '{argument}' for {queue}: received {received} but current is {current}"
            ),
        }
    }
}

/// Which type a declared queue has: what it asks for, else classic.
///
/// # Errors
/// If `x-queue-type` is none of the types.
pub fn kind(spec: &QueueSpec, vhost: &str) -> Result<QueueKind, ArgumentError> {
    let fault = |fault| ArgumentError {
        queue: Arc::clone(&spec.name),
        vhost: vhost.into(),
        fault,
    };
    let Some(value) = spec.arguments.find(QUEUE_TYPE) else {
        return Ok(QueueKind::Classic);
    };
    rules::queue_type(value).map_err(|reason| match reason {
        Some(reason) => fault(Fault::Value {
            argument: QUEUE_TYPE,
            reason,
        }),
        None => fault(Fault::Stream),
    })
}

/// Checks what a queue is declared with and reads it.
///
/// # Errors
/// The first thing that is wrong, in RabbitMQ's order.
pub fn parse(spec: &QueueSpec, vhost: &str) -> Result<QueueOptions, ArgumentError> {
    let fault = |fault| ArgumentError {
        queue: Arc::clone(&spec.name),
        vhost: vhost.into(),
        fault,
    };
    let arguments = &spec.arguments;
    let exchange = "x-dead-letter-exchange";
    if let Some(value) = arguments.find(exchange)
        && !matches!(value, FieldValue::LongStr(_))
    {
        let type_name = value.type_name();
        return Err(fault(Fault::Type {
            argument: exchange,
            type_name,
        }));
    }
    let kind = kind(spec, vhost)?;
    for rule in rules::of_queue(kind) {
        if let Some(value) = arguments.find(rule.argument)
            && let Err(reason) = (rule.check)(value, arguments)
        {
            return Err(fault(Fault::Value {
                argument: rule.argument,
                reason,
            }));
        }
    }
    let foreign = arguments
        .iter()
        .find(|(argument, _)| rules::is_foreign(kind, argument));
    if let Some((argument, _)) = foreign {
        let argument = argument.to_owned();
        return Err(fault(Fault::NotForType { argument, kind }));
    }
    if kind == QueueKind::Quorum {
        let property = match spec {
            QueueSpec {
                exclusive: true, ..
            } => Some("exclusive-owner"),
            QueueSpec { durable: false, .. } => Some("non-durable"),
            QueueSpec {
                auto_delete: true, ..
            } => Some("auto-delete"),
            _ => None,
        };
        if let Some(property) = property {
            return Err(fault(Fault::Property { property }));
        }
    }
    Ok(options(spec, kind))
}

/// Reads arguments that were checked.
fn options(spec: &QueueSpec, kind: QueueKind) -> QueueOptions {
    let arguments = &spec.arguments;
    let number = |argument: &str| {
        let value = arguments.find(argument).and_then(FieldValue::as_integer)?;
        u64::try_from(value).ok()
    };
    let name = |argument: &str| match arguments.find(argument)? {
        FieldValue::LongStr(bytes) => Some(Arc::from(text(bytes))),
        _ => None,
    };
    QueueOptions {
        kind,
        auto_delete: spec.auto_delete,
        message_ttl_ms: number("x-message-ttl"),
        expires_ms: number("x-expires"),
        dead_letter_exchange: name("x-dead-letter-exchange"),
        dead_letter_routing_key: name("x-dead-letter-routing-key"),
        length_max: number("x-max-length"),
        bytes_max: number("x-max-length-bytes"),
        overflow: match arguments.find("x-overflow").and_then(FieldValue::as_str) {
            Some("reject-publish") => Overflow::RejectPublish,
            // Quorum queues take the value and do not know it.
            Some("reject-publish-dlx") if kind == QueueKind::Classic => {
                Overflow::RejectPublishDeadLetter
            }
            _ => Overflow::DropHead,
        },
        // A maximum of 0 is no priorities, as in RabbitMQ.
        priority_max: number("x-max-priority")
            .map(|max| max as u8)
            .filter(|max| *max != 0),
        single_active_consumer: arguments.find("x-single-active-consumer")
            == Some(&FieldValue::Bool(true)),
        delivery_limit: match kind {
            QueueKind::Classic => None,
            QueueKind::Quorum => delivery_limit(arguments.find("x-delivery-limit")),
        },
        consumer_timeout_ms: number("x-consumer-timeout"),
        delayed_retry: delayed_retry(arguments),
    }
}

/// Below zero is without limit, and what is no number is as if it were not there.
fn delivery_limit(value: Option<&FieldValue>) -> Option<u32> {
    match value.and_then(FieldValue::as_integer) {
        None => Some(DELIVERY_LIMIT_DEFAULT),
        Some(limit) if limit < 0 => None,
        Some(limit) => Some(u32::try_from(limit).unwrap_or(u32::MAX)),
    }
}

/// None unless there is a type and a shortest delay; without a longest delay the shortest is all there is.
fn delayed_retry(arguments: &FieldTable) -> Option<DelayedRetry> {
    let kind = match arguments.find("x-delayed-retry-type")?.as_str()? {
        "all" => DelayedRetryKind::All,
        "failed" => DelayedRetryKind::Failed,
        "returned" => DelayedRetryKind::Returned,
        _ => return None,
    };
    let positive = |argument: &str| {
        let value = arguments.find(argument)?.as_integer()?;
        u64::try_from(value).ok().filter(|value| *value != 0)
    };
    let min_ms = positive("x-delayed-retry-min")?;
    Some(DelayedRetry {
        kind,
        min_ms,
        max_ms: positive("x-delayed-retry-max").unwrap_or(min_ms),
    })
}

/// What a consumer asks for in its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConsumerWishes {
    /// `x-priority`, 0 unless it says so.
    pub priority: i64,
    /// `x-consumer-timeout`; goes before the queue's.
    pub timeout_ms: Option<u64>,
}

/// Checks and reads the arguments of a consumer of this queue.
///
/// # Errors
/// The first thing that is wrong, in RabbitMQ's order.
pub fn parse_consumer(
    arguments: &FieldTable,
    spec: &QueueSpec,
    vhost: &str,
) -> Result<ConsumerWishes, ArgumentError> {
    let fault = |fault| ArgumentError {
        queue: Arc::clone(&spec.name),
        vhost: vhost.into(),
        fault,
    };
    let kind = kind(spec, vhost)?;
    for rule in rules::of_consumer(kind) {
        if let Some(value) = arguments.find(rule.argument)
            && let Err(reason) = (rule.check)(value, arguments)
        {
            return Err(fault(Fault::Value {
                argument: rule.argument,
                reason,
            }));
        }
    }
    let foreign = arguments
        .iter()
        .find(|(a, _)| rules::is_foreign_to_consumer(kind, a));
    if let Some((argument, _)) = foreign {
        let argument = argument.to_owned();
        return Err(fault(Fault::NotForType { argument, kind }));
    }
    let number = |argument: &str| arguments.find(argument).and_then(FieldValue::as_integer);
    Ok(ConsumerWishes {
        priority: number("x-priority").unwrap_or(0),
        timeout_ms: number("x-consumer-timeout").and_then(|ms| u64::try_from(ms).ok()),
    })
}

/// A value as Erlang prints it in a sentence: text as it is, all else as a term.
fn shown(value: &FieldValue) -> String {
    match value {
        FieldValue::LongStr(bytes) | FieldValue::Bytes(bytes) => text(bytes),
        value => {
            let table: FieldTable = [("v".to_owned(), value.clone())].into_iter().collect();
            let bytes = table.encode();
            let table = wire::amqp091::table::Table::validate(&bytes);
            table
                .ok()
                .and_then(|t| t.find("v"))
                .map_or_else(String::new, |v| term(&v))
        }
    }
}
