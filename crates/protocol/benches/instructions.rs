//! Messages through the whole broker but its sockets, for `cargo xtask instructions` to count what they cost.
//!
//! Run under callgrind with one of [`SCENARIOS`] and a number of messages; which phase is counted is for callgrind
//! to say, by the names of [`count_publish`], [`count_deliver`] and [`count_ack`]. Deliberately absent: the
//! sockets, whose cost the kernel decides, and the clock: the same input is the same run.

use std::sync::Arc;
use std::task::{Context, Waker};

use node::node::Node;
use node::settings::Settings;
use protocol::amqp091::{Connection, Peer};
use wire::amqp091::PROTOCOL_HEADER;
use wire::amqp091::frame::{encode_body, encode_content_header, encode_method};
use wire::amqp091::method::{
    BasicAck, BasicConsume, BasicPublish, ConnectionOpen, ConnectionStartOk, ConnectionTuneOk,
    ExchangeDeclare, Method, QueueBind, QueueDeclare,
};

/// Any moment.
const NOW_MS: u64 = 1_700_000_000_000;

/// Messages in what is read at once: a full read of small messages.
const BATCH: usize = 500;

/// Batches before those that are counted: buffers have grown then.
const WARM_UP: usize = 4;

const FRAME_BYTES_MAX: u32 = 131_072;

/// What is measured.
struct Scenario {
    name: &'static str,
    body_bytes: usize,
    queues: usize,
    /// Empty: the default exchange.
    exchange_kind: &'static str,
    /// Bindings of a topic exchange.
    bindings: usize,
    /// Different routing keys of the messages.
    keys: usize,
    acks: bool,
    /// Consumed only when all is published.
    backlog: bool,
}

const DIRECT: Scenario = Scenario {
    name: "direct",
    body_bytes: 16,
    queues: 1,
    exchange_kind: "",
    bindings: 0,
    keys: 1,
    acks: false,
    backlog: false,
};

const SCENARIOS: [Scenario; 7] = [
    DIRECT,
    Scenario {
        name: "kibibyte",
        body_bytes: 1024,
        ..DIRECT
    },
    Scenario {
        name: "acked",
        acks: true,
        ..DIRECT
    },
    Scenario {
        name: "fanout",
        queues: 10,
        exchange_kind: "fanout",
        ..DIRECT
    },
    Scenario {
        name: "topic",
        exchange_kind: "topic",
        bindings: 1000,
        keys: 100,
        ..DIRECT
    },
    Scenario {
        name: "queues",
        queues: 100,
        keys: 100,
        ..DIRECT
    },
    Scenario {
        name: "backlog",
        backlog: true,
        ..DIRECT
    },
];

/// One end of a conversation, as the server's driver would drive it.
struct Client {
    connection: Connection,
    /// Written by the broker and not looked at.
    written: usize,
    /// Deliveries so far.
    delivered: u64,
}

impl Client {
    fn open(node: &Arc<Node>) -> Client {
        let id = node.connections.admit(usize::MAX).expect("no limit");
        let peer = Peer {
            host: "127.0.0.1".into(),
            port: 50_000,
            local_host: "127.0.0.1".into(),
            local_port: 5672,
            loopback: true,
            external_user: None,
            tls: None,
        };
        let mut client = Client {
            connection: Connection::new(Arc::clone(node), id, peer, NOW_MS),
            written: 0,
            delivered: 0,
        };
        let mut said = PROTOCOL_HEADER.to_vec();
        let start_ok = ConnectionStartOk {
            mechanism: "PLAIN",
            response: b"\0guest\0guest",
            locale: "en_US",
            ..ConnectionStartOk::default()
        };
        let tune_ok = ConnectionTuneOk {
            channel_max: 2047,
            frame_max: FRAME_BYTES_MAX,
            heartbeat: 0,
        };
        let open = ConnectionOpen { virtual_host: "/" };
        encode_method(&mut said, 0, &Method::ConnectionStartOk(start_ok));
        encode_method(&mut said, 0, &Method::ConnectionTuneOk(tune_ok));
        encode_method(&mut said, 0, &Method::ConnectionOpen(open));
        encode_method(&mut said, 1, &Method::ChannelOpen);
        client.say(&said);
        client
    }

    /// Outside of what is counted.
    fn say(&mut self, mut said: &[u8]) {
        while !said.is_empty() {
            let used = self.connection.handle_input(NOW_MS, said);
            assert!(used > 0, "the broker reads on");
            said = &said[used..];
            self.write();
        }
    }

    fn call(&mut self, method: &Method<'_>) {
        let mut said = Vec::new();
        encode_method(&mut said, 1, method);
        self.say(&said);
    }

    /// Takes everything that is to be written.
    fn write(&mut self) {
        loop {
            let count = self.connection.writable().len();
            if count == 0 {
                return;
            }
            self.written += count;
            self.connection.advance(NOW_MS, count);
            self.connection.deliver(NOW_MS);
        }
    }

    fn wake(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while self.connection.poll_wake(&mut context).is_ready() {
            self.connection.handle_wake(NOW_MS);
            self.write();
        }
    }
}

