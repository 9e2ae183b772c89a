//! What the broker is told: vhosts, users, permissions, topology.
//!
//! Plain data and the rules on it. Deliberately absent: files (the node's catalog keeps these records),
//! sockets, clocks and random numbers (salts are passed in).

pub mod identity;
pub mod json;
pub mod topology;
