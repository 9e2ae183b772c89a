//! Dead letters: what becomes of a message that died in a queue.
//!
//! ```text
//! x-death: [                          the newest death first; one entry a queue and reason
//!   { original-expiration: "60000",   only if the message had an expiration of its own
//!     count: 2, reason: "expired", queue: "work",
//!     time: <of the first such death>, exchange: "jobs", routing-keys: ["job", <those of CC>] },
//!   ...
//! ]
//! x-first-death-{reason,queue,exchange}, x-last-death-{reason,queue,exchange}
//! ```
//! Everything here is RabbitMQ 4.3's (`mc:record_death`, `rabbit_dead_letter`), and was compared with a running one:
//! the order of fields and types, that all headers are sorted by their key, that an `expiration` goes. Only an
//! `x-death` header that the broker wrote counts, never one that a client published; the message's
//! [`Origin`] knows. Deliberately absent: the exchange, its routing, and permissions.

use wire::amqp091::properties::{Change, Properties, PropertyChanges};
use wire::amqp091::table::{FieldTable, FieldValue};

use crate::message::{LogPosition, Message, Origin, SHORT_STRING_BYTES_MAX, TraceMark};
use crate::queue::{Dead, DeadReason, Incoming, QueueOptions};

#[cfg(test)]
mod tests;

const X_DEATH: &str = "x-death";

/// A message on its way to a dead-letter exchange, which its own `exchange()` names.
#[derive(Debug, Clone)]
pub struct DeadLettered {
    /// The message. If its origin is [`Origin::DeadLetterRerouted`], `CC` and `BCC` are not to be looked at when
    /// it is routed.
    pub message: Message,
    /// Failed deliveries that it brings along: a quorum queue goes on counting.
    pub delivery_count: u32,
}

impl DeadLettered {
    /// It on its way into a queue. As in RabbitMQ it counts as redelivered if a delivery of it has failed
    /// (`basic.reject`, a lost channel), and not if it was given back in order (`basic.nack`, `basic.recover`).
    pub fn incoming(&self, position: LogPosition) -> Incoming {
        Incoming {
            redelivered: self.delivery_count != 0,
            delivery_count: self.delivery_count,
            ..Incoming::new(self.message.clone(), position)
        }
    }
}

/// Makes the dead letter of a message that died in `queue` at `now_s` (seconds since 1970). None if the queue has no
/// dead-letter exchange, or one of a name or with a routing key that no message can carry.
pub fn dead_letter(
    dead: &Dead,
    queue: &str,
    options: &QueueOptions,
    now_s: u64,
) -> Option<DeadLettered> {
    let exchange = options.dead_letter_exchange.as_deref()?;
    let message = &dead.message;
    let routing_key = options.dead_letter_routing_key.as_deref();
    let too_long = |name: &str| SHORT_STRING_BYTES_MAX < name.len();
    if too_long(exchange) || routing_key.is_some_and(too_long) {
        return None;
    }
    let view = Properties::validate(message.properties()).expect("they were checked when it came");
    let headers = view
        .headers()
        .map(|headers| headers.to_owned())
        .unwrap_or_default();
    let headers = record(message, headers, queue, dead.reason, now_s);
    // Everything else stays byte for byte as the publisher sent it.
    let bytes = view.rewrite(&PropertyChanges {
        headers: Change::Set(&headers),
        expiration: Change::Remove,
        ..PropertyChanges::default()
    });
    let view = Properties::validate(&bytes).expect("they were encoded just now");
    let key = routing_key.unwrap_or_else(|| message.routing_key());
    let made = Message::new(exchange, key, &view, None, message.body(), &mut Vec::new());
    let origin = match (routing_key, message.origin()) {
        (Some(_), _) | (None, Origin::DeadLetterRerouted) => Origin::DeadLetterRerouted,
        (None, Origin::Published | Origin::DeadLetter) => Origin::DeadLetter,
    };
    let mut letter = made.with_origin(origin);
    if message.trace_mark() != TraceMark::NONE {
        letter.set_trace_mark(message.trace_mark());
    }
    Some(DeadLettered {
        message: letter,
        delivery_count: dead.delivery_count,
    })
}

