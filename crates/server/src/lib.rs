//! The only room that listens: sockets, worker threads, timers, memory watch, shutdown.
//!
//! One listener hands each accepted socket to the worker with the fewest. A worker is a thread with its own
//! single-threaded runtime; a connection lives on one worker for good, driven by [`driver`], which does no more
//! than move bytes between the socket and the protocol's state machine.

pub mod auth;
mod clock;
pub mod config;
pub mod control;
mod definitions;
mod driver;
pub mod fetch;
mod host;
mod http;
mod memory;
pub mod otlp;
mod proxy;
mod server;
mod sites;
mod sockets;
mod stalls;
pub mod tls;
mod workers;

pub use clock::Clock;
pub use config::Config;
pub use definitions::LoadError;
pub use http::HttpOptions;
pub use otlp::OtlpOptions;
pub use server::{Listeners, Server, StartError};
pub use sites::{HttpAddresses, Served};
pub use sockets::SocketOptions;
