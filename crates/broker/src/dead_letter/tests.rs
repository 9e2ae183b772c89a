//! What is expected here was read from a running RabbitMQ 4.3.

use wire::amqp091::properties::{Properties, PropertiesBuf};
use wire::amqp091::table::{FieldTable, FieldValue};

use super::*;

fn message(exchange: &str, key: &str, properties: PropertiesBuf) -> Message {
    let bytes = properties.encode();
    let view = Properties::validate(&bytes).expect("well-formed");
    let expiration_ms = properties.expiration.and_then(|text| text.parse().ok());
    Message::new(
        exchange,
        key,
        &view,
        expiration_ms,
        b"body",
        &mut Vec::new(),
    )
}

fn headers(entries: &[(&str, FieldValue)]) -> PropertiesBuf {
    let table: FieldTable = entries
        .iter()
        .map(|(k, v)| ((*k).to_owned(), v.clone()))
        .collect();
    PropertiesBuf {
        headers: Some(table),
        ..PropertiesBuf::default()
    }
}

fn texts(texts: &[&str]) -> FieldValue {
    FieldValue::Array(texts.iter().map(|text| FieldValue::from(*text)).collect())
}

fn options(key: Option<&str>) -> QueueOptions {
    QueueOptions {
        dead_letter_exchange: Some("dlx".into()),
        dead_letter_routing_key: key.map(Into::into),
        ..QueueOptions::default()
    }
}

fn die(
    message: &Message,
    queue: &str,
    reason: DeadReason,
    key: Option<&str>,
    now_s: u64,
) -> DeadLettered {
    let dead = Dead {
        message: message.clone(),
        position: LogPosition::NONE,
        reason,
        delivery_count: u32::from(reason == DeadReason::Rejected),
    };
    dead_letter(&dead, queue, &options(key), now_s).expect("there is an exchange")
}

