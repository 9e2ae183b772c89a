//! The socket: sends what it is told, reads frames with a deadline, assembles contents.
//!
//! Nothing is answered by itself; `call` is the one convenience that waits, and it keeps what else
//! arrived meanwhile in arrival order for `next`.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use amq_protocol::frame::{AMQPFrame, parse_frame};

use crate::event::Event;
use crate::field::{Field, Table};
use crate::method::{Method, Properties, Value};
use crate::text::ParseError;

/// How long a write may block before the socket is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long `call` and the handshake wait for an answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// What a client says of itself while it opens a connection.
#[derive(Clone, Debug)]
pub struct Options {
    /// Virtual host.
    pub vhost: String,
    /// SASL mechanism.
    pub mechanism: String,
    /// SASL response; `None` makes one of `user` and `password` for PLAIN.
    pub response: Option<Vec<u8>>,
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
    /// Client properties without capabilities.
    pub properties: Table,
    /// Capabilities announced as true.
    pub capabilities: Vec<String>,
    /// tune-ok values; `None` takes the server's.
    pub channel_max: Option<u16>,
    /// Bytes; `None` takes the server's.
    pub frame_max: Option<u32>,
    /// Seconds. 0, the default, switches heartbeats off.
    pub heartbeat_s: u16,
}

impl Default for Options {
    fn default() -> Self {
        let capabilities = [
            "authentication_failure_close",
            "basic.nack",
            "connection.blocked",
            "consumer_cancel_notify",
            "exchange_exchange_bindings",
            "publisher_confirms",
        ];
        Self {
            vhost: "/".into(),
            mechanism: "PLAIN".into(),
            response: None,
            user: "guest".into(),
            password: "guest".into(),
            properties: vec![(b"product".to_vec(), Field::from("probe"))],
            capabilities: capabilities.map(String::from).to_vec(),
            channel_max: None,
            frame_max: None,
            heartbeat_s: 0,
        }
    }
}

/// Why a connection did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The socket failed.
    #[error("socket: {0}")]
    Io(#[from] std::io::Error),
    /// The broker answered something else than the next step of the handshake.
    #[error("instead of {expected}: {got}")]
    Unexpected {
        /// The step awaited.
        expected: &'static str,
        /// What came.
        got: Box<Event>,
    },
    /// The broker said nothing.
    #[error("no answer while waiting for {0}")]
    Silence(&'static str),
}

struct Partial {
    method: Method,
    /// Body size, raw properties, decoded properties, body so far; `None` before the header.
    content: Option<(u64, Vec<u8>, Properties, Vec<u8>)>,
}

/// A connection to a broker, at whatever stage.
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    partial: HashMap<u16, Partial>,
    inbox: VecDeque<Event>,
    ended: bool,
    /// Largest frame we send, from the handshake; contents are split by it.
    pub frame_max: u32,
}

impl Client {
    /// Connects the socket and sends nothing.
    pub fn connect(address: impl ToSocketAddrs) -> std::io::Result<Self> {
        let address: SocketAddr = address
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| std::io::Error::from(ErrorKind::AddrNotAvailable))?;
        let stream = TcpStream::connect_timeout(&address, CALL_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        Ok(Self {
            stream,
            input: Vec::new(),
            partial: HashMap::new(),
            inbox: VecDeque::new(),
            ended: false,
            frame_max: 131_072,
        })
    }

