//! Finds what a request asks for.

use std::path::PathBuf;
use std::sync::Arc;

use management::{Certificate, Listening};
use node::catalog::Ticket;
use node::node::Node;
use node::vhost::Vhost;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::audit;
use super::gate::Gate;
use super::node::Environment;
use super::protocol::{Failure, Listener, Request, Response, Status};
use crate::clock::Clock;
use crate::memory;

/// Says which certificates new connections are shown now.
pub type Certificates = Arc<dyn Fn() -> Vec<Certificate> + Send + Sync>;

/// What requests are about: the node, and what its sockets know.
pub struct Broker {
    /// The node.
    pub node: Arc<Node>,
    /// Its clock.
    pub clock: Clock,
    /// Where its data is.
    pub data_dir: PathBuf,
    /// What is listened on.
    pub listening: Vec<Listening>,
    /// The configuration that holds.
    pub environment: Environment,
    /// Tells that the broker is to stop.
    pub stop: Notify,
    /// Whether AMQP's clients are let in.
    pub gate: Gate,
    /// The certificates that new connections are shown now.
    pub certificates: Certificates,
    /// Held by whoever changes something: permissions are not set in a vhost while it is deleted.
    pub changing: Mutex<()>,
}

/// What to say, once the ticket is durable.
pub(super) struct Answer {
    pub(super) response: Response,
    pub(super) ticket: Ticket,
}

impl Answer {
    pub(super) fn now(response: Response) -> Answer {
        let ticket = Ticket::NONE;
        Answer { response, ticket }
    }

    pub(super) fn done(ticket: Ticket) -> Answer {
        let response = Response::Done;
        Answer { response, ticket }
    }
}

impl Broker {
    /// Carries a request out, or says why not. What it changed holds in memory already. A vhost with very many
    /// queues takes its time to delete, so call this where waiting does no harm.
    pub(super) fn answer(&self, request: Request) -> Result<Answer, Failure> {
        let audited = audit::words(&request);
        let outcome = self.carry_out(request);
        if let Some((verb, arguments)) = audited {
            let outcome = match &outcome {
                Ok(_) => "done".to_owned(),
                Err(failure) => format!("refused: {failure:?}"),
            };
            tracing::info!(target: "audit", from = "control socket", verb, %arguments, outcome);
        }
        outcome
    }

    fn carry_out(&self, request: Request) -> Result<Answer, Failure> {
        use Request as R;
        match request {
            R::AddUser { .. }
            | R::DeleteUser { .. }
            | R::ChangePassword { .. }
            | R::ClearPassword { .. }
            | R::AuthenticateUser { .. }
            | R::SetUserTags { .. }
            | R::SetPermissions { .. }
            | R::ClearPermissions { .. }
            | R::SetTopicPermissions { .. }
            | R::ClearTopicPermissions { .. } => {
                let _alone = self.changing.lock();
                self.change_identities(request)
            }
            R::ListUsers { .. }
            | R::ListVhosts { .. }
            | R::ListPermissions { .. }
            | R::ListUserPermissions { .. }
            | R::ListTopicPermissions { .. }
            | R::ListUserTopicPermissions { .. }
            | R::ListQueues { .. }
            | R::ListExchanges { .. }
            | R::ListBindings { .. }
            | R::ListConnections { .. }
            | R::ListChannels { .. }
            | R::ListConsumers { .. } => self.list(request).map(Response::Rows).map(Answer::now),
            R::AddVhost { .. }
            | R::DeleteVhost { .. }
            | R::CloseConnection { .. }
            | R::CloseAllConnections { .. }
            | R::CloseUserConnections { .. }
            | R::PurgeQueue { .. }
            | R::DeleteQueue { .. } => {
                let _alone = self.changing.lock();
                self.change_topology(request)
            }
            R::Parameter(request) => {
                let _alone = self.changing.lock();
                self.answer_parameter(request)
            }
            R::SetMemoryHighWatermark { .. }
            | R::SetMemoryHighWatermarkAbsolute { .. }
            | R::SetDiskFreeLimit { .. }
            | R::SetDiskFreeLimitRelative { .. }
            | R::Environment { .. }
            | R::ListFeatureFlags { .. }
            | R::ListDeprecatedFeatures { .. }
            | R::ListAuthAttempts { .. }
            | R::ResetAuthAttempts
            | R::TrackAuthSources { .. }
            | R::Stop => Ok(self.answer_about_node(request)),
            R::SetLogLevel { .. }
            | R::LogLocation
            | R::SuspendListeners
            | R::ResumeListeners
            | R::Certificates { .. }
            | R::MessageSizeStats { .. }
            | R::Peek { .. }
            | R::QuorumStatus { .. } => self.diagnose(request),
            R::Status => Ok(Answer::now(Response::Status(Box::new(self.status())))),
            R::Ping => Ok(Answer::done(Ticket::NONE)),
        }
    }

    /// The vhost of this name.
    pub(super) fn vhost(&self, name: &str) -> Result<Arc<Vhost>, Failure> {
        let found = self.node.vhost(name);
        found.ok_or_else(|| Failure::NoSuchVhost(name.to_owned()))
    }

    fn damages(&self) -> Vec<String> {
        let log = self.node.log.as_ref();
        let damages = log.map(|log| log.damages()).unwrap_or_default();
        damages.iter().map(ToString::to_string).collect()
    }

    fn status(&self) -> Status {
        let vhosts = self.node.vhosts();
        let queues = vhosts
            .iter()
            .map(|vhost| vhost.read(|topology| topology.queue_len()));
        let log = self.node.log.as_ref();
        let space = log.and_then(|log| log.space().ok());
        let memory_bytes = memory::total_bytes(&self.node).unwrap_or(0);
        let limit = self.node.settings.disk_free_limit;
        Status {
            pid: std::process::id(),
            os: std::env::consts::OS.to_owned(),
            uptime_seconds: self.clock.uptime().as_secs(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster_name: self.node.cluster_name().to_string(),
            cpu_cores: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
            data_directory: self.data_dir.display().to_string(),
            resident_bytes: memory::resident_bytes(),
            memory_limit_bytes: memory::limit_bytes(&self.node),
            alarms: self.node.alarms.reason().map(str::to_owned),
            message_log_failure: log.and_then(|log| log.failure()).map(|why| why.to_string()),
            message_log_bytes: log.map(|log| log.bytes()),
            disk_free_bytes: space.map(|space| space.free_bytes),
            disk_limit_bytes: space.map(|space| limit.bytes(space.total_bytes, memory_bytes)),
            message_cache_bytes: log.map(|log| log.cache().used_bytes()),
            listeners: self.listening.iter().map(listener).collect(),
            connection_count: self.node.connections.open_len() as u64,
            queue_count: queues.sum::<usize>() as u64,
            virtual_host_count: vhosts.len() as u64,
            message_log_damages: self.damages(),
        }
    }
}

fn listener(listening: &Listening) -> Listener {
    Listener {
        protocol: listening.protocol.to_owned(),
        interface: listening.address.ip().to_string(),
        port: listening.address.port(),
    }
}
