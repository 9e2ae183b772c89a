//! Where the management API and the metrics are served, and what their clients may do there.

use std::net::{IpAddr, SocketAddr};

use super::tls::{tls_keys, version};
use crate::config::HttpListen;
use crate::config::key::{Applies::*, Key, key};
use crate::config::value::{Given, Outcome};

/// A day: the longest timeout.
const TIMEOUT_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// What clients of one listener may do: the prefix, and the options in a [`crate::config::Config`].
macro_rules! client_keys {
    ($prefix:expr, $config:ident => $options:expr) => {
        [
            key(
                concat!($prefix, ".max_connections"),
                Restart,
                "1024",
                "connections at once, or `infinity`; for one more a silent one is closed, or it is answered with 503",
                |$config, given| {
                    $options.connections_max = given.limit(usize::MAX)?;
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".max_keepalive"),
                Restart,
                "1000",
                "requests of one connection; the last answer closes it",
                |$config, given| {
                    $options.requests_max = given.integer(1, u64::MAX)?;
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".request_timeout"),
                Restart,
                "60000",
                "how long a client may take to send the head of a request, the wait for it on an idle connection \
                 included, in milliseconds",
                |$config, given| {
                    $options.request_timeout_ms = given.integer(1, TIMEOUT_MS_MAX)?;
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".idle_timeout"),
                Restart,
                "60000",
                "how long a client may send nothing of a body that it sends, or read nothing of an answer, in \
                 milliseconds",
                |$config, given| {
                    $options.idle_timeout_ms = given.integer(1, TIMEOUT_MS_MAX)?;
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".compress"),
                Restart,
                "true",
                "whether answers of 300 bytes and more are compressed for clients that read gzip",
                |$config, given| {
                    $options.compress = given.switch()?;
                    Ok(())
                },
            ),
        ]
    };
}

/// The keys of one of them: the prefix, the field, the port without TLS and the one with it.
macro_rules! http_keys {
    ($prefix:literal, $field:ident, $port:literal, $tls_port:literal, $($more:expr),*) => {{
        let [a, b, c, d, e, f, g] = tls_keys!(concat!($prefix, ".ssl"), config => config.$field.tls);
        let [h, i, j, k, l] = client_keys!(concat!($prefix, ".tcp"), config => config.$field.plain_options);
        let [m, n, o, p, q] = client_keys!(concat!($prefix, ".ssl"), config => config.$field.tls_options);
        [
            key(
                concat!($prefix, ".tcp.port"),
                Restart,
                "",
                concat!(
                    "the port without TLS; ",
                    $port,
                    " unless only `ssl` keys are set"
                ),
                |config, given| {
                    config.$field.port = Some(given.integer(0, u16::MAX)?);
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".tcp.ip"),
                Restart,
                "",
                "the address without TLS; unless set, all of this machine",
                |config, given| {
                    config.$field.ip = Some(given.ip()?);
                    Ok(())
                },
            ),
            $($more,)*
            h, i, j, k, l,
            key(
                concat!($prefix, ".ssl.port"),
                Restart,
                "",
                concat!(
                    "the port over TLS; ",
                    $tls_port,
                    " if any other `ssl` key is set. Without any `tcp` key it is the only one"
                ),
                |config, given| {
                    config.$field.tls_port = Some(given.integer(0, u16::MAX)?);
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".ssl.ip"),
                Restart,
                "",
                "the address over TLS; unless set, all of this machine",
                |config, given| {
                    config.$field.tls_ip = Some(given.ip()?);
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".ssl.backlog"),
                Restart,
                "1024",
                "connections over TLS that may wait to be accepted",
                |config, given| {
                    config.$field.tls_options.backlog = given.integer(1, 65535)?;
                    Ok(())
                },
            ),
            m, n, o, p, q,
            a, b, c, d, e, f, g,
        ]
    }};
}

/// The management API.
pub(super) static MANAGEMENT: &[Key] = &http_keys!("management", management, "15672", "15671",);

/// The management API, as it was told before RabbitMQ 3.7.9.
pub(super) static LEGACY: &[Key] = &{
    let [a, b, c, d, e, f, g] =
        tls_keys!("management.listener.ssl_opts", config => config.legacy.tls);
    let [_, i, j, k, l] =
        client_keys!("management.listener.server", config => config.legacy.options);
    [
        key(
            "management.listener.port",
            Restart,
            "",
            "the port; 15672 if any other of these keys is set",
            |config, given| {
                config.legacy.port = Some(given.integer(0, u16::MAX)?);
                Ok(())
            },
        ),
        key(
            "management.listener.ip",
            Restart,
            "",
            "the address; unless set, all of this machine",
            |config, given| {
                config.legacy.ip = Some(given.ip()?);
                Ok(())
            },
        ),
        key(
            "management.listener.ssl",
            Restart,
            "false",
            "whether it is served over TLS",
            |config, given| {
                config.legacy.is_over_tls = given.switch()?;
                Ok(())
            },
        ),
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        i,
        j,
        k,
        l,
    ]
};

/// The metrics.
pub(super) static PROMETHEUS: &[Key] = &http_keys!(
    "prometheus",
    prometheus,
    "15692",
    "15691",
    key(
        "prometheus.tcp.listener",
        Restart,
        "",
        "the address without TLS as `IP:PORT`, or `none`",
        |config, given| listener(&mut config.prometheus, given),
    )
);

fn listener(listen: &mut HttpListen, given: &Given<'_>) -> Outcome {
    if given.value == "none" {
        listen.none = true;
        return Ok(());
    }
    let address = given.value.parse::<SocketAddr>();
    let address = address.map_err(|_| "expected IP:PORT or none".to_owned())?;
    let ip: IpAddr = address.ip();
    (listen.ip, listen.port) = (Some(ip), Some(address.port()));
    Ok(())
}
