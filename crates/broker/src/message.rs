//! A message: one allocation, shared by every queue that holds it.
//!
//! ```text
//! ┌────────────────────┬───────────────────────┬────────────┬──────┐
//! │ exchange (shortstr)│ routing key (shortstr)│ properties │ body │
//! └────────────────────┴───────────────────────┴────────────┴──────┘
//! ```
//! The first two stand in the very form that `basic.deliver` carries them in, and the properties as the
//! publisher sent them, so that a delivery copies bytes and interprets nothing. Deliberately absent: what
//! differs from queue to queue (deadlines, delivery counts), which the queue's own entry holds.

use triomphe::ThinArc;
use wire::amqp091::properties::Properties;

/// The longest exchange name or routing key, in bytes: a short string's limit (AMQP 0-9-1, 4.2.5.3).
pub const SHORT_STRING_BYTES_MAX: usize = 255;

/// Room for a body that a template keeps from one message to the next.
const BODY_BYTES_KEPT: usize = 4096;

/// Where a message stands in the node's log. [`LogPosition::NONE`] for one that is only in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition(pub u64);

impl LogPosition {
    /// Not in the log.
    pub const NONE: LogPosition = LogPosition(0);

    /// Whether the log holds the message.
    pub fn is_some(self) -> bool {
        self != LogPosition::NONE
    }
}

/// How a message came to be. Its headers cannot say, because clients write there what they like: an `x-death`
/// header counts only if the broker wrote it (RabbitMQ 4.0 and later).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// A client published it.
    #[default]
    Published,
    /// It died in a queue. It goes by its routing key and those of its `CC` and `BCC` headers.
    DeadLetter,
    /// It died in a queue that gives its dead letters a routing key. It goes by that one alone.
    DeadLetterRerouted,
}

impl Origin {
    /// As a log keeps it.
    pub fn to_u8(self) -> u8 {
        match self {
            Origin::Published => 0,
            Origin::DeadLetter => 1,
            Origin::DeadLetterRerouted => 2,
        }
    }

    /// The reverse of [`Origin::to_u8`].
    pub fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Origin::Published),
            1 => Some(Origin::DeadLetter),
            2 => Some(Origin::DeadLetterRerouted),
            _ => None,
        }
    }
}

/// How a message's bytes are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredForm {
    /// End of the exchange name and routing key.
    pub address_end: u32,
    /// End of the properties; the body is behind them.
    pub properties_end: u32,
}

fn short_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// What the broker itself asks of a message, read once when it arrives.
#[derive(Debug, Clone, Copy)]
struct MessageHeader {
    /// From the `expiration` property.
    expiration_ms: Option<u64>,
    /// End of the exchange name and routing key, from the start of the bytes.
    address_end: u32,
    /// End of the properties, from the start of the bytes.
    properties_end: u32,
    priority: Option<u8>,
    persistent: bool,
    origin: Origin,
}

/// A published message. Cloning it is one atomic increment.
#[derive(Clone)]
pub struct Message(ThinArc<MessageHeader, u8>);

impl Message {
    /// Builds a message from its parts. `scratch` is working space that the caller reuses from message to
    /// message. `expiration_ms` has been parsed (and refused if it was no number) by the caller.
    ///
    /// # Panics
    /// If `exchange` or `routing_key` is longer than [`SHORT_STRING_BYTES_MAX`]: both came as short strings.
    pub fn new(
        exchange: &str,
        routing_key: &str,
        properties: &Properties<'_>,
        expiration_ms: Option<u64>,
        body: &[u8],
        scratch: &mut Vec<u8>,
    ) -> Self {
        assert!(exchange.len() <= SHORT_STRING_BYTES_MAX);
        assert!(routing_key.len() <= SHORT_STRING_BYTES_MAX);
        scratch.clear();
        scratch.push(exchange.len() as u8);
        scratch.extend_from_slice(exchange.as_bytes());
        scratch.push(routing_key.len() as u8);
        scratch.extend_from_slice(routing_key.as_bytes());
        let address_end = scratch.len() as u32;
        scratch.extend_from_slice(properties.as_bytes());
        let properties_end = scratch.len() as u32;
        scratch.extend_from_slice(body);
        let header = MessageHeader {
            expiration_ms,
            address_end,
            properties_end,
            priority: properties.priority(),
            persistent: properties.delivery_mode() == Some(2),
            origin: Origin::Published,
        };
        Message(ThinArc::from_header_and_slice(header, scratch))
    }

