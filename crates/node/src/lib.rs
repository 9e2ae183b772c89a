//! One running broker, without its sockets: vhosts, queues with their locks, the publish path, dead
//! lettering, timers, and who is connected.
//!
//! The pure machines live in `broker`; this room gives them their locks and carries out their effects.
//! Every call is synchronous and takes the time as an argument. What must be on disk before a client is
//! answered is returned as a [`catalog::Ticket`], and the caller holds the answer back until it is durable.
//! Deliberately absent: sockets, protocols, and a clock.
//!
//! Start at [`vhost::Vhost`]; the way of a message goes through [`queue_cell::QueueCell::publish`] and comes
//! out at a connection's [`mailbox::Mailbox`].
//!
//! Lock order: a vhost's topology, then one queue's state, then a mailbox. No two queues are ever locked at
//! once: what one queue does to another (dead lettering) is carried out after its lock is released.

pub mod administration;
pub mod alarms;
pub mod attempts;
pub mod catalog;
pub mod connections;
pub mod counters;
pub mod dead_letters;
pub mod definitions;
pub mod events;
pub mod flow;
pub mod identities;
mod links;
pub mod mailbox;
pub mod message_log;
pub mod names;
pub mod node;
pub mod publish;
pub mod queue_cell;
pub mod rates;
pub mod refusal;
pub mod replies;
pub mod settings;
pub mod spans;
pub mod timers;
pub mod topology;
pub mod vhost;
