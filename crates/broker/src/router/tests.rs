//! Rules one by one; `model.rs` holds the router against a naive one over random topologies.

mod model;

use metadata::topology::Destination;
use wire::amqp091::properties::{Properties, PropertiesBuf};
use wire::amqp091::table::FieldValue;

use super::*;

fn name(text: &str) -> Name {
    text.into()
}

fn string(text: &str) -> FieldValue {
    FieldValue::LongStr(text.into())
}

fn table(entries: &[(&str, FieldValue)]) -> FieldTable {
    let mut table = FieldTable::new();
    entries
        .iter()
        .for_each(|(key, value)| table.set(*key, value.clone()));
    table
}

fn exchange(exchange: &str, kind: &str) -> ExchangeSpec {
    ExchangeSpec {
        name: name(exchange),
        kind: kind.to_owned(),
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: FieldTable::default(),
    }
}

fn auto_delete(name: &str) -> ExchangeSpec {
    ExchangeSpec {
        auto_delete: true,
        ..exchange(name, "fanout")
    }
}

fn with_arguments(spec: ExchangeSpec, entries: &[(&str, FieldValue)]) -> ExchangeSpec {
    ExchangeSpec {
        arguments: table(entries),
        ..spec
    }
}

fn with_alternate(name: &str, kind: &str, alternate: &str) -> ExchangeSpec {
    with_arguments(
        exchange(name, kind),
        &[("alternate-exchange", string(alternate))],
    )
}

fn to_queue(source: &str, routing_key: &str, queue: &str) -> BindingSpec {
    BindingSpec {
        source: name(source),
        destination: Destination::Queue(name(queue)),
        routing_key: name(routing_key),
        arguments: FieldTable::default(),
    }
}

fn to_exchange(source: &str, routing_key: &str, exchange: &str) -> BindingSpec {
    BindingSpec {
        destination: Destination::Exchange(name(exchange)),
        ..to_queue(source, routing_key, "")
    }
}

/// A router with classic, durable queues `q0` to `q9`, whose ids are their digits.
fn router(exchanges: Vec<ExchangeSpec>, bindings: Vec<BindingSpec>) -> Router {
    let mut router = Router::new();
    for n in 0..10 {
        router.add_queue(name(&format!("q{n}")), facts(n));
    }
    for spec in exchanges {
        assert_eq!(router.declare_exchange(spec), Ok(Declared::Created));
    }
    for spec in bindings {
        assert!(router.bind(spec).expect("bound").created);
    }
    router
}

fn facts(id: u64) -> QueueFacts {
    QueueFacts {
        id: QueueId(id),
        durable: true,
        queue_type: QueueType::Classic,
    }
}

fn properties(headers: &[(&str, FieldValue)]) -> Vec<u8> {
    PropertiesBuf {
        headers: Some(table(headers)),
        ..PropertiesBuf::default()
    }
    .encode()
}

fn route_with(
    router: &Router,
    exchange: &str,
    routing_key: &str,
    properties: &[u8],
    scratch: &mut RouteScratch,
) -> Result<Vec<u64>, RouteError> {
    let properties = Properties::validate(properties).expect("valid");
    router.route(
        &Routable {
            exchange,
            routing_key,
            properties,
            sender_selects: true,
        },
        scratch,
    )?;
    let mut queues: Vec<u64> = scratch.queues.iter().map(|queue| queue.0).collect();
    queues.sort_unstable();
    Ok(queues)
}

fn route(router: &Router, exchange: &str, routing_key: &str) -> Vec<u64> {
    let no_properties = PropertiesBuf::default().encode();
    let mut scratch = RouteScratch::default();
    route_with(router, exchange, routing_key, &no_properties, &mut scratch).expect("routed")
}

fn names(exchanges: &[ExchangeSpec]) -> Vec<&str> {
    exchanges.iter().map(|spec| &*spec.name).collect()
}

#[test]
fn a_new_vhost_has_what_the_reference_has() {
    let router = Router::new();
    let listed: Vec<_> = router.exchanges();
    let expected = [
        ("", "direct", false),
        ("amq.direct", "direct", false),
        ("amq.fanout", "fanout", false),
        ("amq.headers", "headers", false),
        ("amq.match", "headers", false),
        ("amq.rabbitmq.trace", "topic", true),
        ("amq.topic", "topic", false),
    ];
    let seen: Vec<_> = listed
        .iter()
        .map(|spec| (&*spec.name, spec.kind.as_str(), spec.internal))
        .collect();
    assert_eq!(seen, expected);
    assert!(listed.iter().all(|spec| spec.durable && !spec.auto_delete));
    assert!(router.bindings().is_empty());
}

