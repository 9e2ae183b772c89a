//! How bytes may arrive: in pieces, all at once, or not as they should.

use wire::amqp091::frame::{encode_body, encode_content_header, encode_method};
use wire::amqp091::method::{BasicPublish, ConnectionClose, Method};

use crate::pair::{Login, World, frame_ends, handshake};
use crate::script;

/// A whole session, from the header to the close, and what it hears after the handshake.
const SESSION: &str = "
    [1] channel.open
    [1] queue.declare q x-message-ttl=60000
    [1] confirm.select
    [1] basic.publish - q hello priority=3 h=text
    [1] basic.publish - q
    [1] basic.publish - nowhere lost mandatory
    [1] basic.publish - q 9000*
    [1] basic.get q
    [1] basic.ack 1
    [1] basic.get q no-ack
    [1] queue.purge q
    [1] channel.close
    [0] connection.close";

const ANSWERS: [&str; 12] = [
    "[1] channel.open-ok",
    "[1] queue.declare-ok q 0 0",
    "[1] confirm.select-ok",
    "[1] basic.return 312 NO_ROUTE - nowhere lost",
    "[1] basic.ack ..4",
    "[1] basic.get-ok 1 left=2 h=text hello",
    "[1] basic.get-ok 2 left=1 ",
    "[1] queue.purge-ok 1",
    "[1] channel.close-ok",
    "[0] connection.close-ok",
    "",
    "",
];

fn session_bytes() -> Vec<u8> {
    let login = Login {
        frame_max: 4096,
        ..Login::default()
    };
    let mut bytes = handshake(&login);
    let lines = SESSION.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty()) {
        script::encode(&mut bytes, line, 4096);
    }
    bytes
}

/// Acks aside, for how they are put together depends on how the input was cut.
fn without_acks(lines: &[String]) -> Vec<String> {
    let kept = lines.iter().filter(|line| !line.contains("basic.ack"));
    kept.cloned().collect()
}

#[test]
fn a_whole_session_in_one_input() {
    let world = World::new();
    let mut client = world.accept(true);
    client.send(&session_bytes());
    let heard = client.hear();
    assert_eq!(heard[3..], ANSWERS[..heard.len() - 3]);
    assert!(client.is_closed());
}

#[test]
fn a_session_cut_in_two_at_every_byte() {
    let bytes = session_bytes();
    for cut in 0..bytes.len() {
        let world = World::new();
        let mut client = world.accept(true);
        client.send(&bytes[..cut]);
        client.send(&bytes[cut..]);
        let heard = client.hear();
        let expected: Vec<String> = ANSWERS[..10].iter().map(|line| (*line).into()).collect();
        assert_eq!(
            without_acks(&heard[3..]),
            without_acks(&expected),
            "cut at {cut}"
        );
        assert!(client.is_closed(), "cut at {cut}");
    }
}

#[test]
fn a_session_byte_by_byte() {
    let world = World::new();
    let mut client = world.accept(true);
    for byte in session_bytes() {
        client.send(&[byte]);
    }
    let heard = client.hear();
    let acks = heard.iter().filter(|line| line.contains("basic.ack"));
    assert_eq!(acks.count(), 4, "each publish was alone");
    assert!(client.is_closed());
}

#[test]
fn a_body_comes_in_frames_of_any_size() {
    let world = World::new();
    let mut client = world.client();
    client.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    for frame_max in [9, 10, 100, 4096, 131_072] {
        let mut bytes = Vec::new();
        script::encode(&mut bytes, "[1] basic.publish - q 5000*", frame_max);
        client.send(&bytes);
        client.ask(
            "[1] basic.get q no-ack",
            &[&format!(
                "[1] basic.get-ok {} left=0 5000*",
                [9, 10, 100, 4096, 131_072]
                    .iter()
                    .position(|max| *max == frame_max)
                    .unwrap()
                    + 1
            )],
        );
    }
}

#[test]
fn empty_body_frames_are_no_body() {
    let world = World::new();
    let mut client = world.client();
    client.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    let mut bytes = publish_method();
    encode_content_header(&mut bytes, 1, 60, 2, &[0, 0]);
    for body in ["", "a", "", "b"] {
        bytes.extend_from_slice(&[3, 0, 1, 0, 0, 0, body.len() as u8]);
        bytes.extend_from_slice(body.as_bytes());
        bytes.push(0xCE);
    }
    client.send(&bytes);
    client.ask("[1] basic.get q", &["[1] basic.get-ok 1 left=0 ab"]);
}

#[test]
fn contents_of_channels_may_interleave() {
    let world = World::new();
    let mut client = world.client();
    client.open(2);
    client.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    let mut parts = Vec::new();
    for channel in [1, 2] {
        let mut bytes = Vec::new();
        let line = format!("[{channel}] basic.publish - q 7{channel}");
        script::encode(&mut bytes, &line, 9);
        parts.push(bytes);
    }
    let ends: Vec<_> = parts.iter().map(|bytes| frame_ends(bytes)).collect();
    let mut from = [0, 0];
    for (first, second) in ends[0].iter().zip(&ends[1]) {
        for (channel, end) in [(1, *second), (0, *first)] {
            client.send(&parts[channel][from[channel]..end]);
            from[channel] = end;
        }
    }
    client.say("[1] basic.get q no-ack\n[1] basic.get q no-ack");
    assert_eq!(client.bodies(), ["72", "71"]);
}

fn publish_method() -> Vec<u8> {
    let mut bytes = Vec::new();
    let publish = BasicPublish {
        exchange: "",
        routing_key: "q",
        mandatory: false,
        immediate: false,
    };
    encode_method(&mut bytes, 1, &Method::BasicPublish(publish));
    bytes
}

