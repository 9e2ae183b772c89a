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
    key(
        "listeners.ssl",
        Restart,
        "",
        "`none`: AMQP is not served over TLS",
        |config, given| {
            given.one_of(&["none"])?;
            config.listen.amqps.none = true;
            Ok(())
        },
    ),
    key(
        "listeners.ssl.$name",
        Restart,
        "",
        "an address to serve AMQP over TLS on, 5671 by custom; as many as there are names",
        |config, given| {
            config.listen.amqps.wanted.push(given.address()?);
            Ok(())
        },
    ),
    key(
        "proxy_protocol",
        Restart,
        "false",
        "whether each AMQP connection begins with a header of the PROXY protocol, version 1 or 2, as a load balancer \
         sends it",
        |config, given| {
            config.listen.proxy_protocol = given.switch()?;
            Ok(())
        },
    ),
    key(
        "tcp_listen_options.backlog",
        Restart,
        "1024",
        "connections that may wait to be accepted",
        |config, given| {
            config.listen.options.backlog = given.integer(1, 65535)?;
            Ok(())
        },
    ),
    key(
        "tcp_listen_options.nodelay",
        Restart,
        "true",
        "whether small writes leave at once",
        |config, given| {
            config.listen.options.nodelay = given.switch()?;
            Ok(())
        },
    ),
    key(
        "tcp_listen_options.keepalive",
        Restart,
        "false",
        "whether the system looks whether silent clients live",
        |config, given| {
            config.listen.options.keepalive = given.switch()?;
            Ok(())
        },
    ),
    key(
        "tcp_listen_options.sndbuf",
        Restart,
        "",
        "the system's buffer for what is sent, in bytes; unless set, the system's own choice",
        |config, given| {
            config.listen.options.send_buffer_bytes = Some(given.integer(1024, 1 << 30)?);
            Ok(())
        },
    ),
    key(
        "tcp_listen_options.recbuf",
        Restart,
        "",
        "the same for what is received",
        |config, given| {
            config.listen.options.receive_buffer_bytes = Some(given.integer(1024, 1 << 30)?);
            Ok(())
        },
    ),
];
