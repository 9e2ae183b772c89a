//! What is logged, and where to: `log.*`.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Nothing.
    None,
    /// What went wrong.
    Error,
    /// What may be about to.
    Warning,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What a developer wants to know.
    Debug,
}

impl Level {
    /// RabbitMQ's names. Finer steps than ours go with the next that is not finer.
    pub fn named(name: &str) -> Option<Level> {
        Some(match name {
            "debug" => Level::Debug,
            "info" | "notice" => Level::Info,
            "warning" => Level::Warning,
            "error" | "critical" | "alert" | "emergency" => Level::Error,
            "none" => Level::None,
            _ => return None,
        })
    }
}

/// A file of the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogFile {
    /// None.
    #[default]
    None,
    /// One of this name.
    Named(PathBuf),
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `log.default.level`.
    pub level: Level,
    /// `log.connection.level` and its kin.
    pub categories: BTreeMap<&'static str, Level>,
    /// `log.console`.
    pub console: bool,
    /// `log.console.level`.
    pub console_level: Option<Level>,
    /// `log.console.formatter`.
    pub console_json: bool,
    /// `log.console.stdio`.
    pub console_stdout: bool,
    /// `log.console.use_colors`.
    pub console_colours: bool,
    /// `log.file`.
    pub file: LogFile,
    /// `log.file.level`.
    pub file_level: Option<Level>,
    /// `log.file.formatter`.
    pub file_json: bool,
    /// `log.audit.file`.
    pub audit: LogFile,
    /// `log.dir`.
    pub dir: PathBuf,
}

impl Default for Log {
    fn default() -> Self {
        Log {
            level: Level::Info,
            categories: BTreeMap::new(),
            console: true,
            console_level: None,
            console_json: false,
            console_stdout: false,
            console_colours: false,
            file: LogFile::None,
            file_level: None,
            file_json: false,
            audit: LogFile::None,
            dir: PathBuf::from("/var/log/leveret"),
        }
    }
}

impl Log {
    /// Where a file is: a bare name is in `log.dir`.
    pub fn path(&self, file: &LogFile) -> Option<PathBuf> {
        match file {
            LogFile::None => None,
            LogFile::Named(name) if name.components().count() > 1 => Some(name.clone()),
            LogFile::Named(name) => Some(self.dir.join(name)),
        }
    }

    /// How much of what a module says is logged.
    pub fn level_of(&self, target: &str) -> Level {
        let category = CATEGORIES
            .iter()
            .find(|(prefix, _)| target.starts_with(prefix));
        let level = category.and_then(|(_, category)| self.categories.get(category));
        level.copied().unwrap_or(self.level)
    }
}

/// RabbitMQ's categories, and the modules that speak in them.
pub(crate) const CATEGORIES: [(&str, &str); 12] = [
    ("protocol::amqp091::connection", "connection"),
    ("protocol::amqp091::handshake", "connection"),
    ("protocol::amqp091::closing", "connection"),
    ("server::server", "connection"),
    ("server::sockets", "connection"),
    ("server::workers", "connection"),
    ("server::auth", "user"),
    ("node::identities", "user"),
    ("node::queue_cell", "queue"),
    ("node::vhost", "queue"),
    ("storage", "queue"),
    ("protocol::amqp091", "channel"),
];
