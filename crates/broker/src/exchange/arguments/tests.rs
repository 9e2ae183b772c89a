//! Tests of an exchange's arguments: how values are read and printed.

use wire::amqp091::table::{FieldTable, FieldValue};

use super::*;

fn table(entries: &[(&str, FieldValue)]) -> FieldTable {
    let mut table = FieldTable::new();
    entries
        .iter()
        .for_each(|(key, value)| table.set(*key, value.clone()));
    table
}

fn with<T>(value: FieldValue, read: impl Fn(&Value<'_>) -> T) -> T {
    let encoded = table(&[("k", value)]).encode();
    read(
        &Table::validate(&encoded)
            .expect("valid")
            .find("k")
            .expect("there"),
    )
}

fn string(text: &str) -> FieldValue {
    FieldValue::LongStr(text.into())
}

/// Pairs of a binding's argument and a message's header, and what RabbitMQ 4.3 made of them.
#[test]
fn header_values_are_equal_where_the_reference_says() {
    use FieldValue::*;
    let decimal = |scale, value| Decimal { scale, value };
    let nested = |value| Table(table(&[("a", value)]));
    for (binding, message, equal) in [
        (I32(5), I64(5), true),
        (I32(5), I8(5), true),
        (I32(200), U8(200), true),
        (I64(4_000_000_000), U32(4_000_000_000), true),
        (I32(5), I32(6), false),
        (I32(1), F64(1.0), false),
        (F64(1.5), F32(1.5), true),
        (F64(0.0), F64(-0.0), false),
        (string("a"), Bytes(b"a".to_vec()), true),
        (Bytes(b"a".to_vec()), string("a"), true),
        (string("1"), I32(1), false),
        (Timestamp(5), Timestamp(5), false),
        (Timestamp(5), I64(5), true),
        (I64(5000), Timestamp(5), true),
        (I64(5), Timestamp(5), false),
        (Bool(true), Bool(true), true),
        (Bool(true), I32(1), false),
        (string(""), Void, false),
        (decimal(1, 5), decimal(1, 5), true),
        (decimal(1, 50), decimal(0, 5), false),
        (
            Array(vec![I32(1), string("a")]),
            Array(vec![I32(1), string("a")]),
            true,
        ),
        (Array(vec![I32(1)]), Array(vec![I64(1)]), false),
        (nested(I32(1)), nested(I32(1)), true),
        (nested(I32(1)), nested(I32(2)), false),
        (Array(vec![]), Table(FieldTable::new()), true),
    ] {
        let form = |value: &FieldValue, side| {
            with(value.clone(), |value| {
                let mut out = Vec::new();
                push_header_value(&mut out, value, side);
                out
            })
        };
        let met = form(&binding, Side::Binding) == form(&message, Side::Message);
        assert_eq!(
            met, equal,
            "{binding:?} in the binding, {message:?} in the message"
        );
    }
}

#[test]
fn identity_keeps_types_and_forgets_order() {
    let id = |entries: &[(&str, FieldValue)]| {
        let encoded = table(entries).encode();
        identity(Table::validate(&encoded).expect("valid"))
    };
    let (one, two) = (FieldValue::I32(1), FieldValue::I32(2));
    assert_eq!(
        id(&[("a", one.clone()), ("b", two.clone())]),
        id(&[("b", two.clone()), ("a", one.clone())])
    );
    assert_ne!(id(&[("a", one.clone())]), id(&[("a", FieldValue::I64(1))]));
    assert_ne!(id(&[("a", one.clone())]), id(&[("a", two)]));
    assert_ne!(id(&[("a", string("b"))]), id(&[("ab", string(""))]));
    assert_ne!(
        id(&[("a", string("b"))]),
        id(&[("a", FieldValue::Bytes(b"b".to_vec()))])
    );
    assert_eq!(id(&[]), Vec::<u8>::new());
}

/// As RabbitMQ 4.3 printed them in its refusals.
#[test]
fn terms_are_printed_as_erlang_does() {
    use FieldValue::*;
    for (value, expected) in [
        (Void, "undefined"),
        (Bool(true), "true"),
        (I32(-3), "-3"),
        (F32(3.0), "3.0"),
        (F64(1e20), "1.0e20"),
        (F32(0.1), "0.10000000149011612"),
        (Decimal { scale: 1, value: 5 }, "{1,5}"),
        (Timestamp(3), "3"),
        (string(""), "<<>>"),
        (string("foo"), "<<\"foo\">>"),
        (string("é"), "<<\"é\"/utf8>>"),
        (string("日本"), "<<\"日本\"/utf8>>"),
        (string("a\n\"\\b"), "<<\"a\\n\\\"\\\\b\">>"),
        (Bytes(b"\xff\x01".to_vec()), "<<255,1>>"),
        (Bytes(b"\xc3\xa9\x00".to_vec()), "<<195,169,0>>"),
        (string("\u{7f}"), "<<127>>"),
        (Array(vec![]), "[]"),
        (
            Array(vec![I32(1), string("q")]),
            "[{signedint,1},{longstr,<<\"q\">>}]",
        ),
        (
            Table(table(&[("a", I32(1)), ("b", string("q"))])),
            "[{<<\"a\">>,signedint,1},{<<\"b\">>,longstr,<<\"q\">>}]",
        ),
    ] {
        assert_eq!(with(value.clone(), term), expected, "{value:?}");
    }
    assert_eq!(atom_term("direct"), "direct");
    assert_eq!(atom_term("x-random"), "'x-random'");
    assert_eq!(text(b"\xfe\xff"), "þÿ");
}