    /// Connects and goes through the whole handshake.
    pub fn open(address: impl ToSocketAddrs, options: &Options) -> Result<Self, OpenError> {
        let mut client = Self::connect(address)?;
        client.send_bytes(b"AMQP\x00\x00\x09\x01")?;
        client.expect("connection.start")?;
        client.send_method(0, &start_ok(options))?;
        let tune = client.expect("connection.tune")?;
        let frame_max = options.frame_max.unwrap_or(tune.number("frame_max") as u32);
        let channel_max = options
            .channel_max
            .unwrap_or(tune.number("channel_max") as u16);
        let tune_ok = named("connection.tune-ok")
            .with("channel_max", u64::from(channel_max))
            .with("frame_max", u64::from(frame_max))
            .with("heartbeat", u64::from(options.heartbeat_s));
        client.send_method(0, &tune_ok)?;
        client.frame_max = if frame_max == 0 { u32::MAX } else { frame_max };
        let open = named("connection.open").with("virtual_host", options.vhost.as_str());
        client.send_method(0, &open)?;
        client.expect("connection.open-ok")?;
        Ok(client)
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends one frame of any kind with a right length and end octet.
    pub fn send_frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> std::io::Result<()> {
        self.send_bytes(&frame(kind, channel, payload))
    }

    /// One frame of any kind with a right length and end octet.
    pub fn encode_frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
        frame(kind, channel, payload)
    }

    /// The frame that `send_method` would send.
    pub fn encode_method(&self, channel: u16, method: &Method) -> Vec<u8> {
        frame(1, channel, &method.encode())
    }

    /// Sends a method.
    pub fn send_method(&mut self, channel: u16, method: &Method) -> std::io::Result<()> {
        self.send_frame(1, channel, &method.encode())
    }

    /// Sends a method written as text. A `basic.publish` may carry properties among its fields; it
    /// is followed by its content with this body. Panics on a text that does not parse.
    pub fn send(&mut self, channel: u16, text: &str, body: &[u8]) -> std::io::Result<()> {
        let bytes = self
            .encode(channel, text, body)
            .unwrap_or_else(|error| panic!("{error}"));
        self.send_bytes(&bytes)
    }

    /// The frames that `send` would send.
    pub fn encode(&self, channel: u16, text: &str, body: &[u8]) -> Result<Vec<u8>, ParseError> {
        let (method, properties) = Method::parse_with_properties(text)?;
        let mut out = frame(1, channel, &method.encode());
        if method.name == "basic.publish" {
            out.extend(self.encode_content(channel, &properties.encode(), body));
        }
        Ok(out)
    }

    /// Header and body frames of a content of class basic.
    pub fn encode_content(&self, channel: u16, properties: &[u8], body: &[u8]) -> Vec<u8> {
        let mut header = vec![0, 60, 0, 0];
        header.extend_from_slice(&(body.len() as u64).to_be_bytes());
        header.extend_from_slice(properties);
        let mut out = frame(2, channel, &header);
        let chunk_bytes = (self.frame_max as usize).saturating_sub(8).max(1);
        body.chunks(chunk_bytes)
            .for_each(|chunk| out.extend(frame(3, channel, chunk)));
        out
    }

    /// The next event, in arrival order; `None` when nothing came in time. After the socket has
    /// ended every call returns `None`.
    pub fn next(&mut self, timeout: Duration) -> Option<Event> {
        match self.inbox.pop_front() {
            Some(event) => Some(event),
            None => self.read_event(timeout),
        }
    }

    /// Sends a method and waits for the first event on its channel that answers it; what else
    /// arrives is kept for `next`. A close of the connection answers any call. `None` on silence.
    pub fn call(&mut self, channel: u16, text: &str) -> Option<Event> {
        if self.send(channel, text, b"").is_err() {
            return self.wait_for(|event| event.name() == "connection.close", CALL_TIMEOUT);
        }
        self.answer(channel)
    }

    /// Waits for the first event on the channel that is not one of the unasked kinds.
    pub fn answer(&mut self, channel: u16) -> Option<Event> {
        let ends = |event: &Event| matches!(event, Event::Eof(_) | Event::Violation(_));
        self.wait_for(
            |event| {
                let mine = event.channel() == channel && !event.is_unasked();
                mine || ends(event) || event.name() == "connection.close"
            },
            CALL_TIMEOUT,
        )
    }

