//! Connections: lists, and closing them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use node::connections::ConnectionEntry;

use crate::access::Guard::{Management, Vhost as VhostGuard};
use crate::answer::Answer;
use crate::call::Call;
use crate::failure::Failure;
use crate::json::{Json, Object};
use crate::pages::{self, Listed};
use crate::queues::no_collector;
use crate::rates;
use crate::routes::{Route, delete, get, list, route};
use crate::stats;

pub(crate) const ROUTES: &[Route] = &[
    route(
        "/api/connections",
        &[list(Management, list_all, "List connections")],
    ),
    route(
        "/api/connections/{connection}",
        &[
            get(Management, show, "Show a connection"),
            delete(Management, close, "Close a connection"),
        ],
    ),
    route(
        "/api/connections/username/{user}",
        &[
            list(Management, list_of_user, "List a user's connections"),
            delete(Management, close_of_user, "Close a user's connections"),
        ],
    ),
    route(
        "/api/vhosts/{vhost}/connections",
        &[list(
            VhostGuard,
            list_in_vhost,
            "List connections to a vhost",
        )],
    ),
];

const PROTOCOL: &str = "AMQP 0-9-1";

/// RabbitMQ's word for a connection: under an alarm `blocking` until it publishes, then `blocked`; `flow` while it waits
/// for consumers.
fn state(call: &Call<'_>, entry: &ConnectionEntry) -> &'static str {
    let alarm = call.api.node.alarms.any();
    match (alarm, entry.blocked.load(Ordering::Relaxed)) {
        (false, _) if entry.in_flow.load(Ordering::Relaxed) => "flow",
        (false, _) => "running",
        (true, false) => "blocking",
        (true, true) => "blocked",
    }
}

/// A connection. `unknown` is what stands for what TLS would tell: RabbitMQ writes null in lists, and an empty text
/// on a connection's own page.
fn object(call: &Call<'_>, entry: &ConnectionEntry, unknown: &Json) -> Object {
    let or_unknown = |text: Option<&String>| text.map_or_else(|| unknown.clone(), Json::from);
    let tls = entry.tls.as_deref();
    let mut object = Object::new()
        .with("auth_mechanism", &entry.auth_mechanism)
        .with("channel_max", entry.channel_max)
        .with("channels", entry.channels.lock().len())
        .with("client_properties", Json::table(&entry.client_properties))
        .with("connected_at", entry.connected_at_ms)
        .with("frame_max", entry.frame_bytes_max)
        .with("garbage_collection", no_collector())
        .with("host", &entry.local_host)
        .with("name", &entry.name)
        .with("node", call.api.node_name())
        .with("peer_cert_issuer", unknown.clone())
        .with("peer_cert_serial_number", unknown.clone())
        .with(
            "peer_cert_subject",
            or_unknown(tls.and_then(|tls| tls.peer_cert_subject.as_ref())),
        )
        .with("peer_cert_validity", unknown.clone())
        .with("peer_host", &entry.peer_host)
        .with("peer_port", entry.peer_port)
        .with("port", entry.local_port)
        .with("protocol", PROTOCOL)
        .with("reductions", 0u64)
        .with("reductions_details", Object::new().with("rate", 0.0))
        .with("send_pend", 0u64)
        .with("recv_cnt", entry.traffic.received.load(Ordering::Relaxed))
        .with("send_cnt", entry.traffic.sent.load(Ordering::Relaxed))
        .with("ssl", tls.is_some())
        .with("ssl_cipher", or_unknown(tls.map(|tls| &tls.cipher)))
        .with("ssl_hash", unknown.clone())
        .with(
            "ssl_key_exchange",
            or_unknown(tls.map(|tls| &tls.key_exchange)),
        )
        .with("ssl_protocol", or_unknown(tls.map(|tls| &tls.protocol)))
        .with("state", state(call, entry))
        .with("timeout", entry.heartbeat_s)
        .with("type", "network")
        .with("user", &entry.user)
        .with("user_who_performed_action", &entry.user)
        .with("vhost", &entry.vhost);
    let of = rates::Object::Connection(entry.id.0);
    stats::put(call, of, &mut object, &octets(entry));
    if let Some(name) = &entry.user_provided_name {
        object.put("user_provided_name", name);
    }
    object
}

/// What went over a connection, as counters with rates.
fn octets(entry: &ConnectionEntry) -> [stats::Counted; 2] {
    let traffic = &entry.traffic;
    [
        (
            "recv_oct",
            "recv_oct_details",
            traffic.received_bytes.load(Ordering::Relaxed),
        ),
        (
            "send_oct",
            "send_oct_details",
            traffic.sent_bytes.load(Ordering::Relaxed),
        ),
    ]
}

/// A connection in a list.
struct Row(Arc<ConnectionEntry>);

impl Listed for Row {
    fn brief(&self, call: &Call<'_>, field: &str) -> Option<Option<Json>> {
        let Row(entry) = self;
        let value = match field {
            "name" => Json::from(&entry.name),
            "vhost" => (&entry.vhost).into(),
            "user" => (&entry.user).into(),
            "node" => call.api.node_name(),
            "state" => state(call, entry).into(),
            "host" => (&entry.local_host).into(),
            "port" => entry.local_port.into(),
            "peer_host" => (&entry.peer_host).into(),
            "peer_port" => entry.peer_port.into(),
            "channels" => entry.channels.lock().len().into(),
            "connected_at" => entry.connected_at_ms.into(),
            "protocol" => PROTOCOL.into(),
            "ssl" => entry.tls.is_some().into(),
            "recv_oct" | "send_oct" | "recv_oct_details.rate" | "send_oct_details.rate" => {
                let of = rates::Object::Connection(entry.id.0);
                return Some(stats::field(call, of, &octets(entry), field));
            }
            "user_provided_name" => {
                return Some(entry.user_provided_name.as_ref().map(Json::from));
            }
            _ => return None,
        };
        Some(Some(value))
    }

    fn build(self, call: &Call<'_>) -> Object {
        object(call, &self.0, &Json::Null)
    }
}

fn rows(entries: Vec<Arc<ConnectionEntry>>) -> Vec<Row> {
    entries.into_iter().map(Row).collect()
}

/// Connections that the user may see, `monitoring` all of them, others their own.
pub(crate) fn seen(call: &Call<'_>) -> Vec<Arc<ConnectionEntry>> {
    let mut entries = call.api.node.connections.list();
    if !call.login.is_monitoring() {
        entries.retain(|entry| entry.user == *call.login.name());
    }
    entries
}

/// The connection in the path: no other user's, but for `monitoring`.
pub(crate) fn find(call: &Call<'_>) -> Result<Arc<ConnectionEntry>, Failure> {
    let name = call.param("connection");
    let found = call.api.node.connections.list();
    let found = found.into_iter().find(|entry| *entry.name == *name);
    let entry = found.ok_or_else(Failure::no_object)?;
    check_seen(call, &entry)?;
    Ok(entry)
}

/// Another user's connection is for `monitoring`.
pub(crate) fn check_seen(call: &Call<'_>, entry: &ConnectionEntry) -> Result<(), Failure> {
    match call.login.is_monitoring() || entry.user == *call.login.name() {
        true => Ok(()),
        false => Err(not_yours()),
    }
}

fn not_yours() -> Failure {
    Failure::not_authorised("User not authorised to access object")
}

fn list_all(call: &Call<'_>) -> Result<Answer, Failure> {
    pages::answer(call, rows(seen(call)))
}

fn list_in_vhost(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    let mut entries = seen(call);
    entries.retain(|entry| entry.vhost == vhost.name);
    pages::answer(call, rows(entries))
}

fn show(call: &Call<'_>) -> Result<Answer, Failure> {
    let entry = find(call)?;
    Ok(pages::one(call, object(call, &entry, &"".into())))
}

/// What the client reads: RabbitMQ's words, or the operator's.
fn explanation<'a>(call: &Call<'a>) -> &'a str {
    call.reason.unwrap_or("Closed via management plugin")
}

