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
mod obeyed;
mod reload;
mod show;
mod statement;
#[cfg(test)]
mod tests;
mod toml_file;
mod value;

use std::path::PathBuf;

use node::settings::Settings;

pub use layers::Sources;
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
    /// What is logged, and where to.
    pub log: Log,
    statements: Vec<Statement>,
    notes: Vec<Note>,
}

/// Sockets to listen on: `listeners.*`.
#[derive(Debug, Clone, Default)]
pub struct Listen {
    /// Plain AMQP.
    pub amqp: Addresses,
}

/// Addresses of one protocol.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// Nowhere, whatever is wanted.
    pub none: bool,
    /// A port, or `HOST:PORT`. If there are none: the protocol's default.
    pub wanted: Vec<String>,
}

/// The log: `log.*`.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// `log.console.level` or `log.default.level`.
    pub level: Option<String>,
}

impl Config {
    /// What was said, the last of each key, by key.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// What was accepted and does nothing, and why.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
}