#[test]
fn the_default_exchange_routes_by_queue_name_and_takes_no_orders() {
    let mut router = router(vec![exchange("e", "fanout")], vec![]);
    assert_eq!(route(&router, "", "q3"), [3]);
    assert_eq!(route(&router, "", "nope"), [0u64; 0]);
    let refused = "operation not permitted on the default exchange";
    for spec in [
        to_queue("", "q1", "q1"),
        to_exchange("", "", "e"),
        to_exchange("e", "", ""),
    ] {
        let error = router.bind(spec.clone()).expect_err("refused");
        assert_eq!(
            (error.text("/").as_str(), error.refusal()),
            (refused, Refusal::Forbidden)
        );
        assert_eq!(router.unbind(&spec), Err(BindError::DefaultExchange));
    }
    let error = router
        .declare_exchange(exchange("", "direct"))
        .expect_err("refused");
    assert_eq!(
        (error.text("/").as_str(), error.refusal()),
        (refused, Refusal::Forbidden)
    );
    let error = router.delete_exchange("", false).expect_err("refused");
    assert_eq!(
        (error.text("/").as_str(), error.refusal()),
        (refused, Refusal::Forbidden)
    );
}

/// Texts as RabbitMQ 4.3 sent them.
#[test]
fn redeclaring_compares_what_the_reference_compares() {
    let mut router = router(
        vec![
            exchange("e", "direct"),
            exchange("r", "x-random"),
            with_alternate("a", "direct", "foo"),
        ],
        vec![],
    );
    let e = || exchange("e", "direct");
    let a = |value| with_arguments(exchange("a", "direct"), &[("alternate-exchange", value)]);
    let e_with = |value| with_arguments(e(), &[("alternate-exchange", value)]);
    let array = FieldValue::Array(vec![FieldValue::I32(1), string("q")]);
    for (spec, expected) in [
        (
            exchange("e", "fanout"),
            "'type' for exchange 'e' in vhost '/': received 'fanout' but current is 'direct'",
        ),
        (
            exchange("r", "fanout"),
            "'type' for exchange 'r' in vhost '/': received 'fanout' but current is ''x-random''",
        ),
        (
            ExchangeSpec {
                durable: true,
                ..exchange("e", "fanout")
            },
            "'type' for exchange 'e' in vhost '/': received 'fanout' but current is 'direct'",
        ),
        (
            ExchangeSpec {
                durable: true,
                internal: true,
                auto_delete: true,
                ..e()
            },
            "'durable' for exchange 'e' in vhost '/': received 'true' but current is 'false'",
        ),
        (
            ExchangeSpec {
                internal: true,
                auto_delete: true,
                ..e()
            },
            "'auto_delete' for exchange 'e' in vhost '/': received 'true' but current is 'false'",
        ),
        (
            ExchangeSpec {
                internal: true,
                ..e()
            },
            "'internal' for exchange 'e' in vhost '/': received 'true' but current is 'false'",
        ),
        (
            e_with(string("foo")),
            "'alternate-exchange' for exchange 'e' in vhost '/': \
             received the value 'foo' of type 'longstr' but current is none",
        ),
        (
            e_with(FieldValue::I32(1)),
            "'alternate-exchange' for exchange 'e' in vhost '/': \
             received the value '1' of type 'signedint' but current is none",
        ),
        (
            exchange("a", "direct"),
            "'alternate-exchange' for exchange 'a' in vhost '/': \
             received none but current is the value 'foo' of type 'longstr'",
        ),
        (
            a(string("bar")),
            "'alternate-exchange' for exchange 'a' in vhost '/': received 'bar' but current is 'foo'",
        ),
        (
            a(FieldValue::Bool(true)),
            "'alternate-exchange' for exchange 'a' in vhost '/': received 'true' but current is 'foo'",
        ),
        (
            a(FieldValue::Void),
            "'alternate-exchange' for exchange 'a' in vhost '/': received none but current is 'foo'",
        ),
        (
            a(array),
            "'alternate-exchange' for exchange 'a' in vhost '/': \
             received '[{signedint,1},{longstr,<<\"q\">>}]' but current is 'foo'",
        ),
    ] {
        let error = router.declare_exchange(spec).expect_err("inequivalent");
        assert_eq!(error.text("/"), format!("inequivalent arg {expected}"));
        assert_eq!(error.refusal(), Refusal::Precondition);
    }
    for same in [
        e(),
        with_arguments(e(), &[("other", string("is not compared"))]),
        a(string("foo")),
        a(FieldValue::Bytes(b"foo".to_vec())),
        ExchangeSpec {
            durable: true,
            ..exchange("amq.direct", "direct")
        },
    ] {
        assert_eq!(router.declare_exchange(same), Ok(Declared::Existed));
    }
}

