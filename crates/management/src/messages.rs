//! Publishing a message and getting some, for trying things out: not for traffic.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::message::{LogPosition, Message};
use broker::queue::{Delivery, Settlement};
use broker::router::{Refusal as RouterRefusal, further_keys};
use metadata::identity::{PermissionKind, TopicAction};
use node::identities::ResourceKind;
use node::mailbox::Mailbox;
use node::publish::PublishRefusal;
use node::queue_cell::{Got, QueueCell};
use node::vhost::Vhost;
use serde_json::{Map, Value};
use wire::amqp091::properties::{Properties, PropertiesBuf};

use crate::access::Guard::Vhost as VhostGuard;
use crate::answer::Answer;
use crate::call::{Call, integer, text};
use crate::failure::Failure;
use crate::json::{Json, Object};
use crate::queue_actions::NO_CONNECTION;
use crate::routes::{Field, Route, optional, post, required, route};

const PUBLISH: &[Field] = &[
    required("routing_key", "string"),
    required("payload", "string"),
    required("payload_encoding", "string"),
    required("properties", "object"),
];

const GET: &[Field] = &[
    required("count", "integer"),
    required("ackmode", "string"),
    required("encoding", "string"),
    optional("truncate", "integer"),
];

pub(crate) const ROUTES: &[Route] = &[
    route(
        "/api/exchanges/{vhost}/{exchange}/publish",
        &[post(VhostGuard, publish, "Publish a message").taking(PUBLISH)],
    ),
    route(
        "/api/queues/{vhost}/{queue}/get",
        &[post(VhostGuard, take_messages, "Take messages from a queue").taking(GET)],
    ),
];

/// Most messages that one request takes from a queue.
const GET_MESSAGES_MAX: usize = 10_000;
/// Most bytes of bodies that one request takes from a queue, the last message apart.
const GET_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long a message may take to come from the disk.
pub(crate) const AWAY_WAIT: Duration = Duration::from_secs(5);

// ---- publishing ----

fn publish(call: &Call<'_>) -> Result<Answer, Failure> {
    let keys = ["routing_key", "payload", "payload_encoding", "properties"];
    let body = call.object_with(&keys)?;
    let vhost = call.vhost_to_change()?;
    let exchange = call.exchange_param("exchange");
    let spec = vhost
        .find_exchange(exchange)
        .map_err(|_| Failure::not_found("exchange_not_found"))?;
    let message = message(call, exchange, &body)?;
    let reply = |code: &str, text: String| Failure::bad_request(format!("{code} - {text}"));
    if !call.permitted(
        &vhost,
        PermissionKind::Write,
        ResourceKind::Exchange,
        exchange,
    ) {
        let shown = if exchange.is_empty() {
            "amq.default"
        } else {
            exchange
        };
        let text = format!(
            "write access to exchange '{shown}' in vhost '{}' refused for user '{}'",
            vhost.name,
            call.login.name()
        );
        return Err(reply("403 ACCESS_REFUSED", text));
    }
    if spec.internal {
        let text = format!(
            "cannot publish to internal exchange '{exchange}' in vhost '{}'",
            vhost.name
        );
        return Err(reply("403 ACCESS_REFUSED", text));
    }
    if spec.kind == "topic"
        && let Some(key) = refused_topic(call, &vhost, exchange, &message)
    {
        let text = format!(
            "write access to topic '{key}' in exchange '{exchange}' in vhost '{}' refused for user '{}'",
            vhost.name,
            call.login.name()
        );
        return Err(reply("403 ACCESS_REFUSED", text));
    }
    let published = vhost
        .publish(call.now_ms, &message)
        .map_err(|refusal| match refusal {
            PublishRefusal::Route(error) if error.refusal() == RouterRefusal::NotFound => {
                Failure::not_found("exchange_not_found")
            }
            PublishRefusal::Route(error) => {
                reply("406 PRECONDITION_FAILED", error.text(&vhost.name))
            }
            other => publish_refused(other),
        })?;
    wait_until_kept(&vhost, published.position)?;
    Ok(Answer::json(Object::new().with("routed", published.routed)))
}

