//! What the codec promises, on examples that can be read. On random ones: `random.rs`.

mod random;

use super::frame::*;
use super::method::*;
use super::properties::*;
use super::table::*;
use super::*;

fn encoded(method: Method<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    method.encode(&mut out);
    out
}

#[test]
fn publish_is_laid_out_as_the_specification_says() {
    let publish = Method::BasicPublish(BasicPublish {
        exchange: "ex",
        routing_key: "key",
        mandatory: false,
        immediate: true,
    });
    let bytes = encoded(publish);
    assert_eq!(bytes, b"\x00\x3c\x00\x28\x00\x00\x02ex\x03key\x02");
    assert_eq!(Method::decode(&bytes), Ok(publish));
    assert_eq!(publish.name(), "basic.publish");
    assert_eq!(publish.id(), (60, 40));
}

#[test]
fn bits_share_an_octet_lowest_first() {
    let declare = Method::QueueDeclare(QueueDeclare {
        queue: "q",
        durable: true,
        nowait: true,
        ..QueueDeclare::default()
    });
    let bytes = encoded(declare);
    assert_eq!(bytes, b"\x00\x32\x00\x0a\x00\x00\x01q\x12\x00\x00\x00\x00");
    assert_eq!(Method::decode(&bytes), Ok(declare));
}

#[test]
fn a_method_that_does_not_exist_is_named() {
    assert_eq!(
        Method::decode(&[0, 60, 0, 41]),
        Err(MethodError::Unknown {
            class: 60,
            method: 41
        })
    );
    assert_eq!(
        Method::decode(&[0, 60, 0]),
        Err(MethodError::Malformed {
            class: 0,
            method: 0,
            error: DecodeError::Truncated
        })
    );
}

#[test]
fn a_method_must_end_with_its_last_field() {
    let error = DecodeError::TrailingBytes;
    assert_eq!(
        Method::decode(&[0, 90, 0, 10, 0]),
        Err(MethodError::Malformed {
            class: 90,
            method: 10,
            error
        })
    );
}

#[test]
fn frames_are_taken_one_by_one() {
    let mut bytes = Vec::new();
    encode_method(&mut bytes, 7, &Method::TxSelect);
    encode_heartbeat(&mut bytes);
    assert_eq!(
        bytes,
        b"\x01\x00\x07\x00\x00\x00\x04\x00\x5a\x00\x0a\xce\x08\0\0\0\0\0\0\xce"
    );
    let (frame, took) = decode_frame(&bytes, 4096).unwrap().unwrap();
    assert_eq!(
        frame,
        Frame {
            kind: FrameKind::Method,
            channel: 7,
            payload: &[0, 90, 0, 10]
        }
    );
    assert_eq!(took, 12);
    let (frame, took) = decode_frame(&bytes[12..], 4096).unwrap().unwrap();
    assert_eq!(
        frame,
        Frame {
            kind: FrameKind::Heartbeat,
            channel: 0,
            payload: &[]
        }
    );
    assert_eq!(took, 8);
    assert_eq!(decode_frame(&bytes[..11], 4096), Ok(None));
}

#[test]
fn a_frame_may_exceed_the_limit_by_its_overhead_and_no_more() {
    let head = |payload_bytes: u32| {
        let mut bytes = vec![3, 0, 1];
        bytes.extend_from_slice(&payload_bytes.to_be_bytes());
        bytes
    };
    assert_eq!(decode_frame(&head(4096), 4096), Ok(None));
    assert_eq!(
        decode_frame(&head(4097), 4096),
        Err(FrameError::TooLarge {
            kind: 3,
            channel: 1,
            payload_bytes: 4097,
            frame_bytes_max: 4096
        })
    );
    assert_eq!(decode_frame(&head(u32::MAX), 0), Ok(None));
}

