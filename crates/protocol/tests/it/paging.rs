//! Queues that are longer than memory: what is only in the log comes back, and nobody can tell.

use std::sync::Arc;

use node::mailbox::Mailbox;
use node::message_log::Options;
use node::queue_cell::{MessageId, TakenOut};
use storage::disk::sim::SimDisk;
use wire::amqp091::properties::Properties;

use crate::pair::{Client, World};

/// A world in which no memory is left for messages that can be on disk.
fn world() -> World {
    let disk = Arc::new(SimDisk::new(1));
    let world = World::on_disk(&disk, Options::default());
    world.log().cache().set_budget(0);
    world
}

/// A client with a durable queue `q` that holds so many messages of 2 KB, each with its number in a property.
fn filled<'w>(world: &'w World, count: u32, properties: &str) -> Client<'w> {
    let mut client = world.client();
    client.ask(
        "[1] queue.declare q durable",
        &["[1] queue.declare-ok q 0 0"],
    );
    fill(world, &mut client, 0..count, properties);
    client
}

/// Publishes such messages with these numbers to `q`.
fn fill(world: &World, client: &mut Client<'_>, numbers: std::ops::Range<u32>, properties: &str) {
    for number in numbers {
        client.say(&format!(
            "[1] basic.publish - q 2000* reply_to={number} {properties}"
        ));
        world.sync();
    }
    client.hear();
}

/// The number of a message that was delivered or got.
fn number(line: &str) -> u32 {
    let mut words = line.split(' ');
    let number = words.find_map(|word| word.strip_prefix("reply_to="));
    let number = number.and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("{line:?} has no number"))
}

fn paged(world: &World) -> bool {
    let vhost = world.node.vhost("/").expect("it is there from the start");
    let cell = vhost.find_queue("q").expect("it was declared");
    cell.is_paged()
}

#[test]
fn a_long_queue_is_delivered_in_its_order() {
    for properties in ["delivery_mode=2", ""] {
        let world = world();
        filled(&world, 300, properties);
        assert!(paged(&world));
        assert!(world.log().cache().used_bytes() < 250_000, "{properties}");
        assert_eq!(world.counts("q"), "300/0/0");
        let mut consumer = world.client();
        consumer.say("[1] basic.consume q c no-ack");
        let mut got = Vec::new();
        for _ in 0..50 {
            let heard = consumer.hear();
            let delivered = heard.iter().filter(|line| line.contains("basic.deliver"));
            got.extend(delivered.map(|line| number(line)));
            world.read_pages();
        }
        assert_eq!(got, (0..300).collect::<Vec<_>>());
        assert!(!paged(&world));
        assert_eq!(world.counts("q"), "0/0/1");
    }
}

#[test]
fn a_get_waits_for_a_message_that_is_not_in_memory() {
    let world = world();
    let mut client = filled(&world, 200, "delivery_mode=2");
    let mut got = Vec::new();
    let mut waited = 0;
    for _ in 0..200 {
        client.say("[1] basic.get q no-ack\n[1] basic.qos 0 1");
        let mut heard = client.hear();
        if heard.is_empty() {
            waited += 1;
            world.read_pages();
            heard = client.hear();
        }
        let [got_ok, qos_ok] = &heard[..] else {
            panic!("{heard:?}");
        };
        assert!(got_ok.contains("basic.get-ok"), "{heard:?}");
        assert!(qos_ok.contains("basic.qos-ok"), "in order: {heard:?}");
        got.push(number(got_ok));
    }
    assert_eq!(got, (0..200).collect::<Vec<_>>());
    assert!(0 < waited);
    client.ask("[1] basic.get q", &["[1] basic.get-empty"]);
}

#[test]
fn a_purge_takes_what_is_only_on_disk() {
    let world = world();
    let mut client = filled(&world, 200, "delivery_mode=2");
    client.say("[1] basic.get q");
    world.read_pages();
    assert_eq!(client.bodies().len(), 1);
    assert!(paged(&world));
    let mut other = world.client();
    loop {
        other.say("[1] basic.get q no-ack");
        if other.hear().is_empty() {
            break;
        }
    }
    let left = world.counts("q");
    let left = left.split('/').next().unwrap_or_default();
    let purged = format!("[1] queue.purge-ok {left}");
    client.ask("[1] queue.purge q", &[&purged]);
    // What was asked for before comes too late.
    world.read_pages();
    other.ask("", &["[1] basic.get-empty"]);
    assert_eq!(world.counts("q"), "0/1/0");
    let vhost = world.node.vhost("/").expect("it is there from the start");
    let id = vhost.find_queue("q").expect("it was declared").id;
    assert_eq!(world.log().messages(id), 1, "what is unacked stays");
    client.ask("[1] basic.ack 1", &[]);
    assert_eq!(world.log().messages(id), 0);
    fill(&world, &mut client, 0..200, "delivery_mode=2");
    client.ask("[1] queue.delete q", &["[1] queue.delete-ok 200"]);
    assert_eq!(world.log().messages(id), 0);
    assert_eq!(world.log().cache().used_bytes(), 0);
}

