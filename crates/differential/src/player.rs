//! Plays steps against one broker and writes down what its clients see, in comparable words.
//!
//! After each step the player waits until nothing more can follow from it: it asks each queue and
//! each open channel a harmless question and takes what arrived before the answers. Steps that send
//! raw bytes cannot be followed by a question, so there it waits for silence.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use probe::{Client, Event, Field, Method, Options, Scanner, Value};

use crate::normal::Names;
use crate::script::Step;

/// Channel on which the player asks its questions; scripts use low numbers.
const QUESTION_CHANNEL: u16 = 99;
/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for outstanding confirms.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence that ends a raw step.
const SILENCE: Duration = Duration::from_millis(250);

/// One broker under comparison.
pub struct Side {
    address: String,
    vhost: String,
    names: Names,
    connections: BTreeMap<char, Connection>,
    /// Queues that exist, by the connection that declared them.
    queues: BTreeMap<String, char>,
    /// Every exchange and queue name a script declared, for the sweep at the end.
    swept: BTreeSet<(bool, String)>,
    /// Whether queue counts are written down after each step.
    pub counts: bool,
}

struct Connection {
    client: Client,
    channels: BTreeMap<u16, Channel>,
    question_open: bool,
    mute: bool,
    closed: bool,
}

#[derive(Default)]
struct Channel {
    confirm: bool,
    tx: bool,
    published: u64,
    outstanding: BTreeSet<u64>,
    /// Deliveries not settled yet: tag and body.
    unacked: Vec<(u64, Vec<u8>)>,
    /// Several queues delivered in one step, so tags carry no meaning any more.
    ambiguous: bool,
    no_ack_tags: BTreeSet<String>,
    consumers: BTreeSet<String>,
}

impl Side {
    /// A broker; `prefix` replaces `%` in names.
    pub fn new(address: &str, vhost: &str, prefix: &str) -> Self {
        Self {
            address: address.into(),
            vhost: vhost.into(),
            names: Names::new(prefix, vhost),
            connections: BTreeMap::new(),
            queues: BTreeMap::new(),
            swept: BTreeSet::new(),
            counts: false,
        }
    }

    /// Plays one step and returns what was seen, one line each.
    pub fn play(&mut self, step: &Step) -> Result<Vec<String>> {
        let mut seen = Seen::default();
        let action = self.names.expand(&step.action);
        let step = Step { action, ..step.clone() };
        match step.verb() {
            "open" => self.open(&step, &mut seen)?,
            "tcp" => {
                let client = Client::connect(&self.address)?;
                self.connections.insert(step.connection, Connection::new(client));
                self.quiet(&mut seen, SILENCE);
            }
            "bytes" | "frame" | "header" | "body" | "heartbeat" | "raw" => {
                self.send_raw(&step, &mut seen)?;
                self.quiet(&mut seen, SILENCE);
            }
            "wait" => {
                let millis = step.rest().parse()?;
                self.wait(Duration::from_millis(millis), &mut seen);
            }
            "mute" => self.connection(step.connection, &mut seen)?.mute = true,
            "drop" => {
                if let Some(mut connection) = self.connections.remove(&step.connection) {
                    connection.client.drop_socket();
                    self.forget_owner(step.connection);
                }
                self.settle(&mut seen)?;
            }
            _ => {
                self.perform(&step, &mut seen)?;
                self.settle(&mut seen)?;
            }
        }
        Ok(seen.lines(&mut self.names))
    }

    /// Reads more of what arrives late, for a comparison that is not equal yet.
    pub fn wait_more(&mut self, time: Duration) -> Result<Vec<String>> {
        let mut seen = Seen::default();
        self.wait(time, &mut seen);
        self.settle(&mut seen)?;
        Ok(seen.lines(&mut self.names))
    }

