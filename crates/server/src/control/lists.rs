//! Lists: which things there are, and one cell for each column that was asked for.
//!
//! The names of columns are rabbitmqctl's. A column that this broker knows and has no value for is
//! [`Cell::Missing`]; a name that it does not know is refused.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use metadata::identity::{Permissions, TopicPermissions, User};
use metadata::topology::{BindingSpec, Destination, ExchangeSpec};
use node::connections::{ChannelEntry, ConnectionEntry, ConnectionId};
use node::queue_cell::{ConsumerInfo, QueueCell, QueueCounts};
use node::vhost::Vhost;

use super::answer::Broker;
use super::protocol::{Cell, Failure, Request};

type Rows = Vec<Vec<Cell>>;

/// A row for each item, a cell for each column.
fn rows<T>(
    columns: &[String],
    items: impl IntoIterator<Item = T>,
    cell: impl Fn(&T, &str) -> Option<Cell>,
) -> Result<Rows, Failure> {
    let row = |item: T| {
        let cell = |column: &String| {
            let unknown = || Failure::Invalid(format!("there is no column {column}"));
            cell(&item, column).ok_or_else(unknown)
        };
        columns.iter().map(cell).collect()
    };
    items.into_iter().map(row).collect()
}

/// `<7>`: what stands for RabbitMQ's process id of a connection.
fn connection_pid(id: ConnectionId) -> Cell {
    Cell::Text(format!("<{}>", id.0))
}

/// `<7.1>`: what stands for RabbitMQ's process id of a channel.
fn channel_pid(id: ConnectionId, channel: u16) -> Cell {
    Cell::Text(format!("<{}.{channel}>", id.0))
}

/// Reads what [`connection_pid`] wrote; the brackets may be left out, which spares quoting them.
pub(super) fn parse_connection_pid(text: &str) -> Option<ConnectionId> {
    let inner = text
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'));
    inner.unwrap_or(text).parse().ok().map(ConnectionId)
}

impl Broker {
    /// Carries out a request of this module's; others are the caller's mistake and refused.
    pub(super) fn list(&self, request: Request) -> Result<Rows, Failure> {
        use Request as R;
        let node = &self.node;
        let identities = &node.identities;
        match request {
            R::ListUsers { columns } => rows(&columns, identities.users(), |u, c| user(u, c)),
            R::ListVhosts { columns } => rows(&columns, node.vhosts(), |v, c| vhost(v, c)),
            R::ListPermissions {
                vhost: name,
                columns,
            } => {
                self.vhost(&name)?;
                let all = identities.permissions_in(&name);
                rows(&columns, all, |(user, p), c| permissions(user, p, c))
            }
            R::ListUserPermissions { user, columns } => {
                let all = identities.permissions_of(&user)?;
                rows(&columns, all, |(vhost, p), c| permissions(vhost, p, c))
            }
            R::ListTopicPermissions {
                vhost: name,
                columns,
            } => {
                self.vhost(&name)?;
                let all = identities.topic_permissions_in(&name);
                rows(&columns, all, |(user, p), c| topic_permissions(user, p, c))
            }
            R::ListUserTopicPermissions { user, columns } => {
                let all = identities.topic_permissions_of(&user)?;
                rows(&columns, all, |(vhost, p), c| {
                    topic_permissions(vhost, p, c)
                })
            }
            R::ListConnections { columns } => {
                let blocking = node.alarms.any();
                rows(&columns, node.connections.list(), |entry, column| {
                    connection(entry, blocking, column)
                })
            }
            R::ListChannels { columns } => rows(&columns, self.channels(), channel),
            R::ListQueues { .. }
            | R::ListExchanges { .. }
            | R::ListBindings { .. }
            | R::ListConsumers { .. } => self.list_topology(request),
            other => Err(Failure::Invalid(format!("{other:?} lists nothing"))),
        }
    }

