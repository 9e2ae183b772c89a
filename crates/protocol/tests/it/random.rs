//! Random conversations: whatever clients say, nothing panics, and in the end everything is given back.
//!
//! A failure prints its seed; `LEVERET_SEED=n` plays that one alone, `LEVERET_SEEDS=n` plays so many.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use node::alarms::Alarm;

use crate::pair::{Client, World};
use crate::script;

/// Numbers that look random and are the same each time (xorshift64*).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }

    pub(crate) fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

/// Plays `script` with each seed, or the one that was asked for.
pub(crate) fn with_seeds(count: u64, play: impl Fn(u64)) {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().expect("a number"))
    };
    let count = number("LEVERET_SEEDS").unwrap_or(count);
    for seed in number("LEVERET_SEED").map_or(0..count, |seed| seed..seed + 1) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| play(seed))) {
            #[allow(
                clippy::print_stderr,
                reason = "whoever reads the failure needs the seed"
            )]
            {
                eprintln!("play it again with LEVERET_SEED={seed}");
            }
            resume_unwind(panic);
        }
    }
}

const QUEUES: [&str; 5] = ["plain", "limited", "expiring", "quorum", "single"];

const DECLARATIONS: [&str; 8] = [
    "queue.declare plain",
    "queue.declare limited x-max-length=3 x-overflow=reject-publish",
    "queue.declare expiring x-message-ttl=50 x-dead-letter-exchange= x-dead-letter-routing-key=plain",
    "queue.declare quorum durable x-queue-type=quorum x-delivery-limit=2 x-consumer-timeout=60000",
    "queue.declare single x-single-active-consumer=true x-max-priority=3",
    "queue.declare mine exclusive",
    "exchange.declare e topic alternate-exchange=amq.fanout",
    "queue.declare plain durable",
];

/// One line that a client might say.
fn line(numbers: &mut Numbers) -> String {
    let queue = match numbers.below(10) {
        0 => numbers.of(&["mine", "none", "amq.rabbitmq.reply-to", "-"]),
        _ => numbers.of(&QUEUES),
    };
    let tag = numbers.below(12);
    let multiple = numbers.of(&["", "", ".."]);
    let requeue = numbers.of(&["", "requeue"]);
    let body = numbers.of(&["a", "b", "10*", "5000*", "200000*", ""]);
    let consumer = numbers.of(&["x", "y", "z"]);
    let said = match numbers.below(36) {
        0..3 => numbers.of(&DECLARATIONS).to_owned(),
        3..11 => {
            let more = numbers.of(&[
                "",
                "mandatory",
                "expiration=30",
                "priority=2",
                "delivery_mode=2",
            ]);
            format!("basic.publish - {queue} {body} {more}")
        }
        11 => format!("basic.publish amq.fanout k {body}"),
        12 => format!("basic.publish - {queue} {body} reply_to=amq.rabbitmq.reply-to"),
        13..16 => format!("basic.get {queue} {}", numbers.of(&["", "no-ack"])),
        16..20 => {
            let more = numbers.of(&["", "", "no-ack", "exclusive", "x-priority=3", "no-wait"]);
            format!("basic.consume {queue} {consumer} {more}")
        }
        20..22 => format!("basic.cancel {consumer}"),
        22..26 => format!("basic.ack {multiple}{tag}"),
        26 => format!("basic.nack {multiple}{tag} {requeue}"),
        27 => format!("basic.reject {tag} {requeue}"),
        28 => "basic.recover requeue".into(),
        29 => format!(
            "basic.qos {} {}",
            numbers.below(4),
            numbers.of(&["", "global"])
        ),
        30 => numbers.of(&["confirm.select", "tx.select"]).to_owned(),
        31 => numbers.of(&["tx.commit", "tx.rollback"]).to_owned(),
        32 => format!("queue.purge {queue}"),
        33 => format!(
            "queue.delete {queue} {}",
            numbers.of(&["", "if-unused", "if-empty"])
        ),
        34 => format!(
            "queue.bind {queue} {} k",
            numbers.of(&["amq.fanout", "e", "none"])
        ),
        _ => "channel.close".into(),
    };
    let channel = match numbers.below(300) {
        0 => return "[0] connection.close".into(),
        1 => 1 + numbers.below(9),
        _ => 1 + numbers.below(2),
    };
    if said == "channel.close" {
        return format!(
            "[{channel}] {said}
[{channel}] channel.open"
        );
    }
    format!("[{channel}] {said}")
}

/// A client with channels 1 and 2.
fn two_channels(world: &World) -> Client<'_> {
    let mut client = world.client();
    client.open(2);
    client
}

/// Answers the channels that the broker closed, and opens them again.
fn reopen(client: &mut Client<'_>) -> usize {
    let heard = client.hear();
    for line in heard.iter().filter(|line| line.contains(" channel.close ")) {
        let channel = line.split(' ').next().unwrap_or_default();
        client.say(&format!(
            "{channel} channel.close-ok\n{channel} channel.open"
        ));
    }
    heard.len()
}

