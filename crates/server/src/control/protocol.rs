//! What goes over the control socket: one request a line, one response a line, both JSON.
//!
//! The broker says what is; how it looks on a terminal, and which exit code it gives, is the business of
//! `leveret ctl`. Both ends are always of one version, so nothing here is negotiated.

use serde::{Deserialize, Serialize};

use super::parameters::ParameterRequest;

/// The socket's file in the data directory.
pub const CONTROL_SOCKET: &str = "control.sock";
/// The longest request, in bytes, its newline included: definitions of a large broker are some tens of megabytes.
pub const REQUEST_BYTES_MAX: usize = 1 << 26;

/// What the broker is asked to do. The names are rabbitmqctl's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "each is rabbitmqctl's verb, with that verb's arguments"
)]
pub enum Request {
    AddUser {
        user: String,
        password: Password,
    },
    DeleteUser {
        user: String,
    },
    ChangePassword {
        user: String,
        password: Secret,
    },
    ClearPassword {
        user: String,
    },
    AuthenticateUser {
        user: String,
        password: Secret,
    },
    SetUserTags {
        user: String,
        tags: Vec<String>,
    },
    ListUsers {
        columns: Vec<String>,
    },
    AddVhost {
        vhost: String,
        description: String,
        tags: Vec<String>,
        default_queue_type: Option<String>,
    },
    DeleteVhost {
        vhost: String,
    },
    ListVhosts {
        columns: Vec<String>,
    },
    SetPermissions {
        vhost: String,
        user: String,
        configure: String,
        write: String,
        read: String,
    },
    ClearPermissions {
        vhost: String,
        user: String,
    },
    ListPermissions {
        vhost: String,
        columns: Vec<String>,
    },
    ListUserPermissions {
        user: String,
        columns: Vec<String>,
    },
    SetTopicPermissions {
        vhost: String,
        user: String,
        exchange: String,
        write: String,
        read: String,
    },
    ClearTopicPermissions {
        vhost: String,
        user: String,
        exchange: Option<String>,
    },
    ListTopicPermissions {
        vhost: String,
        columns: Vec<String>,
    },
    ListUserTopicPermissions {
        user: String,
        columns: Vec<String>,
    },
    ListQueues {
        vhost: String,
        columns: Vec<String>,
    },
    ListExchanges {
        vhost: String,
        columns: Vec<String>,
    },
    ListBindings {
        vhost: String,
        columns: Vec<String>,
    },
    ListConnections {
        columns: Vec<String>,
    },
    ListChannels {
        columns: Vec<String>,
    },
    ListConsumers {
        vhost: String,
        columns: Vec<String>,
    },
    CloseConnection {
        connection: String,
        explanation: String,
    },
    CloseAllConnections {
        /// None for all vhosts.
        vhost: Option<String>,
        /// Zero for all.
        limit: u64,
        explanation: String,
    },
    PurgeQueue {
        vhost: String,
        queue: String,
    },
    DeleteQueue {
        vhost: String,
        queue: String,
        if_empty: bool,
        if_unused: bool,
        force: bool,
    },
    SetMemoryHighWatermark {
        /// Thousandths of the machine's memory.
        permille: u32,
    },
    SetMemoryHighWatermarkAbsolute {
        bytes: u64,
    },
    /// Free space on the disk below which publishers are blocked, in bytes.
    SetDiskFreeLimit {
        bytes: u64,
    },
    /// The same, in thousandths of the machine's memory.
    SetDiskFreeLimitRelative {
        permille: u32,
    },
    /// The configuration that holds.
    Environment {
        columns: Vec<String>,
    },
    ListFeatureFlags {
        columns: Vec<String>,
    },
    ListDeprecatedFeatures {
        columns: Vec<String>,
    },
    ListAuthAttempts {
        columns: Vec<String>,
    },
    ResetAuthAttempts,
    TrackAuthSources {
        on: bool,
    },
    /// Until the configuration is reloaded.
    SetLogLevel {
        /// None for all that have no level of their own.
        category: Option<String>,
        level: String,
    },
    /// The files that the log goes to.
    LogLocation,
    SuspendListeners,
    ResumeListeners,
    Certificates {
        columns: Vec<String>,
    },
    MessageSizeStats {
        columns: Vec<String>,
    },
    /// A message of a queue, by its position, counted from 1.
    Peek {
        vhost: String,
        queue: String,
        position: u64,
    },
    QuorumStatus {
        vhost: String,
        queue: String,
        columns: Vec<String>,
    },
    /// The broker stops as at SIGTERM.
    Stop,
    CloseUserConnections {
        user: String,
        explanation: String,
    },
    Parameter(ParameterRequest),
    Status,
    Ping,
}

/// A password on its way to the broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Password {
    /// As typed.
    Clear(Secret),
    /// As `hash_password` printed it: base64 of salt and SHA-256 digest.
    Hash(Secret),
}

