//! One queue: showing, declaring, deleting, purging, and RabbitMQ's actions on replicas.

use std::sync::Arc;

use metadata::identity::PermissionKind;
use metadata::topology::QueueSpec;
use node::connections::ConnectionId;
use node::identities::ResourceKind;
use node::queue_cell::QueueCell;
use node::vhost::{DeleteQueueIf, Vhost};

use crate::access::Guard::{Administrator, Vhost as VhostGuard};
use crate::answer::Answer;
use crate::call::{Call, arguments, boolean, text};
use crate::exchanges::text_argument;
use crate::failure::Failure;
use crate::json::{Json, Object};
use crate::pages;
use crate::queues::{self, Detail};
use crate::routes::{Field, Route, delete, get, optional, post, put, required, route};

const QUEUE: &[Field] = &[
    optional("durable", "boolean"),
    optional("auto_delete", "boolean"),
    optional("arguments", "object"),
    optional("node", "string"),
];

pub(crate) const ROUTES: &[Route] = &[
    route(
        "/api/queues/{vhost}/{queue}",
        &[
            get(VhostGuard, show, "Show a queue"),
            put(VhostGuard, declare, "Declare a queue").taking(QUEUE),
            delete(VhostGuard, remove, "Delete a queue"),
        ],
    ),
    route(
        "/api/queues/{vhost}/{queue}/contents",
        &[delete(VhostGuard, purge, "Drop a queue's ready messages")],
    ),
    route(
        "/api/queues/{vhost}/{queue}/actions",
        &[post(
            Administrator,
            act,
            "Act on a mirrored queue, of which there are none",
        )
        .taking(&[required("action", "string")])],
    ),
    route(
        "/api/queues/quorum/{vhost}/{queue}/status",
        &[get(
            VhostGuard,
            quorum_status,
            "Show a quorum queue's members",
        )],
    ),
    route(
        "/api/rebalance/queues",
        &[post(Administrator, rebalance, "Spread queues over nodes")],
    ),
];

/// No connection has this number: what is exclusive to one is not ours.
pub(crate) const NO_CONNECTION: ConnectionId = ConnectionId(0);

/// The queue in the path, or 404.
pub(crate) fn find(call: &Call<'_>) -> Result<(Arc<Vhost>, Arc<QueueCell>), Failure> {
    let vhost = call.vhost()?;
    let cell = vhost.find_queue(call.param("queue"));
    let cell = cell.map_err(|_| Failure::no_object())?;
    Ok((vhost, cell))
}

fn show(call: &Call<'_>) -> Result<Answer, Failure> {
    let (vhost, cell) = find(call)?;
    Ok(pages::one(
        call,
        queues::object(call, &vhost, &cell, Detail::Whole),
    ))
}

fn declare(call: &Call<'_>) -> Result<Answer, Failure> {
    let name = call.param("queue");
    let body = call.object()?;
    let spec = QueueSpec {
        name: name.into(),
        durable: boolean(&body, "durable")?,
        // It would belong to the request, and be gone with it: RabbitMQ takes no notice of the field either.
        exclusive: false,
        auto_delete: boolean(&body, "auto_delete")?,
        arguments: arguments(&body)?,
    };
    let vhost = call.vhost_to_change()?;
    if let Some(node) = text(&body, "node")?
        && node != call.api.node.settings.cluster_name
    {
        let reason = format!("Node {node} is not a cluster member");
        return Err(Failure::bad_request(reason));
    }
    if !(1..=255).contains(&name.len()) {
        return Err(Failure::bad_request("queue name must have 1 to 255 bytes"));
    }
    let new = vhost.find_queue(name).is_err();
    if new && name.starts_with("amq.") {
        return Err(Failure::access_refused());
    }
    call.require(&vhost, PermissionKind::Configure, ResourceKind::Queue, name)?;
    if let Some(exchange) = text_argument(&spec.arguments, "x-dead-letter-exchange")
        && new
    {
        call.require(&vhost, PermissionKind::Read, ResourceKind::Queue, name)?;
        call.require(
            &vhost,
            PermissionKind::Write,
            ResourceKind::Exchange,
            exchange,
        )?;
    }
    let declared = vhost.declare_queue(call.now_ms, spec, NO_CONNECTION)?;
    Ok(Answer::created_if(new).when(declared.ticket))
}

fn remove(call: &Call<'_>) -> Result<Answer, Failure> {
    let (_, cell) = find(call)?;
    let vhost = call.vhost_to_change()?;
    let name = &cell.spec.name;
    call.require(&vhost, PermissionKind::Configure, ResourceKind::Queue, name)?;
    let when = DeleteQueueIf {
        unused: call.query_flag("if-unused"),
        empty: call.query_flag("if-empty"),
    };
    let (_, ticket) = vhost.delete_queue(name, NO_CONNECTION, when)?;
    Ok(Answer::done().when(ticket))
}

fn purge(call: &Call<'_>) -> Result<Answer, Failure> {
    let (_, cell) = find(call)?;
    let vhost = call.vhost_to_change()?;
    call.require(
        &vhost,
        PermissionKind::Read,
        ResourceKind::Queue,
        &cell.spec.name,
    )?;
    cell.check_owner(NO_CONNECTION, &vhost.name)?;
    cell.purge(call.now_ms);
    Ok(Answer::done())
}

/// `sync` and `cancel_sync` were for mirrored queues, which are gone from RabbitMQ, too.
fn act(call: &Call<'_>) -> Result<Answer, Failure> {
    find(call)?;
    let body = call.object_with(&["action"])?;
    let action = body.get("action").cloned().unwrap_or_default();
    Err(Failure::bad_value("unknown", action))
}

/// One member, which leads. There is no Raft log: nothing is told of one.
fn quorum_status(call: &Call<'_>) -> Result<Answer, Failure> {
    let (_, cell) = find(call)?;
    if queues::kind(&cell) != "quorum" {
        let failed = Object::new()
            .with("status", "failed")
            .with("reason", "classic_queue_not_supported");
        return Ok(Answer::failed(failed));
    }
    let mut member = Object::new()
        .with("Node Name", call.api.node_name())
        .with("Raft State", "leader")
        .with("Membership", "voter");
    for field in [
        "Last Log Index",
        "Last Written",
        "Last Applied",
        "Commit Index",
        "Snapshot Index",
        "Term",
        "Machine Version",
    ] {
        member.put(field, 0u64);
    }
    Ok(Answer::json(vec![Json::Object(member)]))
}

/// All queues are on the one node there is.
fn rebalance(_call: &Call<'_>) -> Result<Answer, Failure> {
    Ok(Answer::done())
}
