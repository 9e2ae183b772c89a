//! Every text here was read from a running RabbitMQ 4.3, but for the refusal of streams.

use std::sync::Arc;

use metadata::topology::QueueSpec;
use wire::amqp091::table::{FieldTable, FieldValue};

use super::*;

/// `x-max-length=5 x-overflow='drop-head' x-foo=true x-bar=void x-baz=bytes`
fn table(words: &str) -> FieldTable {
    let mut table = FieldTable::new();
    for word in words.split_whitespace() {
        let (key, value) = word.split_once('=').expect("key=value");
        let value = match value {
            "true" => FieldValue::Bool(true),
            "false" => FieldValue::Bool(false),
            "void" => FieldValue::Void,
            "bytes" => FieldValue::Bytes(vec![0xff, 0x01]),
            "array" => FieldValue::Array(vec![
                FieldValue::from("a"),
                FieldValue::I32(1),
                FieldValue::Table(self::table("b=2")),
            ]),
            "table" => FieldValue::Table(self::table("a='b'")),
            text if text.starts_with('\'') => FieldValue::from(text.trim_matches('\'')),
            wide if wide.ends_with('L') => {
                FieldValue::I64(wide.trim_end_matches('L').parse().expect("a number"))
            }
            number => FieldValue::I32(number.parse().expect("a number")),
        };
        table.set(key, value);
    }
    table
}

fn spec(words: &str) -> QueueSpec {
    QueueSpec {
        name: Arc::from("q"),
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: table(words),
    }
}

fn options(words: &str) -> QueueOptions {
    parse(&spec(words), "/").expect("accepted")
}

/// Each line: arguments, and behind `|` the reason, or nothing if they are accepted.
#[track_caller]
fn check(common: &str, lines: &str) {
    for line in lines.lines().map(str::trim) {
        let (words, reason) = line.split_once('|').unwrap_or((line, ""));
        let argument = words.split('=').next().expect("a word");
        let expected = match reason.trim() {
            "" => "accepted".to_owned(),
            "classic" | "quorum" => {
                let kind = reason.trim();
                format!(
                    "invalid arg '{argument}' for queue 'q' in vhost '/' of queue type rabbit_{kind}_queue"
                )
            }
            whole if whole.starts_with("invalid ") => whole.to_owned(),
            reason => format!("invalid arg '{argument}' for queue 'q' in vhost '/': {reason}"),
        };
        let result = parse(&spec(&format!("{words} {common}")), "/");
        let text = result.map_or_else(|error| error.to_string(), |_| "accepted".to_owned());
        assert_eq!(text, expected, "of `{line}`");
    }
}

const OF_BOTH: &str = r#"x-message-ttl=10
    x-message-ttl=0
    x-message-ttl=-1 | {value_negative,-1}
    x-message-ttl='abc' | "expected integer, got longstr"
    x-message-ttl=true | "expected integer, got bool"
    x-message-ttl=void | "expected integer, got void"
    x-message-ttl=315360000000L
    x-message-ttl=315360000001L | {value_too_large,315360000001}
    x-expires=1
    x-expires=0 | {value_zero,0}
    x-expires=-2 | {value_negative,-2}
    x-expires='abc' | "expected integer, got longstr"
    x-expires=1099511627776L | {value_too_large,1099511627776}
    x-max-length=0
    x-max-length=1099511627776L
    x-max-length=-1 | {value_negative,-1}
    x-max-length-bytes=0
    x-max-length-bytes=true | "expected integer, got bool"
    x-dead-letter-exchange=''
    x-dead-letter-exchange=5 | invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'
    x-dead-letter-exchange=bytes | invalid type 'binary' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'
    x-dead-letter-routing-key='k' | routing_key_but_no_dlx_defined
    x-dead-letter-routing-key=5 | {unacceptable_type,signedint}
    x-dead-letter-routing-key='k' x-dead-letter-exchange='e'
    x-overflow='drop-head'
    x-overflow='reject-publish'
    x-overflow='reject-publish-dlx'
    x-overflow='abc' | invalid_overflow
    x-overflow='' | invalid_overflow
    x-overflow=void | {unacceptable_type,void}
    x-queue-leader-locator='balanced'
    x-queue-leader-locator='client-local'
    x-queue-leader-locator='abc' | invalid_queue_locator_arg
    x-single-active-consumer=true
    x-single-active-consumer='true' | {unacceptable_type,longstr}
    x-single-active-consumer=1 | {unacceptable_type,signedint}
    x-foo=5"#;

