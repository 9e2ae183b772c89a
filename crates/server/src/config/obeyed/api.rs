//! What the management API and the metrics answer, whoever asks over whatever listener.

use management::{KnownHeader, Options};

use crate::config::Config;
use crate::config::key::{Applies::*, Key, key};
use crate::config::value::{Given, Outcome};

/// A key whose value is a header of every answer.
const fn header(
    name: &'static str,
    default: &'static str,
    about: &'static str,
    apply: Apply,
) -> Key {
    key(name, Restart, default, about, apply)
}

type Apply = fn(&mut Config, &Given<'_>) -> Outcome;

fn put(options: &mut Options, header: KnownHeader, given: &Given<'_>) -> Outcome {
    options.headers.insert(header, given.header()?);
    Ok(())
}

pub(super) static MANAGEMENT: &[Key] = &[
    key(
        "management.path_prefix",
        Restart,
        "",
        "what stands before `/api` in every path, `/rabbit` for example",
        |config, given| {
            config.api.path_prefix = given.url_path()?;
            Ok(())
        },
    ),
    key(
        "management.http.max_body_size",
        Restart,
        "10000000",
        "largest body of a request, in bytes; a larger one is refused with 400",
        |config, given| {
            config.api.body_bytes_max = given.integer(0, 1 << 30)?;
            Ok(())
        },
    ),
    key(
        "management.http.hide_allow_header",
        Restart,
        "false",
        "whether only answers with 405 say what methods there are",
        |config, given| {
            config.api.hide_allow = given.switch()?;
            Ok(())
        },
    ),
    key(
        "management.http_log_dir",
        Restart,
        "",
        "the directory of `access.log`, with a line for each request to the API and the metrics; it may be moved away \
         at any time",
        |config, given| {
            config.http_log_dir = Some(given.path());
            Ok(())
        },
    ),
    key(
        "management.disable_basic_auth",
        Restart,
        "false",
        "whether nobody is let in by name and password, only by token",
        |config, given| {
            config.api.basic_auth_disabled = given.switch()?;
            Ok(())
        },
    ),
    key(
        "management.login_session_timeout",
        Restart,
        "",
        "after how many minutes pages should ask for a login again; told to them by `/api/whoami`",
        |config, given| {
            config.api.login_session_timeout_min = Some(given.integer(0, u64::MAX)?);
            Ok(())
        },
    ),
    key(
        "management.restrictions.operator_policy_changes.disabled",
        Restart,
        "false",
        "whether operator policies can be changed by the command line alone",
        |config, given| {
            config.api.operator_policies_locked = given.switch()?;
            Ok(())
        },
    ),
    key(
        "management.cors.allow_origins",
        Restart,
        "",
        "`none`: pages of no other origin may use the API",
        |config, given| {
            given.one_of(&["none"])?;
            config.cors_refused = true;
            Ok(())
        },
    ),
    key(
        "management.cors.allow_origins.$n",
        Restart,
        "",
        "an origin whose pages may use the API, `https://example.org` for example, or `*` for all",
        |config, given| {
            // Keys are read in their order: `none` was before, and wins as in RabbitMQ.
            if !config.cors_refused {
                config.api.cors_origins.push(given.text());
            }
            Ok(())
        },
    ),
    key(
        "management.cors.max_age",
        Restart,
        "1800",
        "for how long a browser may remember what an origin may do, in seconds",
        |config, given| {
            config.api.cors_age_max_s = given.integer(0, u32::MAX)?;
            Ok(())
        },
    ),
    header(
        "management.csp.policy",
        "script-src 'self'; object-src 'self'",
        "the header Content-Security-Policy of every answer",
        |config, given| put(&mut config.api, KnownHeader::ContentSecurityPolicy, given),
    ),
    header(
        "management.hsts.policy",
        "",
        "the header Strict-Transport-Security of every answer",
        |config, given| put(&mut config.api, KnownHeader::StrictTransportSecurity, given),
    ),
    header(
        "management.headers.content_type_options",
        "",
        "the header X-Content-Type-Options of every answer",
        |config, given| put(&mut config.api, KnownHeader::ContentTypeOptions, given),
    ),
    header(
        "management.headers.xss_protection",
        "",
        "the header X-XSS-Protection of every answer",
        |config, given| put(&mut config.api, KnownHeader::XssProtection, given),
    ),
    header(
        "management.headers.frame_options",
        "",
        "the header X-Frame-Options of every answer",
        |config, given| put(&mut config.api, KnownHeader::FrameOptions, given),
    ),
    header(
        "management.headers.referrer_policy",
        "",
        "the header Referrer-Policy of every answer",
        |config, given| put(&mut config.api, KnownHeader::ReferrerPolicy, given),
    ),
];

pub(super) static PROMETHEUS: &[Key] = &[
    key(
        "prometheus.path",
        Restart,
        "/metrics",
        "the path of the metrics; `per-object` and `detailed` are below it",
        |config, given| {
            config.api.metrics.path = given.url_path()?;
            Ok(())
        },
    ),
    key(
        "prometheus.return_per_object_metrics",
        Restart,
        "false",
        "whether the path itself has a line for each queue, channel and connection",
        |config, given| {
            config.api.metrics.per_object = given.switch()?;
            Ok(())
        },
    ),
    key(
        "prometheus.authentication.enabled",
        Restart,
        "false",
        "whether only users with the tag `monitoring` or `administrator` get the metrics",
        |config, given| {
            config.api.metrics.login_needed = given.switch()?;
            Ok(())
        },
    ),
];