    /// Builds a message again from what [`Message::stored`] and [`Message::origin`] gave, which may have been damaged:
    /// `None` if it is no message.
    pub fn from_stored(origin: Origin, form: StoredForm, bytes: &[u8]) -> Option<Self> {
        let address = bytes.get(..form.address_end as usize)?;
        let (exchange, rest) = short_string(address)?;
        let (routing_key, rest) = short_string(rest)?;
        if !rest.is_empty() {
            return None;
        }
        std::str::from_utf8(exchange).ok()?;
        std::str::from_utf8(routing_key).ok()?;
        let raw = bytes.get(form.address_end as usize..form.properties_end as usize)?;
        let properties = Properties::validate(raw).ok()?;
        let header = MessageHeader {
            // It was a number when the message came, or it would have been refused.
            expiration_ms: properties.expiration().and_then(|text| text.parse().ok()),
            address_end: form.address_end,
            properties_end: form.properties_end,
            priority: properties.priority(),
            persistent: properties.delivery_mode() == Some(2),
            origin,
        };
        Some(Message(ThinArc::from_header_and_slice(header, bytes)))
    }

    /// All its bytes, and how they are divided: what a log keeps.
    pub fn stored(&self) -> (StoredForm, &[u8]) {
        let header = self.header();
        let form = StoredForm {
            address_end: header.address_end,
            properties_end: header.properties_end,
        };
        (form, &self.0.slice)
    }

    /// A copy with another origin.
    pub fn with_origin(self, origin: Origin) -> Self {
        let header = MessageHeader {
            origin,
            ..*self.header()
        };
        Message(ThinArc::from_header_and_slice(header, &self.0.slice))
    }

    /// How it came to be.
    pub fn origin(&self) -> Origin {
        self.header().origin
    }

    fn header(&self) -> &MessageHeader {
        &self.0.header.header
    }

    /// Exchange and routing key, each as a short string with its length byte.
    pub fn address(&self) -> &[u8] {
        &self.0.slice[..self.header().address_end as usize]
    }

    /// The exchange it was published to.
    pub fn exchange(&self) -> &str {
        let address = self.address();
        let end = 1 + address[0] as usize;
        std::str::from_utf8(&address[1..end]).expect("new() took a str")
    }

    /// The routing key it was published with.
    pub fn routing_key(&self) -> &str {
        let address = self.address();
        let start = 2 + address[0] as usize;
        std::str::from_utf8(&address[start..]).expect("new() took a str")
    }

    /// The properties as a content header carries them: flags and values.
    pub fn properties(&self) -> &[u8] {
        let header = self.header();
        &self.0.slice[header.address_end as usize..header.properties_end as usize]
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.0.slice[self.header().properties_end as usize..]
    }

    /// Bytes of names, properties and body together: what it weighs in memory, but for a fixed overhead.
    pub fn bytes(&self) -> usize {
        self.0.slice.len()
    }

    /// Whether the publisher asked for it to survive a restart (delivery-mode 2).
    pub fn persistent(&self) -> bool {
        self.header().persistent
    }

    /// The `priority` property.
    pub fn priority(&self) -> Option<u8> {
        self.header().priority
    }

    /// The `expiration` property, in milliseconds from the moment a queue takes it.
    pub fn expiration_ms(&self) -> Option<u64> {
        self.header().expiration_ms
    }

    /// Whether both have the same names and properties, and bodies of the same length.
    #[inline]
    pub fn is_like(&self, other: &Message) -> bool {
        let (ours, theirs) = (self.header(), other.header());
        let head = ours.properties_end as usize;
        ours.address_end == theirs.address_end
            && ours.properties_end == theirs.properties_end
            && self.bytes() == other.bytes()
            && self.0.slice[..head] == other.0.slice[..head]
    }

    /// Whether both are the same allocation.
    pub fn same(&self, other: &Message) -> bool {
        std::ptr::eq(self.0.slice.as_ptr(), other.0.slice.as_ptr())
    }
}

/// What messages have in common that differ in their bodies only: the rest is laid out once.
#[derive(Debug, Clone)]
pub struct MessageTemplate {
    header: MessageHeader,
    /// Names and properties; behind them, the body of the last message that was made.
    bytes: Vec<u8>,
}

impl MessageTemplate {
    /// A template of messages with these names and properties.
    ///
    /// # Panics
    /// As [`Message::new`].
    pub fn new(
        exchange: &str,
        routing_key: &str,
        properties: &Properties<'_>,
        expiration_ms: Option<u64>,
    ) -> Self {
        let mut bytes = Vec::new();
        let message = Message::new(
            exchange,
            routing_key,
            properties,
            expiration_ms,
            &[],
            &mut bytes,
        );
        MessageTemplate {
            header: *message.header(),
            bytes,
        }
    }

    /// A message with this body.
    #[inline]
    pub fn with_body(&mut self, body: &[u8]) -> Message {
        self.bytes.truncate(self.header.properties_end as usize);
        self.bytes.extend_from_slice(body);
        let message = ThinArc::from_header_and_slice(self.header, &self.bytes);
        if BODY_BYTES_KEPT < body.len() {
            self.bytes.truncate(self.header.properties_end as usize);
            self.bytes.shrink_to_fit();
        }
        Message(message)
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("exchange", &self.exchange())
            .field("routing_key", &self.routing_key())
            .field("body_bytes", &self.body().len())
            .finish()
    }
}
