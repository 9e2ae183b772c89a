//! Configuration: what files, the environment and flags say, as one set of plain values.
//!
//! ```text
//! file ──┐
//! env  ──┼─► statements (key, value, origin) ─► last one of a key wins ─► [`Config`], typed
//! flags ─┘
//! ```
//! **To add a key**: one entry in the table of [`obeyed`] that it belongs to, and a field it sets, in
//! [`Config`] or in `node::settings::Settings`. The entry names the key (`$name` stands for any one word), says
//! whether a reload changes it, documents it (docs/user/configuration.md is written from the table: run
//! `LEVERET_WRITE_DOCS=1 cargo nextest run -p server configuration_document`) and parses the value. Nothing
//! else is needed: an entry there takes the key out of those that are only accepted.
//!
//! Every key of RabbitMQ's schema is known. One that we do not obey is accepted with a note that says why
//! (`accepted_keys.txt`); one that nobody knows is an error. Deliberately absent: global settings, and
//! `advanced.config` (Erlang terms).

mod accepted;
mod environment;
mod file;
mod key;
mod layers;
mod log;
mod obeyed;
mod open_telemetry;
mod reload;
mod show;
mod statement;
#[cfg(test)]
mod tests;
mod toml_file;
mod value;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use node::settings::Settings;

use crate::auth::{AuthOptions, Link};
use crate::http::HttpOptions;
use crate::otlp::OtlpOptions;
use crate::sockets::{SocketOptions, TLS_HANDSHAKE_TIMEOUT_MS};
use crate::tls::{LoginFrom, SanType, TlsOptions};

pub use layers::Sources;
pub(crate) use log::CATEGORIES;
pub use log::{Level, Log, LogFile};
pub use reload::Reload;
pub use show::document;
pub use statement::{ConfigError, ConfigErrors, Note, Origin, Statement};

/// Everything that can be configured.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Limits and defaults of the node.
    pub settings: Settings,
    /// Where the data is kept: `data_dir`.
    pub data_dir: Option<PathBuf>,
    /// Definitions to import at the start: `load_definitions`.
    pub definitions: Option<PathBuf>,
    /// Where AMQP is served, and how.
    pub listen: Listen,
    /// Where the management API is served: `management.tcp.*`, `management.ssl.*`.
    pub management: HttpListen,
    /// Where the metrics are served: `prometheus.tcp.*`, `prometheus.ssl.*`.
    pub prometheus: HttpListen,
    /// What the management API and the metrics are told: the rest of `management.*` and `prometheus.*`.
    pub api: management::Options,
    /// Where requests over HTTP are logged: `management.http_log_dir`.
    pub http_log_dir: Option<PathBuf>,
    /// Who is asked when somebody logs in: see [`Config::auth`].
    auth: AuthOptions,
    auth_links: BTreeMap<u64, Link>,
    legacy: LegacyListen,
    /// `management.cors.allow_origins = none`.
    cors_refused: bool,
    /// What is logged, and where to.
    pub log: Log,
    /// Where spans are sent: `opentelemetry.*`.
    pub otlp: OtlpOptions,
    statements: Vec<Statement>,
    notes: Vec<Note>,
    files: Vec<PathBuf>,
}

/// Sockets to listen on: `listeners.*`.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Plain AMQP.
    pub amqp: Addresses,
    /// AMQP over TLS.
    pub amqps: Addresses,
    /// `ssl_options.*`.
    pub tls: TlsOptions,
    /// `ssl_handshake_timeout`.
    pub tls_handshake_timeout_ms: u64,
    /// `ssl_cert_login_from`.
    login_from: LoginFrom,
    login_san_type: SanType,
    login_san_index: usize,
    /// `proxy_protocol`.
    pub proxy_protocol: bool,
    /// `tcp_listen_options.*`.
    pub options: SocketOptions,
}

impl Default for Listen {
    fn default() -> Self {
        Listen {
            amqp: Addresses::default(),
            amqps: Addresses::default(),
            tls: TlsOptions::default(),
            tls_handshake_timeout_ms: TLS_HANDSHAKE_TIMEOUT_MS,
            login_from: LoginFrom::default(),
            login_san_type: SanType::default(),
            login_san_index: 0,
            proxy_protocol: false,
            options: SocketOptions::default(),
        }
    }
}

impl Listen {
    /// Where a client's certificate names its user.
    pub fn login_from(&self) -> LoginFrom {
        match self.login_from {
            LoginFrom::SubjectAlternativeName(..) => {
                LoginFrom::SubjectAlternativeName(self.login_san_type, self.login_san_index)
            }
            other => other,
        }
    }
}

/// Where something is served over HTTP.
#[derive(Debug, Clone, Default)]
pub struct HttpListen {
    /// The port without TLS.
    pub port: Option<u16>,
    /// The address without TLS; all if it is not set.
    pub ip: Option<IpAddr>,
    /// The port over TLS.
    pub tls_port: Option<u16>,
    /// The address over TLS; all if it is not set.
    pub tls_ip: Option<IpAddr>,
    /// The certificate and its kin.
    pub tls: TlsOptions,
    /// Nowhere without TLS: `prometheus.tcp.listener = none`.
    pub none: bool,
    /// What clients may do without TLS.
    pub plain_options: HttpOptions,
    /// What they may do over TLS.
    pub tls_options: HttpOptions,
}

/// `management.listener.*`: one listener, with TLS or without.
#[derive(Debug, Clone, Default, PartialEq)]
struct LegacyListen {
    port: Option<u16>,
    ip: Option<IpAddr>,
    is_over_tls: bool,
    tls: TlsOptions,
    options: HttpOptions,
}

impl LegacyListen {
    /// RabbitMQ's port for it, TLS or not.
    const PORT: u16 = 15672;

    /// Puts it where nothing newer was said.
    fn put_into(&self, listen: &mut HttpListen) {
        if *self == LegacyListen::default() {
            return;
        }
        let port = Some(self.port.unwrap_or(LegacyListen::PORT));
        if self.is_over_tls && !listen.is_over_tls() {
            (listen.tls_port, listen.tls_ip) = (port, self.ip);
            listen.tls = self.tls.clone();
            listen.tls_options = self.options.clone();
        } else if !self.is_over_tls && !listen.is_plain() {
            (listen.port, listen.ip) = (port, self.ip);
            listen.plain_options = self.options.clone();
        }
    }
}

impl HttpListen {
    /// Whether anything is said of how it is served over TLS: then it is.
    pub fn is_over_tls(&self) -> bool {
        self.tls_port.is_some()
            || self.tls_ip.is_some()
            || self.tls != TlsOptions::default()
            || self.tls_options != HttpOptions::default()
    }

    /// Whether anything is said of how it is served without TLS.
    pub fn is_plain(&self) -> bool {
        self.port.is_some() || self.ip.is_some() || self.plain_options != HttpOptions::default()
    }
}

/// Addresses of one protocol.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// Nowhere, whatever is wanted.
    pub none: bool,
    /// A port, or `HOST:PORT`. If there are none: the protocol's default.
    pub wanted: Vec<String>,
}

impl Config {
    /// What was said, the last of each key, by key.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The files that were read, in their order; what they include stands behind them.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Who is asked when somebody logs in: `auth_backends.*` and its kin.
    pub fn auth(&self) -> AuthOptions {
        AuthOptions {
            links: self.auth_links.values().copied().collect(),
            ..self.auth.clone()
        }
    }

    /// What was accepted and does nothing, and why.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
}
