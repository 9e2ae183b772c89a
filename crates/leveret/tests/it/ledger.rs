//! kill -9, again and again, with a ledger of what was promised.
//!
//! Publishers wait for confirms and consumers ack, while the broker is killed at random moments and started again.
//! Nothing here depends on how long anything takes: what a publisher was told before a kill is a promise, and an ack is
//! *safe* when a message that was published after it was confirmed, because the log has one order. Checked:
//!
//! - each confirmed message comes to every queue that it was routed to;
//! - what was acked safely before a kill never comes again;
//! - what comes twice says that it is redelivered.
//!
//! Among the queues are a quorum queue, one with priorities, a fan-out, one whose messages are rejected into a
//! dead-letter queue, and one whose messages expire into another. `LEVERET_KILLS` and `LEVERET_SEED` choose how many
//! kills and which moments; the seed is printed. `cargo xtask soak` runs the long form.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use probe::{Client, Event, Options};

use crate::broker::{Broker, call};

/// Kills of the short form.
const KILLS: u64 = 6;
/// Publishes of one publisher that may wait for their confirms.
const OUTSTANDING_MAX: usize = 200;
/// How long nothing may come before the rest counts as lost.
const SILENCE: Duration = Duration::from_secs(20);

const TOPOLOGY: &[&str] = &[
    r#"queue.declare queue="plain" durable"#,
    r#"queue.declare queue="quorum" durable arguments={x-queue-type: "quorum"}"#,
    r#"queue.declare queue="prio" durable arguments={x-max-priority: 5}"#,
    r#"queue.declare queue="dead" durable"#,
    r#"queue.declare queue="work" durable arguments={x-dead-letter-exchange: "", x-dead-letter-routing-key: "dead"}"#,
    r#"queue.declare queue="expired" durable"#,
    r#"queue.declare queue="ttl" durable arguments={x-message-ttl: 200, x-dead-letter-exchange: "", x-dead-letter-routing-key: "expired"}"#,
    r#"exchange.declare exchange="fan" type="fanout" durable"#,
    r#"queue.declare queue="fan1" durable"#,
    r#"queue.declare queue="fan2" durable"#,
    r#"queue.bind queue="fan1" exchange="fan""#,
    r#"queue.bind queue="fan2" exchange="fan""#,
];

/// Queues with a consumer.
const CONSUMED: &[&str] = &[
    "plain", "quorum", "prio", "dead", "work", "expired", "fan1", "fan2",
];

/// Exchange, routing key, and the queues that a message must come out of.
const TARGETS: &[(&str, &str, &[&str])] = &[
    ("", "plain", &["plain"]),
    ("", "quorum", &["quorum"]),
    ("", "prio", &["prio"]),
    ("", "work", &["work"]),
    ("", "work", &["dead"]),
    ("", "ttl", &["expired"]),
    ("fan", "", &["fan1", "fan2"]),
];

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// What became of a message in a queue.
#[derive(Clone, Copy)]
enum Seen {
    /// It came.
    Delivered,
    /// It came and was acked at this moment of this life of the broker.
    Acked { moment: u64, life: u64 },
    /// It must not come any more.
    Gone,
}

/// The ledger.
#[derive(Default)]
struct Book {
    /// Confirmed messages by their id, and the queues that they must come out of.
    confirmed: HashMap<String, &'static [&'static str]>,
    seen: HashMap<(&'static str, String), Seen>,
    /// How often the broker was killed.
    life: u64,
    /// The latest publish of this life that was confirmed.
    confirmed_moment: u64,
    deliveries: u64,
    again: u64,
    wrongs: Vec<String>,
}

