//! Very many clients, or clients that only take up room.

use std::io::Write;

use node::settings::Settings;
use probe::{Event, Options};

use crate::broker::{Broker, PATIENCE, read_to_end, wait_until};
use crate::permissions::login;
use crate::service::status_of;

#[test]
fn two_thousand_one_after_the_other() {
    let broker = Broker::new();
    for index in 0..2000 {
        match index % 4 {
            0 => drop(broker.client()),
            1 => drop(broker.socket()),
            2 => broker.client().drop_socket(),
            _ => {
                let mut client = broker.client();
                let line = "queue.declare queue=its-own exclusive";
                // The one before may still be on its way out.
                let declared = client.call(1, line).expect("an answer");
                assert!(
                    ["queue.declare-ok", "channel.close"].contains(&declared.name()),
                    "{declared}"
                );
            }
        }
    }
    broker.check_all_is_well();
}

#[test]
fn five_hundred_at_once() {
    let broker = Broker::new();
    let mut clients: Vec<_> = (0..500).map(|_| broker.client()).collect();
    assert_eq!(broker.node.connections.open_len(), 500);
    for (index, client) in clients.iter_mut().enumerate() {
        let line = format!("queue.declare queue=crowd-{index} exclusive");
        let answer = client.call(1, &line);
        assert_eq!(
            answer.as_ref().map(Event::name),
            Some("queue.declare-ok"),
            "{answer:?}"
        );
    }
    broker.serve_a_healthy_client();
    let grown = broker.grown_bytes();
    assert!(grown < 500 * 64 * 1024, "{grown} bytes for 500 connections");
    drop(clients);
    broker.check_all_is_well();
    assert_eq!(
        broker
            .node
            .vhost("/")
            .expect("there")
            .read(|topology| topology.queues().len()),
        0
    );
}

#[test]
fn who_says_nothing_is_dropped() {
    let broker = Broker::start(Settings {
        handshake_timeout_ms: 300,
        ..Settings::default()
    });
    let mut silent: Vec<_> = (0..100).map(|_| broker.socket()).collect();
    for (index, client) in silent.iter_mut().enumerate().skip(50) {
        client
            .send_bytes(&b"AMQP\0\0\x09\x01"[..index % 9])
            .expect("it is read");
    }
    let mut open = broker.client();
    for client in &mut silent {
        read_to_end(client);
    }
    let alive = open.call(1, "confirm.select");
    assert_eq!(alive.as_ref().map(Event::name), Some("confirm.select-ok"));
    drop(open);
    broker.check_all_is_well();
}

#[test]
fn who_is_refused_waits_and_is_dropped() {
    let broker = Broker::new();
    let options = Options {
        password: "wrong".into(),
        capabilities: vec![],
        ..Options::default()
    };
    assert!(probe::Client::open(broker.address, &options).is_err());
    broker.check_all_is_well();
}

#[test]
fn no_more_connections_than_allowed() {
    let broker = Broker::start(Settings {
        connections_max: 10,
        ..Settings::default()
    });
    wait_until("the first is gone", || {
        broker.node.connections.accepted_len() == 0
    });
    let mut clients: Vec<_> = (0..10).map(|_| broker.client()).collect();
    for _ in 0..20 {
        let mut refused = broker.socket();
        let _ = refused.send_bytes(b"AMQP\0\0\x09\x01");
        let events = read_to_end(&mut refused);
        assert!(matches!(events[..], [Event::Eof(_)]), "{events:?}");
    }
    for client in &mut clients {
        let answer = client.call(1, "confirm.select");
        assert_eq!(answer.as_ref().map(Event::name), Some("confirm.select-ok"));
    }
    drop(clients.pop());
    wait_until("there is room", || {
        broker.node.connections.accepted_len() == 9
    });
    broker.serve_a_healthy_client();
    drop(clients);
    broker.check_all_is_well();
}

#[test]
fn very_many_channels_and_consumers() {
    let broker = Broker::new();
    let mut client = broker.client();
    let mut bytes = Vec::new();
    let mut say = |channel: u16, line: &str| {
        bytes.extend(client.encode(channel, line, b"").expect("a line of ours"));
    };
    say(1, "queue.declare queue=many exclusive");
    for channel in 2..2048_u16 {
        say(channel, "channel.open");
        for _ in 0..5 {
            say(channel, "basic.consume queue=many");
        }
    }
    client.send_bytes(&bytes).expect("it is read");
    for _ in 0..1 + 2046 * 6 {
        let heard = client.next(PATIENCE).expect("an answer");
        assert!(heard.name().ends_with("-ok"), "{heard}");
    }
    // One channel more than agreed.
    client.send(2048, "channel.open", b"").expect("it is read");
    let refused = client.next(PATIENCE).expect("an answer");
    assert!(refused.to_string().contains("reply_code=530"), "{refused}");
    drop(client);
    broker.check_all_is_well();
}

/// Clients that hold connections to the API, and nothing else, keep nobody out of it.
#[test]
fn three_thousand_silent_http_connections_keep_nobody_out() {
    let (broker, http) = Broker::with_api();
    let mut silent = Vec::new();
    for number in 0..3000 {
        let mut socket = std::net::TcpStream::connect(http).expect("it listens");
        if number % 2 == 0 {
            // Half a request is no request. It may be that the place is gone already.
            let _ = socket.write_all(b"GET /api/whoami HTTP/1.1\r\nhost: x\r\n");
        }
        silent.push(socket);
        if number % 500 == 0 {
            let status = status_of(http, "GET", "/api/whoami", &login("guest"), "");
            assert_eq!(status, 200, "with {number} silent ones");
        }
    }
    let status = status_of(http, "GET", "/api/whoami", &login("guest"), "");
    assert_eq!(status, 200);
    drop(silent);
    drop(broker);
}
