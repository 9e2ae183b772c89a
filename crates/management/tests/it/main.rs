//! The API called as a router, without sockets: statuses, texts and shapes as RabbitMQ 4.3 gave them.

mod access;
mod api;
mod audit;
mod beyond;
mod damage;
mod events;
mod fuzz;
mod lists;
mod messages;
mod openapi;
mod options;
mod policies;
mod statistics;
mod topology;
mod users;