/// All headers as text: one a line, deaths with their fields in order.
fn shown(message: &Message) -> String {
    let properties = Properties::validate(message.properties()).expect("well-formed");
    let headers = properties.headers().expect("headers").to_owned();
    let lines = headers.iter().map(|(key, value)| match value {
        FieldValue::Array(values) if key == X_DEATH => {
            let deaths: Vec<String> = values.iter().map(value_text).collect();
            format!("{key}:\n  {}", deaths.join("\n  "))
        }
        value => format!("{key}={}", value_text(value)),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn value_text(value: &FieldValue) -> String {
    match value {
        FieldValue::LongStr(bytes) => format!("'{}'", String::from_utf8_lossy(bytes)),
        FieldValue::I64(number) => number.to_string(),
        FieldValue::Timestamp(seconds) => format!("T{seconds}"),
        FieldValue::Array(values) => {
            format!(
                "[{}]",
                values.iter().map(value_text).collect::<Vec<_>>().join(",")
            )
        }
        FieldValue::Table(table) => {
            let fields = table
                .iter()
                .map(|(key, value)| format!("{key}={}", value_text(value)));
            fields.collect::<Vec<_>>().join(" ")
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn a_first_death_is_told_in_full() {
    let properties = PropertiesBuf {
        expiration: Some("60000".into()),
        delivery_mode: Some(2),
        priority: Some(3),
        ..headers(&[("z", FieldValue::I32(1)), ("foo", FieldValue::from("bar"))])
    };
    let letter = die(
        &message("jobs", "job", properties),
        "work",
        DeadReason::Expired,
        None,
        7,
    );
    let died = &letter.message;
    assert_eq!(
        (died.exchange(), died.routing_key(), died.body()),
        ("dlx", "job", &b"body"[..])
    );
    assert_eq!(died.expiration_ms(), None);
    assert!(died.persistent());
    assert_eq!(died.priority(), Some(3));
    let view = Properties::validate(died.properties()).expect("well-formed");
    assert_eq!(view.expiration(), None);
    let expected = "foo='bar'
x-death:
  original-expiration='60000' count=1 reason='expired' queue='work' time=T7 exchange='jobs' routing-keys=['job']
x-first-death-exchange='jobs'
x-first-death-queue='work'
x-first-death-reason='expired'
x-last-death-exchange='jobs'
x-last-death-queue='work'
x-last-death-reason='expired'
z=I32(1)";
    assert_eq!(shown(died), expected);
}

#[test]
fn deaths_are_counted_by_queue_and_reason_newest_first() {
    let mut died = message(
        "",
        "c1",
        headers(&[("CC", texts(&["c9"])), ("a", FieldValue::I32(1))]),
    );
    for (now_s, (queue, other)) in [("c1", "c2"), ("c2", "c1"), ("c1", "c2"), ("c2", "c1")]
        .iter()
        .enumerate()
    {
        died = die(
            &died,
            queue,
            DeadReason::Rejected,
            Some(other),
            now_s as u64,
        )
        .message;
    }
    let expected = "CC=['c9']
a=I32(1)
x-death:
  count=2 reason='rejected' queue='c2' time=T1 exchange='dlx' routing-keys=['c2']
  count=2 reason='rejected' queue='c1' time=T0 exchange='' routing-keys=['c1','c9']
x-first-death-exchange=''
x-first-death-queue='c1'
x-first-death-reason='rejected'
x-last-death-exchange='dlx'
x-last-death-queue='c2'
x-last-death-reason='rejected'";
    assert_eq!(shown(&died), expected);
}

#[test]
fn what_a_client_says_of_deaths_does_not_count() {
    let own = [
        ("x-death", texts(&["mine"])),
        ("x-first-death-queue", FieldValue::from("zz")),
        ("x-last-death-reason", FieldValue::I32(5)),
    ];
    let first = die(
        &message("", "k", headers(&own)),
        "q",
        DeadReason::MaxLength,
        Some("k2"),
        1,
    );
    let plain = die(
        &message("", "k", headers(&[])),
        "q",
        DeadReason::MaxLength,
        Some("k2"),
        1,
    );
    assert_eq!(shown(&first.message), shown(&plain.message));
    // A client publishes a dead letter again: its deaths start anew.
    let view = Properties::validate(first.message.properties()).expect("well-formed");
    let again = Message::new("", "k", &view, None, b"body", &mut Vec::new());
    let again = die(&again, "q", DeadReason::MaxLength, Some("k2"), 1);
    assert_eq!(shown(&again.message), shown(&plain.message));
}

#[test]
fn copies_are_told_but_not_blind_ones() {
    let copies = [("CC", texts(&["cc1", "cc2"])), ("BCC", texts(&["bcc1"]))];
    let letter = die(
        &message("", "k", headers(&copies)),
        "q",
        DeadReason::Rejected,
        None,
        1,
    );
    assert!(shown(&letter.message).contains("routing-keys=['k','cc1','cc2']"));
    assert_eq!(letter.message.origin(), Origin::DeadLetter);
    let rerouted = die(&letter.message, "q2", DeadReason::Rejected, Some("r"), 1);
    assert!(
        shown(&rerouted.message)
            .contains("queue='q2' time=T1 exchange='dlx' routing-keys=['k','cc1','cc2']")
    );
    assert_eq!(rerouted.message.origin(), Origin::DeadLetterRerouted);
    // From here on it goes by its one key, also out of a queue that gives it none.
    let last = die(&rerouted.message, "q3", DeadReason::Rejected, None, 1);
    assert!(shown(&last.message).contains("queue='q3' time=T1 exchange='dlx' routing-keys=['r']"));
    assert_eq!(last.message.origin(), Origin::DeadLetterRerouted);
}

#[test]
fn a_queue_without_an_exchange_makes_no_letters() {
    let dead = Dead {
        message: message("", "k", PropertiesBuf::default()),
        position: LogPosition::NONE,
        reason: DeadReason::Expired,
        delivery_count: 0,
    };
    assert!(dead_letter(&dead, "q", &QueueOptions::default(), 1).is_none());
    let long = "k".repeat(256);
    assert!(dead_letter(&dead, "q", &options(Some(&long)), 1).is_none());
}

#[test]
fn an_automatic_cycle_is_found_and_a_rejection_breaks_it() {
    let start = message("", "k", PropertiesBuf::default());
    let expired = die(&start, "a", DeadReason::Expired, None, 1);
    assert!(is_cycle(&expired, "a", DeadReason::Expired));
    assert!(!is_cycle(&expired, "b", DeadReason::Expired));
    let rejected = die(&expired.message, "b", DeadReason::Rejected, None, 1);
    assert!(!is_cycle(&rejected, "a", DeadReason::Rejected));
    assert!(!is_cycle(&rejected, "b", DeadReason::Rejected));
    let full = die(&rejected.message, "c", DeadReason::MaxLength, None, 1);
    assert!(is_cycle(&full, "c", DeadReason::MaxLength));
    assert!(
        !is_cycle(&full, "a", DeadReason::MaxLength),
        "it was rejected on the way"
    );
}

#[test]
fn a_rejected_letter_arrives_as_delivered_before() {
    let start = message("", "k", PropertiesBuf::default());
    let incoming = |reason| {
        let incoming = die(&start, "a", reason, None, 1).incoming(LogPosition(5));
        (
            incoming.redelivered,
            incoming.delivery_count,
            incoming.position,
        )
    };
    assert_eq!(incoming(DeadReason::Rejected), (true, 1, LogPosition(5)));
    assert_eq!(incoming(DeadReason::Expired), (false, 0, LogPosition(5)));
}