/// Texts as RabbitMQ 4.3 sent them.
#[test]
fn declarations_are_refused_with_the_reference_s_texts() {
    let mut router = Router::new();
    let refusal = |spec| {
        router
            .declare_exchange(spec)
            .expect_err("refused")
            .text("/")
    };
    let mut refusal = refusal;
    assert_eq!(refusal(exchange("e", "xyz")), "unknown exchange type 'xyz'");
    assert_eq!(refusal(exchange("e", "")), "invalid exchange type ''");
    assert_eq!(refusal(exchange("", "xyz")), "unknown exchange type 'xyz'");
    assert_eq!(
        refusal(exchange("amq.x", "direct")),
        "exchange name 'amq.x' contains reserved prefix 'amq.*'"
    );
    let mut refused = |kind, entries: &[(&str, FieldValue)]| {
        refusal(with_arguments(exchange("e", kind), entries))
    };
    assert_eq!(
        refused("direct", &[("alternate-exchange", FieldValue::I32(1))]),
        "invalid type 'signedint' for arg 'alternate-exchange' in exchange 'e' in vhost '/'"
    );
    let (header, property) = (
        ("hash-header", string("h")),
        ("hash-property", string("app_id")),
    );
    assert_eq!(
        refused("x-consistent-hash", &[header, property.clone()]),
        "hash-header and hash-property are mutually exclusive"
    );
    assert_eq!(
        refused("x-consistent-hash", &[property]),
        "Unsupported property: app_id"
    );
    for (value, shown) in [
        (FieldValue::I32(0), "0"),
        (FieldValue::I32(-1), "-1"),
        (FieldValue::U8(3), "3"),
        (string("5"), "<<\"5\">>"),
        (FieldValue::Void, "undefined"),
        (FieldValue::Bool(true), "true"),
        (
            FieldValue::Array(vec![FieldValue::I32(1)]),
            "[{signedint,1}]",
        ),
    ] {
        assert_eq!(
            refused("x-recent-history", &[("x-recent-history-length", value)]),
            format!(
                "Invalid argument {shown}, 'x-recent-history-length' must be a positive integer"
            )
        );
    }
}

#[test]
fn deleting_exchanges_as_the_reference_does() {
    let mut router = router(
        vec![exchange("e", "direct"), exchange("f", "fanout")],
        vec![to_queue("e", "q", "q1"), to_exchange("amq.fanout", "", "f")],
    );
    let error = router.delete_exchange("e", true).expect_err("in use");
    assert_eq!(error.text("/"), "exchange 'e' in vhost '/' in use");
    let error = router
        .delete_exchange("amq.direct", false)
        .expect_err("predeclared");
    assert_eq!(
        error.text("/"),
        "deletion of system exchange 'amq.direct' in vhost '/' not allowed"
    );
    let error = router.delete_exchange("nope", true).expect_err("absent");
    assert_eq!(
        (error.text("/").as_str(), error.refusal()),
        ("no exchange 'nope' in vhost '/'", Refusal::NotFound)
    );
    // Being a destination is no use.
    let removed = router.delete_exchange("f", true).expect("deleted");
    assert_eq!(removed.bindings.len(), 1);
    let removed = router.delete_exchange("e", false).expect("deleted");
    assert_eq!(
        (removed.bindings.len(), names(&removed.exchanges)),
        (1, vec!["e"])
    );
    assert_eq!(router.binding_len(), 0);
}

