//! Hostile clients on real sockets. Each test ends with a healthy client that is served, and with the
//! connections and the memory given back.
//!
//! [`broker`] starts one in this process, [`memory`] counts what it holds, [`pki`] makes certificates, [`service`]
//! answers HTTP and asks over it, [`tunnel`] speaks TLS for clients that do not.

mod alarms;
mod auth;
mod auth_http;
mod auth_ldap;
mod broker;
mod crowd;
mod directory;
mod events;
mod fields;
mod flood;
mod garbage;
mod http;
mod https;
mod memory;
mod permissions;
mod pki;
mod policies;
mod proxy;
mod questions;
mod recorded;
mod service;
mod spans;
mod stopping;
mod suspended;
mod tls;
mod tunnel;
