//! A connection's state machine over a node in memory, beside a second client that behaves.
//!
//! The input is a script of small records: bytes as they come, frames with a right length and end, output that
//! the socket takes, time that passes, alarms, lost connections. Its first octet says whether the script begins
//! with an open connection, a channel and some queues.
//!
//! Checked: nothing panics, the broker's output is whole frames, and when all are gone nothing is left unacked.
#![no_main]

use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};

use libfuzzer_sys::fuzz_target;
use node::alarms::Alarm;
use node::connections::ConnectionId;
use node::node::Node;
use node::settings::Settings;
use node::vhost::DeleteQueueIf;
use protocol::amqp091::{Connection, Peer};
use wire::amqp091::PROTOCOL_HEADER;
use wire::amqp091::frame::{decode_frame, encode_body, encode_content_header, encode_method};
use wire::amqp091::method::{
    BasicConsume, BasicPublish, ConnectionOpen, ConnectionStartOk, ConnectionTuneOk, Method,
    QueueDeclare,
};
use wire::amqp091::table::{FieldTable, FieldValue, Table};

/// One node for all inputs: to make one costs more than to play one. [`clear`] takes out what an input left.
static NODE: OnceLock<Arc<Node>> = OnceLock::new();

const START_MS: u64 = 1_700_000_000_000;
const QUEUES: [&str; 4] = ["a", "b", "c", "d"];

/// Output that a client has not taken may not be longer than this: what deliveries and answers stop at, and
/// what one round of them may add.
const OUTPUT_BYTES_MAX: usize = 32 << 20;

struct World {
    node: Arc<Node>,
    now_ms: u64,
}

impl World {
    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.node.run_timers(self.now_ms);
    }

    fn connect(&self) -> Client {
        let id = self.node.connections.admit(usize::MAX).expect("no limit");
        let peer = Peer {
            host: "127.0.0.1".into(),
            port: 1,
            local_host: "127.0.0.1".into(),
            local_port: 5672,
            loopback: true,
            external_user: None,
            tls: None,
        };
        Client {
            connection: Connection::new(Arc::clone(&self.node), id, peer, self.now_ms),
            input: Vec::new(),
            output: Vec::new(),
        }
    }

    fn open(&self) -> Client {
        let mut client = self.connect();
        client.input = handshake();
        client.turn(self.now_ms, usize::MAX);
        client
    }
}

struct Client {
    connection: Connection,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Client {
    /// What the driver does, until nothing moves; the socket takes `room` bytes in all.
    fn turn(&mut self, now_ms: u64, mut room: usize) {
        loop {
            let mut moved = false;
            let mut context = Context::from_waker(Waker::noop());
            if self.connection.poll_wake(&mut context).is_ready() {
                self.connection.handle_wake(now_ms);
                moved = true;
            }
            if self
                .connection
                .poll_timeout()
                .is_some_and(|at_ms| at_ms <= now_ms)
            {
                self.connection.handle_timeout(now_ms);
                moved = true;
            }
            if self.connection.wants_input() && !self.input.is_empty() {
                let used = self.connection.handle_input(now_ms, &self.input);
                self.input.drain(..used);
                moved |= used > 0;
            }
            let writable = self.connection.writable();
            assert!(writable.len() < OUTPUT_BYTES_MAX, "the output grows");
            let count = writable.len().min(room);
            if count > 0 {
                self.output.extend_from_slice(&writable[..count]);
                room -= count;
                self.connection.advance(now_ms, count);
                self.connection.deliver(now_ms);
                moved = true;
            }
            if !moved {
                break;
            }
        }
        self.check_output();
    }

    fn check_output(&mut self) {
        let mut at = if self.output.starts_with(b"AMQP") {
            8
        } else {
            0
        };
        while let Some((_, count)) =
            decode_frame(&self.output[at.min(self.output.len())..], u32::MAX).expect("whole frames")
        {
            at += count;
        }
        self.output.drain(..at.min(self.output.len()));
    }
}

fn handshake() -> Vec<u8> {
    let mut out = PROTOCOL_HEADER.to_vec();
    let mut capabilities = FieldTable::new();
    for name in ["connection.blocked", "consumer_cancel_notify"] {
        capabilities.set(name, FieldValue::Bool(true));
    }
    let mut properties = FieldTable::new();
    properties.set("capabilities", FieldValue::Table(capabilities));
    let properties = properties.encode();
    let start_ok = ConnectionStartOk {
        client_properties: Table::validate(&properties).expect("we encoded it"),
        mechanism: "PLAIN",
        response: b"\0guest\0guest",
        locale: "en_US",
    };
    encode_method(&mut out, 0, &Method::ConnectionStartOk(start_ok));
    let tune_ok = ConnectionTuneOk {
        channel_max: 3,
        frame_max: 4096,
        heartbeat: 10,
    };
    encode_method(&mut out, 0, &Method::ConnectionTuneOk(tune_ok));
    let open = ConnectionOpen { virtual_host: "/" };
    encode_method(&mut out, 0, &Method::ConnectionOpen(open));
    encode_method(&mut out, 1, &Method::ChannelOpen);
    encode_method(&mut out, 2, &Method::ChannelOpen);
    out
}

/// Four queues that differ, and some messages in each.
fn topology() -> Vec<u8> {
    let mut out = Vec::new();
    let arguments: [&[(&str, FieldValue)]; 4] = [
        &[],
        &[
            ("x-message-ttl", FieldValue::I32(50)),
            ("x-dead-letter-exchange", FieldValue::LongStr(vec![])),
        ],
        &[
            ("x-queue-type", FieldValue::LongStr(b"quorum".to_vec())),
            ("x-delivery-limit", FieldValue::I32(2)),
        ],
        &[
            ("x-single-active-consumer", FieldValue::Bool(true)),
            ("x-max-priority", FieldValue::I32(3)),
        ],
    ];
    for (queue, arguments) in QUEUES.into_iter().zip(arguments) {
        let mut table = FieldTable::new();
        for (key, value) in arguments {
            table.set(*key, value.clone());
        }
        let table = table.encode();
        let declare = QueueDeclare {
            queue,
            durable: queue == "c",
            arguments: Table::validate(&table).expect("we encoded it"),
            ..QueueDeclare::default()
        };
        encode_method(&mut out, 1, &Method::QueueDeclare(declare));
        for _ in 0..3 {
            publish(&mut out, queue);
        }
    }
    out
}

fn publish(out: &mut Vec<u8>, queue: &str) {
    let publish = BasicPublish {
        routing_key: queue,
        ..BasicPublish::default()
    };
    encode_method(out, 1, &Method::BasicPublish(publish));
    encode_content_header(out, 1, 60, 5, &[0, 0]);
    encode_body(out, 1, b"hello", 4096);
}

/// Takes out of the node what an input declared, and checks that nobody holds any of it.
fn clear(node: &Node) {
    node.set_alarm(Alarm::Memory, false);
    assert_eq!(node.connections.accepted_len(), 0);
    let vhost = node.vhost("/").expect("it is there from the start");
    for cell in vhost.read(|topology| topology.queues()) {
        let counts = cell.counts();
        assert_eq!(
            (counts.unacked, counts.consumers),
            (0, 0),
            "{}",
            cell.spec.name
        );
        let deleted =
            vhost.delete_queue(&cell.spec.name, ConnectionId(0), DeleteQueueIf::default());
        deleted.expect("it is nobody's");
    }
    let (names, bindings) = vhost.read(|topology| {
        let exchanges = topology.router.exchanges().into_iter();
        let names: Vec<_> = exchanges.map(|spec| Arc::clone(&spec.name)).collect();
        (names, topology.router.bindings())
    });
    for binding in bindings {
        vhost.unbind(&binding).expect("unbinding succeeds");
    }
    for name in names
        .iter()
        .filter(|name| !name.is_empty() && !name.starts_with("amq."))
    {
        vhost.delete_exchange(name, false).expect("it is nobody's");
    }
    assert!(node.timers.is_empty(), "timers of queues that are gone");
}

/// Takes one octet of the script.
fn octet(script: &mut &[u8]) -> u8 {
    match script.split_first() {
        Some((first, rest)) => {
            *script = rest;
            *first
        }
        None => 0,
    }
}

fn chunk<'a>(script: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (chunk, rest) = script.split_at(count.min(script.len()));
    *script = rest;
    chunk
}

