//! What a client sees, one event at a time.

use std::fmt;

use crate::method::{Method, Properties};
use crate::text::quote;

/// Something the broker sent, or did to the socket.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A method without content.
    Method {
        /// Channel number.
        channel: u16,
        /// The method.
        method: Method,
    },
    /// A whole message: basic.deliver, basic.get-ok or basic.return with its content.
    Content {
        /// Channel number.
        channel: u16,
        /// The method that announced it.
        method: Method,
        /// Decoded properties.
        properties: Properties,
        /// The properties as they stood on the wire: flags and values.
        raw_properties: Vec<u8>,
        /// The whole body.
        body: Vec<u8>,
    },
    /// A heartbeat frame.
    Heartbeat,
    /// `AMQP` and four bytes: the broker refused the protocol header.
    ProtocolHeader([u8; 4]),
    /// The broker closed the socket (true: by a reset).
    Eof(bool),
    /// The broker broke the protocol, in our eyes or in amq-protocol's.
    Violation(String),
}

impl Event {
    /// Channel of a method or content; 0 otherwise.
    pub fn channel(&self) -> u16 {
        match self {
            Event::Method { channel, .. } | Event::Content { channel, .. } => *channel,
            _ => 0,
        }
    }

    /// The method, of a method or a content.
    pub fn method(&self) -> Option<&Method> {
        match self {
            Event::Method { method, .. } | Event::Content { method, .. } => Some(method),
            _ => None,
        }
    }

    /// The method's name, or a word for what it is.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Method { method, .. } | Event::Content { method, .. } => method.name,
            Event::Heartbeat => "heartbeat",
            Event::ProtocolHeader(_) => "protocol-header",
            Event::Eof(_) => "eof",
            Event::Violation(_) => "violation",
        }
    }

    /// True for what comes unasked: deliveries, returns, confirms, cancellation by the broker,
    /// blocked, unblocked and heartbeats.
    pub fn is_unasked(&self) -> bool {
        matches!(
            self.name(),
            "basic.deliver"
                | "basic.return"
                | "basic.ack"
                | "basic.nack"
                | "basic.cancel"
                | "connection.blocked"
                | "connection.unblocked"
                | "heartbeat"
        )
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Method { channel, method } => write!(f, "[{channel}] {method}"),
            Event::Content {
                channel,
                method,
                properties,
                body,
                ..
            } => {
                write!(f, "[{channel}] {method} | {properties} | ")?;
                match body.len() {
                    0..=200 => f.write_str(&quote(body)),
                    length => write!(f, "{length} bytes, crc {:08x}", checksum(body)),
                }
            }
            Event::Heartbeat => f.write_str("heartbeat"),
            Event::ProtocolHeader(version) => write!(f, "protocol header AMQP {version:?}"),
            Event::Eof(false) => f.write_str("socket closed"),
            Event::Eof(true) => f.write_str("socket reset"),
            Event::Violation(text) => write!(f, "VIOLATION {text}"),
        }
    }
}

/// FNV-1a: tells long bodies apart in print; equality is judged on the bytes themselves.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}
