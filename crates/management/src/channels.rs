//! Channels.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use node::connections::{ChannelEntry, ConnectionEntry};

use crate::access::Guard::{Management, Vhost as VhostGuard};
use crate::answer::Answer;
use crate::call::Call;
use crate::connections;
use crate::consumers;
use crate::failure::Failure;
use crate::json::{Json, Object};
use crate::pages::{self, Listed};
use crate::queues::no_collector;
use crate::rates;
use crate::routes::{Route, get, list, route};
use crate::stats;

pub(crate) const ROUTES: &[Route] = &[
    route(
        "/api/channels",
        &[list(Management, list_all, "List channels")],
    ),
    route(
        "/api/channels/{channel}",
        &[get(Management, show, "Show a channel")],
    ),
    route(
        "/api/connections/{connection}/channels",
        &[list(
            Management,
            list_of_connection,
            "List a connection's channels",
        )],
    ),
    route(
        "/api/vhosts/{vhost}/channels",
        &[list(VhostGuard, list_in_vhost, "List channels of a vhost")],
    ),
];

/// A channel that is listed runs.
const STATE: &str = "running";

/// As [`ChannelEntry::mode`] has them.
const CONFIRM: u32 = 1;
const TRANSACTIONAL: u32 = 2;

/// `127.0.0.1:1234 -> 127.0.0.1:5672 (1)`.
pub(crate) fn channel_name(connection: &str, number: u16) -> String {
    format!("{connection} ({number})")
}

fn object(
    call: &Call<'_>,
    connection: &ConnectionEntry,
    number: u16,
    entry: &ChannelEntry,
) -> Object {
    let details = Object::new()
        .with("name", &connection.name)
        .with("peer_host", &connection.peer_host)
        .with("peer_port", connection.peer_port);
    let mode = entry.mode.load(Ordering::Relaxed);
    let mut object = Object::new()
        .with("connection_details", details)
        .with("acks_uncommitted", 0u64)
        .with("cached_segments", 0u64)
        .with("confirm", mode == CONFIRM)
        .with("consumer_count", entry.consumers.load(Ordering::Relaxed))
        .with("garbage_collection", no_collector())
        .with(
            "messages_unacknowledged",
            entry.unacked.load(Ordering::Relaxed),
        )
        .with("messages_uncommitted", 0u64)
        .with(
            "messages_unconfirmed",
            entry.unconfirmed.load(Ordering::Relaxed),
        )
        .with("name", channel_name(&connection.name, number))
        .with("node", call.api.node_name())
        .with("number", number)
        .with("pending_raft_commands", 0u64)
        .with("prefetch_count", entry.prefetch.load(Ordering::Relaxed))
        .with("reductions", 0u64)
        .with("reductions_details", Object::new().with("rate", 0.0))
        .with("state", STATE)
        .with("transactional", mode == TRANSACTIONAL)
        .with("user", &connection.user)
        .with("user_who_performed_action", &connection.user)
        .with("vhost", &connection.vhost);
    let of = rates::Object::Channel(connection.id.0, number);
    if let Some(stats) = stats::messages(call, of, &entry.messages.totals()) {
        object.put("message_stats", stats);
    }
    let global = entry.prefetch_global.load(Ordering::Relaxed);
    if global > 0 {
        object.put("global_prefetch_count", global);
    }
    object
}

fn of(connection: &ConnectionEntry) -> Vec<(u16, Arc<ChannelEntry>)> {
    let channels = connection.channels.lock();
    let own = |(number, entry): (&u16, &Arc<ChannelEntry>)| (*number, Arc::clone(entry));
    channels.iter().map(own).collect()
}

/// A channel in a list.
struct Row {
    connection: Arc<ConnectionEntry>,
    number: u16,
    entry: Arc<ChannelEntry>,
}

impl Listed for Row {
    fn brief(&self, call: &Call<'_>, field: &str) -> Option<Option<Json>> {
        let entry = &self.entry;
        let value = match field {
            "name" => Json::from(channel_name(&self.connection.name, self.number)),
            "number" => self.number.into(),
            "vhost" => (&self.connection.vhost).into(),
            "user" => (&self.connection.user).into(),
            "node" => call.api.node_name(),
            "state" => STATE.into(),
            "consumer_count" => entry.consumers.load(Ordering::Relaxed).into(),
            "messages_unacknowledged" => entry.unacked.load(Ordering::Relaxed).into(),
            "messages_unconfirmed" => entry.unconfirmed.load(Ordering::Relaxed).into(),
            "prefetch_count" => entry.prefetch.load(Ordering::Relaxed).into(),
            _ => return None,
        };
        Some(Some(value))
    }

    fn build(self, call: &Call<'_>) -> Object {
        object(call, &self.connection, self.number, &self.entry)
    }
}

fn rows(connections: Vec<Arc<ConnectionEntry>>) -> Vec<Row> {
    let mut all = Vec::new();
    for connection in connections {
        let channels = of(&connection).into_iter();
        all.extend(channels.map(|(number, entry)| Row {
            connection: Arc::clone(&connection),
            number,
            entry,
        }));
    }
    all
}

fn list_all(call: &Call<'_>) -> Result<Answer, Failure> {
    pages::answer(call, rows(connections::seen(call)))
}

fn list_in_vhost(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    let mut entries = connections::seen(call);
    entries.retain(|entry| entry.vhost == vhost.name);
    pages::answer(call, rows(entries))
}

fn list_of_connection(call: &Call<'_>) -> Result<Answer, Failure> {
    let connection = connections::find(call)?;
    pages::answer(call, rows(vec![connection]))
}

fn show(call: &Call<'_>) -> Result<Answer, Failure> {
    let wanted = call.param("channel");
    for connection in call.api.node.connections.list() {
        // Names of channels begin with that of their connection.
        if !wanted.starts_with(&*connection.name) {
            continue;
        }
        for (number, entry) in of(&connection) {
            if channel_name(&connection.name, number) != wanted {
                continue;
            }
            connections::check_seen(call, &connection)?;
            let mut object = object(call, &connection, number, &entry);
            let details = consumers::of_channel(call, &connection, number);
            object.put("consumer_details", details);
            object.put("deliveries", Vec::<Json>::new());
            object.put("publishes", Vec::<Json>::new());
            return Ok(pages::one(call, object));
        }
    }
    Err(Failure::no_object())
}