#[track_caller]
fn refused(bytes: &[u8], answer: &str) {
    let world = World::new();
    let mut client = world.client();
    client.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    client.send(bytes);
    let heard = client.hear();
    assert!(
        heard.last().is_some_and(|line| line.starts_with(answer)),
        "{answer}: {heard:?}"
    );
    assert_eq!(world.counts("q"), "0/0/0");
    drop(client);
    assert_eq!(world.node.connections.accepted_len(), 0);
}

#[test]
fn content_out_of_order_closes_the_connection() {
    let answer = "[0] connection.close 505 UNEXPECTED_FRAME - ";
    let mut header = Vec::new();
    encode_content_header(&mut header, 1, 60, 5, &[0, 0]);
    let mut body = Vec::new();
    encode_body(&mut body, 1, b"hello", 4096);
    let method = publish_method();
    refused(&header, answer);
    refused(&body, answer);
    refused(&[method.clone(), body.clone()].concat(), answer);
    refused(&[method.clone(), method.clone()].concat(), answer);
    refused(
        &[method.clone(), header.clone(), header.clone()].concat(),
        answer,
    );
    refused(
        &[method.clone(), header.clone(), method.clone()].concat(),
        answer,
    );
    let mut long = Vec::new();
    encode_body(&mut long, 1, b"longer", 4096);
    refused(
        &[method.clone(), header, long].concat(),
        "[0] connection.close 501 FRAME_ERROR - content body frame exceeds remaining content size",
    );
    let mut queue_class = method;
    encode_content_header(&mut queue_class, 1, 50, 5, &[0, 0]);
    refused(&queue_class, answer);
}

#[test]
fn malformed_frames_close_the_connection() {
    let frame_error = "[0] connection.close 501 FRAME_ERROR - ";
    refused(&[1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 40, 0xCD], frame_error);
    refused(&[1, 0, 1, 0xff, 0xff, 0xff, 0xff], frame_error);
    refused(&[3, 0, 1, 0, 2, 0, 1], frame_error);
    refused(&[7, 0, 1, 0, 0, 0, 0, 0xCE], "[0] connection.close 50");
    // A method of no class, a class of no method, a method cut short.
    refused(
        &[1, 0, 1, 0, 0, 0, 4, 0, 61, 0, 40, 0xCE],
        "[0] connection.close 50",
    );
    refused(
        &[1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 41, 0xCE],
        "[0] connection.close 50",
    );
    refused(
        &[1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 80, 0xCE],
        "[0] connection.close 50",
    );
    refused(&[1, 0, 1, 0, 0, 0, 0, 0xCE], "[0] connection.close 50");
}

#[test]
fn malformed_properties_close_the_connection() {
    for properties in [&[0x80, 0][..], &[0x80, 0, 9, b'x'], &[0x20, 0, 0, 0, 0, 9]] {
        let mut bytes = publish_method();
        encode_content_header(&mut bytes, 1, 60, 0, properties);
        refused(&bytes, "[0] connection.close 50");
    }
}

#[test]
fn nothing_is_read_after_a_connection_error() {
    let world = World::new();
    let mut client = world.client();
    let mut bytes = Vec::new();
    script::encode(&mut bytes, "[7] basic.ack 1", 4096);
    script::encode(&mut bytes, "[1] queue.declare q", 4096);
    client.send(&bytes);
    client.expect(&["[0] connection.close 504 CHANNEL_ERROR - expected 'channel.open'"]);
    assert_eq!(world.counts("q"), "gone");
}

#[test]
fn garbage_after_a_frame_error_is_thrown_away() {
    let world = World::new();
    let mut client = world.client();
    client.send(&[9; 100]);
    assert!(client.hear()[0].starts_with("[0] connection.close 501"));
    client.send(&[9; 100_000]);
    client.expect(&[]);
    assert_eq!(client.unread_bytes(), 0);
    client.say("[0] connection.close-ok");
    assert!(client.is_closed());
}

#[test]
fn a_content_frame_on_channel_0_is_no_method() {
    let world = World::new();
    let mut client = world.client();
    let mut bytes = Vec::new();
    encode_method(
        &mut bytes,
        0,
        &Method::ConnectionClose(ConnectionClose::default()),
    );
    bytes[0] = 3;
    client.send(&bytes);
    let heard = client.hear();
    assert!(heard[0].starts_with("[0] connection.close 50"), "{heard:?}");
}

#[test]
fn a_heartbeat_belongs_on_channel_0() {
    let world = World::new();
    let mut client = world.client();
    client.ask("[0] heartbeat", &[]);
    client.send(&[8, 0, 1, 0, 0, 0, 0, 0xCE]);
    let heard = client.hear();
    assert!(heard[0].starts_with("[0] connection.close 50"), "{heard:?}");
}

#[test]
fn a_message_too_large_closes_its_channel_and_loses_nothing() {
    let world = World::with(node::settings::Settings {
        message_bytes_max: 1000,
        ..Default::default()
    });
    let mut client = world.client();
    client.open(2);
    client.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    client.ask(
        "[1] basic.publish - q 1000*
         [1] basic.publish - q 1001*
         [1] basic.publish - q late
         [2] basic.publish - q other",
        &["[1] channel.close 406 PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000"],
    );
    assert_eq!(world.counts("q"), "2/0/0");
    client.say("[1] channel.close-ok");
    client.open(1);
    client.say("[1] basic.get q no-ack\n[1] basic.get q no-ack");
    assert_eq!(client.bodies(), ["1000*", "other"]);
}
