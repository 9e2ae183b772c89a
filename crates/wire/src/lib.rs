//! Bytes to values and back, for each protocol. Knows no broker and no socket.
//!
//! Every decoder takes what it is given: bytes of a peer are never trusted, so nothing here indexes,
//! unwraps or panics on them. Deliberately absent: what a method *means* (the `protocol` crate), buffers
//! that fill from a socket (the `server` crate), threads, clocks and files.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod amqp091;
pub mod trace_context;
