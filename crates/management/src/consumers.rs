//! Consumers.

use std::sync::Arc;

use node::connections::ConnectionEntry;
use node::queue_cell::{ConsumerInfo, QueueCell};
use node::vhost::Vhost;

use crate::access::Guard::{Management, VhostOrMonitoring};
use crate::answer::Answer;
use crate::call::Call;
use crate::channels::channel_name;
use crate::failure::Failure;
use crate::json::{Json, Object};
use crate::pages::{self, Listed};
use crate::routes::{Route, list, route};

pub(crate) const ROUTES: &[Route] = &[
    route(
        "/api/consumers",
        &[list(Management, list_all, "List consumers")],
    ),
    route(
        "/api/consumers/{vhost}",
        &[list(
            VhostOrMonitoring,
            list_in_vhost,
            "List consumers in a vhost",
        )],
    ),
];

/// A consumer of a queue.
pub(crate) fn object(
    call: &Call<'_>,
    vhost: &Vhost,
    cell: &QueueCell,
    info: &ConsumerInfo,
    active: bool,
) -> Object {
    let options = cell.options();
    let status = match (options.single_active_consumer, active) {
        (false, _) => "up",
        (true, true) => "single_active",
        (true, false) => "waiting",
    };
    let queue = Object::new()
        .with("name", &cell.spec.name)
        .with("vhost", &vhost.name);
    let default = call.api.node.settings.consumer_timeout_ms.of(options.kind);
    let timeout = options.consumer_timeout_ms.or(default);
    Object::new()
        .with("arguments", Json::table(&info.arguments))
        .with("ack_required", !info.no_ack)
        .with("active", active)
        .with("activity_status", status)
        .with("channel_details", channel_details(call, info))
        .with("consumer_tag", &info.tag)
        .with("consumer_timeout", timeout)
        .with("exclusive", info.exclusive)
        .with("prefetch_count", info.prefetch)
        .with("queue", queue)
}

fn channel_details(call: &Call<'_>, info: &ConsumerInfo) -> Object {
    let mut details = Object::new()
        .with("connection_name", &info.connection_name)
        .with("name", channel_name(&info.connection_name, info.channel))
        .with("node", call.api.node_name())
        .with("number", info.channel);
    if let Some(connection) = call.api.node.connections.find(info.connection) {
        details.put("peer_host", &connection.peer_host);
        details.put("peer_port", connection.peer_port);
        details.put("user", &connection.user);
    }
    details
}

/// A consumer in a list.
struct Row {
    vhost: Arc<Vhost>,
    cell: Arc<QueueCell>,
    info: ConsumerInfo,
    active: bool,
}

impl Listed for Row {
    fn brief(&self, _: &Call<'_>, field: &str) -> Option<Option<Json>> {
        let value = match field {
            // A consumer has a tag.
            "name" => return Some(None),
            "consumer_tag" => Json::from(&self.info.tag),
            "ack_required" => (!self.info.no_ack).into(),
            "active" => self.active.into(),
            "exclusive" => self.info.exclusive.into(),
            "prefetch_count" => self.info.prefetch.into(),
            "queue.name" => (&self.cell.spec.name).into(),
            "queue.vhost" => (&self.vhost.name).into(),
            _ => return None,
        };
        Some(Some(value))
    }

    fn build(self, call: &Call<'_>) -> Object {
        object(call, &self.vhost, &self.cell, &self.info, self.active)
    }
}

fn rows(vhost: &Arc<Vhost>) -> Vec<Row> {
    let queues = vhost.read(|topology| topology.queues());
    let mut all = Vec::new();
    for cell in &queues {
        let consumers = cell.consumers().into_iter();
        all.extend(consumers.map(|(info, active)| Row {
            vhost: Arc::clone(vhost),
            cell: Arc::clone(cell),
            info,
            active,
        }));
    }
    all
}

/// The consumers of one channel.
pub(crate) fn of_channel(
    call: &Call<'_>,
    connection: &Arc<ConnectionEntry>,
    channel: u16,
) -> Vec<Object> {
    let Some(vhost) = call.api.node.vhost(&connection.vhost) else {
        return Vec::new();
    };
    let queues = vhost.read(|topology| topology.queues());
    let mut all = Vec::new();
    for cell in &queues {
        let consumers = cell.consumers();
        let own = consumers
            .iter()
            .filter(|(info, _)| info.connection == connection.id && info.channel == channel);
        all.extend(own.map(|(info, active)| object(call, &vhost, cell, info, *active)));
    }
    all
}

fn list_all(call: &Call<'_>) -> Result<Answer, Failure> {
    let mut vhosts = call.api.node.vhosts();
    if !call.login.is_monitoring() {
        vhosts.retain(|vhost| call.sees_vhost(&vhost.name));
    }
    pages::answer(call, vhosts.iter().flat_map(rows).collect())
}

fn list_in_vhost(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    pages::answer(call, rows(&vhost))
}
