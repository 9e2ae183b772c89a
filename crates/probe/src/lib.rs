//! A raw AMQP 0-9-1 client for tests: blocking, small, and blind to nothing.
//!
//! It can send anything (methods, contents, single frames, plain bytes) and shows everything the
//! broker sends back. Methods are dynamic: `Method::parse("queue.declare queue=q durable")` fills
//! in the rest with zeros, and every method, content and close prints in the same words, so a test
//! compares text with text.
//!
//! What is deliberately absent: our own `wire` crate. The codec here is written from a table of the
//! specification and every whole frame in either direction is also parsed by `amq-protocol`; when
//! that crate disagrees the reader reports [`Event::Violation`]. So a mistake in `wire` cannot hide
//! by being made twice. No async, no retries, no automatic answers: a heartbeat is an event too.
//!
//! ```text
//! socket -> FrameSplit (kind, channel, payload) -> Method | header | body -> Event
//!                     \-> amq_protocol::parse_frame (second opinion)
//! ```
//!
//! Start at [`Client`].

mod client;
mod event;
mod field;
mod method;
#[cfg(test)]
mod tests;
mod text;

pub use client::{Client, OpenError, Options};
pub use event::Event;
pub use field::{Field, Table};
pub use method::{Method, Properties, Value};
pub use text::{ParseError, Scanner, quote};
