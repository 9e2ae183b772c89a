//! AMQP 0-9-1 as RabbitMQ speaks it.
//!
//! [`Connection`] is the door: `handle_input`, `handle_wake` and `handle_timeout` take what happened,
//! [`Output`] holds what to write, `poll_timeout` says when to come back. A batch is what one call finds:
//! publishes and settlements are collected while frames are parsed and given to the queues in one go
//! (`flush`), before anything that must come after them, and at the end of the input.
//!
//! ```text
//! bytes ─► frames ─► handshake            (until connection.open-ok)
//!                 └► channel ─┬► content ─► publish batch ─┐
//!                             ├► ack, nack ─► settlements ─┼─ flush ─► queues
//!                             └► other methods ────────────┘
//! mailbox ─► deliver ─► Output ─► socket
//! ```

mod answers;
mod channel;
mod closing;
mod confirms;
mod connection;
mod consume;
mod content;
mod deliver;
mod fault;
mod handshake;
mod heartbeat;
mod limits;
mod methods;
mod output;
mod permissions;
mod publish;
mod publish_again;
mod reply_to;
mod server_properties;
mod settle;
mod topology;
mod traced_deliveries;
mod transactions;
mod unacked;

pub use connection::{Connection, Peer};
pub use limits::*;
pub use output::Output;
