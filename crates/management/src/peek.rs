//! Looking into a queue without taking anything out, and moving single messages: not in RabbitMQ.
//!
//! A message is named by a number (`id`) that it keeps while it is in the queue, and no other has had or will have.
//! Only ready messages are seen; those that a consumer holds are the consumer's.

use std::sync::Arc;

use broker::message::Message;
use metadata::identity::PermissionKind;
use node::identities::ResourceKind;
use node::mailbox::Mailbox;
use node::message_log::StorageError;
use node::queue_cell::{MessageId, Peeked, QueueCell, TakenOut};
use serde_json::Value;
use wire::amqp091::properties::Properties;

use crate::access::Guard::Vhost as VhostGuard;
use crate::answer::Answer;
use crate::call::{Call, text};
use crate::failure::Failure;
use crate::json::{Json, Object};
use crate::messages::{AWAY_WAIT, payload_json, properties_json, publish_refused, wait_until_kept};
use crate::queue_actions::{self, NO_CONNECTION};
use crate::routes::{Route, delete, get, post, required, route};

pub(crate) const ROUTES: &[Route] = &[
    route(
        "/api/queues/{vhost}/{queue}/peek",
        &[get(
            VhostGuard,
            peek,
            "Show ready messages without taking them: position, count, search, header, truncate",
        )],
    ),
    route(
        "/api/queues/{vhost}/{queue}/messages/{id}",
        &[delete(VhostGuard, remove, "Delete one ready message")],
    ),
    route(
        "/api/queues/{vhost}/{queue}/messages/{id}/move",
        &[post(
            VhostGuard,
            move_one,
            "Move one ready message to another queue",
        )
        .taking(&[required("destination", "string")])],
    ),
];

/// Messages shown where the request does not say.
const SHOWN: usize = 10;
/// Most messages that one request shows.
const SHOWN_MAX: usize = 1_000;
/// Most messages that one request looks at, those before the position included.
pub(crate) const LOOKED_AT_MAX: usize = 200_000;
/// Bytes of a body that are shown where the request does not say.
const BODY_BYTES: usize = 4_096;
/// Most bytes of bodies that one request shows.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What is looked for.
pub(crate) struct Search<'a> {
    /// Anywhere in routing key, properties, headers or body.
    pub(crate) text: Option<&'a str>,
    /// A header and, after `=`, its value.
    pub(crate) header: Option<(&'a str, Option<&'a str>)>,
}

impl Search<'_> {
    pub(crate) fn finds(&self, message: &Message) -> bool {
        self.header
            .is_none_or(|(key, value)| has_header(message, key, value))
            && self.text.is_none_or(|text| contains(message, text))
    }
}

fn has_header(message: &Message, key: &str, value: Option<&str>) -> bool {
    let Ok(properties) = Properties::validate(message.properties()) else {
        return false;
    };
    let Some(found) = properties.headers().map(|headers| headers.to_owned()) else {
        return false;
    };
    let Some(found) = found.find(key) else {
        return false;
    };
    value.is_none_or(|wanted| match metadata::json::from_field(found) {
        Value::String(text) => text == wanted,
        other => {
            let shown = other.to_string();
            shown == wanted
        }
    })
}

fn contains(message: &Message, text: &str) -> bool {
    let find = |bytes: &[u8]| {
        let mut windows = bytes.windows(text.len().max(1));
        text.is_empty() || windows.any(|window| window == text.as_bytes())
    };
    find(message.routing_key().as_bytes()) || find(message.properties()) || find(message.body())
}

fn number(call: &Call<'_>, name: &str, default: usize) -> Result<usize, Failure> {
    let Some(given) = call.query(name) else {
        return Ok(default);
    };
    let bad = || Failure::bad_value("not_integer", given.to_owned());
    given.parse().map_err(|_| bad())
}

fn peek(call: &Call<'_>) -> Result<Answer, Failure> {
    let (_, cell) = queue_actions::find(call)?;
    let vhost = call.vhost_to_change()?;
    call.require(
        &vhost,
        PermissionKind::Read,
        ResourceKind::Queue,
        &cell.spec.name,
    )?;
    cell.check_owner(NO_CONNECTION, &vhost.name)?;
    let position = number(call, "position", 0)?;
    let count = number(call, "count", SHOWN)?.min(SHOWN_MAX);
    let truncate = number(call, "truncate", BODY_BYTES)?;
    let header = call
        .query("header")
        .map(|header| match header.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (header, None),
        });
    let search = Search {
        text: call.query("search"),
        header,
    };
    let (mut shown, mut bytes, mut looked_at) = (Vec::new(), 0, 0);
    let looked = cell.look(
        position,
        LOOKED_AT_MAX.saturating_sub(position),
        &mut |peeked| {
            if shown.len() == count || BODY_BYTES_MAX < bytes {
                return false;
            }
            if search.finds(&peeked.message) {
                bytes += peeked.message.body().len().min(truncate);
                shown.push(object(&peeked, position + looked_at, truncate));
            }
            looked_at += 1;
            true
        },
    );
    looked.map_err(unreadable)?;
    Ok(Answer::json(
        Object::new()
            .with("messages", shown)
            .with("position", position)
            .with("looked_at", looked_at),
    ))
}