    /// Closes everything and deletes every name the script may have left behind.
    pub fn sweep(&mut self) -> Result<()> {
        for (_, mut connection) in std::mem::take(&mut self.connections) {
            connection.client.drop_socket();
        }
        let options = Options { vhost: self.vhost.clone(), ..Options::default() };
        let mut client = Client::open(&self.address, &options)?;
        let mut open = false;
        for (is_queue, name) in &self.swept {
            if !std::mem::replace(&mut open, true) {
                client.open_channel(1);
            }
            let name = probe::quote(name.as_bytes());
            let text = match is_queue {
                true => format!("queue.delete queue={name}"),
                false => format!("exchange.delete exchange={name}"),
            };
            let mut answer = client.call(1, &text);
            // Another connection's exclusive queue may take a moment to go.
            let deadline = Instant::now() + ANSWER_TIMEOUT;
            while matches!(&answer, Some(e) if e.name() == "channel.close") {
                client.send(1, "channel.close-ok", b"")?;
                client.open_channel(1);
                if !format!("{answer:?}").contains("RESOURCE_LOCKED") || Instant::now() > deadline {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
                answer = client.call(1, &text);
            }
        }
        client.call(0, "connection.close reply_code=200 reply_text=bye");
        Ok(())
    }

    fn connection(&mut self, letter: char, seen: &mut Seen) -> Result<&mut Connection> {
        if self.connections.get(&letter).is_none_or(|c| c.closed || c.client.is_ended()) {
            let options = Options { vhost: self.vhost.clone(), ..Options::default() };
            let client = Client::open(&self.address, &options)?;
            seen.note(letter, "connected");
            self.connections.insert(letter, Connection::new(client));
        }
        self.connections.get_mut(&letter).ok_or_else(|| anyhow!("just inserted"))
    }

    fn open(&mut self, step: &Step, seen: &mut Seen) -> Result<()> {
        let options = parse_options(step.rest(), &self.vhost)?;
        match Client::open(&self.address, &options) {
            Ok(client) => {
                seen.note(step.connection, "opened");
                self.connections.insert(step.connection, Connection::new(client));
            }
            Err(error) => seen.note(step.connection, &format!("not opened: {error}")),
        }
        Ok(())
    }

    fn send_raw(&mut self, step: &Step, seen: &mut Seen) -> Result<()> {
        if !self.connections.contains_key(&step.connection) {
            self.connection(step.connection, seen)?;
        }
        let connection = self.connections.get_mut(&step.connection).expect("looked up above");
        let client = &mut connection.client;
        let mut scanner = Scanner::new(step.rest());
        let bytes = match step.verb() {
            "bytes" => {
                scanner.at_end();
                scanner.string()?
            }
            "heartbeat" => frame(8, step.channel, b""),
            "body" => {
                scanner.at_end();
                frame(3, step.channel, &scanner.string()?)
            }
            "frame" => {
                let kind = scanner.word().parse()?;
                scanner.at_end();
                frame(kind, step.channel, &scanner.string()?)
            }
            "header" => {
                let class: u16 = scanner.word().parse()?;
                let size: u64 = scanner.word().parse()?;
                scanner.at_end();
                let properties = match scanner.rest() {
                    "" => vec![0, 0],
                    _ => scanner.string()?,
                };
                let mut payload = class.to_be_bytes().to_vec();
                payload.extend([0, 0]);
                payload.extend(size.to_be_bytes());
                payload.extend(properties);
                frame(2, step.channel, &payload)
            }
            _ => {
                let (text, body) = split_body(step.rest())?;
                client.encode(step.channel, &text, &body)?
            }
        };
        if client.send_bytes(&bytes).is_err() {
            seen.note(step.connection, "could not send");
        }
        Ok(())
    }

    /// A method or a macro, with what it needs open.
    fn perform(&mut self, step: &Step, seen: &mut Seen) -> Result<()> {
        let letter = step.connection;
        self.connection(letter, seen)?;
        self.ensure_channel(letter, step.channel, seen)?;
        let Some((text, body)) = self.translate(step, seen)? else { return Ok(()) };
        let method = Method::parse(&strip_properties(&text)).ok();
        let connection = self.connections.get_mut(&letter).expect("opened above");
        let bytes = connection.client.encode(step.channel, &text, &body)?;
        if connection.client.send_bytes(&bytes).is_err() {
            seen.note(letter, "could not send");
        }
        let name = text.split(' ').next().unwrap_or("").to_owned();
        if name == "basic.publish" {
            let channel = connection.channels.entry(step.channel).or_default();
            channel.published += 1;
            if channel.confirm {
                channel.outstanding.insert(channel.published);
            }
            return Ok(());
        }
        self.remember_names(&text);
        let nowait = text.contains(" nowait");
        if nowait || !has_answer(&name) {
            return Ok(());
        }
        let consume_no_ack = method.is_some_and(|m| m.bit("no_ack"));
        self.await_answer(step, &name, consume_no_ack, seen)
    }

    fn await_answer(&mut self, step: &Step, name: &str, no_ack: bool, seen: &mut Seen) -> Result<()> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let connection = self.connections.get_mut(&step.connection).expect("in use");
            let Some(event) = connection.client.next(left) else {
                if !connection.client.is_ended() {
                    seen.note(step.connection, "NO ANSWER");
                }
                return Ok(());
            };
            let answers = event.channel() == step.channel && !event.is_unasked()
                || matches!(event.name(), "connection.close" | "eof" | "violation");
            let state = connection.channels.entry(step.channel).or_default();
            match event.name() {
                "confirm.select-ok" => state.confirm = true,
                "tx.select-ok" => state.tx = true,
                "basic.consume-ok" => {
                    let tag = event.method().map(|m| m.text("consumer_tag")).unwrap_or_default();
                    state.consumers.insert(tag.clone());
                    if no_ack {
                        state.no_ack_tags.insert(tag);
                    }
                }
                "basic.get-ok" if no_ack => {
                    seen.event(step.connection, &event);
                    return Ok(());
                }
                "basic.cancel-ok" => {
                    let tag = event.method().map(|m| m.text("consumer_tag")).unwrap_or_default();
                    state.consumers.remove(&tag);
                }
                "queue.declare-ok" if name == "queue.declare" => {
                    let queue = event.method().map(|m| m.text("queue")).unwrap_or_default();
                    self.swept.insert((true, queue.clone()));
                    if !queue.starts_with("amq.rabbitmq.reply-to") {
                        self.queues.entry(queue).or_insert(step.connection);
                    }
                }
                _ => {}
            }
            self.handle(step.connection, event, seen)?;
            if answers {
                return Ok(());
            }
        }
    }

    /// Turns the short verbs into methods; `None` when there is nothing to settle.
    fn translate(&mut self, step: &Step, seen: &mut Seen) -> Result<Option<(String, Vec<u8>)>> {
        let (text, body) = split_body(&step.action)?;
        let verb = step.verb();
        if verb == "publish" {
            return Ok(Some((text.replacen("publish", "basic.publish", 1), body)));
        }
        if !matches!(verb, "ack" | "nack" | "reject") {
            return Ok(Some((text, body)));
        }
        let connection = self.connections.get_mut(&step.connection).expect("opened by perform");
        let channel = connection.channels.entry(step.channel).or_default();
        let Some(index) = channel.unacked.iter().rposition(|(_, unacked)| *unacked == body) else {
            seen.note(step.connection, "nothing to settle");
            return Ok(None);
        };
        let tag = channel.unacked[index].0;
        let mut rest = text.split_once(' ').map_or("", |(_, rest)| rest).to_owned();
        if channel.ambiguous {
            rest = rest.replace("multiple", "");
        }
        if rest.contains("multiple") {
            channel.unacked.retain(|(other, _)| *other > tag);
        } else {
            channel.unacked.remove(index);
        }
        Ok(Some((format!("basic.{verb} delivery_tag={tag} {rest}"), Vec::new())))
    }

    fn ensure_channel(&mut self, letter: char, number: u16, seen: &mut Seen) -> Result<()> {
        let connection = self.connections.get_mut(&letter).expect("opened before");
        if number == 0 || connection.channels.contains_key(&number) {
            return Ok(());
        }
        connection.client.send(number, "channel.open", b"")?;
        connection.channels.insert(number, Channel::default());
        let step = Step { connection: letter, channel: number, action: String::new() };
        let mut hidden = Seen::default();
        self.await_answer(&step, "channel.open", false, &mut hidden)?;
        if !hidden.only("channel.open-ok") {
            seen.append(hidden);
        }
        Ok(())
    }

    fn remember_names(&mut self, text: &str) {
        let Ok(method) = Method::parse(text) else { return };
        match method.name {
            "exchange.declare" => {
                self.swept.insert((false, method.text("exchange")));
            }
            "queue.declare" => {
                self.swept.insert((true, method.text("queue")));
            }
            _ => {}
        }
        self.swept.retain(|(_, name)| {
            !name.is_empty() && (!name.starts_with("amq.") || name.starts_with("amq.gen-"))
        });
    }

    /// Books an event, answers closes, writes it down.
    fn handle(&mut self, letter: char, event: Event, seen: &mut Seen) -> Result<()> {
        let connection = self.connections.get_mut(&letter).expect("in use");
        seen.event(letter, &event);
        let number = event.channel();
        match event.name() {
            "channel.close" => {
                connection.channels.remove(&number);
                if !connection.mute {
                    connection.client.send(number, "channel.close-ok", b"").ok();
                }
            }
            "channel.close-ok" => {
                connection.channels.remove(&number);
            }
            "connection.close" if !connection.mute => {
                connection.client.send(0, "connection.close-ok", b"").ok();
                let end = connection.client.next(Duration::from_secs(5));
                seen.event_or_silence(letter, end.as_ref());
                connection.closed = true;
            }
            // RabbitMQ leaves the socket to the client now; whether a broker closes it first is
            // of no consequence.
            "connection.close-ok" => connection.closed = true,
            "eof" | "violation" => connection.closed = true,
            _ => {
                if let Some(channel) = connection.channels.get_mut(&number) {
                    channel.book(&event);
                }
            }
        }
        if self.connections.get(&letter).is_some_and(|c| c.closed) {
            self.connections.remove(&letter);
            self.forget_owner(letter);
        }
        Ok(())
    }

    fn forget_owner(&mut self, letter: char) {
        let heir = self.connections.keys().next().copied().unwrap_or('z');
        for owner in self.queues.values_mut().filter(|owner| **owner == letter) {
            *owner = heir;
        }
    }

    /// Waits until nothing more can follow from what was sent.
    fn settle(&mut self, seen: &mut Seen) -> Result<()> {
        for round in 0..3 {
            let letters: Vec<char> = self.connections.keys().copied().collect();
            for letter in &letters {
                self.ask_channels(*letter, seen)?;
            }
            self.ask_queues(round == 2, seen)?;
        }
        let letters: Vec<char> = self.connections.keys().copied().collect();
        for letter in &letters {
            self.ask_channels(*letter, seen)?;
            self.await_confirms(*letter, seen)?;
        }
        Ok(())
    }

    fn ask_channels(&mut self, letter: char, seen: &mut Seen) -> Result<()> {
        let numbers: Vec<u16> = match self.connections.get(&letter) {
            Some(connection) => connection.channels.keys().copied().filter(|n| *n != 0).collect(),
            None => return Ok(()),
        };
        for number in numbers {
            self.ask(letter, number, "exchange.declare exchange=amq.direct passive", seen)?;
        }
        // A connection without channels may still be told something.
        if let Some(connection) = self.connections.get_mut(&letter) {
            for event in connection.client.drain() {
                self.handle(letter, event, seen)?;
                if !self.connections.contains_key(&letter) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Sends a question and returns its answer; what else arrives is handled. `None` when the
    /// channel or the connection is gone.
    fn ask(&mut self, letter: char, number: u16, text: &str, seen: &mut Seen) -> Result<Option<Event>> {
        let Some(connection) = self.connections.get_mut(&letter) else { return Ok(None) };
        if connection.client.send(number, text, b"").is_err() {
            seen.note(letter, "could not ask");
        }
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let Some(connection) = self.connections.get_mut(&letter) else { return Ok(None) };
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(event) = connection.client.next(left) else {
                if !connection.client.is_ended() {
                    seen.note(letter, &format!("NO ANSWER to {text}"));
                }
                return Ok(None);
            };
            let mine = event.channel() == number && !event.is_unasked();
            if mine && (number == QUESTION_CHANNEL || event.name() != "channel.close") {
                return Ok(Some(event));
            }
            self.handle(letter, event, seen)?;
            if mine {
                return Ok(None);
            }
        }
    }

    fn ask_queues(&mut self, show: bool, seen: &mut Seen) -> Result<()> {
        let queues: Vec<(String, char)> = self.queues.iter().map(|(q, c)| (q.clone(), *c)).collect();
        for (queue, owner) in queues {
            let Some((letter, _)) = self
                .connections
                .get_key_value(&owner)
                .or_else(|| self.connections.iter().next())
                .map(|(letter, c)| (*letter, c.closed))
            else {
                return Ok(());
            };
            self.open_question(letter, seen)?;
            let text = format!("queue.declare passive queue={}", probe::quote(queue.as_bytes()));
            match self.ask(letter, QUESTION_CHANNEL, &text, seen)? {
                Some(event) if event.name() == "queue.declare-ok" => {
                    if show && self.counts {
                        seen.count(&event);
                    }
                }
                Some(event) => {
                    if let Some(connection) = self.connections.get_mut(&letter) {
                        connection.question_open = false;
                        connection.client.send(QUESTION_CHANNEL, "channel.close-ok", b"").ok();
                    }
                    if event.to_string().contains("NOT_FOUND") {
                        self.queues.remove(&queue);
                    }
                }
                None => {}
            }
        }
        Ok(())
    }

    fn open_question(&mut self, letter: char, seen: &mut Seen) -> Result<()> {
        if self.connections.get(&letter).is_some_and(|c| !c.question_open) {
            let answer = self.ask(letter, QUESTION_CHANNEL, "channel.open", seen)?;
            if let Some(connection) = self.connections.get_mut(&letter) {
                connection.question_open =
                    answer.is_some_and(|event| event.name() == "channel.open-ok");
            }
        }
        Ok(())
    }

    fn await_confirms(&mut self, letter: char, seen: &mut Seen) -> Result<()> {
        let deadline = Instant::now() + CONFIRM_TIMEOUT;
        loop {
            let Some(connection) = self.connections.get_mut(&letter) else { return Ok(()) };
            if connection.channels.values().all(|channel| channel.outstanding.is_empty()) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(event) = connection.client.next(left) else {
                if !connection.client.is_ended() {
                    seen.note(letter, "CONFIRMS MISSING");
                    connection.channels.values_mut().for_each(|c| c.outstanding.clear());
                }
                return Ok(());
            };
            self.handle(letter, event, seen)?;
        }
    }

    /// Takes what comes on every connection until there is silence.
    fn quiet(&mut self, seen: &mut Seen, silence: Duration) {
        let letters: Vec<char> = self.connections.keys().copied().collect();
        for letter in letters {
            while let Some(connection) = self.connections.get_mut(&letter) {
                let Some(event) = connection.client.next(silence) else { break };
                if self.handle(letter, event, seen).is_err() {
                    break;
                }
            }
        }
    }

    fn wait(&mut self, time: Duration, seen: &mut Seen) {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let letters: Vec<char> = self.connections.keys().copied().collect();
            if letters.is_empty() {
                std::thread::sleep(left);
            }
            for letter in letters {
                let slice = left.min(Duration::from_millis(20));
                let Some(connection) = self.connections.get_mut(&letter) else { continue };
                if let Some(event) = connection.client.next(slice) {
                    let _ = self.handle(letter, event, seen);
                }
            }
        }
    }
}