#[test]
fn both_types_take_these_and_refuse_those() {
    check("", OF_BOTH);
    check("x-queue-type='quorum'", OF_BOTH);
}

#[test]
fn classic_queues_have_arguments_of_their_own() {
    check(
        "",
        r#"x-max-priority=255
        x-max-priority=0
        x-max-priority=-1 | {value_negative,-1}
        x-max-priority=256 | {max_value_exceeded,256}
        x-max-priority='abc' | "expected integer, got longstr"
        x-queue-version=2
        x-queue-version=10 | "unsupported queue version '10'"
        x-queue-mode='lazy'
        x-queue-mode=5
        x-delivery-limit=10 | classic
        x-consumer-timeout='abc' | "expected integer, got longstr"
        x-consumer-timeout=60000
        x-consumer-disconnected-timeout=10 | classic
        x-quorum-initial-group-size=10 | classic
        x-max-in-memory-length=10 | classic
        x-dead-letter-strategy='at-most-once' | classic
        x-delayed-retry-min=5 | classic
        x-max-age='1D' | classic
        x-initial-cluster-size=5 | classic
        x-expires=-1 x-foo=1 x-delivery-limit=4 | {value_negative,-1}"#,
    );
}

#[test]
fn quorum_queues_have_arguments_of_their_own() {
    check(
        "x-queue-type='quorum'",
        r#"x-delivery-limit=-1
        x-delivery-limit='abc'
        x-consumer-timeout=0
        x-consumer-timeout=-1 | {value_negative,-1}
        x-consumer-disconnected-timeout=void | "expected integer, got void"
        x-quorum-initial-group-size=0 | {value_zero,0}
        x-max-in-memory-bytes=-2 | {value_negative,-2}
        x-dead-letter-strategy='at-least-once'
        x-dead-letter-strategy='abc' | invalid_dlx_strategy
        x-dead-letter-strategy=5 | {unacceptable_type,signedint}
        x-delayed-retry-type='abc'
        x-delayed-retry-min=-5
        x-max-priority=5 | quorum
        x-queue-mode='lazy' | quorum
        x-queue-version=2 | quorum
        x-queue-master-locator='random' | quorum
        x-max-age='1D' | quorum
        x-stream-filter-size-bytes=20 | quorum"#,
    );
}

#[test]
fn the_first_rule_that_is_broken_is_told() {
    check(
        "x-message-ttl=-1 x-max-priority=-1",
        "x-expires=-1 | {value_negative,-1}\nx-foo=1 | invalid arg 'x-message-ttl' for queue 'q' in vhost '/': {value_negative,-1}",
    );
}

#[test]
fn queue_types() {
    check(
        "",
        r#"x-queue-type='classic'
        x-queue-type='quorum'
        x-queue-type=''
        x-queue-type='abc' | "unsupported queue type 'abc'"
        x-queue-type=5 | {unacceptable_type,signedint}"#,
    );
    let stream = parse(&spec("x-queue-type='stream'"), "/").expect_err("refused");
    assert_eq!(
        stream.to_string(),
        "queue 'q' in vhost '/': queue type 'stream' is not supported"
    );
}