struct Ledger {
    book: Mutex<Book>,
    address: Mutex<SocketAddr>,
    clock: AtomicU64,
    publishing: AtomicBool,
    running: AtomicBool,
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nobody panicked")
    }

    fn moment(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Connects to the broker of the moment, again and again until there is one.
    fn connect(&self) -> Option<Client> {
        while self.running.load(Ordering::SeqCst) {
            let address = *self.address.lock().expect("nobody panicked");
            if let Ok(mut client) = Client::open(address, &Options::default())
                && let Some(event) = client.call(1, "channel.open")
                && event.name() == "channel.open-ok"
            {
                return Some(client);
            }
            thread::yield_now();
        }
        None
    }

    // ---- publishers ----

    fn publish(&self, publisher: usize, mut chance: Chance) {
        let mut serial = 0_u64;
        while self.publishing.load(Ordering::SeqCst) {
            let Some(mut client) = self.connect() else {
                return;
            };
            self.publish_through(&mut client, publisher, &mut serial, &mut chance);
        }
    }

    fn publish_through(
        &self,
        client: &mut Client,
        publisher: usize,
        serial: &mut u64,
        chance: &mut Chance,
    ) {
        let life = self.book().life;
        if client.call(1, "confirm.select").is_none() {
            return;
        }
        // By number: id, target, moment.
        let mut open: BTreeMap<u64, (String, usize, u64)> = BTreeMap::new();
        let mut number = 0;
        while !client.is_ended() {
            let publishing = self.publishing.load(Ordering::SeqCst);
            if !publishing && open.is_empty() {
                return;
            }
            let mut bytes = Vec::new();
            if publishing && open.len() < OUTSTANDING_MAX {
                for _ in 0..=chance.below(20) {
                    let target = chance.below(TARGETS.len() as u64) as usize;
                    let (exchange, key, _) = TARGETS[target];
                    *serial += 1;
                    number += 1;
                    let id = format!("{publisher}-{serial}-{target}");
                    let priority = chance.below(6);
                    let text = format!(
                        r#"basic.publish exchange="{exchange}" routing_key="{key}" delivery_mode=2 priority={priority}"#
                    );
                    let mut body = id.clone().into_bytes();
                    body.resize(body.len() + chance.below(2000) as usize, b'.');
                    bytes.extend(client.encode(1, &text, &body).expect("it is right"));
                    open.insert(number, (id, target, self.moment()));
                }
                if client.send_bytes(&bytes).is_err() {
                    return;
                }
            }
            let wait = match open.len() < OUTSTANDING_MAX && publishing {
                true => Duration::from_millis(2),
                false => Duration::from_millis(200),
            };
            while let Some(event) = client.next(wait) {
                self.note_answer(&event, life, &mut open);
                if open.len() < OUTSTANDING_MAX {
                    break;
                }
            }
        }
    }

    fn note_answer(
        &self,
        event: &Event,
        life: u64,
        open: &mut BTreeMap<u64, (String, usize, u64)>,
    ) {
        let Some(method) = event.method() else { return };
        let number = method.number("delivery_tag");
        let mut book = self.book();
        match method.name {
            "basic.ack" => {
                let later = open.split_off(&(number + 1));
                let mut answered = std::mem::replace(open, later);
                if !method.bit("multiple") {
                    let one = answered.remove(&number);
                    open.append(&mut answered);
                    answered = one.map(|one| (number, one)).into_iter().collect();
                }
                for (id, target, moment) in answered.into_values() {
                    book.confirmed.insert(id, TARGETS[target].2);
                    if book.life == life {
                        book.confirmed_moment = book.confirmed_moment.max(moment);
                    }
                }
            }
            "basic.nack" => book.wrongs.push(format!("{number} was refused")),
            _ => {}
        }
    }

    // ---- consumers ----

    fn consume(&self, queue: &'static str, mut chance: Chance) {
        while let Some(mut client) = self.connect() {
            let consume = format!(r#"basic.consume queue="{queue}" consumer_tag="c""#);
            let life = self.book().life;
            if client.call(1, "basic.qos prefetch_count=50").is_none()
                || client.call(1, &consume).is_none()
            {
                continue;
            }
            while !client.is_ended() && self.running.load(Ordering::SeqCst) {
                if !self.consume_some(&mut client, queue, life, chance.below(30)) {
                    break;
                }
            }
        }
    }

    /// Takes some deliveries, answers them, and notes when the broker has seen the answers.
    fn consume_some(&self, client: &mut Client, queue: &'static str, life: u64, most: u64) -> bool {
        let mut answered = Vec::new();
        for _ in 0..=most {
            let Some(event) = client.next(Duration::from_millis(5)) else {
                break;
            };
            let Event::Content { method, body, .. } = &event else {
                continue;
            };
            let id = String::from_utf8_lossy(body);
            let id = id.trim_end_matches('.').to_owned();
            self.note_delivery(queue, &id, method.bit("redelivered"));
            let tag = method.number("delivery_tag");
            let answer = match queue == "work" && id.ends_with("-4") {
                true => format!("basic.reject delivery_tag={tag}"),
                false => format!("basic.ack delivery_tag={tag}"),
            };
            if client.send(1, &answer, b"").is_err() {
                return false;
            }
            answered.push(id);
        }
        if answered.is_empty() {
            return true;
        }
        // The answer to this shows that the acks have been served.
        let served = client.call(1, "basic.qos prefetch_count=50");
        if served.is_none_or(|event| event.name() != "basic.qos-ok") {
            return false;
        }
        let moment = self.moment();
        let mut book = self.book();
        if book.life == life {
            for id in answered {
                book.seen.insert((queue, id), Seen::Acked { moment, life });
            }
        }
        true
    }

    fn note_delivery(&self, queue: &'static str, id: &str, redelivered: bool) {
        let mut book = self.book();
        book.deliveries += 1;
        let key = (queue, id.to_owned());
        match book.seen.get(&key) {
            Some(Seen::Gone) => {
                let wrong = format!("{id} came back to {queue} after it was acked");
                book.wrongs.push(wrong);
            }
            Some(_) if !redelivered => {
                let wrong = format!("{id} came twice from {queue} without saying so");
                book.wrongs.push(wrong);
            }
            Some(_) => book.again += 1,
            None => {}
        }
        book.seen.insert(key, Seen::Delivered);
    }

    // ---- kills ----

    /// The broker is killed: what is safe is safe, and what is not never will be.
    fn end_life(&self) {
        let mut book = self.book();
        let (life, confirmed) = (book.life, book.confirmed_moment);
        for seen in book.seen.values_mut() {
            if let Seen::Acked { moment, life: at } = *seen {
                let safe = at == life && moment < confirmed;
                *seen = if safe { Seen::Gone } else { Seen::Delivered };
            }
        }
        book.life += 1;
        book.confirmed_moment = 0;
    }

    /// Confirmed messages that have not come to all their queues.
    fn missing(&self) -> Vec<String> {
        let book = self.book();
        let mut missing = Vec::new();
        for (id, queues) in &book.confirmed {
            for queue in *queues {
                if !book.seen.contains_key(&(*queue, id.clone())) {
                    missing.push(format!("{id} of {queue}"));
                }
            }
        }
        missing.sort();
        missing
    }

    /// Waits until all that was confirmed has come, or nothing comes any more.
    fn drain(&self) -> Vec<String> {
        let (mut before, mut since) = (u64::MAX, Instant::now());
        loop {
            let missing = self.missing();
            let deliveries = self.book().deliveries;
            if deliveries != before {
                (before, since) = (deliveries, Instant::now());
            }
            if missing.is_empty() || since.elapsed() > SILENCE {
                return missing;
            }
            thread::park_timeout(Duration::from_millis(50));
        }
    }
}

fn number_from(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |value| value.parse().expect("a number"))
}

