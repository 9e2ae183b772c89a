//! What changes in the broker, told to whoever listens: administrative acts, and what comes and goes (queues,
//! exchanges, bindings, connections, channels, users, vhosts, alarms).
//!
//! Names and properties are those of RabbitMQ's events (`policy_set`, `queue_created`, ...). A listener that
//! does not keep up loses the oldest and is told so. Nobody listening costs one look, and nothing is written down
//! for nobody. Deliberately absent: rates and counts, and anything that happens for each message.

use std::sync::Arc;

use metadata::json::from_table;
use metadata::topology::{BindingSpec, Destination, ExchangeSpec, Name, QueueSpec};
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

use crate::connections::ConnectionEntry;

/// Events that wait for a slow listener before it loses the oldest.
pub const EVENTS_WAITING_MAX: usize = 1024;

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeEvent {
    /// RabbitMQ's name for it.
    pub name: &'static str,
    /// Who did it; `rmq-internal` for the broker itself, as in RabbitMQ.
    pub by: Name,
    /// When, in milliseconds since 1970; `None` where the change has no clock: just before it is heard of.
    pub at_ms: Option<u64>,
    /// What was changed: `vhost`, `name` and what it is now.
    pub properties: Map<String, Value>,
}

impl NodeEvent {
    /// What comes and goes by itself, or through a client whose name is not known here.
    pub fn of(name: &'static str, properties: Value) -> NodeEvent {
        let Value::Object(properties) = properties else {
            unreachable!("callers write an object");
        };
        NodeEvent {
            name,
            by: INTERNAL_USER.into(),
            at_ms: None,
            properties,
        }
    }

    /// A property that is text.
    pub fn text(&self, property: &str) -> Option<&str> {
        self.properties.get(property)?.as_str()
    }
}

/// Who does what the broker does by itself (RabbitMQ's name).
pub const INTERNAL_USER: &str = "rmq-internal";

/// See the module.
#[derive(Debug)]
pub struct Events(broadcast::Sender<Arc<NodeEvent>>);

impl Default for Events {
    fn default() -> Self {
        Events(broadcast::Sender::new(EVENTS_WAITING_MAX))
    }
}

impl Events {
    /// Tells all who listen, if there is anybody, what `event` makes.
    pub fn tell(&self, event: impl FnOnce() -> NodeEvent) {
        if self.0.receiver_count() > 0 {
            // The only failure is that the last listener went meanwhile.
            let _ = self.0.send(Arc::new(event()));
        }
    }

    /// Tells all who listen, and the log: for what somebody did.
    pub fn publish(&self, event: NodeEvent) {
        tracing::info!(event = event.name, by = %event.by, what = ?event.properties, "changed");
        self.tell(|| event);
    }

    /// What is published from now on.
    pub fn listen(&self) -> broadcast::Receiver<Arc<NodeEvent>> {
        self.0.subscribe()
    }
}

/// Events of what comes and goes.
impl Events {
    /// A connection is open, or is over: `connection_created`, `connection_closed`.
    pub fn tell_connection(&self, name: &'static str, entry: &ConnectionEntry) {
        self.tell(|| NodeEvent {
            by: Arc::clone(&entry.user),
            ..NodeEvent::of(
                name,
                json!({
                    "name": &*entry.name, "vhost": &*entry.vhost, "user": &*entry.user,
                    "peer_host": entry.peer_host, "peer_port": entry.peer_port,
                    "user_provided_name": entry.user_provided_name, "ssl": entry.tls.is_some(),
                    "connected_at": entry.connected_at_ms,
                }),
            )
        });
    }

    /// A channel is open, or is over: `channel_created`, `channel_closed`.
    pub fn tell_channel(&self, name: &'static str, connection: &ConnectionEntry, number: u16) {
        self.tell(|| NodeEvent {
            by: Arc::clone(&connection.user),
            ..NodeEvent::of(
                name,
                json!({
                    "name": format!("{} ({number})", connection.name), "number": number,
                    "connection": &*connection.name, "vhost": &*connection.vhost, "user": &*connection.user,
                }),
            )
        });
    }

    /// A queue came or went: `queue_created`, `queue_deleted`.
    pub fn tell_queue(&self, name: &'static str, vhost: &str, spec: &QueueSpec) {
        self.tell(|| {
            NodeEvent::of(
                name,
                json!({
                    "name": &*spec.name, "vhost": vhost, "durable": spec.durable,
                    "exclusive": spec.exclusive, "auto_delete": spec.auto_delete,
                    "arguments": from_table(&spec.arguments),
                }),
            )
        });
    }

    /// An exchange came or went: `exchange_created`, `exchange_deleted`.
    pub fn tell_exchange(&self, name: &'static str, vhost: &str, spec: &ExchangeSpec) {
        self.tell(|| {
            NodeEvent::of(
                name,
                json!({
                    "name": &*spec.name, "vhost": vhost, "type": spec.kind, "durable": spec.durable,
                    "auto_delete": spec.auto_delete, "internal": spec.internal,
                    "arguments": from_table(&spec.arguments),
                }),
            )
        });
    }

    /// A binding came or went: `binding_created`, `binding_deleted`.
    pub fn tell_binding(&self, name: &'static str, vhost: &str, spec: &BindingSpec) {
        self.tell(|| {
            let (kind, destination) = match &spec.destination {
                Destination::Queue(name) => ("queue", name),
                Destination::Exchange(name) => ("exchange", name),
            };
            NodeEvent::of(
                name,
                json!({
                    "source_name": &*spec.source, "vhost": vhost, "destination_kind": kind,
                    "destination_name": &**destination, "routing_key": &*spec.routing_key,
                    "arguments": from_table(&spec.arguments),
                }),
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_hears_what_comes_after() {
        let events = Events::default();
        let event = |name| NodeEvent {
            name,
            by: "ann".into(),
            at_ms: Some(7),
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

    #[test]
    fn what_nobody_hears_is_not_made() {
        let events = Events::default();
        events.tell(|| panic!("nobody listens"));
        let mut listener = events.listen();
        for _ in 0..=EVENTS_WAITING_MAX {
            events.tell(|| NodeEvent::of("queue_created", json!({"name": "q"})));
        }
        // The oldest is lost, and that is told.
        assert_eq!(
            listener.try_recv(),
            Err(broadcast::error::TryRecvError::Lagged(1))
        );
        assert_eq!(
            listener
                .try_recv()
                .map(|event| event.text("name") == Some("q")),
            Ok(true)
        );
    }
}
