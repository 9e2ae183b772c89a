//! The room that listens: sockets, signals, configuration.

pub mod control;
