//! Whole conversations in memory: bytes in, bytes out, no sockets, and a clock that the tests move.
//!
//! [`pair`] has the two ends, [`script`] their words. The rest is a file for each part of a conversation.

mod access;
mod again;
mod bounds;
mod content;
mod delivery;
mod durable;
mod elsewhere;
mod expiry;
mod handshake;
mod limits;
mod memory;
mod paging;
mod pair;
mod publishing;
mod random;
mod rates;
mod script;