    fn list_topology(&self, request: Request) -> Result<Rows, Failure> {
        match request {
            Request::ListQueues { vhost, columns } => {
                let queues = self.vhost(&vhost)?.read(|topology| topology.queues());
                let counted = queues.into_iter().map(|cell| (cell.counts(), cell));
                rows(&columns, counted, |(counts, cell), column| {
                    queue_counts(counts, column)
                        .or_else(|| queue(cell, &self.node.settings.cluster_name, column))
                })
            }
            Request::ListExchanges { vhost, columns } => self.vhost(&vhost)?.read(|topology| {
                rows(&columns, topology.router.exchanges(), |spec, column| {
                    if column == "policy" {
                        let policy = topology.exchange_policy(&spec.name).policy;
                        return Some(policy.as_ref().map(|p| &*p.name).into());
                    }
                    exchange(spec, column)
                })
            }),
            Request::ListBindings { vhost, columns } => {
                let bindings = self
                    .vhost(&vhost)?
                    .read(|topology| topology.router.bindings());
                rows(&columns, bindings, binding)
            }
            Request::ListConsumers { vhost, columns } => {
                let queues = self.vhost(&vhost)?.read(|topology| topology.queues());
                let consumers = queues.iter().flat_map(|cell| {
                    let consumers = cell.consumers().into_iter();
                    consumers.map(move |(info, active)| (cell, info, active))
                });
                rows(&columns, consumers, |(cell, info, active), column| {
                    consumer(cell, info, *active, column)
                })
            }
            other => Err(Failure::Invalid(format!("{other:?} is about no vhost"))),
        }
    }

    /// Each connection's channels, by number.
    fn channels(&self) -> Vec<(Arc<ConnectionEntry>, u16, Arc<ChannelEntry>)> {
        let mut all = Vec::new();
        for connection in self.node.connections.list() {
            let channels = connection.channels.lock();
            let of_this = |(number, entry): (&u16, &Arc<ChannelEntry>)| {
                (Arc::clone(&connection), *number, Arc::clone(entry))
            };
            all.extend(channels.iter().map(of_this));
        }
        all
    }
}

fn user(user: &User, column: &str) -> Option<Cell> {
    Some(match column {
        "user" => (*user.name).into(),
        "tags" => user.tags.as_slice().into(),
        _ => return None,
    })
}

fn vhost(vhost: &Vhost, column: &str) -> Option<Cell> {
    let spec = vhost.spec();
    Some(match column {
        "name" => (*spec.name).into(),
        "description" => spec.description.as_str().into(),
        "tags" => spec.tags.as_slice().into(),
        "default_queue_type" => spec.default_queue_type.as_deref().into(),
        "protected_from_deletion" => spec.protected_from_deletion.into(),
        "tracing" => spec.tracing.into(),
        "metadata" => Cell::Table(vec![
            (
                "description".to_owned(),
                "longstr".to_owned(),
                spec.description.as_str().into(),
            ),
            (
                "tags".to_owned(),
                "array".to_owned(),
                spec.tags.as_slice().into(),
            ),
            (
                "default_queue_type".to_owned(),
                "longstr".to_owned(),
                spec.default_queue_type
                    .as_deref()
                    .unwrap_or("classic")
                    .into(),
            ),
        ]),
        "cluster_state" => Cell::Missing,
        _ => return None,
    })
}

/// `of` is the user, or the vhost where a user's permissions are listed.
fn permissions(of: &str, permissions: &Permissions, column: &str) -> Option<Cell> {
    Some(match column {
        "user" | "vhost" => of.into(),
        "configure" => permissions.configure.source().into(),
        "write" => permissions.write.source().into(),
        "read" => permissions.read.source().into(),
        _ => return None,
    })
}

fn topic_permissions(of: &str, permissions: &TopicPermissions, column: &str) -> Option<Cell> {
    Some(match column {
        "user" | "vhost" => of.into(),
        "exchange" => (*permissions.exchange).into(),
        "write" => permissions.write.source().into(),
        "read" => permissions.read.source().into(),
        _ => return None,
    })
}