/// The log does not take it.
pub(crate) fn publish_refused(refusal: PublishRefusal) -> Failure {
    let reason = match refusal {
        PublishRefusal::Failed => "the message log takes nothing any more",
        _ => "the message log has no room now",
    };
    Failure::new(503, "unavailable", reason)
}

/// Waits until a message is as durable as its queue promises.
pub(crate) fn wait_until_kept(vhost: &Vhost, position: LogPosition) -> Result<(), Failure> {
    let Some(log) = vhost.message_log().filter(|_| position.is_some()) else {
        return Ok(());
    };
    let (sender, receiver) = std::sync::mpsc::channel();
    let wake = move || {
        // Nobody waits any more only if this thread is gone.
        let _ = sender.send(());
    };
    log.wake_when_durable(position, Arc::new(wake));
    let _ = receiver.recv();
    match log.failure() {
        Some(failure) if log.durable() < position => Err(Failure::internal(failure.to_string())),
        _ => Ok(()),
    }
}

/// The first of a message's routing keys that the user may not use with a topic exchange.
fn refused_topic(
    call: &Call<'_>,
    vhost: &Vhost,
    exchange: &str,
    message: &Message,
) -> Option<String> {
    let properties = Properties::validate(message.properties()).ok()?;
    let further = further_keys(&properties).map(String::from_utf8_lossy);
    let mut keys = std::iter::once(message.routing_key().into()).chain(further);
    keys.find(|key| !call.permitted_topic(vhost, TopicAction::Write, exchange, key))
        .map(Cow::into_owned)
}

/// The message that a body describes.
fn message(call: &Call<'_>, exchange: &str, body: &Map<String, Value>) -> Result<Message, Failure> {
    let routing_key = text(body, "routing_key")?.unwrap_or_default();
    if routing_key.len() > 255 {
        return Err(Failure::bad_request("routing_key too long"));
    }
    let payload = payload(body)?;
    let bytes_max = call.api.node.settings.message_bytes_max;
    if bytes_max < payload.len() as u64 {
        let text = format!(
            "406 PRECONDITION_FAILED - message size {} is larger than configured max size {bytes_max}",
            payload.len()
        );
        return Err(Failure::bad_request(text));
    }
    let properties = match body.get("properties") {
        Some(Value::Object(properties)) => read_properties(properties)?,
        Some(Value::Array(none)) if none.is_empty() => PropertiesBuf::default(),
        _ => return Err(Failure::bad_request("properties_not_object")),
    };
    check_user_id(call, &properties)?;
    let expiration_ms = expiration_ms(&properties)?;
    let encoded = properties.encode();
    let properties =
        Properties::validate(&encoded).map_err(|error| Failure::bad_request(error.to_string()))?;
    Ok(Message::new(
        exchange,
        routing_key,
        &properties,
        expiration_ms,
        &payload,
        &mut Vec::new(),
    ))
}

fn payload(body: &Map<String, Value>) -> Result<Vec<u8>, Failure> {
    let Some(payload) = body.get("payload").and_then(Value::as_str) else {
        return Err(Failure::bad_request("payload_not_string"));
    };
    match body.get("payload_encoding").and_then(Value::as_str) {
        Some("string") => Ok(payload.as_bytes().to_vec()),
        Some("base64") => STANDARD
            .decode(payload)
            .map_err(|_| Failure::bad_value("not_base64", payload.to_owned())),
        _ => Err(Failure::bad_value(
            "unsupported_encoding",
            body.get("payload_encoding").cloned().unwrap_or_default(),
        )),
    }
}

/// A client may only publish in its own name, impersonators apart.
fn check_user_id(call: &Call<'_>, properties: &PropertiesBuf) -> Result<(), Failure> {
    let Some(user) = &properties.user_id else {
        return Ok(());
    };
    if **call.login.name() == **user || call.login.user.has_tag("impersonator") {
        return Ok(());
    }
    let text = format!(
        "406 PRECONDITION_FAILED - user_id property set to '{user}' but authenticated user was '{}'",
        call.login.name()
    );
    Err(Failure::bad_request(text))
}

