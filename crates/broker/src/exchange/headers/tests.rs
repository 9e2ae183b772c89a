//! Tests of headers exchanges, against a naive comparer.

use std::collections::BTreeMap;

use wire::amqp091::table::{FieldTable, FieldValue};

use super::*;
use crate::exchange::QueueSlot;
use crate::exchange::random::draw_index;

fn table(entries: &[(&str, FieldValue)]) -> FieldTable {
    let mut table = FieldTable::new();
    entries
        .iter()
        .for_each(|(key, value)| table.set(*key, value.clone()));
    table
}

fn insert(headers: &mut Headers, binding: usize, arguments: &FieldTable) {
    let encoded = arguments.encode();
    let arguments = Table::validate(&encoded).expect("valid");
    headers.insert(
        BindingSlot(binding as u32),
        arguments,
        Target::Queue(QueueSlot(binding as u32)),
    );
}

fn route(headers: &Headers, message: Option<&FieldTable>) -> Vec<u32> {
    let encoded = message.map(FieldTable::encode);
    let table = encoded
        .as_ref()
        .map(|bytes| Table::validate(bytes).expect("valid"));
    let (mut scratch, mut sink) = (HeadersScratch::default(), Sink::default());
    scratch.read(table);
    headers.route(&scratch, &mut sink);
    let mut found: Vec<u32> = sink.queues.iter().map(|queue| queue.0).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn string(text: &str) -> FieldValue {
    FieldValue::LongStr(text.into())
}

/// As RabbitMQ 4.3 answered.
#[test]
fn modes_and_keys_as_the_reference_has_them() {
    let a = ("k", string("a"));
    let x = ("x-a", string("1"));
    type Entries<'a> = Vec<(&'a str, FieldValue)>;
    let cases: Vec<(&str, Entries<'_>, Option<Entries<'_>>, bool)> = vec![
        ("any", vec![], Some(vec![a.clone()]), false),
        ("all", vec![], Some(vec![a.clone()]), true),
        ("all", vec![], None, true),
        ("any", vec![], None, false),
        ("all", vec![x.clone()], Some(vec![a.clone()]), true),
        ("any", vec![x.clone()], Some(vec![x.clone()]), false),
        ("any-with-x", vec![x.clone()], Some(vec![x.clone()]), true),
        (
            "all-with-x",
            vec![x.clone()],
            Some(vec![("k", string("1"))]),
            false,
        ),
        (
            "all-with-x",
            vec![x.clone()],
            Some(vec![x.clone(), a.clone()]),
            true,
        ),
        ("all-with-x", vec![], Some(vec![a.clone()]), true),
        ("any-with-x", vec![], Some(vec![a.clone()]), false),
        (
            "any-with-x",
            vec![],
            Some(vec![("x-match", string("any-with-x"))]),
            false,
        ),
        (
            "all",
            vec![("k", FieldValue::Void)],
            Some(vec![a.clone()]),
            true,
        ),
        (
            "all",
            vec![("k", FieldValue::Void)],
            Some(vec![("k", FieldValue::Void)]),
            true,
        ),
        (
            "all",
            vec![("k", FieldValue::Void)],
            Some(vec![("z", string(""))]),
            false,
        ),
        (
            "all",
            vec![("k", string(""))],
            Some(vec![("k", FieldValue::Void)]),
            false,
        ),
        (
            "any",
            vec![a.clone(), ("b", string("b"))],
            Some(vec![("b", string("b"))]),
            true,
        ),
        (
            "all",
            vec![a.clone(), ("b", string("b"))],
            Some(vec![("b", string("b"))]),
            false,
        ),
        ("all", vec![a.clone()], None, false),
    ];
    for (mode, arguments, message, expected) in cases {
        let mut headers = Headers::default();
        let mut with_mode = vec![("x-match", string(mode))];
        with_mode.extend(arguments.clone());
        insert(&mut headers, 0, &table(&with_mode));
        let message_table = message.as_ref().map(|entries| table(entries));
        let found = route(&headers, message_table.as_ref());
        assert_eq!(
            !found.is_empty(),
            expected,
            "{mode} {arguments:?} against {message:?}"
        );
        if mode == "all" {
            let mut without = Headers::default();
            insert(&mut without, 0, &table(&arguments));
            assert_eq!(
                route(&without, message_table.as_ref()),
                found,
                "missing x-match is all"
            );
        }
    }
}

