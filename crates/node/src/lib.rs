//! One running broker: vhosts, publish path, deliveries, catalog.

pub mod catalog;
pub mod identities;
