//! What the codec promises, on random examples: round trips, agreement with an independent codec
//! (amq-protocol), and no panic on whatever a peer may send.

use std::collections::BTreeMap;

use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame, parse_frame};
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::codec::Samples;
use super::super::frame::*;
use super::super::method::*;
use super::super::properties::*;
use super::super::table::*;

/// As long as a short string can be, and mostly far shorter.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![9 => "\\PC{0,12}", 1 => "[a-z]{250,255}"]
}

fn value() -> impl Strategy<Value = FieldValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(FieldValue::Bool),
        any::<i8>().prop_map(FieldValue::I8),
        any::<u8>().prop_map(FieldValue::U8),
        any::<i16>().prop_map(FieldValue::I16),
        any::<u16>().prop_map(FieldValue::U16),
        any::<i32>().prop_map(FieldValue::I32),
        any::<u32>().prop_map(FieldValue::U32),
        any::<i64>().prop_map(FieldValue::I64),
        any::<f32>()
            .prop_filter("finite", |v| v.is_finite())
            .prop_map(FieldValue::F32),
        any::<f64>()
            .prop_filter("finite", |v| v.is_finite())
            .prop_map(FieldValue::F64),
        (any::<u8>(), any::<u32>()).prop_map(|(scale, value)| FieldValue::Decimal { scale, value }),
        vec(any::<u8>(), 0..20).prop_map(FieldValue::LongStr),
        vec(any::<u8>(), 0..20).prop_map(FieldValue::Bytes),
        any::<u64>().prop_map(FieldValue::Timestamp),
        Just(FieldValue::Void),
    ];
    leaf.prop_recursive(5, 30, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(FieldValue::Array),
            vec((text(), inner), 0..6)
                .prop_map(|entries| FieldValue::Table(entries.into_iter().collect())),
        ]
    })
}

/// A key may occur twice.
fn table() -> impl Strategy<Value = FieldTable> {
    vec((text(), value()), 0..6).prop_map(|entries| entries.into_iter().collect())
}

/// The same with its keys sorted and unique, all the way down: amq-protocol keeps tables as maps.
fn sorted(table: FieldTable) -> FieldTable {
    let entries: BTreeMap<String, FieldValue> = table
        .iter()
        .map(|(key, value)| (String::from(key), sorted_value(value.clone())))
        .collect();
    entries.into_iter().collect()
}

fn sorted_value(value: FieldValue) -> FieldValue {
    match value {
        FieldValue::Table(table) => FieldValue::Table(sorted(table)),
        FieldValue::Array(values) => {
            FieldValue::Array(values.into_iter().map(sorted_value).collect())
        }
        other => other,
    }
}

fn properties() -> impl Strategy<Value = PropertiesBuf> {
    let texts = || proptest::option::of(text());
    let first = (
        texts(),
        texts(),
        proptest::option::of(table()),
        any::<Option<u8>>(),
        any::<Option<u8>>(),
    );
    let then = (texts(), texts(), texts(), texts(), any::<Option<u64>>());
    let last = (texts(), texts(), texts(), texts());
    (first, then, last).prop_map(|(first, then, last)| PropertiesBuf {
        content_type: first.0,
        content_encoding: first.1,
        headers: first.2,
        delivery_mode: first.3,
        priority: first.4,
        correlation_id: then.0,
        reply_to: then.1,
        expiration: then.2,
        message_id: then.3,
        timestamp: then.4,
        type_: last.0,
        user_id: last.1,
        app_id: last.2,
        cluster_id: last.3,
    })
}

fn tables() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(table().prop_map(|table| sorted(table).encode()), 1..4)
}

/// Every method once, filled from what proptest made.
fn all_methods<'a>(
    texts: &'a [String],
    tables: &'a [Vec<u8>],
    numbers: &'a [u64],
) -> impl Iterator<Item = Method<'a>> {
    let mut samples = Samples {
        texts: texts.iter().cycle(),
        tables: tables.iter().cycle(),
        numbers: numbers.iter().cycle(),
    };
    NAMES
        .iter()
        .map(move |&(class, method, _)| Method::sample(class, method, &mut samples))
}

fn framed(method: &Method<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    encode_method(&mut out, 5, method);
    out
}

/// Methods of which the oracle drops a field that means nothing to RabbitMQ: ticket, prefetch size.
const IGNORED_BY_THE_ORACLE: [&str; 2] = ["access.request-ok", "basic.qos"];

/// Reads a frame with amq-protocol and writes it again with it.
fn through_the_oracle(frame: &[u8]) -> Vec<u8> {
    let (rest, read): (&[u8], AMQPFrame) = parse_frame(frame).expect("the oracle reads it");
    assert!(rest.is_empty());
    gen_frame(&read)(WriteContext::from(Vec::new()))
        .expect("the oracle writes it")
        .write
}

