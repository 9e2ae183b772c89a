//! A broker and its clients in memory, with virtual time.
//!
//! [`World`] is a node and a clock that only tests move. A [`Client`] holds the broker's end of a connection
//! and drives it as the server's driver does: it feeds what was said, takes what is to be written, and wakes
//! it when its mailbox asks for it. Words go in as in [`crate::script`], and come out as one line each.

use std::cell::Cell;
use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Context, Waker};

use node::flow::HOLD_MS;
use node::message_log::{MessageLog, Options};
use node::node::Node;
use node::settings::Settings;
use protocol::amqp091::{Connection, Peer};
use storage::disk::Disk;
use storage::disk::sim::SimDisk;
use wire::amqp091::PROTOCOL_HEADER;
use wire::amqp091::frame::{decode_frame, encode_method};
use wire::amqp091::method::{ConnectionOpen, ConnectionStartOk, ConnectionTuneOk, Method};
use wire::amqp091::table::{FieldTable, FieldValue, Table};

use crate::script;

/// When every world begins, in milliseconds since 1970.
pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// A node and its clock.
pub(crate) struct World {
    pub(crate) node: Arc<Node>,
    now_ms: Cell<u64>,
}

/// What a client says of itself in the handshake.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) mechanism: &'static str,
    pub(crate) response: Vec<u8>,
    pub(crate) capabilities: Vec<&'static str>,
    pub(crate) channel_max: u16,
    pub(crate) frame_max: u32,
    pub(crate) heartbeat_s: u16,
    pub(crate) vhost: &'static str,
    pub(crate) loopback: bool,
}

impl Default for Login {
    fn default() -> Self {
        Login {
            mechanism: "PLAIN",
            response: b"\0guest\0guest".to_vec(),
            capabilities: vec![
                "connection.blocked",
                "consumer_cancel_notify",
                "authentication_failure_close",
            ],
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat_s: 0,
            vhost: "/",
            loopback: true,
        }
    }
}

impl Login {
    /// Somebody else than guest.
    pub(crate) fn of(user: &str, password: &str) -> Self {
        Login {
            response: format!("\0{user}\0{password}").into_bytes(),
            ..Login::default()
        }
    }
}

impl World {
    /// With RabbitMQ's defaults.
    pub(crate) fn new() -> Self {
        World::with(Settings::default())
    }

    /// With settings of its own.
    pub(crate) fn with(settings: Settings) -> Self {
        World {
            node: Node::in_memory(settings, START_MS),
            now_ms: Cell::new(START_MS),
        }
    }

    /// With a message log on a disk of the test's, which writes when [`World::sync`] is called.
    pub(crate) fn on_disk(disk: &Arc<SimDisk>, options: Options) -> Self {
        let disk = Arc::clone(disk) as Arc<dyn Disk>;
        let (log, _) = MessageLog::on_disk(disk, options, 0).expect("the log opens");
        World {
            node: Node::with_log(Settings::default(), log, START_MS),
            now_ms: Cell::new(START_MS),
        }
    }

    /// The log.
    pub(crate) fn log(&self) -> &Arc<MessageLog> {
        self.node.log.as_ref().expect("it has one")
    }

    /// Serves all that queues want back from the log.
    ///
    /// # Panics
    /// If there is no end to it: what was read is given up again, and asked for anew.
    pub(crate) fn read_pages(&self) {
        let mut left = 10_000;
        while self.log().read_step(self.now_ms()) {
            left -= 1;
            assert!(left > 0, "queues want things back without end");
        }
    }

    /// One group commit of the log.
    pub(crate) fn sync(&self) {
        self.log().step();
    }

    /// The time.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    /// Moves the clock and wakes the queues whose time has come, each at its own moment.
    pub(crate) fn pass(&self, ms: u64) {
        let end_ms = self.now_ms() + ms;
        while let Some(next_ms) = self.node.timers.next_ms().filter(|next| *next <= end_ms) {
            self.now_ms.set(next_ms.max(self.now_ms()));
            self.node.run_timers(self.now_ms());
        }
        self.now_ms.set(end_ms);
    }