/// Whether the letter must not go to `queue`, because it has died there before and nobody has rejected it since: it
/// would go round for ever.
pub fn is_cycle(letter: &DeadLettered, queue: &str, reason: DeadReason) -> bool {
    if reason == DeadReason::Rejected || letter.message.origin() == Origin::Published {
        return false;
    }
    let Ok(properties) = Properties::validate(letter.message.properties()) else {
        return false;
    };
    let Some(headers) = properties.headers() else {
        return false;
    };
    let headers = headers.to_owned();
    for death in deaths(&headers) {
        if text_of(death, "reason") == Some(DeadReason::Rejected.as_str().as_bytes()) {
            return false;
        }
        if text_of(death, "queue") == Some(queue.as_bytes()) {
            return true;
        }
    }
    false
}

/// The headers of a message after one more death.
fn record(
    message: &Message,
    headers: FieldTable,
    queue: &str,
    reason: DeadReason,
    now_s: u64,
) -> FieldTable {
    let known: Vec<FieldTable> = match message.origin() {
        Origin::Published => Vec::new(),
        Origin::DeadLetter | Origin::DeadLetterRerouted => deaths(&headers).cloned().collect(),
    };
    let is_first = known.is_empty();
    let is_same = |death: &FieldTable| {
        text_of(death, "queue") == Some(queue.as_bytes())
            && text_of(death, "reason") == Some(reason.as_str().as_bytes())
    };
    let (mut same, others): (Vec<_>, Vec<_>) = known.into_iter().partition(is_same);
    let death = match same.pop() {
        Some(mut death) => {
            let count = death
                .find("count")
                .and_then(FieldValue::as_integer)
                .unwrap_or(0);
            death.set("count", FieldValue::I64(count.saturating_add(1)));
            death
        }
        None => first_death(message, &headers, queue, reason, now_s),
    };
    let deaths = std::iter::once(death)
        .chain(others)
        .map(FieldValue::Table)
        .collect();

    let mut entries: Vec<(String, FieldValue)> = Vec::with_capacity(headers.len() + 7);
    let ours = |key: &str| {
        key == X_DEATH || key.starts_with("x-last-death-") || is_first && is_first_death(key)
    };
    let theirs = headers.iter().filter(|(key, _)| !ours(key));
    entries.extend(theirs.map(|(key, value)| (key.to_owned(), value.clone())));
    entries.push((X_DEATH.to_owned(), FieldValue::Array(deaths)));
    let mut summarize = |which: &str| {
        for (what, value) in [
            ("reason", reason.as_str()),
            ("queue", queue),
            ("exchange", message.exchange()),
        ] {
            entries.push((format!("x-{which}-death-{what}"), FieldValue::from(value)));
        }
    };
    summarize("last");
    if is_first {
        summarize("first");
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    entries.into_iter().collect()
}

fn is_first_death(key: &str) -> bool {
    matches!(
        key,
        "x-first-death-reason" | "x-first-death-queue" | "x-first-death-exchange"
    )
}

/// The entry of a message's first death in this queue for this reason.
fn first_death(
    message: &Message,
    headers: &FieldTable,
    queue: &str,
    reason: DeadReason,
    now_s: u64,
) -> FieldTable {
    let mut death = FieldTable::new();
    if let Some(expiration_ms) = message.expiration_ms() {
        death.set("original-expiration", expiration_ms.to_string());
    }
    death.set("count", FieldValue::I64(1));
    death.set("reason", reason.as_str());
    death.set("queue", queue);
    death.set("time", FieldValue::Timestamp(now_s));
    death.set("exchange", message.exchange());
    let mut keys = vec![FieldValue::from(message.routing_key())];
    // Those of BCC are secret, so only CC's are told.
    if message.origin() != Origin::DeadLetterRerouted
        && let Some(FieldValue::Array(copies)) = headers.find("CC")
    {
        keys.extend(
            copies
                .iter()
                .filter(|key| matches!(key, FieldValue::LongStr(_)))
                .cloned(),
        );
    }
    death.set("routing-keys", keys);
    death
}

/// The deaths that the headers tell of, newest first.
fn deaths(headers: &FieldTable) -> impl Iterator<Item = &FieldTable> {
    let deaths = match headers.find(X_DEATH) {
        Some(FieldValue::Array(deaths)) => deaths.as_slice(),
        _ => &[],
    };
    deaths.iter().filter_map(|death| match death {
        FieldValue::Table(table) => Some(table),
        _ => None,
    })
}

fn text_of<'a>(table: &'a FieldTable, key: &str) -> Option<&'a [u8]> {
    match table.find(key) {
        Some(FieldValue::LongStr(bytes)) => Some(bytes),
        _ => None,
    }
}
