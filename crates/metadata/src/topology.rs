//! The records of a vhost's topology: exchanges, queues and bindings as they were declared.

use std::sync::Arc;

use wire::amqp091::table::FieldTable;

/// A name of a vhost, exchange or queue: shared, because every table that mentions it holds one.
pub type Name = Arc<str>;

/// An exchange as it was declared.
#[derive(Debug, Clone, PartialEq)]
pub struct ExchangeSpec {
    /// Its name; empty for the default exchange.
    pub name: Name,
    /// Its type as declared, `direct` or `x-random` for example.
    pub kind: String,
    /// Survives a restart.
    pub durable: bool,
    /// Goes when its last binding as a source goes.
    pub auto_delete: bool,
    /// Takes no message from publishers, only from bindings.
    pub internal: bool,
    /// Optional arguments, `alternate-exchange` among them.
    pub arguments: FieldTable,
}

/// A queue as it was declared.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueSpec {
    /// Its name.
    pub name: Name,
    /// Survives a restart.
    pub durable: bool,
    /// Belongs to the connection that declared it, and goes with it.
    pub exclusive: bool,
    /// Goes when its last consumer goes.
    pub auto_delete: bool,
    /// Optional arguments, `x-message-ttl` for example.
    pub arguments: FieldTable,
}

/// Where a binding leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// A queue, by name.
    Queue(Name),
    /// Another exchange, by name.
    Exchange(Name),
}

/// A binding: one edge of the routing graph.
#[derive(Debug, Clone, PartialEq)]
pub struct BindingSpec {
    /// The exchange that routes.
    pub source: Name,
    /// What it routes to.
    pub destination: Destination,
    /// Compared with a message's routing key as the exchange's type says.
    pub routing_key: Name,
    /// Part of the binding's identity, as in RabbitMQ.
    pub arguments: FieldTable,
}
