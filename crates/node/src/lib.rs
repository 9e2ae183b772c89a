//! One running broker: vhosts, publish path, deliveries, catalog.