/// `expiration` is a decimal number of milliseconds as text.
fn expiration_ms(properties: &PropertiesBuf) -> Result<Option<u64>, Failure> {
    /// RabbitMQ's bound of a timer: ten years.
    const EXPIRATION_MS_MAX: u64 = 315_360_000_000;
    let Some(text) = &properties.expiration else {
        return Ok(None);
    };
    match text.parse::<u64>() {
        Ok(value) if value <= EXPIRATION_MS_MAX => Ok(Some(value)),
        _ => {
            let text = format!("406 PRECONDITION_FAILED - invalid expiration '{text}': no_integer");
            Err(Failure::bad_request(text))
        }
    }
}

/// Properties by RabbitMQ's names; those that are none are passed over.
pub(crate) fn read_properties(object: &Map<String, Value>) -> Result<PropertiesBuf, Failure> {
    let word = |key: &'static str| match object.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= 255 => Ok(Some(text.clone())),
        Some(_) => Err(Failure::bad_value("not_string", key)),
    };
    let number = |key: &'static str| {
        let bad = || Failure::bad_value("not_int", key);
        integer(object, key).map_err(|_| bad())
    };
    let octet = |key: &'static str| {
        let value = number(key)?.map(u8::try_from).transpose();
        value.map_err(|_| Failure::bad_value("not_int", key))
    };
    let headers = match object.get("headers") {
        None => None,
        Some(Value::Object(headers)) => Some(metadata::json::to_table(headers)?),
        Some(Value::Array(none)) if none.is_empty() => None,
        Some(_) => return Err(Failure::bad_request("headers_not_object")),
    };
    let timestamp = number("timestamp")?.map(u64::try_from).transpose();
    Ok(PropertiesBuf {
        content_type: word("content_type")?,
        content_encoding: word("content_encoding")?,
        headers,
        delivery_mode: octet("delivery_mode")?,
        priority: octet("priority")?,
        correlation_id: word("correlation_id")?,
        reply_to: word("reply_to")?,
        expiration: word("expiration")?,
        message_id: word("message_id")?,
        timestamp: timestamp.map_err(|_| Failure::bad_value("not_int", "timestamp"))?,
        type_: word("type")?,
        user_id: word("user_id")?,
        app_id: word("app_id")?,
        cluster_id: word("cluster_id")?,
    })
}

/// Properties by RabbitMQ's names, those that are set; none at all are an empty list there.
pub(crate) fn properties_json(message: &Message) -> Json {
    let Ok(properties) = Properties::validate(message.properties()) else {
        return Json::List(Vec::new());
    };
    let buf = PropertiesBuf::from_view(&properties);
    let mut object = Object::new();
    let mut put = |name: &'static str, value: Option<Json>| {
        if let Some(value) = value {
            object.put(name, value);
        }
    };
    put("type", buf.type_.map(Json::Text));
    put("user_id", buf.user_id.map(Json::Text));
    put("app_id", buf.app_id.map(Json::Text));
    put("cluster_id", buf.cluster_id.map(Json::Text));
    put("timestamp", buf.timestamp.map(Json::Count));
    put("expiration", buf.expiration.map(Json::Text));
    put("message_id", buf.message_id.map(Json::Text));
    put("reply_to", buf.reply_to.map(Json::Text));
    put("correlation_id", buf.correlation_id.map(Json::Text));
    put("priority", buf.priority.map(|p| Json::Count(p.into())));
    put(
        "delivery_mode",
        buf.delivery_mode.map(|p| Json::Count(p.into())),
    );
    put("headers", buf.headers.map(|headers| Json::table(&headers)));
    put("content_encoding", buf.content_encoding.map(Json::Text));
    put("content_type", buf.content_type.map(Json::Text));
    match properties.as_bytes() {
        [0, 0] | [] => Json::List(Vec::new()),
        _ => Json::Object(object),
    }
}

// ---- getting ----

/// What becomes of a message that was taken.
#[derive(Clone, Copy)]
struct AckMode {
    /// Taken for good as it is taken.
    no_ack: bool,
    settlement: Settlement,
}