/// Text that debug output does not show: requests end in logs, and passwords must not.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What the broker answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// It is done, and on disk where it is kept there.
    Done,
    /// Done with so many: messages deleted with their queue, connections closed.
    Count(u64),
    /// A list, one cell for each column that was asked for.
    Rows(Vec<Vec<Cell>>),
    /// Text to print as it is.
    Text(String),
    /// A document.
    Json(serde_json::Value),
    /// Definitions were imported.
    Imported {
        /// What was left out, a sentence each.
        warnings: Vec<String>,
        /// What was refused, a sentence each.
        refused: Vec<String>,
    },
    /// How the broker is.
    Status(Box<Status>),
    /// It is not done.
    Failed(Failure),
}

/// One value in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// Not known, or there is none.
    Missing,
    /// Text.
    Text(String),
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A ratio.
    Float(f64),
    /// Several.
    List(Vec<Cell>),
    /// A field table: key, the type's name in RabbitMQ (`longstr`), value.
    Table(Vec<(String, String, Cell)>),
    /// The values of an array in a field table, each with its type's name.
    Array(Vec<(String, Cell)>),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Cell {
        Cell::Bool(value)
    }
}

impl From<u64> for Cell {
    fn from(value: u64) -> Cell {
        Cell::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::Missing, Into::into)
    }
}

impl From<&[String]> for Cell {
    fn from(texts: &[String]) -> Cell {
        Cell::List(texts.iter().map(|text| text.as_str().into()).collect())
    }
}

/// How the broker is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its process.
    pub pid: u32,
    /// The operating system it was built for.
    pub os: String,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Its version.
    pub version: String,
    /// Its name as clients see it.
    pub cluster_name: String,
    /// Processors that it may use.
    pub cpu_cores: u64,
    /// Where its data is.
    pub data_directory: String,
    /// Memory it holds, in bytes; none where the system does not say.
    pub resident_bytes: Option<u64>,
    /// How much it may hold before publishers are blocked, in bytes; none where the machine's is not known.
    pub memory_limit_bytes: Option<u64>,
    /// Why publishers are blocked: `low on memory` for example.
    pub alarms: Option<String>,
    /// Why the message log takes nothing any more, if it does not.
    pub message_log_failure: Option<String>,
    /// What the message log takes on the disk, in bytes.
    pub message_log_bytes: Option<u64>,
    /// What is left of the disk, in bytes.
    pub disk_free_bytes: Option<u64>,
    /// Below how much of it publishers are blocked, in bytes.
    pub disk_limit_bytes: Option<u64>,
    /// Memory that waiting messages take, in bytes.
    pub message_cache_bytes: Option<u64>,
    /// What it listens on.
    pub listeners: Vec<Listener>,
    /// Open connections.
    pub connection_count: u64,
    /// Queues in all vhosts.
    pub queue_count: u64,
    /// Vhosts.
    pub virtual_host_count: u64,
    /// What the message log has met of damage, in words.
    pub message_log_damages: Vec<String>,
}

/// A socket that takes clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    /// `amqp` for example.
    pub protocol: String,
    /// Address without port.
    pub interface: String,
    /// Port.
    pub port: u16,
}

impl Listener {
    /// What it is for, in RabbitMQ's words.
    pub fn purpose(&self) -> &'static str {
        match self.protocol.as_str() {
            "amqp" => "AMQP 0-9-1",
            "amqp/ssl" => "AMQP 0-9-1 over TLS",
            "http" => "HTTP API",
            "https" => "HTTP API over TLS (HTTPS)",
            "http/prometheus" => "Prometheus exporter API over HTTP",
            "https/prometheus" => "Prometheus exporter API over TLS (HTTPS)",
            _ => "",
        }
    }
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Failure {
    UserExists(String),
    NoSuchUser(String),
    NoSuchVhost(String),
    NoSuchExchange(String),
    NoSuchQueue(String),
    NoSuchConnection(String),
    /// A login that was refused, with the reason.
    Refused(String),
    QueueInUse,
    QueueNotEmpty,
    QueueLocked,
    VhostProtected,
    InvalidQueueType(String),
    /// The request itself makes no sense: an empty name, a pattern that is none.
    Invalid(String),
    /// The broker could not: the disk, for example.
    Unable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_and_reads_back() {
        let request = Request::AddUser {
            user: "ann\n".to_owned(),
            password: Password::Clear(Secret("geheim".to_owned())),
        };
        let line = serde_json::to_string(&request).unwrap();
        assert_eq!(
            line,
            r#"{"verb":"add_user","user":"ann\n","password":{"clear":"geheim"}}"#
        );
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
        assert!(!format!("{request:?}").contains("geheim"));
    }

    #[test]
    fn a_response_reads_back() {
        let table = vec![("n".to_owned(), "void".to_owned(), Cell::Missing)];
        let cells = vec![
            Cell::Table(table),
            Cell::from(Some(7)),
            Cell::Float(0.5),
            Cell::List(vec![]),
        ];
        for response in [
            Response::Done,
            Response::Count(3),
            Response::Rows(vec![cells]),
            Response::Status(Box::default()),
            Response::Failed(Failure::NoSuchUser("x".to_owned())),
        ] {
            let line = serde_json::to_string(&response).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Response>(&line).unwrap(), response);
        }
    }
}