    /// Waits for an event that fits and takes it out of the order of arrival.
    pub fn wait_for(&mut self, fits: impl Fn(&Event) -> bool, timeout: Duration) -> Option<Event> {
        if let Some(index) = self.inbox.iter().position(&fits) {
            return self.inbox.remove(index);
        }
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self.read_event(left)?;
            if fits(&event) {
                return Some(event);
            }
            self.inbox.push_back(event);
        }
    }

    /// Takes what has arrived, reading the socket without waiting.
    pub fn drain(&mut self) -> Vec<Event> {
        let mut events: Vec<Event> = self.inbox.drain(..).collect();
        while let Some(event) = self.read_event(Duration::ZERO) {
            events.push(event);
        }
        events
    }

    /// Opens a channel; panics on anything but open-ok.
    pub fn open_channel(&mut self, channel: u16) {
        let answer = self.call(channel, "channel.open");
        assert_eq!(
            answer.as_ref().map(Event::name),
            Some("channel.open-ok"),
            "{answer:?}"
        );
    }

    /// True once the broker has closed the socket.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Closes the socket without a word, as a crash would.
    pub fn drop_socket(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.ended = true;
    }

    /// Stops sending while still reading.
    pub fn shutdown_write(&mut self) -> std::io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    fn expect(&mut self, name: &'static str) -> Result<Method, OpenError> {
        match self.next(CALL_TIMEOUT) {
            Some(Event::Method { method, .. }) if method.name == name => Ok(method),
            Some(got) => Err(OpenError::Unexpected {
                expected: name,
                got: Box::new(got),
            }),
            None => Err(OpenError::Silence(name)),
        }
    }

    fn read_event(&mut self, timeout: Duration) -> Option<Event> {
        let deadline = Instant::now() + timeout;
        let mut chunk = [0_u8; 65_536];
        while !self.ended {
            if let Some(event) = self.take_event() {
                return Some(event);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.read_some(&mut chunk, left) {
                Ok(0) => {
                    self.ended = true;
                    return Some(match self.input.len() {
                        0 => Event::Eof(false),
                        left => Event::Violation(format!("closed inside a frame of {left} bytes")),
                    });
                }
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if left.is_zero() {
                        return None;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.ended = true;
                    return Some(Event::Eof(true));
                }
            }
        }
        None
    }

    /// One read that waits no longer than `left`. The kernel rounds a socket's timeout up to its
    /// clock tick, which is why not waiting at all goes another way.
    fn read_some(&mut self, chunk: &mut [u8], left: Duration) -> std::io::Result<usize> {
        if left.is_zero() {
            self.stream.set_nonblocking(true)?;
            let result = self.stream.read(chunk);
            self.stream.set_nonblocking(false)?;
            return result;
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(chunk)
    }

    /// Takes whole frames off the input until one completes an event.
    fn take_event(&mut self) -> Option<Event> {
        loop {
            if self.input.len() >= 8 && self.input.starts_with(b"AMQP") {
                let version = [self.input[4], self.input[5], self.input[6], self.input[7]];
                self.input.drain(..8);
                return Some(Event::ProtocolHeader(version));
            }
            if self.input.len() < 7 {
                return None;
            }
            let size =
                u32::from_be_bytes([self.input[3], self.input[4], self.input[5], self.input[6]]);
            let whole = size as usize + 8;
            if self.input.len() < whole {
                return None;
            }
            let bytes: Vec<u8> = self.input.drain(..whole).collect();
            let event = self.handle_frame(&bytes);
            if event.is_some() {
                return event;
            }
        }
    }

    fn handle_frame(&mut self, bytes: &[u8]) -> Option<Event> {
        let channel = u16::from_be_bytes([bytes[1], bytes[2]]);
        let payload = &bytes[7..bytes.len() - 1];
        if let Err(text) = second_opinion(bytes) {
            return Some(Event::Violation(text));
        }
        match bytes[0] {
            8 => Some(Event::Heartbeat),
            1 => match Method::decode(payload) {
                Err(text) => Some(Event::Violation(text)),
                Ok(method) => self.handle_method(channel, method),
            },
            2 => self.handle_header(channel, payload),
            _ => self.handle_body(channel, payload),
        }
    }

    fn handle_method(&mut self, channel: u16, method: Method) -> Option<Event> {
        if self.partial.remove(&channel).is_some() {
            return Some(Event::Violation(format!("{method} inside a content")));
        }
        if matches!(
            method.name,
            "basic.deliver" | "basic.get-ok" | "basic.return"
        ) {
            self.partial.insert(
                channel,
                Partial {
                    method,
                    content: None,
                },
            );
            return None;
        }
        Some(Event::Method { channel, method })
    }

    fn handle_header(&mut self, channel: u16, payload: &[u8]) -> Option<Event> {
        let Some(partial) = self
            .partial
            .get_mut(&channel)
            .filter(|p| p.content.is_none())
        else {
            return Some(Event::Violation(format!(
                "unexpected header on channel {channel}"
            )));
        };
        let Some((head, raw)) = payload.split_at_checked(12) else {
            return Some(Event::Violation("short content header".into()));
        };
        let body_bytes = head[4..12]
            .iter()
            .fold(0, |size, byte| size << 8 | u64::from(*byte));
        let Some(properties) = Properties::decode(raw).filter(|_| head[..4] == [0, 60, 0, 0])
        else {
            return Some(Event::Violation(format!(
                "malformed content header {payload:?}"
            )));
        };
        partial.content = Some((body_bytes, raw.to_vec(), properties, Vec::new()));
        self.complete(channel)
    }

    fn handle_body(&mut self, channel: u16, payload: &[u8]) -> Option<Event> {
        let content = self
            .partial
            .get_mut(&channel)
            .and_then(|p| p.content.as_mut());
        let Some((_, _, _, body)) = content else {
            return Some(Event::Violation(format!(
                "unexpected body on channel {channel}"
            )));
        };
        body.extend_from_slice(payload);
        self.complete(channel)
    }

    fn complete(&mut self, channel: u16) -> Option<Event> {
        let (size, _, _, body) = self.partial.get(&channel)?.content.as_ref()?;
        if (body.len() as u64) < *size {
            return None;
        }
        let partial = self.partial.remove(&channel)?;
        let (size, raw_properties, properties, body) = partial.content?;
        if body.len() as u64 > size {
            return Some(Event::Violation(format!(
                "{} bytes in a body of {size}",
                body.len()
            )));
        }
        Some(Event::Content {
            channel,
            method: partial.method,
            properties,
            raw_properties,
            body,
        })
    }
}

/// One frame.
fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(0xCE);
    out
}