    /// A socket was accepted; nothing is said yet.
    pub(crate) fn accept(&self, loopback: bool) -> Client<'_> {
        self.accept_proved(loopback, None)
    }

    /// The same, of somebody whom the transport knows already.
    pub(crate) fn accept_proved(
        &self,
        loopback: bool,
        external_user: Option<String>,
    ) -> Client<'_> {
        let id = self.node.connections.admit(usize::MAX).expect("no limit");
        let peer = Peer {
            host: "127.0.0.1".into(),
            port: 50_000,
            local_host: "127.0.0.1".into(),
            local_port: 5672,
            loopback,
            external_user,
            tls: None,
        };
        Client {
            world: self,
            connection: Connection::new(Arc::clone(&self.node), id, peer, self.now_ms()),
            input: Vec::new(),
            output: Vec::new(),
            reads: true,
            writes_on: true,
            room: usize::MAX,
            frame_max: 131_072,
        }
    }

    /// An open connection without channels.
    pub(crate) fn connect(&self) -> Client<'_> {
        self.connect_as(&Login::default())
    }

    /// The same, of somebody else.
    pub(crate) fn connect_as(&self, login: &Login) -> Client<'_> {
        let mut client = self.accept(login.loopback);
        client.send(&handshake(login));
        let heard = client.hear();
        let names: Vec<&str> = heard.iter().map(|line| name_of(line)).collect();
        assert_eq!(
            names,
            ["connection.start", "connection.tune", "connection.open-ok"],
            "{heard:?}"
        );
        client.frame_max = login.frame_max;
        client
    }

    /// An open connection with channel 1.
    pub(crate) fn client(&self) -> Client<'_> {
        let mut client = self.connect();
        client.open(1);
        client
    }

    /// `ready/unacked/consumers` of a queue of vhost `/`, or `gone`.
    pub(crate) fn counts(&self, queue: &str) -> String {
        let vhost = self.node.vhost("/").expect("it is there from the start");
        match vhost.find_queue(queue) {
            Err(_) => "gone".into(),
            Ok(cell) => {
                let counts = cell.counts();
                format!("{}/{}/{}", counts.ready, counts.unacked, counts.consumers)
            }
        }
    }
}

/// All that a client says in a handshake that goes well, at once.
pub(crate) fn handshake(login: &Login) -> Vec<u8> {
    let mut out = PROTOCOL_HEADER.to_vec();
    encode_start_ok(&mut out, login);
    let tune_ok = ConnectionTuneOk {
        channel_max: login.channel_max,
        frame_max: login.frame_max,
        heartbeat: login.heartbeat_s,
    };
    encode_method(&mut out, 0, &Method::ConnectionTuneOk(tune_ok));
    let open = ConnectionOpen {
        virtual_host: login.vhost,
    };
    encode_method(&mut out, 0, &Method::ConnectionOpen(open));
    out
}

/// `connection.start-ok`.
pub(crate) fn encode_start_ok(out: &mut Vec<u8>, login: &Login) {
    let mut capabilities = FieldTable::new();
    for capability in &login.capabilities {
        capabilities.set(*capability, FieldValue::Bool(true));
    }
    let mut properties = FieldTable::new();
    properties.set("capabilities", FieldValue::Table(capabilities));
    let properties = properties.encode();
    let start_ok = ConnectionStartOk {
        client_properties: Table::validate(&properties).expect("we encoded it"),
        mechanism: login.mechanism,
        response: &login.response,
        locale: "en_US",
    };
    encode_method(out, 0, &Method::ConnectionStartOk(start_ok));
}

/// The method's name in a line that was heard: `[1] queue.declare-ok q 0 0`.
pub(crate) fn name_of(line: &str) -> &str {
    line.split(' ').nth(1).unwrap_or(line)
}

/// A client's end of the conversation, and the broker's.
pub(crate) struct Client<'w> {
    world: &'w World,
    pub(crate) connection: Connection,
    /// Sent and not read by the broker.
    input: Vec<u8>,
    /// Written by the broker and not looked at by the client.
    output: Vec<u8>,
    /// Whether the client takes what the broker writes.
    reads: bool,
    /// How much of it the socket takes at once.
    room: usize,
    /// Whether the socket is to be written to although nobody woke the connection: it took something the last time.
    writes_on: bool,
    frame_max: u32,
}