/// Texts as RabbitMQ 4.3 sent them.
#[test]
fn bindings_are_refused_with_the_reference_s_texts() {
    let kinds = [
        ("ch", "x-consistent-hash"),
        ("lr", "x-local-random"),
        ("e", "fanout"),
    ];
    let mut router = router(
        kinds.map(|(name, kind)| exchange(name, kind)).into(),
        vec![],
    );
    for (queue, queue_type) in [("quorum", QueueType::Quorum), ("stream", QueueType::Stream)] {
        router.add_queue(
            name(queue),
            QueueFacts {
                queue_type,
                ..facts(20)
            },
        );
    }
    let headers = |value| BindingSpec {
        arguments: table(&[("x-match", value)]),
        ..to_queue("amq.headers", "", "q1")
    };
    for (spec, expected) in [
        (
            to_queue("nope", "", "q1"),
            "no exchange 'nope' in vhost '/'",
        ),
        (to_queue("e", "", "nope"), "no queue 'nope' in vhost '/'"),
        (
            to_queue("nope2", "", "nope"),
            "no exchange 'nope2' in vhost '/'",
        ),
        (
            to_exchange("e", "", "nope"),
            "no exchange 'nope' in vhost '/'",
        ),
        (to_queue("lr", "k", "nope"), "no queue 'nope' in vhost '/'"),
        (
            to_queue("lr", "k", "q1"),
            "Non empty binding 'k' key not permitted",
        ),
        (
            to_queue("lr", "", "quorum"),
            "Queue type rabbit_quorum_queue not valid for this exchange type",
        ),
        (
            to_queue("lr", "", "stream"),
            "Queue type rabbit_stream_queue not valid for this exchange type",
        ),
        (to_exchange("lr", "", "e"), "Destination not found"),
        (
            to_queue("ch", "abc", "q1"),
            "The binding key must be an integer: <<\"abc\">>",
        ),
        (
            to_queue("ch", "", "q1"),
            "The binding key must be an integer: <<>>",
        ),
        (
            to_queue("ch", "0", "q1"),
            "The binding key must be greater than 0",
        ),
        (
            to_queue("ch", "100000", "q1"),
            "The binding key must not exceed 10000",
        ),
        (
            to_queue("amq.topic", "#.a.#.b.#", "q1"),
            "Topic binding key '#.a.#.b.#' uses 3 '#' wildcards, at most 2 are allowed",
        ),
        (
            headers(string("foo")),
            "Invalid x-match field value <<\"foo\">>; expected all, any, all-with-x, or any-with-x",
        ),
        (
            headers(FieldValue::I32(1)),
            "Invalid x-match field type signedint (value 1); expected longstr",
        ),
    ] {
        assert_eq!(
            router.bind(spec.clone()).expect_err("refused").text("/"),
            expected
        );
        assert_eq!(
            router.unbind(&spec),
            Ok(Removed::default()),
            "unbinding it is no error"
        );
    }
    for spec in [
        to_queue("amq.topic", "#.#", "q1"),
        to_queue("amq.topic", "a#.b#.#.#d", "q1"),
        to_queue("lr", "", "q1"),
    ] {
        assert!(router.bind(spec).expect("bound").created);
    }
}

#[test]
fn a_binding_is_its_ends_its_key_and_its_arguments() {
    let mut router = router(vec![], vec![to_queue("amq.direct", "k", "q1")]);
    let (one, two) = (("a", FieldValue::I32(1)), ("b", FieldValue::I32(2)));
    let with = |entries: &[(&str, FieldValue)]| BindingSpec {
        arguments: table(entries),
        ..to_queue("amq.direct", "k", "q1")
    };
    assert!(
        router
            .bind(with(&[one.clone(), two.clone()]))
            .expect("bound")
            .created
    );
    assert!(
        !router
            .bind(with(&[two.clone(), one.clone()]))
            .expect("bound")
            .created
    );
    assert!(!router.bind(with(&[])).expect("bound").created);
    assert!(router.is_bound(&with(&[two.clone(), one.clone()])));
    assert!(!router.is_bound(&with(std::slice::from_ref(&one))));
    assert_eq!(router.binding_len(), 2);
    assert_eq!(
        router.unbind(&with(std::slice::from_ref(&one))),
        Ok(Removed::default())
    );
    router.unbind(&with(&[])).expect("unbound");
    assert_eq!(
        route(&router, "amq.direct", "k"),
        [1],
        "the other binding is left"
    );
    let removed = router.unbind(&with(&[two, one])).expect("unbound");
    assert_eq!(removed.bindings.len(), 1);
    assert!(removed.bindings[0].durable);
    assert_eq!(route(&router, "amq.direct", "k"), [0u64; 0]);
}

#[test]
fn durable_means_both_ends() {
    let mut router = router(
        vec![
            exchange("e", "fanout"),
            ExchangeSpec {
                durable: true,
                ..exchange("d", "fanout")
            },
        ],
        vec![],
    );
    router.add_queue(
        name("t"),
        QueueFacts {
            durable: false,
            ..facts(20)
        },
    );
    for (spec, durable) in [
        (to_queue("d", "", "q1"), true),
        (to_queue("e", "", "q1"), false),
        (to_queue("d", "", "t"), false),
        (to_exchange("d", "", "e"), false),
        (to_exchange("d", "", "amq.fanout"), true),
    ] {
        assert_eq!(
            router.is_durable(&spec.source, &spec.destination),
            durable,
            "{spec:?}"
        );
        assert_eq!(router.bind(spec).expect("bound").durable, durable);
    }
    assert!(router.is_durable("", &Destination::Queue(name("q1"))));
    assert!(!router.is_durable("nope", &Destination::Queue(name("q1"))));
}