#[test]
fn a_frame_of_no_kind_or_without_an_end_is_refused() {
    assert_eq!(
        decode_frame(b"\x04\0\x01\0\0\0\0", 4096),
        Err(FrameError::UnknownKind {
            kind: 4,
            channel: 1
        })
    );
    assert_eq!(
        decode_frame(b"\x03\0\x01\0\0\0\x01x\xcd", 4096),
        Err(FrameError::BadEnd {
            kind: 3,
            channel: 1,
            end: 0xcd
        })
    );
}

#[test]
fn a_body_is_split_into_frames() {
    let mut bytes = Vec::new();
    encode_body(&mut bytes, 1, b"abcde", 10);
    assert_eq!(
        bytes,
        b"\x03\0\x01\0\0\0\x02ab\xce\x03\0\x01\0\0\0\x02cd\xce\x03\0\x01\0\0\0\x01e\xce"
    );
    bytes.clear();
    encode_body(&mut bytes, 1, b"", 10);
    assert_eq!(bytes, b"");
}

#[test]
fn a_delivery_is_what_its_three_parts_are() {
    let properties = b"\x10\x00\x02";
    let mut whole = Vec::new();
    encode_deliver(
        &mut whole,
        3,
        "tag",
        9,
        true,
        b"\x02ex\x03key",
        properties,
        b"body",
        10,
    );
    let mut parts = Vec::new();
    let deliver = BasicDeliver {
        consumer_tag: "tag",
        delivery_tag: 9,
        redelivered: true,
        exchange: "ex",
        routing_key: "key",
    };
    encode_method(&mut parts, 3, &Method::BasicDeliver(deliver));
    encode_content_header(&mut parts, 3, 60, 4, properties);
    encode_body(&mut parts, 3, b"body", 10);
    assert_eq!(whole, parts);
}

#[test]
fn a_delivery_like_the_last_is_the_same_encoded_anew() {
    let (tag, address, properties) = ("tag", b"\x02ex\x03key", b"\x10\x00\x02");
    for body_bytes in [1, 64, 65, 4000] {
        let mut anew = b"before".to_vec();
        let mut again = anew.clone();
        for (number, byte) in [(1, b'a'), (u64::MAX, b'b'), (7, b'c')] {
            let (start, body) = (anew.len(), vec![byte; body_bytes]);
            encode_deliver(
                &mut anew, 3, tag, number, true, address, properties, &body, 4096,
            );
            match number {
                1 => again.extend_from_slice(&anew[start..]),
                _ => encode_deliver_again(&mut again, anew.len() - start, tag, number, &body),
            }
        }
        assert_eq!(anew, again, "{body_bytes}");
    }
}

#[test]
fn a_body_that_is_not_copied_is_in_the_same_frames() {
    for (bytes, frame_bytes_max) in [(0, 10), (1, 10), (2, 10), (3, 10), (9, 12), (3, 0)] {
        let body: Vec<u8> = (0..bytes).collect();
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        encode_body(&mut whole, 3, &body, frame_bytes_max);
        for part in body_frames(body.len(), frame_bytes_max) {
            encode_body_frame_head(&mut parts, 3, part.len());
            parts.extend_from_slice(&body[part]);
            parts.push(FRAME_END);
        }
        assert_eq!(whole, parts, "{bytes} {frame_bytes_max}");
    }
}

#[test]
fn one_frame_is_not_none_and_not_two() {
    for (bytes, frame_bytes_max, expected) in [
        (0, 10, false),
        (1, 10, true),
        (2, 10, true),
        (3, 10, false),
        (3, 0, true),
    ] {
        assert_eq!(is_one_frame(bytes, frame_bytes_max), expected, "{bytes}");
    }
}

#[test]
fn content_header_is_read() {
    let payload = b"\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x10\x00\x02";
    assert_eq!(
        decode_content_header(payload),
        Ok(ContentHeader {
            class: 60,
            body_bytes: 5,
            properties: b"\x10\x00\x02"
        })
    );
    assert_eq!(
        decode_content_header(&payload[..11]),
        Err(DecodeError::Truncated)
    );
    assert_eq!(
        decode_content_header(b"\x00\x3c\x00\x01\x00\x00\x00\x00\x00\x00\x00\x05"),
        Err(DecodeError::WeightNotZero(1))
    );
}