impl Client<'_> {
    /// Opens a channel.
    pub(crate) fn open(&mut self, channel: u16) {
        self.say(&format!("[{channel}] channel.open"));
        self.expect(&[&format!("[{channel}] channel.open-ok")]);
    }

    /// Sends bytes and lets the broker work.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.pump();
    }

    /// Says one line of a script, or several.
    pub(crate) fn say(&mut self, lines: &str) {
        let mut bytes = Vec::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            script::encode(&mut bytes, line, self.frame_max);
        }
        self.send(&bytes);
    }

    /// Lets the time pass for which a publisher is held up by slow consumers.
    pub(crate) fn outwait_consumers(&mut self) {
        if 0 < self.unread_bytes() {
            self.world.pass(HOLD_MS);
            self.pump();
        }
        assert_eq!(self.unread_bytes(), 0, "consumers are waited for once");
    }

    /// Sends bytes that the broker does not look at yet.
    pub(crate) fn send_only(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Says a line that the broker does not look at yet.
    pub(crate) fn say_only(&mut self, line: &str) {
        script::encode(&mut self.input, line, self.frame_max);
    }

    /// Says lines and checks all that comes back.
    pub(crate) fn ask(&mut self, lines: &str, answers: &[&str]) {
        self.say(lines);
        self.expect(answers);
    }

    /// Everything heard since the last time, a line each.
    pub(crate) fn hear(&mut self) -> Vec<String> {
        self.pump();
        script::decode(&mut self.output)
    }

    /// Checks all that was heard.
    #[track_caller]
    pub(crate) fn expect(&mut self, lines: &[&str]) {
        assert_eq!(self.hear(), lines);
    }

    /// Bodies of the messages that were delivered or got, and checks that nothing else was heard.
    #[track_caller]
    pub(crate) fn bodies(&mut self) -> Vec<String> {
        let heard = self.hear();
        let body = |line: &String| {
            assert!(
                line.contains("basic.deliver") || line.contains("basic.get-ok"),
                "{heard:?}"
            );
            line.rsplit(' ').next().unwrap_or_default().to_owned()
        };
        heard.iter().map(body).collect()
    }

    /// The client stops taking what the broker writes, or goes on.
    pub(crate) fn set_reads(&mut self, reads: bool) {
        self.reads = reads;
        self.writes_on = true;
        self.pump();
    }

    /// The socket takes this much at once.
    pub(crate) fn set_room(&mut self, room: usize) {
        self.room = room;
        self.writes_on = true;
    }

    /// Input that the broker did not want to read.
    pub(crate) fn unread_bytes(&self) -> usize {
        self.input.len()
    }

    /// Forgets what was heard, without reading it.
    pub(crate) fn forget(&mut self) -> usize {
        std::mem::take(&mut self.output).len()
    }

    /// One turn of the driver; whether anything moved.
    pub(crate) fn turn(&mut self) -> bool {
        let now_ms = self.world.now_ms();
        let mut moved = false;
        let mut context = Context::from_waker(Waker::noop());
        if self.connection.poll_wake(&mut context).is_ready() {
            self.connection.handle_wake(now_ms);
            moved = true;
        }
        while let Some(at_ms) = self.connection.poll_timeout()
            && at_ms <= now_ms
        {
            self.connection.handle_timeout(now_ms);
            moved = true;
        }
        if self.connection.wants_input() && !self.input.is_empty() {
            let asking = self.connection.is_asking();
            let used = self.connection.handle_input(now_ms, &self.input);
            self.input.drain(..used);
            moved |= used > 0 || (!asking && self.connection.is_asking());
        }
        // Who forgets to ask for a wake-up is found out: nothing is written by chance.
        if self.reads && (moved || std::mem::take(&mut self.writes_on)) {
            // By pieces and as a whole in turn, as sockets of both kinds would take it.
            let writable = match self.output.len() % 2 {
                0 => self.connection.writable().to_vec(),
                _ => {
                    let mut pieces = [IoSlice::new(&[]); 7];
                    let count = self.connection.writable_pieces(&mut pieces);
                    pieces[..count]
                        .iter()
                        .flat_map(|piece| piece.iter().copied())
                        .collect()
                }
            };
            let count = writable.len().min(self.room);
            if count > 0 {
                self.output.extend_from_slice(&writable[..count]);
                self.connection.advance(now_ms, count);
                self.connection.deliver(now_ms);
                self.writes_on = true;
                moved = true;
            }
        }
        moved
    }

    /// Lets the broker work until it has nothing more to do.
    pub(crate) fn pump(&mut self) {
        while self.turn() {}
    }

    /// The socket is gone.
    pub(crate) fn hang_up(mut self) {
        self.pump();
        self.connection.hang_up(self.world.now_ms());
    }

    /// Whether the broker closed the socket, or waits for the client to do it after the client's own close.
    pub(crate) fn is_closed(&self) -> bool {
        self.connection.is_finished()
            || self.connection.is_over() && self.connection.unsent_bytes() == 0
    }
}

/// How many whole frames there are in `bytes`.
pub(crate) fn frame_ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while let Ok(Some((_, count))) = decode_frame(&bytes[at..], u32::MAX) {
        at += count;
        ends.push(at);
    }
    ends
}