#[test]
fn cycles_of_bindings_and_alternates_end() {
    let router = router(
        vec![
            exchange("a", "fanout"),
            exchange("b", "fanout"),
            with_alternate("x", "direct", "y"),
            with_alternate("y", "direct", "z"),
            with_alternate("z", "topic", "x"),
            with_alternate("self", "direct", "self"),
            with_alternate("lost", "direct", "nowhere"),
        ],
        vec![
            to_exchange("a", "", "b"),
            to_exchange("b", "", "a"),
            to_exchange("a", "", "a"),
            to_queue("a", "", "q1"),
            to_queue("b", "", "q1"),
            to_queue("b", "", "q2"),
            to_queue("z", "#.end", "q3"),
        ],
    );
    assert_eq!(route(&router, "a", ""), [1, 2]);
    assert_eq!(route(&router, "x", "the.end"), [3]);
    assert_eq!(route(&router, "x", "lost"), [0u64; 0]);
    assert_eq!(route(&router, "self", ""), [0u64; 0]);
    assert_eq!(route(&router, "lost", ""), [0u64; 0]);
}

/// As in RabbitMQ: a match that leads nowhere is still a match.
#[test]
fn the_alternate_is_asked_only_where_nothing_matched() {
    let router = router(
        vec![
            with_alternate("e", "direct", "amq.fanout"),
            exchange("empty", "fanout"),
        ],
        vec![
            to_queue("e", "k", "q1"),
            to_exchange("e", "dead", "empty"),
            to_queue("amq.fanout", "", "q2"),
        ],
    );
    assert_eq!(route(&router, "e", "k"), [1]);
    assert_eq!(route(&router, "e", "other"), [2]);
    assert_eq!(route(&router, "e", "dead"), [0u64; 0]);
}

#[test]
fn a_policy_s_alternate_comes_after_the_argument_s() {
    let mut router = router(
        vec![
            exchange("e", "direct"),
            with_alternate("own", "direct", "amq.topic"),
        ],
        vec![
            to_queue("amq.fanout", "", "q1"),
            to_queue("amq.topic", "#", "q2"),
        ],
    );
    assert_eq!(route(&router, "e", "k"), [0u64; 0]);
    for exchange in ["e", "own", "nope"] {
        router.set_policy_alternate(exchange, Some(name("amq.fanout")));
    }
    assert_eq!(route(&router, "e", "k"), [1]);
    assert_eq!(route(&router, "own", "k"), [2]);
    router.set_policy_alternate("e", None);
    assert_eq!(route(&router, "e", "k"), [0u64; 0]);
}

/// The cascades that were tried on RabbitMQ 4.3.
#[test]
fn auto_delete_cascades_as_the_reference_s_does() {
    let spent = |removed: &Removed| names(&removed.exchanges).join(" ");
    let mut chain = router(
        vec![
            auto_delete("a"),
            ExchangeSpec {
                durable: true,
                ..auto_delete("b")
            },
        ],
        vec![to_exchange("a", "", "b"), to_queue("b", "", "q1")],
    );
    let mut other = router(
        vec![auto_delete("a"), auto_delete("b"), exchange("c", "fanout")],
        vec![
            to_exchange("a", "", "b"),
            to_exchange("b", "", "c"),
            to_exchange("c", "", "a"),
        ],
    );
    let removed = chain.unbind(&to_queue("b", "", "q1")).expect("unbound");
    assert_eq!(spent(&removed), "b a");
    assert_eq!(removed.bindings.len(), 2);
    assert!(removed.exchanges[0].durable && !removed.exchanges[1].durable);
    let removed = other.delete_exchange("c", false).expect("deleted");
    assert_eq!(spent(&removed), "c b a");
    assert_eq!((other.binding_len(), other.exchange_len()), (0, 7));

    // Unbinding what was not bound deletes nothing, and neither does a binding to itself.
    let mut own = router(
        vec![auto_delete("a"), auto_delete("b")],
        vec![to_exchange("a", "", "a"), to_queue("a", "", "q1")],
    );
    assert!(
        own.unbind(&to_queue("b", "", "q1"))
            .expect("unbound")
            .is_empty()
    );
    assert_eq!(
        spent(&own.unbind(&to_queue("a", "", "q1")).expect("unbound")),
        ""
    );
    assert_eq!(
        spent(&own.unbind(&to_exchange("a", "", "a")).expect("unbound")),
        "a"
    );

    let mut queue = router(
        vec![auto_delete("a"), auto_delete("b")],
        vec![
            to_exchange("a", "", "b"),
            to_queue("b", "x", "q1"),
            to_queue("b", "y", "q1"),
        ],
    );
    let removed = queue.remove_queue("q1");
    assert_eq!(
        (spent(&removed).as_str(), removed.bindings.len()),
        ("b a", 3)
    );
    assert!(queue.remove_queue("q1").is_empty());
}

