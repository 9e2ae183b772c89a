//! What the broker is told: vhosts, users, permissions, topology, policies, parameters and limits.
//!
//! Plain data and the rules on it. Deliberately absent: files (the node's catalog keeps these records),
//! sockets, clocks and random numbers (salts are passed in).

pub mod definitions;
pub mod erlang;
pub mod identity;
pub mod json;
pub mod limit;
pub mod parameter;
pub mod policy;
pub mod topology;
pub mod validation;