#[test]
fn messages_die_on_disk_when_their_time_has_come() {
    let world = world();
    let mut client = world.client();
    client.say(
        "[1] queue.declare dead durable
         [1] queue.declare q durable x-dead-letter-exchange= x-dead-letter-routing-key=dead",
    );
    client.hear();
    fill(&world, &mut client, 0..100, "delivery_mode=2");
    fill(
        &world,
        &mut client,
        100..150,
        "delivery_mode=2 expiration=1000",
    );
    fill(&world, &mut client, 150..300, "delivery_mode=2");
    assert!(paged(&world));
    world.pass(999);
    world.read_pages();
    assert_eq!(world.counts("q"), "300/0/0");
    world.pass(1);
    for _ in 0..10 {
        world.read_pages();
        world.pass(1);
    }
    assert_eq!(world.counts("q"), "250/0/0");
    assert_eq!(world.counts("dead"), "50/0/0");
}

/// Numbers and names of what is seen of `q`.
fn look(world: &World, skip: usize, count: usize) -> Vec<(u32, MessageId)> {
    let vhost = world.node.vhost("/").expect("it is there from the start");
    let cell = vhost.find_queue("q").expect("it was declared");
    let mut seen = Vec::new();
    let looked = cell.look(skip, count, &mut |peeked| {
        let properties = Properties::validate(peeked.message.properties());
        let properties = properties.expect("they were validated before");
        let number = properties.reply_to().and_then(|number| number.parse().ok());
        seen.push((number.expect("a number"), peeked.id));
        true
    });
    looked.expect("the log can be read");
    seen
}

#[test]
fn what_is_only_on_disk_can_be_looked_at_and_taken_out() {
    let world = world();
    let mut client = world.client();
    client.ask(
        "[1] queue.declare q durable x-max-priority=1",
        &["[1] queue.declare-ok q 0 0"],
    );
    fill(&world, &mut client, 0..100, "delivery_mode=2 priority=0");
    fill(&world, &mut client, 100..200, "delivery_mode=2 priority=1");
    assert!(paged(&world));
    let order: Vec<u32> = (100..200).chain(0..100).collect();
    let numbers = |seen: &[(u32, MessageId)]| seen.iter().map(|(n, _)| *n).collect::<Vec<_>>();
    let all = look(&world, 0, 1000);
    assert_eq!(numbers(&all), order);
    assert_eq!(numbers(&look(&world, 95, 10)), order[95..105]);
    let vhost = world.node.vhost("/").expect("it is there from the start");
    let cell = vhost.find_queue("q").expect("it was declared");
    let mailbox = Mailbox::new();
    let mut left = order.clone();
    for at in [0, 60, 140, 199] {
        let (number, id) = all[at];
        let found = cell.find(id).expect("the log can be read");
        assert_eq!(found.map(|peeked| peeked.id), Some(id));
        loop {
            match cell.take_out(world.now_ms(), id, &mailbox) {
                Ok(TakenOut::Message(_)) => break,
                Ok(TakenOut::Coming) => world.read_pages(),
                other => panic!("{other:?}"),
            }
        }
        left.retain(|other| *other != number);
        assert!(matches!(
            cell.take_out(world.now_ms(), id, &mailbox),
            Ok(TakenOut::Nothing)
        ));
        assert_eq!(numbers(&look(&world, 0, 1000)), left);
    }
    assert_eq!(world.counts("q"), "196/0/0");
    assert_eq!(world.log().messages(cell.id), 196);
    client.say("[1] basic.consume q c no-ack");
    let mut got = Vec::new();
    for _ in 0..50 {
        let heard = client.hear();
        let delivered = heard.iter().filter(|line| line.contains("basic.deliver"));
        got.extend(delivered.map(|line| number(line)));
        world.read_pages();
    }
    assert_eq!(got, left);
}
