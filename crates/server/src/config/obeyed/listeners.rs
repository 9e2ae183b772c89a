//! Sockets.

use crate::config::key::{Applies::*, Key, key};

pub(super) static KEYS: &[Key] = &[
    key(
        "listeners.tcp",
        Restart,
        "",
        "`none`: AMQP is served over TLS only",
        |config, given| {
            given.one_of(&["none"])?;
            config.listen.amqp.none = true;
            Ok(())
        },
    ),
    key(
        "listeners.tcp.$name",
        Restart,
        "5672",
        "an address to serve AMQP on; as many as there are names",
        |config, given| {
            config.listen.amqp.wanted.push(given.address()?);
            Ok(())
        },
    ),
];