#[test]
fn quorum_queues_are_durable_and_shared() {
    let quorum = spec("x-queue-type='quorum'");
    for (spec, property) in [
        (
            QueueSpec {
                exclusive: true,
                durable: false,
                ..quorum.clone()
            },
            "exclusive-owner",
        ),
        (
            QueueSpec {
                durable: false,
                ..quorum.clone()
            },
            "non-durable",
        ),
        (
            QueueSpec {
                auto_delete: true,
                ..quorum
            },
            "auto-delete",
        ),
    ] {
        let error = parse(&spec, "/").expect_err("refused").to_string();
        assert_eq!(
            error,
            format!("invalid property '{property}' for queue 'q' in vhost '/'")
        );
    }
}

#[test]
fn arguments_become_options() {
    let classic = options(
        "x-message-ttl=5 x-expires=6 x-max-length=7 x-max-length-bytes=8 x-max-priority=9 \
         x-dead-letter-exchange='dlx' x-dead-letter-routing-key='k' x-overflow='reject-publish-dlx' \
         x-single-active-consumer=true",
    );
    let expected = QueueOptions {
        message_ttl_ms: Some(5),
        expires_ms: Some(6),
        length_max: Some(7),
        bytes_max: Some(8),
        priority_max: Some(9),
        dead_letter_exchange: Some("dlx".into()),
        dead_letter_routing_key: Some("k".into()),
        overflow: Overflow::RejectPublishDeadLetter,
        single_active_consumer: true,
        ..QueueOptions::default()
    };
    assert_eq!(classic, expected);

    let quorum = options(
        "x-queue-type='quorum' x-consumer-timeout=5 x-overflow='reject-publish-dlx' \
         x-delayed-retry-type='failed' x-delayed-retry-min=10",
    );
    let expected = QueueOptions {
        kind: QueueKind::Quorum,
        delivery_limit: Some(20),
        consumer_timeout_ms: Some(5),
        delayed_retry: Some(DelayedRetry {
            kind: DelayedRetryKind::Failed,
            min_ms: 10,
            max_ms: 10,
        }),
        ..QueueOptions::default()
    };
    assert_eq!(quorum, expected);
    assert_eq!(
        options("x-queue-type='quorum' x-delivery-limit=-1").delivery_limit,
        None
    );
    assert_eq!(
        options("x-queue-type='quorum' x-delivery-limit=0").delivery_limit,
        Some(0)
    );
    assert_eq!(options("x-max-priority=0").priority_max, None);
}

/// Each line: what is there, what is declared, and behind `|` argument, what was received, what is there.
#[track_caller]
fn check_redeclaration(lines: &str) {
    for line in lines.lines().map(str::trim) {
        let (words, expected) = line.split_once('|').unwrap_or((line, ""));
        let (existing, declared) = words.split_once(';').expect("two declarations");
        let expected = match expected.trim() {
            "" => "equivalent".to_owned(),
            parts => {
                let parts: Vec<&str> = parts.splitn(3, ", ").collect();
                format!(
                    "inequivalent arg '{}' for queue 'q' in vhost '/': received {} but current is {}",
                    parts[0], parts[1], parts[2]
                )
            }
        };
        let result = check_equivalence(&spec(existing), &spec(declared), "/");
        let text = result.map_or_else(|error| error.to_string(), |()| "equivalent".to_owned());
        assert_eq!(text, expected, "of `{line}`");
    }
}