impl Connection {
    fn new(client: Client) -> Self {
        Self { client, channels: BTreeMap::new(), question_open: false, mute: false, closed: false }
    }
}

impl Channel {
    fn book(&mut self, event: &Event) {
        let Some(method) = event.method() else { return };
        let tag = method.number("delivery_tag");
        match (event, method.name) {
            (Event::Content { body, .. }, "basic.deliver") => {
                if !self.no_ack_tags.contains(&method.text("consumer_tag")) {
                    self.unacked.push((tag, body.clone()));
                }
            }
            (Event::Content { body, .. }, "basic.get-ok") => self.unacked.push((tag, body.clone())),
            (_, "basic.ack" | "basic.nack") => match (method.bit("multiple"), tag) {
                (true, 0) => self.outstanding.clear(),
                (true, tag) => self.outstanding.retain(|other| *other > tag),
                (false, tag) => {
                    self.outstanding.remove(&tag);
                }
            },
            _ => {}
        }
    }
}

/// What was seen during one step, before it is put into comparable order.
#[derive(Default)]
pub struct Seen {
    events: Vec<(char, Entry)>,
    counts: BTreeMap<String, String>,
}

enum Entry {
    Event(Event),
    Note(String),
}

impl Seen {
    fn note(&mut self, letter: char, text: &str) {
        self.events.push((letter, Entry::Note(text.into())));
    }