/// What amq-protocol says of a whole frame.
fn second_opinion(bytes: &[u8]) -> Result<(), String> {
    match parse_frame(bytes) {
        Ok((rest, AMQPFrame::InvalidHeartbeat(channel))) => Err(format!(
            "heartbeat on channel {channel}, {} bytes left",
            rest.len()
        )),
        Ok(([], _)) => Ok(()),
        Ok((rest, frame)) => Err(format!("{} bytes left after {frame:?}", rest.len())),
        Err(error) => Err(format!("amq-protocol cannot read {bytes:?}: {error}")),
    }
}

fn named(name: &str) -> Method {
    Method::new(name).expect("a method of the specification")
}

fn start_ok(options: &Options) -> Method {
    let plain = format!("\0{}\0{}", options.user, options.password).into_bytes();
    let mut properties = options.properties.clone();
    let capabilities = options
        .capabilities
        .iter()
        .map(|c| (c.as_bytes().to_vec(), Field::Bool(true)))
        .collect();
    properties.push((b"capabilities".to_vec(), Field::Table(capabilities)));
    named("connection.start-ok")
        .with("client_properties", properties)
        .with("mechanism", options.mechanism.as_str())
        .with(
            "response",
            Value::Text(options.response.clone().unwrap_or(plain)),
        )
        .with("locale", "en_US")
}
