//! What a listener of HTTP lets its clients do: how many of them, for how long, and whether answers are compressed.

use std::time::Duration;

/// `management.tcp.*`, `management.ssl.*` and the same of `prometheus`, without addresses and certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// Connections at once: `max_connections`. For one more, the one that was silent longest is closed; if all have
    /// asked for something, it is answered with 503.
    pub connections_max: usize,
    /// Requests of one connection; the last one's answer closes it: `max_keepalive`.
    pub requests_max: u64,
    /// How long a client may take to send a request's head, the wait for it on an idle connection included:
    /// `request_timeout`.
    pub request_timeout_ms: u64,
    /// How long a client may send nothing of a body that it sends, or read nothing of an answer: `idle_timeout`.
    pub idle_timeout_ms: u64,
    /// Whether answers are compressed for clients that say they can read that: `compress`.
    pub compress: bool,
    /// Connections that may wait to be accepted: `backlog`.
    pub backlog: u32,
}

impl HttpOptions {
    pub(super) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub(super) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }
}

impl Default for HttpOptions {
    /// RabbitMQ's, but for the time that an idle connection lives: a minute, not five seconds (COMPAT.md).
    fn default() -> Self {
        HttpOptions {
            connections_max: 1024,
            requests_max: 1000,
            request_timeout_ms: 60_000,
            idle_timeout_ms: 60_000,
            compress: true,
            backlog: 1024,
        }
    }
}
