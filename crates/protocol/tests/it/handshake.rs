//! From the protocol header to an open connection, heartbeats, and the end.

use node::settings::Settings;
use wire::amqp091::PROTOCOL_HEADER;
use wire::amqp091::frame::encode_method;
use wire::amqp091::method::{ConnectionTuneOk, Method};
use wire::amqp091::table::{FieldTable, FieldValue};

use crate::pair::{Login, World, encode_start_ok, frame_ends, handshake, name_of};

const REFUSED: &str = "[0] connection.close 403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. \
     For details see the broker logfile.";

#[test]
fn a_handshake_step_by_step() {
    let world = World::new();
    let mut client = world.accept(true);
    client.expect(&[]);
    client.send(&PROTOCOL_HEADER);
    let start = client.hear();
    assert_eq!(start.len(), 1);
    assert_eq!(name_of(&start[0]), "connection.start");
    let whole = handshake(&Login::default());
    let ends = frame_ends(&whole[8..]);
    client.send(&whole[8..8 + ends[0]]);
    client.expect(&["[0] connection.tune 2047 131072 60"]);
    client.send(&whole[8 + ends[0]..8 + ends[1]]);
    client.expect(&[]);
    assert_eq!(world.node.connections.open_len(), 0);
    client.send(&whole[8 + ends[1]..]);
    client.expect(&["[0] connection.open-ok"]);
    assert_eq!(world.node.connections.open_len(), 1);
    client.ask("[0] connection.close", &["[0] connection.close-ok"]);
    assert!(client.is_closed());
    drop(client);
    assert_eq!(world.node.connections.open_len(), 0);
    assert_eq!(world.node.connections.accepted_len(), 0);
}

#[test]
fn a_header_of_another_protocol_is_answered_with_ours() {
    for header in [*b"AMQP\0\x01\0\0", *b"AMQP\x02\x01\x01\x01", *b"GET / HT"] {
        let world = World::new();
        let mut client = world.accept(true);
        client.send(&header);
        client.expect(&["AMQP [0, 0, 9, 1]"]);
        assert!(client.is_closed());
    }
}

#[test]
fn amqp_0_9_is_served_as_0_9_1() {
    let world = World::new();
    let mut client = world.accept(true);
    client.send(b"AMQP\x01\x01\x00\x09");
    assert_eq!(name_of(&client.hear()[0]), "connection.start");
}

#[test]
fn every_step_has_the_same_deadline() {
    let whole = handshake(&Login::default());
    let ends = frame_ends(&whole[8..]);
    for said in [0, 3, 8, 8 + ends[0], 8 + ends[1]] {
        let world = World::new();
        let mut client = world.accept(true);
        client.send(&whole[..said]);
        world.pass(9_999);
        client.hear();
        assert!(!client.is_closed(), "after {said} bytes");
        world.pass(1);
        client.expect(&[]);
        assert!(client.is_closed(), "after {said} bytes");
    }
}

#[test]
fn an_open_connection_has_no_deadline() {
    let world = World::new();
    let mut client = world.connect();
    world.pass(1_000_000);
    client.expect(&[]);
    assert!(!client.is_closed());
}

#[test]
fn a_refused_login_is_told_where_it_is_understood() {
    let world = World::new();
    let mut client = world.accept(true);
    let mut bytes = PROTOCOL_HEADER.to_vec();
    encode_start_ok(&mut bytes, &Login::of("guest", "wrong"));
    client.send(&bytes);
    // Not at once, so that passwords cannot be tried quickly.
    assert_eq!(client.hear().len(), 1);
    world.pass(999);
    client.expect(&[]);
    world.pass(1);
    client.expect(&[REFUSED]);
    client.say("[0] connection.close-ok");
    assert!(client.is_closed());
}

#[test]
fn a_refused_login_is_met_with_silence_where_not() {
    let world = World::new();
    let mut client = world.accept(true);
    let login = Login {
        capabilities: vec![],
        ..Login::of("nobody", "x")
    };
    let mut bytes = PROTOCOL_HEADER.to_vec();
    encode_start_ok(&mut bytes, &login);
    client.send(&bytes);
    assert_eq!(client.hear().len(), 1);
    assert!(!client.is_closed());
    world.pass(999);
    client.expect(&[]);
    assert!(!client.is_closed());
    world.pass(1);
    client.expect(&[]);
    assert!(client.is_closed());
}

