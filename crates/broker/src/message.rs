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

use triomphe::{Arc, ThinArc};
use wire::amqp091::properties::Properties;

/// The longest exchange name or routing key, in bytes: a short string's limit (AMQP 0-9-1, 4.2.5.3).
pub const SHORT_STRING_BYTES_MAX: usize = 255;

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

/// What traces know a message by, for as long as it is in memory: its bytes cannot say, for they leave as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TraceMark(pub u32);

impl TraceMark {
    /// It is not traced.
    pub const NONE: TraceMark = TraceMark(0);
    /// It came back from the log, which keeps no marks: its headers may tell.
    pub const UNKNOWN: TraceMark = TraceMark(u32::MAX);

    /// Whether it is neither of those.
    pub fn is_known(self) -> bool {
        !matches!(self, TraceMark::NONE | TraceMark::UNKNOWN)
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
    trace_mark: TraceMark,
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
            trace_mark: TraceMark::NONE,
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
            trace_mark: TraceMark::UNKNOWN,
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

    /// What traces know it by.
    pub fn trace_mark(&self) -> TraceMark {
        self.header().trace_mark
    }

    /// Marks it for traces. Others who hold it keep it as it was: where there are any, this becomes a copy.
    pub fn set_trace_mark(&mut self, trace_mark: TraceMark) {
        let is_ours = self.0.with_arc_mut(|shared| match Arc::get_mut(shared) {
            Some(message) => {
                message.header_mut().trace_mark = trace_mark;
                true
            }
            None => false,
        });
        if !is_ours {
            let header = MessageHeader {
                trace_mark,
                ..*self.header()
            };
            self.0 = ThinArc::from_header_and_slice(header, &self.0.slice);
        }
    }

    /// Whether it has headers: what `properties` begin with says so (AMQP 0-9-1, 4.2.6.1 and basic's properties).
    pub fn has_headers(&self) -> bool {
        let first = self.properties().first();
        first.is_some_and(|flags| flags & 0x20 != 0)
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

    /// Bytes of the body.
    #[inline]
    pub fn body_bytes(&self) -> usize {
        self.bytes() - self.header().properties_end as usize
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
    /// Names and properties, as they stand before the body.
    head: Box<[u8]>,
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
        let mut head = Vec::new();
        let message = Message::new(
            exchange,
            routing_key,
            properties,
            expiration_ms,
            &[],
            &mut head,
        );
        MessageTemplate {
            header: *message.header(),
            head: head.into(),
        }
    }

    /// A message whose body is the last `body_bytes` of `input`.
    ///
    /// What came before the body carried the same names and properties in more words, so there is room for the
    /// message's head in front of it: all is copied at once, and the head is written over what it replaces. The body
    /// is moved a single time.
    ///
    /// # Panics
    /// If `input` is shorter than `body_bytes`.
    #[inline]
    pub fn with_body_at_end(&self, input: &[u8], body_bytes: usize) -> Message {
        let before = input.len() - body_bytes;
        let Some(start) = before.checked_sub(self.head.len()) else {
            return self.with_body(&input[before..]);
        };
        let mut message = ThinArc::from_header_and_slice(self.header, &input[start..]);
        message.with_arc_mut(|made| {
            let made = Arc::get_mut(made).expect("nobody else has it yet");
            made.slice_mut()[..self.head.len()].copy_from_slice(&self.head);
        });
        Message(message)
    }

    /// The same when the body stands alone, or almost.
    #[cold]
    fn with_body(&self, body: &[u8]) -> Message {
        let bytes = [&self.head, body].concat();
        Message(ThinArc::from_header_and_slice(self.header, &bytes))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Flags of delivery-mode, and the mode.
    const PERSISTENT: &[u8] = b"\x10\x00\x02";

    #[test]
    fn a_mark_is_seen_by_whom_it_was_set_for() {
        let properties = Properties::validate(PERSISTENT).expect("they are properties");
        let mut first = Message::new("ex", "key", &properties, Some(7), b"body", &mut Vec::new());
        assert_eq!(first.trace_mark(), TraceMark::NONE);
        let place = first.body().as_ptr();
        first.set_trace_mark(TraceMark(1));
        assert_eq!(
            first.body().as_ptr(),
            place,
            "nobody else had it: it is not copied"
        );
        let other = first.clone();
        first.set_trace_mark(TraceMark(2));
        assert_eq!(
            (first.trace_mark(), other.trace_mark()),
            (TraceMark(2), TraceMark(1))
        );
        assert_eq!(first.stored(), other.stored());
        let (form, bytes) = first.stored();
        let again = Message::from_stored(Origin::Published, form, bytes).expect("it was one");
        assert_eq!(again.trace_mark(), TraceMark::UNKNOWN);
    }

    #[test]
    fn a_message_of_a_template_is_one_made_of_its_parts() {
        let properties = Properties::validate(PERSISTENT).expect("they are properties");
        let template = MessageTemplate::new("ex", "key", &properties, Some(7));
        let head_bytes = "\x02ex\x03key".len() + PERSISTENT.len();
        for body in [&b""[..], b"b", &[b'x'; 5000]] {
            let whole = Message::new("ex", "key", &properties, Some(7), body, &mut Vec::new());
            // No room for the head, hardly enough, just enough, more than enough.
            for before in [0, head_bytes - 1, head_bytes, 200] {
                let mut input = vec![b'-'; before];
                input.extend_from_slice(body);
                let made = template.with_body_at_end(&input, body.len());
                assert_eq!(made.stored(), whole.stored());
                assert_eq!(made.body(), body);
                assert_eq!(made.body_bytes(), body.len());
                assert_eq!(made.expiration_ms(), Some(7));
                assert!(made.persistent());
            }
        }
    }
}
