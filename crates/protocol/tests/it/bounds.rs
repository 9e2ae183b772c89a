//! What one connection may cost: a client that does not read, or reads slowly, or never stops sending.
//!
//! Bytes are counted by the test's own allocator, on the thread of the test.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker::queue::DELIVERY_WINDOW_BYTES;
use node::alarms::Alarm;
use node::connections::ConnectionEntry;
use node::flow::{BACKLOG_BYTES_HIGH, HOLD_MS};
use protocol::amqp091::OUTPUT_BYTES_HIGH;

use crate::memory::allocated_bytes;
use crate::pair::{Client, Login, World};

/// What a connection that does not read may hold: its output and a consumer's window, and as much again for
/// vectors that grow by doubling.
const HELD_BYTES_MAX: usize = 4 * (OUTPUT_BYTES_HIGH + DELIVERY_WINDOW_BYTES as usize);

/// Publishes `count` messages of `bytes` to `q`, whether its consumers keep up or not.
fn publish(client: &mut Client<'_>, count: usize, bytes: usize) {
    flood(client, count, bytes);
    client.outwait_consumers();
}

/// The same, until the publisher is held up.
fn flood(client: &mut Client<'_>, count: usize, bytes: usize) {
    for _ in 0..count {
        client.say(&format!("[1] basic.publish - q {bytes}*"));
    }
}

fn ready(world: &World) -> usize {
    let counts = world.counts("q");
    let ready = counts.split('/').next().expect("counts");
    ready.parse().expect("a queue that is there")
}

#[test]
fn a_consumer_that_does_not_read_leaves_its_messages_in_the_queue() {
    let world = World::new();
    let mut publisher = world.client();
    let mut consumer = world.client();
    consumer.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    consumer.say("[1] basic.consume q c no-ack");
    consumer.hear();
    consumer.set_reads(false);
    for _ in 0..30 {
        publish(&mut publisher, 100, 10_000);
        consumer.pump();
    }
    let handed_out = (3000 - ready(&world)) * 10_000;
    let bound = OUTPUT_BYTES_HIGH + DELIVERY_WINDOW_BYTES as usize + 2 * 10_200;
    assert!(handed_out < bound, "{handed_out} bytes handed out");
    consumer.set_reads(true);
    let heard = consumer.hear();
    assert_eq!(heard.len(), 3000);
    assert_eq!(world.counts("q"), "0/0/1");
}

fn in_flow(world: &World) -> bool {
    let entries = world.node.connections.list();
    let waits = |entry: &Arc<ConnectionEntry>| entry.in_flow.load(Ordering::Relaxed);
    entries.iter().any(waits)
}

#[test]
fn a_publisher_waits_for_consumers_that_work_and_not_for_others() {
    let world = World::new();
    let mut publisher = world.client();
    let mut consumer = world.client();
    consumer.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    let backlog = 2 * BACKLOG_BYTES_HIGH as usize / 10_000;
    flood(&mut publisher, backlog, 10_000);
    assert_eq!(publisher.unread_bytes(), 0, "nobody consumes yet");
    consumer.set_reads(false);
    consumer.say("[1] basic.consume q c no-ack");
    // The consumer's client reads: the publisher goes on as soon as little is left.
    flood(&mut publisher, 2, 10_000);
    assert!(0 < publisher.unread_bytes());
    assert!(in_flow(&world));
    consumer.set_reads(true);
    publisher.pump();
    assert_eq!(publisher.unread_bytes(), 0);
    assert!(!in_flow(&world));
    // It does not read: the publisher waits, but not for long, and only once.
    consumer.set_reads(false);
    while publisher.unread_bytes() == 0 {
        flood(&mut publisher, 1, 10_000);
        consumer.pump();
    }
    world.pass(HOLD_MS - 1);
    publisher.pump();
    assert!(0 < publisher.unread_bytes());
    world.pass(1);
    flood(&mut publisher, backlog, 10_000);
    assert_eq!(publisher.unread_bytes(), 0);
    assert!(!in_flow(&world));
    // The queue is deleted while somebody waits.
    consumer.set_reads(true);
    consumer.set_reads(false);
    while publisher.unread_bytes() == 0 {
        flood(&mut publisher, 1, 10_000);
        consumer.pump();
    }
    world.client().say("[1] queue.delete q");
    publisher.pump();
    assert_eq!(publisher.unread_bytes(), 0);
}

