//! Who changed what: administrative changes, told to whoever listens.
//!
//! Names and properties are those of RabbitMQ's events (`policy_set`, `vhost_limits_set`, ...). A listener that
//! does not keep up loses the oldest and is told so. Nobody listening costs one look. Deliberately absent: rates
//! and counts, and anything that happens for each message.

use std::sync::Arc;

use metadata::topology::Name;
use serde_json::{Map, Value};
use tokio::sync::broadcast;

/// Events that wait for a slow listener before it loses the oldest.
pub const EVENTS_WAITING_MAX: usize = 1024;

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct AdminEvent {
    /// RabbitMQ's name for it.
    pub name: &'static str,
    /// Who did it; `rmq-internal` for the broker itself, as in RabbitMQ.
    pub by: Name,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What was changed: `vhost`, `name` and what it is now.
    pub properties: Map<String, Value>,
}

/// Who does what the broker does by itself (RabbitMQ's name).
pub const INTERNAL_USER: &str = "rmq-internal";

/// See the module.
#[derive(Debug)]
pub struct Events(broadcast::Sender<Arc<AdminEvent>>);

impl Default for Events {
    fn default() -> Self {
        Events(broadcast::Sender::new(EVENTS_WAITING_MAX))
    }
}

impl Events {
    /// Tells all who listen.
    pub fn publish(&self, event: AdminEvent) {
        tracing::info!(event = event.name, by = %event.by, what = ?event.properties, "changed");
        if self.0.receiver_count() > 0 {
            // The only failure is that the last listener went meanwhile.
            let _ = self.0.send(Arc::new(event));
        }
    }

    /// What is published from now on.
    pub fn listen(&self) -> broadcast::Receiver<Arc<AdminEvent>> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_hears_what_comes_after() {
        let events = Events::default();
        let event = |name| AdminEvent {
            name,
            by: "ann".into(),
            at_ms: 7,
            properties: Map::new(),
        };
        events.publish(event("policy_set"));
        let mut listener = events.listen();
        assert!(listener.try_recv().is_err());
        events.publish(event("policy_cleared"));
        assert_eq!(
            listener.try_recv().map(|event| event.name),
            Ok("policy_cleared")
        );
    }
}