fn queue_counts(counts: &QueueCounts, column: &str) -> Option<Cell> {
    Some(match column {
        "messages_ready" | "messages_ready_ram" => counts.ready.into(),
        "messages_unacknowledged" | "messages_unacknowledged_ram" => counts.unacked.into(),
        "messages" | "messages_ram" => (counts.ready + counts.unacked).into(),
        "message_bytes_ready" => counts.ready_bytes.into(),
        "message_bytes_unacknowledged" => counts.unacked_bytes.into(),
        "message_bytes" | "message_bytes_ram" => (counts.ready_bytes + counts.unacked_bytes).into(),
        "consumers" => u64::from(counts.consumers).into(),
        _ => return None,
    })
}

fn queue(cell: &QueueCell, node_name: &str, column: &str) -> Option<Cell> {
    const QUORUM: &str = "quorum";
    let spec = &cell.spec;
    let declared_type = spec.arguments.find("x-queue-type");
    let kind = declared_type
        .and_then(|value| value.as_str())
        .unwrap_or("classic");
    let exclusive_consumer = || {
        let consumers = cell.consumers();
        consumers
            .into_iter()
            .find_map(|(info, _)| info.exclusive.then_some(info))
    };
    Some(match column {
        "name" => (*spec.name).into(),
        "durable" => spec.durable.into(),
        "auto_delete" => spec.auto_delete.into(),
        "exclusive" => spec.exclusive.into(),
        "arguments" => Cell::from(&spec.arguments),
        "effective_policy_definition" => settings(cell.policy().definition()),
        "policy" => cell.policy().policy.as_ref().map(|p| &*p.name).into(),
        "operator_policy" => cell.policy().operator.as_ref().map(|p| &*p.name).into(),
        "pid" => Cell::Text(format!("<queue.{}>", cell.id.0)),
        "owner_pid" => cell.owner.map_or(Cell::Missing, connection_pid),
        "exclusive_consumer_pid" => exclusive_consumer().map_or(Cell::Missing, |info| {
            channel_pid(info.connection, info.channel)
        }),
        "exclusive_consumer_tag" => exclusive_consumer().as_ref().map(|info| &*info.tag).into(),
        "type" => kind.into(),
        "state" => "running".into(),
        "leader" => node_name.into(),
        "members" | "online" if kind == QUORUM => Cell::List(vec![node_name.into()]),
        "messages_persistent"
        | "message_bytes_persistent"
        | "head_message_timestamp"
        | "disk_reads"
        | "disk_writes"
        | "consumer_utilisation"
        | "consumer_capacity"
        | "memory"
        | "members"
        | "online" => Cell::Missing,
        _ => return None,
    })
}

fn exchange(spec: &ExchangeSpec, column: &str) -> Option<Cell> {
    Some(match column {
        "name" => (*spec.name).into(),
        "type" => spec.kind.as_str().into(),
        "durable" => spec.durable.into(),
        "auto_delete" => spec.auto_delete.into(),
        "internal" => spec.internal.into(),
        "arguments" => Cell::from(&spec.arguments),
        _ => return None,
    })
}

/// A policy's settings, as a table of their names and values.
fn settings(definition: &serde_json::Map<String, serde_json::Value>) -> Cell {
    match metadata::json::to_table(definition) {
        Ok(table) => Cell::from(&table),
        Err(_) => Cell::Missing,
    }
}

fn binding(spec: &BindingSpec, column: &str) -> Option<Cell> {
    let (kind, name) = match &spec.destination {
        Destination::Queue(name) => ("queue", name),
        Destination::Exchange(name) => ("exchange", name),
    };
    Some(match column {
        "source_name" => (*spec.source).into(),
        "source_kind" => "exchange".into(),
        "destination_name" => (**name).into(),
        "destination_kind" => kind.into(),
        "routing_key" => (*spec.routing_key).into(),
        "arguments" => Cell::from(&spec.arguments),
        _ => return None,
    })
}