/// Counted: the broker reads publishes, routes them and puts them into their queues.
#[inline(never)]
fn count_publish(client: &mut Client, said: &[u8]) {
    // Different words keep the compiler from making one function of the three.
    std::hint::black_box("publish");
    client.say(said);
}

/// Counted: the broker writes deliveries; `said` may ask for them.
#[inline(never)]
fn count_deliver(client: &mut Client, said: &[u8]) {
    std::hint::black_box("deliver");
    client.say(said);
    client.wake();
}

/// Counted: the broker reads acks.
#[inline(never)]
fn count_ack(client: &mut Client, said: &[u8]) {
    std::hint::black_box("ack");
    client.say(said);
}

fn declare(client: &mut Client, scenario: &Scenario) {
    for queue in 0..scenario.queues {
        let name = queue_name(queue);
        let declare = QueueDeclare {
            queue: &name,
            ..QueueDeclare::default()
        };
        client.call(&Method::QueueDeclare(declare));
    }
    if scenario.exchange_kind.is_empty() {
        return;
    }
    let declare = ExchangeDeclare {
        exchange: "e",
        r#type: scenario.exchange_kind,
        ..ExchangeDeclare::default()
    };
    client.call(&Method::ExchangeDeclare(declare));
    for binding in 0..scenario.bindings.max(scenario.queues) {
        let bind = QueueBind {
            queue: &queue_name(binding % scenario.queues),
            exchange: "e",
            routing_key: &format!("sensor.{binding}.*"),
            ..QueueBind::default()
        };
        client.call(&Method::QueueBind(bind));
    }
}

fn queue_name(number: usize) -> String {
    format!("q{number}")
}

fn publishes(scenario: &Scenario) -> Vec<u8> {
    let mut said = Vec::new();
    let body = vec![b'x'; scenario.body_bytes];
    for message in 0..BATCH {
        let number = message % scenario.keys;
        let (exchange, routing_key) = match scenario.exchange_kind {
            "" => ("", queue_name(number)),
            _ => ("e", format!("sensor.{number}.warm")),
        };
        let publish = BasicPublish {
            exchange,
            routing_key: &routing_key,
            ..BasicPublish::default()
        };
        encode_method(&mut said, 1, &Method::BasicPublish(publish));
        encode_content_header(&mut said, 1, 60, body.len() as u64, &[0, 0]);
        encode_body(&mut said, 1, &body, FRAME_BYTES_MAX);
    }
    said
}

/// `basic.consume` from each queue.
fn consumes(scenario: &Scenario) -> Vec<u8> {
    let mut said = Vec::new();
    for queue in 0..scenario.queues {
        let consume = BasicConsume {
            queue: &queue_name(queue),
            no_ack: !scenario.acks,
            ..BasicConsume::default()
        };
        encode_method(&mut said, 1, &Method::BasicConsume(consume));
    }
    said
}

fn acks(client: &mut Client) -> Vec<u8> {
    let mut said = Vec::new();
    for _ in 0..BATCH {
        client.delivered += 1;
        let ack = BasicAck {
            delivery_tag: client.delivered,
            multiple: false,
        };
        encode_method(&mut said, 1, &Method::BasicAck(ack));
    }
    said
}

fn run(scenario: &Scenario, batches: usize) {
    let node = Node::in_memory(Settings::default(), NOW_MS);
    let mut publisher = Client::open(&node);
    let mut consumer = Client::open(&node);
    declare(&mut publisher, scenario);
    if !scenario.backlog {
        consumer.say(&consumes(scenario));
    }
    consumer.wake();
    let said = publishes(scenario);
    let copies = match scenario.exchange_kind {
        "fanout" => scenario.queues,
        _ => 1,
    };
    let before = consumer.written;
    for batch in 0..WARM_UP + batches {
        if batch < WARM_UP {
            publisher.say(&said);
        } else {
            count_publish(&mut publisher, &said);
        }
        if scenario.backlog {
            continue;
        }
        if batch < WARM_UP {
            consumer.wake();
        } else {
            count_deliver(&mut consumer, &[]);
        }
        if scenario.acks {
            let said = acks(&mut consumer);
            if batch < WARM_UP {
                consumer.say(&said);
            } else {
                count_ack(&mut consumer, &said);
            }
        }
    }
    if scenario.backlog {
        count_deliver(&mut consumer, &consumes(scenario));
    }
    let least = (WARM_UP + batches) * BATCH * copies * scenario.body_bytes;
    assert!(
        least < consumer.written - before,
        "every message was delivered"
    );
}

#[allow(clippy::print_stdout, reason = "whoever runs it wants to know")]
fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let wanted = words.first().map(String::as_str).unwrap_or_default();
    let Some(scenario) = SCENARIOS.iter().find(|scenario| scenario.name == wanted) else {
        // Started by a test runner, or by somebody who wonders.
        SCENARIOS
            .iter()
            .for_each(|scenario| println!("{}", scenario.name));
        return;
    };
    let messages: usize = words
        .get(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(20_000);
    run(scenario, messages / BATCH);
}