fn declare(broker: &Broker) {
    let mut client = broker.client();
    client.open_channel(1);
    for line in TOPOLOGY {
        let answer = call(&mut client, line);
        assert!(answer.contains("-ok"), "{line}: {answer}");
    }
}

/// Kills and restarts; gives the last broker.
fn torment(
    ledger: &Ledger,
    mut broker: Broker,
    dir: &Path,
    kills: u64,
    mut chance: Chance,
) -> Broker {
    for kill in 1..=kills {
        // However long it is, it is a moment like any other.
        thread::park_timeout(Duration::from_millis(50 + chance.below(900)));
        ledger.end_life();
        broker.kill();
        broker = Broker::start(dir);
        *ledger.address.lock().expect("nobody panicked") = broker.address;
        if kill.is_multiple_of(10) {
            let book = ledger.book();
            let (confirmed, deliveries) = (book.confirmed.len(), book.deliveries);
            eprintln!("kill {kill}: {confirmed} confirmed, {deliveries} deliveries");
        }
    }
    broker
}

#[test]
fn nothing_confirmed_is_lost_by_kills() {
    let kills = number_from("LEVERET_KILLS", KILLS);
    let seed = number_from("LEVERET_SEED", u64::from(std::process::id()));
    eprintln!("LEVERET_SEED={seed} LEVERET_KILLS={kills}");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(dir.path());
    declare(&broker);
    let ledger = Ledger {
        book: Mutex::default(),
        address: Mutex::new(broker.address),
        clock: AtomicU64::new(1),
        publishing: AtomicBool::new(true),
        running: AtomicBool::new(true),
    };
    let mut number = seed;
    let mut chance = || {
        number = number.wrapping_add(0x1234_5678_9ABC_DEF1);
        Chance(number)
    };
    let (missing, broker) = thread::scope(|scope| {
        let ledger = &ledger;
        let publishers: Vec<_> = (0..2)
            .map(|publisher| {
                let chance = chance();
                scope.spawn(move || ledger.publish(publisher, chance))
            })
            .collect();
        for queue in CONSUMED {
            let chance = chance();
            scope.spawn(move || ledger.consume(queue, chance));
        }
        let broker = torment(ledger, broker, dir.path(), kills, chance());
        ledger.publishing.store(false, Ordering::SeqCst);
        for publisher in publishers {
            publisher.join().expect("publishers do not panic");
        }
        let missing = ledger.drain();
        ledger.running.store(false, Ordering::SeqCst);
        (missing, broker)
    });
    let book = ledger.book();
    eprintln!(
        "{kills} kills: {} confirmed, {} deliveries, {} of them again",
        book.confirmed.len(),
        book.deliveries,
        book.again
    );
    assert!(book.wrongs.is_empty(), "seed {seed}: {:#?}", book.wrongs);
    assert!(missing.is_empty(), "seed {seed}: lost {missing:#?}");
    assert!(book.deliveries > 0 && !book.confirmed.is_empty());
    drop(broker);
}