    fn event(&mut self, letter: char, event: &Event) {
        self.events.push((letter, Entry::Event(event.clone())));
    }

    fn event_or_silence(&mut self, letter: char, event: Option<&Event>) {
        match event {
            Some(event) => self.event(letter, event),
            None => self.note(letter, "socket stays open"),
        }
    }

    fn count(&mut self, event: &Event) {
        let Some(method) = event.method() else { return };
        let counts = format!(
            "ready={} consumers={}",
            method.number("message_count"),
            method.number("consumer_count")
        );
        self.counts.insert(method.text("queue"), counts);
    }

    fn append(&mut self, other: Seen) {
        self.events.extend(other.events);
    }

    fn only(&self, name: &str) -> bool {
        self.events.iter().all(|(_, entry)| matches!(entry, Entry::Event(e) if e.name() == name))
    }

    fn lines(self, names: &mut Names) -> Vec<String> {
        let mut lines = Vec::new();
        for (letter, entry) in &self.events {
            lines.push(match entry {
                Entry::Event(event) => format!("{letter} {}", names.normal(event)),
                Entry::Note(text) => format!("{letter} {}", names.fold(text)),
            });
        }
        for (queue, counts) in &self.counts {
            lines.push(format!("counts {} {counts}", names.fold(queue)));
        }
        lines
    }
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(0xCE);
    out
}

