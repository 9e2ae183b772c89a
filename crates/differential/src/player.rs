//! Plays steps against one broker.
//!
//! The player opens what a step needs (connection, channel), sends it, waits for its answer and then
//! settles (see `settle.rs`). Steps that send raw bytes cannot be followed by questions, so after
//! those it waits for silence instead.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use probe::{Client, Event, Method, Options, Properties, Scanner};

use crate::channel::{Channel, Connection};
use crate::normal::Names;
use crate::options::parse_options;
use crate::script::Step;
use crate::seen::Seen;
use crate::settle::ANSWER_TIMEOUT;

/// Silence that ends a raw step.
const SILENCE: Duration = Duration::from_millis(250);
/// Time a broker is given to notice that a connection has ended and to clear up behind it.
const DROP_NOTICE: Duration = Duration::from_millis(60);

/// One broker under comparison.
pub(crate) struct Side {
    address: String,
    vhost: String,
    /// Invented names and prefix.
    pub(crate) names: Names,
    /// Open connections.
    pub(crate) connections: BTreeMap<char, Connection>,
    /// Queues that exist, by the connection that asks for them.
    pub(crate) queues: BTreeMap<String, char>,
    /// Every exchange and queue name the script declared (true: queue), for the sweep at the end.
    swept: BTreeSet<(bool, String)>,
    /// Properties as they were published, by body.
    published: HashMap<Vec<u8>, Vec<u8>>,
    /// Whether queue counts are written down after each step.
    pub(crate) counts: bool,
}

impl Side {
    /// A broker; `prefix` replaces `%` in names.
    pub(crate) fn new(address: &str, vhost: &str, prefix: &str) -> Self {
        Self {
            address: address.into(),
            vhost: vhost.into(),
            names: Names::new(prefix, vhost),
            connections: BTreeMap::new(),
            queues: BTreeMap::new(),
            swept: BTreeSet::new(),
            published: HashMap::new(),
            counts: false,
        }
    }

    /// Plays one step and returns what was seen.
    pub(crate) fn play(&mut self, step: &Step) -> Result<Seen> {
        let mut seen = Seen::default();
        let action = self.names.expand(&step.action);
        let step = Step {
            action,
            ..step.clone()
        };
        match step.verb() {
            "open" => self.open(&step, &mut seen)?,
            "tcp" => {
                let client = Client::connect(&self.address)?;
                self.connections
                    .insert(step.connection, Connection::new(client));
                self.quiet(&mut seen, SILENCE)?;
            }
            "bytes" | "frame" | "header" | "body" | "heartbeat" | "raw" => {
                self.send_raw(&step, &mut seen)?;
                self.quiet(&mut seen, SILENCE)?;
            }
            "wait" => {
                self.wait(Duration::from_millis(step.rest().parse()?), &mut seen)?;
                // A socket in the middle of a handshake cannot be asked anything.
                if self.counts {
                    self.settle(&mut seen)?;
                }
            }
            "mute" => self.connection(step.connection, &mut seen)?.mute = true,
            "drop" => {
                if let Some(mut connection) = self.connections.remove(&step.connection) {
                    connection.client.drop_socket();
                }
                seen.disturb();
                self.settle(&mut seen)?;
            }
            _ => {
                self.perform(&step, &mut seen)?;
                self.settle(&mut seen)?;
            }
        }
        // What a connection leaves behind (exclusive queues, unacked messages) goes after its end.
        if seen.is_disturbed() {
            std::thread::sleep(DROP_NOTICE);
            self.settle(&mut seen)?;
        }
        Ok(seen)
    }

    /// Reads more of what arrives late, for a comparison that is not equal yet.
    pub(crate) fn wait_more(&mut self, time: Duration) -> Result<Seen> {
        let mut seen = Seen::default();
        self.wait(time, &mut seen)?;
        self.settle(&mut seen)?;
        Ok(seen)
    }

    /// Remembers that the tags of a channel carry no meaning.
    pub(crate) fn set_ambiguous(&mut self, letter: char, number: u16) {
        let connection = self.connections.get_mut(&letter);
        if let Some(channel) = connection.and_then(|c| c.channels.get_mut(&number)) {
            channel.ambiguous = true;
        }
    }