#[test]
fn who_consumes_itself_is_not_held_up() {
    let world = World::new();
    let mut client = world.client();
    client.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    client.say("[1] basic.qos 0 1\n[1] basic.consume q c");
    publish(
        &mut client,
        2 * BACKLOG_BYTES_HIGH as usize / 10_000,
        10_000,
    );
    assert_eq!(client.unread_bytes(), 0);
}

#[test]
fn a_steady_reader_costs_no_more_than_its_output() {
    let world = World::new();
    let mut publisher = world.client();
    publisher.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    publish(&mut publisher, 4000, 10_000);
    let mut consumer = world.client();
    consumer.set_room(10_000);
    consumer.say_only("[1] basic.consume q c no-ack");
    let before = allocated_bytes();
    let mut most = 0;
    // The socket takes some and is never empty: each turn writes less than there is.
    while consumer.turn() {
        consumer.forget();
        let queued = ready(&world) * 10_000;
        most = most.max((allocated_bytes() + (40_000_000 - queued)).saturating_sub(before));
    }
    // A message that left the queue is freed: what did not shrink by as much is the connection's.
    assert!(most < HELD_BYTES_MAX, "{most} bytes");
    assert_eq!(world.counts("q"), "0/0/1");
}

#[test]
fn cancelling_one_consumer_does_not_pour_out_the_queue_of_another() {
    let world = World::new();
    let mut publisher = world.client();
    publisher.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    let mut consumer = world.client();
    consumer
        .say("[1] queue.declare other\n[1] basic.consume other o\n[1] basic.consume q c no-ack");
    consumer.hear();
    consumer.set_reads(false);
    for _ in 0..20 {
        publish(&mut publisher, 100, 10_000);
        consumer.pump();
    }
    let before = ready(&world);
    consumer.set_room(0);
    consumer.set_reads(true);
    consumer.say("[1] basic.cancel o");
    consumer.pump();
    let poured = (before - ready(&world)) * 10_000;
    assert!(poured < 2 * HELD_BYTES_MAX, "{poured} bytes");
    consumer.set_room(usize::MAX);
    assert_eq!(consumer.hear().len(), 2001);
}

#[test]
fn a_queue_that_goes_does_not_pour_out_another() {
    let world = World::new();
    let mut publisher = world.client();
    publisher.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    let mut consumer = world.client();
    consumer
        .say("[1] queue.declare other\n[1] basic.consume other o\n[1] basic.consume q c no-ack");
    consumer.hear();
    consumer.set_reads(false);
    for _ in 0..20 {
        publish(&mut publisher, 100, 10_000);
        consumer.pump();
    }
    let before = ready(&world);
    publisher.ask("[1] queue.delete other", &["[1] queue.delete-ok 0"]);
    consumer.pump();
    let poured = (before - ready(&world)) * 10_000;
    assert!(poured < 2 * HELD_BYTES_MAX, "{poured} bytes");
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let world = World::new();
    let mut client = world.client();
    client.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    publish(&mut client, 100, 100_000);
    client.set_reads(false);
    let before = allocated_bytes();
    for _ in 0..100 {
        client.say("[1] basic.get q no-ack");
    }
    assert!(client.unread_bytes() > 0);
    assert!(ready(&world) >= 100 - OUTPUT_BYTES_HIGH / 100_000 - 1);
    assert!(allocated_bytes().saturating_sub(before) < HELD_BYTES_MAX);
    client.set_reads(true);
    assert_eq!(client.hear().len(), 100);
    assert_eq!(client.unread_bytes(), 0);
}

#[test]
fn a_header_of_16_mib_sets_no_memory_aside() {
    let world = World::new();
    let mut client = world.client();
    let before = allocated_bytes();
    for channel in 2..1000 {
        client.say_only(&format!("[{channel}] channel.open"));
        let mut bytes = Vec::new();
        crate::script::encode(&mut bytes, &format!("[{channel}] basic.publish - q"), 4096);
        let header = bytes.len() - 22;
        bytes[header + 11..header + 19].copy_from_slice(&(16_u64 << 20).to_be_bytes());
        client.send_only(&bytes);
    }
    client.pump();
    client.forget();
    let grown = allocated_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes for 1000 headers");
    drop(client);
}

#[test]
fn memory_is_back_when_connections_are_gone() {
    let world = World::new();
    let round = || {
        let mut client = world.client();
        client.say("[1] queue.declare q exclusive\n[1] confirm.select\n[1] basic.consume q c");
        client.hear();
        publish(&mut client, 200, 1000);
        client.hear();
        client.hang_up();
    };
    round();
    let before = allocated_bytes();
    for _ in 0..50 {
        round();
    }
    let grown = allocated_bytes().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} bytes kept");
}

