//! The directory that says who somebody is and what they may do.

use std::time::Duration;

use super::tls::{client_tls_keys, client_version};
use crate::auth::{BindAs, Named, check_query, check_tags};
use crate::config::key::{Applies::*, Key, key};
use crate::config::value::{Given, Outcome};

/// Longest times that make sense, in milliseconds.
const MS_MAX: u64 = 1000 * 60 * 60 * 24;

/// `as_user` or `anon`.
fn bind_as(bind: &mut BindAs, given: &Given<'_>) -> Outcome {
    *bind = match given.one_of(&["as_user", "anon"])? {
        "anon" => BindAs::Anonymous,
        _ => BindAs::User,
    };
    Ok(())
}

fn named(bind: &mut BindAs) -> &mut Named {
    if !matches!(bind, BindAs::Named(_)) {
        *bind = BindAs::Named(Named::default());
    }
    match bind {
        BindAs::Named(named) => named,
        _ => unreachable!("it was just made"),
    }
}

/// A text, or `none`.
fn optional(given: &Given<'_>) -> Option<String> {
    Some(given.text()).filter(|text| text != "none")
}

/// See the module.
pub(super) static KEYS: &[Key] = &{
    let [a, b, c, d, e, f, g] =
        client_tls_keys!("auth_ldap.ssl_options", config => config.auth.ldap.tls);
    [
        key(
            "auth_ldap.servers.$n",
            Restart,
            "",
            "names or addresses of the directory, tried one after the other",
            |config, given| {
                config.auth.ldap.servers.push(given.text());
                Ok(())
            },
        ),
        key(
            "auth_ldap.port",
            Restart,
            "389",
            "the port of all of them",
            |config, given| {
                config.auth.ldap.port = given.integer(1, u16::MAX)?;
                Ok(())
            },
        ),
        key(
            "auth_ldap.connection_pool_size",
            Restart,
            "64",
            "questions on their way at once, each over a connection of its own",
            |config, given| {
                config.auth.ldap.pool_size = given.integer(1, 10_000)?;
                Ok(())
            },
        ),
        key(
            "auth_ldap.timeout",
            Restart,
            "15000",
            "how long connecting and each operation may take, in milliseconds; a question takes a minute at most, with \
             `infinity`, too",
            |config, given| {
                let ms = given.limit(60_000)?;
                if !(1..=MS_MAX).contains(&ms) {
                    return Err(format!(
                        "expected a whole number from 1 to {MS_MAX}, or infinity"
                    ));
                }
                config.auth.ldap.timeout = Duration::from_millis(ms);
                Ok(())
            },
        ),
        key(
            "auth_ldap.idle_timeout",
            Restart,
            "300000",
            "how long a connection is kept that nobody uses, in milliseconds; 0 is not at all, `infinity` for ever",
            |config, given| {
                let ms = given.limit(u64::MAX)?;
                let idle = (ms != u64::MAX).then(|| Duration::from_millis(ms));
                config.auth.ldap.idle_timeout = idle;
                Ok(())
            },
        ),
        key(
            "auth_ldap.log",
            Restart,
            "false",
            "whether decisions and how they came about are logged; `network` and `network_unsafe` log no more than `true`",
            |config, given| {
                let word = given.one_of(&["true", "false", "network", "network_unsafe"])?;
                config.auth.ldap.log = word != "false";
                Ok(())
            },
        ),
        key(
            "auth_ldap.user_dn_pattern",
            Restart,
            "${username}",
            "users' distinguished names; `${ad_domain}` and `${ad_user}` are the parts of `DOMAIN\\user`",
            |config, given| {
                config.auth.ldap.user_dn_pattern = given.text();
                Ok(())
            },
        ),
        key(
            "auth_ldap.user_bind_pattern",
            Restart,
            "",
            "what users bind as, if it is not their distinguished name",
            |config, given| {
                config.auth.ldap.user_bind_pattern = optional(given);
                Ok(())
            },
        ),
        key(
            "auth_ldap.dn_lookup_attribute",
            Restart,
            "none",
            "the attribute that holds what `user_dn_pattern` makes of the name: distinguished names are looked up by it",
            |config, given| {
                config.auth.ldap.dn_lookup_attribute = optional(given);
                Ok(())
            },
        ),
        key(
            "auth_ldap.dn_lookup_base",
            Restart,
            "none",
            "below which they are looked up",
            |config, given| {
                config.auth.ldap.dn_lookup_base = optional(given);
                Ok(())
            },
        ),
        key(
            "auth_ldap.dn_lookup_bind",
            Restart,
            "as_user",
            "as whom: `as_user` after the user's own bind, `anon` before it",
            |config, given| bind_as(&mut config.auth.ldap.dn_lookup_bind, given),
        ),
        key(
            "auth_ldap.dn_lookup_bind.user_dn",
            Restart,
            "",
            "the same, as somebody who may look",
            |config, given| {
                named(&mut config.auth.ldap.dn_lookup_bind).dn = given.text();
                Ok(())
            },
        ),
        key(
            "auth_ldap.dn_lookup_bind.password",
            Restart,
            "",
            "that somebody's password",
            |config, given| {
                named(&mut config.auth.ldap.dn_lookup_bind).password = given.text();
                Ok(())
            },
        ),
        key(
            "auth_ldap.other_bind",
            Restart,
            "as_user",
            "as whom everything else is asked: `as_user` or `anon`",
            |config, given| bind_as(&mut config.auth.ldap.other_bind, given),
        ),
        key(
            "auth_ldap.other_bind.user_dn",
            Restart,
            "",
            "the same, as somebody who may look",
            |config, given| {
                named(&mut config.auth.ldap.other_bind).dn = given.text();
                Ok(())
            },
        ),
        key(
            "auth_ldap.other_bind.password",
            Restart,
            "",
            "that somebody's password",
            |config, given| {
                named(&mut config.auth.ldap.other_bind).password = given.text();
                Ok(())
            },
        ),
        key(
            "auth_ldap.group_lookup_base",
            Restart,
            "none",
            "below which groups of groups are looked for; unless set, `dn_lookup_base`",
            |config, given| {
                config.auth.ldap.group_lookup_base = optional(given);
                Ok(())
            },
        ),
        key(
            "auth_ldap.use_ssl",
            Restart,
            "false",
            "whether TLS is spoken from the start, as on port 636",
            |config, given| {
                config.auth.ldap.use_ssl = given.switch()?;
                Ok(())
            },
        ),
        key(
            "auth_ldap.use_starttls",
            Restart,
            "false",
            "whether a connection turns to TLS before anything is said on it",
            |config, given| {
                config.auth.ldap.use_starttls = given.switch()?;
                Ok(())
            },
        ),
        key(
            "auth_ldap.queries.tags",
            Restart,
            "[{administrator, {constant, false}}]",
            "tags, each with the query that says who has it",
            |config, given| {
                check_tags(given.value)?;
                config.auth.ldap.tags = given.text();
                Ok(())
            },
        ),
        key(
            "auth_ldap.queries.vhost_access",
            Restart,
            "{constant, true}",
            "the query that says who may enter a vhost",
            |config, given| {
                check_query(given.value)?;
                config.auth.ldap.vhost_access = given.text();
                Ok(())
            },
        ),
        key(
            "auth_ldap.queries.resource_access",
            Restart,
            "{constant, true}",
            "the query that says who has a right on a queue or an exchange",
            |config, given| {
                check_query(given.value)?;
                config.auth.ldap.resource_access = given.text();
                Ok(())
            },
        ),
        key(
            "auth_ldap.queries.topic_access",
            Restart,
            "{constant, true}",
            "the query that says who may use a routing key with a topic exchange",
            |config, given| {
                check_query(given.value)?;
                config.auth.ldap.topic_access = given.text();
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
    ]
};