    /// Channels whose tags carry no meaning.
    pub(crate) fn ambiguous(&self) -> BTreeSet<(char, u16)> {
        let mut found = BTreeSet::new();
        for (letter, connection) in &self.connections {
            let marked = connection
                .channels
                .iter()
                .filter(|(_, channel)| channel.ambiguous);
            found.extend(marked.map(|(number, _)| (*letter, *number)));
        }
        found
    }

    /// Closes everything and deletes every name the script may have left behind.
    pub(crate) fn sweep(&mut self) -> Result<()> {
        for (_, mut connection) in std::mem::take(&mut self.connections) {
            let _ = connection
                .client
                .send(0, "connection.close reply_code=200", b"");
            connection.client.drop_socket();
        }
        if self.swept.is_empty() {
            return Ok(());
        }
        let options = Options {
            vhost: self.vhost.clone(),
            ..Options::default()
        };
        let mut client = Client::open(&self.address, &options)?;
        client.open_channel(1);
        for (is_queue, name) in &self.swept {
            let kind = if *is_queue { "queue" } else { "exchange" };
            let text = format!("{kind}.delete {kind}={}", probe::quote(name.as_bytes()));
            // Another connection's exclusive queue may take a moment to go.
            let deadline = Instant::now() + ANSWER_TIMEOUT;
            loop {
                let answer = client.call(1, &text).map(|event| event.to_string());
                let answer = answer.unwrap_or_default();
                if !answer.contains("channel.close") {
                    break;
                }
                client.send(1, "channel.close-ok", b"")?;
                client.open_channel(1);
                if !answer.contains("RESOURCE_LOCKED") || deadline < Instant::now() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        client.call(0, "connection.close reply_code=200");
        Ok(())
    }

    fn connection(&mut self, letter: char, seen: &mut Seen) -> Result<&mut Connection> {
        if self
            .connections
            .get(&letter)
            .is_none_or(|c| c.closed || c.client.is_ended())
        {
            let options = Options {
                vhost: self.vhost.clone(),
                ..Options::default()
            };
            let client = Client::open(&self.address, &options)?;
            seen.note(letter, "connected");
            self.connections.insert(letter, Connection::new(client));
        }
        self.connections
            .get_mut(&letter)
            .ok_or_else(|| anyhow!("just inserted"))
    }

    fn open(&mut self, step: &Step, seen: &mut Seen) -> Result<()> {
        let options = parse_options(step.rest(), &self.vhost)?;
        match Client::open(&self.address, &options) {
            Ok(client) => {
                seen.note(step.connection, "opened");
                self.connections
                    .insert(step.connection, Connection::new(client));
            }
            Err(error) => {
                let text = error.to_string().replace("socket reset", "socket closed");
                seen.note(step.connection, &format!("not opened: {text}"));
            }
        }
        Ok(())
    }

    fn send_raw(&mut self, step: &Step, seen: &mut Seen) -> Result<()> {
        if !self.connections.contains_key(&step.connection) {
            self.connection(step.connection, seen)?;
        }
        let connection = self
            .connections
            .get_mut(&step.connection)
            .expect("inserted above");
        let bytes = raw_bytes(step, &connection.client)?;
        // The broker may have closed the socket already; that shows when it is read.
        let _ = connection.client.send_bytes(&bytes);
        Ok(())
    }

    /// A method or a short verb, with what it needs open.
    fn perform(&mut self, step: &Step, seen: &mut Seen) -> Result<()> {
        let letter = step.connection;
        self.connection(letter, seen)?;
        self.ensure_channel(letter, step.channel, seen)?;
        if !self.connections.contains_key(&letter) {
            return Ok(());
        }
        if matches!(step.verb(), "publish" | "basic.publish") {
            return self.publish(step);
        }
        let connection = self.connections.get_mut(&letter).expect("checked above");
        let channel = connection.channels.entry(step.channel).or_default();
        let Some(text) = settlement(step, channel) else {
            seen.note(letter, "nothing to settle");
            return Ok(());
        };
        let method = Method::parse(&text)?;
        channel.note_sent(&method);
        let _ = connection.client.send_method(step.channel, &method);
        self.remember_names(&method);
        match method.bit("nowait") || !has_answer(method.name) {
            true => Ok(()),
            false => self.await_answer(letter, step.channel, seen),
        }
    }

    fn publish(&mut self, step: &Step) -> Result<()> {
        let text = match step.action.strip_prefix("publish") {
            Some(rest) => format!("basic.publish{rest}"),
            None => step.action.clone(),
        };
        let (text, body) = take_body(&text)?;
        let (text, burst) = take_word(&text, "burst");
        let (method, properties) = Method::parse_with_properties(&text)?;
        let connection = self
            .connections
            .get_mut(&step.connection)
            .expect("opened by perform");
        let channel = connection.channels.entry(step.channel).or_default();
        let mut bytes = Vec::new();
        for index in 0..burst.map_or(Ok(1), |count| count.parse::<u32>())? {
            let mut body = body.clone();
            if 0 < index {
                body.extend(format!(".{index}").bytes());
            }
            channel.note_publish(&body);
            self.published.insert(body.clone(), properties.encode());
            bytes.extend(connection.client.encode_method(step.channel, &method));
            let raw = properties.encode();
            bytes.extend(connection.client.encode_content(step.channel, &raw, &body));
        }
        let _ = connection.client.send_bytes(&bytes);
        Ok(())
    }

    fn await_answer(&mut self, letter: char, number: u16, seen: &mut Seen) -> Result<()> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let Some(connection) = self.connections.get_mut(&letter) else {
                return Ok(());
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(event) = connection.client.next(left) else {
                if !connection.client.is_ended() {
                    seen.note(letter, "NO ANSWER");
                }
                return Ok(());
            };
            let answers = event.channel() == number && !event.is_unasked();
            self.handle(letter, event, seen)?;
            if answers {
                return Ok(());
            }
        }
    }

    fn ensure_channel(&mut self, letter: char, number: u16, seen: &mut Seen) -> Result<()> {
        let connection = self.connections.get_mut(&letter).expect("opened before");
        if number == 0 || connection.channels.contains_key(&number) {
            return Ok(());
        }
        let _ = connection.client.send(number, "channel.open", b"");
        connection.channels.insert(number, Channel::default());
        let mut hidden = Seen::default();
        self.await_answer(letter, number, &mut hidden)?;
        if !hidden.only("channel.open-ok") {
            seen.append(hidden);
        }
        Ok(())
    }

    fn remember_names(&mut self, method: &Method) {
        let (is_queue, name) = match method.name {
            "exchange.declare" => (false, method.text("exchange")),
            "queue.declare" => (true, method.text("queue")),
            _ => return,
        };
        if !name.is_empty() && !name.starts_with("amq.") {
            self.swept
                .insert((is_queue, name.replace(['\r', '\n'], "")));
        }
    }

    /// Books an event, answers closes, writes it down.
    pub(crate) fn handle(&mut self, letter: char, event: Event, seen: &mut Seen) -> Result<()> {
        let Some(connection) = self.connections.get_mut(&letter) else {
            return Ok(());
        };
        let number = event.channel();
        let reordered = match &event {
            Event::Content {
                properties,
                raw_properties,
                body,
                ..
            } => self
                .published
                .get(body)
                .is_some_and(|raw| is_reordered(raw, raw_properties, properties)),
            _ => false,
        };
        match connection.channels.get_mut(&number) {
            Some(channel) => channel.handle(letter, &event, reordered, seen),
            None => seen.event(letter, &event),
        }
        match event.name() {
            "channel.close" => {
                connection.channels.remove(&number);
                if !connection.mute {
                    let _ = connection.client.send(number, "channel.close-ok", b"");
                }
            }
            "channel.close-ok" => {
                connection.channels.remove(&number);
            }
            "connection.close" if !connection.mute => {
                let _ = connection.client.send(0, "connection.close-ok", b"");
                let end = connection.client.next(Duration::from_secs(5));
                seen.event_or_silence(letter, end.as_ref());
                connection.closed = true;
            }
            // RabbitMQ leaves the socket to the client now; whether a broker closes it first is of
            // no consequence.
            "connection.close-ok" | "eof" | "violation" => connection.closed = true,
            "queue.declare-ok" => {
                let queue = event
                    .method()
                    .map(|method| method.text("queue"))
                    .unwrap_or_default();
                if queue.starts_with("amq.gen-") {
                    self.swept.insert((true, queue.clone()));
                }
                if !queue.starts_with("amq.rabbitmq.reply-to") {
                    self.queues.entry(queue).or_insert(letter);
                }
            }
            _ => {}
        }
        if self
            .connections
            .get(&letter)
            .is_some_and(|connection| connection.closed)
        {
            self.connections.remove(&letter);
        }
        Ok(())
    }
}

/// True when the same properties came back in other bytes.
fn is_reordered(published: &[u8], got: &[u8], properties: &Properties) -> bool {
    let sorted = |mut properties: Properties| {
        if let Some(headers) = properties.headers_mut() {
            headers.sort_by(|left, right| left.0.cmp(&right.0));
        }
        properties
    };
    published != got
        && Properties::decode(published).map(sorted) == Some(sorted(properties.clone()))
}

/// Turns `ack body=m1` and `ack pick=3` into a method; `None` when there is nothing to settle.
fn settlement(step: &Step, channel: &Channel) -> Option<String> {
    let verb = step.verb();
    if !matches!(verb, "ack" | "nack" | "reject") {
        return Some(step.action.clone());
    }
    let (text, pick) = take_word(step.rest(), "pick");
    let (text, body) = take_word(&text, "body");
    let tag = match pick {
        Some(pick) => channel.tag_picked(pick.parse().unwrap_or(0))?,
        None => channel.tag_of(body.unwrap_or_default().as_bytes())?,
    };
    let text = match channel.ambiguous {
        true => text.replace("multiple", ""),
        false => text,
    };
    Some(format!("basic.{verb} delivery_tag={tag} {text}"))
}

/// Takes `key=value` out of a line, where the value is a bare word.
fn take_word(text: &str, key: &str) -> (String, Option<String>) {
    let (mut kept, mut found) = (Vec::new(), None);
    for word in text.split(' ') {
        match word
            .strip_prefix(key)
            .and_then(|rest| rest.strip_prefix('='))
        {
            Some(value) => found = Some(value.to_owned()),
            None => kept.push(word),
        }
    }
    (kept.join(" "), found)
}

/// Takes `body=...` or `size=N` out of a line.
fn take_body(text: &str) -> Result<(String, Vec<u8>)> {
    if let Some((head, tail)) = text.rsplit_once(" body=") {
        let mut scanner = Scanner::new(tail);
        let body = scanner.string()?;
        return Ok((format!("{head}{}", scanner.rest()), body));
    }
    let (text, size) = take_word(text, "size");
    let size = size.map_or(Ok(0), |size| size.parse::<usize>())?;
    Ok((
        text,
        (0..size).map(|index| b'a' + (index % 26) as u8).collect(),
    ))
}

fn raw_bytes(step: &Step, client: &Client) -> Result<Vec<u8>> {
    let mut scanner = Scanner::new(step.rest());
    let word = scanner.rest().split(' ').next().unwrap_or("");
    let frame = |kind: u8, payload: &[u8]| Client::encode_frame(kind, step.channel, payload);
    Ok(match step.verb() {
        "bytes" => scanner.string()?,
        "heartbeat" => frame(8, b""),
        "body" => frame(3, &scanner.string()?),
        "frame" => {
            let kind = word.parse()?;
            scanner.word();
            scanner.at_end();
            frame(kind, &scanner.string()?)
        }
        "header" => {
            let class: u16 = scanner.word().parse()?;
            let size: u64 = scanner.word().parse()?;
            let properties = match scanner.at_end() {
                true => vec![0, 0],
                false => scanner.string()?,
            };
            let mut payload = class.to_be_bytes().to_vec();
            payload.extend([0, 0]);
            payload.extend(size.to_be_bytes());
            payload.extend(properties);
            frame(2, &payload)
        }
        _ => {
            let (text, body) = take_body(step.rest())?;
            client.encode(step.channel, &text, &body)?
        }
    })
}

fn has_answer(name: &str) -> bool {
    const SILENT: [&str; 6] = [
        "basic.ack",
        "basic.nack",
        "basic.reject",
        "basic.recover-async",
        "channel.close-ok",
        "connection.close-ok",
    ];
    !name.ends_with("-ok") && !SILENT.contains(&name)
}
