//! Persistent messages: what is said before they are on disk, what after, and what when they never will be.

use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use broker::message::LogPosition;
use broker::queue::Incoming;
use node::message_log::{MessageLog, Options};
use storage::ReadLimit;
use storage::disk::Disk;
use storage::disk::sim::{Fault, SimDisk};

use crate::pair::{Client, World};

fn disk() -> Arc<SimDisk> {
    Arc::new(SimDisk::new(1))
}

fn world(disk: &Arc<SimDisk>) -> World {
    World::on_disk(disk, Options::default())
}

/// A client whose channel 1 has confirms, and the durable queues of these names.
fn confirming<'w>(world: &'w World, queues: &[&str]) -> Client<'w> {
    let mut client = world.client();
    for queue in queues {
        client.say(&format!("[1] queue.declare {queue} durable"));
    }
    client.say("[1] confirm.select");
    client.hear();
    client
}

/// What the log holds after a loss of power: queue, body, and whether it may have been delivered.
fn left(world: World, disk: &Arc<SimDisk>) -> Vec<(u64, String, bool)> {
    drop(world);
    disk.power_off();
    disk.power_on();
    let (log, recovery) =
        MessageLog::on_disk(Arc::clone(disk) as Arc<dyn Disk>, Options::default(), 0)
            .expect("the log opens");
    let limit = ReadLimit {
        messages: 1000,
        bytes: 1 << 20,
    };
    let mut left = Vec::new();
    for owner in recovery.owners {
        let queue = broker::router::QueueId(owner.owner.0);
        let mut visit = |incoming: Incoming| {
            let body = String::from_utf8_lossy(incoming.message.body()).into_owned();
            left.push((queue.0, body, incoming.redelivered));
        };
        log.read(queue, LogPosition(0), limit, &mut visit)
            .expect("it is whole");
    }
    left
}

fn id_of(world: &World, queue: &str) -> u64 {
    let vhost = world.node.vhost("/").expect("it is there from the start");
    vhost.find_queue(queue).expect("it was declared").id.0
}

#[test]
fn a_confirm_waits_for_the_disk_and_nothing_else_does() {
    let disk = disk();
    let world = world(&disk);
    let mut client = confirming(&world, &["q"]);
    let mut consumer = world.client();
    consumer.ask("[1] basic.consume q c no-ack", &["[1] basic.consume-ok c"]);
    client.ask("[1] basic.publish - q a delivery_mode=2", &[]);
    client.ask("[1] basic.publish - q b delivery_mode=2", &[]);
    assert_eq!(consumer.bodies(), ["a", "b"], "delivered before it is safe");
    // Its turn comes behind the others.
    client.ask("[1] basic.publish - q c", &[]);
    world.sync();
    client.expect(&["[1] basic.ack ..3"]);
    // What is not persistent, or in no durable queue, waits for no disk.
    client.ask("[1] basic.publish - q d", &["[1] basic.ack 4"]);
    client.ask("[1] queue.declare t", &["[1] queue.declare-ok t 0 0"]);
    client.ask(
        "[1] basic.publish - t e delivery_mode=2",
        &["[1] basic.ack 5"],
    );
    client.ask(
        "[1] basic.publish - nowhere f delivery_mode=2",
        &["[1] basic.ack 6"],
    );
}

/// The connection noted the first batch twice, and nothing woke it for the second.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the log must be in the middle of writing, and that is another thread's work"
)]
fn a_batch_that_comes_while_another_waits_for_the_log_is_confirmed_too() {
    let disk = disk();
    let world = world(&disk);
    let mut client = confirming(&world, &["q"]);
    client.ask("[1] basic.publish - q a delivery_mode=2", &[]);
    // The second is published while the log is in the middle of writing the first.
    let (begins, begun) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    disk.on_operation(Some(Box::new(move |_| {
        // Nobody is there to be told, or to wait for, but in the first operation.
        let _ = begins.send(());
        let _ = may_go_on.recv();
    })));
    let log = Arc::clone(world.log());
    std::thread::scope(|scope| {
        scope.spawn(move || log.step());
        begun.recv().expect("the log writes");
        client.ask("[1] basic.publish - q b delivery_mode=2", &[]);
        drop(go_on);
    });
    disk.on_operation(None);
    client.expect(&["[1] basic.ack 1"]);
    world.sync();
    client.expect(&["[1] basic.ack 2"]);
}

#[test]
fn one_group_commit_confirms_all_that_came_meanwhile() {
    let disk = disk();
    let world = world(&disk);
    let mut one = confirming(&world, &["q"]);
    let mut two = confirming(&world, &["r"]);
    for _ in 0..10 {
        one.ask("[1] basic.publish - q a delivery_mode=2", &[]);
        two.ask("[1] basic.publish - r a delivery_mode=2", &[]);
    }
    let before = disk.operations();
    world.sync();
    assert!(disk.operations() <= before + 2, "a write and a sync");
    one.expect(&["[1] basic.ack ..10"]);
    two.expect(&["[1] basic.ack ..10"]);
}

