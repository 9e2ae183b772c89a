//! What `connection.start` says of us: RabbitMQ's fields, our name.

use wire::amqp091::table::{FieldTable, FieldValue};

/// The capabilities RabbitMQ announces, in its order.
const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

/// The RabbitMQ release whose behaviour we follow. Clients compare it before they use a feature, so it stands
/// in `version`; our own version stands in `leveret_version`.
pub(crate) const RABBITMQ_VERSION: &str = "4.3.6";

/// The table of `connection.start`. Clients look at `product` too, before they use what RabbitMQ alone has.
pub(crate) fn server_properties(cluster_name: &str) -> FieldTable {
    let text = |text: &str| FieldValue::LongStr(text.as_bytes().to_vec());
    let mut capabilities = FieldTable::new();
    for capability in CAPABILITIES {
        capabilities.set(capability, FieldValue::Bool(true));
    }
    let mut properties = FieldTable::new();
    properties.set("capabilities", FieldValue::Table(capabilities));
    properties.set("cluster_name", text(cluster_name));
    properties.set("copyright", text("Copyright (c) the Leveret authors."));
    properties.set(
        "information",
        text("Licensed under the Apache License 2.0."),
    );
    properties.set("leveret_version", text(env!("CARGO_PKG_VERSION")));
    properties.set("platform", text("Rust"));
    properties.set("product", text("RabbitMQ"));
    properties.set("version", text(RABBITMQ_VERSION));
    properties
}
