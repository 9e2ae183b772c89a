//! AMQP 0-9-1: frames, methods, field tables, properties.

pub mod properties;
pub mod table;
