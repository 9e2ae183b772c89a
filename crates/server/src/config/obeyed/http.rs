//! Where the management API and the metrics are served.

use super::tls::{tls_keys, version};
use crate::config::key::{Applies::*, Key, key};

/// The keys of one of them: the prefix, the field, the port without TLS and the one with it.
macro_rules! http_keys {
    ($prefix:literal, $field:ident, $port:literal, $tls_port:literal) => {{
        let [a, b, c, d, e, f, g] = tls_keys!(concat!($prefix, ".ssl"), config => config.$field.tls);
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
            a, b, c, d, e, f, g,
        ]
    }};
}

/// The management API.
pub(super) static MANAGEMENT: &[Key] = &http_keys!("management", management, "15672", "15671");

/// The metrics.
pub(super) static PROMETHEUS: &[Key] = &http_keys!("prometheus", prometheus, "15692", "15691");
