//! Exchanges: lists, declaring and deleting.

use std::sync::Arc;

use broker::exchange::EXCHANGE_TYPES;
use metadata::identity::PermissionKind;
use metadata::topology::ExchangeSpec;
use node::identities::ResourceKind;
use node::vhost::Vhost;
use wire::amqp091::table::{FieldTable, FieldValue};

use crate::access::Guard::{Management, Vhost as VhostGuard};
use crate::answer::Answer;
use crate::call::{Call, arguments, boolean, text};
use crate::failure::Failure;
use crate::json::{Json, Object};
use crate::pages::{self, Listed};
use crate::routes::{Field, Route, delete, get, list, optional, put, required, route};
use crate::stats;

const EXCHANGE: &[Field] = &[
    required("type", "string"),
    optional("durable", "boolean"),
    optional("auto_delete", "boolean"),
    optional("internal", "boolean"),
    optional("arguments", "object"),
];

pub(crate) const ROUTES: &[Route] = &[
    route(
        "/api/exchanges",
        &[list(Management, list_all, "List exchanges")],
    ),
    route(
        "/api/exchanges/{vhost}",
        &[list(VhostGuard, list_in_vhost, "List exchanges in a vhost")],
    ),
    route(
        "/api/exchanges/{vhost}/{exchange}",
        &[
            get(VhostGuard, show, "Show an exchange"),
            put(VhostGuard, declare, "Declare an exchange").taking(EXCHANGE),
            delete(VhostGuard, remove, "Delete an exchange"),
        ],
    ),
];

/// Who declared something is not kept; RabbitMQ's word for what it did itself.
pub(crate) const UNKNOWN_USER: &str = "rmq-internal";

fn object(call: &Call<'_>, vhost: &Vhost, spec: &ExchangeSpec) -> Object {
    let mut object = Object::new()
        .with("arguments", Json::table(&spec.arguments))
        .with("auto_delete", spec.auto_delete)
        .with("durable", spec.durable)
        .with("internal", spec.internal)
        .with("name", &spec.name)
        .with("type", spec.kind.clone())
        .with("user_who_performed_action", UNKNOWN_USER)
        .with("vhost", &vhost.name);
    if let Some(policy) = &vhost.exchange_policy(&spec.name).policy {
        object.put("policy", &policy.name);
    }
    if let Some(stats) = stats::exchange(call, vhost, &spec.name) {
        object.put("message_stats", stats);
    }
    object
}

/// An exchange in a list.
struct Row {
    vhost: Arc<Vhost>,
    spec: ExchangeSpec,
}

impl Listed for Row {
    fn brief(&self, _: &Call<'_>, field: &str) -> Option<Option<Json>> {
        let value = match field {
            "name" => Json::from(&self.spec.name),
            "vhost" => (&self.vhost.name).into(),
            "type" => (&self.spec.kind).into(),
            "durable" => self.spec.durable.into(),
            "auto_delete" => self.spec.auto_delete.into(),
            "internal" => self.spec.internal.into(),
            _ => return None,
        };
        Some(Some(value))
    }

    fn build(self, call: &Call<'_>) -> Object {
        object(call, &self.vhost, &self.spec)
    }
}

fn rows(vhost: &Arc<Vhost>) -> Vec<Row> {
    vhost.read(|topology| {
        let exchanges = topology.router.exchanges().into_iter();
        exchanges
            .map(|spec| Row {
                vhost: Arc::clone(vhost),
                spec: spec.clone(),
            })
            .collect()
    })
}

fn list_all(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhosts = call.api.node.vhosts();
    let seen = vhosts.iter().filter(|vhost| call.sees_vhost(&vhost.name));
    pages::answer(call, seen.flat_map(rows).collect())
}

fn list_in_vhost(call: &Call<'_>) -> Result<Answer, Failure> {
    pages::answer(call, rows(&call.vhost()?))
}

fn show(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    let spec = vhost
        .find_exchange(call.exchange_param("exchange"))
        .map_err(|_| Failure::no_object())?;
    let object = object(call, &vhost, &spec)
        .with("incoming", Vec::<Json>::new())
        .with("outgoing", Vec::<Json>::new());
    Ok(pages::one(call, object))
}

/// An argument that is text.
pub(crate) fn text_argument<'a>(arguments: &'a FieldTable, key: &str) -> Option<&'a str> {
    match arguments.find(key) {
        Some(FieldValue::LongStr(value)) => std::str::from_utf8(value).ok(),
        _ => None,
    }
}

fn declare(call: &Call<'_>) -> Result<Answer, Failure> {
    let name = call.exchange_param("exchange");
    let body = call.object()?;
    let kind = text(&body, "type")?.unwrap_or("direct");
    let spec = ExchangeSpec {
        name: name.into(),
        kind: kind.to_owned(),
        durable: boolean(&body, "durable")?,
        auto_delete: boolean(&body, "auto_delete")?,
        internal: boolean(&body, "internal")?,
        arguments: arguments(&body)?,
    };
    let vhost = call.vhost_to_change()?;
    if !EXCHANGE_TYPES.contains(&kind) {
        let reason = format!("invalid exchange type '{kind}'");
        return Err(Failure::bad_request(reason));
    }
    check_name(name)?;
    call.require(
        &vhost,
        PermissionKind::Configure,
        ResourceKind::Exchange,
        name,
    )?;
    let new = vhost.find_exchange(name).is_err();
    if new {
        if name.starts_with("amq.") {
            return Err(Failure::access_refused());
        }
        if let Some(alternate) = text_argument(&spec.arguments, "alternate-exchange") {
            call.require(&vhost, PermissionKind::Read, ResourceKind::Exchange, name)?;
            call.require(
                &vhost,
                PermissionKind::Write,
                ResourceKind::Exchange,
                alternate,
            )?;
        }
    }
    let ticket = vhost.declare_exchange(spec)?;
    Ok(Answer::created_if(new).when(ticket))
}

/// The default exchange is nobody's to change, and a name must fit a short string.
fn check_name(name: &str) -> Result<(), Failure> {
    match name.len() {
        0 => Err(Failure::access_refused()),
        1..=255 => Ok(()),
        _ => Err(Failure::bad_request("exchange name too long")),
    }
}

fn remove(call: &Call<'_>) -> Result<Answer, Failure> {
    let name = call.exchange_param("exchange");
    let vhost = call.vhost()?;
    vhost
        .find_exchange(name)
        .map_err(|_| Failure::no_object())?;
    let vhost = call.vhost_to_change()?;
    if name.is_empty() || name.starts_with("amq.") {
        return Err(Failure::access_refused());
    }
    call.require(
        &vhost,
        PermissionKind::Configure,
        ResourceKind::Exchange,
        name,
    )?;
    let ticket = vhost.delete_exchange(name, call.query_flag("if-unused"))?;
    Ok(Answer::done().when(ticket))
}
