//! Exchanges, routing, queues, dead letters: the heart, without IO, locks or a clock.

pub mod message;
