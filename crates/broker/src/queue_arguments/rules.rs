//! Which arguments each queue type knows, and which values they take.

use wire::amqp091::table::{FieldTable, FieldValue};

use crate::queue::QueueKind;

/// The longest time to live and the longest expiry: ten years (RabbitMQ's `check_expiry`).
const EXPIRY_MS_MAX: i64 = 315_360_000_000;
/// The highest `x-max-priority`.
const PRIORITY_MAX: i64 = 255;

/// Checks a value; the error is the reason as an Erlang term.
type Check = fn(&FieldValue, &FieldTable) -> Result<(), String>;

pub(super) struct Rule {
    pub(super) argument: &'static str,
    pub(super) check: Check,
    known: &'static [QueueKind],
}

const BOTH: &[QueueKind] = &[QueueKind::Classic, QueueKind::Quorum];
const CLASSIC: &[QueueKind] = &[QueueKind::Classic];
const QUORUM: &[QueueKind] = &[QueueKind::Quorum];
/// Streams know it.
const STREAM: &[QueueKind] = &[];

const fn rule(argument: &'static str, known: &'static [QueueKind], check: Check) -> Rule {
    Rule {
        argument,
        check,
        known,
    }
}

/// Every argument that some queue type knows, in the order in which they are checked.
static QUEUE_RULES: &[Rule] = &[
    rule("x-expires", BOTH, expires),
    rule("x-message-ttl", BOTH, expiry),
    rule("x-dead-letter-exchange", BOTH, anything),
    rule("x-dead-letter-routing-key", BOTH, dead_letter_routing_key),
    rule("x-dead-letter-strategy", QUORUM, dead_letter_strategy),
    rule("x-max-length", BOTH, not_negative),
    rule("x-max-length-bytes", BOTH, not_negative),
    rule("x-max-in-memory-length", QUORUM, not_negative),
    rule("x-max-in-memory-bytes", QUORUM, not_negative),
    rule("x-max-priority", CLASSIC, max_priority),
    rule("x-overflow", BOTH, overflow),
    rule("x-queue-version", CLASSIC, queue_version),
    rule("x-single-active-consumer", BOTH, bool),
    // RabbitMQ knows it for quorum queues only since 4.3, earlier releases for classic ones too (COMPAT.md).
    rule("x-consumer-timeout", BOTH, not_negative),
    rule("x-consumer-disconnected-timeout", QUORUM, not_negative),
    rule("x-queue-type", BOTH, anything),
    rule("x-quorum-initial-group-size", QUORUM, positive),
    rule("x-queue-leader-locator", BOTH, leader_locator),
    rule("x-delivery-limit", QUORUM, anything),
    rule("x-delayed-retry-type", QUORUM, anything),
    rule("x-delayed-retry-min", QUORUM, anything),
    rule("x-delayed-retry-max", QUORUM, anything),
    rule("x-queue-mode", CLASSIC, anything),
    rule("x-queue-master-locator", CLASSIC, anything),
    rule("x-max-age", STREAM, anything),
    rule("x-stream-max-segment-size-bytes", STREAM, anything),
    rule("x-stream-filter-size-bytes", STREAM, anything),
    rule("x-initial-cluster-size", STREAM, anything),
];

static CONSUMER_RULES: &[Rule] = &[
    rule("x-priority", BOTH, integer),
    rule("x-consumer-timeout", BOTH, not_negative),
    rule("x-stream-offset", STREAM, anything),
    rule("x-stream-filter", STREAM, anything),
    rule("x-stream-match-unfiltered", STREAM, anything),
];

/// The order in which a redeclaration's arguments are compared (each type's capabilities).
pub(super) fn compared(kind: QueueKind) -> &'static [&'static str] {
    match kind {
        QueueKind::Classic => &[
            "x-expires",
            "x-message-ttl",
            "x-dead-letter-exchange",
            "x-dead-letter-routing-key",
            "x-max-length",
            "x-max-length-bytes",
            "x-max-priority",
            "x-overflow",
            "x-queue-mode",
            "x-queue-version",
            "x-single-active-consumer",
            "x-queue-type",
            "x-queue-master-locator",
            "x-queue-leader-locator",
            "x-consumer-timeout",
        ],
        QueueKind::Quorum => &[
            "x-dead-letter-exchange",
            "x-dead-letter-routing-key",
            "x-dead-letter-strategy",
            "x-expires",
            "x-max-length",
            "x-max-length-bytes",
            "x-max-in-memory-length",
            "x-max-in-memory-bytes",
            "x-overflow",
            "x-single-active-consumer",
            "x-queue-type",
            "x-quorum-initial-group-size",
            "x-delivery-limit",
            "x-message-ttl",
            "x-queue-leader-locator",
            "x-consumer-disconnected-timeout",
            "x-consumer-timeout",
            "x-delayed-retry-type",
            "x-delayed-retry-min",
            "x-delayed-retry-max",
        ],
    }
}

pub(super) fn of_queue(kind: QueueKind) -> impl Iterator<Item = &'static Rule> {
    QUEUE_RULES
        .iter()
        .filter(move |rule| rule.known.contains(&kind))
}

