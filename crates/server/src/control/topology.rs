//! Requests that change vhosts and queues, and those that close connections.

use std::cell::Cell;

use metadata::identity::VhostSpec;
use node::catalog::Ticket;
use node::connections::{ConnectionEntry, ConnectionId};
use node::refusal::{Refusal, RefusalKind};
use node::vhost::DeleteQueueIf;

use super::answer::{Answer, Broker};
use super::lists::parse_connection_pid;
use super::protocol::{Failure, Request, Response};

/// The queue types that a vhost may have as its default.
const QUEUE_TYPES: [&str; 2] = ["classic", "quorum"];

/// Refuses what no vhost may have as its default.
pub(super) fn check_queue_type(kind: &str) -> Result<(), Failure> {
    match QUEUE_TYPES.contains(&kind) {
        true => Ok(()),
        false => Err(Failure::InvalidQueueType(kind.to_owned())),
    }
}

impl Broker {
    /// Carries out a request of this module's; others are the caller's mistake and refused.
    pub(super) fn change_topology(&self, request: Request) -> Result<Answer, Failure> {
        match request {
            Request::AddVhost {
                vhost,
                description,
                tags,
                default_queue_type,
            } => self.add_vhost(VhostSpec {
                description,
                tags,
                default_queue_type,
                ..VhostSpec::named(vhost)
            }),
            Request::DeleteVhost { vhost } => self.delete_vhost(&vhost),
            Request::PurgeQueue { vhost, queue } => {
                let cell = self.vhost(&vhost)?.find_queue(&queue);
                let cell = cell.map_err(|_| Failure::NoSuchQueue(queue))?;
                cell.purge(self.clock.now_ms());
                Ok(Answer::done(Ticket::NONE))
            }
            Request::DeleteQueue {
                vhost,
                queue,
                if_empty,
                if_unused,
                force,
            } => {
                let when = DeleteQueueIf {
                    unused: if_unused,
                    empty: if_empty,
                };
                self.delete_queue(&vhost, &queue, when, force)
            }
            Request::CloseConnection {
                connection,
                explanation,
            } => self.close_connection(connection, &explanation),
            Request::CloseAllConnections {
                vhost,
                limit,
                explanation,
            } => self.close_connections(vhost.as_deref(), limit, &explanation),
            Request::CloseUserConnections { user, explanation } => {
                let connections = &self.node.connections;
                let count = connections.force_close(&explanation, |entry| *entry.user == *user);
                Ok(Answer::now(Response::Count(count as u64)))
            }
            other => Err(Failure::Invalid(format!("{other:?} changes nothing"))),
        }
    }

    fn add_vhost(&self, spec: VhostSpec) -> Result<Answer, Failure> {
        if spec.name.is_empty() {
            return Err(Failure::Invalid(
                "vhost name cannot be an empty string".to_owned(),
            ));
        }
        if let Some(kind) = &spec.default_queue_type {
            check_queue_type(kind)?;
        }
        // Adding what is there succeeds and changes nothing, as in RabbitMQ.
        let added = self.node.add_vhost(spec);
        let ticket = added.unwrap_or_else(|| self.node.catalog.last_ticket());
        Ok(Answer::done(ticket))
    }

    fn delete_vhost(&self, name: &str) -> Result<Answer, Failure> {
        if self.vhost(name)?.spec().protected_from_deletion {
            return Err(Failure::VhostProtected);
        }
        let deleted = self.node.delete_vhost(name);
        deleted
            .map(Answer::done)
            .ok_or_else(|| Failure::NoSuchVhost(name.to_owned()))
    }

    fn delete_queue(
        &self,
        vhost: &str,
        queue: &str,
        when: DeleteQueueIf,
        force: bool,
    ) -> Result<Answer, Failure> {
        let vhost = self.vhost(vhost)?;
        let no_such = || Failure::NoSuchQueue(queue.to_owned());
        let cell = vhost.find_queue(queue).map_err(|_| no_such())?;
        // An exclusive queue is only deleted by its own connection, or by force in that connection's name.
        let owner = cell.owner.filter(|_| force);
        let deleted = vhost.delete_queue(queue, owner.unwrap_or(ConnectionId(0)), when);
        let (count, ticket) = deleted.map_err(refusal_to_delete)?;
        Ok(Answer {
            response: Response::Count(count),
            ticket,
        })
    }

    fn close_connection(&self, pid: String, explanation: &str) -> Result<Answer, Failure> {
        let connections = &self.node.connections;
        let found = parse_connection_pid(&pid).and_then(|id| connections.find(id));
        let Some(found) = found else {
            return Err(Failure::NoSuchConnection(pid));
        };
        connections.force_close(explanation, |entry| entry.id == found.id);
        Ok(Answer::done(Ticket::NONE))
    }

    /// Closes connections, the oldest first: at most `limit` unless that is 0.
    fn close_connections(
        &self,
        vhost: Option<&str>,
        limit: u64,
        explanation: &str,
    ) -> Result<Answer, Failure> {
        if let Some(vhost) = vhost {
            self.vhost(vhost)?;
        }
        let left = Cell::new(if limit == 0 { u64::MAX } else { limit });
        let chosen = |entry: &ConnectionEntry| {
            let chosen = left.get() > 0 && vhost.is_none_or(|vhost| *entry.vhost == *vhost);
            left.set(left.get() - u64::from(chosen));
            chosen
        };
        let count = self.node.connections.force_close(explanation, chosen);
        Ok(Answer::now(Response::Count(count as u64)))
    }
}

fn refusal_to_delete(refusal: Refusal) -> Failure {
    match refusal.kind {
        RefusalKind::ResourceLocked => Failure::QueueLocked,
        // The only two conditions there are, told apart by their sentences.
        RefusalKind::PreconditionFailed if refusal.text.ends_with("in use") => Failure::QueueInUse,
        RefusalKind::PreconditionFailed => Failure::QueueNotEmpty,
        _ => Failure::Unable(refusal.text),
    }
}