fn close(call: &Call<'_>) -> Result<Answer, Failure> {
    let entry = find(call)?;
    if !call.login.is_administrator() && entry.user != *call.login.name() {
        return Err(not_yours());
    }
    let connections = &call.api.node.connections;
    connections.force_close(explanation(call), |other| other.id == entry.id);
    Ok(Answer::done())
}

/// Another user's connections are for `monitoring`, and closing them for administrators.
fn check_user(call: &Call<'_>, allowed: bool) -> Result<(), Failure> {
    match allowed || **call.login.name() == *call.param("user") {
        true => Ok(()),
        false => Err(not_yours()),
    }
}

fn list_of_user(call: &Call<'_>) -> Result<Answer, Failure> {
    check_user(call, call.login.is_monitoring())?;
    let user = call.param("user");
    let entries = call.api.node.connections.list();
    let of_user = entries.iter().filter(|entry| *entry.user == *user);
    let brief = |entry: &Arc<ConnectionEntry>| {
        Object::new()
            .with("name", &entry.name)
            .with("vhost", &entry.vhost)
            .with("user", &entry.user)
            .with("node", call.api.node_name())
    };
    pages::answer(call, of_user.map(brief).collect())
}

fn close_of_user(call: &Call<'_>) -> Result<Answer, Failure> {
    check_user(call, call.login.is_administrator())?;
    let user = call.param("user");
    let connections = &call.api.node.connections;
    connections.force_close(explanation(call), |entry| *entry.user == *user);
    Ok(Answer::done())
}
