//! Clients that send too much, or do not read what they asked for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use node::settings::Settings;
use probe::{Client, Event};
use wire::amqp091::PROTOCOL_HEADER;
use wire::amqp091::frame::encode_method;
use wire::amqp091::method::{ConnectionOpen, ConnectionStartOk, ConnectionTuneOk, Method};
use wire::amqp091::table::Table;

use crate::broker::{Broker, PATIENCE};

/// What the two sockets between a client and the broker may swallow.
const SOCKETS_BYTES_MAX: u64 = 24 << 20;

const BODY_BYTES: usize = 100_000;

/// Publishes `count` bodies to a queue, waiting for a confirm now and then.
fn publish(client: &mut Client, queue: &str, count: usize) {
    let answer = client.call(1, "confirm.select");
    assert_eq!(answer.as_ref().map(Event::name), Some("confirm.select-ok"));
    let line = format!("basic.publish routing_key={queue}");
    let one = client
        .encode(1, &line, &vec![b'x'; BODY_BYTES])
        .expect("a line of ours");
    let mut confirmed = 0;
    for sent in 1..=count as u64 {
        client.send_bytes(&one).expect("it is read");
        while sent - confirmed >= 100 || (sent == count as u64 && confirmed < sent) {
            let event = client.next(PATIENCE).expect("a confirm");
            assert_eq!(event.name(), "basic.ack", "{event}");
            confirmed = event
                .method()
                .map_or(0, |method| method.number("delivery_tag"));
        }
    }
}

#[test]
fn a_reader_that_stops() {
    // The machine of the test may be small.
    let broker = Broker::start(Settings {
        memory_watermark_permille: 1000,
        ..Settings::default()
    });
    let mut publisher = broker.client();
    let answer = publisher.call(1, "queue.declare queue=stopped");
    assert_eq!(answer.as_ref().map(Event::name), Some("queue.declare-ok"));
    let mut reader = broker.client();
    let answer = reader.call(1, "basic.consume queue=stopped consumer_tag=c no_ack");
    assert_eq!(answer.as_ref().map(Event::name), Some("basic.consume-ok"));
    // 200 MB, and the reader does not read.
    let count = 2000;
    publish(&mut publisher, "stopped", count);
    let handed_out = (count as u64 - broker.ready("stopped")) * BODY_BYTES as u64;
    assert!(
        handed_out < SOCKETS_BYTES_MAX,
        "{handed_out} bytes handed out"
    );
    let queued = broker.ready("stopped") as isize * BODY_BYTES as isize;
    let beside = broker.grown_bytes() - queued;
    assert!(beside < 16 << 20, "{beside} bytes beside the queue");
    broker.serve_a_healthy_client();
    // It goes on reading and has missed nothing.
    for tag in 1..=100 {
        let event = reader.next(PATIENCE).expect("a delivery");
        assert_eq!(
            event.method().map(|method| method.number("delivery_tag")),
            Some(tag)
        );
    }
    let answer = publisher.call(1, "queue.delete queue=stopped");
    assert_eq!(answer.as_ref().map(Event::name), Some("queue.delete-ok"));
    drop((publisher, reader));
    broker.check_all_is_well();
}

#[test]
fn a_publisher_that_floods_a_short_queue() {
    let broker = Broker::new();
    let mut publisher = broker.client();
    let answer = publisher.call(1, "queue.declare queue=short arguments={x-max-length: 100}");
    assert_eq!(
        answer.as_ref().map(Event::name),
        Some("queue.declare-ok"),
        "{answer:?}"
    );
    publish(&mut publisher, "short", 2000);
    assert_eq!(broker.ready("short"), 100);
    let grown = broker.grown_bytes();
    assert!(
        grown < 100 * BODY_BYTES as isize + (16 << 20),
        "{grown} bytes"
    );
    let answer = publisher.call(1, "queue.delete queue=short");
    assert_eq!(answer.as_ref().map(Event::name), Some("queue.delete-ok"));
    drop(publisher);
    broker.check_all_is_well();
}

/// Writes the same bytes until the broker takes no more; how many it took.
fn write_until_stuck(socket: &mut TcpStream, bytes: &[u8], most: usize) -> usize {
    let patience = Some(Duration::from_secs(2));
    socket.set_write_timeout(patience).expect("a socket");
    let mut written = 0;
    while written < most {
        match socket.write(bytes) {
            Ok(count) => written += count,
            Err(_) => return written,
        }
    }
    written
}

/// All that a client says to have channel 1, at once.
fn handshake() -> Vec<u8> {
    let mut out = PROTOCOL_HEADER.to_vec();
    let start_ok = ConnectionStartOk {
        client_properties: Table::EMPTY,
        mechanism: "PLAIN",
        response: b"\0guest\0guest",
        locale: "en_US",
    };
    let tune_ok = ConnectionTuneOk {
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat: 0,
    };
    let open = ConnectionOpen { virtual_host: "/" };
    encode_method(&mut out, 0, &Method::ConnectionStartOk(start_ok));
    encode_method(&mut out, 0, &Method::ConnectionTuneOk(tune_ok));
    encode_method(&mut out, 0, &Method::ConnectionOpen(open));
    encode_method(&mut out, 1, &Method::ChannelOpen);
    out
}

#[test]
fn who_does_not_read_its_returns_is_not_read_from() {
    let broker = Broker::new();
    let line = "basic.publish routing_key=nowhere mandatory";
    let one = broker.client().encode(1, line, &vec![b'x'; BODY_BYTES]);
    let one = one.expect("a line of ours");
    let mut socket = TcpStream::connect(broker.address).expect("it is accepted");
    socket.write_all(&handshake()).expect("it is read");
    let most = 400 << 20;
    let written = write_until_stuck(&mut socket, &one.repeat(10), most);
    assert!(written < most, "all of it was read");
    let grown = broker.grown_bytes();
    assert!(
        grown < 16 << 20,
        "{grown} bytes for a client that does not read"
    );
    broker.serve_a_healthy_client();
    let mut some = [0; 1000];
    socket.read_exact(&mut some).expect("it was answered");
    drop(socket);
    broker.check_all_is_well();
}

#[test]
fn bodies_that_never_end() {
    let broker = Broker::new();
    let mut clients: Vec<_> = (0..20).map(|_| broker.client()).collect();
    for client in &mut clients {
        let whole = client.encode(1, "basic.publish routing_key=nowhere", &vec![b'x'; 1 << 20]);
        let whole = whole.expect("a line of ours");
        client
            .send_bytes(&whole[..whole.len() - 2])
            .expect("it is read");
    }
    broker.serve_a_healthy_client();
    let grown = broker.grown_bytes();
    assert!(grown < 60 << 20, "{grown} bytes for 20 MiB of bodies");
    drop(clients);
    broker.check_all_is_well();
}
