//! Rate limits, which RabbitMQ does not have.

use node::rates::Rates;

use crate::config::Config;
use crate::config::key::{Applies::*, Key, key};
use crate::config::value::Given;

/// The three limits of users, or of vhosts.
macro_rules! rate_keys {
    ($prefix:literal, $who:literal, $of:ident) => {
        [
            key(
                concat!($prefix, ".messages_per_second"),
                Live,
                "",
                concat!(
                    "messages that ",
                    $who,
                    " may publish in a second; publishers over it are not read from for a while"
                ),
                |config, given| {
                    $of(config, given).messages = Some(given.integer(1, u64::MAX)?);
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".bytes_per_second"),
                Live,
                "",
                concat!("bytes of bodies that ", $who, " may publish in a second"),
                |config, given| {
                    let bytes = given.bytes()?;
                    if bytes == 0 {
                        return Err("expected a size that is not 0".into());
                    }
                    $of(config, given).bytes = Some(bytes);
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".connections_per_second"),
                Live,
                "",
                concat!(
                    "connections that ",
                    $who,
                    " may open in a second; more are refused with 530"
                ),
                |config, given| {
                    $of(config, given).connections = Some(given.integer(1, u64::MAX)?);
                    Ok(())
                },
            ),
        ]
    };
}

fn user<'a>(config: &'a mut Config, given: &Given<'_>) -> &'a mut Rates {
    config.settings.rates.users.entry(given.name()).or_default()
}

fn vhost<'a>(config: &'a mut Config, given: &Given<'_>) -> &'a mut Rates {
    config
        .settings
        .rates
        .vhosts
        .entry(given.name())
        .or_default()
}

pub(super) static KEYS: &[Key] = &{
    let [a, b, c] = rate_keys!("rate_limits.users.$name", "a user", user);
    let [d, e, f] = rate_keys!("rate_limits.vhosts.$name", "a vhost's clients", vhost);
    [a, b, c, d, e, f]
};
