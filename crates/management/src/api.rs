//! What the API is given: the node, and what it cannot know without sockets, files or a clock.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use node::node::Node;

use crate::options::Options;

/// The RabbitMQ release whose API this is, as `rabbitmq_version` and others say.
pub(crate) const RABBITMQ_VERSION: &str = "4.3.6";

/// Both ends of the connection that a request came over; whoever serves the router puts it into every request.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The client's address.
    pub address: SocketAddr,
}

impl Peer {
    /// Whether the client is on this machine: `guest` may log in from nowhere else.
    pub fn is_loopback(&self) -> bool {
        let ip: IpAddr = self.address.ip().to_canonical();
        ip.is_loopback()
    }
}

/// Who asked, for a log of requests; put into each answer to somebody who said who they are.
#[derive(Debug, Clone)]
pub struct LoggedIn(pub Arc<str>);

/// One thing that this process listens on.
#[derive(Debug, Clone)]
pub struct Listening {
    /// RabbitMQ's word: `amqp`, `amqp/ssl`, `http`, `http/prometheus`.
    pub protocol: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// Whether clients speak TLS to it.
    pub tls: bool,
}

/// The certificate that is shown on some listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Of the listeners, as in [`Listening::protocol`].
    pub protocol: &'static str,
    /// The file it is in.
    pub certfile: String,
    /// The file of the roots that clients' certificates are traced to; empty if there is none.
    pub cacertfile: String,
    /// When it ends, in seconds since 1970.
    pub expires_at_s: i64,
    /// The same in UTC, `2030-01-02 3:04:05`.
    pub expires_on: String,
    /// When the roots of clients' certificates end: each of them, and in seconds since 1970 the first.
    pub roots_expire_on: Vec<String>,
    /// See `roots_expire_on`; `None` where there are no roots.
    pub roots_expire_at_s: Option<i64>,
}

/// What the machine says of this process, at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostFacts {
    /// Memory that the process holds.
    pub memory_bytes: u64,
    /// Memory at which publishers are blocked.
    pub memory_limit_bytes: u64,
    /// Free space where the data is.
    pub disk_free_bytes: u64,
    /// Free space under which publishers are blocked; 0 is no limit.
    pub disk_limit_bytes: u64,
    /// File handles in use.
    pub files: u64,
    /// File handles that there may be.
    pub files_max: u64,
    /// Threads of the process.
    pub threads: u64,
    /// Processors that the process may use.
    pub processors: u64,
    /// Context switches of the process so far.
    pub context_switches: u64,
}

/// The process and the machine it runs on.
pub struct Host {
    /// Now, in milliseconds since 1970.
    pub now_ms: Box<dyn Fn() -> u64 + Send + Sync>,
    /// When the process started, in milliseconds since 1970.
    pub started_ms: u64,
    /// Asks the machine.
    pub facts: Box<dyn Fn() -> HostFacts + Send + Sync>,
    /// What is listened on.
    pub listeners: Vec<Listening>,
    /// The certificates that new connections are shown now.
    pub certificates: Arc<dyn Fn() -> Vec<Certificate> + Send + Sync>,
    /// How long whoever is refused waits for the refusal.
    pub login_refused_delay: Duration,
    /// Where the data is.
    pub data_dir: String,
    /// The configuration files that were read.
    pub config_files: Vec<String>,
}

/// Everything a handler may ask.
pub struct Api {
    /// The broker.
    pub(crate) node: Arc<Node>,
    pub(crate) host: Host,
    pub(crate) options: Options,
    pub(crate) rates: crate::rates::Rates,
    pub(crate) event_readers: crate::events::Readers,
    items_built: AtomicU64,
}

impl Api {
    /// The API over a node.
    pub fn new(node: Arc<Node>, host: Host, options: Options) -> Arc<Self> {
        Arc::new(Api {
            node,
            host,
            options,
            rates: crate::rates::Rates::default(),
            event_readers: crate::events::Readers::default(),
            items_built: AtomicU64::new(0),
        })
    }

    /// Items of lists that were built so far, rather than only looked at to sort or leave them out: what lists cost.
    pub fn items_built(&self) -> u64 {
        self.items_built.load(Ordering::Relaxed)
    }

    pub(crate) fn count_built(&self) {
        self.items_built.fetch_add(1, Ordering::Relaxed);
    }

    /// Now, in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        (self.host.now_ms)()
    }

    /// The node's name, as every object that lives on it says.
    pub(crate) fn node_name(&self) -> crate::json::Json {
        self.node.settings.cluster_name.as_str().to_owned().into()
    }
}
