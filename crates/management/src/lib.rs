//! The management HTTP API: RabbitMQ's routes under `/api`, answered from a node.
//!
//! [`router`] makes an `axum::Router` of an [`Api`]; whoever serves it puts a [`Peer`] into each request. Every
//! route stands in one table (`routes`), which the router, the `Allow` headers and the OpenAPI description are
//! made from. A handler is a synchronous function from a call to an answer, run on a blocking thread, so that a
//! list of many queues or a slow disk holds up no other request and no AMQP client.
//!
//! Deliberately absent: sockets, TLS, files and clocks (the server has them), and the rules of what is declared,
//! which node and metadata keep. Start at `routes`, then a resource's own file.

mod access;
mod answer;
mod api;
mod bindings;
mod call;
mod channels;
mod connections;
mod consumers;
mod definitions;
mod dispatch;
mod events;
mod exchanges;
mod explain;
mod failure;
mod flags;
mod headers;
mod health;
mod json;
mod limits;
mod messages;
mod metrics;
mod nodes;
mod openapi;
mod options;
mod overview;
mod pages;
mod parameters;
mod peek;
mod permissions;
mod policies;
mod queue_actions;
mod queues;
mod rates;
mod redrive;
mod request_body;
mod routes;
mod stats;
mod text;
mod users;
mod vhosts;

pub use api::{Api, Certificate, Host, HostFacts, Listening, LoggedIn, Peer};
pub use dispatch::router;
pub use flags::{deprecated_features, feature_flags};
pub use metrics::metrics_router;
pub use options::{KnownHeader, MetricsOptions, Options};
