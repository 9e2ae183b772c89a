//! The keys that are obeyed, a table for each subject. [`super`] says how to add one.

mod api;
mod auth;
mod auth_http;
mod auth_ldap;
mod definitions;
mod http;
mod identities;
mod limits;
mod listeners;
mod log;
mod rates;
mod storage;
mod telemetry;
mod tls;

use super::key::{Key, fit};

/// Subjects: title, what it is about, keys.
pub(super) static TABLES: &[(&str, &str, &[Key])] = &[
    (
        "Listeners",
        "Where clients connect. An address is a port, or `HOST:PORT`.",
        listeners::KEYS,
    ),
    (
        "TLS",
        "Certificates are read again when their files change, and on reload; connections live on. A new certificate \
         that is broken is refused and the old one stays. See [tls.md](tls.md).",
        tls::KEYS,
    ),
    (
        "Management API",
        "A flag `--http` goes before the `tcp` keys.",
        http::MANAGEMENT,
    ),
    (
        "Management API, what it answers",
        "RabbitMQ's keys; each changes every listener of the API.",
        api::MANAGEMENT,
    ),
    (
        "Management API, RabbitMQ's old listener",
        "One listener, with TLS or without, as RabbitMQ had it before 3.7.9. The keys above go before these.",
        http::LEGACY,
    ),
    (
        "Metrics",
        "For Prometheus. A flag `--metrics` goes before the `tcp` keys.",
        http::PROMETHEUS,
    ),
    (
        "Metrics, what they are",
        "What is served, under which path, for whom.",
        api::PROMETHEUS,
    ),
    (
        "Limits",
        "What clients may ask for, and how much of it.",
        limits::KEYS,
    ),
    (
        "Rate limits",
        "Leveret's own. A second's worth may pass at once. Dots in names are written \
         `\\.`; a name with spaces needs TOML, and quotes.",
        rates::KEYS,
    ),
    (
        "Users",
        "Who may log in, and what a new data directory begins with.",
        identities::KEYS,
    ),
    (
        "Storage",
        "What is kept on disk, when, and how much of it in memory.",
        storage::KEYS,
    ),
    (
        "Logins",
        "Who is asked when somebody logs in. A refused login is answered after a second, counted and logged.",
        auth::KEYS,
    ),
    (
        "Logins and permissions over HTTP",
        "A service that says who somebody is and what they may do, asked as RabbitMQ's rabbitmq_auth_backend_http does.",
        auth_http::KEYS,
    ),
    (
        "Logins and permissions in a directory",
        "LDAP, in the keys and the query language of RabbitMQ's rabbitmq_auth_backend_ldap: see [logins.md](logins.md).",
        auth_ldap::KEYS,
    ),
    (
        "OAuth 2",
        "Tokens in place of passwords. What is said of no resource server or provider by name holds for all.",
        auth::OAUTH2,
    ),
    (
        "OAuth 2, several resource servers and providers",
        "The same keys, under a name.",
        auth::OAUTH2_NAMED,
    ),
    (
        "Definitions",
        "What is imported at the start, and what new vhosts begin with.",
        definitions::KEYS,
    ),
    ("Log", "What is logged, and where to.", log::KEYS),
    (
        "OpenTelemetry",
        "Leveret's own: where spans of messages are sent. OpenTelemetry's variables `OTEL_EXPORTER_OTLP_ENDPOINT`, \
         `_HEADERS`, `_PROTOCOL`, `_TIMEOUT`, `_CERTIFICATE` (each also as `OTEL_EXPORTER_OTLP_TRACES_...`), \
         `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`, \
         `OTEL_BSP_MAX_QUEUE_SIZE`, `OTEL_SDK_DISABLED` and `OTEL_TRACES_EXPORTER=none` set the same. See \
         [tracing.md](tracing.md).",
        telemetry::KEYS,
    ),
];

/// Other names of keys.
pub(super) static ALIASES: &[(&str, &str)] = &[
    ("auth_oauth2.jwks_url", "auth_oauth2.jwks_uri"),
    ("http_dispatch.access_log_dir", "management.http_log_dir"),
    ("management.load_definitions", "load_definitions"),
    ("channel_max", "max_channels_per_connection"),
    ("connection_max", "max_connections"),
];

/// All keys.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    TABLES.iter().flat_map(|(_, _, keys)| keys.iter())
}

/// The key that this is, and what its `$` words stand for.
pub(super) fn find(words: &[String]) -> Option<(&'static Key, Vec<&str>)> {
    let mut fitting: Vec<_> = all()
        .filter_map(|key| Some((key, fit(key.name, words)?)))
        .collect();
    // A key spelt out goes before one with `$` words.
    fitting.sort_by_key(|(_, names)| names.len());
    fitting.into_iter().next()
}