/// One entry of each type, under its type's octet.
fn table_of_all_types() -> FieldTable {
    let mut inner = FieldTable::new();
    inner.set("a", 1);
    let mut table = FieldTable::new();
    table.set("t", true);
    table.set("b", FieldValue::I8(-1));
    table.set("B", FieldValue::U8(255));
    table.set("s", FieldValue::I16(-2));
    table.set("u", FieldValue::U16(65535));
    table.set("I", -3);
    table.set("i", FieldValue::U32(u32::MAX));
    table.set("l", -4i64);
    table.set("f", FieldValue::F32(1.5));
    table.set("d", FieldValue::F64(-2.5));
    table.set(
        "D",
        FieldValue::Decimal {
            scale: 2,
            value: 314,
        },
    );
    table.set("S", "text");
    table.set("x", FieldValue::Bytes(vec![0, 255]));
    table.set(
        "A",
        vec![
            FieldValue::I32(1),
            FieldValue::from("two"),
            FieldValue::Void,
        ],
    );
    table.set("T", FieldValue::Timestamp(1_700_000_000));
    table.set("F", inner);
    table.set("V", FieldValue::Void);
    table
}

#[test]
fn a_table_of_all_types_comes_back() {
    let table = table_of_all_types();
    let bytes = table.encode();
    let view = Table::validate(&bytes).unwrap();
    assert_eq!(view.to_owned(), table);
    assert_eq!(view.to_owned().encode(), bytes);
    for (key, value) in view.iter() {
        assert_eq!(value.to_owned().type_name(), value.type_name());
        assert_eq!(Some(value), view.find(key));
    }
    assert_eq!(view.find("u").unwrap().as_integer(), Some(65535));
    assert_eq!(view.find("S").unwrap().as_str(), Some("text"));
    assert_eq!(view.find("none"), None);
}

#[test]
fn types_have_rabbitmq_names() {
    let table = table_of_all_types();
    let names: Vec<_> = table.iter().map(|(_, value)| value.type_name()).collect();
    assert_eq!(
        names,
        [
            "bool",
            "byte",
            "unsignedbyte",
            "short",
            "unsignedshort",
            "signedint",
            "unsignedint",
            "long",
            "float",
            "double",
            "decimal",
            "longstr",
            "binary",
            "array",
            "timestamp",
            "table",
            "void"
        ]
    );
}

#[test]
fn malformed_tables_are_refused() {
    let check = |bytes: &[u8], error| assert_eq!(Table::validate(bytes).unwrap_err(), error);
    check(b"\x01", DecodeError::Truncated);
    check(b"\x01k", DecodeError::Truncated);
    check(b"\x01kI\0\0\0", DecodeError::Truncated);
    check(b"\x01kS\xff\xff\xff\xff", DecodeError::Truncated);
    check(b"\x01kF\0\0\0\x01\x00", DecodeError::Truncated);
    check(b"\x01k?", DecodeError::UnknownValueType(b'?'));
    check(b"\x01\xffV", DecodeError::InvalidUtf8);
    check(b"\x01kf\x7f\xc0\0\0", DecodeError::FloatNotFinite);
}

#[test]
fn tables_nest_as_deep_as_the_limit_and_no_deeper() {
    // Tables and arrays take turns, and both count.
    let nested = |depth: usize| {
        let innermost = FieldValue::from(FieldTable::new());
        let value = (2..depth).fold(innermost, |inner, level| match level % 2 {
            0 => FieldValue::from(vec![inner]),
            _ => FieldValue::from(FieldTable::from_iter([(String::from("k"), inner)])),
        });
        FieldTable::from_iter([(String::from("k"), value)])
    };
    assert!(Table::validate(&nested(TABLE_DEPTH_MAX).encode()).is_ok());
    let too_deep = nested(TABLE_DEPTH_MAX + 1).encode();
    assert_eq!(
        Table::validate(&too_deep).unwrap_err(),
        DecodeError::TooDeep
    );
}