#[test]
fn cc_and_bcc_are_further_routing_keys() {
    let router = router(
        vec![exchange("m", "x-modulus-hash")],
        vec![
            to_queue("amq.direct", "k0", "q0"),
            to_queue("amq.direct", "k1", "q1"),
            to_queue("amq.direct", "k2", "q2"),
            to_queue("amq.topic", "k.*", "q3"),
            to_queue("amq.topic", "#", "q4"),
        ],
    );
    let mut scratch = RouteScratch::default();
    let list = |keys: &[&str]| FieldValue::Array(keys.iter().map(|key| string(key)).collect());
    let odd = FieldValue::Array(vec![FieldValue::I32(5), string("k1"), FieldValue::Void]);
    let both = properties(&[("CC", odd), ("BCC", list(&["k2", "k0", "q9"]))]);
    assert_eq!(
        route_with(&router, "amq.direct", "k0", &both, &mut scratch),
        Ok(vec![0, 1, 2])
    );
    assert!(!scratch.cacheable);
    assert_eq!(
        route_with(&router, "", "q5", &both, &mut scratch),
        Ok(vec![5, 9])
    );
    let dotted = properties(&[("CC", list(&["k.x"]))]);
    assert_eq!(
        route_with(&router, "amq.topic", "other", &dotted, &mut scratch),
        Ok(vec![3, 4])
    );
    let bytes = properties(&[(
        "CC",
        FieldValue::Array(vec![FieldValue::LongStr(b"\xff".to_vec())]),
    )]);
    assert_eq!(
        route_with(&router, "amq.direct", "k1", &bytes, &mut scratch),
        Ok(vec![1])
    );
    assert_eq!(
        route_with(&router, "m", "k1", &bytes, &mut scratch),
        Ok(vec![])
    );
    assert!(has_own_route(&Properties::validate(&both).expect("valid")));
    let plain = properties(&[("cc", string("x"))]);
    assert!(!has_own_route(
        &Properties::validate(&plain).expect("valid")
    ));

    for (header, value, type_name) in [
        ("CC", string("a"), "longstr"),
        ("CC", FieldValue::I32(1), "signedint"),
        ("CC", FieldValue::Void, "void"),
        ("CC", FieldValue::Table(FieldTable::default()), "table"),
        ("BCC", string("a"), "longstr"),
    ] {
        let bad = properties(&[(header, value)]);
        let error =
            route_with(&router, "amq.direct", "k0", &bad, &mut scratch).expect_err("refused");
        let expected =
            format!("invalid message: {{unacceptable_type_in_header,\"{header}\",{type_name}}}");
        assert_eq!(
            (error.text("/"), error.refusal()),
            (expected, Refusal::Precondition)
        );
        assert!(scratch.queues.is_empty());
    }
    let error = route_with(&router, "nope", "k0", &plain, &mut scratch).expect_err("refused");
    assert_eq!(
        (error.text("/").as_str(), error.refusal()),
        ("no exchange 'nope' in vhost '/'", Refusal::NotFound)
    );
}

#[test]
fn what_may_be_remembered_is_said() {
    let router = router(
        vec![
            exchange("r", "x-random"),
            exchange("hash", "x-consistent-hash"),
            with_arguments(
                exchange("header", "x-consistent-hash"),
                &[("hash-header", string("h"))],
            ),
            exchange("history", "x-recent-history"),
            exchange("behind", "fanout"),
        ],
        vec![
            to_exchange("behind", "", "r"),
            to_exchange("amq.fanout", "", "amq.topic"),
        ],
    );
    let mut scratch = RouteScratch::default();
    for (exchange, cacheable) in [
        ("", true),
        ("amq.direct", true),
        ("amq.topic", true),
        ("amq.fanout", true),
        ("hash", true),
        ("header", false),
        ("amq.headers", false),
        ("r", false),
        ("behind", false),
        ("history", false),
    ] {
        let none = PropertiesBuf::default().encode();
        route_with(&router, exchange, "k", &none, &mut scratch).expect("routed");
        assert_eq!(scratch.cacheable, cacheable, "{exchange}");
    }
}