pub(super) fn of_consumer(kind: QueueKind) -> impl Iterator<Item = &'static Rule> {
    CONSUMER_RULES
        .iter()
        .filter(move |rule| rule.known.contains(&kind))
}

/// Whether other queue types know the argument and this one does not.
pub(super) fn is_foreign(kind: QueueKind, argument: &str) -> bool {
    QUEUE_RULES
        .iter()
        .any(|rule| rule.argument == argument && !rule.known.contains(&kind))
}

/// Whether consumers of other queue types know the argument and those of this one do not.
pub(super) fn is_foreign_to_consumer(kind: QueueKind, argument: &str) -> bool {
    CONSUMER_RULES
        .iter()
        .any(|rule| rule.argument == argument && !rule.known.contains(&kind))
}

/// The type that `x-queue-type` names; no reason if it is a type that is not there.
pub(super) fn queue_type(value: &FieldValue) -> Result<QueueKind, Option<String>> {
    if !matches!(value, FieldValue::LongStr(_)) {
        return Err(Some(unacceptable_type(value)));
    }
    match value.as_str() {
        // RabbitMQ takes the empty name for its default.
        Some("classic" | "") => Ok(QueueKind::Classic),
        Some("quorum") => Ok(QueueKind::Quorum),
        Some("stream") => Err(None),
        _ => Err(Some(format!(
            "\"unsupported queue type '{}'\"",
            super::shown(value)
        ))),
    }
}

fn anything(_: &FieldValue, _: &FieldTable) -> Result<(), String> {
    Ok(())
}

fn bool(value: &FieldValue, _: &FieldTable) -> Result<(), String> {
    match value {
        FieldValue::Bool(_) => Ok(()),
        value => Err(unacceptable_type(value)),
    }
}

fn read_integer(value: &FieldValue) -> Result<i64, String> {
    let wrong = || format!("\"expected integer, got {}\"", value.type_name());
    value.as_integer().ok_or_else(wrong)
}

fn integer(value: &FieldValue, _: &FieldTable) -> Result<(), String> {
    read_integer(value).map(|_| ())
}

fn read_not_negative(value: &FieldValue) -> Result<i64, String> {
    match read_integer(value)? {
        value if value < 0 => Err(format!("{{value_negative,{value}}}")),
        value => Ok(value),
    }
}

fn not_negative(value: &FieldValue, _: &FieldTable) -> Result<(), String> {
    read_not_negative(value).map(|_| ())
}

fn positive(value: &FieldValue, _: &FieldTable) -> Result<(), String> {
    match read_not_negative(value)? {
        0 => Err("{value_zero,0}".to_owned()),
        _ => Ok(()),
    }
}

fn expiry(value: &FieldValue, _: &FieldTable) -> Result<(), String> {
    match read_not_negative(value)? {
        value if EXPIRY_MS_MAX < value => Err(format!("{{value_too_large,{value}}}")),
        _ => Ok(()),
    }
}

fn expires(value: &FieldValue, arguments: &FieldTable) -> Result<(), String> {
    match read_integer(value)? {
        0 => Err("{value_zero,0}".to_owned()),
        _ => expiry(value, arguments),
    }
}

fn max_priority(value: &FieldValue, _: &FieldTable) -> Result<(), String> {
    match read_not_negative(value)? {
        value if PRIORITY_MAX < value => Err(format!("{{max_value_exceeded,{value}}}")),
        _ => Ok(()),
    }
}

fn queue_version(value: &FieldValue, _: &FieldTable) -> Result<(), String> {
    match read_not_negative(value)? {
        2 => Ok(()),
        value => Err(format!("\"unsupported queue version '{value}'\"")),
    }
}

fn dead_letter_routing_key(value: &FieldValue, arguments: &FieldTable) -> Result<(), String> {
    if !matches!(value, FieldValue::LongStr(_)) {
        return Err(unacceptable_type(value));
    }
    match arguments.find("x-dead-letter-exchange") {
        None => Err("routing_key_but_no_dlx_defined".to_owned()),
        Some(_) => Ok(()),
    }
}

fn dead_letter_strategy(value: &FieldValue, _: &FieldTable) -> Result<(), String> {
    one_of(
        value,
        &["at-most-once", "at-least-once"],
        "invalid_dlx_strategy",
    )
}

fn overflow(value: &FieldValue, _: &FieldTable) -> Result<(), String> {
    one_of(
        value,
        &["drop-head", "reject-publish", "reject-publish-dlx"],
        "invalid_overflow",
    )
}

fn leader_locator(value: &FieldValue, _: &FieldTable) -> Result<(), String> {
    one_of(
        value,
        &["client-local", "balanced"],
        "invalid_queue_locator_arg",
    )
}

fn one_of(value: &FieldValue, words: &[&str], otherwise: &str) -> Result<(), String> {
    match value {
        FieldValue::LongStr(bytes) if words.iter().any(|word| word.as_bytes() == bytes) => Ok(()),
        FieldValue::LongStr(_) => Err(otherwise.to_owned()),
        value => Err(unacceptable_type(value)),
    }
}

fn unacceptable_type(value: &FieldValue) -> String {
    format!("{{unacceptable_type,{}}}", value.type_name())
}
