//! The codec against itself, and against amq-protocol's.

use amq_protocol::frame::{AMQPFrame, parse_frame};

use crate::{Client, Method, Properties};

const METHODS: [&str; 7] = [
    r#"queue.declare queue="a b" durable nowait arguments={x-max-length: 5, s: "text", n: void}"#,
    "exchange.declare exchange=\"e\" type=\"topic\" auto_delete",
    r#"basic.deliver consumer_tag="c" delivery_tag=7 redelivered exchange="e" routing_key="k""#,
    r#"connection.tune-ok channel_max=2047 frame_max=131072 heartbeat=60"#,
    r#"connection.close reply_code=404 reply_text="gone \"away\"\n" class_id=50 method_id=10"#,
    "basic.nack delivery_tag=3 multiple requeue",
    "tx.select",
];

#[test]
fn text_and_bytes_go_both_ways() {
    for text in METHODS {
        let method = Method::parse(text).expect(text);
        assert_eq!(method.to_string(), text);
        assert_eq!(Method::decode(&method.encode()).expect(text), method);
    }
}

#[test]
fn amq_protocol_reads_what_is_written() {
    for text in METHODS {
        let method = Method::parse(text).expect(text);
        let bytes = Client::encode_frame(1, 5, &method.encode());
        let (rest, frame) = parse_frame(bytes.as_slice()).expect(text);
        assert!(rest.is_empty());
        assert!(
            matches!(frame, AMQPFrame::Method(5, _)),
            "{text}: {frame:?}"
        );
    }
}

#[test]
fn every_field_type_survives() {
    let text = r#"basic.publish headers={b: b:-1, B: B:255, s: s:-300, u: u:65535, i: i:4294967295, l: l:-5, f: f:0.5, d: d:0.1, D: D:2:314, x: x:"\x00\xff", A: [1, "two", {three: 3}], T: T:17, t: true} priority=9 expiration="5""#;
    let (_, properties) = Method::parse_with_properties(text).expect("text");
    let bytes = properties.encode();
    assert_eq!(Properties::decode(&bytes), Some(properties.clone()));
    assert_eq!(format!("basic.publish {properties}"), text);
}

#[test]
fn malformed_bytes_are_refused() {
    assert!(Method::decode(&[]).is_err());
    assert!(Method::decode(&[0, 50, 0, 10, 0, 0, 9, b'x']).is_err());
    assert!(
        Method::decode(&[0, 90, 0, 10, 1]).is_err(),
        "a byte too many"
    );
    assert_eq!(Properties::decode(&[0x80, 0, 5, b'x']), None);
}

#[test]
fn bad_texts_say_where() {
    for text in [
        "queue.nope",
        "queue.declare queue",
        "queue.declare arguments={a",
        "tx.select x=1",
    ] {
        assert!(Method::parse(text).is_err(), "{text}");
    }
}
