//! AMQP 0-9-1: frames, methods, field tables, properties.
//!
//! ```text
//! frame.rs       the envelope: kind, channel, length, payload, end octet
//! method.rs      what a method frame holds, one struct a method
//! table.rs       field tables as they stand in a buffer
//! field_table.rs field tables of our own
//! properties.rs  what a content header frame holds
//! reply_code.rs  the codes of close and return
//! codec.rs       the elementary types (private)
//! ```
//! The law is the AMQP 0-9-1 specification with RabbitMQ's errata and extensions. Deliberately absent:
//! AMQP 0-8, and the order in which frames may come (the `protocol` crate).

mod codec;
mod field_table;
pub mod frame;
pub mod method;
pub mod properties;
pub mod reply_code;
pub mod table;

#[cfg(test)]
mod tests;

/// What a client sends first, and what a server answers when it cannot speak what was asked for (section 4.2.2).
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\0\0\x09\x01";

/// The longest short string in bytes: its length is one octet (section 4.2.5.3).
pub const SHORT_STRING_BYTES_MAX: usize = 255;

/// What was malformed in bytes of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A field or length reaches past the end of what was sent.
    #[error("truncated: a field reaches past the end")]
    Truncated,
    /// Bytes are left after the last field.
    #[error("bytes are left after the last field")]
    TrailingBytes,
    /// A short string that is no UTF-8.
    #[error("malformed UTF-8 in shortstr")]
    InvalidUtf8,
    /// A field table's value has a type that does not exist.
    #[error("unknown field value type {0:#04x}")]
    UnknownValueType(u8),
    /// Tables and arrays are nested deeper than [`table::TABLE_DEPTH_MAX`].
    #[error("tables nested deeper than {max}", max = table::TABLE_DEPTH_MAX)]
    TooDeep,
    /// An infinity or not a number: RabbitMQ, whose language has neither, does not read them.
    #[error("float is not finite")]
    FloatNotFinite,
    /// The weight field of a content header, reserved and always zero (section 4.2.6.1).
    #[error("content header weight is {0}, not 0")]
    WeightNotZero(u16),
}