/// RabbitMQ's word for a connection: under an alarm `blocking` until it publishes, then `blocked`; `flow` while it waits
/// for consumers.
fn state(entry: &ConnectionEntry, alarm: bool) -> &'static str {
    match (alarm, entry.blocked.load(Ordering::Relaxed)) {
        (false, _) if entry.in_flow.load(Ordering::Relaxed) => "flow",
        (false, _) => "running",
        (true, false) => "blocking",
        (true, true) => "blocked",
    }
}

fn connection(entry: &ConnectionEntry, alarm: bool, column: &str) -> Option<Cell> {
    Some(match column {
        "pid" => connection_pid(entry.id),
        "name" => (*entry.name).into(),
        "port" => u64::from(entry.local_port).into(),
        "host" => entry.local_host.as_str().into(),
        "peer_port" => u64::from(entry.peer_port).into(),
        "peer_host" => entry.peer_host.as_str().into(),
        "ssl" => false.into(),
        "state" => state(entry, alarm).into(),
        "channels" => (entry.channels.lock().len() as u64).into(),
        "protocol" => "{0,9,1}".into(),
        "auth_mechanism" => entry.auth_mechanism.as_str().into(),
        "user" => (*entry.user).into(),
        "vhost" => (*entry.vhost).into(),
        "timeout" => u64::from(entry.heartbeat_s).into(),
        "frame_max" => u64::from(entry.frame_bytes_max).into(),
        "channel_max" => u64::from(entry.channel_max).into(),
        "client_properties" => Cell::from(&entry.client_properties),
        "connected_at" => entry.connected_at_ms.into(),
        "ssl_protocol"
        | "ssl_key_exchange"
        | "ssl_cipher"
        | "ssl_hash"
        | "peer_cert_subject"
        | "peer_cert_issuer"
        | "peer_cert_serial_number"
        | "peer_cert_validity"
        | "container_id"
        | "recv_oct"
        | "recv_cnt"
        | "send_oct"
        | "send_cnt"
        | "send_pend" => Cell::Missing,
        _ => return None,
    })
}

fn channel(
    (connection, number, entry): &(Arc<ConnectionEntry>, u16, Arc<ChannelEntry>),
    column: &str,
) -> Option<Cell> {
    /// As [`ChannelEntry::mode`] has them.
    const CONFIRM: u32 = 1;
    const TRANSACTIONAL: u32 = 2;
    let mode = entry.mode.load(Ordering::Relaxed);
    Some(match column {
        "pid" => channel_pid(connection.id, *number),
        "connection" => connection_pid(connection.id),
        "name" => Cell::Text(format!("{} ({number})", connection.name)),
        "number" => u64::from(*number).into(),
        "user" => (*connection.user).into(),
        "vhost" => (*connection.vhost).into(),
        "transactional" => (mode == TRANSACTIONAL).into(),
        "confirm" => (mode == CONFIRM).into(),
        "consumer_count" => u64::from(entry.consumers.load(Ordering::Relaxed)).into(),
        "messages_unacknowledged" => entry.unacked.load(Ordering::Relaxed).into(),
        "messages_unconfirmed" => entry.unconfirmed.load(Ordering::Relaxed).into(),
        "prefetch_count" => u64::from(entry.prefetch.load(Ordering::Relaxed)).into(),
        "messages_uncommitted" | "acks_uncommitted" => Cell::Missing,
        _ => return None,
    })
}

fn consumer(cell: &QueueCell, info: &ConsumerInfo, active: bool, column: &str) -> Option<Cell> {
    let single = || cell.options().single_active_consumer;
    Some(match column {
        "queue_name" => (*cell.spec.name).into(),
        "channel_pid" => channel_pid(info.connection, info.channel),
        "consumer_tag" => (*info.tag).into(),
        "ack_required" => (!info.no_ack).into(),
        "prefetch_count" => u64::from(info.prefetch).into(),
        "active" => active.into(),
        "activity_status" => match (single(), active) {
            (false, _) => "up",
            (true, true) => "single_active",
            (true, false) => "waiting",
        }
        .into(),
        "arguments" => Cell::from(&info.arguments),
        _ => return None,
    })
}