#[test]
fn set_replaces_in_place_and_remove_takes_out() {
    let mut table = FieldTable::new();
    table.set("a", 1);
    table.set("b", 2);
    table.set("a", "one");
    assert_eq!(
        table.iter().map(|(key, _)| key).collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(table.find("a").unwrap().as_str(), Some("one"));
    assert_eq!(table.remove("a"), Some(FieldValue::from("one")));
    assert_eq!(table.remove("a"), None);
    assert_eq!(table.len(), 1);
}

fn all_properties() -> PropertiesBuf {
    PropertiesBuf {
        content_type: Some("text/plain".into()),
        content_encoding: Some("gzip".into()),
        headers: Some(table_of_all_types()),
        delivery_mode: Some(2),
        priority: Some(9),
        correlation_id: Some("correlation".into()),
        reply_to: Some("reply".into()),
        expiration: Some("60000".into()),
        message_id: Some("message".into()),
        timestamp: Some(1_700_000_000),
        type_: Some("type".into()),
        user_id: Some("guest".into()),
        app_id: Some("app".into()),
        cluster_id: Some("cluster".into()),
    }
}

#[test]
fn all_properties_come_back() {
    let all = all_properties();
    let bytes = all.encode();
    let view = Properties::validate(&bytes).unwrap();
    assert_eq!(view.as_bytes(), bytes);
    assert_eq!(PropertiesBuf::from_view(&view), all);
}

#[test]
fn few_properties_come_back() {
    let view = Properties::validate(b"\x10\x00\x02").unwrap();
    assert_eq!(view.delivery_mode(), Some(2));
    assert_eq!(view.priority(), None);
    assert_eq!(PropertiesBuf::default().encode(), b"\0\0");
    assert_eq!(Properties::EMPTY.as_bytes(), b"\0\0");
}

#[test]
fn flag_bits_without_a_meaning_are_kept() {
    let bytes = b"\x10\x03\x02";
    let view = Properties::validate(bytes).unwrap();
    assert_eq!(view.as_bytes(), bytes);
    assert_eq!(view.delivery_mode(), Some(2));
}

#[test]
fn malformed_properties_are_refused() {
    let check = |bytes: &[u8], error| assert_eq!(Properties::validate(bytes).unwrap_err(), error);
    check(b"", DecodeError::Truncated);
    check(b"\x10", DecodeError::Truncated);
    check(b"\x10\x00", DecodeError::Truncated);
    check(b"\x10\x00\x02\x00", DecodeError::TrailingBytes);
    check(b"\x01\x00\x01\xff", DecodeError::InvalidUtf8);
    check(
        b"\x20\x00\0\0\0\x03\x01k?",
        DecodeError::UnknownValueType(b'?'),
    );
}

#[test]
fn text_that_the_broker_does_not_read_may_be_any_bytes() {
    let bytes = b"\x04\x80\x02\xff\xfe\x01m";
    let view = Properties::validate(bytes).unwrap();
    assert_eq!(view.correlation_id(), None);
    assert_eq!(view.message_id(), Some("m"));
    assert_eq!(view.rewrite(&PropertyChanges::default()), bytes);
}

#[test]
fn rewrite_changes_what_it_is_told_and_nothing_else() {
    let mut all = all_properties();
    let bytes = all.encode();
    let view = Properties::validate(&bytes).unwrap();
    let mut headers = FieldTable::new();
    headers.set("x-death", 1);
    let changes = PropertyChanges {
        headers: Change::Set(&headers),
        reply_to: Change::Set("elsewhere"),
        expiration: Change::Remove,
    };
    let rewritten = view.rewrite(&changes);
    all.headers = Some(headers);
    all.reply_to = Some("elsewhere".into());
    all.expiration = None;
    assert_eq!(rewritten, all.encode());
}

#[test]
fn no_method_is_missing() {
    // As many as RabbitMQ 4.3's amqp-rabbitmq-0.9.1.json lists.
    assert_eq!(NAMES.len(), 66);
}
