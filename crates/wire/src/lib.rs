//! Bytes to values and back, for each protocol. Knows no broker and no socket.

pub mod amqp091;