#[test]
fn redeclared_arguments_must_be_the_same() {
    check_redeclaration(
        r#";
        ; x-message-ttl=10 | x-message-ttl, the value '10' of type 'signedint', none
        x-message-ttl=10 ; | x-message-ttl, none, the value '10' of type 'signedint'
        x-message-ttl=10 ; x-message-ttl=20 | x-message-ttl, '20', '10'
        x-message-ttl=10 ; x-message-ttl='abc' | x-message-ttl, 'abc', '10'
        x-message-ttl=10 ; x-message-ttl=10L
        ; x-queue-type='classic'
        x-queue-type='classic' ;
        x-queue-type='quorum' ; | x-queue-type, 'classic', 'quorum'
        ; x-queue-type='quorum' | x-queue-type, 'quorum', 'classic'
        x-queue-type='quorum' ; x-queue-type='stream' | x-queue-type, 'stream', 'quorum'
        x-queue-type='quorum' ; x-queue-type='quorum' x-delivery-limit=4 | x-delivery-limit, the value '4' of type 'signedint', none
        ; x-delivery-limit=5
        ; x-foo=1
        x-foo=1 ;
        x-dead-letter-exchange='a' ; x-dead-letter-exchange='b' | x-dead-letter-exchange, 'b', 'a'
        ; x-single-active-consumer=true | x-single-active-consumer, the value 'true' of type 'bool', none
        x-single-active-consumer=false ; x-single-active-consumer=true | x-single-active-consumer, 'true', 'false'
        ; x-max-length=5 x-message-ttl=6 | x-message-ttl, the value '6' of type 'signedint', none
        ; x-max-length=-5 | x-max-length, the value '-5' of type 'signedint', none
        ; x-queue-mode=void | x-queue-mode, the value 'undefined' of type 'void', none
        ; x-queue-mode=table | x-queue-mode, the value '[{<<"a">>,longstr,<<"b">>}]' of type 'table', none
        x-queue-mode='lazy' ; x-queue-mode=array | x-queue-mode, '[{longstr,<<"a">>},{signedint,1},{table,[{<<"b">>,signedint,2}]}]', 'lazy'"#,
    );
}

#[test]
fn redeclared_properties_must_be_the_same() {
    let existing = spec("");
    let transient = QueueSpec {
        durable: false,
        ..spec("x-max-length=5")
    };
    let error = check_equivalence(&existing, &transient, "/")
        .expect_err("differs")
        .to_string();
    let expected = "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'";
    assert_eq!(error, expected);
    let auto_delete = QueueSpec {
        auto_delete: true,
        ..spec("")
    };
    let error = check_equivalence(&existing, &auto_delete, "/")
        .expect_err("differs")
        .to_string();
    let expected = "inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'";
    assert_eq!(error, expected);
}

#[test]
fn consumers_have_arguments_too() {
    let (classic, quorum) = (spec(""), spec("x-queue-type='quorum'"));
    let wishes = |words: &str, spec: &QueueSpec| {
        let wishes = parse_consumer(&table(words), spec, "/");
        wishes
            .map(|w| (w.priority, w.timeout_ms))
            .map_err(|error| error.to_string())
    };
    assert_eq!(wishes("", &classic), Ok((0, None)));
    assert_eq!(wishes("x-priority=-5 x-foo=1", &classic), Ok((-5, None)));
    assert_eq!(
        wishes("x-priority=1099511627776L", &quorum),
        Ok((1 << 40, None))
    );
    assert_eq!(wishes("x-consumer-timeout=5", &quorum), Ok((0, Some(5))));
    assert_eq!(wishes("x-consumer-timeout=5", &classic), Ok((0, Some(5))));
    let of_queue = "for queue 'q' in vhost '/'";
    for (words, spec, expected) in [
        (
            "x-priority='a'",
            &classic,
            format!("'x-priority' {of_queue}: \"expected integer, got longstr\""),
        ),
        (
            "x-priority=true",
            &quorum,
            format!("'x-priority' {of_queue}: \"expected integer, got bool\""),
        ),
        (
            "x-consumer-timeout='a'",
            &classic,
            format!("'x-consumer-timeout' {of_queue}: \"expected integer, got longstr\""),
        ),
        (
            "x-consumer-timeout=-5",
            &quorum,
            format!("'x-consumer-timeout' {of_queue}: {{value_negative,-5}}"),
        ),
        (
            "x-stream-offset='first'",
            &quorum,
            format!("'x-stream-offset' {of_queue} of queue type rabbit_quorum_queue"),
        ),
    ] {
        assert_eq!(
            wishes(words, spec),
            Err(format!("invalid arg {expected}")),
            "of `{words}`"
        );
    }
}
