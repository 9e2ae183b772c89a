//! Queues as they are listed and shown.
//!
//! What RabbitMQ says of Erlang processes (reductions, garbage collection) is there, with the values that it has
//! itself for a queue of which it knows nothing: clients read the fields.

use std::sync::Arc;

use broker::queue::QueueKind;
use metadata::policy::Policy;
use node::queue_cell::{ConsumerInfo, QueueCell, QueueCounts};
use node::vhost::Vhost;

use crate::access::Guard::{Management, Vhost as VhostGuard};
use crate::answer::Answer;
use crate::call::Call;
use crate::consumers;
use crate::failure::Failure;
use crate::json::{Json, Object};
use crate::pages::{self, Listed};
use crate::rates;
use crate::routes::{Route, list, route};
use crate::stats;

pub(crate) const ROUTES: &[Route] = &[
    route("/api/queues", &[list(Management, list_all, "List queues")]),
    route(
        "/api/queues/detailed",
        &[list(
            Management,
            list_detailed,
            "List queues with all that is known of them",
        )],
    ),
    route(
        "/api/queues/{vhost}",
        &[list(VhostGuard, list_in_vhost, "List queues in a vhost")],
    ),
    route(
        "/api/users/{user}/queues",
        &[list(
            Management,
            list_of_user,
            "List queues in the vhosts of a user",
        )],
    ),
];

/// Memory of a queue without messages, by measurement of a process with many of them.
const QUEUE_BYTES: u64 = 2_048;
/// Memory of a message beside its bytes.
const MESSAGE_BYTES: u64 = 128;

/// A queue that is listed runs: one that does not is not there.
const STATE: &str = "running";

/// How much is told of a queue.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// As lists have it.
    Listed,
    /// As the queue's own page has it.
    Whole,
}

/// RabbitMQ's word for a queue's type.
pub(crate) fn kind(cell: &QueueCell) -> &'static str {
    match cell.options().kind {
        QueueKind::Classic => "classic",
        QueueKind::Quorum => "quorum",
    }
}

/// A queue with all that is known of it.
pub(crate) fn object(
    call: &Call<'_>,
    vhost: &Vhost,
    cell: &Arc<QueueCell>,
    detail: Detail,
) -> Object {
    let spec = &cell.spec;
    let node_name = call.api.node_name();
    let kind = kind(cell);
    let mut object = Object::new()
        .with("name", &spec.name)
        .with("vhost", &vhost.name)
        .with("type", kind)
        .with("durable", spec.durable)
        .with("auto_delete", spec.auto_delete)
        .with("exclusive", spec.exclusive)
        .with("arguments", Json::table(&spec.arguments))
        .with("node", node_name.clone())
        .with("state", STATE)
        .with("internal", false)
        .with("internal_owner", false)
        .with(
            "effective_policy_definition",
            serde_json::Value::Object(cell.policy().definition().clone()),
        );
    let policies = cell.policy();
    let name_of = |policy: &Option<Arc<Policy>>| policy.as_ref().map(|p| Json::from(&p.name));
    let (policy, operator) = (name_of(&policies.policy), name_of(&policies.operator));
    if detail == Detail::Whole || policy.is_some() {
        object.put("policy", policy);
    }
    if detail == Detail::Whole || operator.is_some() {
        object.put("operator_policy", operator);
    }
    put_counts(call, cell, &mut object);
    match kind {
        "quorum" => put_quorum(cell, node_name, &mut object),
        _ => object.put("storage_version", 2u64),
    }
    if let Some(owner) = cell.owner.and_then(|id| call.api.node.connections.find(id)) {
        let owner = Object::new()
            .with("name", &owner.name)
            .with("peer_host", &owner.peer_host)
            .with("peer_port", owner.peer_port);
        object.put("owner_pid_details", owner);
    }
    if detail == Detail::Whole {
        put_whole(call, vhost, cell, &mut object);
    }
    object
}

/// What lies in a queue, as counters with rates.
fn lengths(counts: &QueueCounts) -> [stats::Counted; 3] {
    [
        (
            "messages",
            "messages_details",
            counts.ready + counts.unacked,
        ),
        ("messages_ready", "messages_ready_details", counts.ready),
        (
            "messages_unacknowledged",
            "messages_unacknowledged_details",
            counts.unacked,
        ),
    ]
}

fn put_counts(call: &Call<'_>, cell: &QueueCell, object: &mut Object) {
    let (totals, counts) = cell.totals();
    if let Some(stats) = stats::queue(call, cell.id.0, &totals) {
        object.put("message_stats", stats);
    }
    let messages = counts.ready + counts.unacked;
    let bytes = counts.ready_bytes + counts.unacked_bytes;
    let rate = || Object::new().with("rate", 0.0);
    object.put("consumers", counts.consumers);
    let utilisation = if counts.consumers == 0 || counts.ready > 0 {
        0.0
    } else {
        1.0
    };
    object.put("consumer_capacity", utilisation);
    object.put("consumer_utilisation", utilisation);
    let of = rates::Object::QueueLengths(cell.id.0);
    stats::put(call, of, object, &lengths(&counts));
    object.put("messages_ram", messages);
    object.put("messages_ready_ram", counts.ready);
    object.put("messages_unacknowledged_ram", counts.unacked);
    object.put("messages_persistent", 0u64);
    object.put("message_bytes", bytes);
    object.put("message_bytes_ready", counts.ready_bytes);
    object.put("message_bytes_unacknowledged", counts.unacked_bytes);
    object.put("message_bytes_ram", bytes);
    object.put("message_bytes_persistent", 0u64);
    object.put("memory", QUEUE_BYTES + messages * MESSAGE_BYTES + bytes);
    object.put("reductions", 0u64);
    object.put("reductions_details", rate());
}

