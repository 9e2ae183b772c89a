//! The HTTP service that says who somebody is and what they may do.

use super::tls::{client_tls_keys, client_version};
use crate::config::key::{Applies::*, Key, key};

/// See the module.
pub(super) static KEYS: &[Key] = &{
    let [a, b, c, d, e, f, g] =
        client_tls_keys!("auth_http.ssl_options", config => config.auth.http.tls);
    [
        key(
            "auth_http.http_method",
            Restart,
            "get",
            "`post` sends the question as a form, `get` in the URL, where logs of others see it",
            |config, given| {
                config.auth.http.post = given.one_of(&["get", "post"])? == "post";
                Ok(())
            },
        ),
        key(
            "auth_http.user_path",
            Restart,
            "http://localhost:8000/auth/user",
            "the URL that is asked with `username` and `password`; the answer begins with `allow` or `deny`",
            |config, given| {
                config.auth.http.user_path = given.text();
                Ok(())
            },
        ),
        key(
            "auth_http.vhost_path",
            Restart,
            "http://localhost:8000/auth/vhost",
            "the URL that is asked with `username`, `vhost`, `ip` and `tags` whether somebody may enter a vhost",
            |config, given| {
                config.auth.http.vhost_path = given.text();
                Ok(())
            },
        ),
        key(
            "auth_http.resource_path",
            Restart,
            "http://localhost:8000/auth/resource",
            "the URL that is asked with `username`, `vhost`, `resource`, `name`, `permission` and `tags` for a right on a \
         queue or an exchange",
            |config, given| {
                config.auth.http.resource_path = given.text();
                Ok(())
            },
        ),
        key(
            "auth_http.topic_path",
            Restart,
            "http://localhost:8000/auth/topic",
            "the URL that is asked, with `routing_key` besides, for the right to use a routing key with a topic exchange",
            |config, given| {
                config.auth.http.topic_path = given.text();
                Ok(())
            },
        ),
        key(
            "auth_http.authorization_failure_disclosure",
            Restart,
            "false",
            "whether clients are told what the service says behind `deny`",
            |config, given| {
                config.auth.http.discloses = given.switch()?;
                Ok(())
            },
        ),
        key(
            "auth_http.request_timeout",
            Restart,
            "15000",
            "how long an answer may take, connecting included, in milliseconds",
            |config, given| {
                config.auth.http.timeout_ms = given.integer(1, 1000 * 60 * 60)?;
                Ok(())
            },
        ),
        key(
            "auth_http.connection_timeout",
            Restart,
            "15000",
            "how long connecting may take, in milliseconds",
            |config, given| {
                config.auth.http.connect_timeout_ms = given.integer(1, 1000 * 60 * 60)?;
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