#[test]
fn the_epoch_moves_with_every_change_of_a_route() {
    let mut router = router(vec![exchange("e", "fanout")], vec![]);
    let mut last = router.epoch();
    let mut moved = |router: &Router| {
        let moved = last != router.epoch();
        last = router.epoch();
        moved
    };
    router.bind(to_queue("e", "", "q1")).expect("bound");
    assert!(moved(&router));
    router.bind(to_queue("e", "", "q1")).expect("bound");
    assert!(!moved(&router), "bound already");
    router.unbind(&to_queue("e", "", "q2")).expect("unbound");
    assert!(!moved(&router), "never bound");
    router.unbind(&to_queue("e", "", "q1")).expect("unbound");
    assert!(moved(&router));
    router
        .declare_exchange(exchange("f", "fanout"))
        .expect("declared");
    assert!(moved(&router), "it may be someone's alternate");
    router.delete_exchange("f", false).expect("deleted");
    assert!(moved(&router));
    router.remove_queue("q1");
    assert!(moved(&router));
    router.add_queue(name("q1"), facts(1));
    assert!(moved(&router));
}

#[test]
fn random_exchanges_pick_one_binding() {
    let bindings = ["r", "lr"]
        .iter()
        .flat_map(|source| (0..3).map(move |n| to_queue(source, "", &format!("q{n}"))));
    let mut router = router(
        vec![exchange("r", "x-random"), exchange("lr", "x-local-random")],
        bindings.collect(),
    );
    router.bind(to_queue("r", "again", "q0")).expect("bound");
    let none = PropertiesBuf::default().encode();
    let mut scratch = RouteScratch::with_seed(42);
    for (exchange, expected) in [("r", [0.5, 0.25, 0.25]), ("lr", [1.0 / 3.0; 3])] {
        let mut hits = [0.0f64; 3];
        for _ in 0..10_000 {
            let found = route_with(&router, exchange, "any", &none, &mut scratch).expect("routed");
            assert_eq!(found.len(), 1);
            hits[found[0] as usize] += 1.0 / 10_000.0;
        }
        for (hit, expected) in hits.iter().zip(expected) {
            assert!(
                (hit - expected).abs() < 0.02,
                "seed 42, {exchange}: {hits:?}"
            );
        }
    }
}

#[test]
fn consistent_hash_hashes_what_it_is_told_to() {
    let queues = (0..10).map(|n| format!("q{n}")).collect::<Vec<_>>();
    for arguments in [
        vec![],
        vec![("hash-header", string("h"))],
        vec![("hash-property", string("message_id"))],
        vec![("hash-property", string("correlation_id"))],
        vec![("hash-property", string("timestamp"))],
    ] {
        let bindings = queues
            .iter()
            .map(|queue| to_queue("ch", "1", queue))
            .collect();
        let router = router(
            vec![with_arguments(
                exchange("ch", "x-consistent-hash"),
                &arguments,
            )],
            bindings,
        );
        let mut scratch = RouteScratch::default();
        let mut choose = |key: &str, own: u64| {
            let properties = PropertiesBuf {
                headers: Some(table(&[("h", string(&format!("h{own}")))])),
                message_id: Some(format!("m{own}")),
                correlation_id: Some(format!("c{own}")),
                timestamp: Some(own),
                ..PropertiesBuf::default()
            };
            route_with(&router, "ch", key, &properties.encode(), &mut scratch).expect("routed")[0]
        };
        let by_key: std::collections::BTreeSet<u64> =
            (0..200).map(|n| choose(&format!("k{n}"), 1)).collect();
        let by_own: std::collections::BTreeSet<u64> = (0..200).map(|n| choose("k", n)).collect();
        let (by_key, by_own) = if arguments.is_empty() {
            (by_own, by_key)
        } else {
            (by_key, by_own)
        };
        assert_eq!((by_key.len(), by_own.len()), (1, 10), "{arguments:?}");
    }
}

#[test]
fn recent_history_is_kept_and_replayed() {
    let length = ("x-recent-history-length", FieldValue::I32(3));
    let mut router = router(
        vec![
            with_arguments(exchange("h", "x-recent-history"), &[length]),
            exchange("default", "x-recent-history"),
            exchange("front", "fanout"),
        ],
        vec![to_queue("h", "", "q0"), to_exchange("front", "", "h")],
    );
    let mut scratch = RouteScratch::default();
    let none = PropertiesBuf::default().encode();
    for n in 0..30 {
        let key = format!("k{n}");
        assert_eq!(
            route_with(&router, "front", &key, &none, &mut scratch),
            Ok(vec![0])
        );
        assert_eq!(scratch.history, [name("h")]);
        let view = Properties::validate(&none).expect("valid");
        let message = Message::new("front", &key, &view, None, b"body", &mut Vec::new());
        router.record("h", &message);
        router.record("default", &message);
        router.record("amq.fanout", &message);
        router.record("gone", &message);
    }
    let keys = |bound: Bound| {
        let keys = bound
            .replay
            .iter()
            .map(|message| message.routing_key().to_owned());
        keys.collect::<Vec<_>>()
    };
    assert_eq!(
        keys(router.bind(to_queue("h", "", "q1")).expect("bound")),
        ["k27", "k28", "k29"]
    );
    assert_eq!(
        keys(router.bind(to_queue("h", "", "q1")).expect("bound")),
        [""; 0],
        "no new binding"
    );
    assert_eq!(
        keys(
            router
                .bind(to_exchange("default", "", "front"))
                .expect("bound")
        )
        .len(),
        20
    );
    assert_eq!(
        keys(
            router
                .bind(to_queue("amq.fanout", "", "q1"))
                .expect("bound")
        ),
        [""; 0]
    );

    let no_store = properties(&[("x-recent-history-no-store", FieldValue::Bool(true))]);
    route_with(&router, "h", "k", &no_store, &mut scratch).expect("routed");
    assert!(scratch.history.is_empty());
    let store = properties(&[("x-recent-history-no-store", string("true"))]);
    route_with(&router, "h", "k", &store, &mut scratch).expect("routed");
    assert_eq!(scratch.history, [name("h")]);
}