fn put_quorum(cell: &QueueCell, node_name: Json, object: &mut Object) {
    let options = cell.options();
    let members = vec![node_name.clone()];
    object.put("leader", node_name.clone());
    object.put("members", members.clone());
    object.put("online", members);
    let files = match node_name {
        Json::Text(name) => Object::new().with(name, 0u64),
        _ => Object::new(),
    };
    object.put("open_files", files);
    let limit = options
        .delivery_limit
        .map_or(Json::Word("unlimited"), Json::from);
    object.put("delivery_limit", limit);
    object.put(
        "delayed_retry",
        if options.delayed_retry.is_some() {
            "enabled"
        } else {
            "disabled"
        },
    );
    for name in [
        "messages_dlx",
        "message_bytes_dlx",
        "messages_delayed",
        "messages_ready_returned",
        "messages_active_priorities",
        "publishers",
    ] {
        object.put(name, 0u64);
    }
    object.put("messages_by_priority", Object::new());
}

/// What only the queue's own page says.
fn put_whole(call: &Call<'_>, vhost: &Vhost, cell: &Arc<QueueCell>, object: &mut Object) {
    let consumers = cell.consumers();
    let single = cell.options().single_active_consumer;
    let tag_of = |info: &ConsumerInfo| Json::from(&info.tag);
    let active = consumers.iter().find(|(_, active)| single && *active);
    let exclusive = consumers.iter().find(|(info, _)| info.exclusive);
    object.put(
        "single_active_consumer_tag",
        active.map(|(info, _)| tag_of(info)),
    );
    object.put(
        "exclusive_consumer_tag",
        exclusive.map(|(info, _)| tag_of(info)),
    );
    let details: Vec<Object> = consumers
        .iter()
        .map(|(info, active)| consumers::object(call, vhost, cell, info, *active))
        .collect();
    object.put("consumer_details", details);
    object.put("deliveries", Vec::<Json>::new());
    object.put("incoming", Vec::<Json>::new());
    object.put("head_message_timestamp", Json::Null);
    object.put("garbage_collection", no_collector());
}

/// There is no Erlang process: the figures are those of one as RabbitMQ starts them that has collected nothing. Clients
/// read them as counts.
pub(crate) fn no_collector() -> Object {
    Object::new()
        .with("max_heap_size", 0u64)
        .with("min_bin_vheap_size", 46_422u64)
        .with("min_heap_size", 233u64)
        .with("fullsweep_after", 65_535u64)
        .with("minor_gcs", 0u64)
}

/// A queue in a list.
struct Row {
    vhost: Arc<Vhost>,
    cell: Arc<QueueCell>,
    detail: Detail,
}

impl Listed for Row {
    fn brief(&self, call: &Call<'_>, field: &str) -> Option<Option<Json>> {
        let (spec, counts) = (&self.cell.spec, || self.cell.counts());
        let value = match field {
            "name" => Json::from(&spec.name),
            "vhost" => (&self.vhost.name).into(),
            "type" => kind(&self.cell).into(),
            "durable" => spec.durable.into(),
            "auto_delete" => spec.auto_delete.into(),
            "exclusive" => spec.exclusive.into(),
            "node" => call.api.node_name(),
            "state" => STATE.into(),
            "messages" => (counts().ready + counts().unacked).into(),
            "messages_ready" => counts().ready.into(),
            "messages_unacknowledged" => counts().unacked.into(),
            "message_bytes" => (counts().ready_bytes + counts().unacked_bytes).into(),
            "consumers" => counts().consumers.into(),
            "messages_details.rate"
            | "messages_ready_details.rate"
            | "messages_unacknowledged_details.rate" => {
                let of = rates::Object::QueueLengths(self.cell.id.0);
                return Some(stats::field(call, of, &lengths(&counts()), field));
            }
            field => {
                let counter = field.strip_prefix("message_stats.")?;
                let stats = stats::queue(call, self.cell.id.0, &self.cell.totals().0);
                return Some(stats.and_then(|stats| stats.at(counter)));
            }
        };
        Some(Some(value))
    }

    fn build(self, call: &Call<'_>) -> Object {
        object(call, &self.vhost, &self.cell, self.detail)
    }
}

fn in_vhosts<'a>(vhosts: impl Iterator<Item = &'a Arc<Vhost>>, detail: Detail) -> Vec<Row> {
    let mut all = Vec::new();
    for vhost in vhosts {
        let queues = vhost.read(|topology| topology.queues());
        all.extend(queues.into_iter().map(|cell| Row {
            vhost: Arc::clone(vhost),
            cell,
            detail,
        }));
    }
    all
}

fn list_all(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhosts = call.api.node.vhosts();
    let seen = vhosts.iter().filter(|vhost| call.sees_vhost(&vhost.name));
    pages::answer(call, in_vhosts(seen, Detail::Listed))
}

fn list_detailed(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhosts = call.api.node.vhosts();
    let seen = vhosts.iter().filter(|vhost| call.sees_vhost(&vhost.name));
    pages::answer(call, in_vhosts(seen, Detail::Whole))
}

fn list_in_vhost(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    let rows = in_vhosts(std::iter::once(&vhost), Detail::Listed);
    pages::answer(call, rows)
}

fn list_of_user(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhosts = call.api.node.vhosts();
    let identities = &call.api.node.identities;
    let seen = vhosts.iter().filter(|vhost| {
        call.sees_vhost(&vhost.name) && identities.may_enter(call.param("user"), &vhost.name)
    });
    pages::answer(call, in_vhosts(seen, Detail::Listed))
}