/// Puts one record's bytes into the client's input, or does what else it says.
fn step(world: &mut World, client: &mut Client, other: &mut Client, script: &mut &[u8]) -> usize {
    let op = octet(script);
    match op % 16 {
        0..3 => {
            let count = usize::from(octet(script));
            client.input.extend_from_slice(chunk(script, count));
        }
        3..10 => {
            let head = octet(script);
            let count = usize::from(octet(script)) + 256 * usize::from(head >> 6);
            let payload = chunk(script, count);
            let kind = [1, 2, 3, 8][usize::from(head & 3)];
            client.input.extend_from_slice(&[kind, 0, head >> 2 & 3]);
            client
                .input
                .extend_from_slice(&(payload.len() as u32).to_be_bytes());
            client.input.extend_from_slice(payload);
            client.input.push(0xCE);
        }
        10 => return usize::from(octet(script)) * 256,
        11 => world.pass(u64::from(octet(script))),
        12 => world.pass(u64::from(octet(script)) * 1000),
        13 => {
            let on = octet(script) & 1 == 1;
            world.node.set_alarm(Alarm::Memory, on);
        }
        14 => match octet(script) % 4 {
            0 => client.connection.hang_up(world.now_ms),
            1 => *client = world.open(),
            2 => drop(world.node.connections.close(320, "bye", |_| true)),
            _ => *other = world.open(),
        },
        _ => {
            let queue = QUEUES[usize::from(op >> 4) % QUEUES.len()];
            if op & 0x80 == 0 {
                publish(&mut other.input, queue);
            } else {
                let consume = BasicConsume {
                    queue,
                    consumer_tag: queue,
                    nowait: true,
                    ..BasicConsume::default()
                };
                encode_method(&mut other.input, 2, &Method::BasicConsume(consume));
            }
        }
    }
    usize::MAX
}

fuzz_target!(|script: &[u8]| {
    let mut script = script;
    let mut world = World {
        node: Arc::clone(NODE.get_or_init(|| Node::in_memory(Settings::default(), START_MS))),
        now_ms: START_MS,
    };
    let mut other = world.open();
    other.input.extend(topology());
    other.turn(world.now_ms, usize::MAX);
    let mut client = match octet(&mut script) & 1 {
        0 => world.connect(),
        _ => world.open(),
    };
    let mut pause = false;
    while !script.is_empty() {
        let room = step(&mut world, &mut client, &mut other, &mut script);
        // A socket that took little takes nothing in the next step, so that output piles up.
        let room = if std::mem::replace(&mut pause, room < usize::MAX) {
            0
        } else {
            room
        };
        client.turn(world.now_ms, room);
        other.turn(world.now_ms, usize::MAX);
    }
    drop((client, other));
    clear(&world.node);
});
