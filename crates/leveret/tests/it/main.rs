//! The binary as its users meet it: started, asked over AMQP and `leveret ctl`, stopped, killed.
//!
//! Each test starts brokers of its own on a free port with a data directory of its own, and waits for events
//! with a limit, never for time to pass. What the rules are in detail is tested further down in the house;
//! here it is only shown that the parts are put together.

#![allow(
    clippy::print_stderr,
    reason = "a broker that does not start must say why"
)]

mod admin;
mod alarm;
mod broker;
mod definitions;
mod full_disk;
mod ledger;
mod lists;
mod messages;
mod offline;
mod permissions;
mod restart;
mod serving;
mod start;
mod stop;
