//! The conversation rules of each protocol, as state machines: bytes in, bytes out, and calls on the node.
//!
//! A connection here owns no socket, no task and no clock. The server's driver feeds it what it read and the
//! time, writes what it has to say, and wakes it when its mailbox or its timer asks for it. So a whole
//! conversation can be played in memory, with virtual time, and fuzzed.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod amqp091;
