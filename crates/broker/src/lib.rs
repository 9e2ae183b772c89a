//! Exchanges, routing, queues, dead letters: the heart, without IO, locks or a clock.

pub mod dead_letter;
pub mod exchange;
pub mod message;
pub mod queue;
pub mod queue_arguments;
pub mod router;