/// As RabbitMQ's HTTP API lists them: implicit bindings first, then by source.
#[test]
fn listings_are_sorted_and_hold_implicit_bindings() {
    let mut router = Router::new();
    for queue in ["qx", "q", "qq"] {
        router.add_queue(name(queue), facts(1));
    }
    router
        .declare_exchange(exchange("mh", "x-modulus-hash"))
        .expect("declared");
    router
        .declare_exchange(exchange("e", "direct"))
        .expect("declared");
    for spec in [
        to_exchange("mh", "k", "e"),
        to_queue("amq.topic", "b", "q"),
        to_queue("amq.topic", "a", "q"),
        to_queue("e", "q", "q"),
    ] {
        router.bind(spec).expect("bound");
    }
    let shown = |bindings: Vec<BindingSpec>| {
        let line = |spec: BindingSpec| {
            let (Destination::Queue(to) | Destination::Exchange(to)) = &spec.destination;
            format!("{}-{}->{to}", spec.source, spec.routing_key)
        };
        bindings.into_iter().map(line).collect::<Vec<_>>().join(" ")
    };
    let implicit = "-q->q -qq->qq -qx->qx";
    assert_eq!(
        shown(router.bindings()),
        format!("{implicit} amq.topic-a->q amq.topic-b->q e-q->q mh-k->e")
    );
    assert_eq!(shown(router.bindings_of_source("")), implicit);
    assert_eq!(
        shown(router.bindings_of_source("amq.topic")),
        "amq.topic-a->q amq.topic-b->q"
    );
    assert_eq!(shown(router.bindings_of_source("nope")), "");
    let queue = |queue| Destination::Queue(name(queue));
    assert_eq!(
        shown(router.bindings_of_destination(&queue("q"))),
        "-q->q amq.topic-a->q amq.topic-b->q e-q->q"
    );
    assert_eq!(shown(router.bindings_of_destination(&queue("nope"))), "");
    assert_eq!(
        shown(router.bindings_of_destination(&Destination::Exchange(name("e")))),
        "mh-k->e"
    );
}

/// A queue with many bindings among 100,000 goes without a look at the others.
#[test]
fn large_topologies_are_changed_in_place() {
    let mut router = Router::new();
    for n in 0..1_000 {
        router.add_queue(name(&format!("many{n}")), facts(n));
    }
    for n in 0..100_000u64 {
        let spec = to_queue(
            "amq.topic",
            &format!("a.{}.{n}", n % 100),
            &format!("many{}", n % 1_000),
        );
        router.bind(spec).expect("bound");
    }
    for n in 0..3_000 {
        router
            .bind(to_queue("amq.topic", &format!("b.*.{n}.#"), "many7"))
            .expect("bound");
    }
    assert_eq!(route(&router, "amq.topic", "a.77.5077"), [77]);
    assert_eq!(route(&router, "amq.topic", "b.x.1234.y.z"), [7]);
    let removed = router.remove_queue("many7");
    assert_eq!(removed.bindings.len(), 3_100);
    assert_eq!(route(&router, "amq.topic", "b.x.1234.y.z"), [0u64; 0]);
    assert_eq!(router.binding_len(), 99_900);
    router.check_invariants();
}

#[test]
fn a_queue_added_again_keeps_its_bindings() {
    let mut router = router(vec![], vec![to_queue("amq.fanout", "", "q1")]);
    assert_eq!(router.queue("q1"), Some(facts(1)));
    assert_eq!(router.add_queue(name("q1"), facts(77)), Some(facts(1)));
    assert_eq!(route(&router, "amq.fanout", ""), [77]);
    assert_eq!(router.queue("nope"), None);
}