#[test]
fn deleted_queues_leave_no_timer_behind() {
    let world = World::new();
    let mut client = world.client();
    for _ in 0..10 {
        client.say("[1] queue.declare q x-expires=86400000 x-message-ttl=3600000\n[1] basic.publish - q a\n[1] queue.delete q");
    }
    client.hear();
    assert_eq!(world.node.timers.next_ms(), None);
}

#[test]
fn superseded_deadlines_are_forgotten() {
    let world = World::new();
    let mut client = world.client();
    client.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    let before = allocated_bytes();
    for ttl_ms in (1..20_000).rev() {
        client.say_only(&format!(
            "[1] basic.publish - q a expiration={}",
            1_000_000 + ttl_ms
        ));
        client.say_only("[1] queue.purge q");
        client.pump();
        client.forget();
    }
    let grown = allocated_bytes().saturating_sub(before);
    assert!(
        grown < 128 * 1024,
        "{grown} bytes for timers of messages that are gone"
    );
}

#[test]
fn replies_keep_coming() {
    let world = World::new();
    let mut asker = world.client();
    let mut answerer = world.client();
    asker.say("[1] queue.declare q\n[1] basic.consume amq.rabbitmq.reply-to r no-ack");
    asker.hear();
    for round in 0..2000 {
        asker.say("[1] basic.publish - q question reply_to=amq.rabbitmq.reply-to");
        answerer.say("[1] basic.get q no-ack");
        let heard = answerer.hear();
        let reply_to = heard[0].split("reply_to=").nth(1).expect("an address");
        let reply_to = reply_to.split(' ').next().expect("an address");
        answerer.say(&format!("[1] basic.publish - {reply_to} 1000*"));
        assert_eq!(
            asker.hear(),
            [format!("[1] basic.deliver r {} 1000*", round + 1)]
        );
    }
}

#[test]
fn heartbeats_of_a_client_that_is_held_up_by_an_alarm() {
    let world = World::new();
    let login = Login {
        heartbeat_s: 10,
        ..Login::default()
    };
    let mut client = world.connect_as(&login);
    client.open(1);
    world.node.set_alarm(Alarm::Memory, true);
    client.say("[1] basic.publish - nowhere a");
    client.expect(&["[0] connection.blocked low on memory"]);
    for _ in 0..10 {
        world.pass(5_000);
        client.say("[0] heartbeat");
        client.expect(&["heartbeat"]);
    }
    world.node.set_alarm(Alarm::Memory, false);
    client.expect(&["[0] connection.unblocked"]);
    assert!(!client.is_closed());
}

#[test]
fn heartbeats_of_a_client_that_does_not_read_count() {
    let world = World::new();
    let login = Login {
        heartbeat_s: 10,
        ..Login::default()
    };
    let mut publisher = world.client();
    publisher.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    let mut client = world.connect_as(&login);
    client.open(1);
    client.say("[1] basic.consume q c no-ack");
    client.hear();
    client.set_reads(false);
    publish(&mut publisher, 100, 100_000);
    for _ in 0..10 {
        world.pass(5_000);
        client.say("[0] heartbeat");
    }
    assert!(!client.is_closed());
    client.set_reads(true);
    let heard = client.hear();
    assert_eq!(
        heard.iter().filter(|line| line.contains("deliver")).count(),
        100
    );
}

#[test]
fn who_reads_nothing_cannot_keep_a_closing_connection() {
    let world = World::new();
    let mut client = world.client();
    client.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    publish(&mut client, 1, 100_000);
    client.set_reads(false);
    // We close, for a frame on a channel that is not open.
    client.say("[1] basic.get q no-ack\n[9] basic.ack 1");
    world.pass(10_000);
    client.pump();
    assert!(
        client.is_closed(),
        "our close was not read, and the socket stays"
    );
}

#[test]
fn who_reads_nothing_cannot_keep_a_connection_that_it_closed() {
    let world = World::new();
    let mut client = world.client();
    client.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    publish(&mut client, 1, 100_000);
    client.set_reads(false);
    client.say("[1] basic.get q no-ack\n[0] connection.close");
    assert!(!client.is_closed(), "there is something left to say");
    world.pass(30_000);
    client.pump();
    assert!(
        client.is_closed(),
        "our close-ok was not read, and the socket stays"
    );
}