#[test]
fn a_bad_mode_is_given_back() {
    for (value, good) in [
        (string("all"), true),
        (string("any-with-x"), true),
        (string("foo"), false),
        (string(""), false),
        (FieldValue::Bytes(b"all".to_vec()), false),
        (FieldValue::Void, false),
        (FieldValue::I32(1), false),
    ] {
        let encoded = table(&[("x-match", value.clone())]).encode();
        let mode = MatchMode::of(Table::validate(&encoded).expect("valid"));
        assert_eq!(mode.is_ok(), good, "{value:?}");
    }
}

/// The law, argument by argument.
fn matches(arguments: &[(&str, FieldValue)], message: &BTreeMap<&str, FieldValue>) -> bool {
    let mode = arguments.iter().find(|(key, _)| *key == "x-match");
    let mode = match mode {
        Some((_, FieldValue::LongStr(mode))) => std::str::from_utf8(mode).expect("ours"),
        _ => "all",
    };
    let wanted = arguments.iter().filter(|(key, _)| match mode {
        "all" | "any" => !key.starts_with("x-"),
        _ => *key != "x-match",
    });
    let mut met = wanted.map(|(key, value)| match (value, message.get(key)) {
        (_, None) => false,
        (FieldValue::Void, Some(_)) => true,
        (FieldValue::I32(a), Some(FieldValue::I64(b))) => i64::from(*a) == *b,
        (FieldValue::I64(a), Some(FieldValue::I32(b))) => *a == i64::from(*b),
        (wanted, Some(found)) => wanted == found,
    });
    if mode.starts_with("any") {
        met.any(|met| met)
    } else {
        met.all(|met| met)
    }
}

#[test]
fn matches_as_the_naive_comparer_does_under_random_changes() {
    let keys = ["a", "b", "c", "x-a", "x-b", "long-key"];
    let values = [
        string("1"),
        string("2"),
        FieldValue::I32(1),
        FieldValue::I64(1),
        FieldValue::Bool(true),
        FieldValue::Void,
        FieldValue::F64(1.0),
    ];
    let modes = ["", "all", "any", "all-with-x", "any-with-x"];
    for seed in 1..=60u64 {
        let mut state = seed;
        let mut below = |n| draw_index(&mut state, n);
        let mut headers = Headers::default();
        let mut model: Vec<(usize, Vec<(&str, FieldValue)>)> = Vec::new();
        for step in 0..200 {
            if below(3) == 0 && !model.is_empty() {
                let (binding, _) = model.swap_remove(below(model.len()));
                headers.remove(BindingSlot(binding as u32));
            } else {
                let mut chosen = BTreeMap::new();
                for _ in 0..below(4) {
                    chosen.insert(keys[below(keys.len())], values[below(values.len())].clone());
                }
                let mode = modes[below(modes.len())];
                if !mode.is_empty() {
                    chosen.insert("x-match", string(mode));
                }
                let arguments: Vec<_> = chosen.into_iter().collect();
                insert(&mut headers, step, &table(&arguments));
                model.push((step, arguments));
            }
            let mut message = BTreeMap::new();
            for _ in 0..below(5) {
                message.insert(keys[below(keys.len())], values[below(values.len())].clone());
            }
            let entries: Vec<_> = message
                .iter()
                .map(|(&key, value)| (key, value.clone()))
                .collect();
            let met = model
                .iter()
                .filter(|(_, arguments)| matches(arguments, &message));
            let mut expected: Vec<u32> = met.map(|&(binding, _)| binding as u32).collect();
            expected.sort_unstable();
            let found = route(&headers, Some(&table(&entries)));
            assert_eq!(
                found, expected,
                "seed {seed}, step {step}, message {entries:?}"
            );
        }
        for (binding, _) in model.drain(..) {
            headers.remove(BindingSlot(binding as u32));
        }
        let Headers {
            bindings,
            by_key,
            by_value,
            always,
        } = &headers;
        let empty = bindings.is_empty() && by_key.is_empty() && by_value.is_empty();
        assert!(
            empty && always.is_empty(),
            "seed {seed}: nothing is left behind"
        );
    }
}

/// Two entries of one key on the wire: the last counts.
#[test]
fn of_equal_keys_in_a_message_the_last_counts() {
    let mut headers = Headers::default();
    insert(&mut headers, 1, &table(&[("k", string("1"))]));
    insert(&mut headers, 2, &table(&[("k", string("2"))]));
    let mut bytes = table(&[("k", string("1"))]).encode();
    bytes.extend(table(&[("k", string("2"))]).encode());
    let (mut scratch, mut sink) = (HeadersScratch::default(), Sink::default());
    scratch.read(Some(
        Table::validate(&bytes).expect("duplicates are not refused"),
    ));
    headers.route(&scratch, &mut sink);
    assert_eq!(sink.queues, [QueueSlot(2)]);
}