/// Takes `body=...` or `size=N` off the end of a line.
fn split_body(text: &str) -> Result<(String, Vec<u8>)> {
    if let Some((head, tail)) = text.rsplit_once(" body=") {
        let mut scanner = Scanner::new(tail);
        let body = scanner.string()?;
        return Ok((format!("{head}{}", scanner.rest()), body));
    }
    if let Some((head, tail)) = text.rsplit_once(" size=") {
        let (number, rest) = tail.split_once(' ').unwrap_or((tail, ""));
        let size: usize = number.parse()?;
        let body = (0..size).map(|index| b'a' + (index % 26) as u8).collect();
        return Ok((format!("{head} {rest}"), body));
    }
    Ok((text.into(), Vec::new()))
}

/// The method without properties, which only a publish has.
fn strip_properties(text: &str) -> String {
    match text.starts_with("basic.publish") {
        true => "basic.publish".into(),
        false => text.into(),
    }
}

fn has_answer(name: &str) -> bool {
    const SILENT: [&str; 8] = [
        "basic.publish",
        "basic.ack",
        "basic.nack",
        "basic.reject",
        "basic.recover-async",
        "channel.close-ok",
        "connection.close-ok",
        "channel.flow-ok",
    ];
    !name.ends_with("-ok") && !SILENT.contains(&name)
}