#[test]
fn guest_comes_from_loopback_only() {
    let world = World::new();
    let mut client = world.accept(false);
    let mut bytes = PROTOCOL_HEADER.to_vec();
    encode_start_ok(&mut bytes, &Login::default());
    client.send(&bytes);
    world.pass(1000);
    assert_eq!(client.hear()[1..], [REFUSED]);
}

#[test]
fn mechanisms() {
    let mut table = FieldTable::new();
    table.set("LOGIN", FieldValue::LongStr(b"guest".to_vec()));
    table.set("PASSWORD", FieldValue::LongStr(b"guest".to_vec()));
    let tune = "[0] connection.tune 2047 131072 60";
    let cases: [(&str, Vec<u8>, &str); 7] = [
        ("PLAIN", b"\0guest\0guest".to_vec(), tune),
        ("PLAIN", b"other\0guest\0guest".to_vec(), "501|502"),
        ("AMQPLAIN", table.encode(), tune),
        ("ANONYMOUS", b"anyone".to_vec(), tune),
        ("PLAIN", b"guest".to_vec(), "501|502"),
        ("AMQPLAIN", b"\xff\xff".to_vec(), "501|502"),
        ("MAGIC", vec![], "530|540"),
    ];
    for (mechanism, response, answer) in cases {
        let world = World::new();
        let mut client = world.accept(true);
        let login = Login {
            mechanism,
            response,
            ..Login::default()
        };
        let mut bytes = PROTOCOL_HEADER.to_vec();
        encode_start_ok(&mut bytes, &login);
        client.send(&bytes);
        let heard = client.hear().pop().expect("an answer");
        match answer.split_once('|') {
            None => assert_eq!(heard, answer),
            Some(_) => assert!(heard.starts_with("[0] connection.close "), "{heard}"),
        }
    }
}

/// It is offered only where it is configured, as in RabbitMQ: clients take it before any other, also those that mean to
/// log in with a password.
#[test]
fn external_logs_in_whom_the_transport_proved() {
    let cases = [
        (true, Some("guest"), "[0] connection.tune 2047 131072 60"),
        (
            true,
            Some("nobody"),
            "[0] connection.close 403 ACCESS_REFUSED",
        ),
        (true, None, "[0] connection.close 530 NOT_ALLOWED"),
        (false, Some("guest"), "[0] connection.close 530 NOT_ALLOWED"),
    ];
    for (is_configured, proved, answer) in cases {
        let configured = ["PLAIN", "EXTERNAL"].map(str::to_owned).to_vec();
        let world = World::with(Settings {
            auth_mechanisms: is_configured.then_some(configured),
            ..Settings::default()
        });
        let mut client = world.accept_proved(true, proved.map(str::to_owned));
        let login = Login {
            mechanism: "EXTERNAL",
            response: Vec::new(),
            ..Login::default()
        };
        let mut bytes = PROTOCOL_HEADER.to_vec();
        encode_start_ok(&mut bytes, &login);
        client.send(&bytes);
        world.pass(1000);
        let heard = client.hear().pop().expect("an answer");
        assert!(heard.starts_with(answer), "{proved:?}: {heard}");
    }
}

#[test]
fn limits_are_negotiated_down_and_never_up() {
    let cases = [
        (2047, 131_072, None),
        (1, 4096, None),
        (
            2048,
            131_072,
            Some("negotiated channel_max = 2048 is higher than the maximum allowed value (2047)"),
        ),
        (
            0,
            131_072,
            Some("negotiated channel_max = 0 is higher than the maximum allowed value (2047)"),
        ),
        (
            2047,
            131_073,
            Some("negotiated frame_max = 131073 is higher than the maximum allowed value (131072)"),
        ),
        (
            2047,
            0,
            Some("negotiated frame_max = 0 is higher than the maximum allowed value (131072)"),
        ),
        (
            2047,
            4095,
            Some("negotiated frame_max = 4095 is lower than the minimum allowed value (4096)"),
        ),
    ];
    for (channel_max, frame_max, refused) in cases {
        let world = World::new();
        let mut client = world.accept(true);
        client.send(&handshake(&Login {
            channel_max,
            frame_max,
            ..Login::default()
        }));
        let heard = client.hear();
        let last = match refused {
            None => "[0] connection.open-ok".to_owned(),
            Some(text) => format!("[0] connection.close 530 NOT_ALLOWED - {text}"),
        };
        assert_eq!(heard.last(), Some(&last), "{channel_max} {frame_max}");
    }
}