fn object(peeked: &Peeked, position: usize, truncate: usize) -> Object {
    let message = &peeked.message;
    let (payload, encoding) = payload_json(message.body(), false, truncate);
    Object::new()
        .with("position", position)
        .with("id", peeked.id.0)
        .with("exchange", message.exchange().to_owned())
        .with("routing_key", message.routing_key().to_owned())
        .with("redelivered", peeked.redelivered)
        .with("delivery_count", peeked.delivery_count)
        .with("expires_at", peeked.expires_at_ms)
        .with("properties", properties_json(message))
        .with("payload_bytes", message.body().len())
        .with("payload", payload)
        .with("payload_encoding", encoding)
}

fn id(call: &Call<'_>) -> Result<MessageId, Failure> {
    let given = call.param("id");
    let bad = || Failure::bad_value("not_integer", given.to_owned());
    given.parse().map(MessageId).map_err(|_| bad())
}

/// Messages that are only in the log cannot be read.
pub(crate) fn unreadable(error: StorageError) -> Failure {
    Failure::internal(error.to_string())
}

/// Takes a message out of a queue for good. Says whether it was there.
pub(crate) fn take_out(
    call: &Call<'_>,
    cell: &Arc<QueueCell>,
    id: MessageId,
) -> Result<bool, Failure> {
    let mailbox = Mailbox::new();
    loop {
        match cell
            .take_out(call.now_ms, id, &mailbox)
            .map_err(unreadable)?
        {
            TakenOut::Message(_) => return Ok(true),
            TakenOut::Nothing => return Ok(false),
            TakenOut::Coming if mailbox.wait(AWAY_WAIT) => {}
            TakenOut::Coming => {
                return Err(Failure::internal(
                    "the message cannot be read now".to_owned(),
                ));
            }
        }
    }
}

fn remove(call: &Call<'_>) -> Result<Answer, Failure> {
    let (_, cell) = queue_actions::find(call)?;
    let vhost = call.vhost_to_change()?;
    call.require(
        &vhost,
        PermissionKind::Read,
        ResourceKind::Queue,
        &cell.spec.name,
    )?;
    cell.check_owner(NO_CONNECTION, &vhost.name)?;
    match take_out(call, &cell, id(call)?)? {
        true => Ok(Answer::done()),
        false => Err(Failure::no_object()),
    }
}

/// First it is in the other queue, then it is taken from this one: what happens in between may double it and never
/// lose it.
fn move_one(call: &Call<'_>) -> Result<Answer, Failure> {
    let (_, cell) = queue_actions::find(call)?;
    let body = call.object_with(&["destination"])?;
    let vhost = call.vhost_to_change()?;
    let destination = text(&body, "destination")?.unwrap_or_default();
    call.require(
        &vhost,
        PermissionKind::Read,
        ResourceKind::Queue,
        &cell.spec.name,
    )?;
    call.require(&vhost, PermissionKind::Write, ResourceKind::Exchange, "")?;
    cell.check_owner(NO_CONNECTION, &vhost.name)?;
    let target = vhost
        .find_queue(destination)
        .map_err(|_| Failure::not_found("queue_not_found"))?;
    target.check_owner(NO_CONNECTION, &vhost.name)?;
    if target.id == cell.id {
        return Err(Failure::bad_request("the destination is the queue itself"));
    }
    let id = id(call)?;
    let peeked = cell.find(id).map_err(unreadable)?;
    let peeked = peeked.ok_or_else(Failure::no_object)?;
    let refused = || Failure::bad_request("the destination refused the message: it is full");
    let published = vhost
        .publish_to(call.now_ms, &[target], &peeked.message)
        .map_err(publish_refused)?;
    if published.rejected {
        return Err(refused());
    }
    wait_until_kept(&vhost, published.position)?;
    // A consumer may have taken it meanwhile: then it is in both.
    let moved = take_out(call, &cell, id)?;
    Ok(Answer::json(Object::new().with("moved", Json::Bool(moved))))
}
