//! Exchanges, routing, queues, dead letters: the heart, without IO, locks or a clock.

pub mod exchange;
pub mod message;
pub mod router;
pub mod queue;
