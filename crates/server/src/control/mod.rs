//! The control socket: how `leveret ctl` reaches a running broker.

pub mod protocol;