fn ack_mode(body: &Map<String, Value>) -> Result<AckMode, Failure> {
    let mode = |no_ack, settlement| Ok(AckMode { no_ack, settlement });
    match body.get("ackmode").and_then(Value::as_str) {
        Some("ack_requeue_false") => mode(true, Settlement::Ack),
        Some("ack_requeue_true") => mode(false, Settlement::Requeue { counted: false }),
        Some("reject_requeue_true") => mode(false, Settlement::Requeue { counted: true }),
        Some("reject_requeue_false") => mode(false, Settlement::DeadLetter { counted: true }),
        other => Err(Failure::bad_request(format!(
            "Invalid ackmode value: {}. Valid values are: ack_requeue_true, ack_requeue_false, \
             reject_requeue_true, reject_requeue_false",
            other.unwrap_or_default()
        ))),
    }
}

fn take_messages(call: &Call<'_>) -> Result<Answer, Failure> {
    let body = call.object_with(&["ackmode", "count", "encoding"])?;
    let vhost = call.vhost_to_change()?;
    let name = call.param("queue");
    let cell = vhost
        .find_queue(name)
        .map_err(|_| Failure::not_found("queue_not_found"))?;
    let mode = ack_mode(&body)?;
    let base64_only = match body.get("encoding").and_then(Value::as_str) {
        Some("auto") => false,
        Some("base64") => true,
        _ => {
            let reason = "Unsupported encoding. Please use auto or base64.";
            return Err(Failure::bad_request(reason));
        }
    };
    let count = integer(&body, "count")?.unwrap_or_default();
    let count = usize::try_from(count).unwrap_or(0).min(GET_MESSAGES_MAX);
    let truncate = integer(&body, "truncate")?;
    let truncate = truncate.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(0));
    if !call.permitted(&vhost, PermissionKind::Read, ResourceKind::Queue, name) {
        return Err(Failure::not_authorised(format!(
            "ACCESS_REFUSED - read access to queue '{name}' in vhost '{}' refused for user '{}'",
            vhost.name,
            call.login.name()
        )));
    }
    cell.check_owner(NO_CONNECTION, &vhost.name)?;
    let taken = take(call, &vhost, &cell, count, mode);
    let objects = taken
        .iter()
        .map(|(delivery, left)| delivery_object(delivery, *left, base64_only, truncate));
    Ok(Answer::json(objects.collect::<Vec<_>>()))
}

/// Takes messages, then settles them: a message that goes back is taken once and not again.
fn take(
    call: &Call<'_>,
    vhost: &Vhost,
    cell: &Arc<QueueCell>,
    count: usize,
    mode: AckMode,
) -> Vec<(Delivery, u64)> {
    let mut taken = Vec::new();
    let mut bytes = 0;
    let mailbox = Mailbox::new();
    while taken.len() < count && bytes < GET_BYTES_MAX {
        let (got, aftermath) = cell.get(call.now_ms, mode.no_ack, &mailbox);
        vhost.conclude(call.now_ms, cell, aftermath);
        match got {
            Got::Message(delivery, left) => {
                bytes += delivery.message.bytes();
                taken.push((*delivery, left));
            }
            // It comes from the disk, in a moment.
            Got::Away if mailbox.wait(AWAY_WAIT) => {}
            Got::Away | Got::Nothing => break,
        }
    }
    if !mode.no_ack && !taken.is_empty() {
        let ids: Vec<_> = taken.iter().map(|(delivery, _)| delivery.id).collect();
        let aftermath = cell.settle(call.now_ms, &ids, mode.settlement);
        vhost.conclude(call.now_ms, cell, aftermath);
    }
    taken
}

fn delivery_object(delivery: &Delivery, left: u64, base64_only: bool, truncate: usize) -> Object {
    let message = &delivery.message;
    let (payload, encoding) = payload_json(message.body(), base64_only, truncate);
    Object::new()
        .with("payload_bytes", message.body().len())
        .with("redelivered", delivery.redelivered)
        .with("exchange", message.exchange().to_owned())
        .with("routing_key", message.routing_key().to_owned())
        .with("message_count", left)
        .with("properties", properties_json(message))
        .with("payload", payload)
        .with("payload_encoding", encoding)
}

/// A body, or the beginning of one, as text where it is text.
pub(crate) fn payload_json(
    body: &[u8],
    base64_only: bool,
    truncate: usize,
) -> (String, &'static str) {
    let cut = body.get(..truncate).unwrap_or(body);
    match std::str::from_utf8(cut) {
        Ok(text) if !base64_only => (text.to_owned(), "string"),
        _ => (STANDARD.encode(cut), "base64"),
    }
}
