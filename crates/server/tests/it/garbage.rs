//! Clients that send what is no AMQP, or only a part of it.

use node::settings::Settings;
use probe::{Client, Event, Field, Options};

use crate::broker::{Broker, PATIENCE, read_to_end};

/// Numbers that look random and are the same each time.
fn bytes_of(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn random_bytes_instead_of_a_header() {
    let broker = Broker::new();
    for seed in 0..200 {
        let mut client = broker.socket();
        // The broker may close before all of it is written.
        let _ = client.send_bytes(&bytes_of(seed, 8 + 50 * seed as usize));
        let events = read_to_end(&mut client);
        let refused = [Event::ProtocolHeader([0, 0, 9, 1]), Event::Eof(true)];
        assert!(refused.contains(&events[0]), "seed {seed}: {events:?}");
    }
    broker.check_all_is_well();
}

#[test]
fn random_bytes_after_the_header_and_after_the_handshake() {
    let broker = Broker::start(Settings {
        handshake_timeout_ms: 500,
        ..Settings::default()
    });
    for seed in 0..100 {
        let mut client = broker.socket();
        let mut bytes = b"AMQP\0\0\x09\x01".to_vec();
        bytes.extend(bytes_of(seed, 1 + 20 * seed as usize));
        let _ = client.send_bytes(&bytes);
        let heard = client.next(PATIENCE);
        assert_eq!(heard.as_ref().map(Event::name), Some("connection.start"));
        let mut client = broker.client();
        let _ = client.send_bytes(&bytes_of(seed, 7 + 20 * seed as usize));
        // Some of it is the beginning of a frame, for which the broker waits.
        drop(client);
    }
    broker.check_all_is_well();
}

/// What a client sends in a whole session.
fn session(client: &Client) -> Vec<u8> {
    let lines = [
        "queue.declare queue=cut exclusive",
        "confirm.select",
        "basic.consume queue=cut consumer_tag=c",
        "basic.publish routing_key=cut delivery_mode=2",
        "basic.get queue=cut",
        "basic.ack delivery_tag=1",
    ];
    let encode = |line: &str| {
        client
            .encode(1, line, &[b'x'; 300])
            .expect("a line of ours")
    };
    lines.iter().flat_map(|line| encode(line)).collect()
}

#[test]
fn sessions_cut_short_at_every_stage() {
    let broker = Broker::new();
    let whole = session(&broker.client());
    for cut in (0..whole.len()).step_by(3) {
        let mut client = broker.client();
        client.send_bytes(&whole[..cut]).expect("it is read");
        client.drop_socket();
    }
    broker.check_all_is_well();
    assert!(
        broker
            .node
            .vhost("/")
            .expect("there")
            .find_queue("cut")
            .is_err()
    );
}

#[test]
fn handshakes_cut_short_at_every_stage() {
    let broker = Broker::new();
    for cut in 0..8 {
        let mut client = broker.socket();
        client
            .send_bytes(&b"AMQP\0\0\x09\x01"[..cut])
            .expect("it is read");
        client.drop_socket();
    }
    for cut in 0..40 {
        let mut client = broker.socket();
        client
            .send_bytes(b"AMQP\0\0\x09\x01\x01\0\0\0\0\x01\0\0\x0a\0\x0b")
            .expect("it is read");
        client
            .send_bytes(&bytes_of(cut, cut as usize))
            .expect("it is read");
        client.drop_socket();
    }
    broker.check_all_is_well();
}

#[test]
fn frames_of_absurd_length() {
    let broker = Broker::new();
    for length in [131_073_u32, 1 << 24, 1 << 31, u32::MAX] {
        for kind in [1, 2, 3, 8] {
            let mut client = broker.client();
            let mut bytes = vec![kind, 0, 1];
            bytes.extend_from_slice(&length.to_be_bytes());
            client.send_bytes(&bytes).expect("it is read");
            let heard = client.next(PATIENCE).expect("it is refused at once");
            assert!(heard.to_string().contains("reply_code=501"), "{heard}");
        }
    }
    // During the handshake frames are smaller.
    let mut client = broker.socket();
    client
        .send_bytes(b"AMQP\0\0\x09\x01\x01\0\0\0\0\x40\0")
        .expect("it is read");
    let start = client.next(PATIENCE);
    assert_eq!(start.as_ref().map(Event::name), Some("connection.start"));
    let refused = client.next(PATIENCE).expect("an answer");
    assert!(refused.to_string().contains("reply_code=501"), "{refused}");
    client.drop_socket();
    broker.check_all_is_well();
}

#[test]
fn tables_that_nest_without_end() {
    let broker = Broker::new();
    let mut nested = Field::Bool(true);
    for _ in 0..300 {
        nested = Field::Table(vec![(b"k".to_vec(), nested)]);
    }
    let options = Options {
        properties: vec![(b"k".to_vec(), nested.clone())],
        ..Options::default()
    };
    assert!(Client::open(broker.address, &options).is_err());
    let mut client = broker.client();
    let declare = probe::Method::parse("queue.declare queue=nested exclusive").expect("a line");
    let declare = declare.with("arguments", vec![(b"k".to_vec(), nested)]);
    client.send_method(1, &declare).expect("it is read");
    let refused = client.next(PATIENCE).expect("an answer");
    assert_eq!(refused.name(), "connection.close", "{refused}");
    drop(client);
    broker.check_all_is_well();
}

#[test]
fn headers_that_announce_much_and_bring_nothing() {
    let broker = Broker::new();
    let mut client = broker.client();
    let mut bytes = Vec::new();
    for channel in 2..1002_u16 {
        let line = |line| client.encode(channel, line, b"").expect("a line of ours");
        bytes.extend(line("channel.open"));
        let publish = line("basic.publish routing_key=nowhere");
        // Up to the body size, which is made 16 MiB.
        bytes.extend_from_slice(&publish[..publish.len() - 11]);
        bytes.extend_from_slice(&(16_u64 << 20).to_be_bytes());
        bytes.extend_from_slice(&publish[publish.len() - 3..]);
    }
    client.send_bytes(&bytes).expect("it is read");
    for _ in 2..1002 {
        let heard = client.next(PATIENCE);
        assert_eq!(
            heard.as_ref().map(Event::name),
            Some("channel.open-ok"),
            "{heard:?}"
        );
    }
    let answer = client.call(1, "confirm.select");
    assert_eq!(
        answer.as_ref().map(Event::name),
        Some("confirm.select-ok"),
        "{answer:?}"
    );
    let grown = broker.grown_bytes();
    assert!(grown < 8 << 20, "{grown} bytes for 1000 headers");
    broker.serve_a_healthy_client();
    drop(client);
    broker.check_all_is_well();
}