fn parse_options(text: &str, vhost: &str) -> Result<Options> {
    let mut options = Options { vhost: vhost.into(), ..Options::default() };
    let mut scanner = Scanner::new(text);
    while !scanner.at_end() {
        let key = scanner.word();
        if !scanner.take('=') {
            bail!("no = after {key}");
        }
        match key {
            "properties" => options.properties = scanner.table()?,
            "capabilities" => {
                let table = scanner.table()?;
                options.capabilities = table
                    .iter()
                    .filter(|(_, value)| *value == Field::Bool(true))
                    .map(|(key, _)| String::from_utf8_lossy(key).into_owned())
                    .collect();
            }
            _ => {
                let bytes = scanner.string()?;
                let string = String::from_utf8_lossy(&bytes).into_owned();
                match key {
                    "user" => options.user = string,
                    "password" => options.password = string,
                    "vhost" => options.vhost = string,
                    "mechanism" => options.mechanism = string,
                    "response" => options.response = Some(bytes),
                    "channel_max" => options.channel_max = Some(string.parse()?),
                    "frame_max" => options.frame_max = Some(string.parse()?),
                    "heartbeat" => options.heartbeat_s = string.parse()?,
                    _ => bail!("no option {key}"),
                }
            }
        }
    }
    Ok(options)
}

/// Reads a text value, for callers that compare fields.
pub fn text_of(value: Option<&Value>) -> String {
    match value {
        Some(Value::Text(text)) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    }
}