/// Something happens to a client.
fn step<'w>(world: &'w World, clients: &mut [Client<'w>], numbers: &mut Numbers) {
    let index = numbers.below(clients.len());
    let client = &mut clients[index];
    match numbers.below(100) {
        0 => *client = two_channels(world),
        1 => std::mem::replace(client, two_channels(world)).hang_up(),
        2..5 => client.set_reads(false),
        5..9 => client.set_reads(true),
        9 => client.set_room(1 + numbers.below(100_000)),
        10..13 => world.pass(numbers.below(40) as u64),
        13 => world.pass(61_000),
        14 => world.node.set_alarm(Alarm::Memory, true),
        15..18 => world.node.set_alarm(Alarm::Memory, false),
        18 => {
            // A line with a wrong byte in it.
            let mut bytes = Vec::new();
            let said = line(numbers);
            let first = said.lines().next().unwrap_or_default();
            script::encode(&mut bytes, first, 131_072);
            let at = numbers.below(bytes.len());
            bytes[at] ^= 1 << numbers.below(8);
            client.send(&bytes);
        }
        _ => {
            let lines: Vec<String> = (0..1 + numbers.below(4)).map(|_| line(numbers)).collect();
            client.say(&lines.join("\n"));
        }
    }
    if client.is_closed() {
        *client = two_channels(world);
    }
    reopen(client);
}

#[test]
fn in_the_end_everything_is_given_back() {
    with_seeds(150, |seed| {
        let mut numbers = Numbers::new(seed);
        let world = World::new();
        let mut clients: Vec<_> = (0..3).map(|_| two_channels(&world)).collect();
        for _ in 0..250 {
            step(&world, &mut clients, &mut numbers);
            for client in &mut clients {
                if numbers.below(3) == 0 {
                    client.pump();
                }
            }
        }
        drop(clients);
        for queue in QUEUES {
            let counts = world.counts(queue);
            assert!(
                counts == "gone" || counts.ends_with("/0/0"),
                "{queue}: {counts}"
            );
        }
        assert_eq!(world.counts("mine"), "gone");
        assert_eq!(world.node.connections.accepted_len(), 0);
        assert_eq!(world.node.connections.open_len(), 0);
        // What expires does so with nobody connected, too.
        world.pass(1000);
        let vhost = world.node.vhost("/").expect("it is there from the start");
        if let Ok(cell) = vhost.find_queue("expiring") {
            // The wrong byte may have been one of its time to live.
            let ttl_ms = cell.options().message_ttl_ms;
            assert!(ttl_ms != Some(50) || cell.counts().ready == 0);
        }
    });
}

/// One line of a client that takes messages and never settles them for good.
fn borrowing_line(numbers: &mut Numbers) -> String {
    let channel = 1 + numbers.below(2);
    let consumer = numbers.of(&["x", "y"]);
    let said = match numbers.below(16) {
        0..4 => "basic.get q".into(),
        4..7 => format!("basic.consume q {consumer} x-priority={}", numbers.below(2)),
        7..9 => format!("basic.cancel {consumer}"),
        9..11 => format!(
            "basic.nack {}{} requeue",
            numbers.of(&["", ".."]),
            1 + numbers.below(6)
        ),
        11 => format!("basic.reject {} requeue", 1 + numbers.below(6)),
        12 => "basic.recover requeue".into(),
        13 => format!(
            "basic.qos {} {}",
            numbers.below(4),
            numbers.of(&["", "global"])
        ),
        14 => format!(
            "channel.close
[{channel}] channel.open"
        ),
        _ => "tx.select".into(),
    };
    format!("[{channel}] {said}")
}

#[test]
fn borrowed_messages_come_back_to_their_places() {
    with_seeds(200, |seed| {
        let mut numbers = Numbers::new(seed);
        let world = World::new();
        let mut publisher = world.client();
        publisher.say("[1] queue.declare q");
        let mut clients: Vec<_> = (0..3).map(|_| two_channels(&world)).collect();
        let mut published = 0;
        for _ in 0..150 {
            let index = numbers.below(clients.len());
            match numbers.below(12) {
                0 => clients[index] = two_channels(&world),
                1 => clients[index].set_reads(false),
                2 => clients[index].set_reads(true),
                3..6 => {
                    published += 1;
                    publisher.say(&format!("[1] basic.publish - q {published}"));
                }
                _ => {
                    clients[index].say(&borrowing_line(&mut numbers));
                    reopen(&mut clients[index]);
                }
            }
            if clients[index].is_closed() || numbers.below(20) == 0 {
                clients[index] = two_channels(&world);
            }
        }
        drop(clients);
        assert_eq!(world.counts("q"), format!("{published}/0/0"));
        publisher.hear();
        publisher.say("[1] basic.consume q c no-ack");
        let heard = publisher.hear();
        let bodies = heard[1..]
            .iter()
            .map(|line| line.rsplit(' ').next().unwrap_or_default());
        let bodies: Vec<usize> = bodies.map(|body| body.parse().expect("a number")).collect();
        assert_eq!(bodies, (1..=published).collect::<Vec<_>>());
    });
}