/// Whatever is in `bytes`, decoding returns, and what decodes can be read and encoded.
fn survives(bytes: &[u8]) {
    if let Ok(method) = Method::decode(bytes) {
        let mut out = Vec::new();
        method.encode(&mut out);
        assert_eq!(Method::decode(&out), Ok(method));
    }
    if let Ok(table) = Table::validate(bytes) {
        let owned = table.to_owned();
        let encoded = owned.encode();
        assert_eq!(Table::validate(&encoded).unwrap().to_owned(), owned);
    }
    if let Ok(view) = Properties::validate(bytes) {
        let owned = PropertiesBuf::from_view(&view);
        assert_eq!(
            PropertiesBuf::from_view(&Properties::validate(&owned.encode()).unwrap()),
            owned
        );
        view.rewrite(&PropertyChanges::default());
    }
    let _ = decode_content_header(bytes);
    let _ = decode_frame(bytes, FRAME_BYTES_MIN);
    let _ = decode_frame(bytes, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_method_comes_back(
        texts in vec(text(), 1..8), tables in tables(), numbers in vec(any::<u64>(), 1..20),
    ) {
        for method in all_methods(&texts, &tables, &numbers) {
            let bytes = framed(&method);
            let (frame, took) = decode_frame(&bytes, 0).unwrap().unwrap();
            prop_assert_eq!(took, bytes.len());
            prop_assert_eq!(Method::decode(frame.payload), Ok(method));
        }
    }

    #[test]
    fn every_method_is_the_oracles(
        texts in vec(text(), 1..8), tables in tables(), numbers in vec(any::<u64>(), 1..20),
    ) {
        for method in all_methods(&texts, &tables, &numbers) {
            if IGNORED_BY_THE_ORACLE.contains(&method.name()) {
                continue;
            }
            let bytes = framed(&method);
            prop_assert_eq!(through_the_oracle(&bytes), bytes, "{}", method.name());
        }
    }

    #[test]
    fn properties_are_the_oracles(mut properties in properties(), body_bytes: u64) {
        properties.headers = properties.headers.map(sorted);
        let mut bytes = Vec::new();
        encode_content_header(&mut bytes, 5, 60, body_bytes, &properties.encode());
        prop_assert_eq!(through_the_oracle(&bytes), bytes);
    }

    #[test]
    fn tables_come_back(table in table()) {
        let bytes = table.encode();
        let view = Table::validate(&bytes).unwrap();
        prop_assert_eq!(&view.to_owned(), &table);
        prop_assert_eq!(view.iter().count(), table.len());
    }

    #[test]
    fn properties_come_back(properties in properties(), meaningless_flags in 0u8..4) {
        let mut bytes = properties.encode();
        bytes[1] |= meaningless_flags;
        let view = Properties::validate(&bytes).unwrap();
        prop_assert_eq!(view.as_bytes(), &bytes);
        prop_assert_eq!(PropertiesBuf::from_view(&view), properties);
    }

    #[test]
    fn rewriting_is_changing_and_encoding(
        mut properties in properties(), headers in table(), reply_to in text(),
    ) {
        let bytes = properties.encode();
        let view = Properties::validate(&bytes).unwrap();
        prop_assert_eq!(view.rewrite(&PropertyChanges::default()), bytes.clone());
        let rewritten = view.rewrite(&PropertyChanges {
            headers: Change::Set(&headers),
            reply_to: Change::Set(&reply_to),
            expiration: Change::Remove,
        });
        properties.headers = Some(headers);
        properties.reply_to = Some(reply_to);
        properties.expiration = None;
        prop_assert_eq!(rewritten, properties.encode());
    }

    #[test]
    fn every_delivery_is_its_parts(
        texts in vec(text(), 3), delivery_tag: u64, redelivered: bool,
        properties in properties(), body in vec(any::<u8>(), 0..100),
        frame_bytes_max in prop_oneof![Just(0u32), 9u32..64],
    ) {
        let properties = properties.encode();
        let mut address = Vec::new();
        for text in &texts[1..] {
            address.push(text.len() as u8);
            address.extend_from_slice(text.as_bytes());
        }
        let mut whole = Vec::new();
        encode_deliver(
            &mut whole, 5, &texts[0], delivery_tag, redelivered, &address, &properties, &body,
            frame_bytes_max,
        );
        let mut parts = framed(&Method::BasicDeliver(BasicDeliver {
            consumer_tag: &texts[0],
            delivery_tag,
            redelivered,
            exchange: &texts[1],
            routing_key: &texts[2],
        }));
        encode_content_header(&mut parts, 5, 60, body.len() as u64, &properties);
        encode_body(&mut parts, 5, &body, frame_bytes_max);
        prop_assert_eq!(whole, parts);
    }

    /// Cut short at every byte, nothing decodes, and no frame is whole.
    #[test]
    fn every_beginning_is_refused(
        texts in vec(text(), 1..4), tables in tables(), numbers in vec(any::<u64>(), 1..20),
    ) {
        for method in all_methods(&texts, &tables, &numbers) {
            let bytes = framed(&method);
            let payload = &bytes[7..bytes.len() - 1];
            for end in 0..payload.len() {
                prop_assert!(Method::decode(&payload[..end]).is_err());
            }
            for end in 0..bytes.len() {
                prop_assert_eq!(decode_frame(&bytes[..end], 0), Ok(None));
            }
        }
    }

    #[test]
    fn every_beginning_of_properties_is_refused(properties in properties()) {
        let bytes = properties.encode();
        for end in 0..bytes.len() {
            prop_assert!(Properties::validate(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn a_changed_byte_does_no_harm(
        texts in vec(text(), 1..4), tables in tables(), numbers in vec(any::<u64>(), 1..20),
        properties in properties(), at: usize, to: u8,
    ) {
        let methods = all_methods(&texts, &tables, &numbers).map(|method| framed(&method)[7..].to_vec());
        let others = tables.iter().cloned().chain([properties.encode()]);
        for mut bytes in methods.chain(others).filter(|bytes| !bytes.is_empty()) {
            let at = at % bytes.len();
            bytes[at] = to;
            survives(&bytes);
        }
    }

    #[test]
    fn noise_does_no_harm(bytes in vec(any::<u8>(), 0..200), class in 0u8..100, method in 0u8..125) {
        survives(&bytes);
        survives(&[&[0, class, 0, method], &bytes[..]].concat());
    }
}