#[test]
fn zero_is_unlimited_where_we_have_no_limit() {
    let world = World::with(Settings {
        channel_max: 0,
        frame_bytes_max: 0,
        ..Settings::default()
    });
    let login = Login {
        channel_max: 0,
        frame_max: 0,
        ..Login::default()
    };
    let mut client = world.connect_as(&login);
    client.ask("[65535] channel.open", &["[65535] channel.open-ok"]);
}

#[test]
fn a_channel_above_the_agreed_number_closes_the_connection() {
    let world = World::new();
    let login = Login {
        channel_max: 2,
        ..Login::default()
    };
    let mut client = world.connect_as(&login);
    client.open(1);
    client.open(2);
    client.say("[3] channel.open");
    let heard = client.hear();
    assert!(
        heard[0].starts_with("[0] connection.close 530 NOT_ALLOWED"),
        "{heard:?}"
    );
}

#[test]
fn a_vhost_must_exist_and_be_open_to_the_user() {
    let world = World::new();
    let refused = |login: &Login| {
        let mut client = world.accept(true);
        client.send(&handshake(login));
        client.hear().pop()
    };
    let login = Login {
        vhost: "nowhere",
        ..Login::default()
    };
    let answer = "[0] connection.close 530 NOT_ALLOWED - vhost nowhere not found";
    assert_eq!(refused(&login).as_deref(), Some(answer));
}

#[test]
fn methods_out_of_turn_end_the_handshake() {
    let world = World::new();
    let mut client = world.accept(true);
    client.send(&PROTOCOL_HEADER);
    client.hear();
    let mut bytes = Vec::new();
    encode_method(
        &mut bytes,
        0,
        &Method::ConnectionTuneOk(ConnectionTuneOk::default()),
    );
    client.send(&bytes);
    let heard = client.hear();
    assert!(
        heard[0].starts_with("[0] connection.close 503 COMMAND_INVALID"),
        "{heard:?}"
    );
    let mut client = world.accept(true);
    client.send(&PROTOCOL_HEADER);
    client.hear();
    client.say("[1] channel.open");
    let heard = client.hear();
    assert!(heard[0].starts_with("[0] connection.close 50"), "{heard:?}");
}

#[test]
fn heartbeats_are_sent_after_half_the_interval_of_silence() {
    let world = World::new();
    let login = Login {
        heartbeat_s: 10,
        ..Login::default()
    };
    let mut client = world.connect_as(&login);
    world.pass(4_999);
    client.expect(&[]);
    world.pass(1);
    client.expect(&["heartbeat"]);
    world.pass(4_000);
    client.open(1);
    world.pass(4_999);
    client.expect(&[]);
    world.pass(1);
    client.expect(&["heartbeat"]);
}

#[test]
fn a_client_silent_for_two_intervals_is_dead() {
    let world = World::new();
    let login = Login {
        heartbeat_s: 10,
        ..Login::default()
    };
    let mut client = world.connect_as(&login);
    for _ in 0..10 {
        world.pass(15_000);
        client.say("[0] heartbeat");
        client.hear();
        assert!(!client.is_closed());
    }
    world.pass(19_999);
    client.hear();
    assert!(!client.is_closed());
    world.pass(1);
    client.hear();
    assert!(client.is_closed());
}

#[test]
fn without_heartbeats_silence_is_fine() {
    let world = World::new();
    let mut client = world.client();
    world.pass(100_000_000);
    client.expect(&[]);
    client.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
}

#[test]
fn a_close_that_is_not_answered_ends_after_a_while() {
    let world = World::new();
    let mut client = world.client();
    client.say("[9] basic.ack 1");
    client.expect(&["[0] connection.close 504 CHANNEL_ERROR - expected 'channel.open'"]);
    client.ask("[1] queue.declare q", &[]);
    world.pass(9_999);
    client.expect(&[]);
    assert!(!client.is_closed());
    world.pass(1);
    client.expect(&[]);
    assert!(client.is_closed());
    assert_eq!(world.counts("q"), "gone");
}

#[test]
fn crossing_closes_are_both_answered() {
    let world = World::new();
    let mut client = world.client();
    client.say("[9] basic.ack 1");
    client.hear();
    client.ask("[0] connection.close", &["[0] connection.close-ok"]);
    client.say("[0] connection.close-ok");
    assert!(client.is_closed());
}

#[test]
fn an_operator_closes_a_connection() {
    let world = World::new();
    let mut client = world.client();
    world
        .node
        .connections
        .close(320, "CONNECTION_FORCED - because", |_| true);
    client.expect(&["[0] connection.close 320 CONNECTION_FORCED - because"]);
    client.say("[0] connection.close-ok");
    assert!(client.is_closed());
}
