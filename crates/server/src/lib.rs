//! The room that listens: sockets, signals, configuration.