#[test]
fn what_is_confirmed_survives_and_what_is_acked_does_not() {
    let disk = disk();
    let world = world(&disk);
    let mut client = confirming(&world, &["q", "r"]);
    let (q, r) = (id_of(&world, "q"), id_of(&world, "r"));
    client.say("[1] queue.bind q amq.fanout -\n[1] queue.bind r amq.fanout -");
    client.hear();
    for body in ["a", "b", "c"] {
        client.say(&format!(
            "[1] basic.publish amq.fanout - {body} delivery_mode=2"
        ));
    }
    client.say("[1] basic.publish - q t");
    client.say("[1] basic.get q\n[1] basic.ack 1\n[1] basic.get q");
    client.say("[1] queue.purge r\n[1] basic.publish - r d delivery_mode=2");
    world.sync();
    client.say("[1] basic.publish - q unconfirmed delivery_mode=2");
    drop(client);
    let expected: Vec<(u64, String, bool)> = [(q, "b"), (q, "c"), (r, "d")]
        .map(|(queue, body)| (queue, body.to_owned(), true))
        .to_vec();
    assert_eq!(left(world, &disk), expected);
}

#[test]
fn a_fan_out_is_one_record() {
    let disk = disk();
    let world = world(&disk);
    let names: Vec<String> = (0..100).map(|n| format!("q{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut client = confirming(&world, &names);
    for name in &names {
        client.say(&format!("[1] queue.bind {name} amq.fanout -"));
    }
    client.hear();
    let before = disk.bytes_written();
    client.ask("[1] basic.publish amq.fanout - 10000* delivery_mode=2", &[]);
    world.sync();
    client.expect(&["[1] basic.ack 1"]);
    let written = disk.bytes_written() - before;
    assert!(written < 12_000, "{written} bytes");
    drop(client);
    assert_eq!(left(world, &disk).len(), 100);
}

#[test]
fn a_dead_letter_is_kept_before_the_dead_is_given_up() {
    let disk = disk();
    let world = world(&disk);
    let mut client = world.client();
    client.say(
        "[1] queue.declare dead durable
         [1] queue.declare q durable x-dead-letter-exchange= x-dead-letter-routing-key=dead x-message-ttl=50
         [1] confirm.select
         [1] basic.publish - q a delivery_mode=2
         [1] basic.publish - q b",
    );
    world.sync();
    client.hear();
    let dead = id_of(&world, "dead");
    world.pass(50);
    assert_eq!(world.counts("dead"), "2/0/0");
    world.sync();
    drop(client);
    let expected = [(dead, "a".to_owned(), true)];
    assert_eq!(left(world, &disk), expected);
}

#[test]
fn a_refused_message_is_not_kept() {
    let disk = disk();
    let world = world(&disk);
    let mut client = world.client();
    client.say(
        "[1] queue.declare q durable x-max-length=1 x-overflow=reject-publish
         [1] confirm.select
         [1] basic.publish - q a delivery_mode=2
         [1] basic.publish - q b delivery_mode=2",
    );
    client.hear();
    world.sync();
    client.expect(&["[1] basic.ack 1", "[1] basic.nack 2"]);
    world.sync();
    let q = id_of(&world, "q");
    drop(client);
    assert_eq!(left(world, &disk), [(q, "a".to_owned(), true)]);
}

#[test]
fn a_deleted_queue_leaves_nothing() {
    let disk = disk();
    let world = world(&disk);
    let mut client = confirming(&world, &["q"]);
    client.say("[1] basic.publish - q a delivery_mode=2\n[1] queue.delete q");
    world.sync();
    client.hear();
    drop(client);
    assert_eq!(left(world, &disk), []);
}

#[test]
fn a_commit_is_answered_when_it_is_on_disk() {
    let disk = disk();
    let world = world(&disk);
    let mut client = world.client();
    client.say("[1] queue.declare q durable\n[1] tx.select");
    client.hear();
    client.ask(
        "[1] basic.publish - q a delivery_mode=2\n[1] tx.commit",
        &[],
    );
    // Nothing that follows may overtake it.
    client.ask("[1] queue.declare other", &[]);
    assert_eq!(world.counts("q"), "1/0/0");
    world.sync();
    client.expect(&["[1] tx.commit-ok", "[1] queue.declare-ok other 0 0"]);
    // An ack is a record too.
    client.say("[1] basic.get q\n[1] basic.ack 1");
    client.hear();
    client.ask("[1] tx.commit", &[]);
    world.sync();
    client.expect(&["[1] tx.commit-ok"]);
    client.ask(
        "[1] basic.publish - q b\n[1] tx.commit",
        &["[1] tx.commit-ok"],
    );
}

#[test]
fn a_log_that_fails_refuses_what_it_does_not_have() {
    for fail_first in [false, true] {
        let disk = disk();
        let world = world(&disk);
        let mut confirming = confirming(&world, &["q"]);
        let mut plain = world.client();
        let mut transaction = world.client();
        transaction.ask("[1] tx.select", &["[1] tx.select-ok"]);
        let mut consumer = world.client();
        consumer.ask("[1] basic.consume q c", &["[1] basic.consume-ok c"]);
        confirming.say("[1] basic.publish - q safe delivery_mode=2");
        world.sync();
        confirming.expect(&["[1] basic.ack 1"]);
        disk.plan(disk.operations() + 1, Fault::Io);
        if !fail_first {
            confirming.say("[1] basic.publish - q lost delivery_mode=2");
            transaction.say("[1] basic.publish - q lost delivery_mode=2\n[1] tx.commit");
        }
        world
            .log()
            .note_delivered(broker::router::QueueId(1), 0, &[]);
        plain.say("[1] basic.publish - q unsure delivery_mode=2");
        world.sync();
        assert!(world.log().failure().is_some());
        let text = world.log().failure().expect("just seen").to_string();
        if fail_first {
            confirming.say("[1] basic.publish - q lost delivery_mode=2");
            transaction.say("[1] basic.publish - q lost delivery_mode=2\n[1] tx.commit");
        }
        confirming.expect(&["[1] basic.nack 2"]);
        let closed = format!(
            "[0] connection.close 541 INTERNAL_ERROR - the message log cannot be written: {text}"
        );
        let says_why = |client: &mut Client<'_>| {
            let heard = client.hear();
            assert!(
                heard.iter().any(|line| line.starts_with(&closed)),
                "{heard:?}"
            );
        };
        says_why(&mut transaction);
        plain.say("[1] basic.publish - q more delivery_mode=2");
        says_why(&mut plain);
        // Transient messages, and consumers, go on.
        confirming.ask("[1] basic.publish - q t", &["[1] basic.ack 3"]);
        let bodies = consumer.bodies();
        assert_eq!(bodies.first().map(String::as_str), Some("safe"));
        assert_eq!(bodies.last().map(String::as_str), Some("t"));
        consumer.ask("[1] basic.ack 1", &[]);
    }
}

#[test]
fn who_is_too_fast_for_the_log_is_not_read_from() {
    let disk = disk();
    let options = Options {
        buffer_bytes_max: 10_000,
        ..Options::default()
    };
    let world = World::on_disk(&disk, options);
    let mut client = confirming(&world, &["q"]);
    for _ in 0..30 {
        client.say_only("[1] basic.publish - q 1000* delivery_mode=2");
    }
    client.say_only("[1] queue.purge q");
    client.expect(&[]);
    assert!(client.unread_bytes() > 0, "the purge waits");
    assert_eq!(world.counts("q"), "0/0/0", "in order or not at all");
    let mut confirmed = Vec::new();
    for _ in 0..30 {
        world.sync();
        confirmed.extend(client.hear());
    }
    assert_eq!(client.unread_bytes(), 0);
    assert_eq!(
        confirmed,
        ["[1] queue.purge-ok 30", "[1] basic.ack ..30"],
        "all that was published before it was purged"
    );
}

/// Commits the log when it is woken.
struct Commits(Arc<MessageLog>);

impl Wake for Commits {
    fn wake(self: Arc<Self>) {
        self.0.step();
    }
}

/// The first of two answers is durable before the connection comes to ask for a wake-up, and the second is not: it asked
/// for none, and the second answer never came.
#[test]
fn an_answer_is_not_forgotten_when_the_one_before_it_is_durable_at_once() {
    let disk = disk();
    let world = world(&disk);
    let mut consumer = world.client();
    consumer.say("[1] queue.declare q durable\n[1] basic.consume q c no-ack");
    consumer.hear();
    let mut client = confirming(&world, &["r"]);
    client.open(2);
    client.ask("[2] tx.select", &["[2] tx.select-ok"]);
    // The log commits when the second message comes to the consumer, before it is told of that message.
    let waker = Waker::from(Arc::new(Commits(Arc::clone(world.log()))));
    let waits = consumer
        .connection
        .poll_wake(&mut Context::from_waker(&waker));
    assert!(waits.is_pending());
    client.say(
        "[2] basic.publish - r m delivery_mode=2\n[2] tx.commit\n\
         [2] basic.publish - q m delivery_mode=2\n[2] tx.commit",
    );
    client.expect(&["[2] tx.commit-ok"]);
    world.sync();
    client.expect(&["[2] tx.commit-ok"]);
}
